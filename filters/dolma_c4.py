"""Dolma's C4 rules: Soldaini et al. 2024, arXiv:2402.00159, taggers c4_v1 and c4_v2.

Dialect: dolma 1.2.1. Lines are what newlines separate, blank ones too; words what white space
separates; case is that of `str.lower`. The two taggers agree but on JavaScript. Bounds are those of
Dolma's replication of C4 (configs/c4-replication/mixer.yaml), which also removes the lines that are
counted here, as `Lines` does. Bad words are LDNOOBW's English list, the one that Dolma holds.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow.compute as pc

from curate.column import Bytes, View, strings, view
from curate.kernel import Document, borrowing, helper
from curate.phrases import phrase_end, phrase_start, phrases, phrases_in
from curate.schema import TEXT, Batch
from curate.signal import signal
from curate.stage import with_column
from curate.utf8 import may_be_space, skip_space, skip_space_back, space_size

_LIST = (files("filters") / "lists" / "badwords" / "en.txt").read_bytes().splitlines()[1:]
_KELVIN = "\u212a".encode()  # a k in lower case


def _spellings(phrase: bytes) -> list[bytes]:
    """The phrase with each k as it is, and as a Kelvin sign."""
    head, k, tail = phrase.partition(b"k")
    if not k:
        return [phrase]
    return [head + letter + rest for letter in (k, _KELVIN) for rest in _spellings(tail)]


@borrowing
def _key(one: int, two: int, three: int) -> int:
    """A number below 2**15 of three bytes, the same for capitals."""
    return (one & 31) << 10 | (two & 31) << 5 | three & 31


class _Table(NamedTuple):
    """Spellings of phrases by the key of three of their bytes."""

    known: Any  # whether any spelling has this key
    first: Any  # those that have it are the ones from first[key] to first[key + 1]
    letters: Any  # spelling n has those from ends[n] to ends[n + 1]
    ends: Any
    gaps: Any  # where a spelling has its first space; 0 if nowhere


def _table(phrases: list[bytes]) -> _Table:
    """The table of phrases by their first two bytes and their last, or three about a space."""
    keyed: list[tuple[int, int, bytes]] = []
    for spelling in (spelling for phrase in phrases for spelling in _spellings(phrase)):
        gap = max(spelling.find(b" "), 0)
        three = (gap - 1, gap + 1, gap + 2) if gap > 0 else (0, 1, -1)
        keyed.append((_key(*(spelling[place] for place in three)), gap, spelling))
    keyed.sort()
    counts = np.bincount([key for key, _, _ in keyed], minlength=1 << 15)
    return _Table(
        counts > 0,
        np.concatenate([[0], np.cumsum(counts)]),
        np.frombuffer(b"".join(spelling for _, _, spelling in keyed), np.uint8).copy(),
        np.cumsum([0, *(len(spelling) for _, _, spelling in keyed)]),
        np.array([gap for _, gap, _ in keyed]),
    )


_WORDS = _table([entry for entry in _LIST if b" " not in entry])
_WORD_KNOWN, _WORD_FIRST, _WORD_LETTERS, _WORD_ENDS, _ = _WORDS
_PHRASES = _table([entry for entry in _LIST if b" " in entry])
_KNOWN, _FIRST, _LETTERS, _ENDS, _GAPS = _PHRASES


@borrowing
def _is_word(text: Bytes, start: int, end: int, key: int) -> bool:
    """Whether this word is in the list."""
    found = False
    for spelling in range(_WORD_FIRST[key], _WORD_FIRST[key + 1]):
        letters = _WORD_LETTERS[_WORD_ENDS[spelling] : _WORD_ENDS[spelling + 1]]
        found |= phrase_end(text, start, end, letters) == end
    return found


@borrowing
def _is_phrase(text: Bytes, gap: int, key: int) -> bool:
    """Whether a phrase of the list has its first space here."""
    found = False
    for spelling in range(_FIRST[key], _FIRST[key + 1]):
        first, last = _ENDS[spelling], _ENDS[spelling + 1]
        space = first + _GAPS[spelling]
        if phrase_start(text, 0, gap, _LETTERS[first:space]) >= 0:
            found |= phrase_end(text, gap, len(text), _LETTERS[space:last]) >= 0
    return found


@borrowing
def _naughty(document: Document) -> bool:
    text, words = document.text, document.words
    found = False
    for word in range(len(words.starts)):
        start, end = words.starts[word], words.ends[word]
        if end - start >= 2:
            key = _key(int(text[start]), int(text[start + 1]), int(text[end - 1]))
            found |= _WORD_KNOWN[key] and _is_word(text, start, end, key)
        if end + 2 < len(text) and text[end] == 32:  # more than a byte follows the space
            key = _key(int(text[end - 1]), int(text[end + 1]), int(text[end + 2]))
            found |= _KNOWN[key] and _is_phrase(text, end, key)
    return found


@signal(high=0)
def has_naughty_word(document: Document) -> float:
    """1 if a word, or any stretch of the text, is one of LDNOOBW's English words or phrases."""
    return 1.0 if _naughty(document) else 0.0


