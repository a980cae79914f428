"""C4 rules: Raffel et al. 2020, arXiv:1910.10683, section 2.2, as datatrove 0.10.1 applies them.

Dialect: lines are those of `str.splitlines`, words what white space separates, sentences what
curate/sentences.py says (C4 asks a trained splitter), unless Lines is asked for datatrove's. Lower
case is that of ASCII: unlike theirs, it does not find a Kelvin sign in place of a k.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from curate.column import Bytes, Mask, Offsets, View, frozen, strings, view
from curate.errors import RecipeError
from curate.kernel import Document, helper, inlined
from curate.properties import DIGIT, properties
from curate.schema import TEXT, Batch
from curate.sentences import sentence_count
from curate.signal import signal
from curate.stage import mark, with_column
from curate.token_rules import next_character
from curate.token_sentences import line_sentences
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
# Kind, phrase, and where its rarest two letters are: on real pages one place in 500 has any.
_PHRASES = (
    (_LOREM_IPSUM, b"lorem ipsum", 7),
    (_JAVASCRIPT, b"javascript", 0),
    (_CURLY_BRACKET, b"{", 0),
    (_POLICY, b"terms of use", 3),
    (_POLICY, b"privacy policy", 5),
    (_POLICY, b"cookie policy", 3),
    (_POLICY, b"uses cookies", 8),
    (_POLICY, b"use of cookies", 10),
    (_POLICY, b"use cookies", 7),
)
_KINDS = np.array([kind for kind, _, _ in _PHRASES])
_LETTERS = np.frombuffer(b"".join(phrase for _, phrase, _ in _PHRASES), np.uint8).copy()
_ENDS = np.cumsum([0] + [len(phrase) for _, phrase, _ in _PHRASES])
_PAIRS = np.array([pair for _, _, pair in _PHRASES])


def _phrases_with(second: int) -> Any:
    """For each byte, as bits, the phrases whose pair has it first or second, or is no pair."""
    table = np.zeros(256, np.uint16)
    for bit, (_, phrase, pair) in enumerate(_PHRASES):
        letter = phrase[pair + second : pair + second + 1]
        table[list(letter + letter.upper()) or slice(None)] |= 1 << bit
    return table


_FIRST, _SECOND = _phrases_with(0), _phrases_with(1)

_1, _2, _3 = (np.uint64(place) for place in range(1, 4))
_LOWER, _FACTOR, _SHIFT = np.uint32(0x20202020), np.uint32(2654435761), np.uint32(20)
_LONGEST = max(len(phrase) for _, phrase, _ in _PHRASES)
_STRIDE = min(len(phrase) for _, phrase, _ in _PHRASES if len(phrase) > 1) - 3


def _windows() -> Any:
    """For each place of the table, whether any four letters of a phrase are mixed to it."""
    table = np.zeros(1 << 12, np.bool_)
    for _, phrase, _ in _PHRASES:
        for at in range(min(_STRIDE, len(phrase) - 3)):
            four = int.from_bytes(phrase[at : at + 4], "little") | int(_LOWER)
            table[four * int(_FACTOR) % (1 << 32) >> int(_SHIFT)] = True
    return table


_WINDOWS = _windows()


@inlined
def _occurs(text: Bytes, start: int, end: int, phrase: int, pair: int) -> bool:
    """Whether the phrase occurs whose pair is here, within this stretch."""
    first, last = _ENDS[phrase], _ENDS[phrase + 1]
    at = pair - _PAIRS[phrase]
    if at < start or at + last - first > end:
        return False
    for place in range(first, last):
        byte = int(text[at + place - first])
        if (byte | 32 if 65 <= byte <= 90 else byte) != _LETTERS[place]:
            return False
    return True


@inlined
def _searched(text: Bytes, start: int, end: int) -> int:
    """Which kinds of phrases occur in this stretch, as bits: every place is looked at."""
    found = _CURLY_BRACKET if start < end and text[end - 1] == 123 else 0
    for at in range(start, end - 1):
        possible = int(_FIRST[text[at]] & _SECOND[text[at + 1]])
        phrase = 0
        while possible > 0:
            if possible & 1 and _occurs(text, start, end, phrase, at):
                found |= _KINDS[phrase]
            possible >>= 1
            phrase += 1
    return found


@inlined
def _four(text: Bytes, at: int) -> np.uint32:
    """Four bytes from here on, in lower case, mixed to a place in the table of windows."""
    place = np.uint64(at)
    four = (
        np.uint32(text[place])
        | np.uint32(text[place + _1]) << np.uint32(8)
        | np.uint32(text[place + _2]) << np.uint32(16)
        | np.uint32(text[place + _3]) << np.uint32(24)
    )
    return np.uint32(np.uint32((four | _LOWER) * _FACTOR) >> _SHIFT)


@helper
def _kinds(text: Bytes, start: int, end: int) -> int:
    """Which kinds of phrases occur in this stretch, as bits.

    Wherever a phrase begins, one in _STRIDE places is the start of four of its letters, so only
    these places are looked up: 0.3 ns a byte, and a search around the few that are found.
    """
    found, at = 0, start
    while at + 4 <= end:
        if _WINDOWS[_four(text, at)]:
            found |= _searched(text, max(start, at - _LONGEST), min(end, at + _LONGEST))
        at += _STRIDE
    if found & _CURLY_BRACKET == 0:
        for place in range(start, end):
            found |= _CURLY_BRACKET * (text[place] == 123)
    return found


@inlined
def _ends_line(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch ends with . ? ! " or ', and not with three dots."""
    if start >= end:
        return False
    last = text[end - 1]
    if last == 46:
        return not (end - 3 >= start and text[end - 2] == 46 and text[end - 3] == 46)
    return bool(last == 63 or last == 33 or last == 34 or last == 39)


