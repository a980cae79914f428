"""Gopher quality rules: Rae et al. 2021, arXiv:2112.11446, appendix A1.1.

Dialect: the paper. Words are what white space separates; lines are those of `str.splitlines`.
All bounds are the paper's, and inclusive as there: it removes what is above or below.
"""

import math

import numpy as np

from curate.column import Bytes
from curate.eight import eight, same
from curate.hashing import hash_word
from curate.kernel import LETTER, Document, borrowing
from curate.signal import signal

STOP_WORDS = (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")

_MASK = np.uint64(255)
_STOP_HASHES, _STOP_BITS = np.zeros(256, np.uint64), np.zeros(256, np.uint8)
for _bit, _word in enumerate(STOP_WORDS):  # their hashes do not meet in the lowest eight bits
    _STOP_HASHES[hash_word(_word) & _MASK] = hash_word(_word)
    _STOP_BITS[hash_word(_word) & _MASK] = 1 << _bit


@signal(low=50, high=100_000)
def word_count(document: Document) -> float:
    """Words."""
    return float(len(document.words.starts))


@signal(low=3, high=10)
def mean_word_length(document: Document) -> float:
    """Characters per word; undefined without words."""
    if len(document.words.starts) == 0:
        return math.nan
    characters = 0
    for size in document.words.characters:
        characters += size
    return characters / len(document.words.starts)


@signal(high=0.1)
def hash_ratio(document: Document) -> float:
    """Number signs (#) per word; undefined without words."""
    if len(document.words.starts) == 0:
        return math.nan
    hashes = 0
    for byte in document.text:
        hashes += byte == 35
    return hashes / len(document.words.starts)


@borrowing
def _ellipsis_size(text: Bytes, at: int, end: int) -> int:
    """How many bytes the ellipsis has that begins here, three dots or U+2026; or 0."""
    if at + 3 > end:
        return 0
    dots = text[at] == 46 and text[at + 1] == 46 and text[at + 2] == 46
    sign = text[at] == 0xE2 and text[at + 1] == 0x80 and text[at + 2] == 0xA6
    return 3 if dots or sign else 0


@borrowing
def _may_begin_ellipsis(text: Bytes, at: int) -> bool:
    """Whether an ellipsis may begin at one of six places; the eight bytes must be there."""
    found = eight(text, at)
    dots = same(found, np.uint64(46))
    return bool((dots & dots >> np.uint64(8) & dots >> np.uint64(16) | same(found, _E2)) != 0)


_E2 = np.uint64(0xE2)


@signal(high=0.1)
def ellipsis_ratio(document: Document) -> float:
    """Ellipses ("..." or "…") per word; undefined without words."""
    if len(document.words.starts) == 0:
        return math.nan
    text, end = document.text, len(document.text)
    ellipses, at = 0, 0
    while at < end:
        if at + 8 <= end and not _may_begin_ellipsis(text, at):
            at += 6
            continue
        stop = min(at + 6, end)
        while at < stop:
            size = _ellipsis_size(text, at, end)
            ellipses += size > 0
            at += max(size, 1)
    return ellipses / len(document.words.starts)


@borrowing
def _is_bullet(text: Bytes, at: int, end: int) -> bool:
    if text[at] == 45:  # "-"
        return True
    # "•" is U+2022
    return at + 3 <= end and text[at] == 0xE2 and text[at + 1] == 0x80 and text[at + 2] == 0xA2


@signal(high=0.9)
def bullet_lines(document: Document) -> float:
    """Share of lines that begin with a bullet ("•" or "-"); undefined without lines."""
    if document.rows == 0:
        return math.nan
    words, bullets = document.words, 0
    for word in document.heads:
        bullets += _is_bullet(document.text, words.starts[word], words.ends[word])
    return bullets / document.rows


@signal(high=0.3)
def ellipsis_lines(document: Document) -> float:
    """Share of lines that end with an ellipsis ("..." or "…"); undefined without lines."""
    if document.rows == 0:
        return math.nan
    words, heads, ellipses = document.words, document.heads, 0
    for line in range(len(heads)):
        word = (heads[line + 1] if line + 1 < len(heads) else len(words.starts)) - 1
        end = words.ends[word]  # a word of fewer signs may be the end of an ellipsis
        ellipses += _ellipsis_size(document.text, max(end - 3, 0), end) > 0
    return ellipses / document.rows


@signal(low=0.8)
def alphabetic_words(document: Document) -> float:
    """Share of words with at least one letter of any script; undefined without words."""
    if len(document.traits) == 0:
        return math.nan
    alphabetic = 0
    for traits in document.traits:
        alphabetic += (traits & LETTER) != 0
    return alphabetic / len(document.traits)


@signal(low=2)
def stop_words(document: Document) -> float:
    """How many of the, be, to, of, and, that, have, with occur as words; case matters."""
    seen = 0
    for hashed in document.words.hashes:
        seen |= _STOP_BITS[hashed & _MASK] if _STOP_HASHES[hashed & _MASK] == hashed else 0
    count = 0
    while seen > 0:
        count += seen & 1
        seen >>= 1
    return float(count)
