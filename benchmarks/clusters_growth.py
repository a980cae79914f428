"""What deciding near-duplicates costs per document, from 10^5 to 10^7 documents and beyond.

    python -m benchmarks.clusters_growth                    # ten minutes, 8 GB of disk
    python -m benchmarks.clusters_growth --documents 1e4 1e5 --memory-mib 256

Surveys are generated from a fixed seed, in the layout that the stage itself writes: FineWeb's
14 x 8, of every document a key per band and 256 bytes of checks. Of the documents 60 % are like no
other; the others are in clusters whose sizes follow a power law (size s as often as s**-2), and one
cluster has a fiftieth of all. A member shares a part of .8 to 1 with its cluster's ideal. There is
no text, so candidates are confirmed by their checks. Each size is decided by a process of its own,
whose memory is watched from outside; reading the surveys is included, writing verdicts is not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.neardup_stage import CHECKS_COLUMN, preset, settings
from curate.column import Hashes, Numbers, Positions
from curate.dedup.minhash import MinHash
from curate.schema import DROPPED_BY, ID, TEXT
from curate.survey import Means

SHARD = 250_000  # documents
ALONE = 0.6  # of the documents are like no other
HUGE = 50  # one cluster has a 50th of the documents
LEAST_SHARED = 0.8
CHECK_WORDS = 32
WARM = 2_000  # documents that load the kernels before the clock starts
BILLION = 1_000_000_000
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Cost(NamedTuple):
    """What one decision took."""

    documents: int
    dropped: int
    seconds: float
    cpu_seconds: float
    anonymous_bytes: int  # at most, without what the process had before
    resident_bytes: int  # at most, all of it
    disk_bytes: int  # at most, besides the surveys
    survey_bytes: int


def stage() -> MinHash:
    """FineWeb's bands, confirmed by checks."""
    return MinHash(**settings(*preset("fineweb"), "sketch"))


def layout() -> pa.Schema:
    """The columns that the stage's survey has."""
    columns = [pa.array([bytes(16)], pa.binary(16)), pa.array(["a b c d e f g"], pa.string())]
    return stage().survey(pa.RecordBatch.from_arrays(columns, [ID, TEXT])).schema


def clusters(documents: int, seed: int) -> Positions:
    """The cluster of every document in an order by chance; those alone have one of their own."""
    draw = np.random.default_rng(seed)
    together = int(documents * (1 - ALONE))
    huge = documents // HUGE
    # Inverse of the power law's tail: size s or more with a probability of 2 / s.
    drawn = (2 / (1 - draw.random(together))).astype(np.int64)
    sizes = np.append(huge, np.minimum(drawn, max(2, huge)))
    sizes = sizes[: np.searchsorted(np.cumsum(sizes), together) + 1]
    members = np.repeat(np.arange(len(sizes)), sizes)[:together]
    everyone = np.append(members, np.arange(documents - len(members)) + len(sizes))
    draw.shuffle(everyone)
    return everyone


def mixed(values: Hashes) -> Hashes:
    """SplitMix64's finisher: numbers that look like chance, the same each time."""
    values = (values + np.uint64(1)) * _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def ideals(cluster: Positions, width: int, seed: int) -> Hashes:
    """So many numbers of every document's cluster."""
    first = mixed(cluster.astype(np.uint64) + np.uint64(seed << 48))
    return mixed(first[:, None] + np.arange(width, dtype=np.uint64) * _GOLDEN)


def keys(cluster: Positions, shared: Numbers, bands: int, draw: np.random.Generator) -> Hashes:
    """A key per band: its cluster's with the probability that all rows of a band are equal."""
    rows = preset("fineweb")[1]
    own = draw.integers(0, 2**64, (len(cluster), bands), np.uint64)
    is_shared = draw.random(own.shape, np.float32) < (shared**rows)[:, None]
    return np.where(is_shared, ideals(cluster, bands, 1), own)


