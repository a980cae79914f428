"""How text is cut into pieces before BPE: published patterns, run by one kernel over bytes.

The pieces are those that the `regex` package finds (version 1), on every valid UTF-8 text. A byte
that belongs to no character counts as a character that is neither letter, number nor space.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, Hashes, Positions, View, view
from curate.errors import RecipeError
from curate.kernel import helper
from tokenizer.automaton import CUT, SEEN, Automaton, automaton

_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Text between two matches is a piece too (of these patterns only BLOOM's leaves any).
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": _CL100K,
    "llama3": _CL100K,
    "qwen2": _CL100K.replace("{1,3}", ""),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "whitespace": r" ?\S+|\s+(?!\S)|\s+",
}

COUNTS = pa.schema([("piece", pa.binary()), ("count", pa.int64())])

# A piece in four words: its bytes and length (see `first_bytes`), its place, and a hash.
LOW, HIGH, BEGIN, HASHED = range(4)
LENGTH = np.uint64((1 << 56) - 1)
LONG = np.uint64(0xFF << 56)  # HIGH of a piece of more than 15 bytes is this and its length

# Pieces come in blocks that stay in a core's own cache, together with the bytes they cover.
BLOCK = 1 << 12


def splitter(pattern: str) -> Automaton:
    """The automaton of a pattern, given by its name in PATTERNS or as the text of one's own."""
    if pattern in PATTERNS:
        return automaton(PATTERNS[pattern])
    if re.fullmatch(r"[\w.-]*", pattern):
        near = difflib.get_close_matches(pattern, PATTERNS, 1, 0)[0]
        known = ", ".join(PATTERNS)
        raise RecipeError(f"no pattern {pattern!r}; did you mean {near}? There are: {known}.")
    return automaton(pattern)


@helper
def character(data: Any, i: Any, end: Any, limit: Any) -> Any:
    """Code point at i, a byte above 127, with its length above bit 21; `limit` if it is none."""
    lead = np.int64(data[i])
    if lead < 0xE0:
        if lead < 0xC2 or i + 2 > end:
            return limit | 1 << 21
        return (lead & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F) | 2 << 21
    if lead < 0xF0:
        if i + 3 > end:
            return limit | 1 << 21
        point = (lead & 0xF) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6
        return point | (np.int64(data[i + 2]) & 0x3F) | 3 << 21
    if i + 4 > end:
        return limit | 1 << 21
    point = (lead & 0x7) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12
    point |= (np.int64(data[i + 2]) & 0x3F) << 6 | (np.int64(data[i + 3]) & 0x3F)
    return point | 4 << 21 if point < 0x110000 else limit | 1 << 21


@helper
def match_end(data: Any, i: Any, end: Any, machine: Any) -> Any:
    """End of the match that begins at i, or i if none does."""
    classes, table, width, state, stranger = machine
    last = i
    while i < end and state:
        lead = np.int64(data[i])
        found = lead | 1 << 21 if lead < 0x80 else character(data, i, end, stranger)
        entry = np.int64(table[state + classes[found & 0x1FFFFF]])
        last = i if entry & (CUT | SEEN) else last
        state = 0 if entry & CUT else entry >> 2
        i += found >> 21
    return end if state and table[state + width - 1] & SEEN else last


@helper
def gap_end(data: Any, i: Any, end: Any, machine: Any) -> Any:
    """Where the next match begins behind a character with which none begins."""
    while i < end:
        lead = np.int64(data[i])
        i += 1 if lead < 0x80 else character(data, i, end, 0) >> 21
        if match_end(data, i, end, machine) > i:
            break
    return i


