"""Ours beside datatrove, Dolma and NeMo Curator: the same input, one core, one after the other."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.inputs import Pages, chosen, default_warcs, write_texts
from benchmarks.peers.environments import DATATROVE, DOLMA, HOME, NEMO, Peer, install
from curate import models

PEERS = (DATATROVE, DOLMA, NEMO)
SLOWEST = 4  # parts of each side that are shown; --json writes them all
TITLES = {peer.name: peer.title for peer in PEERS}

# Which part of the work a stage belongs to, by a word in its name.
PARTS = {
    "read": ("warc", "read"),
    "filter URLs": ("url",),
    "extract text": ("trafilatura", "extract"),
    "detect language": ("language",),
    "heuristic filters": ("gopher", "repetition", "c4", "fineweb", "filter"),
    "deduplicate": ("minhash", "dedup", "duplicate", "exact"),
    "scrub personal data": ("pii", "scrub"),
    "write": ("jsonl", "write"),
}


@dataclass(frozen=True)
class Measured:
    """What one process took, and the figures that it wrote."""

    wall_seconds: float
    cpu_seconds: float
    figures: dict[str, Any]


def measured(command: list[str], result: Path) -> Measured:
    """Run a command on one core and read the JSON that it leaves behind."""
    core = max(os.sched_getaffinity(0))
    print(f"measuring {' '.join(command)[-100:]}", file=sys.stderr)
    caches = {"HF_HOME": str(HOME / "cache"), "HF_HUB_OFFLINE": "1", "NUMBA_NUM_THREADS": "1"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env={**os.environ, **caches},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if not result.is_file():
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{said.read()[-4000:]}")
    seconds = time.perf_counter() - started
    figures = json.loads(result.read_text(encoding="utf-8"))
    return Measured(seconds, usage.ru_utime + usage.ru_stime, figures)


def our_chain(pages: Pages, recipe: str, folder: Path) -> Measured:
    """Our pipeline through its command line; the median of three runs after one to warm up."""
    runs = []
    for turn in range(4):
        output = folder / f"ours-{turn}"
        command = [sys.executable, "-m", "curate", "run", recipe, "--workers", "0"]
        command += ["--input", str(pages.warc), "--output", str(output)]
        runs.append(measured(command, output / "run.json"))
    middle = median(run.wall_seconds for run in runs[1:])
    return next(run for run in runs[1:] if run.wall_seconds == middle)


def peer_chain(pages: Pages, folder: Path) -> Measured:
    """The FineWeb chain of datatrove, once."""
    result = folder / "datatrove-chain.json"
    command = [str(DATATROVE.python), str(DATATROVE.script), "--warc", str(pages.warc)]
    command += ["--model", str(models.fetch("lid.176")), "--result", str(result)]
    return measured(command, result)


def by_part(run: Measured) -> dict[str, float]:
    """Seconds by part of the work; what no stage claims is start-up and everything else."""
    seconds = dict.fromkeys(PARTS, 0.0)
    for stage, spent in run.figures["seconds"].items():
        name = stage.lower()
        part = next((part for part, words in PARTS.items() if any(w in name for w in words)), None)
        if part:
            seconds[part] += spent
    seconds["start and the rest"] = run.wall_seconds - sum(seconds.values())
    return seconds


def chain_table(pages: Pages, ours: Measured, theirs: Measured) -> Table:
    """The first table: a WARC file to filtered, deduplicated documents, by part and in total."""
    title = f"WARC to documents: {pages.count} pages, {pages.bytes / 1e6:.1f} MB of HTML, one core"
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for side in ("ours", DATATROVE.name):
        for unit in ("s", "pages/s", "MB/s"):
            table.add_column(f"{side}\n{unit}", justify="right")
    table.add_column("times\nas fast", justify="right")
    mine, other = by_part(ours), by_part(theirs)
    rows = [(part, mine[part], other[part]) for part in mine]
    rows.append(("in total, by the clock", ours.wall_seconds, theirs.wall_seconds))
    rows.append(("in total, CPU seconds", ours.cpu_seconds, theirs.cpu_seconds))
    for part, left, right in rows:
        cells = [*speeds(pages, left), *speeds(pages, right)]
        table.add_row(part, *cells, f"{right / left:,.1f}" if left > 1e-6 else "")
    return table


def speeds(pages: Pages, seconds: float) -> list[str]:
    """Seconds, pages and megabytes of HTML a second; every part is counted against all pages."""
    if seconds < 1e-6:
        return ["", "", ""]
    rate, volume = pages.count / seconds, pages.bytes / seconds / 1e6
    return [f"{seconds:.2f}", f"{rate:,.1f}", f"{volume:,.2f}"]


def filter_sides(peers: list[Peer], texts: Path, folder: Path) -> dict[str, Measured]:
    """Each side's heuristic filters over the same texts."""
    arguments = ["--texts", str(texts)]
    result = folder / "ours-filters.json"
    command = [sys.executable, "-m", "benchmarks.ours", *arguments, "--result", str(result)]
    sides = {"ours": measured(command, result)}
    for peer in peers:
        result = folder / f"{peer.name}-filters.json"
        command = [str(peer.python), str(peer.script), *arguments, "--result", str(result)]
        sides[peer.name] = measured(command, result)
    return sides


