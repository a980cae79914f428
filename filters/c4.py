"""C4 rules: Raffel et al. 2020, arXiv:1910.10683, section 2.2, as datatrove 0.10.1 applies them.

Dialect: lines are those of `str.splitlines`, words what white space separates. A sentence ends with
. ? ! or a wide form of them, closing quotes and brackets behind it included, before white space or
the end of its line (at once after a wide one); what is left of a line is one more. (C4 and
datatrove ask trained or listed splitters.) Lower case is that of ASCII, and so are the digits.
"""

import math
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, Mask, Offsets, View, strings, view
from curate.kernel import Document, helper, inlined
from curate.schema import TEXT, Batch
from curate.signal import signal
from curate.stage import mark, with_column
from curate.utf8 import (
    break_size,
    code_point,
    line_end,
    may_be_space,
    skip_space,
    skip_space_back,
    space_size,
    starts_character,
)

_LOREM_IPSUM, _JAVASCRIPT, _CURLY_BRACKET, _POLICY = 1, 2, 4, 8
_PHRASES = (
    (_LOREM_IPSUM, b"lorem ipsum"),
    (_JAVASCRIPT, b"javascript"),
    (_CURLY_BRACKET, b"{"),
    (_POLICY, b"terms of use"),
    (_POLICY, b"privacy policy"),
    (_POLICY, b"cookie policy"),
    (_POLICY, b"uses cookies"),
    (_POLICY, b"use of cookies"),
    (_POLICY, b"use cookies"),
)
_LETTERS = np.frombuffer(b"".join(phrase for _, phrase in _PHRASES), np.uint8).copy()
_ENDS = np.cumsum([0] + [len(phrase) for _, phrase in _PHRASES])
_KINDS = np.array([kind for kind, _ in _PHRASES])


def _phrases_with(place: int) -> Any:
    """For each byte, as bits, the phrases that have it at this place, or no byte there at all."""
    table = np.zeros(256, np.int64)
    for bit, (_, phrase) in enumerate(_PHRASES):
        bytes_ = list((phrase + phrase.upper())[place :: len(phrase)])
        table[bytes_ if place < len(phrase) else slice(None)] |= 1 << bit
    return table


_FIRST, _SECOND = _phrases_with(0), _phrases_with(1)


@inlined
def _occurs(text: Bytes, at: int, end: int, phrase: int) -> bool:
    first, last = _ENDS[phrase], _ENDS[phrase + 1]
    if at + last - first > end:
        return False
    for place in range(first, last):
        byte = np.int64(text[at + place - first])
        if (byte | 32 if 65 <= byte <= 90 else byte) != _LETTERS[place]:
            return False
    return True


@inlined
def _kinds(text: Bytes, start: int, end: int) -> int:
    """Which kinds of phrases occur in this stretch, as bits."""
    found = _CURLY_BRACKET if start < end and text[end - 1] == 123 else 0
    for at in range(start, end - 1):
        # Two bytes rule out nearly all places before a phrase is compared.
        possible = _FIRST[text[at]] & _SECOND[text[at + 1]]
        phrase = 0
        while possible > 0:
            if possible & 1 and _occurs(text, at, end, phrase):
                found |= _KINDS[phrase]
            possible >>= 1
            phrase += 1
    return found