def checks(cluster: Positions, shared: Numbers, draw: np.random.Generator) -> NDArray[np.uint8]:
    """256 bytes of two checks each, of which a part is its cluster's; no check is empty."""
    width = 8 * CHECK_WORDS
    filled = np.array([(b if b & 15 else b | 1) if b >> 4 else b | 17 for b in range(256)])
    own = draw.integers(0, 256, (len(cluster), width), np.uint8)
    parts = draw.integers(0, 256, own.shape, np.uint8)
    is_shared = parts < np.minimum(shared * 256, 255).astype(np.uint8)[:, None]
    ideal = ideals(cluster, CHECK_WORDS, 2).view(np.uint8)
    return filled.astype(np.uint8)[np.where(is_shared, ideal, own)]


def binaries(rows: NDArray[Any]) -> pa.Array:
    """The bytes of each row as a binary of fixed width."""
    rows = np.ascontiguousarray(rows)
    width = rows.dtype.itemsize * rows.shape[1]
    buffers = [None, pa.py_buffer(rows)]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), buffers)


def shard(schema: pa.Schema, first: int, cluster: Positions, seed: int) -> pa.Table:
    """A survey's table of documents of these clusters, its columns filled by name and type."""
    draw = np.random.default_rng((seed, first))
    shared = draw.uniform(LEAST_SHARED, 1, len(cluster))
    sizes = draw.integers(100, 5000, len(cluster))
    numbers = np.arange(first, first + len(cluster), dtype=np.uint64)
    bands = preset("fineweb")[0]
    made = keys(cluster, shared, bands, draw)
    band = iter(range(bands))
    columns = {}
    for field in schema:
        if field.name == ID:
            columns[ID] = binaries(mixed(numbers[:, None] * np.uint64(2) + np.array([0, 1], "u8")))
        elif field.name == CHECKS_COLUMN:
            columns[field.name] = binaries(checks(cluster, shared, draw))
        elif pa.types.is_fixed_size_binary(field.type):
            columns[field.name] = binaries(made)
        elif pa.types.is_uint64(field.type):
            columns[field.name] = pa.array(np.ascontiguousarray(made[:, next(band)]))
        else:
            columns[field.name] = pa.array(sizes).cast(field.type)
    return pa.table(columns, schema=schema)


def generate(documents: int, folder: Path, seed: int) -> list[Path]:
    """Surveys of so many documents."""
    folder.mkdir(parents=True, exist_ok=True)
    schema, everyone = layout(), clusters(documents, seed)
    paths: list[Path] = []
    for first in range(0, documents, SHARD):
        table = shard(schema, first, everyone[first : first + SHARD], seed)
        paths.append(folder / f"survey-{len(paths):05d}.parquet")
        # Keys and checks are chance: packing them gains nothing.
        pq.write_table(table, paths[-1], compression="zstd", use_dictionary=False)
    return paths


def decide(surveys: list[Path], folder: Path, memory: int) -> tuple[int, int]:
    """Documents and how many of them go."""
    gone = [np.zeros(pq.read_metadata(path).num_rows, np.bool_) for path in surveys]
    documents = dropped = 0
    with tempfile.TemporaryDirectory(dir=folder) as own:
        for table in stage().decide(surveys, gone, Means([], Path(own), memory)):
            documents += len(table)
            dropped += len(table) - table.column(DROPPED_BY).null_count
    return documents, dropped


