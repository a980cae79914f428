"""Text to MinHash sketch, ours beside datasketch: the same documents, one core, in one run."""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
from datasketch import MinHash as DatasketchMinHash  # type: ignore[import-untyped]  # no stubs

from curate.dedup.minhash import PRESETS, MinHash


def texts(path: Path) -> list[str]:
    """The texts of a JSONL file, gzipped or not."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)["text"] for line in raw.splitlines() if line]


def seconds(run: Callable[[], object], times: int) -> float:
    """The fastest of a few runs, in seconds of this process's time."""
    best = float("inf")
    for _ in range(times):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best


def datasketch_signatures(documents: list[str], ngram: int, slots: int) -> list[DatasketchMinHash]:
    """Signatures as a user of datasketch makes them, words cut at white space."""
    signatures = []
    for document in documents:
        words = document.lower().split()
        pieces = [words[i:] for i in range(ngram)]
        signature = DatasketchMinHash(num_perm=slots)
        signature.update_batch([" ".join(s).encode() for s in zip(*pieces, strict=False)])
        signatures.append(signature)
    return signatures


def main() -> None:
    """Print a row per preset, and datasketch's for the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jsonl", type=Path, nargs="+", help="documents with a `text`")
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    documents = [text for path in arguments.jsonl for text in texts(path)]
    ids = pa.array([i.to_bytes(16, "big") for i in range(len(documents))], pa.binary(16))
    batch = pa.RecordBatch.from_arrays([ids, pa.array(documents)], ["id", "text"])
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    print(f"{len(documents)} documents, {megabytes:.1f} MB of text")
    print(f"{'':28}{'slots':>8}{'seconds':>10}{'MB/s':>10}{'documents/s':>14}")

    def row(name: str, slots: int, spent: float) -> None:
        print(
            f"{name:28}{slots:>8}{spent:>10.3f}{megabytes / spent:>10.1f}"
            f"{len(documents) / spent:>14,.0f}"
        )

    for name, (bands, rows) in PRESETS.items():
        stage = MinHash(bands=bands, rows=rows)
        stage.survey(batch.slice(0, 1))  # compiles
        row(f"ours, {name}", bands * rows, seconds(partial(stage.survey, batch), arguments.times))
    theirs = partial(datasketch_signatures, documents, 5, 112)
    row("datasketch, fineweb", 112, seconds(theirs, 1))


if __name__ == "__main__":
    main()
