"""Which documents share a row: all behind each other, the best that fit, or one in each."""

import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from curate.column import Positions
from curate.errors import ShardError
from curate.kernel import borrowing
from curate.store import digest, disk_errors, write_atomic
from tokenizer.dataset import TokenDataset
from tokenizer.shards import running_sums

_VERSION = 1  # of plans; another one is another plan for the same shards


class Rows(Protocol):
    """Shards cut into rows of context + 1 tokens."""

    rows: int
    targets: int  # in one epoch
    fill: float  # the share of places that hold a token

    def read(self, row: int, out: NDArray[Any]) -> None:
        """Write the tokens of a row."""

    def starts(self, row: int) -> Positions:
        """Where in a row documents begin, and its padding if it has any."""

    def filled(self, row: int) -> int:
        """How many tokens of a row are no padding."""


class Stream:
    """Rows that overlap by one token: every token but the first is predicted once per epoch."""

    def __init__(self, dataset: TokenDataset, context: int) -> None:
        self.rows = (dataset.tokens - 1) // context
        self.targets = self.rows * context
        self.fill = 1.0
        self._dataset = dataset
        self._context = context

    def read(self, row: int, out: NDArray[Any]) -> None:
        self._dataset.window(row * self._context, self._context + 1, out)

    def starts(self, row: int) -> Positions:
        return self._dataset.document_starts(row * self._context, self._context + 1)

    def filled(self, row: int) -> int:  # noqa: ARG002  # as of any rows
        return self._context + 1


class Plan(NamedTuple):
    """Pieces of documents, by the row that they are in."""

    starts: NDArray[np.int64]  # of each piece, in the tokens of the shards
    lengths: NDArray[np.int32]
    firsts: NDArray[np.int64]  # row r has pieces firsts[r] to firsts[r + 1]

    def fill(self, context: int) -> float:
        """The share of places that hold a token."""
        return int(self.lengths.sum()) / max(1, (len(self.firsts) - 1) * (context + 1))


class Packed:
    """Rows of whole documents; only one with more than context + 1 tokens is in several pieces.

    Its pieces overlap by one token, so that every token of a document but its first is predicted
    once per epoch, and nothing else is.
    """

    def __init__(self, dataset: TokenDataset, plan: Plan, context: int) -> None:
        self.rows = len(plan.firsts) - 1
        self.targets = int(plan.lengths.sum()) - len(plan.lengths)
        self.fill = plan.fill(context)
        self._dataset = dataset
        self._plan = plan
        self._length = context + 1

    def read(self, row: int, out: NDArray[Any]) -> None:
        filled = 0
        for start, length in zip(*(part.tolist() for part in self._pieces(row)), strict=True):
            self._dataset.window(start, length, out[filled : filled + length])
            filled += length
        out[filled:] = self._dataset.end_of_text

    def starts(self, row: int) -> Positions:
        starts = running_sums(self._pieces(row)[1])
        return starts if starts[-1] < self._length else starts[:-1]

    def filled(self, row: int) -> int:
        return int(self._pieces(row)[1].sum())

    def _pieces(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        pieces = slice(*self._plan.firsts[row : row + 2].tolist())
        return self._plan.starts[pieces], self._plan.lengths[pieces]


def rows_of(dataset: TokenDataset, context: int, packing: str, plans: Path | None) -> Rows:
    """The rows of shards under a setting; plans are kept in a folder, if one is given."""
    if packing == "concat":
        return Stream(dataset, context)
    return Packed(dataset, kept_plan(dataset, context, packing, plans), context)


def kept_plan(dataset: TokenDataset, context: int, packing: str, folder: Path | None) -> Plan:
    """The plan in the folder if it is one for these shards, or a new one, which is left there."""
    if folder is None:
        return plan_of(dataset.document_lengths(), context, packing)
    key = digest([_VERSION, dataset.digest, context, packing])
    path = folder / f"{packing}-T{context}-{key[:12]}.npz"
    plan = _read(path, key)
    if plan is None:
        plan = plan_of(dataset.document_lengths(), context, packing)
        file = io.BytesIO()
        np.savez(file, key=np.array(key), **plan._asdict())
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, file.getvalue())
    return plan


def _read(path: Path, key: str) -> Plan | None:
    """A plan that is whole and has this key, else None; a torn one is made again."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                return None
            return Plan(*(arrays[name] for name in Plan._fields))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def plan_of(lengths: NDArray[np.int64], context: int, packing: str) -> Plan:
    """The rows of documents of these lengths: `best_fit`, or `pad` for a piece in each."""
    starts, sizes = pieces_of(lengths, context)
    if len(sizes) >= 1 << 31:
        raise ShardError(f"{len(sizes):,} pieces of documents; packing takes fewer than 2**31")
    if packing == "pad":
        return Plan(starts, sizes, np.arange(len(sizes) + 1))
    order, firsts = best_fit(sizes, context + 1)
    return Plan(starts[order], sizes[order], firsts)


def pieces_of(
    lengths: NDArray[np.int64], context: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where the pieces of documents begin in the tokens, and how long they are."""
    ends = np.cumsum(lengths)
    counts = np.maximum(1, -(-(lengths - 1) // context))
    document = np.repeat(np.arange(len(lengths)), counts)
    within = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = (ends - lengths)[document] + within * context
    return starts, np.minimum(ends[document] - starts, context + 1).astype(np.int32)


def best_fit(sizes: NDArray[np.int32], room: int) -> tuple[Positions, Positions]:
    """Pieces by rows, best fit decreasing: their order, and with which of them each row begins.

    The longest first, each goes where it leaves the least room.
    """
    # Stable, and for numbers of 16 bits a radix sort.
    narrow = sizes.astype(np.uint16) if room < 1 << 16 else sizes
    longest_first = np.argsort(-narrow, kind="stable")
    heads = np.full(room + 1, -1, np.int32)
    below, rows = np.empty(len(sizes), np.int32), np.empty(len(sizes), np.int32)
    count = _place(sizes, longest_first, heads, below, rows)
    firsts = np.zeros(count + 1, np.int64)
    order = np.empty(len(sizes), np.int64)
    _gather(longest_first, rows, firsts, order)
    return order, firsts


@borrowing
def _place(sizes: Any, order: Any, heads: Any, below: Any, rows: Any) -> Any:
    """Give each piece its row; the number of rows.

    `heads` has for every room the last row that has it, and `below` the one before that. For
    pieces of one size the room that is looked at only grows, so that a size costs one look at
    each room and a piece costs O(1).
    """
    full = len(heads) - 1
    count, room, last = 0, full, 0
    for i in order:
        size = sizes[i]
        if size != last:
            room, last = size, size
        while room < full and heads[room] < 0:
            room += 1
        if room == full:
            row = count
            count += 1
        else:
            row = heads[room]
            heads[room] = below[row]
        rows[i] = row
        left = room - size
        below[row] = heads[left]
        heads[left] = row
        if left >= size:
            room = left
    return count


@borrowing
def _gather(order: Any, rows: Any, firsts: Any, out: Any) -> None:
    """The pieces by their row, in this order within it, by counting."""
    for row in rows:
        firsts[row + 1] += 1
    for row in range(len(firsts) - 1):
        firsts[row + 1] += firsts[row]
    for i in order:
        out[firsts[rows[i]]] = i
        firsts[rows[i]] += 1
    for row in range(len(firsts) - 1, 0, -1):
        firsts[row] = firsts[row - 1]
    firsts[0] = 0