def child(folder: Path, memory: int) -> None:
    """Decide about the surveys in a folder, after a few others that load the kernels."""
    scratch = folder / "scratch"
    decide(sorted((folder / "warm").iterdir()), scratch, memory)
    surveys = sorted((folder / "surveys").iterdir())
    before = status(os.getpid())["RssAnon"]
    started, cpu = time.perf_counter(), time.process_time()
    documents, dropped = decide(surveys, scratch, memory)
    figures = {
        "documents": documents,
        "dropped": dropped,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "before": before,
    }
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def status(process: int) -> dict[str, int]:
    """Bytes of a process's memory by kind, as Linux tells them; nothing of one that is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in sizes}


def disk(folder: Path) -> int:
    """Bytes of all files of a folder, some of which may vanish while they are counted."""
    found = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found += (Path(path) / name).stat().st_size
            except OSError:
                continue
    return found


def watched(folder: Path, memory: int) -> tuple[int, int, int]:
    """Run the child; at most: anonymous memory, disk in its scratch folder, resident memory."""
    command = [sys.executable, "-m", "benchmarks.clusters_growth", "--child", str(folder)]
    command += ["--memory-mib", str(memory >> 20)]
    process = subprocess.Popen(command, env={**os.environ, "NUMBA_NUM_THREADS": "1"})
    anonymous = files = 0
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        anonymous = max(anonymous, status(process.pid).get("RssAnon", 0))
        files = max(files, disk(folder / "scratch"))
        time.sleep(0.02)
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        sys.exit(f"deciding about {folder} failed")
    return anonymous, files, usage.ru_maxrss << 10


def measured(documents: int, memory: int, seed: int, home: Path) -> Cost:
    """Generate surveys of so many documents and decide about them."""
    with tempfile.TemporaryDirectory(dir=home) as name:
        folder = Path(name)
        (folder / "scratch").mkdir()
        generate(WARM, folder / "warm", seed + 1)
        print(f"generating surveys of {documents:,} documents", file=sys.stderr)
        surveys = generate(documents, folder / "surveys", seed)
        anonymous, files, resident = watched(folder, memory)
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        return Cost(
            *(figures["documents"], figures["dropped"], figures["seconds"], figures["cpu_seconds"]),
            *(max(0, anonymous - figures["before"]), resident, files),
            sum(path.stat().st_size for path in surveys),
        )


def table(costs: list[Cost], memory: int) -> Table:
    """A row for every size, and the times as dear a document is as at the first."""
    title = f"Deciding near-duplicates, 14 x 8, one process, {memory >> 20:,} MiB a task"
    out = Table(title=title, title_justify="left")
    columns = ("documents", "go", "s", "CPU s", "ns a\ndocument", "times\nthe first")
    for column in (*columns, "memory\nMiB", "bytes a\ndocument", "resident\nMiB"):
        out.add_column(column, justify="right")
    for column in ("disk, bytes\na document", "survey, bytes\na document"):
        out.add_column(column, justify="right")
    first = costs[0].cpu_seconds / costs[0].documents
    for cost in costs:
        each = cost.cpu_seconds / cost.documents
        out.add_row(
            *(f"{cost.documents:,}", f"{cost.dropped / cost.documents:.1%}"),
            *(f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}", f"{each * 1e9:,.0f}"),
            *(f"{each / first:.2f}", f"{cost.anonymous_bytes / 2**20:,.0f}"),
            *(
                f"{cost.anonymous_bytes / cost.documents:,.0f}",
                f"{cost.resident_bytes / 2**20:,.0f}",
            ),
            *(f"{size / cost.documents:,.0f}" for size in (cost.disk_bytes, cost.survey_bytes)),
        )
    return out


def by_calculation(costs: list[Cost], memory: int) -> str:
    """What 10^9 documents would take, from the largest size and what grew between the last two."""
    last, before = costs[-1], costs[-2:][0]
    hours = last.cpu_seconds / last.documents * BILLION / 3600
    grown = max(0, last.anonymous_bytes - before.anonymous_bytes)
    more = grown / max(1, last.documents - before.documents)
    held = last.anonymous_bytes + more * (BILLION - last.documents)
    return (
        f"10^9 documents, by calculation: {hours:,.1f} hours of one core, surveys of "
        f"{last.survey_bytes / last.documents * BILLION / 1e9:,.0f} GB, "
        f"{last.disk_bytes / last.documents * BILLION / 1e9:,.0f} GB of disk beside them, and "
        f"{held / 2**30:,.1f} GiB of memory if it grows as from {before.documents:,} to "
        f"{last.documents:,} ({more:.1f} bytes a document; {memory >> 20:,} MiB of it a task's)."
    )


def main() -> None:
    """Print a row for every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--memory-mib", type=int, default=1024, help="of each task of a decision")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where surveys are kept meanwhile")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    memory = given.memory_mib << 20
    if given.child:
        child(given.child, memory)
        return
    home = given.folder or Path(tempfile.gettempdir())
    costs = [measured(int(size), memory, given.seed, home) for size in given.documents]
    console = Console(width=150)
    console.print(table(costs, memory))
    console.print(
        "Memory: anonymous, without the 100 MiB or so of a process that has done nothing."
    )
    console.print(by_calculation(costs, memory))


if __name__ == "__main__":
    main()
