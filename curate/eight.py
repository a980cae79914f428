"""Eight bytes of text at a time, in one 64-bit number: the first byte is the lowest.

A mask has the highest bit of each byte that is meant and no other bit. Words were cut at twice the
speed of a loop over bytes.
"""

import numpy as np

from curate.column import Bytes
from curate.kernel import borrowing

ONES = np.uint64(0x0101010101010101)
HIGH = np.uint64(0x8080808080808080)
LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_1, _2, _3, _4, _5, _6, _7 = (np.uint64(place) for place in range(1, 8))
_56 = np.uint64(56)


@borrowing
def eight(text: Bytes, at: int) -> np.uint64:
    """The eight bytes from here on, which must be there."""
    # One load, once compiled, for the places are unsigned: others could count from the end.
    place = np.uint64(at)
    return np.uint64(
        np.uint64(text[place])
        | np.uint64(text[place + _1]) << np.uint64(8)
        | np.uint64(text[place + _2]) << np.uint64(16)
        | np.uint64(text[place + _3]) << np.uint64(24)
        | np.uint64(text[place + _4]) << np.uint64(32)
        | np.uint64(text[place + _5]) << np.uint64(40)
        | np.uint64(text[place + _6]) << np.uint64(48)
        | np.uint64(text[place + _7]) << np.uint64(56)
    )


@borrowing
def zeros(eight: np.uint64) -> np.uint64:
    """The mask of the bytes that are zero."""
    return np.uint64(~(((eight & LOW) + LOW) | eight | LOW))


@borrowing
def same(eight: np.uint64, byte: np.uint64) -> np.uint64:
    """The mask of the bytes that equal this one."""
    return zeros(eight ^ np.uint64(byte * ONES))


@borrowing
def below(eight: np.uint64, byte: np.uint64) -> np.uint64:
    """The mask of the bytes below this one, which is at most 128."""
    return np.uint64(~((eight & LOW) + (HIGH - byte * ONES)) & ~eight & HIGH)


@borrowing
def first(mask: np.uint64) -> int:
    """The place, 0 to 7, of the first byte that is meant; some byte must be."""
    lowest = np.uint64(((mask & (~mask + _1)) - _1) & ONES)
    return int(np.uint64(lowest * ONES) >> _56) - 1


@borrowing
def letters(eight: np.uint64) -> np.uint64:
    """The mask of the ASCII letters."""
    lower = np.uint64((eight | np.uint64(0x20) * ONES) & LOW)
    from_a = np.uint64(lower + np.uint64(0x80 - 0x61) * ONES)
    behind_z = np.uint64(lower + np.uint64(0x80 - 0x7B) * ONES)
    return np.uint64(from_a & ~behind_z & ~eight & HIGH)


@borrowing
def digits(eight: np.uint64) -> np.uint64:
    """The mask of the ASCII digits."""
    low = np.uint64(eight & LOW)
    from_0 = np.uint64(low + np.uint64(0x80 - 0x30) * ONES)
    behind_9 = np.uint64(low + np.uint64(0x80 - 0x3A) * ONES)
    return np.uint64(from_0 & ~behind_9 & ~eight & HIGH)
