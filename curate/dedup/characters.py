"""What characters are to words: letters, spaces, words of their own, or nothing.

Words: letters are lower-cased one to one, punctuation, symbols, controls and bytes that are no
UTF-8 are removed, the rest is cut at white space. Han, kana, Thai, Lao, Tibetan, Myanmar, Khmer
and Yi write no spaces: there each character is a word. Not folded: digits, diacritics, composed
against decomposed letters, half against full width, sharp s, final sigma.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Mask, Offsets, View, frozen
from curate.kernel import helper

Characters = NDArray[np.uint32]

# A character's entry: its lower-case code point and what it does to words.
CODE = np.uint32(0xFFFFFF)
SPACE = np.uint32(1 << 24)
SOLO = np.uint32(1 << 25)
PUNCTUATION = np.uint32(1 << 26)
NOTHING = np.uint32(0)

_PLANES = 0x20000  # what lies beyond is Han
# Emoji, dingbats' selectors and punctuation that are younger than Unicode 3.2.
_YOUNG_SYMBOLS = ((0x1F000, 0x1FAFF), (0x2E00, 0x2E7F), (0xFE00, 0xFE0F))
_WHITE_CONTROLS = ((9, 13), (28, 31), (0x85, 0x85))
_REMOVED = ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cc", "Cf", "Cs")
_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x312F),  # kana, Bopomofo
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0xA4CF),  # Han, Yi
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
)


def _within(codes: Characters, ranges: tuple[tuple[int, int], ...]) -> Mask:
    inside = np.zeros(len(codes), np.bool_)
    for low, high in ranges:
        inside |= (low <= codes) & (codes <= high)
    return inside


def _lower(code: int) -> int:
    # One to one, and never longer as UTF-8: the kernel's output must not outgrow its input.
    upper, lower = chr(code), chr(code).lower()
    return ord(lower) if len(lower) == 1 and len(lower.encode()) <= len(upper.encode()) else code


@cache
def characters() -> Characters:
    """The entry of every code point of the first two planes; 0.05 s, once per process."""
    codes = np.arange(_PLANES, dtype=np.uint32)
    # Unicode 3.2 is in every Python, so that no signature changes with the interpreter.
    category = np.array([*map(unicodedata.ucd_3_2_0.category, map(chr, range(_PLANES)))])
    space = np.isin(category, ("Zs", "Zl", "Zp")) | _within(codes, _WHITE_CONTROLS)
    removed = np.isin(category, _REMOVED) | _within(codes, _YOUNG_SYMBOLS)
    entries = codes.copy()
    for code in np.flatnonzero(np.isin(category, ("Lu", "Lt"))).tolist():
        entries[code] = _lower(code)
    flags = np.where(_within(codes, _UNSPACED), SOLO, NOTHING)
    flags = np.where(space, SPACE, np.where(removed, PUNCTUATION, flags))
    return frozen(entries | flags)


@helper
def wide_character(
    data: Bytes, position: int, end: int, table: Characters
) -> tuple[np.uint32, int]:
    """The entry and the bytes of a character beyond ASCII; a byte that is no UTF-8 is removed."""
    lead = np.int64(data[position])
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if lead < 0xC2 or lead > 0xF4 or position + width > end:
        return PUNCTUATION, 1
    code = lead & (0x7F >> width)
    for place in range(position + 1, position + width):
        byte = np.int64(data[place])
        if byte & 0xC0 != 0x80:
            return PUNCTUATION, 1
        code = (code << 6) | (byte & 0x3F)
    # Overlong forms and what lies beyond Unicode; surrogates are in the table, as removed.
    if code < (0x80, 0x800, 0x10000)[width - 2] or code > 0x10FFFF:
        return PUNCTUATION, 1
    if code < len(table):
        return table[code], width
    return SOLO | np.uint32(code), width


@helper
def character_at(data: Bytes, position: int, end: int, table: Characters) -> tuple[np.uint32, int]:
    """The entry and the bytes of a character."""
    if data[position] < 0x80:
        return table[data[position]], 1
    wide: tuple[np.uint32, int] = wide_character(data, position, end, table)
    return wide


@helper
def encode(code: int, out: Bytes, place: int) -> int:
    """Write a code point as UTF-8; the place behind it."""
    width = 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    if width == 1:
        out[place] = code
        return place + 1
    for k in range(width - 1, 0, -1):
        out[place + k] = 0x80 | (code & 0x3F)
        code >>= 6
    out[place] = ((0xF00 >> width) & 0xFF) | code
    return place + width


@helper
def folded(view: View, table: Characters, removed: np.uint32) -> tuple[Bytes, Offsets]:
    """The texts in lower case, white space as one blank, without characters of these entries."""
    first = view.offsets[0]
    out = np.empty(view.offsets[-1] - first, np.uint8)
    offsets = np.zeros(len(view.offsets), np.int32)
    place = 0
    for i in range(len(offsets) - 1):
        position, end = np.int64(view.offsets[i]), np.int64(view.offsets[i + 1])
        start, blank = place, False
        while position < end:
            entry, width = character_at(view.data, position, end, table)
            position += width
            if entry & removed:
                continue
            if entry & SPACE:
                blank = place > start
                continue
            if blank:
                out[place] = 0x20
                place += 1
                blank = False
            place = encode(np.int64(entry & CODE), out, place)
        offsets[i + 1] = place
    return out, offsets
