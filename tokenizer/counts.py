"""Counts of pieces in files: by group of texts, sorted by hash, and merged part by part.

A file has a row for each piece and group, sorted by the hash of the piece, in 2^d row groups, one
for each value of the d highest bits. So a few of those bits say which rows of any number of files
belong together, and the files are merged in memory that does not grow with them.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.column import view
from tokenizer.counting import Tally, hashes_of, pieces_in
from tokenizer.pretokenize import Splitter, pieces_of

ROWS = pa.schema([("piece", pa.binary()), ("count", pa.int64()), ("group", pa.string())])
GROUPS = b"groups"
# Documents and bytes of a group.
Totals = dict[str, list[int]]

# A row group for so many bytes of text holds some 10,000 pieces.
GROUP_BYTES = 4 << 20
MOST_BITS = 10
# Memory that rows of files take while they are merged, for each row and each of its bytes: a slot
# in a table that is a quarter full at worst and grows, and pieces as they are read and written.
ROW_BYTES, COPIES = 256, 4
MEMORY, LEAST = 256 << 20, 16 << 20
# So many files are merged at once, each open and with a row group of it in memory.
WAYS = 16
# Pieces in a row group of a file that others are merged into.
GROUP_PIECES = 10_000


class Counter:
    """Counts the pieces of any amount of text, group by group, in bounded memory.

    What does not fit lies in files in `folder` until the end.
    """

    def __init__(self, machines: Splitter, folder: Path, memory: int = MEMORY) -> None:
        self._machines = machines
        self._folder = folder
        # Writing a table takes as much as the table again, and reading its texts some. What is
        # larger than 2 GB Arrow would not hold in one array.
        self._memory = min(max(memory, LEAST), 6 << 30) // 3
        self._tallies: dict[str, Tally] = {}
        self._runs: list[Path] = []
        self.totals: Totals = {}

    def add(self, texts: pa.Array, groups: pa.Array | None = None) -> None:
        """Count the pieces of these texts, each for its group."""
        if groups is None:
            self._add(texts, "")
            return
        groups = pc.fill_null(groups.cast(pa.string()), "")
        order = pc.array_sort_indices(groups)
        # Runs of equal names in the sorted order: one slice of texts for each.
        names = pc.run_end_encode(groups.take(order))
        texts, begin = texts.take(order), 0
        for name, end in zip(names.values.to_pylist(), names.run_ends.to_pylist(), strict=True):
            self._add(texts.slice(begin, end - begin), name)
            begin = end

    def _add(self, texts: pa.Array, group: str) -> None:
        rows = view(texts)
        total = self.totals.setdefault(group, [0, 0])
        total[0] += len(texts)
        total[1] += int(rows.offsets[-1]) - int(rows.offsets[0])
        tally = self._tallies.setdefault(group, Tally())
        tally.memory = self._memory - sum(t.bytes for t in self._tallies.values()) + tally.bytes
        for block in pieces_of(rows, self._machines):
            done = tally.count(rows.data, block)
            while done < len(block):
                self._spill()
                self._tallies = {group: tally}
                tally.memory = self._memory
                done += tally.count(rows.data, block[done:])

    def _spill(self) -> None:
        """Write all tables to a file, and go on with empty ones."""
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"run-{len(self._runs)}.parquet"
        size = sum(tally.bytes for tally in self._tallies.values())
        write(path, iter([self._tallies]), self.totals, bits_for(8 * size))
        self._runs.append(path)
        for tally in self._tallies.values():
            tally.clear()

    def _join(self) -> None:
        """Merge every few runs into a larger one: each is read once, from its begin to its end."""
        before, self._runs = self._runs, []
        for runs in (before[k : k + WAYS] for k in range(0, len(before), WAYS)):
            path = runs[0].with_suffix(".joined")
            rows = sum(pq.read_metadata(run).num_rows for run in runs)
            bits = min((rows // GROUP_PIECES).bit_length(), MOST_BITS)
            write(path, merged(runs, self._memory), self.totals, bits)
            for run in runs:
                run.unlink()
            self._runs.append(path.rename(runs[0]))

    def finish(self, path: Path) -> Totals:
        """Write all counts to one file; its bytes depend on the texts and their order alone."""
        bits = bits_for(sum(size for _, size in self.totals.values()))
        if self._runs:
            self._spill()
            self._tallies = {}
            while len(self._runs) > WAYS:
                self._join()
            write(path, merged(self._runs, self._memory), self.totals, bits)
            for run in self._runs:
                run.unlink()
            self._folder.rmdir()
        else:
            write(path, iter([self._tallies]), self.totals, bits)
        return self.totals


def bits_for(size: int) -> int:
    """How many bits of the hash tell the row groups of a file apart: so many bytes were counted."""
    return min((size // GROUP_BYTES).bit_length(), MOST_BITS)


def write(path: Path, parts: Iterator[dict[str, Tally]], totals: Totals, bits: int) -> None:
    """Write tables of groups to a file; each part holds the next stretch of hashes."""
    said = json.dumps(totals, sort_keys=True)
    schema = ROWS.with_metadata({GROUPS: said.encode()})
    bounds = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - max(bits, 1))
    pending: list[pa.Table] = []
    at = 0
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["group"]) as writer:
        for part in parts:
            rows, hashes = rows_of(part)
            begin = 0
            if len(hashes) == 0:
                continue
            # Row groups that end within this part, or before it.
            while at < len(bounds) and bounds[at] <= hashes[-1]:
                end = int(np.searchsorted(hashes, bounds[at]))
                writer.write_table(pa.concat_tables([*pending, rows.slice(begin, end - begin)]))
                pending, begin, at = [], end, at + 1
            pending.append(rows.slice(begin))
        for _ in range(at, len(bounds) + 1):
            writer.write_table(pa.concat_tables([ROWS.empty_table(), *pending]))
            pending = []


def rows_of(tallies: dict[str, Tally]) -> tuple[pa.Table, Any]:
    """What tables of groups hold, sorted by hash and group, and the hashes."""
    tables, hashes = [ROWS.empty_table()], [np.empty(0, np.uint64)]
    for group in sorted(tallies):
        table, keys = tallies[group].counted()
        name = pa.repeat(group, table.num_rows)
        tables.append(table.append_column("group", name).cast(ROWS))
        hashes.append(keys)
    keys = np.concatenate(hashes)
    rows = pa.concat_tables(tables)
    if len(tallies) < 2:
        return rows, keys
    order = np.argsort(keys, kind="stable")
    return rows.take(order), keys[order]


def totals_of(paths: Sequence[Path]) -> Totals:
    """Documents and bytes of each group in all files."""
    totals: Totals = {}
    for path in paths:
        said = json.loads(pq.read_schema(path).metadata[GROUPS])
        for group, numbers in said.items():
            before = totals.get(group, [0, 0])
            totals[group] = [a + b for a, b in zip(before, numbers, strict=True)]
    return totals


def merged(
    paths: Sequence[Path], memory: int, weights: dict[str, int] | None = None
) -> Iterator[dict[str, Tally]]:
    """The sums of all files, a stretch of hashes at a time; with weights all groups in one."""
    bits = (sum(map(size_merged, paths)) // max(memory, LEAST // 3)).bit_length()
    # Of one table it is known how many pieces it will have at least.
    most = max((pq.read_metadata(path).num_rows for path in paths), default=0)
    with ExitStack() as stack:
        # Files stay open if they are few; opening each one for each stretch took most of the time.
        files = [stack.enter_context(Rows(path, len(paths) <= WAYS)) for path in paths]
        for part in range(1 << bits):
            tallies: dict[str, Tally] = {} if weights is None else {"": Tally(pieces=most >> bits)}
            for file in files:
                for table in file.stretch(part, bits):
                    enter(table, tallies, weights)
            yield tallies


def summed(paths: Sequence[Path], memory: int, weights: dict[str, int]) -> Iterator[pa.Table]:
    """All pieces of all files, each in one row with the weighted sum of its counts."""
    if len(paths) == 1 and list(weights.values()) == [1]:
        with pq.ParquetFile(paths[0]) as file:  # where they are each in one row
            yield file.read(["piece", "count"])
        return
    for tallies in merged(paths, memory, weights):
        yield from (tally.pieces() for tally in tallies.values())


def size_merged(path: Path) -> int:
    """The memory in which a file could be merged at once."""
    said = pq.read_metadata(path)
    size = sum(said.row_group(k).total_byte_size for k in range(said.num_row_groups))
    return int(said.num_rows * ROW_BYTES + size * COPIES)


class Rows:
    """The rows of a file by stretches of hashes, read from its begin to its end."""

    def __init__(self, path: Path, stays_open: bool) -> None:
        self._path = path
        self._file = pq.ParquetFile(path) if stays_open else None
        # The row group that was read last, and the hashes of its rows.
        self._last: tuple[int, pa.Table, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file:
            self._file.close()

    def stretch(self, part: int, bits: int) -> Iterator[pa.Table]:
        """The rows of which the highest bits of the hash are these."""
        with nullcontext(self._file) if self._file else pq.ParquetFile(self._path) as file:
            depth = file.num_row_groups.bit_length() - 1
            if bits > depth:
                yield self._within(file, part >> (bits - depth), np.uint64(64 - bits), part)
                return
            first = part << (depth - bits)
            for group in range(first, first + (1 << (depth - bits))):
                yield file.read_row_group(group)

    def _within(self, file: pq.ParquetFile, group: int, shift: np.uint64, part: int) -> pa.Table:
        """The rows of a stretch that is less than a row group; rows are sorted by their hash."""
        if self._last is None or self._last[0] != group:
            table = file.read_row_group(group)
            column = table["piece"].combine_chunks()
            hashes = hashes_of(pieces_in(column)[1]) if len(column) else np.empty(0, np.uint64)
            self._last = group, table, hashes >> shift
        _, table, parts = self._last
        if not self._file:
            self._last = None
        begin, end = np.searchsorted(parts, np.array([part, part + 1], np.uint64))
        return table.slice(int(begin), int(end - begin))


def enter(table: pa.Table, tallies: dict[str, Tally], weights: dict[str, int] | None) -> None:
    """Add the rows of a file to the tables of their groups, or weighted to the one without name."""
    groups = pc.unique(table["group"]).to_pylist()
    for group in groups:
        mine = table.filter(pc.equal(table["group"], group)) if len(groups) > 1 else table
        scale = 1 if weights is None else weights[group]
        if scale == 0:
            continue
        tally = tallies.setdefault(group if weights is None else "", Tally())
        for batch in mine.combine_chunks().to_batches():
            data, pieces = pieces_in(batch.column("piece"))
            numbers = batch.column("count").to_numpy() * scale
            tally.count(data, pieces, numbers)
