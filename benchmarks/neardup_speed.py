"""Whole near-deduplication, text in, kept text out: ours beside three libraries, one core each.

    python -m benchmarks.neardup_speed                          # 100 MB: ten minutes, datatrove's
    python -m benchmarks.neardup_speed --megabytes 10
    python -m benchmarks.neardup_speed --megabytes 400 --copies 3 --without datatrove datasketch

All read the same JSONL file and write what they keep: ours as `curate run` of a recipe that has
near-duplicates and nothing else, its ledger and report included, median of three runs after one to
warm up; datatrove its four steps; rensa its deduplicator as in its README, over word 5-grams;
datasketch its MinHashLSH of 14 bands of 8 rows. "Without start" takes off what the same command
needs for ten documents: what remains on large inputs.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.bench import Measured, measured
from benchmarks.neardup_corpus import real_texts
from benchmarks.neardup_stage import Verify, preset, settings
from benchmarks.peers.environments import DATATROVE, RENSA, Peer, install

FEW = 10  # documents, for the start
LIBRARIES = ("rensa", "rensa-c", "rensa-rho", "datasketch")
SIDES = ("datatrove", *LIBRARIES)
TITLES = {
    "datatrove": DATATROVE.title,
    "rensa": "rensa 0.5.0, R-MinHash",
    "rensa-c": "rensa 0.5.0, C-MinHash",
    "rensa-rho": "rensa 0.5.0, rho (samples)",
    "datasketch": "datasketch 2.0.0",
}


class Input(NamedTuple):
    """The same documents as JSONL and as Parquet."""

    jsonl: Path
    parquet: Path
    documents: int
    bytes: int


class Side(NamedTuple):
    """What a system took and how many documents it kept."""

    title: str
    run: Measured
    start: Measured  # the same for a few documents
    kept: int


def chosen(texts: list[str], size: int, copies: int) -> list[str]:
    """Documents spread evenly until they have so many bytes, and more copies, a word added."""
    every = sum(len(text.encode()) for text in texts)
    share = min(1.0, size / copies / every)
    mine = [text for i, text in enumerate(texts) if int((i + 1) * share) > int(i * share)]
    return [f"{text} {copy}" if copy else text for copy in range(copies) for text in mine]


def written(texts: list[str], folder: Path) -> Input:
    """The texts in files of both formats."""
    folder.mkdir()
    jsonl, parquet = folder / "texts.jsonl", folder / "texts.parquet"
    ids = [str(number) for number in range(len(texts))]
    with jsonl.open("w", encoding="utf-8") as lines:
        for number, text in zip(ids, texts, strict=True):
            lines.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")
    pq.write_table(pa.table({"id": ids, "text": texts}), parquet, compression="zstd")
    return Input(jsonl, parquet, len(texts), sum(len(text.encode()) for text in texts))


def recipe(folder: Path, verify: Verify) -> Path:
    """A recipe of near-duplicates alone; html.Extract passes on what is text already."""
    path = folder / f"neardup-{verify}.yaml"
    stages = ["html.Extract", {"minhash.MinHash": settings(*preset("fineweb"), verify)}]
    about = {"name": f"neardup-{verify}", "about": "Near-duplicates.", "source": "benchmarks"}
    path.write_text(yaml.safe_dump({**about, "stages": stages}), encoding="utf-8")
    return path


def ours(texts: Path, name: Path, times: int) -> tuple[Measured, int]:
    """The median of some runs, and how many documents were kept."""
    runs = []
    for _ in range(times):
        output = Path(tempfile.mkdtemp(dir=name.parent)) / "output"
        command = [sys.executable, "-m", "curate", "run", str(name), "--workers", "0"]
        command += ["--input", str(texts), "--output", str(output)]
        runs.append(measured(command, output / "run.json"))
    kept = sum(pq.read_metadata(path).num_rows for path in (output / "documents").iterdir())
    middle = median(run.wall_seconds for run in runs[-3:])
    return next(run for run in runs if run.wall_seconds == middle), kept


def our_side(title: str, name: Path, texts: Path, few: Path) -> Side:
    """A recipe of ours over a file."""
    start, _ = ours(few, name, 4)  # the first of all compiles
    run, kept = ours(texts, name, 3)
    return Side(title, run, start, kept)


def peer_command(what: str, side: str, texts: Path, result: Path) -> list[str]:
    """How a peer does one of `deduplicate` and `signatures` with a file."""
    peer = DATATROVE if side == "datatrove" else RENSA
    by = [] if side == "datatrove" else ["--by", side]
    files = ["--texts", str(texts), "--result", str(result)]
    return [str(peer.python), str(peer.neardup_script), what, *by, *files]


def peer_side(side: str, texts: Path, few: Path) -> Side:
    """A peer over a file, once; a library's first run is the start."""
    start_result, result = few.with_suffix(f".{side}.json"), texts.with_suffix(f".{side}.json")
    start = measured(peer_command("deduplicate", side, few, start_result), start_result)
    run = measured(peer_command("deduplicate", side, texts, result), result)
    return Side(TITLES[side], run, start, int(run.figures["kept"]))


