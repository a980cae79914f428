"""How text is cut into pieces before BPE: published patterns, run by one kernel over bytes.

The pieces are those that the `regex` package finds (version 1), on every valid UTF-8 text. A byte
that belongs to no character counts as a character that is neither letter, number nor space.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from curate.column import Hashes, Offsets, Positions, View
from curate.errors import RecipeError
from curate.kernel import helper
from tokenizer.automaton import CUT, SEEN, Automaton, NotUnderstoodError, automaton
from tokenizer.own_pattern import OwnPattern, own_pattern

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# A name, the text of one's own, or several, of which each cuts the pieces of the one before.
Pattern = str | tuple[str, ...]
Machine = Automaton | OwnPattern
Splitter = tuple[Machine, ...]

# Text between two matches is a piece too (BLOOM's, digit and digit3 leave some).
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # White space that ends a text is one piece, as tiktoken 0.14 has it: `\s++$` comes first there.
    "cl100k": _LLAMA3.replace(r"|\s*[\r\n]", r"|\s+(?![\s\S])|\s*[\r\n]"),
    "llama3": _LLAMA3,
    "qwen2": _LLAMA3.replace("{1,3}", ""),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "whitespace": r" ?\S+|\s+(?!\S)|\s+",
    "digit": r"\p{N}",  # before another pattern: each digit by itself (LLaMA, Baichuan)
    "digit3": r"\p{N}{1,3}",
}

# A piece in four words: its bytes and length (see `first_bytes`), its place, and a hash.
LOW, HIGH, BEGIN, HASHED = range(4)
LENGTH = np.uint64((1 << 56) - 1)
LONG = np.uint64(0xFF << 56)  # HIGH of a piece of more than 15 bytes is this and its length

# Pieces come in blocks that stay in a core's own cache, together with the bytes they cover.
BLOCK = 1 << 12


def splitter(pattern: Pattern) -> Splitter:
    """What cuts text by these patterns, given by names in PATTERNS or as texts of one's own."""
    if isinstance(pattern, tuple):
        return tuple(machine for one in pattern for machine in splitter(one))
    if pattern in PATTERNS:
        return (automaton(PATTERNS[pattern]),)
    if re.fullmatch(r"[\w.-]*", pattern):
        near = difflib.get_close_matches(pattern, PATTERNS, 1, 0)[0]
        known = ", ".join(PATTERNS)
        raise RecipeError(f"no pattern {pattern!r}; did you mean {near}? There are: {known}.")
    try:
        return (automaton(pattern),)
    except NotUnderstoodError as error:
        return (own_pattern(pattern, str(error)),)


def slow_parts(pattern: Pattern) -> list[str]:
    """What in these patterns leaves the cutting to `regex`, 150 times slower; empty if none."""
    return [machine.reason for machine in splitter(pattern) if isinstance(machine, OwnPattern)]


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


def pieces_of(rows: View, machines: Splitter) -> Iterator[Hashes]:
    """The pieces of all rows in order, block by block; the array is used again for the next."""
    for machine in machines[:-1]:
        begin = rows.offsets[:1]
        rows = View(rows.data, np.concatenate([begin, *(e.copy() for e in ends_of(rows, machine))]))
    pieces = np.empty((BLOCK, 4), np.uint64)
    position = int(rows.offsets[0])
    for ends in ends_of(rows, machines[-1]):
        describe(rows.data, position, ends, pieces)
        position = int(ends[-1])
        yield pieces[: len(ends)]


def ends_of(rows: View, machine: Machine) -> Iterator[Offsets]:
    """Where the pieces of all rows end, block by block; the array is used again for the next."""
    if isinstance(machine, OwnPattern):
        yield from machine.ends(rows)
        return
    ends = np.empty(BLOCK, np.int32)
    row, position = 0, int(rows.offsets[0])
    while row < len(rows.offsets) - 1:
        count, row, position = cut(*rows, (row, position), tuple(machine), ends)
        if count:
            yield ends[:count]


def pieces_within(rows: View) -> Hashes:
    """Every row as one piece; none of them may be empty."""
    pieces = np.empty((len(rows.offsets) - 1, 4), np.uint64)
    describe(rows.data, int(rows.offsets[0]), rows.offsets[1:], pieces)
    return pieces


def lengths_of(pieces: Hashes) -> Positions:
    """How many bytes each piece has."""
    high = pieces[:, HIGH]
    return np.where(high < LONG, high >> np.uint64(56), high & LENGTH).astype(np.int64)
