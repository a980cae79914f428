"""How often each piece occurs in texts: what BPE learns from."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, Hashes, Positions, view
from curate.kernel import helper
from tokenizer.pretokenize import lengths_of, pieces_of, splitter

COUNTS = pa.schema([("piece", pa.binary()), ("count", pa.int64())])

# As `pretokenize` writes a piece: kernels read constants of their own file only.
LOW, HIGH, BEGIN, HASHED = range(4)
LENGTH = np.uint64((1 << 56) - 1)
LONG = np.uint64(0xFF << 56)


@helper
def same_bytes(data: Any, i: Any, j: Any, high: Any) -> Any:
    """Whether two pieces of one buffer, equal in both words, are equal in their bytes."""
    for k in range(np.int64(high & LENGTH)):
        if data[np.int64(i) + k] != data[np.int64(j) + k]:
            return False
    return True


@helper
def count_block(data: Any, pieces: Any, slots: Any, counts: Any, taken: Any) -> tuple[Any, Any]:
    """Count pieces until the table is half full: how many were counted, and slots are taken.

    A slot holds a piece; an empty one counts 0.
    """
    mask = np.uint64(len(slots) - 1)
    for k in range(len(pieces)):
        if 2 * taken >= len(slots):
            return k, taken
        low, high = pieces[k, LOW], pieces[k, HIGH]
        at = pieces[k, HASHED] & mask
        while counts[at]:
            same = slots[at, LOW] == low and slots[at, HIGH] == high
            if same and (high < LONG or same_bytes(data, slots[at, BEGIN], pieces[k, BEGIN], high)):
                break
            at = (at + np.uint64(1)) & mask
        if not counts[at]:
            for word in range(4):
                slots[at, word] = pieces[k, word]
            taken += 1
        counts[at] += 1
    return len(pieces), taken


@helper
def move(slots: Any, counts: Any, larger: Any, moved: Any) -> None:
    """Enter all counted pieces into an empty table of another size."""
    mask = np.uint64(len(larger) - 1)
    for k in range(len(slots)):
        if counts[k]:
            at = slots[k, HASHED] & mask
            while moved[at]:
                at = (at + np.uint64(1)) & mask
            for word in range(4):
                larger[at, word] = slots[k, word]
            moved[at] = counts[k]


@helper
def gather(data: Any, pieces: Any, offsets: Any, out: Any) -> None:
    """Copy the bytes of each piece to its place in the output."""
    for k in range(len(pieces)):
        begin = np.int64(pieces[k, BEGIN])
        for i in range(np.int64(offsets[k + 1]) - np.int64(offsets[k])):
            out[offsets[k] + i] = data[begin + i]


def pieces_counted(data: Bytes, pieces: Hashes, counts: Positions) -> pa.Table:
    """These pieces with their counts, sorted by piece."""
    offsets = np.zeros(len(pieces) + 1, np.int32)
    np.cumsum(lengths_of(pieces), out=offsets[1:])
    copied = np.empty(int(offsets[-1]), np.uint8)
    gather(data, pieces, offsets, copied)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(copied)]
    column = pa.Array.from_buffers(pa.binary(), len(pieces), buffers)
    table = pa.table([column, pa.array(counts)], schema=COUNTS)
    return table.take(pc.array_sort_indices(column))


def count_pieces(texts: pa.Array, pattern: str) -> pa.Table:
    """How often each piece occurs in these texts, sorted by piece; memory is set by the pieces."""
    rows = view(texts)
    slots, counts = np.zeros((1 << 12, 4), np.uint64), np.zeros(1 << 12, np.int64)
    taken = 0
    for block in pieces_of(rows, splitter(pattern)):
        done = 0
        while True:
            counted, taken = count_block(rows.data, block[done:], slots, counts, taken)
            done += counted
            if done == len(block):
                break
            larger, moved = (
                np.zeros((4 * len(slots), 4), np.uint64),
                np.zeros(4 * len(counts), np.int64),
            )
            move(slots, counts, larger, moved)
            slots, counts = larger, moved
    return pieces_counted(rows.data, slots[counts > 0], counts[counts > 0])