def table(given: Input, sides: list[Side]) -> Table:
    """A row for every side; how many times as fast ours is, the first of them."""
    size = given.bytes / 1e6
    title = f"Text to kept text: {given.documents:,} documents, {size:.1f} MB, one core"
    out = Table("", title=title, title_justify="left")
    columns = ("kept", "s", "MB/s", "ours: times", "CPU s", "ours: times")
    for column in (*columns, "without start, s", "MB/s", "ours: times"):
        out.add_column(column, justify="right")
    first = sides[0]
    without = [max(side.run.cpu_seconds - side.start.cpu_seconds, 1e-3) for side in sides]
    for side, rest in zip(sides, without, strict=True):
        wall, cpu = side.run.wall_seconds, side.run.cpu_seconds
        out.add_row(
            *(side.title, f"{side.kept:,}", f"{wall:.1f}", f"{size / wall:.2f}"),
            *(f"{wall / first.run.wall_seconds:.1f}", f"{cpu:.1f}"),
            *(f"{cpu / first.run.cpu_seconds:.1f}", f"{rest:.2f}", f"{size / rest:.1f}"),
            f"{rest / without[0]:.1f}",
        )
    return out


def parts(side: Side) -> str:
    """Where a run of ours spends its time, as it notes itself."""
    seconds = sorted(side.run.figures["seconds"].items(), key=lambda part: -part[1])
    return f"{side.title}, seconds by part: " + ", ".join(f"{n} {s:.2f}" for n, s in seconds)


def peers(console: Console, left_out: list[str]) -> list[str]:
    """The sides that can run; says which cannot."""
    sides = [side for side in SIDES if side not in left_out]
    needed: dict[str, Peer] = {side: DATATROVE if side == "datatrove" else RENSA for side in sides}
    problems = {peer: install(peer) for peer in dict.fromkeys(needed.values())}
    for peer, problem in problems.items():
        if problem:
            console.print(f"{peer.title} is left out: {problem}")
    return [side for side in sides if not problems[needed[side]]]


def arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100, help="of text")
    parser.add_argument("--copies", type=int, default=1, help="of every document, a word added")
    parser.add_argument("--without", nargs="*", default=[], choices=SIDES, help="leave these out")
    return parser.parse_args()


def main() -> None:
    """Measure every side and print the table."""
    given, console = arguments(), Console(width=150)
    ready, load = peers(console, given.without), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = chosen(real_texts()[0], int(given.megabytes * 1e6), given.copies)
        whole, few = written(texts, folder / "whole"), written(texts[:FEW], folder / "few")
        verified, unverified = (recipe(folder, verify) for verify in ("text", "none"))
        sides = [
            our_side("ours, verified", verified, whole.jsonl, few.jsonl),
            our_side("ours, unverified", unverified, whole.jsonl, few.jsonl),
            our_side("ours, verified, Parquet", verified, whole.parquet, few.parquet),
        ]
        sides += [peer_side(side, whole.jsonl, few.jsonl) for side in ready]
        console.print(table(whole, sides))
        console.print("\n".join(map(parts, sides[:3])))
    console.print(
        f"Ours is verified by text; the others do not verify. Load when it began: {load:.1f}."
    )


if __name__ == "__main__":
    main()
