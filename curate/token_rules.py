"""What signs part from a word, as spaCy's English tokenizer has it: prefixes, suffixes, infixes.

A stretch is what is left of a run between white space; what lies outside it is not looked at, just
as the regular expressions of the original see nothing but the string that they are given.
"""

from importlib.resources import files
from typing import Any

import numpy as np

from curate.column import Bytes
from curate.hashing import hash_bytes, hash_word
from curate.kernel import borrowing
from curate.properties import paged
from curate.utf8 import code_point

# A letter; lower case or without case; upper case or without; a quote; parts words from inside;
# a stop behind it parts; parts as a prefix; as a suffix.
LETTER, LOWER, UPPER, QUOTE, INFIX, BEFORE_STOP, PREFIX, SUFFIX = (1 << bit for bit in range(8))
_SIGNS = dict(zip("ALUQIDPS", (1 << bit for bit in range(8)), strict=True))

_LISTS = files("filters") / "lists"


def _tables() -> tuple[Any, Any]:
    every = np.zeros(0x110000, np.uint8)
    lines = (_LISTS / "tokens_characters.txt").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        span, signs = line.split(" ")
        first, _, last = span.partition("-")
        every[int(first, 16) : int(last or first, 16) + 1] = sum(_SIGNS[sign] for sign in signs)
    return paged(every)


def _units() -> list[str]:
    return (_LISTS / "tokens_units.txt").read_text(encoding="utf-8").splitlines()[1:]


_WHERE, _KINDS = _tables()
_UNITS = np.sort(np.array([hash_word(unit.encode()) for unit in _units()], np.uint64))
_LONGEST_UNIT = 5  # characters


# What a byte says of the sign that begins or ends with it; most need no more.
NO_SIGN, ONE_BYTE, ASK, ASK_DOLLAR, ASK_UNIT, ASK_S = range(6)


def _first_bytes() -> Any:
    """What the first byte of a stretch says about a prefix."""
    table = np.array([ONE_BYTE * (kind(byte) & PREFIX > 0) for byte in range(128)] + [ASK] * 128)
    table[list(b".+")] = ASK
    table[list(b"ACU")] = ASK_DOLLAR
    return table.astype(np.uint8)


def _last_bytes() -> Any:
    """What the last byte of a stretch says about a suffix."""
    table = np.array([ONE_BYTE * (kind(byte) & SUFFIX > 0) for byte in range(128)] + [ASK] * 128)
    table[[ord(unit[-1]) for unit in _units() if unit[-1].isascii()]] = ASK_UNIT
    table[ord(".")] = ASK
    table[list(b"sS")] = ASK_S
    return table.astype(np.uint8)


def _pairs(which: int, *more: str) -> Any:
    """Of the first two bytes of wide characters, six bits of each, which may begin such ones."""
    # By arrays: a loop over all characters took 1.8 s, in every process.
    codes = np.arange(0x80, 0x110000)
    is_meant = _KINDS[_WHERE[codes >> 7].astype(np.int64) + (codes & 127)] & which > 0
    codes = np.concatenate([codes[is_meant], np.array([*map(ord, more)], np.int64)])
    codes = codes[(codes < 0xD800) | (codes >= 0xE000)]
    # UTF-8: six bits in the last byte and in each before it, the rest in the first.
    below = np.where(codes < 0x800, 0, np.where(codes < 0x10000, 6, 12))
    leads = np.where(codes < 0x800, 0xC0, np.where(codes < 0x10000, 0xE0, 0xF0))
    table = np.zeros(4096, np.uint8)
    table[((leads | codes >> (below + 6)) & 63) << 6 | (codes >> below) & 63] = 1
    return table


@borrowing
def kind(code: int) -> int:
    """What a character is to the rules, as bits; nothing for what is no character (-1)."""
    if code < 0:
        return 0
    return int(_KINDS[int(_WHERE[code >> 7]) + (code & 127)])


@borrowing
def next_character(text: Bytes, at: int, end: int) -> int:
    """Where the character behind the one here begins."""
    at += 1
    while at < end and (text[at] & 0xC0) == 0x80:
        at += 1
    return at


@borrowing
def last_character(text: Bytes, start: int, end: int) -> int:
    """Where the last character of this stretch begins."""
    at = end - 1
    while at > start and (text[at] & 0xC0) == 0x80:
        at -= 1
    return at


@borrowing
def _wide(text: Bytes, at: int, end: int) -> int:
    return code_point(text, at, end)


