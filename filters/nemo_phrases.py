"""The phrases by which NeMo Curator 1.4 knows boilerplate: policies on cookies, and lorem ipsum."""

from importlib.resources import files
from typing import Any

import numpy as np

from curate.column import Bytes
from curate.kernel import Document, borrowing, inlined
from curate.phrases import phrase_end, window, windows

# The first phrase makes a whole document boilerplate, the others their paragraph.
_POLICY = (files("filters") / "lists" / "nemo_policy.txt").read_bytes().splitlines()[1:]
_PHRASES = [b"lorem ipsum", *_POLICY]
_LETTERS = np.frombuffer(b"".join(_PHRASES), np.uint8).copy()
_PHRASE_ENDS = np.cumsum([0, *map(len, _PHRASES)])
_STRIDE = min(len(phrase) for phrase in _PHRASES) - 3
_WINDOWS = windows(_PHRASES, _STRIDE)


def _phrases_with(place: int) -> Any:
    """For each byte, as bits, the phrases that have it here; none has a k where this is asked."""
    table = np.zeros(256, np.uint16)
    for bit, phrase in enumerate(_PHRASES):
        letter = phrase[place : place + 1]
        table[list(letter + letter.upper())] |= 1 << bit
    return table


_ONE, _TWO = _phrases_with(0), _phrases_with(1)


@inlined
def _phrase_at(text: Bytes, at: int, end: int) -> int:
    """1 if a phrase of policies begins here, 2 for lorem ipsum; or 0."""
    found, phrase, possible = 0, 0, int(_ONE[text[at]] & _TWO[text[at + 1]])
    while possible > 0:
        letters = _LETTERS[_PHRASE_ENDS[phrase] : _PHRASE_ENDS[phrase + 1]]
        if possible & 1 and phrase_end(text, at, end, letters) >= 0:
            found |= 2 if phrase == 0 else 1
        possible >>= 1
        phrase += 1
    return found


@inlined
def _phrases_in(text: Bytes, start: int, end: int, stride: int) -> int:
    """What kinds of phrases occur in this stretch, as bits: looked for before their windows."""
    found, at = 0, start
    while at + 4 <= end:
        if stride == 1 or _WINDOWS[window(text, at)]:
            for place in range(max(start, at - stride + 1), at + 1):
                found |= _phrase_at(text, place, end)
        at += stride
    return found


@inlined
def _has_kelvin(text: Bytes) -> bool:
    """Whether there is a Kelvin sign, which makes other windows than a k."""
    middles, found = 0, 0
    for byte in text:
        middles += byte == 0x84  # of its three bytes the one that is rare in most languages
    for at in range(2, len(text) if middles > 0 else 0):
        found += (text[at - 2] == 0xE2) & (text[at - 1] == 0x84) & (text[at] == 0xAA)
    return found > 0


@borrowing
def policies(document: Document) -> float:
    """Share of paragraphs with a phrase of policies; 1 with lorem ipsum anywhere."""
    text, lines = document.text, document.lines
    stride, last = 1 if _has_kelvin(text) else _STRIDE, len(lines.starts) - 1
    paragraphs, marked, line = 0, 0, 0
    while line <= last:
        start = lines.starts[line]
        line += 1
        # Two newlines end a paragraph, that is an empty line with another behind it.
        while line <= last and (line == last or lines.starts[line] < lines.ends[line]):
            line += 1
        found = _phrases_in(text, start, lines.ends[line - 1], stride)
        if found >= 2:
            return 1.0
        paragraphs += 1
        marked += found
        line += 1
    return marked / paragraphs