@helper
def cut(
    data: Any, offsets: Any, place: tuple[Any, Any], machine: Any, ends: Any
) -> tuple[Any, Any, Any]:
    """Write the ends of pieces from this place (row, byte) on: how many, and the place behind.

    Most bytes need one look into the table and no branch: a word's end is not a jump that the
    processor has to guess.
    """
    classes, table, width, start, stranger = machine
    row, i = place
    count = np.int64(0)
    room = len(ends) - 1
    begin = last = i
    state = start
    while row < len(offsets) - 1 and count < room:
        end = np.int64(offsets[row + 1])
        while i < end and state and count < room:
            lead = np.int64(data[i])
            found = lead | 1 << 21 if lead < 0x80 else character(data, i, end, stranger)
            entry = np.int64(table[state + classes[found & 0x1FFFFF]])
            ends[count] = i
            count += entry & CUT
            begin = i if entry & CUT else begin
            last = i if entry & (CUT | SEEN) else last
            state = entry >> 2
            i += found >> 21
        if state and i == end:
            last = end if table[state + width - 1] & SEEN else last
        elif state:
            break
        if begin < end:
            i = last if last > begin else gap_end(data, begin, end, machine)
            ends[count] = i
            count += 1
        begin = last = i
        state = start
        row += i == end
    return count, row, begin


@helper
def word_at(data: Any, i: Any) -> Any:
    """Eight bytes as a number, the first one lowest."""
    # Unsigned places: the compiler makes one load of this, where signed ones cost eight.
    i = np.uint64(i)
    return (
        np.uint64(data[i])
        | np.uint64(data[i + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[i + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[i + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[i + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[i + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[i + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[i + np.uint64(7)]) << np.uint64(56)
    )


@helper
def part_at(data: Any, i: Any, length: Any) -> Any:
    """Up to eight bytes as a number."""
    if length <= 0:
        return np.uint64(0)
    if i + 8 <= len(data):
        return word_at(data, i) & (
            np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 8 * min(length, 8))
        )
    word = np.uint64(0)
    for k in range(min(length, 8)):
        word |= np.uint64(data[i + k]) << np.uint64(8 * k)
    return word


@helper
def first_bytes(data: Any, i: Any, length: Any) -> tuple[Any, Any]:
    """Up to 15 bytes and their length in two words: pieces of which both are equal are equal.

    In longer pieces the words are a hash and the length, and the bytes have to be looked at.
    """
    if length <= 15:
        high = part_at(data, i + 8, length - 8)
        return part_at(data, i, length), high | np.uint64(length) << np.uint64(56)
    low = np.uint64(length)
    for k in range(0, length, 8):
        low = (low ^ part_at(data, i + k, length - k)) * np.uint64(0x9E3779B97F4A7C15)
        low ^= low >> np.uint64(32)
    return low, LONG | np.uint64(length)


@helper
def describe(data: Any, begin: Any, ends: Any, pieces: Any) -> None:
    """Write LOW, HIGH, BEGIN and HASHED of every piece that ends here."""
    for k in range(len(ends)):
        length = np.int64(ends[k]) - begin
        low, high = first_bytes(data, begin, length)
        mixed = (low ^ (high >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) ^ high
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        pieces[k, LOW] = low
        pieces[k, HIGH] = high
        pieces[k, BEGIN] = np.uint64(begin)
        pieces[k, HASHED] = mixed ^ (mixed >> np.uint64(32))
        begin += length


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


def pieces_of(rows: View, machine: Automaton) -> Iterator[Hashes]:
    """The pieces of all rows in order, block by block; the array is used again for the next."""
    ends = np.empty(BLOCK, np.int32)
    pieces = np.empty((BLOCK, 4), np.uint64)
    row, position = 0, int(rows.offsets[0])
    while row < len(rows.offsets) - 1:
        begin = position
        count, row, position = cut(*rows, (row, position), tuple(machine), ends)
        describe(rows.data, begin, ends[:count], pieces)
        yield pieces[:count]


def pieces_within(rows: View) -> Hashes:
    """Every row as one piece; none of them may be empty."""
    pieces = np.empty((len(rows.offsets) - 1, 4), np.uint64)
    describe(rows.data, int(rows.offsets[0]), rows.offsets[1:], pieces)
    return pieces


def lengths_of(pieces: Hashes) -> Positions:
    """How many bytes each piece has."""
    high = pieces[:, HIGH]
    return np.where(high < LONG, high >> np.uint64(56), high & LENGTH).astype(np.int64)


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