@borrowing
def code_at(text: Bytes, at: int, end: int) -> int:
    """The code point of the character that begins here, as utf8.code_point has it."""
    return int(text[at]) if text[at] < 0x80 else int(_wide(text, at, end))


@borrowing
def is_digit(byte: int) -> bool:
    """Whether it is one of 0 to 9."""
    return 48 <= byte <= 57


@borrowing
def _dollar_size(text: Bytes, at: int, end: int) -> int:
    """The size of A$, C$ or US$ here, or 0."""
    first = text[at]
    if (first == 65 or first == 67) and at + 1 < end and text[at + 1] == 36:
        return 2
    dollar = first == 85 and at + 2 < end and text[at + 1] == 83 and text[at + 2] == 36
    return 3 if dollar else 0


_FIRST_BYTES, _LAST_BYTES = _first_bytes(), _last_bytes()
_PREFIX_PAIRS, _SUFFIX_PAIRS, _INFIX_PAIRS = _pairs(PREFIX), _pairs(SUFFIX), _pairs(INFIX, *"–—")


@borrowing
def _pair(text: Bytes, at: int, end: int) -> int:
    """Six bits each of this byte and the next, for the tables of wide characters."""
    return (int(text[at]) & 63) << 6 | (int(text[at + 1]) & 63 if at + 1 < end else 0)


@borrowing
def may_have_prefix(text: Bytes, at: int, end: int) -> int:
    """What the first bytes of a stretch say about a prefix: NO_SIGN, ONE_BYTE or ASK."""
    says = int(_FIRST_BYTES[text[at]])
    if says == ASK_DOLLAR:  # of "US$", which is rare
        return ASK if at + 1 < end and (text[at + 1] == 36 or text[at + 1] == 83) else NO_SIGN
    if says == ASK and text[at] >= 0x80:
        return ASK * int(_PREFIX_PAIRS[_pair(text, at, end)])
    return says


@borrowing
def _may_have_wide_suffix(text: Bytes, start: int, end: int, with_digits: bool) -> int:
    at = last_character(text, start, end)
    return ASK if with_digits or _SUFFIX_PAIRS[_pair(text, at, end)] > 0 else NO_SIGN


@borrowing
def may_have_suffix(text: Bytes, start: int, end: int, with_digits: bool) -> int:
    """What the last bytes of a stretch say about a suffix: NO_SIGN, ONE_BYTE or ASK."""
    says = int(_LAST_BYTES[text[end - 1]])
    if says < ASK:
        return says
    before = int(text[end - 2]) if end - 2 >= start else 0
    if says == ASK_S:
        quote = before == 39 or before == 0x99  # "'", or the last byte of "’"
        return ASK if quote or with_digits else NO_SIGN  # m/s is a unit
    if says == ASK_UNIT:
        return ASK if with_digits else NO_SIGN
    if text[end - 1] >= 0x80:
        return _may_have_wide_suffix(text, start, end, with_digits)
    return ONE_BYTE if 97 <= before <= 122 or is_digit(before) else ASK  # one stop


@borrowing
def prefix_size(text: Bytes, at: int, end: int) -> int:
    """How many bytes at the start of this stretch part from the rest, or 0."""
    first = text[at]
    if first == 46:  # two dots or more
        dots = 1
        while at + dots < end and text[at + dots] == 46:
            dots += 1
        return dots if dots > 1 else 0
    if first == 43:  # "+", but not as a sign of a number
        return 0 if at + 1 < end and is_digit(text[at + 1]) else 1
    if kind(code_at(text, at, end)) & PREFIX:
        return next_character(text, at, end) - at
    return _dollar_size(text, at, end)


@borrowing
def _stop_size(text: Bytes, start: int, end: int) -> int:
    """How many dots at the end of this stretch, which ends with one, part from the rest."""
    at = end - 1
    while at > start and text[at - 1] == 46:
        at -= 1
    if end - at > 1:
        return end - at
    if at == start:
        return 0
    last = last_character(text, start, at)
    found = kind(code_at(text, last, at))
    if found & BEFORE_STOP:
        return 1
    if last == start:
        return 0
    previous = code_at(text, last_character(text, start, last), last)
    byte = text[last] | 32
    degree = previous == 0xB0 and (byte == 99 or byte == 102 or byte == 107)  # °C, °F, °K
    return 1 if degree or (found & UPPER and kind(previous) & UPPER) else 0


