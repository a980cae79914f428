"""Text to MinHash sketch, ours beside three libraries: the same documents, one core, in one run.

    python -m benchmarks.minhash_speed                      # real documents, 40 MB; two minutes
    python -m benchmarks.minhash_speed DOCUMENTS.jsonl.gz --peer-megabytes 2

Word 5-grams; 112 slots, but for the presets that have more and rensa's rho pipeline, which has 128
and samples. CPU seconds in the process, start-up and reading left out; ours is the fastest of a few
runs. Slow peers get so many megabytes of the documents, spread evenly.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.bench import measured
from benchmarks.neardup_corpus import identity, real_texts
from benchmarks.neardup_speed import SIDES, TITLES, chosen, peer_command, peers, written
from benchmarks.neardup_stage import batches, preset, settings
from curate.dedup.minhash import MinHash

PRESETS = ("fineweb", "dclm", "refinedweb", "olmo3")
SLOTS = {"rensa-rho": 128}


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


def survey_all(stage: MinHash, documents: list[pa.RecordBatch]) -> None:
    """What a run asks of the stage."""
    for batch in documents:
        stage.survey(batch)


def our_seconds(name: str, documents: list[pa.RecordBatch], times: int) -> float:
    """Seconds of a preset's sketches."""
    stage = MinHash(**settings(*preset(name), "none"))
    stage.survey(documents[0].slice(0, 1))  # compiles
    return seconds(partial(survey_all, stage, documents), times)


def peer_seconds(side: str, jsonl: Path) -> float:
    """Seconds that a peer notes for its signatures of a file."""
    result = jsonl.with_suffix(f".{side}.json")
    return float(
        measured(peer_command("signatures", side, jsonl, result), result).figures["seconds"]
    )


def arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jsonl", type=Path, nargs="*", help="documents with a `text`")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=40, help="of the real documents")
    parser.add_argument("--peer-megabytes", type=float, default=8, help="of text for each peer")
    parser.add_argument("--without", nargs="*", default=[], choices=SIDES, help="leave these out")
    return parser.parse_args()


def main() -> None:
    """Print a row for every preset of ours and every peer."""
    given, console = arguments(), Console(width=120)
    found = [text for path in given.jsonl for text in texts(path)]
    documents = found or chosen(real_texts()[0], int(given.megabytes * 1e6), 1)
    size = sum(len(text.encode()) for text in documents)
    ids = [identity(str(number)) for number in range(len(documents))]
    title = f"Text to sketch: {len(documents):,} documents, {size / 1e6:.1f} MB, one core, CPU time"
    table = Table("", title=title, title_justify="left")
    for column in ("slots", "MB", "s", "MB/s", "ours, fineweb: times"):
        table.add_column(column, justify="right")
    speeds: list[float] = []

    def row(name: str, slots: int, megabytes: float, spent: float) -> None:
        speeds.append(megabytes / spent)
        cells = (f"{megabytes:.1f}", f"{spent:.3f}", f"{speeds[-1]:.2f}")
        table.add_row(name, f"{slots:,}", *cells, f"{speeds[0] / speeds[-1]:.1f}")

    rows = batches(ids, documents)
    for name in PRESETS:
        bands, width = preset(name)
        row(f"ours, {name}", bands * width, size / 1e6, our_seconds(name, rows, given.times))
    with tempfile.TemporaryDirectory() as folder:
        few = written(chosen(documents, int(given.peer_megabytes * 1e6), 1), Path(folder) / "texts")
        for side in peers(console, given.without):
            spent = peer_seconds(side, few.jsonl)
            row(TITLES[side], SLOTS.get(side, 112), few.bytes / 1e6, spent)
    console.print(table)


if __name__ == "__main__":
    main()
