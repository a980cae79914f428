"""How often each piece occurs: one table for any number of batches, and its kernels."""

from typing import Any

import numpy as np
import pyarrow as pa

from curate.column import Bytes, Hashes, Positions, view
from curate.kernel import borrowing
from curate.vectors import prefetch
from tokenizer.pretokenize import Pattern, hash_of, lengths_of, pieces_of, pieces_within, splitter

COUNTS = pa.schema([("piece", pa.binary()), ("count", pa.int64())])

# As `pretokenize` writes a piece: kernels read constants of their own file only.
LOW, HIGH, BEGIN, HASHED = range(4)
LENGTH = np.uint64((1 << 56) - 1)
LONG = np.uint64(0xFF << 56)
# What a slot holds instead of the place and the hash. One without HIGH is empty.
PLACE, COUNT = 2, 3
SLOT = np.uint64(4)
SECOND = np.uint64(HIGH)
AHEAD = np.uint64(16) * SLOT
SMALLEST = 1 << 12
ONE = np.ones(1, np.int64)


@borrowing
def is_piece(data: Any, begin: Any, high: Any, kept: Any, place: Any) -> Any:
    """Whether a piece of which both words are those of a slot is the piece in this slot."""
    if high < LONG:
        return True
    for k in range(np.int64(high & LENGTH)):  # generators are slow in kernels
        if data[np.int64(begin) + k] != kept[np.int64(place) + k]:
            return False
    return True


@borrowing
def entered(data: Any, piece: Any, table: Any, sizes: Any, at: Any) -> Any:
    """Where the slot of a piece (LOW, HIGH, BEGIN) begins, which may be new; -1 without room."""
    slots, kept = table
    low, high, begin = piece
    last = np.uint64(len(slots)) - SLOT
    while slots[at + SECOND]:
        same = slots[at] == low and slots[at + SECOND] == high
        if same and is_piece(data, begin, high, kept, slots[at + np.uint64(PLACE)]):
            return np.int64(at)
        at = (at + SLOT) & last
    length = np.int64(high & LENGTH) if high >= LONG else np.int64(0)
    if 8 * sizes[0] >= len(slots) or sizes[1] + length > len(kept):
        return np.int64(-1)
    slots[at] = low
    slots[at + SECOND] = high
    slots[at + np.uint64(PLACE)] = np.uint64(sizes[1])
    for i in range(length):
        kept[sizes[1] + i] = data[np.int64(begin) + i]
    sizes[0] += 1
    sizes[1] += length
    return np.int64(at)


