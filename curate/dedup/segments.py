"""From text to its lines, paragraphs or sentences: where each lies, and a hash of what it says.

Lines are parted by newlines, paragraphs by two newlines or more, sentences by curate/sentences.py.
What is white space alone is no unit but a part of the gap between two, so that blank lines are
never alike. Units are compared as they are written, or folded:

- "spaces-case" and "words" as in curate/dedup/exact.py;
- "ccnet" as CCNet compares lines (filters/ccnet.py), but for two letters: ς is σ, and İ stays;
- "none" compares bytes, without white space at both ends.
"""

from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from curate.column import Bytes, Hashes, Offsets, View, frozen
from curate.dedup.characters import (
    CODE,
    NOTHING,
    PUNCTUATION,
    SPACE,
    Characters,
    characters,
    encode,
    wide_character,
)
from curate.eight import eight, first, same
from curate.hashing import SEED, hash_bytes, join
from curate.kernel import borrowing, helper
from curate.sentences import sentence_end
from curate.utf8 import may_be_space, skip_space, skip_space_back, space_size
from filters.ccnet import normalised_line

Unit = Literal["lines", "paragraphs", "sentences"]
Normalise = Literal["none", "spaces-case", "words", "ccnet"]

UNITS: dict[Unit, int] = {"lines": 0, "paragraphs": 1, "sentences": 2}
_LINES, _PARAGRAPHS = 0, 1

NO_KEY = np.uint64(0)  # of a unit that is left alone
_NEWLINE = np.uint64(10)
_1, _8 = np.uint64(1), np.uint64(8)


class Fold(NamedTuple):
    """What a unit becomes before it is hashed."""

    table: Characters  # the entries of characters, as in curate/dedup/shingles.py
    removed: np.uint32  # what entries have that are taken out
    collapses: bool  # white space is one blank
    plain: Bytes  # what ASCII becomes that is neither removed nor space; 0 for all other bytes
    copies: bool  # whether it becomes anything else at all


class Segments(NamedTuple):
    """The units of texts: row i has those from offsets[i] on; places are bytes of its text."""

    starts: Offsets
    ends: Offsets
    keys: Hashes  # of the `span` units from this one on; NO_KEY where they are left alone
    words: Offsets  # as white space parts them; empty if not asked for
    offsets: Offsets


class Rules(NamedTuple):
    """What a unit is, as the kernel takes it."""

    unit: int
    span: int
    min_bytes: int
    counts: bool  # words


@cache
def _ccnet() -> Characters:
    """The entry of every character, from the plain function; 0.3 s, once per process."""
    entries = np.arange(len(characters()), dtype=np.uint32)
    for code in (*range(0xD800), *range(0xE000, len(entries))):
        # Between two letters, for white space is stripped at the ends only.
        after = normalised_line(f"a{chr(code)}a")[1:-1]
        if len(after) < 2:
            entries[code] = ord(after) if after else PUNCTUATION
    entries[ord("ς")] = ord("σ")
    return frozen(entries)


@cache
def fold(normalise: Normalise) -> Fold:
    """The fold of this name."""
    table = _ccnet() if normalise == "ccnet" else characters()
    removed = NOTHING if normalise == "spaces-case" else PUNCTUATION
    collapses = normalise != "ccnet"
    plain = np.zeros(256, np.uint8)
    plain[:128] = np.where((table[:128] & (removed | SPACE)) == 0, table[:128] & CODE, 0)
    return Fold(table, removed, collapses, frozen(plain), normalise != "none")


@borrowing
def _character(text: Bytes, at: int, end: int, table: Characters) -> tuple[np.uint32, int]:
    """The entry and the bytes of a character."""
    if text[at] < 0x80:
        return table[text[at]], 1
    wide: tuple[np.uint32, int] = wide_character(text, at, end, table)
    return wide


@borrowing
def folded(text: Bytes, start: int, end: int, out: Bytes, fold: Fold) -> int:
    """Write what a stretch becomes, and return how many bytes it has then."""
    table, plain, collapses = fold.table, fold.plain, fold.collapses
    at, to, blank = start, 0, False
    while at < end:
        byte = text[np.uint64(at)]
        ready = plain[byte]
        if ready != 0:
            out[np.uint64(to)] = 32
            to += blank
            blank = False
        while ready != 0:
            out[np.uint64(to)] = ready
            to += 1
            at += 1
            # What lies behind the end is never plain.
            byte = text[np.uint64(at)] if at < end else np.uint8(0)
            ready = plain[byte]
        if at >= end:
            return to
        if collapses and byte == 32:
            blank = to > 0
            at += 1
            continue
        entry, width = _character(text, at, end, table)
        at += width
        if entry & fold.removed != 0:
            continue
        if collapses and entry & SPACE != 0:
            blank = to > 0
            continue
        out[np.uint64(to)] = 32
        to += blank
        blank = False
        to = encode(np.int64(entry & CODE), out, to)
    return to