@signal(low=5)
def sentences(document: Document) -> float:
    """Sentences of the text as it is; C4 counts those of the lines that it keeps."""
    return float(sentence_count(document.text, 0, len(document.text)))


@signal(high=0)
def lorem_ipsum(document: Document) -> float:
    """How often "lorem ipsum" occurs, whatever its case."""
    text, end, count = document.text, len(document.text), 0
    if _kinds(text, 0, end) & _LOREM_IPSUM == 0:
        return 0.0
    for at in range(end - 1):
        if _FIRST[text[at]] & _SECOND[text[at + 1]] & 1:  # the first of the phrases
            count += _occurs(text, 0, end, 0, at)
    return float(count)


@signal(high=0)
def curly_bracket(document: Document) -> float:
    """How many opening curly brackets there are."""
    count = 0
    for byte in document.text:
        count += byte == 123
    return float(count)


@inlined
def _line_share(document: Document, kind: int) -> float:
    """Share of the lines with words in which this kind of phrase occurs, or no end for 0.

    A line goes from its first word to the last before the next line's first.
    """
    text, words = document.text, document.words
    count = len(words.starts)
    if count == 0:
        return math.nan
    if kind != 0 and _kinds(text, 0, len(text)) & kind == 0:
        return 0.0
    heads, found = document.heads, 0
    for line in range(len(heads)):
        last = (heads[line + 1] if line + 1 < len(heads) else count) - 1
        start, end = words.starts[heads[line]], words.ends[last]
        if kind == 0:
            found += not _ends_line(text, start, end)
        else:
            found += _kinds(text, start, end) & kind > 0
    return found / len(heads)


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


SENTENCES = ("ours", "datatrove")


class _Rules(NamedTuple):
    """The settings of Lines, as its kernel takes them."""

    terminal_punctuation: bool
    citations: bool
    min_words: int
    max_word_length: int
    counts: bool  # sentences, while the lines are selected
    kinds: int  # of phrases that drop their line or document


_EDIT = np.frombuffer(b"[edit]", np.uint8).copy()
_NEEDED = np.frombuffer(b"[citation needed]", np.uint8).copy()


@inlined
def _starts_with(text: Bytes, at: int, phrase: Bytes) -> bool:
    same = at + len(phrase) <= len(text)
    place = 0
    while same and place < len(phrase):
        same = bool(text[at + place] == phrase[place])
        place += 1
    return same


@inlined
def _citation_size(text: Bytes, at: int) -> int:
    """How many bytes the citation has that begins here: [12], [], [edit], [citation needed]."""
    place = at + 1
    while place < len(text) and properties(code_point(text, place, len(text))) & DIGIT:
        place = next_character(text, place, len(text))
    if place < len(text) and text[place] == 93:
        return place + 1 - at
    if _starts_with(text, at, _EDIT):
        return len(_EDIT)
    return len(_NEEDED) if _starts_with(text, at, _NEEDED) else 0


@inlined
def _copied(line: Bytes, out: Bytes, to: int, citations: bool) -> int:
    """Copy a line, without its citations if they are to go; return where the copy ends."""
    at = 0
    while at < len(line):
        size = _citation_size(line, at) if citations and line[at] == 91 else 0
        if size == 0:
            out[to] = line[at]
            to += 1
        at += max(size, 1)
    return to


@inlined
def _has_good_words(line: Bytes, rules: _Rules) -> bool:
    """Whether a stripped line has enough words, and none that is too long."""
    words, at, end = 0, 0, len(line)
    while at < end:
        size = 0
        while at < end and not (may_be_space(line[at]) and space_size(line, at, end) > 0):
            size += starts_character(line[at])
            at += 1
        if size > rules.max_word_length:
            return False
        words += 1
        at = skip_space(line, at, end)
    return words >= rules.min_words


_LINE = -1