@inlined
def _ends_line(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch ends with . ? ! " or ', and not with three dots."""
    if start >= end:
        return False
    last = text[end - 1]
    if last == 46:
        return not (end - 3 >= start and text[end - 2] == 46 and text[end - 3] == 46)
    return last == 63 or last == 33 or last == 34 or last == 39


_NO_END, _SOFT_END, _WIDE_END, _CLOSER = 0, 1, 2, 3


@helper
def _role(code: int) -> int:
    """What a character is to the sentence that it may end."""
    if code < 0x80:
        if code == 46 or code == 63 or code == 33:
            return _SOFT_END
        return _CLOSER if code == 34 or code == 39 or code == 41 or code == 93 else _NO_END
    if code == 0x2026:  # "…"
        return _SOFT_END
    if code == 0x3002 or code == 0xFF01 or code == 0xFF1F:  # "。！？"
        return _WIDE_END
    quote = code == 0x2019 or code == 0x201D or code == 0xBB  # "’”»"
    wide = code == 0x300D or code == 0x300F or code == 0xFF09  # "」』）"
    return _CLOSER if quote or wide else _NO_END


_BETWEEN, _INSIDE, _AFTER_SOFT, _AFTER_WIDE = 0, 1, 2, 3


@helper
def _next_state(state: int, role: int) -> int:
    if role == _WIDE_END or (role != _NO_END and state == _AFTER_WIDE):
        return _AFTER_WIDE
    if role == _SOFT_END or (role == _CLOSER and state == _AFTER_SOFT):
        return _AFTER_SOFT
    return _INSIDE


@inlined
def _may_end(byte: int) -> bool:
    return (byte == 46) | (byte == 63) | (byte == 33) | ((byte >= 0xE2) & (byte <= 0xEF))


@inlined
def _sentences(text: Bytes, start: int, end: int) -> int:
    """How many sentences a line has."""
    count, state, at = 0, _BETWEEN, start
    while at < end:
        if state == _INSIDE and not _may_end(text[at]):
            at += 1
            continue
        if may_be_space(text[at]):
            size = space_size(text, at, end)
            if size > 0:
                count += state >= _AFTER_SOFT
                state = _BETWEEN if state >= _AFTER_SOFT else state
                at += size
                continue
        if starts_character(text[at]):
            before = state
            state = _next_state(state, _role(code_point(text, at, end)))
            count += before == _AFTER_WIDE and state != _AFTER_WIDE
        at += 1
    return count + (state != _BETWEEN)


@signal(low=5)
def sentences(document: Document) -> float:
    """Sentences of the text as it is; C4 counts those of the lines that it keeps."""
    text, end = document.text, len(document.text)
    count, start = 0, 0
    while start < end:
        stop = line_end(text, start, end)
        count += _sentences(text, start, stop)
        start = stop + (break_size(text, stop, end) if stop < end else 0)
    return float(count)


@inlined
def _phrase_count(document: Document, phrase: int) -> float:
    count, end = 0, len(document.text)
    for at in range(end):
        if _FIRST[document.text[at]] >> phrase & 1:
            count += _occurs(document.text, at, end, phrase)
    return float(count)


@signal(high=0)
def lorem_ipsum(document: Document) -> float:
    """How often "lorem ipsum" occurs, whatever its case."""
    return _phrase_count(document, 0)


@signal(high=0)
def curly_brackets(document: Document) -> float:
    """How many opening curly brackets there are."""
    return _phrase_count(document, 2)


@inlined
def _line_share(document: Document, kind: int) -> float:
    """Share of the lines with words in which this kind occurs; 0 asks for a missing end."""
    text, end = document.text, len(document.text)
    lines, found, start = 0, 0, 0
    while start < end:
        stop = line_end(text, start, end)
        first = skip_space(text, start, stop)
        if first < stop:
            lines += 1
            if kind == 0:
                found += not _ends_line(text, first, skip_space_back(text, first, stop))
            else:
                found += (_kinds(text, first, stop) & kind) > 0
        start = stop + (break_size(text, stop, end) if stop < end else 0)
    return found / lines if lines > 0 else math.nan


@signal()
def unpunctuated_lines(document: Document) -> float:
    """Share of lines that do not end with . ? ! " or '; C4 removes these lines."""
    return _line_share(document, 0)


@signal()
def javascript_lines(document: Document) -> float:
    """Share of lines that mention JavaScript; C4 removes these lines."""
    return _line_share(document, _JAVASCRIPT)


@signal()
def policy_lines(document: Document) -> float:
    """Share of lines that speak of cookies, privacy policy or terms of use; C4 removes these."""
    return _line_share(document, _POLICY)


@signal(low=200)
def third_longest_line(document: Document) -> float:
    """Characters of the third longest line, 0 where there are fewer; mC4 keeps 200 and more."""
    first, second, third = 0, 0, 0
    for size in document.lines.characters:
        if size > first:
            first, second, third = size, first, second
        elif size > second:
            second, third = size, second
        elif size > third:
            third = size
    return float(third)
