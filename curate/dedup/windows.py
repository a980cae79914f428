"""Windows of so many units: their anchors, their hashes, and the bytes where they stand.

A unit is a word, a byte or a token; a window is a number of units in a row of one document. The
anchor of a window is the smallest hash of the n-grams in it (winnowing: Schleimer, Wilkerson and
Aiken, SIGMOD 2003), so equal windows have equal anchors, and neighbours mostly share theirs.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Hashes, Mask, Offsets, Positions, View, frozen
from curate.kernel import borrowing, helper
from curate.utf8 import may_be_space, skip_space, space_size, starts_character

# Of two windows of N units that differ both hashes agree with a probability of (N / 2**61)**2 at
# most (Karp and Rabin), for texts that were not made to meet. Among 10**12 windows of 100 bytes,
# with 5 * 10**23 pairs, one such pair is expected in one corpus of 10**9. The same holds for longer
# stretches with their length as N. Words enter by two hashes of 64 bits each.
_PRIME = np.uint64(2**61 - 1)
_BASES = (0x19A2F3C8B5D7E641, 0x0D3B7F5A91C6E827)

_STEP = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial over the n-gram, which is an odd number
_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_OTHER_PRIME = np.uint64(0xD6E8FEB86659FD93)
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
_1, _30, _31, _32, _61 = (np.uint64(bits) for bits in (1, 30, 31, 32, 61))
_LOW_30, _LOW_31 = np.uint64(2**30 - 1), np.uint64(2**31 - 1)


class Units(NamedTuple):
    """The units of some texts: row i has those from offsets[i] on.

    Equal units have equal `values` and `others`, which are the same array where both are the unit
    itself. Unit j is the bytes starts[j] to ends[j] of its text; bytes have no such places.
    """

    values: NDArray[Any]
    others: NDArray[Any]
    offsets: Offsets
    starts: Offsets
    ends: Offsets


class Shape(NamedTuple):
    """What windows are looked for: how many units they have, and their n-grams."""

    length: int
    gram: int
    power: np.uint64  # _STEP ** gram, which takes a unit out of the polynomial
    bases: Hashes
    powers: Hashes  # base ** length


class Stretches(NamedTuple):
    """Neighbouring windows: of this row, those that begin at units `starts` to before `ends`."""

    rows: Offsets
    starts: Offsets
    ends: Offsets


Listed = tuple[Hashes, Offsets, Offsets]  # what `anchors` finds

NO_STRETCHES = Stretches(*(np.empty(0, np.int32) for _ in range(3)))


def concatenated(parts: list[Stretches]) -> Stretches:
    """All stretches, in this order."""
    return Stretches(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def bytes_of(units: Units, spans: Stretches) -> Stretches:
    """The places in the texts' bytes of spans of units, none of them empty."""
    rows, starts, ends = spans
    if not len(units.starts):
        return Stretches(rows, starts.copy(), ends.copy())
    first = units.offsets[rows].astype(np.int64)
    return Stretches(rows, units.starts[first + starts], units.ends[first + ends - 1])


def taken(stretches: Stretches, most: int) -> tuple[Stretches, Stretches]:
    """The first windows of these stretches, so many at most, and the others."""
    rows, starts, ends = stretches
    after = np.cumsum(ends - starts, dtype=np.int64)
    whole = int(np.searchsorted(after, most, side="right"))
    if whole == len(rows):
        return stretches, Stretches(rows[:0], starts[:0], ends[:0])
    begun = most - (int(after[whole - 1]) if whole else 0)
    last = whole + (begun > 0)
    head, tail = ends[:last].copy(), starts[whole:].copy()
    tail[0] += begun
    if begun:
        head[-1] = tail[0]
    return Stretches(rows[:last], starts[:last], head), Stretches(rows[whole:], tail, ends[whole:])


def places(stretches: Stretches) -> Positions:
    """Where each window of these stretches begins."""
    counts = (stretches.ends - stretches.starts).astype(np.int64)
    before = np.cumsum(counts) - counts
    found: Positions = np.arange(counts.sum()) + np.repeat(stretches.starts - before, counts)
    return found


