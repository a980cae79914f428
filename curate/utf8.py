"""How UTF-8 spells characters: white space, line breaks and letters, told from the bytes.

Bytes that are not UTF-8 never fail: a stray byte is a character that is no space and no letter.
"""

from pathlib import Path
from typing import Any

import numpy as np

from curate.column import Bytes
from curate.eight import HIGH, below, eight, first, same
from curate.kernel import borrowing, helper


def _ranges(path: Path) -> Any:
    """First and last code points of a table of ranges, one array each."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    pairs = [[int(end, 16) for end in line.split("-")] for line in lines]
    table = np.array(pairs, np.int32)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])


_FIRST, _LAST = _ranges(Path(__file__).with_name("letters.txt"))


@borrowing
def starts_character(byte: int) -> bool:
    """Whether a character begins with this byte: all do but continuation bytes."""
    return (byte & 0xC0) != 0x80


@borrowing
def may_be_space(byte: int) -> bool:
    """Whether white space may begin with this byte; ask this before `space_size` in hot loops.

    One comparison a byte instead of a call: words were cut 1.7 times as fast.
    """
    return (byte <= 32) | (byte == 0xC2) | ((byte >= 0xE1) & (byte <= 0xE3))


@borrowing
def may_break(byte: int) -> bool:
    """Whether a line break may begin with this byte; ask this before `break_size` in hot loops."""
    return ((byte >= 10) & (byte <= 30)) | (byte == 0xC2) | (byte == 0xE2)


@helper
def _space_size(first: int, second: int, third: int) -> int:
    if first <= 32:
        return 1 if first == 32 or 9 <= first <= 13 or 28 <= first <= 31 else 0
    if first == 0xC2:  # U+0085, U+00A0
        return 2 if second == 0x85 or second == 0xA0 else 0
    if first == 0xE2 and second == 0x80:  # U+2000 to U+200A, U+2028, U+2029, U+202F
        wide = 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
        return 3 if wide else 0
    if first == 0xE2:  # U+205F
        return 3 if second == 0x81 and third == 0x9F else 0
    if first == 0xE1:  # U+1680
        return 3 if second == 0x9A and third == 0x80 else 0
    return 3 if first == 0xE3 and second == 0x80 and third == 0x80 else 0  # U+3000


@borrowing
def space_size(text: Bytes, at: int, end: int) -> int:
    """How many bytes the white space character has that begins here; 0 where none begins."""
    if text[at] == 32 or text[at] == 10:  # nearly always
        return 1
    second = int(text[at + 1]) if at + 1 < end else 0
    third = int(text[at + 2]) if at + 2 < end else 0
    size: int = _space_size(int(text[at]), second, third)
    return size


@borrowing
def skip_space(text: Bytes, at: int, end: int) -> int:
    """Where the white space that begins here ends."""
    while at < end and may_be_space(text[at]):
        size = space_size(text, at, end)
        if size == 0:
            return at
        at += size
    return at


@borrowing
def skip_space_back(text: Bytes, start: int, end: int) -> int:
    """Where the white space that ends here begins."""
    while start < end:
        size = 1
        while size < 3 and start < end - size and not starts_character(text[end - size]):
            size += 1
        if space_size(text, end - size, end) != size:
            return end
        end -= size
    return end


@helper
def _break_size(first: int, second: int, third: int) -> int:
    if first < 32:
        if first == 13 and second == 10:
            return 2
        return 1 if 10 <= first <= 13 or 28 <= first <= 30 else 0
    if first == 0xC2:
        return 2 if second == 0x85 else 0
    separator = first == 0xE2 and second == 0x80 and (third == 0xA8 or third == 0xA9)
    return 3 if separator else 0


@borrowing
def break_size(text: Bytes, at: int, end: int) -> int:
    """How many bytes the line break has that begins here, as `str.splitlines` sees it; or 0."""
    second = int(text[at + 1]) if at + 1 < end else 0
    third = int(text[at + 2]) if at + 2 < end else 0
    size: int = _break_size(int(text[at]), second, third)
    return size


@borrowing
def breaks(text: Bytes, at: int, end: int) -> int:
    """How many line breaks begin in this stretch."""
    count = 0
    while at < end:
        size = break_size(text, at, end) if may_break(text[at]) else 0
        count += size > 0
        at += max(size, 1)
    return count


@borrowing
def ends_with_break(text: Bytes) -> bool:
    """Whether the text ends with a line break, so that no line follows it."""
    end = len(text)
    found = False
    for size in range(1, min(end, 3) + 1):
        found |= break_size(text, end - size, end) == size
    return found


@borrowing
def _may_break(found: np.uint64) -> np.uint64:
    """The mask of the bytes with which a line break may begin, and of a few others."""
    breaks = below(found, np.uint64(31))
    if found & HIGH != 0:
        breaks |= same(found, np.uint64(0xC2)) | same(found, np.uint64(0xE2))
    return np.uint64(breaks)


@borrowing
def line_end(text: Bytes, at: int, end: int) -> int:
    """Where the line that begins here ends, as `str.splitlines` cuts it."""
    is_inside = True
    while is_inside and at < end:
        breaks = np.uint64(1)  # fewer than eight bytes are looked at one by one
        if at + 8 <= end:
            breaks = _may_break(eight(text, at))
        if breaks == 0:
            at += 8
            continue
        at += first(breaks) if at + 8 <= end else 0
        is_inside = not (may_break(text[at]) and break_size(text, at, end) > 0)
        at += is_inside
    return at


@borrowing
def characters(text: Bytes, start: int, end: int) -> int:
    """How many characters begin in this stretch."""
    count = 0
    for at in range(start, end):
        count += starts_character(text[at])
    return count


@borrowing
def code_point(text: Bytes, at: int, end: int) -> int:
    """The code point of the character that begins here; -1 for a byte that begins none."""
    first = int(text[at])
    if first < 0x80:
        return first
    if first < 0xC2 or first > 0xF4:
        return -1
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    if at + size > end:
        return -1
    code = first & (0x7F >> size)
    for place in range(at + 1, at + size):
        code = code << 6 | int(text[place]) & 0x3F
    return code


@borrowing
def last_code_point(text: Bytes, start: int, end: int) -> int:
    """The code point of the last character of this stretch; -1 where there is none."""
    at = end - 1
    while at > start and not starts_character(text[at]):
        at -= 1
    return code_point(text, at, end) if at >= start else -1


@helper
def is_letter(code: int) -> bool:
    """Whether the code point is a letter, as `str.isalpha` says."""
    if code < 0x80:
        return 97 <= (code | 32) <= 122
    low, high = 0, len(_FIRST)
    while low < high:
        middle = (low + high) // 2
        if _LAST[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low < len(_FIRST) and _FIRST[low] <= code
