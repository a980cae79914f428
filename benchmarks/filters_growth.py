"""Cost per byte and peak memory of rule sets on one document of 1, 10 and 100 MB.

    python -m benchmarks.filters_growth PAGES.jsonl[.gz] [--field text] [--families all]

Beside each size stands the same text as documents of their own, in batches of 1 MB. The texts of
the file are taken again and again, the words of each line in another order each time. CPU seconds
of a process of its own, kernels loaded before, the better of two rounds: a machine's first use of
memory costs more than the work. Memory is by how much the process grew at its peak.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.filters_speed import FAMILIES, chosen, texts
from curate.filter import Filter
from curate.schema import LANGUAGE, TEXT, Batch

SIZES = (1, 10, 100)  # MB
BATCH_BYTES = 1_000_000


def grown(pages: list[str], size: int) -> list[str]:
    """Documents of so many bytes in all, each time with words of a line in another order."""
    found, bytes_, random_ = [], 0, random.Random(0)
    while True:
        for page in pages:
            lines = [line.split(" ") for line in page.split("\n")]
            if found[len(pages) :]:
                for words in lines:
                    random_.shuffle(words)
            found.append("\n".join(" ".join(words) for words in lines))
            bytes_ += len(found[-1].encode())
            if bytes_ >= size:
                return found


def batches(documents: list[str]) -> list[Batch]:
    """These documents in batches of about 1 MB; a larger one is a batch of its own."""
    groups: list[list[str]] = [[]]
    room = BATCH_BYTES
    for document in documents:
        if room <= 0:
            groups.append([])
            room = BATCH_BYTES
        groups[-1].append(document)
        room -= len(document)
    return [
        pa.RecordBatch.from_pydict({TEXT: group, LANGUAGE: ["en"] * len(group)}) for group in groups
    ]


def megabytes(what: str) -> float:
    """VmRSS, what this process has now, or VmHWM, the most that it has had since `forget`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def forget() -> None:
    """Let VmHWM begin anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(given: argparse.Namespace) -> None:
    """Measure one size in this process and print it as JSON."""
    stage = Filter(chosen(given.families))
    documents = grown(texts(given.pages, given.field), given.size * 1_000_000)
    if given.joined:
        documents = ["\n".join(documents)]
    work = batches(documents)
    del documents
    stage(work[0].slice(0, 0))
    size = sum(batch.nbytes for batch in work) / 1e6
    before, rounds = megabytes("VmRSS"), []
    forget()
    for _ in range(2):
        started = time.process_time()
        for batch in work:
            stage(batch)
        rounds.append(time.process_time() - started)
    grew = megabytes("VmHWM") - before
    print(json.dumps({"mb": size, "seconds": min(rounds), "grew": grew}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--field", default="text")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), help="rule sets, or all")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--joined", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.size:
        measure(given)
        return
    table = Table("MB", "documents", "ns per byte", "MB/s", "memory, MB", "times the text")
    for size in SIZES:
        for joined in (False, True):
            command = [sys.executable, "-m", "benchmarks.filters_growth", *sys.argv[1:]]
            command += ["--size", str(size), *["--joined"] * joined]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found = json.loads(done.stdout)
            each = found["seconds"] * 1e3 / found["mb"]
            memory = [f"{found['grew']:.0f}", f"{found['grew'] / found['mb']:.1f}"]
            table.add_row(
                str(size), "one" if joined else "small", f"{each:.1f}", f"{1e3 / each:.0f}", *memory
            )
    Console().print(table)


if __name__ == "__main__":
    main()