@borrowing
def _hash(text: Bytes, place: tuple[int, int], out: Bytes, fold: Fold) -> tuple[np.uint64, int]:
    """The hash of what a unit becomes, and how many bytes that has."""
    start = skip_space(text, place[0], place[1])
    end = skip_space_back(text, start, place[1])
    if not fold.copies:
        return hash_bytes(text, start, end), end - start
    size = folded(text, start, end, out, fold)
    return hash_bytes(out, 0, size), size


@borrowing
def newline(text: Bytes, at: int, end: int) -> int:
    """Where the next newline is from here on; the end where there is none."""
    while at + 8 <= end:
        found = same(eight(text, at), _NEWLINE)
        if found != 0:
            return at + first(found)
        at += 8
    while at < end and text[at] != 10:
        at += 1
    return at


@borrowing
def _unit_end(text: Bytes, at: int, unit: int) -> int:
    """Where the unit that begins here ends."""
    end = len(text)
    if unit > _PARAGRAPHS:
        return sentence_end(text, at, end)
    at = newline(text, at, end)
    while unit == _PARAGRAPHS and at + 1 < end and text[at + 1] != 10:
        at = newline(text, at + 1, end)
    # A newline that ends the text is no part of its last paragraph.
    return at


@borrowing
def _unit_start(text: Bytes, at: int, unit: int) -> int:
    """Where the next unit begins from here on; the end where there is none."""
    behind = skip_space(text, at, len(text))
    if unit > _PARAGRAPHS or behind == len(text):
        return behind
    # White space before the first letter of a line belongs to the line.
    while behind > at and text[behind - 1] != 10:
        behind -= 1
    return behind


@borrowing
def word_count(text: Bytes, start: int, end: int) -> int:
    """How many words a stretch has, as white space parts them."""
    count, at = 0, skip_space(text, start, end)
    while at < end:
        count += 1
        while at < end and not (may_be_space(text[at]) and space_size(text, at, end) > 0):
            at += 1
        at = skip_space(text, at, end)
    return count


@helper
def _room(texts: View, unit: int) -> int:
    """At most how many units there are."""
    data, offsets = texts
    count = len(offsets) - 1
    if unit > _PARAGRAPHS:
        # All but the last end with a space or a wide sign. What is not written to costs nothing.
        return count + int(offsets[-1] - offsets[0]) // 2
    for at in range(offsets[0], offsets[-1]):
        count += data[np.uint64(at)] == 10
    return count


@borrowing
def _join_spans(keys: Hashes, sizes: Offsets, first: int, last: int, rules: Rules) -> None:
    """Make keys of units into keys of as many units in a row as a span has."""
    for unit in range(first, last):
        if unit + rules.span > last:
            keys[unit] = NO_KEY
            continue
        key, size = keys[unit], np.int64(sizes[unit])
        for later in range(unit + 1, unit + rules.span):
            key = join(key, keys[later])
            size += sizes[later]
        keys[unit] = NO_KEY if size < rules.min_bytes else max(key, _1)


@helper
def _cut(
    texts: View, groups: Hashes, rules: Rules, fold: Fold, space: tuple[Segments, Offsets, Bytes]
) -> None:
    """Fill the arrays with the units of all texts."""
    data, offsets = texts
    segments, sizes, out = space
    starts, ends, keys, words, rows = segments
    count = 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        begun = count
        start = _unit_start(text, 0, rules.unit)
        while start < len(text):
            end = _unit_end(text, start, rules.unit)
            hashed, size = _hash(text, (start, end), out, fold)
            starts[count], ends[count], sizes[count] = start, end, size
            keys[count] = join(groups[row], hashed)
            if rules.counts:
                words[count] = word_count(text, start, end)
            count += 1
            start = _unit_start(text, end, rules.unit)
        _join_spans(keys, sizes, begun, count, rules)
        rows[row + 1] = count


def segments(texts: View, groups: Hashes, rules: Rules, normalise: Normalise) -> Segments:
    """The units of texts, those of a row with the hash of its group in their keys."""
    room = _room(texts, rules.unit)
    longest = int(np.diff(texts.offsets).max(initial=0))
    found = Segments(
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room, np.uint64),
        np.empty(room if rules.counts else 0, np.int32),
        np.zeros(len(texts.offsets), np.int32),
    )
    # Of two bytes come three at most, of Ⱥ.
    space = found, np.empty(room, np.int32), np.empty(2 * longest + 8, np.uint8)
    _cut(texts, groups, rules, fold(normalise), space)
    count = int(found.offsets[-1])
    starts, ends, keys, words, offsets = found
    return Segments(starts[:count], ends[:count], keys[:count], words[:count], offsets)


def group_hashes(values: View, missing: Bytes) -> Hashes:
    """A hash for the value of each row, another for those that miss one."""
    hashes = np.empty(len(missing), np.uint64)
    _hash_groups(values, missing, hashes)
    return hashes


@helper
def _hash_groups(values: View, missing: Bytes, hashes: Hashes) -> None:
    data, offsets = values
    for row in range(len(hashes)):
        hashed = join(SEED, hash_bytes(data, offsets[row], offsets[row + 1]))
        hashes[row] = SEED if missing[row] else hashed