@borrowing
def count_block(data: Any, pieces: Any, weights: Any, table: Any, sizes: Any) -> Any:
    """Count pieces until the table is half full, or the bytes of long ones have no room.

    Returns how many were counted; `sizes` are the slots and the bytes that are taken. A piece
    counts as often as `weights` says, or as its only number does. Pieces and slots come as one row
    of words.
    """
    slots = table[0]
    last = np.uint64(len(slots)) - SLOT
    step = np.uint64(len(weights) > 1)
    size = np.uint64(len(pieces))
    for k in range(np.uint64(0), size, SLOT):
        # Slots are asked for before their turn. Counting takes 7 to 9 ns a piece, 2 more where the
        # hash is made anew instead of read.
        ahead = min(k + AHEAD, size - SLOT)
        prefetch(slots, pieces[ahead + np.uint64(HASHED)] * SLOT & last)
        low, high = pieces[k], pieces[k + SECOND]
        at = pieces[k + np.uint64(HASHED)] * SLOT & last
        # Most pieces are known, short, and lie where they belong.
        while slots[at + SECOND] and ((slots[at] != low) | (slots[at + SECOND] != high)):
            at = (at + SLOT) & last
        if high >= LONG or not slots[at + SECOND]:
            found = entered(data, (low, high, pieces[k + np.uint64(BEGIN)]), table, sizes, at)
            if found < 0:
                return np.int64(k // SLOT)
            at = np.uint64(found)
        slots[at + np.uint64(COUNT)] += np.uint64(weights[k // SLOT * step])
    return np.int64(size // SLOT)


@borrowing
def move(slots: Any, larger: Any) -> None:
    """Enter all counted pieces into an empty table of another size."""
    mask = np.uint64(len(larger) - 1)
    for k in range(len(slots)):
        if slots[k, HIGH]:
            at = hash_of(slots[k, LOW], slots[k, HIGH]) & mask
            while larger[at, HIGH]:
                at = (at + np.uint64(1)) & mask
            for word in range(4):
                larger[at, word] = slots[k, word]


@borrowing
def mix_all(slots: Any, out: Any) -> None:
    """The number of each piece by which it is sorted."""
    for k in range(len(slots)):
        out[k] = hash_of(slots[k, LOW], slots[k, HIGH])


@borrowing
def spell(slots: Any, kept: Any, offsets: Any, out: Any) -> None:
    """Write the bytes of each piece to its place in the output."""
    for k in range(len(slots)):
        at, length = np.int64(offsets[k]), np.int64(offsets[k + 1]) - np.int64(offsets[k])
        place = np.int64(slots[k, PLACE])
        for i in range(length):
            if slots[k, HIGH] >= LONG:
                out[at + i] = kept[place + i]
            else:
                word = slots[k, LOW] if i < 8 else slots[k, HIGH]
                out[at + i] = np.uint8(word >> np.uint64(8 * (i & 7)) & np.uint64(0xFF))


def hashes_of(pieces: Hashes) -> Hashes:
    """The numbers by which pieces are sorted; equal pieces have equal ones."""
    out = np.empty(len(pieces), np.uint64)
    mix_all(pieces, out)
    return out


def empty_slots(number: int) -> Hashes:
    """So many slots, two in each line of a core's cache, which numpy's arrays lie across."""
    words = np.zeros(4 * number + 8, np.uint64)
    begin = -(words.ctypes.data >> 3) % 8
    return words[begin : begin + 4 * number].reshape(-1, 4)


class Tally:
    """A table of pieces with 64-bit counts that takes at most so many bytes of memory.

    `pieces` is how many there will be at least: room for them is made at once.
    """

    def __init__(self, memory: int = 1 << 62, pieces: int = 0) -> None:
        self.memory = memory
        self._room = max(SMALLEST, 1 << (2 * pieces).bit_length())
        self.clear()

    def clear(self) -> None:
        """Forget all that was counted."""
        self.slots, self.kept = empty_slots(self._room), np.empty(SMALLEST, np.uint8)
        self.sizes = np.zeros(2, np.int64)

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return self.slots.nbytes + self.kept.nbytes

    def count(self, data: Bytes, pieces: Hashes, weights: Positions = ONE) -> int:
        """Count these pieces; how many, which is less than all if there is no memory for more."""
        done = 0
        while True:
            left = weights[done:] if len(weights) > 1 else weights
            table = (self.slots.reshape(-1), self.kept)
            done += int(count_block(data, pieces[done:].reshape(-1), left, table, self.sizes))
            if done == len(pieces) or not self.grow(pieces[done]):
                return done

    def grow(self, piece: Hashes) -> bool:
        """Make room for this piece, if the memory allows, or if nothing is counted yet."""
        taken, length = int(self.sizes[0]), int(lengths_of(piece[None])[0])
        is_full = 2 * taken >= len(self.slots)
        more = 2 * self.slots.nbytes if is_full else len(self.kept) + length
        if taken and self.bytes + more > self.memory:
            return False
        if is_full:
            larger = empty_slots(2 * len(self.slots))
            move(self.slots, larger)
            self.slots = larger
        else:
            kept = np.empty(2 * len(self.kept) + length, np.uint8)
            kept[: self.sizes[1]] = self.kept[: self.sizes[1]]
            self.kept = kept
        return True

    def counted(self) -> tuple[pa.Table, Hashes]:
        """All pieces with their counts, sorted by hash, and the hashes."""
        slots = self.slots[np.flatnonzero(self.slots[:, HIGH])]
        hashes = hashes_of(slots)
        order = np.argsort(hashes)
        hashes = hashes[order]
        if (hashes[1:] == hashes[:-1]).any():  # where they lie in the table tells of its history
            order = np.lexsort((slots[:, HIGH], slots[:, LOW], hashes_of(slots)))
        return self._spelled(slots[order]), hashes

    def pieces(self) -> pa.Table:
        """All pieces with their counts, in the order of the table: not the same in another one."""
        return self._spelled(self.slots[np.flatnonzero(self.slots[:, HIGH])])

    def _spelled(self, slots: Hashes) -> pa.Table:
        ends = np.cumsum(lengths_of(slots))
        size = int(ends[-1]) if len(ends) else 0
        wide = size >= 1 << 31
        offsets = np.zeros(len(slots) + 1, np.int64 if wide else np.int32)
        offsets[1:] = ends
        out = np.empty(size, np.uint8)
        spell(slots, self.kept, offsets, out)
        kind = pa.large_binary() if wide else pa.binary()
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out)]
        column = pa.Array.from_buffers(kind, len(slots), buffers)
        counts = pa.array(slots[:, COUNT].astype(np.int64))
        return pa.table({"piece": column, "count": counts})


def count_pieces(texts: pa.Array, pattern: Pattern) -> pa.Table:
    """How often each piece occurs in these texts; memory is set by the pieces."""
    rows, tally = view(texts), Tally()
    for block in pieces_of(rows, splitter(pattern)):
        tally.count(rows.data, block)
    return tally.counted()[0].cast(COUNTS)


def pieces_in(column: pa.Array) -> tuple[Bytes, Hashes]:
    """Counted pieces as they are counted again: the bytes, and each row as a piece."""
    rows = view(column)
    return rows.data, pieces_within(rows)