_JAVASCRIPT = np.frombuffer(b"javascript", np.uint8).copy()
_ANYWHERE = phrases([b"javascript"])
_LOREM_IPSUM = phrases([b"lorem ipsum"])


@signal(high=0)
def has_javascript(document: Document) -> float:
    """1 if "javascript" is a word of the text (c4_v1)."""
    words, found = document.words, False
    for word in range(len(words.starts)):
        start, end = words.starts[word], words.ends[word]
        if end - start == len(_JAVASCRIPT):
            found |= phrase_end(document.text, start, end, _JAVASCRIPT) == end
    return 1.0 if found else 0.0


@signal(high=0)
def has_javascript_v2(document: Document) -> float:
    """1 if "javascript" occurs anywhere in the text (c4_v2)."""
    return 1.0 if phrases_in(document.text, 0, len(document.text), _ANYWHERE, False) else 0.0


@signal(high=0)
def has_lorem_ipsum(document: Document) -> float:
    """1 if "lorem ipsum" occurs anywhere in the text."""
    return 1.0 if phrases_in(document.text, 0, len(document.text), _LOREM_IPSUM, False) else 0.0


@signal(high=0)
def has_curly_brace(document: Document) -> float:
    """1 if there is an opening curly brace."""
    found = False
    for byte in document.text:
        found |= byte == 123
    return 1.0 if found else 0.0


@signal()
def line_count(document: Document) -> float:
    """Lines."""
    return float(len(document.lines.starts))


@borrowing
def _ends_with_mark(text: Bytes, start: int, end: int) -> bool:
    """Whether the last of this stretch, white space apart, is . ? ! or a straight double quote."""
    end = skip_space_back(text, start, end)
    last = int(text[end - 1]) if start < end else 0
    return last == 46 or last == 63 or last == 33 or last == 34


@signal()
def lines_with_no_ending_punctuation(document: Document) -> float:
    """How many lines do not end with . ? ! or a straight double quote."""
    lines, found = document.lines, 0
    for line in range(len(lines.starts)):
        found += not _ends_with_mark(document.text, lines.starts[line], lines.ends[line])
    return float(found)


@signal()
def lines_with_too_few_words(document: Document) -> float:
    """How many lines have fewer than three words."""
    lines, starts = document.lines, document.words.starts
    found, word = 0, 0
    for line in range(len(lines.starts)):
        first = word
        while word < len(starts) and starts[word] < lines.ends[line]:
            word += 1
        found += word - first < 3
    return float(found)


@borrowing
def _has_words(line: Bytes, least: int) -> bool:
    """Whether a line has at least so many words."""
    words, at, end = 0, skip_space(line, 0, len(line)), len(line)
    while at < end and words < least:
        words += 1
        while at < end and not (may_be_space(line[at]) and space_size(line, at, end) > 0):
            at += 1
        at = skip_space(line, at, end)
    return bool(words >= least)


@helper
def _write_lines(text: Bytes, out: Bytes, to: int, rules: tuple[bool, int]) -> int:
    """Write the lines to keep, each with its newline; return where they end."""
    punctuation, min_words = rules
    start, end = 0, len(text)
    while start < end:
        stop = start
        while stop < end and text[stop] != 10:
            stop += 1
        behind = min(stop + 1, end)
        is_kept = not punctuation or _ends_with_mark(text, start, stop)
        if is_kept and _has_words(text[start:stop], min_words):
            for at in range(start, behind):
                out[to + at - start] = text[at]
            to += behind - start
        start = behind
    return to


@helper
def _rewrite(text: View, out: View, rules: tuple[bool, int]) -> None:
    for row in range(len(out.offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        out.offsets[row + 1] = _write_lines(own, out.data, out.offsets[row], rules)


@dataclass(frozen=True)
class Lines:
    """Removes the lines that Dolma removes from the text, each with the newline behind it.

    What stays is not stripped, and a text without any line left stays as an empty one. Dolma's
    replication of C4 asks for both rules; Dolma v1.5 has cleaned its pages by the first.
    """

    punctuation: bool = True  # lines must end with . ? ! or a straight double quote
    min_words: int = 3  # that a line must have

    ignores_language: ClassVar = True

    def __call__(self, batch: Batch) -> Batch:
        column = batch.column(TEXT)
        text = view(column)
        size = int(text.offsets[-1]) - int(text.offsets[0])
        out = View(np.empty(size, np.uint8), np.zeros(len(column) + 1, np.int32))
        _rewrite(text, out, (self.punctuation, self.min_words))
        written = strings(out.data[: out.offsets[-1]], out.offsets)
        return with_column(batch, TEXT, pc.if_else(column.is_null(), None, written))
