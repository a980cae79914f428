"""Gopher quality rules: Rae et al. 2021, arXiv:2112.11446, appendix A1.1.

Dialect: the paper. Words are what white space separates; lines are those of `str.splitlines`.
All bounds are the paper's, and inclusive as there: it removes what is above or below.
"""

import math

from curate.column import Bytes
from curate.hashing import hash_word
from curate.kernel import Document, inlined
from curate.signal import signal
from curate.utf8 import breaks, code_point, ends_with_break, is_letter, starts_character

STOP_WORDS = tuple(
    hash_word(word) for word in (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")
)


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


@inlined
def _ellipsis_size(text: Bytes, at: int, end: int) -> int:
    """How many bytes the ellipsis has that begins here, three dots or U+2026; or 0."""
    if at + 3 > end:
        return 0
    dots = text[at] == 46 and text[at + 1] == 46 and text[at + 2] == 46
    sign = text[at] == 0xE2 and text[at + 1] == 0x80 and text[at + 2] == 0xA6
    return 3 if dots or sign else 0


@signal(high=0.1)
def ellipsis_ratio(document: Document) -> float:
    """Ellipses ("..." or "…") per word; undefined without words."""
    if len(document.words.starts) == 0:
        return math.nan
    text, end = document.text, len(document.text)
    ellipses, at = 0, 0
    while at < end:
        byte = text[at]
        size = _ellipsis_size(text, at, end) if byte == 46 or byte == 0xE2 else 0
        ellipses += size > 0
        at += max(size, 1)
    return ellipses / len(document.words.starts)


@inlined
def _line_count(document: Document) -> int:
    """The number of lines of `str.splitlines`: breaks lie only between words."""
    text, words = document.text, document.words
    lines, at = 0, 0
    for word in range(len(words.starts)):
        lines += breaks(text, at, words.starts[word])
        at = words.ends[word]
    lines += breaks(text, at, len(text))
    return lines + (len(text) > 0 and not ends_with_break(text))


@inlined
def _is_bullet(text: Bytes, at: int, end: int) -> bool:
    if text[at] == 45:  # "-"
        return True
    # "•" is U+2022
    return at + 3 <= end and text[at] == 0xE2 and text[at + 1] == 0x80 and text[at + 2] == 0xA2


@signal(high=0.9)
def bullet_lines(document: Document) -> float:
    """Share of lines that begin with a bullet ("•" or "-"); undefined without lines."""
    text, words = document.text, document.words
    lines, bullets, at = 0, 0, 0
    for word in range(len(words.starts)):
        broken = breaks(text, at, words.starts[word])
        if word == 0 or broken > 0:
            bullets += _is_bullet(text, words.starts[word], words.ends[word])
        lines += broken
        at = words.ends[word]
    lines += breaks(text, at, len(text)) + (len(text) > 0 and not ends_with_break(text))
    return bullets / lines if lines > 0 else math.nan


@signal(high=0.3)
def ellipsis_lines(document: Document) -> float:
    """Share of lines that end with an ellipsis ("..." or "…"); undefined without lines."""
    lines = _line_count(document)
    if lines == 0:
        return math.nan
    text, words = document.text, document.words
    ellipses, last = 0, len(words.starts) - 1
    for word in range(last + 1):
        end = words.ends[word]
        if end - words.starts[word] < 3 or _ellipsis_size(text, end - 3, end) == 0:
            continue
        ellipses += word == last or breaks(text, end, words.starts[word + 1]) > 0
    return ellipses / lines


@inlined
def _has_letter(text: Bytes, start: int, end: int) -> bool:
    for at in range(start, end):
        if starts_character(text[at]) and is_letter(code_point(text, at, end)):
            return True
    return False


@signal(low=0.8)
def alphabetic_words(document: Document) -> float:
    """Share of words with at least one letter of any script; undefined without words."""
    words = document.words
    if len(words.starts) == 0:
        return math.nan
    alphabetic = 0
    for word in range(len(words.starts)):
        alphabetic += _has_letter(document.text, words.starts[word], words.ends[word])
    return alphabetic / len(words.starts)


@signal(low=2)
def stop_words(document: Document) -> float:
    """How many of the, be, to, of, and, that, have, with occur as words; case matters."""
    seen = 0
    for hashed in document.words.hashes:
        for place in range(len(STOP_WORDS)):
            if hashed == STOP_WORDS[place]:
                seen |= 1 << place
    count = 0
    while seen > 0:
        count += seen & 1
        seen >>= 1
    return float(count)
