"""Sentences as datatrove counts them: what spaCy's sentencizer makes of the tokens of a line.

A sentence ends behind a token that is one full stop or the like, and behind all punctuation that
follows. White space that is more than a space between two words is a token of its own there, which
begins a sentence when one has ended.
"""

from importlib.resources import files
from typing import Any

import numpy as np

from curate.column import Bytes, Offsets, View
from curate.index import WordPlaces
from curate.kernel import borrowing
from curate.properties import paged
from curate.token_rules import next_character
from curate.tokens import token_places
from curate.utf8 import code_point

_PUNCTUATION, _END = 1, 2


def _tables() -> tuple[Any, Any]:
    every = np.zeros(0x110000, np.uint8)
    path = files("filters") / "lists" / "sentencizer.txt"
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        span, signs = line.split(" ")
        first, _, last = span.partition("-")
        kinds = _PUNCTUATION * ("P" in signs) | _END * ("E" in signs)
        every[int(first, 16) : int(last or first, 16) + 1] = kinds
    return paged(every)


_WHERE, _KINDS = _tables()


@borrowing
def _kind(code: int) -> int:
    return int(_KINDS[int(_WHERE[code >> 7]) + (code & 127)]) if code >= 0 else 0


@borrowing
def _role(text: Bytes, start: int, end: int) -> int:
    """_END for a token that ends a sentence, _PUNCTUATION for other punctuation, or 0."""
    byte = text[start]
    if 97 <= (byte | 32) <= 122:
        return 0
    kinds = _kind(code_point(text, start, end))
    at = next_character(text, start, end)
    if at == end:
        return _END if kinds & _END else kinds & _PUNCTUATION
    while at < end and kinds & _PUNCTUATION:
        kinds = _kind(code_point(text, at, end))
        at = next_character(text, at, end)
    return kinds & _PUNCTUATION


@borrowing
def _is_token(text: Bytes, start: int, end: int) -> bool:
    """Whether a gap before a token, or behind the last, is more than one space."""
    return end > start and not (end == start + 1 and text[start] == 32)


@borrowing
def sentences_of(
    text: Bytes, starts: Offsets, ends: Offsets, line: tuple[int, int], words: tuple[int, int]
) -> int:
    """The sentences of a line with the words from one to another; an empty one has one, too."""
    count, ended, behind = 1, False, line[0]
    for word in range(words[0], words[1]):
        start, end = starts[word], ends[word]
        if ended and _is_token(text, behind, start):
            count, ended = count + 1, False
        role = _role(text, start, end)
        if ended and role == 0:
            count, ended = count + 1, False
        ended = ended or role == _END
        behind = end
    return count + (ended and _is_token(text, behind, line[1]))


@borrowing
def _count(texts: View, places: WordPlaces, counts: Offsets) -> None:
    starts, ends, offsets = places
    for row in range(len(counts)):
        text = texts.data[texts.offsets[row] : texts.offsets[row + 1]]
        word, last = offsets[row], offsets[row + 1]
        start = 0
        for at in range(len(text)):
            if text[at] == 10:
                first = word
                while word < last and starts[word] < at:
                    word += 1
                counts[row] += sentences_of(text, starts, ends, (start, at), (first, word))
                start = at + 1


def line_sentences(texts: View) -> Offsets:
    """The sentences of all lines of each text, every line by itself; a newline ends each."""
    counts = np.zeros(len(texts.offsets) - 1, np.int32)
    _count(texts, token_places(texts), counts)
    return counts
