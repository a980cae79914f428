"""Phrases of small ASCII letters in a text, whatever their case there: as in `text.lower()`.

Besides the capitals A to Z, `str.lower` makes one character such a letter: the Kelvin sign, a k.
("İ" becomes an i and a dot, which makes no phrase that does not end with an i.)
"""

from typing import Any

import numpy as np

from curate.column import Bytes
from curate.eight import ONES, eight, same
from curate.kernel import inlined

_K = 107  # also the three bytes of the Kelvin sign, U+212A
_1, _2, _3 = (np.uint64(place) for place in range(1, 4))
_LOWER, _FACTOR, _SHIFT = np.uint32(0x20202020), np.uint32(2654435761), np.uint32(20)
_CASE, _8 = np.uint64(0x20) * ONES, np.uint64(8)


@inlined
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


@inlined
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


@inlined
def phrase_end(text: Bytes, at: int, end: int, phrase: Bytes) -> int:
    """Where this phrase ends if it begins here; else -1."""
    place = 0
    while at >= 0 and place < len(phrase):
        at = letter_end(text, at, end, int(phrase[place]))
        place += 1
    return at


@inlined
def phrase_start(text: Bytes, start: int, at: int, phrase: Bytes) -> int:
    """Where this phrase begins if it ends here; else -1."""
    place = len(phrase)
    while at >= 0 and place > 0:
        place -= 1
        at = letter_start(text, start, at, int(phrase[place]))
    return at


@inlined
def may_hold_pair(text: Bytes, at: int, one: int, other: int) -> bool:
    """Whether these two letters may be in a row in the eight bytes from here, which must be there.

    A quarter of the time of a look at each byte.
    """
    found = np.uint64(eight(text, at) | _CASE)
    return bool((same(found, np.uint64(one)) << _8 & same(found, np.uint64(other))) != 0)


@inlined
def window(text: Bytes, at: int) -> int:
    """A number below 4096 for the four bytes from here, which must be there, in lower case."""
    place = np.uint64(at)
    four = (
        np.uint32(text[place])
        | np.uint32(text[place + _1]) << np.uint32(8)
        | np.uint32(text[place + _2]) << np.uint32(16)
        | np.uint32(text[place + _3]) << np.uint32(24)
    )
    return int(np.uint32(np.uint32((four | _LOWER) * _FACTOR) >> _SHIFT))


def windows(phrases: list[bytes], stride: int) -> Any:
    """For each number of `window` whether any four letters of a phrase have it.

    Only those are in the table that begin with one of a phrase's first letters, so many as
    `stride`: looked at in such strides, every phrase is noticed once.
    """
    table = np.zeros(1 << 12, np.bool_)
    for phrase in phrases:
        for at in range(min(stride, len(phrase) - 3)):
            four = int.from_bytes(phrase[at : at + 4], "little") | int(_LOWER)
            table[four * int(_FACTOR) % (1 << 32) >> int(_SHIFT)] = True
    return table
