"""Rows of word numbers on disk: sorted in memory, merged from runs, looked up in order.

A row is `order` numbers and two more columns for what is known about them: a count of 64 bits, or
two floats. Memory follows the rows held at once, never the rows there are.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.kernel import helper

Rows = NDArray[np.uint32]
Columns = NDArray[np.int64]
Floats = NDArray[np.float32]

PAYLOAD = 2  # columns
DIGIT_BITS = 11
DIGITS = 1 << DIGIT_BITS
FAN_IN = 64  # so many runs are merged at once: each is read in pieces of a share of the memory
LEAST_ROWS = 1 << 10  # of a run that are read at once, however little memory there is


@helper
def sorted_rows(rows: Rows, spare: Rows, keys: Columns, bits: int) -> Rows:
    """Rows by these columns, the first counts most; radix sort, so linear, into either array."""
    starts = np.empty(DIGITS + 1, np.int64)
    here, there = rows, spare
    for turn in range(len(keys)):
        key = keys[len(keys) - 1 - turn]
        for shift in range(0, bits, DIGIT_BITS):
            starts[:] = 0
            for row in range(len(here)):
                starts[((np.int64(here[row, key]) >> shift) & (DIGITS - 1)) + 1] += 1
            if starts.max() == len(here):  # no row differs here
                continue
            for digit in range(DIGITS):
                starts[digit + 1] += starts[digit]
            for row in range(len(here)):
                own = (np.int64(here[row, key]) >> shift) & (DIGITS - 1)
                place = starts[own]
                starts[own] += 1
                for column in range(here.shape[1]):
                    there[place, column] = here[row, column]
            here, there = there, here
    return here


@helper
def compared(one: Rows, row: int, other: Rows, place: int, keys: Columns) -> int:
    """Below 0 where the first row comes first, 0 where both are equal, above 0 otherwise."""
    for turn in range(len(keys)):
        key = keys[turn]
        if one[row, key] != other[place, key]:
            return -1 if one[row, key] < other[place, key] else 1
    return 0


@helper
def rows_upto(rows: Rows, bound: Rows, keys: Columns) -> int:
    """How many of the sorted rows do not come after the one row of `bound`."""
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if compared(rows, middle, bound, 0, keys) <= 0:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def added_up(rows: Rows, keys: Columns) -> int:
    """Add the counts of equal rows into the first of them, and move these to the front."""
    if len(rows) == 0:
        return 0
    last, low, high = 0, rows.shape[1] - 2, rows.shape[1] - 1
    for row in range(1, len(rows)):
        if compared(rows, row, rows, last, keys) == 0:
            count = np.int64(rows[last, low]) + np.int64(rows[row, low])
            rows[last, low] = count & 0xFFFFFFFF
            rows[last, high] += rows[row, high] + (count >> 32)
            continue
        last += 1
        for column in range(rows.shape[1]):
            rows[last, column] = rows[row, column]
    return last + 1


@helper
def looked_up(rows: Rows, skip: int, state: Columns, table: Rows, values: Floats) -> None:
    """For each row, from state[0] on, the first float of the table's row with its numbers.

    The table's numbers are the row's without the first `skip`; both are sorted from the last number
    to the first. Stops where either ends; state[1] is how far the table was read.
    """
    order = table.shape[1] - PAYLOAD
    floats = table.view(np.float32)
    row, place = state[0], state[1]
    while row < len(rows) and place < len(table):
        column = order - 1
        while column >= 0 and table[place, column] == rows[row, column + skip]:
            column -= 1
        if column >= 0 and table[place, column] < rows[row, column + skip]:
            place += 1
            continue
        if column < 0:
            values[row] = floats[place, order]
        row += 1
    state[0], state[1] = row, place


def suffix_order(order: int) -> Columns:
    """Columns from the last word to the first: n-grams with the same end lie together."""
    return np.arange(order - 1, -1, -1)


def context_order(order: int) -> Columns:
    """Columns from the last word but one to the first, then the last: contexts lie together."""
    return np.append(np.arange(order - 2, -1, -1), order - 1)


@dataclass(frozen=True)
class Run:
    """Sorted rows in a file."""

    path: str
    width: int
    rows: int

    def read(self, start: int, count: int) -> Rows:
        """Some of the rows."""
        count = max(min(count, self.rows - start), 0)
        found = np.fromfile(self.path, np.uint32, count * self.width, offset=4 * start * self.width)
        return found.reshape(-1, self.width)

    def blocks(self, rows: int) -> Iterator[Rows]:
        """All rows, so many at once."""
        for start in range(0, self.rows, rows):
            yield self.read(start, rows)


@dataclass
class Sorter:
    """Takes rows in any order and leaves sorted runs; `counts` adds up the counts of equal rows."""

    folder: Path
    name: str
    keys: Columns
    bits: int  # of the largest number
    bytes: int  # for the rows that are held and as many to sort them
    counts: bool = False

    def __post_init__(self) -> None:
        self._width = len(self.keys) + PAYLOAD
        self._room = max(self.bytes // (8 * self._width), LEAST_ROWS)
        self._held = np.empty((0, self._width), np.uint32)
        self._filled = 0
        self.runs: list[Run] = []

    def add(self, rows: Rows) -> None:
        """Take these rows."""
        for start in range(0, len(rows), self._room):
            self._add(rows[start : start + self._room])

    def _add(self, rows: Rows) -> None:
        if self._filled + len(rows) > self._room:
            self.spill()
        if len(self._held) == 0:
            # Memory is taken page by page as it is written, so room costs nothing before.
            self._held = np.empty((self._room, self._width), np.uint32)
        self._held[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    def spill(self) -> None:
        """Write what is held as a run."""
        rows = self._held[: self._filled]
        if len(rows) == 0:
            return
        rows = sorted_rows(rows, np.empty_like(rows), self.keys, self.bits)
        if self.counts:
            rows = rows[: added_up(rows, self.keys)]
        self.runs.append(write_run(self.folder / f"{self.name}-{len(self.runs)}", rows))
        self._filled = 0

    def finish(self) -> list[Run]:
        """The runs of all rows that were taken; the memory is given back."""
        self.spill()
        self._held = np.empty((0, self._width), np.uint32)
        return self.runs


def write_run(path: Path, rows: Rows) -> Run:
    """A file of these rows."""
    with path.open("wb") as file:
        rows.tofile(file)
    return Run(str(path), rows.shape[1], len(rows))


@dataclass(frozen=True)
class Merge:
    """Runs as one sorted stream; the runs are removed as they are used up."""

    folder: Path
    keys: Columns
    bits: int
    bytes: int
    counts: bool = False

    def __call__(self, runs: list[Run]) -> Iterator[Rows]:
        """Blocks of rows in order; rows with equal keys are never in two blocks."""
        for number in itertools.count():
            if len(runs) <= FAN_IN:
                break
            path = self.folder / f"{Path(runs[0].path).name}-merged-{number}"
            runs = [*runs[FAN_IN:], self._written(path, runs[:FAN_IN])]
        yield from self._merged(runs)

    def _written(self, path: Path, runs: list[Run]) -> Run:
        rows = 0
        with path.open("wb") as file:
            for block in self._merged(runs):
                block.tofile(file)
                rows += len(block)
        return Run(str(path), runs[0].width, rows)

    def _merged(self, runs: list[Run]) -> Iterator[Rows]:
        share = max(self.bytes // (12 * max(len(runs), 1) * (len(self.keys) + PAYLOAD)), LEAST_ROWS)
        if len(runs) == 1:
            yield from runs[0].blocks(share)
        else:
            yield from self._in_order([_Reader(run, share) for run in runs])
        for run in runs:
            Path(run.path).unlink()

    def _in_order(self, readers: list["_Reader"]) -> Iterator[Rows]:
        while any(len(reader.held) for reader in readers):
            # Up to the smallest of the last rows read there is nothing that is still to be read.
            ends = [reader.held[-1:] for reader in readers if not reader.is_done()]
            bound = min(ends, key=lambda end: end[0, self.keys].tolist(), default=None)
            taken = np.concatenate([reader.take(bound, self.keys) for reader in readers])
            rows = sorted_rows(taken, np.empty_like(taken), self.keys, self.bits)
            yield rows[: added_up(rows, self.keys)] if self.counts else rows


class _Reader:
    """A run, read piece by piece."""

    def __init__(self, run: Run, share: int) -> None:
        self._run, self._share, self._next = run, share, 0
        self.held = np.empty((0, run.width), np.uint32)
        self._fill()

    def is_done(self) -> bool:
        """Whether nothing is left in the file."""
        return self._next >= self._run.rows

    def take(self, bound: Rows | None, keys: Columns) -> Rows:
        """The rows up to a bound, or all."""
        count = len(self.held) if bound is None else rows_upto(self.held, bound, keys)
        taken, self.held = self.held[:count], self.held[count:]
        self._fill()
        return taken

    def _fill(self) -> None:
        if len(self.held) < self._share and not self.is_done():
            more = self._run.read(self._next, self._share)
            self._next += len(more)
            self.held = np.concatenate([self.held, more]) if len(self.held) else more


class Lookup:
    """A sorted run in which rows that come in order are looked up."""

    def __init__(self, run: Run | None, block_bytes: int) -> None:
        blocks = iter(()) if run is None else run.blocks(block_bytes // (4 * run.width) + 1)
        self._blocks: Iterator[Rows] = blocks
        self._block: Rows | None = next(blocks, None)
        self._state = np.zeros(2, np.int64)

    def values(self, rows: Rows, skip: int) -> Floats:
        """The first float of the run's row with the numbers of each row but the first; or NaN."""
        values = np.full(len(rows), np.nan, np.float32)
        self._state[0] = 0
        while self._block is not None:
            looked_up(rows, skip, self._state, self._block, values)
            if self._state[0] >= len(rows):
                break
            self._block = next(self._blocks, None)
            self._state[1] = 0
        return values
