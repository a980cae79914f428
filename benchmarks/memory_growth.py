"""Peak memory of a run on 1, 4 and 16 times the same pages, words in another order each time.

Example: python -m benchmarks.memory_growth demo/crawl/*.warc.gz --recipe fineweb
"""

import argparse
import gzip
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecordType
from rich.console import Console
from rich.table import Table

WORDS = re.compile(rb">([^<>]+)<")


def shuffled(html: bytes, seed: int) -> bytes:
    """The page with the words of each piece of text in another order."""
    random_ = random.Random(seed)

    def shuffle(match: re.Match[bytes]) -> bytes:
        words = match[1].split(b" ")
        random_.shuffle(words)
        return b">" + b" ".join(words) + b"<"

    return WORDS.sub(shuffle, html) if seed else html


def write_copies(sources: list[Path], path: Path, copies: int) -> tuple[int, int]:
    """One WARC file with so many copies of all pages; their number and size as HTML."""
    pages = size = 0
    with path.open("wb") as out:
        for copy in range(copies):
            for source in sources:
                with source.open("rb") as file:
                    for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                        body = shuffled(record.reader.read(), copy)
                        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
                        head = (
                            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: "
                            f"{record.headers['WARC-Target-URI']}?copy={copy}\r\n"
                            f"Content-Type: application/http; msgtype=response\r\n"
                            f"Content-Length: {len(http)}\r\n\r\n"
                        )
                        content = head.encode() + http + b"\r\n\r\n"
                        out.write(gzip.compress(content, 1, mtime=0))
                        pages, size = pages + 1, size + len(body)
    return pages, size


def measured(recipe: str, crawl: Path, output: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of the driver of a run in one process."""
    command = [sys.executable, "-m", "curate", "run", recipe, "--workers", "0"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--input", str(crawl), "--output", str(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit(f"the run on {crawl} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, nargs="+")
    parser.add_argument("--recipe", default="fineweb")
    parser.add_argument("--copies", type=int, nargs="*", default=[1, 4, 16])
    arguments = parser.parse_args()
    table = Table("copies", "pages", "HTML, MB", "seconds", "pages/s", "peak memory, MB")
    with tempfile.TemporaryDirectory() as folder:
        for copies in arguments.copies:
            crawl = Path(folder) / f"copies-{copies}.warc.gz"
            pages, size = write_copies(arguments.input, crawl, copies)
            seconds, peak = measured(arguments.recipe, crawl, Path(folder) / f"output-{copies}")
            table.add_row(
                *(str(copies), f"{pages:,}", f"{size / 1e6:,.0f}", f"{seconds:.1f}"),
                *(f"{pages / seconds:,.0f}", f"{peak:,.0f}"),
            )
    Console().print(table)


if __name__ == "__main__":
    main()