@inlined
def _dropped(out: Bytes, start: int, end: int, rules: _Rules) -> int:
    """What the phrases of a line drop: 0 nothing, _LINE the line, a kind the document."""
    kinds = _kinds(out, start, end) & rules.kinds
    if kinds & _LOREM_IPSUM:
        return _LOREM_IPSUM
    if kinds & _JAVASCRIPT:
        return _LINE
    if kinds & _CURLY_BRACKET:
        return _CURLY_BRACKET
    return _LINE if kinds & _POLICY else 0


@helper
def _write_lines(text: Bytes, out: Bytes, to: int, rules: _Rules) -> tuple[int, int, int]:
    """Write the lines to keep; return where they end, what drops the document, its sentences."""
    start, end, sentences = 0, len(text), 0
    while start < end:
        stop = line_end(text, start, end)
        first = skip_space(text, start, stop)
        line = text[first : skip_space_back(text, first, stop)]
        start = stop + (break_size(text, stop, end) if stop < end else 0)
        if not _has_good_words(line, rules):
            continue
        last = _copied(line, out, to, rules.citations)
        if rules.terminal_punctuation and not _ends_line(out, to, last):
            continue
        dropped = _dropped(out, to, last, rules)
        if dropped > 0:
            return to, dropped, sentences
        if dropped == 0:
            sentences += sentence_count(out, to, last) if rules.counts else 0
            out[last] = 10
            to = last + 1
    return to, 0, sentences


@helper
def _select(text: View, rules: _Rules, lines: View, dropped: Bytes, sentences: Offsets) -> None:
    """Write the lines to keep of all texts, a newline behind each."""
    for row in range(len(dropped)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        start = lines.offsets[row]
        end, dropped[row], sentences[row] = _write_lines(own, lines.data, start, rules)
        lines.offsets[row + 1] = end


@helper
def _rewrite(text: View, lines: View, drops: Mask, out: View) -> None:
    """Write all texts: their lines, stripped, or as they were where the document is dropped."""
    for row in range(len(drops)):
        source = text if drops[row] else lines
        start, end = source.offsets[row], source.offsets[row + 1]
        if not drops[row]:
            start = skip_space(source.data, start, end)
            end = skip_space_back(source.data, start, end)
        to = out.offsets[row]
        for place in range(start, end):
            out.data[to + place - start] = source.data[place]
        out.offsets[row + 1] = to + end - start


def _view(size: int, rows: int) -> View:
    return View(np.empty(size, np.uint8), np.zeros(rows + 1, np.int32))


@dataclass(frozen=True)
class Lines:
    """Rewrites the text to the lines that C4 keeps, and marks the documents that it drops.

    A dropped document keeps its text. As in datatrove, only lines that pass the rules before it
    can drop their document: a bracket in a line without an end does not.
    """

    terminal_punctuation: bool = True  # FineWeb switches this off
    citations: bool = True  # remove [12], [edit] and the like from lines
    min_words: int = 3  # in a line
    max_word_length: int = 1000  # characters; a line with a longer one goes
    min_sentences: int = 5  # in what is left of the document
    lorem_ipsum: bool = True
    javascript: bool = True
    curly_bracket: bool = True
    policy: bool = True  # cookies, privacy policy, terms of use

    sentences: str = "ours"  # how they are counted: ours (curate/sentences.py) or datatrove

    def __post_init__(self) -> None:
        if self.sentences not in SENTENCES:
            raise RecipeError(f"sentences: no way {self.sentences!r}; write ours or datatrove")

    def __call__(self, batch: Batch) -> Batch:
        column = batch.column(TEXT)
        text, rows = view(column), len(column)
        size = int(text.offsets[-1]) - int(text.offsets[0])
        # A byte more for each text: the newline behind its last line, before it is stripped.
        lines, out = _view(size + rows, rows), _view(size, rows)
        dropped, sentences = np.zeros(rows, np.uint8), np.zeros(rows, np.int32)
        _select(text, self._rules(), lines, dropped, sentences)
        lines = View(frozen(lines.data), frozen(lines.offsets))
        if self.sentences == "datatrove":
            sentences = line_sentences(lines)
        too_few = sentences < self.min_sentences
        _rewrite(text, lines, (dropped > 0) | too_few, out)
        written = strings(out.data[: out.offsets[-1]], out.offsets)
        batch = with_column(batch, TEXT, pc.if_else(column.is_null(), None, written))
        for kind, reason in (
            (_LOREM_IPSUM, "c4.lorem_ipsum"),
            (_CURLY_BRACKET, "c4.curly_bracket"),
        ):
            batch = mark(batch, dropped == kind, reason)
        number = sentences.astype(np.float64)
        return mark(batch, too_few, "c4.sentences", value=number, bound=self.min_sentences)

    def _rules(self) -> _Rules:
        kinds = (
            _LOREM_IPSUM * self.lorem_ipsum
            | _JAVASCRIPT * self.javascript
            | _CURLY_BRACKET * self.curly_bracket
            | _POLICY * self.policy
        )
        return _Rules(
            self.terminal_punctuation,
            self.citations,
            self.min_words,
            self.max_word_length,
            self.sentences == "ours",
            kinds,
        )
