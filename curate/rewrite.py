"""Copies of texts, written character by character through a table: lower case, normal forms.

A kernel writes what a table can say. The few rows where a character depends on its neighbours in
a way that the kernel does not follow (marks out of order, a capital sigma between signs) are done
again by the plain function that the table was made from, so that both always agree.
"""

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Offsets, View, frozen
from curate.kernel import borrowing, helper
from curate.properties import CASED, properties
from curate.utf8 import code_point

LAST = 0x30000  # no character from here on is replaced, is a mark or is white space
_SPACE = 1  # the number that stands for white space
_SIGMA = 0x3A3


class Mapping(NamedTuple):
    """What each character becomes: one of the replacements, or itself where the number is 0.

    Where white space has the number _SPACE, it is written as one space between words and as
    nothing around lines, which newlines go on to separate.
    """

    numbers: NDArray[np.uint16]  # of replacements, by code point
    data: Bytes  # the replacements, one after another
    ends: Offsets  # of replacements; number n is data[ends[n - 1]:ends[n]]
    first: Bytes  # canonical combining class of the first character of what comes out
    last: Bytes  # of the last one
    growth: int  # at most this many bytes for one
    final: int  # the number of the sigma at the end of a word
    plain: Bytes  # what bytes become that are ASCII and stay one byte; 0 for all others


