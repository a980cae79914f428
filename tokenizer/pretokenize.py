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

from curate.column import Bytes, Hashes, Offsets, View, view
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

# Ends are cut in blocks that stay in a core's own cache, together with the bytes they cover.
BLOCK = 1 << 15


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
def character(data: Any, i: int, end: int, limit: int) -> int:
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
def match_end(data: Any, i: int, end: int, machine: Any) -> int:
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
def gap_end(data: Any, i: int, end: int, machine: Any) -> int:
    """Where the next match begins behind a character with which none begins."""
    while i < end:
        lead = np.int64(data[i])
        i += 1 if lead < 0x80 else character(data, i, end, 0) >> 21
        if match_end(data, i, end, machine) > i:
            break
    return i


@helper
def cut(
    data: Any, offsets: Any, place: tuple[int, int], machine: Any, ends: Any
) -> tuple[int, int, int]:
    """Write the ends of pieces from this place (row, byte) on: how many, and the place behind.

    Most bytes need one look into the table and no branch: a word's end is not a jump that the
    processor has to guess.
    """
    classes, table, width, start, stranger = machine
    row, i = place
    room = len(ends) - 1
    count = 0
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
def part_at(data: Any, i: int, length: int) -> Any:
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
def first_bytes(data: Any, i: int, length: int) -> tuple[Any, Any]:
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
    return low, np.uint64(length) | np.uint64(0xFF) << np.uint64(56)


@helper
def same_bytes(data: Any, i: int, j: int, length: int) -> bool:
    """Whether two stretches of the same buffer are equal."""
    for k in range(length):
        if data[i + k] != data[j + k]:
            return False
    return True


@helper
def slot_of(low: Any, high: Any) -> Any:
    """Where to look for a piece first, before the table's mask."""
    mixed = (low ^ (high >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) ^ high
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(32))


@helper
def count_block(data: Any, begin: int, ends: Any, slots: Any, taken: int) -> tuple[int, int, int]:
    """Count the pieces that end here: how many before the table was half full, and where.

    A slot is two words of key, the place of the first byte, and the count: 0 in an empty one.
    """
    mask = np.uint64(len(slots) - 1)
    for k in range(len(ends)):
        if 2 * taken >= len(slots):
            return k, begin, taken
        length = np.int64(ends[k]) - begin
        low, high = first_bytes(data, begin, length)
        at = slot_of(low, high) & mask
        while slots[at, 3]:
            if slots[at, 0] == low and slots[at, 1] == high:
                if length <= 15 or same_bytes(data, np.int64(slots[at, 2]), begin, length):
                    break
            at = (at + np.uint64(1)) & mask
        if not slots[at, 3]:
            slots[at, 0], slots[at, 1], slots[at, 2] = low, high, np.uint64(begin)
            taken += 1
        slots[at, 3] += np.uint64(1)
        begin += length
    return len(ends), begin, taken


@helper
def move(slots: Any, larger: Any) -> None:
    """Enter all counted pieces into an empty table of another size."""
    mask = np.uint64(len(larger) - 1)
    for k in range(len(slots)):
        if slots[k, 3]:
            at = slot_of(slots[k, 0], slots[k, 1]) & mask
            while larger[at, 3]:
                at = (at + np.uint64(1)) & mask
            larger[at] = slots[k]


@helper
def gather(data: Any, starts: Any, offsets: Any, out: Any) -> None:
    """Copy the stretch that begins at each start to its place in the output."""
    for k in range(len(starts)):
        begin = np.int64(starts[k])
        for i in range(np.int64(offsets[k + 1]) - np.int64(offsets[k])):
            out[offsets[k] + i] = data[begin + i]


def cuts(rows: View, machine: Automaton) -> Iterator[tuple[Offsets, int]]:
    """Blocks of piece ends in order, each with the byte at which its first piece begins.

    The array is used again for the next block.
    """
    ends = np.empty(BLOCK, np.int32)
    row, position = 0, int(rows.offsets[0])
    while row < len(rows.offsets) - 1:
        begin = position
        count, row, position = cut(*rows, (row, position), tuple(machine), ends)
        yield ends[:count], begin


def pieces_counted(data: Bytes, slots: Hashes) -> pa.Table:
    """The table's pieces with their counts, sorted by piece."""
    slots = slots[slots[:, 3] > 0]
    high = slots[:, 1]
    short = high >> np.uint64(56)
    lengths = np.where(short == 0xFF, high & np.uint64((1 << 56) - 1), short).astype(np.int64)
    offsets = np.zeros(len(slots) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    copied = np.empty(int(offsets[-1]), np.uint8)
    gather(data, slots[:, 2], offsets, copied)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(copied)]
    pieces = pa.Array.from_buffers(pa.binary(), len(slots), buffers)
    counts = pa.array(slots[:, 3].astype(np.int64))
    table = pa.table([pieces, counts], schema=COUNTS)
    return table.take(pc.array_sort_indices(pieces))


def count_pieces(texts: pa.Array, pattern: str) -> pa.Table:
    """How often each piece occurs in these texts, sorted by piece; memory is set by the pieces."""
    rows = view(texts)
    slots = np.zeros((1 << 12, 4), np.uint64)
    taken = 0
    for ends, begin in cuts(rows, splitter(pattern)):
        done = 0
        while True:
            block, begin, taken = count_block(rows.data, begin, ends[done:], slots, taken)
            done += block
            if done == len(ends):
                break
            larger = np.zeros((4 * len(slots), 4), np.uint64)
            move(slots, larger)
            slots = larger
    return pieces_counted(rows.data, slots)
