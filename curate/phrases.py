"""Phrases of small ASCII letters in a text, whatever their case there: as in `text.lower()`.

Besides the capitals A to Z, `str.lower` makes one character such a letter: the Kelvin sign, a k.
("İ" becomes an i and a dot, which makes no phrase that does not end with an i.)
"""

from typing import Any, NamedTuple

import numpy as np

from curate.column import Bytes
from curate.eight import ONES, eight, same
from curate.kernel import borrowing

_K = 107  # also the three bytes of the Kelvin sign, U+212A
_1, _2, _3 = (np.uint64(place) for place in range(1, 4))
_LOWER, _FACTOR, _SHIFT = np.uint32(0x20202020), np.uint32(2654435761), np.uint32(20)
_CASE, _8 = np.uint64(0x20) * ONES, np.uint64(8)


@borrowing
def letter_end(text: Bytes, at: int, end: int, letter: int) -> int:
    """Where this letter ends if it begins here; else -1."""
    if at >= end:
        return -1
    byte = int(text[at])
    if (byte | 32 if 65 <= byte <= 90 else byte) == letter:
        return at + 1
    if letter == _K and byte == 0xE2 and at + 3 <= end:
        return at + 3 if text[at + 1] == 0x84 and text[at + 2] == 0xAA else -1
    return -1


@borrowing
def letter_start(text: Bytes, start: int, at: int, letter: int) -> int:
    """Where this letter begins if it ends here; else -1."""
    if at <= start:
        return -1
    byte = int(text[at - 1])
    if (byte | 32 if 65 <= byte <= 90 else byte) == letter:
        return at - 1
    if letter == _K and byte == 0xAA and at - 3 >= start:
        return at - 3 if text[at - 2] == 0x84 and text[at - 3] == 0xE2 else -1
    return -1


@borrowing
def phrase_end(text: Bytes, at: int, end: int, phrase: Bytes) -> int:
    """Where this phrase ends if it begins here; else -1."""
    place = 0
    while at >= 0 and place < len(phrase):
        at = letter_end(text, at, end, int(phrase[place]))
        place += 1
    return at


@borrowing
def phrase_start(text: Bytes, start: int, at: int, phrase: Bytes) -> int:
    """Where this phrase begins if it ends here; else -1."""
    place = len(phrase)
    while at >= 0 and place > 0:
        place -= 1
        at = letter_start(text, start, at, int(phrase[place]))
    return at


@borrowing
def may_hold_pair(text: Bytes, at: int, one: int, other: int) -> bool:
    """Whether these two letters may be in a row in the eight bytes from here, which must be there.

    A quarter of the time of a look at each byte.
    """
    found = np.uint64(eight(text, at) | _CASE)
    return bool((same(found, np.uint64(one)) << _8 & same(found, np.uint64(other))) != 0)


class Phrases(NamedTuple):
    """Phrases that `phrases_in` looks for, the shorter the slower: see `phrases`."""

    letters: Any  # phrase n has those from ends[n] to ends[n + 1]
    ends: Any
    first: Any  # for each byte, as bits, the phrases that begin with it
    second: Any  # those that have it in the second place
    windows: Any  # whether a window with this number is one of the first ones of a phrase
    stride: int  # one in so many places is looked at


def phrases(listed: list[bytes]) -> Phrases:
    """The table of these phrases: of four letters or more, and no k among the first two."""
    stride = min(map(len, listed)) - 3
    windows = np.zeros(1 << 12, np.bool_)
    for phrase in listed:
        for at in range(stride):
            four = int.from_bytes(phrase[at : at + 4], "little") | int(_LOWER)
            windows[four * int(_FACTOR) % (1 << 32) >> int(_SHIFT)] = True
    return Phrases(
        np.frombuffer(b"".join(listed), np.uint8).copy(),
        np.cumsum([0, *map(len, listed)]),
        _phrases_with(0, listed),
        _phrases_with(1, listed),
        windows,
        stride,
    )


def _phrases_with(place: int, listed: list[bytes]) -> Any:
    """For each byte, as bits, the phrases that have it here."""
    table = np.zeros(256, np.uint32)
    for bit, phrase in enumerate(listed):
        letter = phrase[place : place + 1]
        table[list(letter + letter.upper())] |= 1 << bit
    return table


@borrowing
def _window(text: Bytes, at: int) -> int:
    """A number below 4096 for the four bytes from here, which must be there, in lower case."""
    place = np.uint64(at)
    four = (
        np.uint32(text[place])
        | np.uint32(text[place + _1]) << np.uint32(8)
        | np.uint32(text[place + _2]) << np.uint32(16)
        | np.uint32(text[place + _3]) << np.uint32(24)
    )
    return int(np.uint32((four | _LOWER) * _FACTOR) >> _SHIFT)


@borrowing
def _phrases_at(text: Bytes, at: int, end: int, listed: Phrases, kelvin: bool) -> int:
    """Which of the phrases begin here, as bits."""
    found, phrase, possible = 0, 0, int(listed.first[text[at]] & listed.second[text[at + 1]])
    while possible > 0:
        first, last = listed.ends[phrase], listed.ends[phrase + 1]
        if possible & 1:
            behind = phrase_end(text, at, end, listed.letters[first:last])
            found |= (behind == at + last - first or (kelvin and behind >= 0)) << phrase
        possible >>= 1
        phrase += 1
    return found


@borrowing
def phrases_in(text: Bytes, start: int, end: int, listed: Phrases, kelvin: bool) -> int:
    """Which of the phrases occur in this stretch, as bits; with a Kelvin sign for a k if so asked.

    Wherever a phrase begins, one in `stride` places is the start of four of its letters, so only
    these places are looked up, 0.2 ns a byte, and those before the few that are found. A Kelvin
    sign makes other windows than a k: every place is looked at.
    """
    found, at, stride = 0, start, 1 if kelvin else listed.stride
    while at + 4 <= end:
        if kelvin or listed.windows[_window(text, at)]:
            for place in range(max(start, at - stride + 1), at + 1):
                found |= _phrases_at(text, place, end, listed, kelvin)
        at += stride
    return found