@borrowing
def _unit_size(text: Bytes, start: int, end: int) -> int:
    """The size of the unit, currency or plus at the end that follows a digit, or 0."""
    at, characters = end, 0
    while at > start and characters <= _LONGEST_UNIT and not is_digit(text[at - 1]):
        at = last_character(text, start, at)
        characters += 1
    if at == start or characters == 0 or characters > _LONGEST_UNIT:
        return 0
    hashed = hash_bytes(text, at, end)
    place = np.searchsorted(_UNITS, hashed)
    return end - at if place < len(_UNITS) and _UNITS[place] == hashed else 0


@borrowing
def _sign_size(text: Bytes, start: int, end: int) -> int:
    """The size of the sign at the end of this stretch that is a suffix, 's and ’s too, or 0."""
    at = last_character(text, start, end)
    if (text[at] | 32) == 115:  # "s"
        before = last_character(text, start, at) if at > start else at
        code = code_at(text, before, at)
        return end - before if code == 39 or code == 0x2019 else 0
    code = code_at(text, at, end)
    if kind(code) & SUFFIX == 0:
        return 0
    if code == 0x2026 and at - 3 >= start and code_at(text, at - 3, at) == 0x2026:
        return 6  # two of "…" are one suffix
    return end - at


@borrowing
def suffix_size(text: Bytes, start: int, end: int, with_digits: bool) -> int:
    """How many bytes at the end of this stretch part from the rest, or 0.

    The regular expression of the original finds the leftmost match: the longest.
    """
    if text[end - 1] == 46:
        return int(_stop_size(text, start, end))
    size = int(_sign_size(text, start, end))
    return max(size, int(_unit_size(text, start, end))) if with_digits else size


@borrowing
def _hyphens(text: Bytes, at: int, end: int) -> int:
    """The size of the hyphens here, as one infix: - -- --- – — —— or ~, or 0."""
    first = text[at]
    if first == 45:
        size = 1
        while size < 4 and at + size < end and text[at + size] == 45:
            size += 1
        return size if size < 4 else 0
    if first == 126:
        return 1
    if first != 0xE2 or at + 3 > end or text[at + 1] != 0x80:
        return 0
    if text[at + 2] == 0x93:
        return 3
    if text[at + 2] != 0x94:
        return 0
    double = at + 6 <= end and code_at(text, at + 3, end) == 0x2014
    return 6 if double else 3


@borrowing
def _is_letter_at(text: Bytes, at: int, end: int) -> bool:
    return at < end and kind(code_at(text, at, end)) & LETTER != 0


@borrowing
def _is_letter_or_digit(code: int) -> bool:
    return kind(code) & LETTER != 0 or is_digit(code)


# The bytes that an infix can begin with.
_INFIX_BYTES = np.array([chr(byte) in "+-*^,:<=>/.~" or byte >= 0x80 for byte in range(256)])


@borrowing
def may_have_infix(text: Bytes, at: int, end: int) -> bool:
    """Whether an infix may begin here."""
    byte = text[at]
    if byte < 0x80:
        return bool(_INFIX_BYTES[byte])
    return bool(_INFIX_PAIRS[_pair(text, at, end)] > 0)


@borrowing
def _dot_size(text: Bytes, at: int, end: int, before: int) -> int:
    """The size of the infix that begins with this dot, or 0."""
    dots = 1
    while at + dots < end and text[at + dots] == 46:
        dots += 1
    if dots > 1:
        return dots
    if at + 1 == end or kind(before) & (LOWER | QUOTE) == 0:
        return 0
    return int(kind(code_at(text, at + 1, end)) & (UPPER | QUOTE) != 0)


@borrowing
def infix_size(text: Bytes, at: int, end: int, before: int) -> int:
    """How many bytes from here are an infix, or 0; `before` is the character before, or -1."""
    byte = text[at]
    if byte == 46:
        return int(_dot_size(text, at, end, before))
    if byte >= 0x80 and kind(code_at(text, at, end)) & INFIX:
        return next_character(text, at, end) - at
    between = byte == 43 or byte == 45 or byte == 42 or byte == 94  # "+", "-", "*", "^"
    following = int(text[at + 1]) if at + 1 < end else 0
    if between and is_digit(before) and (is_digit(following) or following == 45):
        return 1
    if byte == 44:  # ","
        return int(kind(before) & LETTER != 0 and _is_letter_at(text, at + 1, end))
    if byte == 58 or byte == 47 or 60 <= byte <= 62:  # ":", "/", "<", "=", ">"
        return int(_is_letter_or_digit(before) and _is_letter_at(text, at + 1, end))
    size = _hyphens(text, at, end)
    joins = size > 0 and _is_letter_or_digit(before) and _is_letter_at(text, at + size, end)
    return size if joins else 0