def union(spans: Stretches) -> Stretches:
    """The same units, in spans that neither meet nor overlap, of spans in order."""
    rows, starts, ends = spans
    row = rows.astype(np.int64) << 32
    reached = np.maximum.accumulate(row + ends)
    opens = np.ones(len(rows), np.bool_)
    opens[1:] = row[1:] + starts[1:] > reached[:-1]
    closes = np.ones(len(rows), np.bool_)
    closes[:-1] = opens[1:]
    return Stretches(rows[opens], starts[opens], reached[closes].astype(np.int32))


def ordered(spans: Stretches) -> Stretches:
    """The same spans by row and by start."""
    order = np.lexsort((spans.starts, spans.rows))
    return Stretches(*(array[order] for array in spans))


def within(spans: Stretches, first: int, count: int) -> tuple[Positions, Stretches]:
    """The rows among so many from this one on that have spans, and these, numbered by such rows."""
    low, high = np.searchsorted(spans.rows, [first, first + count])
    own = Stretches(*(array[low:high] for array in spans))
    rows = np.unique(own.rows)
    numbers = np.searchsorted(rows, own.rows).astype(np.int32)
    return rows.astype(np.int64) - first, own._replace(rows=numbers)


def marked_stretches(units: Units, shape: Shape, listed: Listed, marks: Mask) -> Stretches:
    """For each of the anchors that are marked the windows that have it."""
    _, windows, begins = listed
    entries = np.flatnonzero(marks)
    rows = (np.searchsorted(begins, entries, side="right") - 1).astype(np.int32)
    after = np.append(windows, np.int32(0))[entries + 1]
    last = units.offsets[rows + 1] - units.offsets[rows] - np.int32(shape.length - 1)
    ends = np.where(entries + 1 < begins[rows + 1], after, last)
    return Stretches(rows, windows[entries], ends.astype(np.int32))


def shape(length: int) -> Shape:
    """The shape of windows of so many units."""
    # Longer n-grams make more anchors, but fewer windows share one without being equal. On 16 MB
    # of pages, 100 bytes: n-grams of a third, half, two thirds and four fifths of a window made
    # tables of .21, .28, .44 and .74 bytes a byte, and spilled 3.3, 2.9, 2.9 and 3.6.
    gram = (length + 1) // 2
    return Shape(
        length,
        gram,
        np.uint64(pow(int(_STEP), gram, 2**64)),
        frozen(np.array(_BASES, np.uint64)),
        frozen(np.array([pow(base, length, int(_PRIME)) for base in _BASES], np.uint64)),
    )


_NO_PLACES = frozen(np.empty(0, np.int32))


def byte_units(texts: View) -> Units:
    """The bytes themselves."""
    return Units(texts.data, texts.data, texts.offsets, _NO_PLACES, _NO_PLACES)


def word_units(texts: View) -> Units:
    """The words that white space separates, as `str.split` does."""
    # A word and a space are two bytes.
    size = (int(texts.offsets[-1]) - int(texts.offsets[0]) + len(texts.offsets)) // 2 + 1
    values, others = np.empty(size, np.uint64), np.empty(size, np.uint64)
    starts, ends = np.empty(size, np.int32), np.empty(size, np.int32)
    offsets = np.zeros(len(texts.offsets), np.int32)
    cut_words(texts, values, others, (starts, ends, offsets))
    return Units(frozen(values), frozen(others), frozen(offsets), frozen(starts), frozen(ends))


@borrowing
def scrambled(value: np.uint64) -> np.uint64:
    """A permutation of the 64-bit numbers (MurmurHash3's finisher)."""
    value = np.uint64((value ^ (value >> _32)) * _MIX_1)
    value = np.uint64((value ^ (value >> _32)) * _MIX_2)
    return np.uint64(value ^ (value >> _32))


