"""The set of a document's n-grams itself: sorted 64-bit hashes, for what sketches estimate."""

from typing import NamedTuple

import numpy as np

from curate.column import Bytes, Hashes, Offsets, Positions, View
from curate.dedup.shingles import Characters, Unit, begin, characters, mixed, next_unit
from curate.kernel import helper

_BASE = np.uint64(0x9E3779B97F4A7C15)  # of the rolling polynomial, as in curate/dedup/shingles.py
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_BITS = 64


class Room(NamedTuple):
    """What cutting a text into n-grams needs besides the text."""

    characters: Characters
    words: Hashes  # the last ones
    power: np.uint64  # _BASE ** ngram, which takes a word out of the polynomial
    by_character: bool


def shingle_sets(texts: View, ngram: int, unit: Unit = "words") -> tuple[Hashes, Positions]:
    """The distinct n-grams of every text: row i has hashes[offsets[i]:offsets[i + 1]], sorted.

    The hashes are even over all 64-bit numbers, so that those below 2**64 / s are one of s.
    """
    power = np.uint64(pow(int(_BASE), ngram, 2**64))
    words = np.empty(ngram, np.uint64)
    room = Room(characters(), words, power, unit == "characters")
    sets: tuple[Hashes, Positions] = _sets(texts.data, texts.offsets, room)
    return sets


def intersection(left: Hashes, right: Hashes) -> int:
    """How many numbers two sorted arrays of distinct numbers have in common."""
    return int(_common(left, right))


@helper
def _common(left: Hashes, right: Hashes) -> int:
    # Without branches, which nothing could predict: 2.6 ns a number of either.
    i, j, both = 0, 0, 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        both += a == b
        i += a <= b
        j += b <= a
    return both


@helper
def roll(data: Bytes, start: int, end: int, room: Room, out: Hashes) -> int:
    """Write the hash of every n-gram, in the order of the text; how many there are."""
    table, words, power, by_character = room
    words[:] = _ZERO
    ngram = len(words)
    count, place, rolled = -ngram, 0, _ZERO
    position = begin(data, start, end, table) if by_character else start
    while position < end:
        word, position = next_unit(data, position, end, table, by_character)
        if word == _ZERO:
            break
        rolled = rolled * _BASE + word - words[place] * power
        words[place] = word
        place = place + 1 if place + 1 < ngram else 0
        count += 1
        if count >= 0:
            out[count] = min(mixed(rolled), _EMPTY - _ONE)
    return max(count + 1, 0)


@helper
def enter(hashes: Hashes, shift: np.uint64, table: Hashes) -> None:
    """Put each distinct number into the table at or behind its leading bits, in order."""
    for value in hashes:
        slot = np.int64(value >> shift)
        while table[slot] < value:
            slot += 1
        # What is larger moves up by one, until there is an empty slot or the number itself.
        while table[slot] != value:
            value, table[slot] = table[slot], value
            slot += 1
            if value == _EMPTY:
                break


@helper
def sort_distinct(hashes: Hashes, table: Hashes) -> int:
    """Sort numbers in place and leave out the repeated ones; how many are left.

    A hash table in order: numbers that are spread evenly are sorted by n steps, and a number that
    occurs a million times takes one place. The table has twice as many slots as there are numbers
    or more, and as many again behind them.
    """
    bits = 1
    while (1 << bits) < 2 * len(hashes):
        bits += 1
    slots = (1 << bits) + len(hashes) + 1
    table[:slots] = _EMPTY
    enter(hashes, np.uint64(_BITS - bits), table)
    count = 0
    for slot in range(slots):
        if table[slot] != _EMPTY:
            hashes[count] = table[slot]
            count += 1
    return count


@helper
def _sets(data: Bytes, ends: Offsets, room: Room) -> tuple[Hashes, Positions]:
    # A word takes a letter and a space, or three bytes where it is one character.
    most = np.int64(ends[-1]) - np.int64(ends[0])
    most = most if room.by_character else most // 2
    hashes = np.empty(most + len(ends), np.uint64)
    offsets = np.zeros(len(ends), np.int64)
    table = np.empty(16, np.uint64)
    total = 0
    for row in range(len(ends) - 1):
        start, end = np.int64(ends[row]), np.int64(ends[row + 1])
        count = roll(data, start, end, room, hashes[total:])
        if len(table) < 5 * count + 3:
            table = np.empty(6 * count + 3, np.uint64)
        total += sort_distinct(hashes[total : total + count], table)
        offsets[row + 1] = total
    return hashes[:total].copy(), offsets
