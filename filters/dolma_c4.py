"""Dolma's C4 rules: Soldaini et al. 2024, arXiv:2402.00159, taggers c4_v1 and c4_v2.

Dialect: dolma 1.2.1. Lines are what newlines separate, blank ones too; words what white space
separates; case is that of `str.lower`. The two taggers agree but on JavaScript. Bounds are those of
Dolma's replication of C4 (configs/c4-replication/mixer.yaml), which also removes the lines that are
counted here. Bad words are LDNOOBW's English list, the same that Dolma brings along.
"""

from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from curate.column import Bytes
from curate.kernel import Document, inlined
from curate.phrases import phrase_end, phrase_start
from curate.signal import signal
from curate.utf8 import skip_space, skip_space_back


class _Table(NamedTuple):
    """Phrases by two of their letters: bucket i has `items` from first[i] on."""

    letters: Any
    ends: Any  # phrase n has the letters from ends[n] on
    items: Any
    first: Any


def _bucket(one: int, other: int) -> int:
    return (one & 31) << 5 | other & 31


def _table(phrases: list[bytes], places: list[int]) -> _Table:
    """The table of phrases by the letters at these places and behind; a k may be a Kelvin sign."""
    buckets: list[list[int]] = [[] for _ in range(1024)]
    for number, (phrase, place) in enumerate(zip(phrases, places, strict=True)):
        one, other = phrase[place], phrase[place + 1 + (phrase[place + 1] == 32)]
        # The Kelvin sign is E2 84 AA: it ends before a space, or begins where the word does.
        ones = {one, 0xAA if place else 0xE2} if one == ord("k") else {one}
        others = {other, 0xE2} if other == ord("k") else {other}
        pairs = {_bucket(first, second) for first in ones for second in others}
        if 0xE2 in ones:
            pairs.add(_bucket(0xE2, 0x84))
        for pair in pairs:
            buckets[pair].append(number)
    return _Table(
        np.frombuffer(b"".join(phrases), np.uint8).copy(),
        np.cumsum([0, *map(len, phrases)]),
        np.array([number for bucket in buckets for number in bucket]),
        np.cumsum([0, *map(len, buckets)]),
    )


_LIST = (files("filters") / "lists" / "badwords" / "en.txt").read_bytes().splitlines()[1:]
_SINGLE = [entry for entry in _LIST if b" " not in entry]
_SEVERAL = [entry for entry in _LIST if b" " in entry]
_WORDS, _WORD_ENDS, _WORD_ITEMS, _WORD_FIRST = _table(_SINGLE, [0] * len(_SINGLE))
_GAPS = [entry.index(b" ") for entry in _SEVERAL]
_PHRASES, _PHRASE_ENDS, _PHRASE_ITEMS, _PHRASE_FIRST = _table(_SEVERAL, [gap - 1 for gap in _GAPS])
_PHRASE_GAPS = np.array(_GAPS)


@inlined
def _is_naughty(text: Bytes, start: int, end: int) -> bool:
    """Whether this word is in the list."""
    if end - start < 2:
        return False
    bucket = int(text[start] & 31) << 5 | int(text[start + 1] & 31)
    found = False
    for item in range(_WORD_FIRST[bucket], _WORD_FIRST[bucket + 1]):
        entry = _WORD_ITEMS[item]
        letters = _WORDS[_WORD_ENDS[entry] : _WORD_ENDS[entry + 1]]
        found |= phrase_end(text, start, end, letters) == end
    return found


@inlined
def _is_naughty_around(text: Bytes, gap: int) -> bool:
    """Whether a phrase of the list has its first space here."""
    bucket = int(text[gap - 1] & 31) << 5 | int(text[gap + 1] & 31)
    found = False
    for item in range(_PHRASE_FIRST[bucket], _PHRASE_FIRST[bucket + 1]):
        entry = _PHRASE_ITEMS[item]
        first, last = _PHRASE_ENDS[entry], _PHRASE_ENDS[entry + 1]
        space = first + _PHRASE_GAPS[entry]
        if phrase_start(text, 0, gap, _PHRASES[first:space]) >= 0:
            found |= phrase_end(text, gap + 1, len(text), _PHRASES[space + 1 : last]) >= 0
    return found


@signal(high=0)
def has_naughty_word(document: Document) -> float:
    """1 if a word, or any stretch of the text, is one of LDNOOBW's English words or phrases."""
    text, words = document.text, document.words
    last = len(words.starts) - 1
    for word in range(last + 1):
        end = words.ends[word]
        if _is_naughty(text, words.starts[word], end):
            return 1.0
        is_gap = word < last and text[end] == 32 and words.starts[word + 1] == end + 1
        if is_gap and _is_naughty_around(text, end):
            return 1.0
    return 0.0


_JAVASCRIPT = np.frombuffer(b"javascript", np.uint8).copy()
_LOREM_IPSUM = np.frombuffer(b"lorem ipsum", np.uint8).copy()


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
    text, found = document.text, False
    for at in range(len(text)):
        if text[at] | 32 == 106:  # j
            found |= phrase_end(text, at, len(text), _JAVASCRIPT) >= 0
    return 1.0 if found else 0.0


@signal(high=0)
def has_lorem_ipsum(document: Document) -> float:
    """1 if "lorem ipsum" occurs anywhere in the text."""
    text, found = document.text, False
    for at in range(8, len(text)):
        if text[at] | 32 == 115 and text[at - 1] | 32 == 112:  # "ps", its rarest pair
            found |= phrase_end(text, at - 8, len(text), _LOREM_IPSUM) >= 0
    return 1.0 if found else 0.0


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


@signal()
def lines_with_no_ending_punctuation(document: Document) -> float:
    """How many lines do not end with . ? ! or a straight double quote."""
    text, lines = document.text, document.lines
    found = 0
    for line in range(len(lines.starts)):
        start = skip_space(text, lines.starts[line], lines.ends[line])
        end = skip_space_back(text, start, lines.ends[line])
        last = int(text[end - 1]) if start < end else 0
        found += not (last == 46 or last == 63 or last == 33 or last == 34)
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
