"""Which documents share a row: all behind each other, the best that fit, or one in each."""

import hashlib
from collections.abc import Sequence
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

    def read(self, rows: Positions, out: Sequence[NDArray[Any]]) -> None:
        """Write the tokens of each row."""

    def marks(self, rows: Positions) -> tuple[Positions, Positions]:
        """Where documents and padding begin: in which of these rows, and the place within it."""

    def filled(self, rows: Positions) -> Positions:
        """How many tokens of each row are no padding."""


class Stream:
    """Rows that overlap by one token: every token but the first is predicted once per epoch."""

    def __init__(self, dataset: TokenDataset, context: int) -> None:
        self.rows = (dataset.tokens - 1) // context
        self.targets = self.rows * context
        self.fill = 1.0
        self._dataset = dataset
        self._context = context

    def read(self, rows: Positions, out: Sequence[NDArray[Any]]) -> None:
        for start, row in zip((rows * self._context).tolist(), out, strict=True):
            self._dataset.window(start, self._context + 1, row)

    def marks(self, rows: Positions) -> tuple[Positions, Positions]:
        places = [
            self._dataset.document_starts(start, self._context + 1)
            for start in (rows * self._context).tolist()
        ]
        return np.repeat(np.arange(len(rows)), [*map(len, places)]), np.concatenate(places)

    def filled(self, rows: Positions) -> Positions:
        return np.full(len(rows), self._context + 1)


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

    def read(self, rows: Positions, out: Sequence[NDArray[Any]]) -> None:
        for row, filled in zip(out, self.filled(rows).tolist(), strict=True):
            row[filled:] = self._dataset.end_of_text
        within, pieces, places = self._pieces(rows)
        starts, lengths = self._plan.starts[pieces], self._plan.lengths[pieces]
        for row, start, length, place in zip(
            within.tolist(), starts.tolist(), lengths.tolist(), places.tolist(), strict=True
        ):
            self._dataset.window(start, length, out[row][place : place + length])

    def marks(self, rows: Positions) -> tuple[Positions, Positions]:
        within, _, places = self._pieces(rows)
        filled = self.filled(rows)
        padded = np.flatnonzero(filled < self._length)
        return np.concatenate([within, padded]), np.concatenate([places, filled[padded]])

    def filled(self, rows: Positions) -> Positions:
        within, pieces, _ = self._pieces(rows)
        return np.bincount(within, self._plan.lengths[pieces], len(rows)).astype(np.int64)

    def _pieces(self, rows: Positions) -> tuple[Positions, Positions, Positions]:
        """The pieces of these rows: in which of them, which of the plan, and at which place."""
        firsts = self._plan.firsts
        counts = firsts[rows + 1] - firsts[rows]
        before = np.cumsum(counts) - counts
        within = np.repeat(np.arange(len(rows)), counts)
        pieces = np.arange(len(within)) + (firsts[rows] - before)[within]
        sums = running_sums(self._plan.lengths[pieces])
        return within, pieces, sums[:-1] - sums[before][within]


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
    path = folder / f"{packing}-T{context}-{key[:12]}.plan"
    plan = _read(path, key)
    if plan is None:
        plan = plan_of(dataset.document_lengths(), context, packing)
        rows = np.array([len(plan.firsts)])
        body = b"".join(part.tobytes() for part in (rows, plan.firsts, plan.starts, plan.lengths))
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _seal(key, body) + body)
    return plan


def _read(path: Path, key: str) -> Plan | None:
    """A plan that is whole and of this key, else None."""
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        return None
    seal, body = content[:32], content[32:]
    if seal != _seal(key, body):
        return None
    rows = int(np.frombuffer(body, np.int64, 1)[0])
    firsts = np.frombuffer(body, np.int64, rows, 8)
    pieces, place = int(firsts[-1]), 8 + firsts.nbytes
    starts = np.frombuffer(body, np.int64, pieces, place)
    return Plan(starts, np.frombuffer(body, np.int32, pieces, place + starts.nbytes), firsts)


def _seal(key: str, body: bytes | memoryview) -> bytes:
    """SHA-256 of what the plan is for and of the plan."""
    seal = hashlib.sha256(key.encode())
    seal.update(body)
    return seal.digest()


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
