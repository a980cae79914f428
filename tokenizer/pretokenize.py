"""How text is cut into pieces before BPE: published patterns, run by one kernel over bytes.

The pieces are those that the `regex` package finds (version 1), on every valid UTF-8 text of what
Unicode 16.0 assigns; a later character is unassigned, as it is to tiktoken and tokenizers. A byte
that belongs to no character counts as a character that is neither letter, number nor space.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from curate.column import Hashes, Offsets, Positions, View
from curate.errors import RecipeError
from curate.kernel import borrowing, helper
from curate.vectors import bytes_below, leading_zeros, ones, trailing_zeros
from tokenizer.automaton import (
    CUT,
    EARLIER,
    FOUR,
    SEEN,
    STILL,
    Automaton,
    NotUnderstoodError,
    automaton,
)
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


# What is kept of the first and the second eight bytes of a piece, by its length.
LOWS = np.array([(1 << 8 * min(length, 8)) - 1 for length in range(16)], np.uint64)
HIGHS = np.array([(1 << 8 * max(length - 8, 0)) - 1 for length in range(16)], np.uint64)

# Pieces come in blocks that stay in a core's own cache, together with the bytes they cover.
BLOCK = 1 << 13
MOST_ENDS = 72  # one before a block, 64 in it, 7 written too much


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
    """What to tell of patterns that leave the cutting to `regex`; empty if none does."""
    return [
        f"text is split 150 times slower, by the regex package: {machine.reason}"
        for machine in splitter(pattern)
        if isinstance(machine, OwnPattern)
    ]


@borrowing
def character(data: Any, i: Any, end: Any, limit: Any) -> Any:
    """Code point at i, a byte above 127, with its length above bit 21; `limit` if it is none.

    ASCII in three or four bytes is none, but as long as it is written.
    """
    lead = np.int64(data[i])
    if lead < 0xE0:
        if lead < 0xC2 or i + 2 > end:
            return limit | 1 << 21
        return (lead & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F) | 2 << 21
    if lead < 0xF0:
        if i + 3 > end:
            return limit | 1 << 21
        point = (lead & 0xF) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6
        point |= np.int64(data[i + 2]) & 0x3F
        return (point if point >= 0x80 else limit) | 3 << 21
    if i + 4 > end or lead > 0xF4:
        return limit | 1 << 21
    point = (lead & 0x7) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12
    point |= (np.int64(data[i + 2]) & 0x3F) << 6 | (np.int64(data[i + 3]) & 0x3F)
    if point >= 0x110000:
        return limit | 1 << 21
    return (point if point >= 0x80 else limit) | 4 << 21


@borrowing
def match_end(data: Any, i: Any, end: Any, machine: Any) -> Any:
    """End of the match that begins at i, or i if none does."""
    classes, table, width, state, stranger = machine
    last = i
    while i < end and state:
        lead = np.int64(data[i])
        found = lead | 1 << 21 if lead < 0x80 else character(data, i, end, stranger)
        entry = np.int64(table[state * width + classes[found & 0x1FFFFF]])
        last = i if entry & (CUT | SEEN) and not entry & EARLIER else last
        state = 0 if entry & (CUT | EARLIER) else entry >> 3
        i += found >> 21
    return end if state and table[state * width + width - 1] & SEEN else last


@borrowing
def piece_end(data: Any, begin: Any, end: Any, machine: Any) -> Any:
    """End of the piece that begins here: a match, or a gap before the next one."""
    i = match_end(data, begin, end, machine)
    if i > begin:
        return i
    while i < end:
        lead = np.int64(data[i])
        i += 1 if lead < 0x80 else character(data, i, end, 0) >> 21
        if match_end(data, i, end, machine) > i:
            break
    return i


@borrowing
def entry_at(codes: Any, i: Any, table: Any, state: Any) -> Any:
    """What the automaton says of two codes; unsigned places are not tested for being negative."""
    kinds, pairs, _ = table
    both = np.uint64(codes[i]) | np.uint64(codes[i + np.uint64(1)]) << np.uint64(8)
    return np.uint64(pairs[state + np.uint64(kinds[both])])


@borrowing
def cuts_again(codes: Any, span: Any, table: Any, state: Any) -> Any:
    """Where pieces end in one half, a bit for each, the lowest for the byte before its first."""
    i, half = span
    cuts = np.uint64(0)
    for k in range(np.uint64(0), half, np.uint64(2)):
        entry = entry_at(codes, i + k, table, state)
        cuts |= (entry & np.uint64(7)) << k
        state = entry >> np.uint64(3)
    return cuts, state


@borrowing
def cuts_of(codes: Any, span: Any, table: Any, state: Any) -> Any:
    """Where pieces end in up to 64 codes, a bit for each, in the byte before, and the state behind.

    No branch depends on where words end, and only the look into `pairs` waits for the one before.
    So both halves are walked at once, the later one from the state to which the two codes before
    it lead from the start of a piece: English was cut in 1.9 ns a byte, not 2.8. Where the guess is
    wrong (after some digits, at 3 % of all places), it is walked again. Four quarters were no
    faster, and neither were halves of a size known to the compiler: it spilled what it unrolled.
    """
    i, half = span
    middle = i + half
    guess = entry_at(codes, middle - np.uint64(2), table, table[2]) >> np.uint64(3)
    later = guess
    first = second = np.uint64(0)
    for k in range(np.uint64(0), half, np.uint64(2)):
        entry = entry_at(codes, i + k, table, state)
        first |= (entry & np.uint64(7)) << k
        state = entry >> np.uint64(3)
        entry = entry_at(codes, middle + k, table, later)
        second |= (entry & np.uint64(7)) << k
        later = entry >> np.uint64(3)
    if state != guess:
        second, later = cuts_again(codes, (middle, half), table, state)
    return first >> np.uint64(1) | second << (half - np.uint64(1)), first & np.uint64(1), later


@borrowing
def code_at(data: Any, at: Any, classes: Any, leads: Any) -> tuple[Any, Any]:
    """The code of a character, and which bytes behind its first one it has.

    Scripts mix, and a jump that is guessed wrongly costs as much as five bytes without jumps.
    """
    said = np.uint64(
        leads[np.uint64(data[at]) << np.uint64(8) | np.uint64(data[at + np.uint64(1)])]
    )
    last = np.uint64(data[at + np.uint64(2)]) & np.uint64(0x3F)
    if said & np.uint64(FOUR):
        last = last << np.uint64(6) | np.uint64(data[at + np.uint64(3)]) & np.uint64(0x3F)
    page = said & np.uint64(0xFFFFFFC0)
    return classes[page + last] | np.uint8(128), said & np.uint64(15)


@borrowing
def classify(data: Any, span: Any, classes: Any, leads: Any, codes: Any) -> Any:
    """Write the codes of 64 bytes, three more are there; which bytes their characters ask for.

    `span` is where they begin, and which of them begin a character that is not ASCII.
    """
    i, wide = span
    still = classes[STILL] | np.uint8(128)
    for k in range(np.uint64(64)):
        codes[k] = data[i + k] if data[i + k] < 128 else still
    expected = np.uint64(0)
    while wide:
        at = np.uint64(trailing_zeros(wide))
        wide &= wide - np.uint64(1)
        codes[at], asked = code_at(data, i + at, classes, leads)
        expected |= asked << at
    return expected


@borrowing
def classify_slowly(data: Any, i: Any, end: Any, machine: Any, codes: Any) -> Any:
    """Write the codes of up to 64 bytes, a bad byte by itself: how many bytes."""
    classes, stranger = machine
    still = classes[STILL] | np.uint8(128)
    k = np.int64(0)
    most = min(end - i, np.int64(64))
    while k < most:
        lead = np.int64(data[i + k])
        found = lead | 1 << 21 if lead < 0x80 else character(data, i + k, end, stranger)
        size = found >> 21
        if k + size > most:
            break
        codes[k] = classes[found & 0x1FFFFF] | np.uint8(128)
        for more in range(k + 1, k + size):
            codes[more] = still
        k += size
    return k


@borrowing
def ends_whole(data: Any, i: Any) -> Any:
    """Whether no character of 64 bytes asks for more bytes than these."""
    return data[i + 63] < 0xC0 and data[i + 62] < 0xE0 and data[i + 61] < 0xF0


@borrowing
def whole(data: Any, i: Any, end: Any) -> Any:
    """How many of the next 64 bytes are whole characters, if they are UTF-8; 0 if they are not."""
    if i + 64 > end:
        return end - i
    # Half of all blocks of Cyrillic are cut within a character: no jump depends on it.
    within = i + 64 < end and data[i + 64] & 0xC0 == 0x80
    size = 64 - within * (1 + np.int64(leading_zeros(~bytes_below(data, np.uint64(i), -64))))
    return size if (size < 64 or ends_whole(data, i)) and size > 60 else 0


@borrowing
def cuts_behind(data: Any, i: Any, end: Any, machine: Any, state: Any) -> Any:
    """The same where not all bytes are ASCII; also how many bytes that are, whole characters."""
    classes, table, stranger, codes, leads = machine
    size = whole(data, i, end) if i + 67 < len(data) else np.int64(0)
    if size:
        place = np.uint64(i)
        within = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - size)
        behind = bytes_below(data, place, -64) & within
        first = bytes_below(data, place, 0) & within & ~behind
        if classify(data, (place, first), classes, leads, codes) != behind:
            size = np.int64(0)
    if not size:
        size = classify_slowly(data, i, end, (classes, stranger), codes)
    # Two even halves may have up to three codes more.
    for k in range(size, size + 4):
        codes[k] = classes[STILL] | np.uint8(128)
    half = np.uint64(size + 3) >> np.uint64(2) << np.uint64(1)
    cuts, earlier, state = cuts_of(codes, (np.uint64(0), half), table, state)
    return cuts, earlier, state, size


@borrowing
def write_ends(ends: Any, count: Any, begin: Any, cuts: Any) -> Any:
    """Write where pieces end, from the bits of a block that begins here; how many there are.

    They are written by eights, for a processor guesses how many eights there are, but not how many
    ends: that took 1.7 ns a byte instead of 1.9. What is too much is written over.
    """
    behind = count + ones(cuts)
    while cuts:
        for k in range(np.uint64(8)):
            ends[count + k] = begin + np.uint64(trailing_zeros(cuts))
            cuts &= cuts - np.uint64(1)
        count += np.uint64(8)
    return behind


@borrowing
def cut_row(data: Any, place: Any, end: Any, machine: Any, ends: Any) -> Any:
    """Write the ends of pieces up to the end of a row, or until no match can go on."""
    i, state, count = place
    while i < end and state and count < len(ends) - MOST_ENDS:
        size = np.int64(64)
        if i + 64 <= end and not bytes_below(data, np.uint64(i), 0):
            found = cuts_of(data, (np.uint64(i), np.uint64(32)), machine[1], state)
            cuts, earlier, state = found
        else:
            cuts, earlier, state, size = cuts_behind(data, i, end, machine, state)
        if earlier:
            ends[count] = i - 1
            count += 1
        count = np.int64(write_ends(ends, np.uint64(count), np.uint64(i), cuts))
        i += size
    return i, state, count


@helper
def cut(
    data: Any, offsets: Any, place: tuple[Any, Any], machine: Any, ends: Any
) -> tuple[Any, Any, Any]:
    """Write the ends of pieces from this place (row, byte) on: how many, and the place behind.

    When no match can go on, the last piece is looked for again, more slowly, from its beginning.
    """
    classes, table, width, start, stranger, pairs, still, kinds, leads = machine
    slow = classes, table, width, start, stranger
    square = np.uint64(still * still)
    steps = kinds, pairs, np.uint64(start) * square
    fast = classes, steps, stranger, np.empty(68, np.uint8), leads
    row, i = place
    count = np.int64(0)
    begin = i
    while row < len(offsets) - 1 and count < len(ends) - MOST_ENDS:
        end = np.int64(offsets[row + 1])
        before = count
        here = (i, np.uint64(start) * square, count)
        i, state, count = cut_row(data, here, end, fast, ends)
        begin = np.int64(ends[count - 1]) if count > before else begin
        if state and i < end:
            break
        if begin < end:
            i = end
            if not state or not table[np.int64(state // square) * width + width - 1] & SEEN:
                i = piece_end(data, begin, end, slow)
            ends[count] = i
            count += 1
            begin = i
        row += i == end
    return count, row, begin


@borrowing
def word_at(data: Any, i: Any) -> Any:
    """Eight bytes as a number, the first one lowest."""
    # Unsigned places: the compiler makes one load of this, where signed ones cost eight.
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


@borrowing
def part_at(data: Any, i: Any, length: Any) -> Any:
    """Up to eight bytes as a number."""
    if length >= 8:
        return word_at(data, np.uint64(i))
    word = np.uint64(0)
    for k in range(length):
        word |= np.uint64(data[i + k]) << np.uint64(8 * k)
    return word


@borrowing
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


@borrowing
def hash_of(low: Any, high: Any) -> Any:
    """HASHED of a piece, from its other two words."""
    mixed = (low ^ (high >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) ^ high
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(32))


@borrowing
def described(data: Any, begin: Any, length: Any) -> tuple[Any, Any, Any]:
    """LOW, HIGH and HASHED of a piece."""
    if length <= 15 and begin + 16 <= len(data):
        at = np.uint64(begin)
        low = word_at(data, at) & LOWS[length]
        high = word_at(data, at + np.uint64(8)) & HIGHS[length] | np.uint64(length) << np.uint64(56)
    else:
        low, high = first_bytes(data, begin, length)
    return low, high, hash_of(low, high)


@helper
def describe(data: Any, begin: Any, ends: Any, pieces: Any) -> None:
    """Write LOW, HIGH, BEGIN and HASHED of every piece that ends here."""
    for k in range(len(ends)):
        length = np.int64(ends[k]) - begin
        low, high, hashed = described(data, begin, length)
        pieces[k, LOW] = low
        pieces[k, HIGH] = high
        pieces[k, BEGIN] = np.uint64(begin)
        pieces[k, HASHED] = hashed
        begin += length


def pieces_of(rows: View, machines: Splitter) -> Iterator[Hashes]:
    """The pieces of all rows in order, block by block; the array is used again for the next."""
    pieces = np.empty((BLOCK, 4), np.uint64)
    position = int(rows.offsets[0])
    for ends in ends_within(rows, machines):
        describe(rows.data, position, ends, pieces)
        position = int(ends[-1])
        yield pieces[: len(ends)]


def ends_within(rows: View, machines: Splitter) -> Iterator[Offsets]:
    """Where the pieces of all rows end, block by block; the array is used again for the next."""
    for machine in machines[:-1]:
        begin = rows.offsets[:1]
        rows = View(rows.data, np.concatenate([begin, *(e.copy() for e in ends_of(rows, machine))]))
    return ends_of(rows, machines[-1])


def ends_of(rows: View, machine: Machine) -> Iterator[Offsets]:
    """Where the pieces of one machine end, likewise."""
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