def mapping(replace: Callable[[str], str], *, collapses: bool, ordered: bool) -> Mapping:
    """The table of a function that replaces characters.

    It `collapses` white space or leaves it; marks are `ordered` or may be in any order.
    """
    numbers = np.zeros(LAST, np.uint16)
    # No text equals the first two: an empty one at 0, and one for white space.
    known = {"\0itself": 0, "\0space": _SPACE, "ς": 2}
    first, last = np.zeros(LAST, np.uint8), np.zeros(LAST, np.uint8)
    for code in (*range(0xD800), *range(0xE000, LAST)):
        before = chr(code)
        after = replace(before)
        if collapses and before.isspace():
            numbers[code] = _SPACE
        elif after != before:
            numbers[code] = known.setdefault(after, len(known))
        if ordered and after:
            first[code] = unicodedata.combining(after[0])
            last[code] = unicodedata.combining(after[-1])
    pieces = [b"", b"", *(text.encode() for text in [*known][2:])]
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int32)
    data = np.frombuffer(b"".join(pieces), np.uint8)
    changed = np.flatnonzero(numbers).tolist()
    growth = max(-(-len(pieces[numbers[code]]) // len(chr(code).encode())) for code in changed)
    plain = np.zeros(256, np.uint8)
    for code in range(1, 128):
        piece = pieces[numbers[code]] if numbers[code] else bytes([code])
        plain[code] = piece[0] if len(piece) == 1 else 0
    numbers, data, ends, first, last = (frozen(a) for a in (numbers, data, ends, first, last))
    growth, final = max(growth, 1), known["ς"]
    return Mapping(numbers, data, ends, first, last, growth, final, frozen(plain))


_UNCASED, _IS_CASED, _UNKNOWN = 0, 1, 2


@helper
def _case(code: int) -> int:
    """Whether a neighbour of a sigma is a cased letter, ends the word, or is for Python to say."""
    if code < 0x80:
        if 97 <= (code | 32) <= 122:
            return _IS_CASED
        ignorable = code == 39 or code == 46 or code == 58 or code == 94 or code == 96
        return _UNKNOWN if ignorable else _UNCASED
    plain = code < 0x2B0 or 0x386 <= code <= 0x587 or 0x1F00 <= code < 0x2000
    return _IS_CASED if plain and properties(code) & CASED != 0 else _UNKNOWN


@helper
def _following(text: Bytes, at: int, table: Mapping) -> int:
    """The next character that is not removed ASCII; a space where there is none."""
    while at < len(text):
        code = code_point(text, at, len(text))
        number = int(table.numbers[code]) if 0 <= code < 0x80 else 0
        if number <= _SPACE or table.ends[number - 1] < table.ends[number]:
            return code
        at += 1
    return 32


@helper
def _sigma(text: Bytes, at: int, previous: int, table: Mapping) -> int:
    """The number of the small sigma for a capital one, which ends words in another form.

    0 where only Python can say.
    """
    after, before = _case(_following(text, at + 2, table)), _case(previous)
    if after == _IS_CASED or (after == _UNCASED and before == _UNCASED):
        return int(table.numbers[_SIGMA])
    return table.final if after == _UNCASED and before == _IS_CASED else 0


@borrowing
def _size(code: int) -> int:
    """How many bytes a character has; 1 for a byte that begins none."""
    return 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)


@borrowing
def _copied(source: Bytes, start: int, end: int, out: Bytes, to: int) -> int:
    for place in range(start, end):
        out[to + place - start] = source[place]
    return to + end - start


_BEGUN, _WORD, _GAP = 0, 1, 2  # a line, a word, or white space behind one


@helper
def _write(text: Bytes, out: Bytes, to: int, table: Mapping) -> tuple[int, bool]:
    """Write the copy of a text; return where it ends, and whether Python has to do it again."""
    # Taken out of the table once: inside the loop each would be counted as one more reference.
    numbers, data, ends = table.numbers, table.data, table.ends
    first, last, plain = table.first, table.last, table.plain
    at, end, again = 0, len(text), False
    previous, order, state = 32, 0, _BEGUN
    while at < end:
        byte = int(text[at])
        if plain[byte] != 0:
            out[to] = 32
            to += state == _GAP
            order, state = 0, _WORD
            while at < end and plain[text[at]] != 0:
                out[to] = plain[text[at]]
                to += 1
                at += 1
            previous = int(text[at - 1])
            continue
        code = byte if byte < 0x80 else code_point(text, at, end)
        known = max(code, 0) if code < LAST else 0
        number, size = int(numbers[known]), _size(code)
        if number == _SPACE:
            to = _copied(text, at, at + (byte == 10), out, to)
            state = _GAP if state != _BEGUN and byte != 10 else _BEGUN
            order, previous = 0, 32
        elif number == 0 or ends[number - 1] < ends[number]:
            out[to] = 32
            to += state == _GAP
            state = _WORD
            if code == _SIGMA and number > 0:
                number = _sigma(text, at, previous, table)
                again |= number == 0
            again |= 0 < first[known] < order
            order, previous = int(last[known]), code
            if number == 0:
                to = _copied(text, at, at + size, out, to)
            else:
                to = _copied(data, ends[number - 1], ends[number], out, to)
        at += size
    return to, again


@helper
def _write_all(text: View, table: Mapping, out: View, again: Bytes) -> None:
    for row in range(len(again)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        end, slow = _write(own, out.data, int(out.offsets[row]), table)
        out.offsets[row + 1] = end
        again[row] = slow


def rewritten(text: View, table: Mapping, replace: Callable[[str], str]) -> View:
    """The copy of a column of texts; `replace` does a whole text as the table does characters."""
    rows = len(text.offsets) - 1
    # Pages that nothing is written to cost nothing. Four bytes more, for a row without any.
    size = (int(text.offsets[-1]) - int(text.offsets[0])) * table.growth + 4
    out = View(np.empty(size, np.uint8), np.zeros(rows + 1, np.int32))
    again = np.zeros(rows, np.uint8)
    _write_all(text, table, out, again)
    if again.any():
        out = _spliced(text, out, np.flatnonzero(again).tolist(), replace)
    return View(frozen(out.data[: out.offsets[-1]]), frozen(out.offsets))


def _spliced(text: View, out: View, rows: list[int], replace: Callable[[str], str]) -> View:
    """The copy with these rows done by the plain function."""
    pieces, start = [], 0
    sizes = np.diff(out.offsets)
    for row in rows:
        raw = text.data[text.offsets[row] : text.offsets[row + 1]].tobytes()
        own = replace(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        pieces += [out.data[start : out.offsets[row]], np.frombuffer(own, np.uint8)]
        start, sizes[row] = int(out.offsets[row + 1]), len(own)
    data = np.concatenate([*pieces, out.data[start : out.offsets[-1]]])
    return View(data, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))


def _lower(text: str) -> str:
    return text.lower()


@cache
def _lowering() -> Mapping:
    return mapping(_lower, collapses=False, ordered=False)


def lowered(text: View) -> View:
    """The texts in lower case, as `str.lower` writes it."""
    return rewritten(text, _lowering(), _lower)
