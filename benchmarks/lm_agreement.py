"""`curate lm train` beside KenLM's own lmplz: the two files, held-out perplexity, time and memory.

lmplz is in no wheel: build it once from the source distribution of `kenlm` (CMake and Boost).
Every 20th line of the text is held out. With --copies, ours again on so many times the text, words
in another order each time, to see that time grows with the text and memory does not.

Example: python -m benchmarks.lm_agreement path/to/lmplz corpus.txt --copies 1 4 16
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

import kenlm
from rich.console import Console
from rich.table import Table

# lmplz reserves room for a million words, and refuses less.
LMPLZ_MEMORY = ("-S", "300M")
SETTINGS = (("5", ""), ("5", "0,0,1"), ("3", ""), ("6", "0,1,2"))


def parted(texts: list[Path], folder: Path) -> tuple[Path, Path]:
    """Two files: every 20th line, and the others."""
    held, learned = folder / "held.txt", folder / "learned.txt"
    with held.open("wb") as few, learned.open("wb") as many:
        for text in texts:
            for number, line in enumerate(text.read_bytes().splitlines()):
                (few if number % 20 == 0 else many).write(line + b"\n")
    return held, learned


def run(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak megabytes of a command."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def ours(text: Path, order: str, prune: str, memory: str, output: Path) -> tuple[float, float]:
    """Our estimate of a model."""
    command = [sys.executable, "-m", "curate", "lm", "train", "--input", str(text), "--workers"]
    command += ["0", "--order", order, "--memory", memory, "--output", str(output)]
    command.append("--discount-fallback")
    return run([*command, "--prune", prune] if prune else command)


def theirs(
    command: list[str], text: Path, order: str, prune: str, output: Path
) -> tuple[float, float]:
    """The estimate of lmplz."""
    command = [
        *command,
        "--skip_symbols",
        "--discount_fallback",
        "-o",
        order,
        "-T",
        f"{output.parent}/",
    ]
    command += ["--text", str(text), "--arpa", str(output)]
    return run([*command, "--prune", *prune.split(",")] if prune else command)


def differing_lines(one: Path, other: Path) -> int:
    """How many lines of two files differ."""
    with one.open("rb") as first, other.open("rb") as second:
        return sum(a != b for a, b in zip_longest(first, second))


def perplexity(model: Path, held: Path) -> float:
    """Of all held-out lines together."""
    settings = kenlm.Config()
    settings.show_progress = False
    settings.arpa_complain = kenlm.ARPALoadComplain.NONE
    scorer = kenlm.Model(str(model), settings)
    lines = held.read_bytes().splitlines()
    score = sum(scorer.score(line.replace(b"\0", b" ")) for line in lines)
    return float(10 ** (-score / sum(len(line.split()) + 1 for line in lines)))


def agreement(lmplz: str, held: Path, learned: Path, memory: str) -> Table:
    """Both sides on the same text, setting by setting."""
    columns = ("order", "prune", "lines that differ", "perplexity: lmplz", "ours")
    table = Table(*columns, "CPU s: lmplz", "ours", "peak MB: lmplz", "ours", box=None)
    reference, model = learned.with_name("lmplz.arpa"), learned.with_name("ours.arpa")
    for order, prune in SETTINGS:
        seconds, peak = theirs([lmplz, *LMPLZ_MEMORY], learned, order, prune, reference)
        own_seconds, own_peak = ours(learned, order, prune, memory, model)
        table.add_row(
            *(order, prune, str(differing_lines(reference, model))),
            *(f"{perplexity(path, held):.4f}" for path in (reference, model)),
            *(f"{seconds:.1f}", f"{own_seconds:.1f}", f"{peak:.0f}", f"{own_peak:.0f}"),
        )
    return table


def growth(learned: Path, copies: list[int], memory: str) -> Table:
    """Ours on more and more text."""
    table = Table("copies", "text, MB", "CPU s", "CPU s/MB", "peak MB", "model, MB", box=None)
    lines = [line.split() for line in learned.read_bytes().splitlines()]
    for count in copies:
        path, model = learned.with_name("copies.txt"), learned.with_name("copies.arpa")
        with path.open("wb") as file:
            for copy in range(count):
                random_ = random.Random(copy)
                for words in lines:
                    shuffled = random_.sample(words, len(words)) if copy else words
                    file.write(b" ".join(shuffled) + b"\n")
        size = path.stat().st_size / 1e6
        seconds, peak = ours(path, "5", "", memory, model)
        written = model.stat().st_size / 1e6
        row = (f"{size:.0f}", f"{seconds:.1f}", f"{seconds / size:.2f}", f"{peak:.0f}")
        table.add_row(str(count), *row, f"{written:.0f}")
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lmplz")
    parser.add_argument("text", type=Path, nargs="+", help="a sentence a line")
    parser.add_argument("--memory", default="256M")
    parser.add_argument("--copies", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        held, learned = parted(arguments.text, Path(folder))
        ours(held, "2", "", "64M", learned.with_name("warm.arpa"))  # compiles kernels
        console = Console(width=140)
        console.print(agreement(arguments.lmplz, held, learned, arguments.memory))
        if arguments.copies:
            console.print(growth(learned, arguments.copies, arguments.memory))
        console.print(f"load {os.getloadavg()[0]:.1f}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
