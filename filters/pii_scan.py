"""Where in a text personal data could be: one linear pass over bytes, before any pattern runs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Offsets
from curate.kernel import helper

# What a window may hold; a window of digits may hold several.
AT, COLON, DOTTED, SHORT, LONG = 1, 2, 4, 8, 16

# A phone number needs seven digits, a card twelve, an IPv4 address three dots.
PHONE_DIGITS, CARD_DIGITS, IPV4_DOTS = 7, 12, 3

LOCAL_BYTES, DOMAIN_BYTES, IPV6_BYTES = 64, 253, 45


def _table(*groups: bytes) -> NDArray[np.uint8]:
    """For each byte the number of the first group that has it, counted from 1; 0 for none."""
    table = np.zeros(256, np.uint8)
    for number, group in reversed(list(enumerate(groups, 1))):
        table[np.frombuffer(group, np.uint8)] = number
    return table


_DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BEYOND = bytes(range(0x80, 0x100))

_TRIGGER = _table(b"@", b":", _DIGITS)
_LOCAL = _table(_DIGITS + _LETTERS + _BEYOND + b"._%+-'")
_DOMAIN = _table(_DIGITS + _LETTERS + _BEYOND + b"-", b".")
_LETTER = _table(_LETTERS + _BEYOND)
_WORD = _table(_DIGITS + _LETTERS + b"_")
_HEX = _table(_DIGITS + b"abcdefABCDEF", b":", b".")
# Between the digits of one number; the last two begin U+00A0 and U+2010 and their like.
_JOIN = _table(_DIGITS, b".", b" -/()+" + _BEYOND)


@helper
def _domain_end(data: Bytes, start: int, end: int) -> int:
    """Where the domain after an @ could end, or `start` if no dot is followed by two letters."""
    stop = min(end, start + DOMAIN_BYTES)
    i = start
    plausible = False
    while i < stop and _DOMAIN[data[i]] > 0:
        if _DOMAIN[data[i]] == 2 and i + 2 < end:
            plausible = plausible or (_LETTER[data[i + 1]] > 0 and _LETTER[data[i + 2]] > 0)
        i += 1
    return i if plausible else start


@helper
def _colon_window(data: Bytes, at: int, begin: int, end: int) -> tuple[int, int, bool]:
    """The run of hex digits, colons and dots around a colon, and whether it could be IPv6."""
    start = at
    while start > begin and _HEX[data[start - 1]] > 0:
        start -= 1
    stop = at
    colons = 0
    digits = 0
    while stop < end and _HEX[data[stop]] > 0:
        colons += _HEX[data[stop]] == 2
        stop += 1
    for i in range(start, stop):
        digits += _HEX[data[i]] == 1
    whole = (start == begin or _WORD[data[start - 1]] == 0) and (
        stop == end or _WORD[data[stop]] == 0
    )
    return start, stop, whole and colons >= 2 and digits >= 2 and stop - start <= IPV6_BYTES + 2


@helper
def _digit_window(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Where the digits that belong together end, and what they could be."""
    i = start
    last = start
    digits = 0
    dots = 0
    while i < end and _JOIN[data[i]] > 0 and i - last < 4:
        if _JOIN[data[i]] == 1:
            digits += 1
            last = i + 1
        dots += _JOIN[data[i]] == 2
        i += 1
    classes = 0
    if dots >= IPV4_DOTS:
        classes |= DOTTED
    if digits >= PHONE_DIGITS:
        classes |= SHORT
    if digits >= CARD_DIGITS:
        classes |= LONG
    return last, classes


@helper
def _email_window(data: Bytes, at: int, begin: int, end: int) -> tuple[int, int]:
    """The local part and the domain that could stand around an @; empty if none can."""
    stop = _domain_end(data, at + 1, end)
    if stop == at + 1:
        return at, at
    start = at
    while start > begin and at - start < LOCAL_BYTES and _LOCAL[data[start - 1]] > 0:
        start -= 1
    return (start, stop) if start < at else (at, at)


@helper
def _window(data: Bytes, i: int, begin: int, end: int) -> tuple[int, int, int, int]:
    """The window at this trigger: its start, its end, its classes, and where to go on."""
    trigger = _TRIGGER[data[i]]
    if trigger == 1:
        start, stop = _email_window(data, i, begin, end)
        return start, stop, (AT if start < stop else 0), i + 1
    if trigger == 2:
        start, stop, plausible = _colon_window(data, i, begin, end)
        # The digits in the run may be something else as well, so the scan goes on inside it.
        return start, stop, (COLON if plausible else 0), i + 1
    stop, classes = _digit_window(data, i, end)
    return i, stop, classes, stop


@helper
def windows(data: Bytes, offsets: Offsets) -> NDArray[np.int32]:
    """Row, start, end and classes of every window, one a line, starts counted from the row's."""
    found = np.empty((64, 4), np.int32)
    count = 0
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        end = offsets[row + 1]
        colon_done = begin  # no colon before it is looked at again, or the scan were quadratic
        i = begin
        while i < end:
            trigger = _TRIGGER[data[i]]
            if trigger == 0 or (trigger == 2 and i < colon_done):
                i += 1
                continue
            start, stop, classes, after = _window(data, i, begin, end)
            if trigger == 2:
                colon_done = stop
            if classes > 0:
                if count == len(found):
                    found = _doubled(found)
                found[count, 0] = row
                found[count, 1] = start - begin
                found[count, 2] = stop - begin
                found[count, 3] = classes
                count += 1
            i = after
    return found[:count]


@helper
def _doubled(found: Any) -> Any:
    larger = np.empty((2 * len(found), 4), np.int32)
    larger[: len(found)] = found
    return larger
