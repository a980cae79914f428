"""Small token shards to train on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.store import sealed
from tokenizer.shards import manifest, write_part
from trainer.model import torch

# Models of this size gain nothing from a second thread, and where others were at work it made them
# wait: 80 s for 150 steps.
torch.set_num_threads(1)

# Not skipped: a machine without a GPU has nothing to report of them.
collect_ignore = [] if torch.cuda.is_available() else ["test_on_gpu.py"]


def write(
    folder: Path, parts: list[list[list[int]]], vocab_size: int, end: int, words: str = "w"
) -> Path:
    summaries = []
    for number, documents in enumerate(parts):
        count = len(documents)
        rows = pa.record_batch(
            {
                "id": pa.array([i.to_bytes(16, "big") for i in range(count)], pa.binary(16)),
                "text": pa.array(["x"] * count, pa.string()),
            }
        )
        tokens = np.array([i for ids in documents for i in ids], np.uint32)
        offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
        batches = [(rows, tokens, offsets)]
        summaries.append(write_part(folder, f"part-{number:05}", batches, vocab_size, end))
    (folder / "manifest.json").write_bytes(sealed(manifest(summaries, words, vocab_size, end)))
    return folder


@pytest.fixture
def write_shards(tmp_path: Path) -> Callable[..., Path]:
    """Shards of parts of documents given as lists of ids."""

    def call(
        *parts: list[list[int]], vocab_size: int = 50, end: int = 0, name: str = "tokens"
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        return write(folder, list(parts), vocab_size, end)

    return call


@pytest.fixture(scope="session")
def small_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 documents of 1 to 40 of 50 ids, in two parts."""
    random = np.random.default_rng(0)
    documents = [random.integers(1, 50, random.integers(1, 40)).tolist() for _ in range(40)]
    folder = tmp_path_factory.mktemp("small")
    return write(folder, [documents[:25], documents[25:]], 50, 0)
