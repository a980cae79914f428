"""Read a view of token shards with the real reader of its format, and print how it compares.

    python read_shards.py FORMAT VIEW TRUTH

TRUTH is an .npz of the `tokens` of all documents, their `ends`, the `length` of sequences and the
`dtype` of tokens. Runs in a peer's own environment and prints a line of JSON: how many there are,
how many were read, and how many of them are equal.
"""

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def megatron(view: Path, _: Any) -> Iterator[Any]:
    """Documents by Megatron-LM's IndexedDataset."""
    module = import_module("megatron.core.datasets.indexed_dataset")
    for path in sorted(view.glob("*.idx")):
        dataset = module.IndexedDataset(str(path.with_suffix("")), mmap=True)
        for index in range(len(dataset)):
            yield dataset[index]


def datatrove(view: Path, truth: Any) -> Iterator[Any]:
    """Documents by datatrove's file dataset, cut where its positions begin again."""
    module = import_module("datatrove.utils.dataset")
    width = np.dtype(str(truth["dtype"])).itemsize
    for path in sorted(view.glob("*.ds")):
        count = path.stat().st_size // width
        dataset = module.DatatroveFileDataset(str(path), count - 1, width, return_positions=True)
        window = dataset[0]  # it goes on for ever where it is iterated over
        starts = np.flatnonzero(np.asarray(window["positions"]) == 0).tolist()
        for begin, end in pairwise([*starts, count]):
            yield window["input_ids"][begin:end]


def olmo(view: Path, truth: Any) -> Iterator[Any]:
    """Documents by OLMo-core's own functions, from the table of documents."""
    module = import_module("olmo_core.data.utils")
    kind = getattr(np, str(truth["dtype"]))
    for path in sorted(view.glob("*.npy")):
        for begin, end in module.iter_document_indices(path, use_array_if_local=False):
            yield module.load_array_slice_into_tensor(path, begin, end, kind)


def litdata(view: Path, truth: Any) -> Iterator[Any]:
    """Sequences by litdata's StreamingDataset with its TokensLoader."""
    module = import_module("litdata")
    loader = module.TokensLoader(block_size=int(truth["length"]))
    dataset = module.StreamingDataset(str(view), item_loader=loader)
    for index in range(len(dataset)):
        yield dataset[index]


def mds(view: Path, _: Any) -> Iterator[Any]:
    """Sequences by Streaming's own dataset, hashes checked."""
    without_torchvision()
    module = import_module("streaming")
    dataset = module.StreamingDataset(local=str(view), validate_hash="sha1", batch_size=1)
    for index in range(len(dataset)):
        yield dataset[index]["tokens"]


def without_torchvision() -> None:
    """Streaming imports torchvision for images alone, whose wheels want CUDA: an empty one does."""
    import_module("transformers")  # looks for it as well, and does without
    names = ("datasets", "datasets.folder", "transforms", "transforms.functional")
    for name in ("torchvision", *(f"torchvision.{name}" for name in names)):
        sys.modules[name] = ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    sys.modules["torchvision.datasets"].VisionDataset = type("VisionDataset", (), {})
    sys.modules["torchvision.transforms.functional"].to_tensor = None


def parquet(view: Path, _: Any) -> Iterator[Any]:
    """Documents by Hugging Face's datasets."""
    datasets = import_module("datasets")
    files = [str(path) for path in sorted(view.glob("*.parquet"))]
    for row in datasets.load_dataset("parquet", data_files=files, split="train"):
        yield row["input_ids"]


READERS: dict[str, Callable[[Path, Any], Iterator[Any]]] = {
    "megatron": megatron,
    "datatrove": datatrove,
    "olmo": olmo,
    "litdata": litdata,
    "mds": mds,
    "parquet": parquet,
}


def main() -> None:
    """Compare all that a reader gives with what was written."""
    name, view, truth = sys.argv[1], Path(sys.argv[2]), np.load(sys.argv[3])
    tokens, ends, length = truth["tokens"], truth["ends"].tolist(), int(truth["length"])
    if name in ("litdata", "mds"):
        whole = len(tokens) // length * length
        ends = [*range(length, whole + 1, length)]
    expected = [tokens[i:j] for i, j in pairwise([0, *ends])]
    found = [np.asarray(one).astype(np.int64) for one in READERS[name](view, truth)]
    equal = sum(np.array_equal(a, b) for a, b in zip(found, expected, strict=False))
    print(json.dumps({"expected": len(expected), "found": len(found), "equal": equal}))


if __name__ == "__main__":
    main()