@helper
def cut_words(
    texts: View, values: Hashes, others: Hashes, places: tuple[Offsets, Offsets, Offsets]
) -> None:
    """Write two hashes of every word, and where it begins and ends."""
    data, rows = texts
    starts, ends, offsets = places
    count = 0
    for row in range(len(rows) - 1):
        first, end = int(rows[row]), int(rows[row + 1])
        at = skip_space(data, first, end)
        while at < end:
            starts[count] = at - first
            value, other = _FNV_BASIS, _FNV_BASIS
            while at < end and not (may_be_space(data[at]) and space_size(data, at, end) > 0):
                byte = np.uint64(data[at])
                value = np.uint64((value ^ byte) * _FNV_PRIME)
                other = np.uint64(other * _OTHER_PRIME + byte)
                at += 1
            values[count], others[count] = scrambled(value), scrambled(other)
            ends[count] = at - first
            count += 1
            at = skip_space(data, at, end)
        offsets[row + 1] = count


# Anchors


@helper
def longer(array: NDArray[Any]) -> NDArray[Any]:
    """The same values, with room for as many again."""
    out = np.empty(2 * len(array) + 16, array.dtype)
    out[: len(array)] = array
    return out


@borrowing
def least_place(ring: Hashes, place: int, width: int) -> int:
    """Where the smallest of the last values stands, of several the last."""
    last = np.uint64(len(ring) - 1)
    found, least = place, ring[np.uint64(place) & last]
    for back in range(place - 1, place - width, -1):
        value = ring[np.uint64(back) & last]
        found = back if value < least else found
        least = min(value, least)
    return found


@borrowing
def next_gram(
    rolled: np.uint64, values: NDArray[Any], at: int, gram: int, power: np.uint64
) -> np.uint64:
    """The polynomial over the n-gram that ends with this unit, from that of the one before."""
    rolled = np.uint64(rolled * _STEP + np.uint64(values[np.uint64(at)]) + _1)
    if at < gram:
        return rolled
    out = np.uint64(np.uint64(values[np.uint64(at - gram)]) + _1)
    return np.uint64(rolled - out * power)


@helper
def row_anchors(
    values: NDArray[Any], shape: Shape, ring: Hashes, found: tuple[Hashes, Offsets], count: int
) -> tuple[Hashes, Offsets, int]:
    """List the anchors of a row behind so many others."""
    hashes, windows = found
    gram, power = shape.gram, shape.power
    width, last = shape.length - gram + 1, np.uint64(len(ring) - 1)
    rolled, least, listed = np.uint64(0), _FULL, _FULL
    least_at, listed_at, alike = -1, -1, 0
    for at in range(len(values)):
        rolled = next_gram(rolled, values, at, gram, power)
        place = at - gram + 1  # of the n-gram
        if place < 0:
            continue
        value = scrambled(rolled)
        ring[np.uint64(place) & last] = value
        if value <= least:
            least, least_at = value, place
        elif least_at <= place - width:
            least_at = least_place(ring, place, width)
            least = ring[np.uint64(least_at) & last]
        if place < width - 1 or least_at == listed_at:
            continue
        alike = alike + 1 if least == listed else 1
        listed, listed_at = least, least_at
        if alike > 2:
            continue
        if count == len(hashes):
            hashes, windows = longer(hashes), longer(windows)
        # Scrambled again: the smallest of many are all small, and parts would be uneven.
        hashes[count] = scrambled(least)
        windows[count] = place - width + 1
        count += 1
    return hashes, windows, count