def filter_table(sides: dict[str, Measured], count: int, size: int) -> Table:
    """The second table: heuristic filters alone, start-up and loading left out."""
    title = f"Heuristic filters alone: {count} texts, {size / 1e6:.2f} MB, one core, CPU seconds"
    table = Table("", title=title, title_justify="left")
    for column in ("s", "MB/s", "ours, all signals:\ntimes as fast", "ours, same families:\ntimes"):
        table.add_column(column, justify="right")
    ours = sides["ours"].figures
    for side, run in sides.items():
        spent = sum(run.figures["seconds"].values())
        cells = [f"{spent:.3f}", f"{size / spent / 1e6:,.2f}"]
        if side != "ours":
            cells += [
                f"{spent / ours['seconds']['all']:,.0f}",
                f"{spent / ours['shared'][side]:,.0f}",
            ]
        name = f"ours, {ours['signals']} signals" if side == "ours" else TITLES[side]
        table.add_row(name, *cells, style="bold")
        parts = run.figures.get("parts", run.figures["seconds"])
        for part, seconds in sorted(parts.items(), key=lambda item: -item[1])[:SLOWEST]:
            table.add_row(
                f"  {part}", f"{seconds:.3f}", f"{size / seconds / 1e6:,.2f}", style="dim"
            )
    return table


def arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--input", type=Path, nargs="*", help="WARC files, one gzip member a record"
    )
    parser.add_argument("--pages", type=int, default=0, help="this many pages; 0: all")
    parser.add_argument("--recipe", default="fineweb")
    parser.add_argument("--json", type=Path, help="write all figures here, too")
    parser.add_argument("--table", choices=("chain", "filters", "sets"), help="only this table")
    return parser.parse_args()


def main() -> None:
    """Measure both tables and print them."""
    given, console = arguments(), Console(width=120)
    problems = {peer: install(peer) for peer in PEERS}
    for peer, problem in problems.items():
        if problem:
            console.print(f"{peer.title} is left out: {problem}")
    ready = [peer for peer, problem in problems.items() if not problem]
    figures: dict[str, Any] = {"load before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pages = chosen(given.input or default_warcs(), given.pages, folder / "pages.warc.gz")
        if given.table in (None, "chain") and DATATROVE in ready:
            ours, theirs = our_chain(pages, given.recipe, folder), peer_chain(pages, folder)
            console.print(chain_table(pages, ours, theirs))
            figures["chain"] = {"ours": vars(ours), DATATROVE.title: vars(theirs)}
        if given.table in (None, "filters"):
            texts = folder / "texts.jsonl"
            count, size = write_texts(pages.warc, texts)
            sides = filter_sides(ready, texts, folder)
            console.print(filter_table(sides, count, size))
            figures["filters"] = {side: vars(run) for side, run in sides.items()}
        if given.table in (None, "sets"):
            texts = folder / "sets.jsonl"
            write_texts(pages.warc, texts)
            for module, options in (
                ("filters_speed", ["--families", "all"]),
                ("filters_growth", []),
            ):
                command = [sys.executable, "-m", f"benchmarks.{module}", str(texts), *options]
                subprocess.run(command, check=True)
    console.print(f"Load when it began: {figures['load before']:.1f}. See benchmarks/README.md.")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
