"""Which texts are clean UTF-8 as they come, so that nothing has to be done to them."""

import numpy as np

from curate.column import Bytes, Mask, View
from curate.eight import HIGH, below, eight, same
from curate.kernel import borrowing, helper

_SPACE, _TAB, _NEWLINE, _DELETE = (np.uint64(code) for code in (0x20, 0x09, 0x0A, 0x7F))


@borrowing
def _is_plain(found: np.uint64) -> bool:
    """Whether eight bytes are ASCII, and no control characters but tabs and newlines."""
    allowed = same(found, _TAB) | same(found, _NEWLINE)
    wrong = (below(found, _SPACE) & ~allowed) | same(found, _DELETE) | (found & HIGH)
    return bool(wrong == np.uint64(0))


@borrowing
def _width(text: Bytes, at: int, end: int) -> int:
    """The bytes of the clean character that begins here; 0 for any other and for no UTF-8."""
    lead = np.int64(text[at])
    if lead < 0x80:
        return 1 if (lead >= 0x20 and lead != 0x7F) or lead == 0x09 or lead == 0x0A else 0
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if lead < 0xC2 or lead > 0xF4 or at + width > end:
        return 0
    code = lead & (0x7F >> width)
    for place in range(at + 1, at + width):
        byte = np.int64(text[place])
        if byte & 0xC0 != 0x80:
            return 0
        code = (code << 6) | (byte & 0x3F)
    least = 0xA0 if width == 2 else (0x800 if width == 3 else 0x10000)  # C1 controls are none
    if code < least or code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return 0
    return 0 if code == 0xFFFE or code == 0xFFFF else width


@helper
def _mark(texts: View, out: Mask) -> None:
    data = texts.data
    for row in range(len(out)):
        at, end = int(texts.offsets[row]), int(texts.offsets[row + 1])
        # A byte order mark is taken off.
        clean = not (at + 3 <= end and data[at] == 0xEF and data[at + 1] == 0xBB)
        while clean and at < end:
            if at + 8 <= end and _is_plain(eight(data, at)):
                at += 8
                continue
            width = _width(data, at, end)
            clean = width > 0
            at += width
        out[row] = clean


def clean_as_it_is(texts: View) -> Mask:
    """Which rows are UTF-8 that `charset.clean` would leave as they are."""
    out = np.zeros(len(texts.offsets) - 1, np.bool_)
    _mark(texts, out)
    return out