@helper
def anchors(units: Units, shape: Shape) -> Listed:
    """The anchors of all rows, the window from which each holds, and where each row's begin.

    An anchor holds until the next one's window. Where one follows another that equals it, as in a
    text of one letter, a row lists the first two alone: it occurs twice, and no more is asked. The
    stretch of the second then has equal windows, but is itself not equal to that of the first, in
    which the smallest n-gram is always the same one.
    """
    values, offsets = units.values, units.offsets
    width = shape.length - shape.gram + 1
    size = 1
    while size < width:
        size *= 2
    ring = np.empty(size, np.uint64)
    hashes = np.empty(len(values) // width + 16, np.uint64)
    windows = np.empty(len(hashes), np.int32)
    begins = np.zeros(len(offsets), np.int32)
    count = 0
    for row in range(len(offsets) - 1):
        own = values[offsets[row] : offsets[row + 1]]
        hashes, windows, count = row_anchors(own, shape, ring, (hashes, windows), count)
        begins[row + 1] = count
    return hashes[:count], windows[:count], begins


# Hashes


@borrowing
def times(left: np.uint64, right: np.uint64) -> np.uint64:
    """The product modulo 2**61 - 1 of two numbers below it."""
    high, low = left >> _31, left & _LOW_31
    other_high, other_low = right >> _31, right & _LOW_31
    middle = np.uint64(high * other_low + low * other_high)
    product = np.uint64(
        ((high * other_high) << _1)
        + (middle >> _30)
        + ((middle & _LOW_30) << _31)
        + low * other_low
    )
    product = np.uint64((product & _PRIME) + (product >> _61))
    return np.uint64(product - _PRIME) if product >= _PRIME else product


@borrowing
def reduced(value: np.uint64) -> np.uint64:
    """The number modulo 2**61 - 1."""
    value = np.uint64((value & _PRIME) + (value >> _61))
    return np.uint64(value - _PRIME) if value >= _PRIME else value


@borrowing
def roll(hashed: np.uint64, base: np.uint64, unit: np.uint64) -> np.uint64:
    """The hash of a sequence of units, followed by one more."""
    return reduced(np.uint64(times(hashed, base) + reduced(unit) + _1))


@borrowing
def hash_windows(
    values: NDArray[Any], shape: Shape, base: int, window: int, hashes: Hashes
) -> None:
    """Write the hash of every window from this one on, by the first or the second base."""
    step, power = shape.bases[base], shape.powers[base]
    hashed = np.uint64(0)
    for at in range(window, window + shape.length):
        hashed = roll(hashed, step, np.uint64(values[at]))
    hashes[0] = hashed
    for place in range(1, len(hashes)):
        old = reduced(np.uint64(reduced(np.uint64(values[window + place - 1])) + _1))
        hashed = roll(hashed, step, np.uint64(values[window + place - 1 + shape.length]))
        hashed = reduced(np.uint64(hashed + _PRIME - times(old, power)))
        hashes[place] = hashed


@helper
def stretch_hashes(
    units: Units, shape: Shape, stretches: Stretches, highs: Hashes, lows: Hashes
) -> None:
    """Write both hashes of all units in each of the stretches of windows."""
    rows, starts, ends = stretches
    for i in range(len(rows)):
        first = np.int64(units.offsets[rows[i]])
        high, low = np.uint64(0), np.uint64(0)
        for at in range(first + starts[i], first + ends[i] - 1 + shape.length):
            high = roll(high, shape.bases[0], np.uint64(units.values[at]))
            low = roll(low, shape.bases[1], np.uint64(units.others[at]))
        highs[i], lows[i] = scrambled(high), low


@helper
def window_hashes(
    units: Units, shape: Shape, stretches: Stretches, highs: Hashes, lows: Hashes
) -> None:
    """Write both hashes of every window of the stretches."""
    rows, starts, ends = stretches
    done = 0
    for i in range(len(rows)):
        window = np.int64(units.offsets[rows[i]]) + starts[i]
        count = np.int64(ends[i]) - starts[i]
        hash_windows(units.values, shape, 0, window, highs[done : done + count])
        hash_windows(units.others, shape, 1, window, lows[done : done + count])
        for place in range(done, done + count):
            highs[place] = scrambled(highs[place])
        done += count


# Bytes


@helper
def whole_characters(texts: View, spans: Stretches) -> None:
    """Shrink spans of bytes until they cut no character in two; some are then empty."""
    data, offsets = texts
    rows, starts, ends = spans
    for i in range(len(rows)):
        first, last = np.int64(offsets[rows[i]]), np.int64(offsets[rows[i] + 1])
        start, end = first + starts[i], first + ends[i]
        while start < end and not starts_character(data[start]):
            start += 1
        while start < end < last and not starts_character(data[end]):
            end -= 1
        starts[i], ends[i] = start - first, end - first
