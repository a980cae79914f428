"""Which lines C4 keeps, and how their text is written: the kernels behind filters/c4.py."""

from typing import NamedTuple

import numpy as np

from curate.column import Bytes, Mask, Offsets, View
from curate.kernel import borrowing, helper
from curate.phrases import phrases, phrases_in
from curate.properties import DIGIT, properties
from curate.sentences import sentence_count
from curate.token_rules import next_character
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

_LISTED = [
    *(b"lorem ipsum", b"javascript", b"terms of use", b"privacy policy", b"cookie policy"),
    *(b"uses cookies", b"use of cookies", b"use cookies"),
]
PHRASES = phrases(_LISTED)
# Kinds of phrases, as bits: the places of the list, of which all others are policies; and one more.
LOREM_IPSUM, JAVASCRIPT, POLICY, CURLY_BRACKET = 1, 2, 0b11111100, 1 << 8


@borrowing
def _has(text: Bytes, start: int, end: int, sign: int) -> bool:
    """Whether this byte is in this stretch."""
    count = 0
    for at in range(np.uint64(start), np.uint64(end)):
        count += text[at] == sign
    return count > 0


@borrowing
def kinds_of(text: Bytes, start: int, end: int) -> int:
    """Which kinds of phrases occur in this stretch, as bits."""
    found = phrases_in(text, start, end, PHRASES, False)
    return found | CURLY_BRACKET * _has(text, start, end, 123)


