"""Readers of nanoGPT, datatrove and litdata, timed on one file; runs in their environment.

    python loader_readers.py FOLDER CONTEXT BATCH

FOLDER holds tokens.ds and tokens.ds.index as datatrove has them. Prints JSON, Mtok/s by reader.
Each gives batches of int64 rows; nanoGPT's those of inputs and of targets.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from datatrove.utils.dataset import DatatroveFolderDataset
from litdata import StreamingDataset, TokensLoader, optimize
from loader_clock import speed

torch.set_num_threads(1)

Read = Callable[[int], object]


def nanogpt(path: Path, context: int, batch: int) -> Read:
    """`get_batch` of nanoGPT's train.py, as it stands there but for the move to a device."""

    def get_batch(_: int) -> object:
        data = np.memmap(path, dtype=np.uint16, mode="r")
        ix = torch.randint(len(data) - context, (batch,))
        x = torch.stack([torch.from_numpy((data[i : i + context]).astype(np.int64)) for i in ix])
        y = torch.stack(
            [torch.from_numpy((data[i + 1 : i + 1 + context]).astype(np.int64)) for i in ix]
        )
        return x, y

    return get_batch


def datatrove(folder: Path, context: int, batch: int, *, positions: bool, ordered: bool) -> Read:
    """Batches of datatrove's dataset, in its order or in a random one."""
    dataset = DatatroveFolderDataset(
        str(folder), context, filename_pattern="*.ds", token_size=2, return_positions=positions
    )
    order = (
        np.arange(len(dataset)) if ordered else np.random.default_rng(0).permutation(len(dataset))
    )

    def read(number: int) -> object:
        wanted = [int(order[i % len(order)]) for i in range(number * batch, (number + 1) * batch)]
        items = [dataset[i] for i in wanted]
        return [torch.stack([item[name] for item in items]) for name in items[0]]

    return read


def tokens_of(path: str) -> Iterator[torch.Tensor]:
    """One item of all tokens; litdata cuts blocks wherever items end."""
    yield torch.from_numpy(np.fromfile(path, np.uint16))


def litdata(folder: Path, context: int, batch: int) -> Read:
    """Batches of litdata's dataset, shuffled as it shuffles."""
    optimize(
        fn=tokens_of,
        inputs=[str(folder / "tokens.ds")],
        output_dir=str(folder / "litdata"),
        chunk_size=1 << 40,
        item_loader=TokensLoader(),
        num_workers=1,
        verbose=False,
    )
    loader = TokensLoader(block_size=context + 1)
    dataset = StreamingDataset(str(folder / "litdata"), item_loader=loader, shuffle=True)
    items = iter(dataset)

    def read(_: int) -> object:
        nonlocal items
        rows = []
        while len(rows) < batch:
            row = next(items, None)
            if row is None:
                items = iter(dataset)
            else:
                rows.append(row)
        return torch.stack(rows).long()

    return read


def main() -> None:
    """Time each reader, and print what was found."""
    folder, context, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    each = context * batch
    lines = {
        "nanoGPT get_batch, random": speed(nanogpt(folder / "tokens.ds", context, batch), each)
    }
    for positions in (False, True):
        for ordered in (True, False):
            # The random one with positions reads its index from the start for every window.
            size = 1 if positions and not ordered else batch
            label = f"datatrove, {'in order' if ordered else 'random'}"
            read = datatrove(folder, context, size, positions=positions, ordered=ordered)
            lines[label + ", positions" * positions] = speed(read, context * size)
    lines["litdata TokensLoader, shuffled"] = speed(litdata(folder, context, batch), each)
    shutil.rmtree(folder / "litdata")
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
