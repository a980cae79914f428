"""How fast training windows come off the disk cache, against nanoGPT's reader in the same run.

    python -m benchmarks.loader_speed [--tokens 50000000] [--context 2048]

One core, files in the page cache. nanoGPT's `get_batch` is written out here as it stands in its
train.py: random crops of a memory map, each cast to int64 twice.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.store import sealed
from tokenizer.dataset import TokenDataset
from tokenizer.shards import TokenBatch, manifest, write_part
from tokenizer.verify import verify
from trainer.data import Loader

VOCABULARY = 50_257
ROUNDS = 5


def documents(tokens: int, seed: int) -> Iterator[TokenBatch]:
    """Random ids in documents of log-normal lengths, about 400 in the median."""
    random = np.random.default_rng(seed)
    while tokens > 0:
        lengths = np.exp(random.normal(6.0, 1.0, 1000)).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = pa.record_batch(
            {
                "id": pa.array([random.bytes(16) for _ in lengths], pa.binary(16)),
                "text": pa.array(["x"] * len(lengths), pa.string()),
            }
        )
        yield rows, random.integers(1, VOCABULARY, offsets[-1], np.uint32), offsets
        tokens -= int(offsets[-1])


def nanogpt(path: Path, context: int, batch: int) -> Callable[[int], None]:
    """Give nanoGPT's `get_batch`, without its move to a device."""
    random = np.random.default_rng(0)

    def read(_: int) -> None:
        data = np.memmap(path, dtype=np.uint16, mode="r")
        starts = random.integers(0, len(data) - context, batch)
        np.stack([data[i : i + context].astype(np.int64) for i in starts])
        np.stack([data[i + 1 : i + 1 + context].astype(np.int64) for i in starts])

    return read


def speed(read: Callable[[int], None], tokens_each: int) -> float:
    """The best of several rounds, in million tokens a second."""
    best = 0.0
    for turn in range(ROUNDS):
        calls, began = 0, time.perf_counter()
        while time.perf_counter() - began < 0.5:
            read(turn * 100_000 + calls)
            calls += 1
        best = max(best, calls * tokens_each / (time.perf_counter() - began))
    return best / 1e6


def main() -> None:
    """Write shards of random tokens, time every way of reading them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=50_000_000)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches = list(documents(given.tokens, 0))
        size = sum(len(tokens) for _, tokens, _ in batches)
        began = time.perf_counter()
        part = write_part(folder, "part-00000", batches, VOCABULARY, 0)
        wrote = time.perf_counter() - began
        sheet = manifest([part], "random", VOCABULARY, 0)
        (folder / "manifest.json").write_bytes(sealed(sheet))
        began = time.perf_counter()
        assert verify(folder) == []
        verified = time.perf_counter() - began
        shards = TokenDataset(folder)
        plain = Loader(shards, given.context, 0, masked=False)
        masked = Loader(shards, given.context, 0, masked=True)
        each = given.batch * given.context
        rows = {
            "write_part": size / wrote / 1e6,
            "verify": size / verified / 1e6,
            "windows, as stored": speed(lambda i: plain.stored(i * given.batch, given.batch), each),
            "windows and targets, int64": speed(
                lambda i: plain.rows(i * given.batch, given.batch), each
            ),
            "the same with document masks": speed(
                lambda i: masked.rows(i * given.batch, given.batch), each
            ),
            "nanoGPT get_batch": speed(
                nanogpt(folder / "part-00000.bin", given.context, given.batch), each
            ),
        }
    print(f"{size:,} tokens, windows of {given.context}, batches of {given.batch}")
    for label, figure in rows.items():
        print(f"{label:32} {figure:8.1f} Mtok/s")


if __name__ == "__main__":
    main()
