"""How fast training rows come off the disk cache, beside three other readers in the same run.

    python -m benchmarks.loader_speed [--tokens 50000000] [--context 2048] [--parts 10000]

Files are in the page cache, rows are int64 unless said, and a figure is million tokens for each
second of CPU. The peers run in an environment of their own, on the same bytes.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.peers.environments import LOADERS, install
from benchmarks.peers.loader_clock import speed
from curate.store import sealed
from tokenizer.shards import PartSummary, TokenBatch, manifest, write_part
from tokenizer.verify import verify
from trainer.data import Loader, open_loader
from trainer.packing import plan_of
from trainer.settings import Source, TrainSettings

VOCABULARY = 50_257
H100 = {"50M": 1.66, "124M": 0.47}  # Mtok/s that one trains on
LLAMA = (67.0, 15.0, 4.5, 4.5, 4.5, 2.5, 2.0)  # shares of its seven sources


def documents(tokens: int, seed: int, vocab_size: int = VOCABULARY) -> Iterator[TokenBatch]:
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
        yield rows, random.integers(1, vocab_size, offsets[-1], np.uint32), offsets
        tokens -= int(offsets[-1])


def shards_of(tokens: int, folder: Path) -> dict[str, float]:
    """Write shards, and what that and their verification did in a second."""
    batches = list(documents(tokens, 0))
    size = sum(len(tokens) for _, tokens, _ in batches)
    began = time.process_time()
    part = write_part(folder, "part-00000", batches, VOCABULARY, 0)
    wrote = time.process_time() - began
    (folder / "manifest.json").write_bytes(sealed(manifest([part], "random", VOCABULARY, 0)))
    began = time.process_time()
    assert verify(folder) == []
    verified = time.process_time() - began
    return {"write_part": size / wrote / 1e6, "verify": size / verified / 1e6}


def ours(folder: Path, context: int, batch: int) -> dict[str, float]:
    """Every way in which our loader gives rows."""

    def loader(*, mixed: bool = False, **changed: str | bool) -> Loader:
        settings = TrainSettings(context=context, batch=batch, steps=1_000_000, **changed)
        sources = {f"source {i}": Source(str(folder), share) for i, share in enumerate(LLAMA)}
        return open_loader(sources if mixed else folder, settings)

    def timed(data: Loader) -> float:
        return speed(lambda step: data.rows(step * batch, batch), context * batch)

    plain = loader(document_mask=False)
    return {
        "ours, as stored": speed(lambda step: plain.stored(step * batch, batch), context * batch),
        "ours": timed(plain),
        "ours, documents": timed(loader()),
        "ours, seven sources": timed(loader(mixed=True, document_mask=False)),
        "ours, seven sources, documents": timed(loader(mixed=True)),
        "ours, best fit, documents": timed(loader(packing="best_fit")),
        "ours, pad, documents": timed(loader(packing="pad")),
    }


def peers(folder: Path, context: int, batch: int) -> dict[str, float]:
    """The same of the others, each by its own code; empty where they cannot be installed."""
    if problem := install(LOADERS):
        print(f"{LOADERS.title}: {problem}")
        return {}
    theirs = folder / "theirs"
    theirs.mkdir()
    os.link(folder / "part-00000.bin", theirs / "tokens.ds")
    ends = np.load(folder / "part-00000.offsets.npy")[1:]
    ends.astype("<u8").tofile(theirs / "tokens.ds.index")
    script = Path(__file__).parent / "peers" / "loader_readers.py"
    command = [str(LOADERS.python), str(script), str(theirs), str(context), str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rates: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def start_of(parts: int, folder: Path) -> tuple[float, float]:
    """Seconds of CPU until a loader of so many parts is there, and until its first batch is."""
    batch = next(documents(1, 0))
    part = write_part(folder, "part", [batch], VOCABULARY, 0)
    summaries = []
    for number in range(parts):
        name = f"part-{number:05}"
        files = {file.replace("part", name, 1): entry for file, entry in part.files.items()}
        for file in part.files:
            os.link(folder / file, folder / file.replace("part", name, 1))
        summaries.append(PartSummary(name, part.documents, part.tokens, part.bytes, files))
    for file in part.files:
        (folder / file).unlink()
    (folder / "manifest.json").write_bytes(sealed(manifest(summaries, "random", VOCABULARY, 0)))
    found = []
    for _ in range(3):
        began = time.process_time()
        loader = open_loader(folder, TrainSettings(context=2048, batch=32))
        opened = time.process_time() - began
        loader.rows(0, 32)
        found.append((opened, time.process_time() - began))
    return min(found)


def planning(context: int, count: int = 1_000_000) -> tuple[float, float]:
    """Seconds of CPU of best fit for a document, compiled, and the share of places it fills."""
    lengths = np.exp(np.random.default_rng(0).normal(6.0, 1.0, count)).astype(np.int64) + 1
    plan_of(lengths[:10], context, "best_fit")
    began = time.process_time()
    plan = plan_of(lengths, context, "best_fit")
    return (time.process_time() - began) / count, plan.fill(context)


def main() -> None:
    """Time every reader, starts and plans, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=50_000_000)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--parts", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wrote = shards_of(given.tokens, Path(name))
        rows = ours(Path(name), given.context, given.batch)
        rows |= peers(Path(name), given.context, given.batch)
    print(f"{given.tokens:,} tokens, windows of {given.context}, batches of {given.batch}")
    print(f"{'reader':34} {'Mtok/s':>8} {'ours is':>9} " + " ".join(f"H100 {m:>5}" for m in H100))
    for label, rate in rows.items():
        same = "ours, documents" if "positions" in label or "documents" in label else "ours"
        needs = " ".join(f"{rate / need:9.1f}x" for need in H100.values())
        print(f"{label:34} {rate:8.2f} {rows[same] / rate:8.1f}x {needs}")
    for label, rate in wrote.items():
        print(f"{label:34} {rate:8.2f}")
    with tempfile.TemporaryDirectory() as name:
        opened, first = start_of(given.parts, Path(name))
    print(f"start with {given.parts:,} parts: {opened:.3f} s, first batch after {first:.3f} s")
    each, fill = planning(given.context)
    print(f"best fit: {each * 1e6:.2f} µs a document, {fill:.3%} filled")


if __name__ == "__main__":
    main()