@borrowing
def ends_line(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch ends with . ? ! " or ', and not with three dots."""
    if start >= end:
        return False
    last = text[end - 1]
    if last == 46:
        return not (end - 3 >= start and text[end - 2] == 46 and text[end - 3] == 46)
    return bool(last == 63 or last == 33 or last == 34 or last == 39)


class Rules(NamedTuple):
    """The settings of Lines, as its kernel takes them."""

    terminal_punctuation: bool
    citations: bool
    min_words: int
    max_word_length: int
    counts: bool  # sentences, while the lines are selected
    kinds: int  # of phrases that drop their line or document


_EDIT = np.frombuffer(b"[edit]", np.uint8).copy()
_NEEDED = np.frombuffer(b"[citation needed]", np.uint8).copy()


@borrowing
def _starts_with(text: Bytes, at: int, end: int, phrase: Bytes) -> bool:
    same = at + len(phrase) <= end
    place = 0
    while same and place < len(phrase):
        same = bool(text[at + place] == phrase[place])
        place += 1
    return same


@borrowing
def _citation_size(text: Bytes, at: int, end: int) -> int:
    """How many bytes the citation has that begins here: [12], [], [edit], [citation needed]."""
    place = at + 1
    while place < end and properties(code_point(text, place, end)) & DIGIT:
        place = next_character(text, place, end)
    if place < end and text[place] == 93:
        return place + 1 - at
    if _starts_with(text, at, end, _EDIT):
        return len(_EDIT)
    return len(_NEEDED) if _starts_with(text, at, end, _NEEDED) else 0


@borrowing
def _copied(text: Bytes, start: int, end: int, out: Bytes, to: int) -> int:
    """Copy a stretch, perhaps to an earlier place of the same bytes; return where the copy ends."""
    # Unsigned places are not tested for being counted from the end: a tenth of the time.
    source, target = np.uint64(start), np.uint64(to)
    for place in range(np.uint64(end - start)):
        out[target + place] = text[source + place]
    return to + end - start


@borrowing
def _without_citations(text: Bytes, start: int, end: int, out: Bytes, to: int) -> int:
    """Copy a line without its citations; return where the copy ends."""
    at = start
    while at < end:
        size = _citation_size(text, at, end) if text[at] == 91 else 0
        if size == 0:
            out[to] = text[at]
            to += 1
        at += max(size, 1)
    return to


@borrowing
def _has_spaces(text: Bytes, start: int, end: int, longest: int) -> bool:
    """Whether there is a space in every stretch of more than so many bytes."""
    at = start
    while end - at > longest:
        space = at + longest
        while space >= at and text[space] != 32:
            space -= 1
        if space < at:
            return False
        at = space + 1
    return True


@borrowing
def _has_good_words(text: Bytes, start: int, end: int, rules: Rules) -> bool:
    """Whether a stripped line has enough words, and none that is too long."""
    # Hardly any word is that long: to know it without a look at every byte halves the time.
    are_short = _has_spaces(text, start, end, rules.max_word_length)
    words, at = 0, start
    while at < end and not (are_short and words >= rules.min_words):
        size = 0
        while at < end and not (may_be_space(text[at]) and space_size(text, at, end) > 0):
            size += starts_character(text[at])
            at += 1
        if size > rules.max_word_length:
            return False
        words += 1
        at = skip_space(text, at, end)
    return words >= rules.min_words


@borrowing
def _may_end_line(text: Bytes, start: int, end: int) -> bool:
    """Whether a line may end as it should, once its citations are taken out."""
    last = int(text[end - 1]) if start < end else 0
    return last == 93 or last == 46 or last == 63 or last == 33 or last == 34 or last == 39


@helper
def _write_lines(text: Bytes, out: Bytes, to: int, rules: Rules) -> int:
    """Write the lines with good words and ends, a newline behind each; return where they end."""
    start, end = 0, len(text)
    citations = rules.citations and _has(text, 0, end, 91)
    while start < end:
        stop = line_end(text, start, end)
        first = skip_space(text, start, stop)
        last = skip_space_back(text, first, stop)
        start = stop + (break_size(text, stop, end) if stop < end else 0)
        if rules.terminal_punctuation and not _may_end_line(text, first, last):
            continue
        if not _has_good_words(text, first, last, rules):
            continue
        if citations and _has(text, first, last, 91):
            behind = _without_citations(text, first, last, out, to)
        else:
            behind = _copied(text, first, last, out, to)
        if not rules.terminal_punctuation or ends_line(out, to, behind):
            out[behind] = 10
            to = behind + 1
    return to


_LINE = -1


@borrowing
def _drops(kinds: int) -> int:
    """What the phrases of a line drop: 0 nothing, _LINE the line, a kind the document."""
    if kinds & LOREM_IPSUM:
        return LOREM_IPSUM
    if kinds & JAVASCRIPT:
        return _LINE
    if kinds & CURLY_BRACKET:
        return CURLY_BRACKET
    return _LINE if kinds & POLICY else 0


@helper
def _take_out(out: Bytes, start: int, end: int, kinds: int) -> tuple[int, int]:
    """Take out the lines with phrases; return where the others end, and what drops the document."""
    at, to = start, start
    while at < end:
        stop = at
        while out[stop] != 10:
            stop += 1
        drops = _drops(kinds_of(out, at, stop) & kinds)
        if drops > 0:
            return to, drops
        if drops == 0:
            to = _copied(out, at, stop + 1, out, to)
        at = stop + 1
    return to, 0


@helper
def select(text: View, rules: Rules, lines: View, dropped: Offsets, sentences: Offsets) -> None:
    """Write the lines to keep of all texts, a newline behind each."""
    for row in range(len(dropped)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        start = lines.offsets[row]
        end = _write_lines(own, lines.data, start, rules)
        # Most texts have no phrases: theirs are looked for in all lines at once.
        if rules.kinds != 0 and kinds_of(lines.data, start, end) & rules.kinds:
            end, dropped[row] = _take_out(lines.data, start, end, rules.kinds)
        if rules.counts:
            sentences[row] = sentence_count(lines.data, start, end)
        lines.offsets[row + 1] = end


@helper
def rewrite(text: View, lines: View, drops: Mask, out: View) -> None:
    """Write all texts: their lines, stripped, or as they were where the document is dropped."""
    for row in range(len(drops)):
        source = text if drops[row] else lines
        start, end = source.offsets[row], source.offsets[row + 1]
        if not drops[row]:
            start = skip_space(source.data, start, end)
            end = skip_space_back(source.data, start, end)
        out.offsets[row + 1] = _copied(source.data, start, end, out.data, out.offsets[row])
