"""Dolma's Gopher rules: Soldaini et al. 2024, arXiv:2402.00159, taggers gopher_v1 and gopher_v2.

Dialect: dolma 1.2.1. Words are what white space separates; lines are what newlines separate, or for
signals named `_v2` what one newline or more do. Copies of a line or an n-gram count all, the first
too. A text without words has zeros, as there; an n-gram share is undefined where there is no such
n-gram, and the tagger says nothing. Bounds are those of Dolma v1.5 (configs/dolma-v1_5/mixing) and
inclusive: it drops what is strictly beyond. (There, a missing number keeps the document, but one
with so few words goes by its word count; and its rules ask for `most_common_2gram` while the tagger
writes `most_common_2grams`, so that the bounds of top n-grams never met a number.)
"""

import math

import numpy as np

from curate.column import Bytes
from curate.eight import eight, same
from curate.hashing import clear, first_seen, hash_word
from curate.kernel import LETTER, Document, borrowing
from curate.ngrams import gram_characters, top_gram
from curate.signal import signal

REQUIRED_WORDS = tuple(
    hash_word(word) for word in (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")
)


@signal()
def character_count(document: Document) -> float:
    """Characters of the text."""
    return float(document.characters)


@signal(low=50, high=100_000)
def word_count(document: Document) -> float:
    """Words."""
    return float(len(document.words.starts))


@borrowing
def _words_up_to(document: Document, size: int) -> int:
    """How many words have at most so many characters."""
    words = 0
    for characters in document.words.characters:
        words += characters <= size
    return words


@borrowing
def _next_length(document: Document, size: int) -> int:
    """The fewest characters of a word that has more than these."""
    longer = 0
    for characters in document.words.characters:
        if characters > size and (longer == 0 or characters < longer):
            longer = characters
    return longer


@signal(low=3, high=10)
def median_word_length(document: Document) -> float:
    """The median of the words' characters, where the paper has their mean; 0 without words."""
    count = len(document.words.starts)
    if count == 0:
        return 0.0
    half = (count + 1) // 2
    # Bisection: a round is one vectorised comparison a word, and four rounds nearly always do.
    low, high = 0, 16
    while _words_up_to(document, high) < half:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _words_up_to(document, middle) < half:
            low = middle
        else:
            high = middle
    if count % 2 == 1 or _words_up_to(document, high) > half:
        return float(high)
    return (high + _next_length(document, high)) / 2


@borrowing
def _may_hold_symbol(text: Bytes, at: int) -> bool:
    """Whether a symbol may begin in the eight bytes from here, which must be there."""
    found = eight(text, at)
    return bool((same(found, np.uint64(35)) | same(found, np.uint64(0xE2))) != 0)


@borrowing
def _is_symbol(text: Bytes, at: int) -> bool:
    if text[at] != 0xE2:
        return bool(text[at] == 35)
    return at + 3 <= len(text) and text[at + 1] == 0x80 and text[at + 2] == 0xA6


@signal(high=0.1)
def symbol_to_word_ratio(document: Document) -> float:
    """Share of words with a number sign (#) or "…" in them; three dots do not count."""
    text, ends = document.text, document.words.ends
    found, word, last, at = 0, 0, -1, 0
    while at < len(text):
        stop = min(at + 8, len(text))
        if at + 8 <= len(text) and not _may_hold_symbol(text, at):
            at = stop
        while at < stop:
            if _is_symbol(text, at):
                while ends[word] <= at:
                    word += 1
                found += word != last
                last = word
            at += 1
    return found / max(len(ends), 1)


@signal(low=0.8)
def alphabetic_words(document: Document) -> float:
    """Share of words with at least one letter of any script (words_with_alpha_character)."""
    found = 0
    for traits in document.traits:
        found += (traits & LETTER) != 0
    return found / max(len(document.traits), 1)


@signal(low=2)
def required_word_count(document: Document) -> float:
    """How often the, be, to, of, and, that, have, with occur in all, where the paper asks which."""
    count = 0
    for hashed in document.words.hashes:
        for place in range(len(REQUIRED_WORDS)):
            count += hashed == REQUIRED_WORDS[place]
    return float(count)


@borrowing
def _bullets(document: Document) -> int:
    """How many lines begin with "*" or "-"."""
    text, lines = document.text, document.lines
    found = 0
    for line in range(len(lines.starts)):
        start = lines.starts[line]
        if start < lines.ends[line]:
            found += text[start] == 42 or text[start] == 45
    return found


@borrowing
def _ellipses(document: Document) -> int:
    """How many lines end with "…"."""
    text, lines = document.text, document.lines
    found = 0
    for line in range(len(lines.starts)):
        end = lines.ends[line]
        if end - lines.starts[line] >= 3 and text[end - 1] == 0xA6:
            found += text[end - 2] == 0x80 and text[end - 3] == 0xE2
    return found


@borrowing
def _empty_ends(document: Document) -> int:
    """How many empty lines there are at the ends of the text: cut at runs, it has no others."""
    lines = document.lines
    last = len(lines.starts) - 1
    first_is_empty = lines.starts[0] == lines.ends[0]
    return int(first_is_empty) + int(last > 0 and lines.starts[last] == lines.ends[last])


@borrowing
def _runs(document: Document) -> int:
    """How many lines there are between runs of newlines."""
    lines = document.lines
    found = 0
    for line in range(len(lines.starts)):
        found += lines.starts[line] < lines.ends[line]
    return found + _empty_ends(document)


@signal(high=0.9)
def bullet_lines(document: Document) -> float:
    """Share of lines that begin with "*" or "-" (lines_starting_with_bullet_point)."""
    return _bullets(document) / len(document.lines.starts)


@signal(high=0.9)
def bullet_lines_v2(document: Document) -> float:
    """The same without empty lines between others."""
    return _bullets(document) / _runs(document)


@signal(high=0.3)
def ellipsis_lines(document: Document) -> float:
    """Share of lines that end with "…" (lines_ending_with_ellipsis)."""
    return _ellipses(document) / len(document.lines.starts)


@signal(high=0.3)
def ellipsis_lines_v2(document: Document) -> float:
    """The same without empty lines between others."""
    return _ellipses(document) / _runs(document)


@borrowing
def _count_lines(document: Document) -> None:
    """Write how often each line occurs into `counts`, where it occurs first; elsewhere 0."""
    hashes, keys, counts = document.lines.hashes, document.keys, document.counts
    mask = clear(document.slots, len(hashes))
    for line in range(len(hashes)):
        keys[line] = hashes[line]
        counts[line] = 0
        counts[first_seen(keys, line, document.slots, mask)] += 1


@signal(high=0.3)
def duplicate_lines(document: Document) -> float:
    """Share of lines that occur twice or more, empty lines too."""
    _count_lines(document)
    found = 0
    for line in range(len(document.lines.starts)):
        if document.counts[line] > 1:
            found += document.counts[line]
    return found / len(document.lines.starts)


@signal(high=0.3)
def duplicate_lines_v2(document: Document) -> float:
    """The same without empty lines between others."""
    _count_lines(document)
    lines = document.lines
    found = 2 * (_empty_ends(document) == 2)
    for line in range(len(lines.starts)):
        if document.counts[line] > 1 and lines.starts[line] < lines.ends[line]:
            found += document.counts[line]
    return found / _runs(document)


@borrowing
def _word_characters(document: Document) -> int:
    characters = 0
    for size in document.words.characters:
        characters += size
    return characters


@signal(high=0.3)
def duplicate_line_characters(document: Document) -> float:
    """Characters of lines that occur twice or more, per character of words."""
    _count_lines(document)
    found = 0
    for line in range(len(document.lines.starts)):
        if document.counts[line] > 1:
            found += document.counts[line] * document.lines.characters[line]
    return found / max(_word_characters(document), 1)


@borrowing
def _top_share(document: Document, size: int) -> float:
    """Share of the words' characters in the most frequent n-gram, even if it occurs only once."""
    if len(document.words.starts) < size:
        return math.nan
    word, count = top_gram(document, size)
    characters = gram_characters(document.words.characters, word, size)
    return count * characters / max(_word_characters(document), 1)


@signal(high=0.20)
def top_2gram(document: Document) -> float:
    """Share of characters in the most frequent pair of words (most_common_2grams)."""
    return _top_share(document, 2)


@signal(high=0.18)
def top_3gram(document: Document) -> float:
    """Share of characters in the most frequent three words (most_common_3grams)."""
    return _top_share(document, 3)


@signal(high=0.16)
def top_4gram(document: Document) -> float:
    """Share of characters in the most frequent four words (most_common_4grams)."""
    return _top_share(document, 4)


@borrowing
def _duplicate_share(document: Document, size: int) -> float:
    """Share of the characters of all n-grams, which overlap, in those that occur twice or more."""
    sizes, repeats = document.words.characters, document.repeats
    if len(sizes) < size:
        return math.nan
    characters = gram_characters(sizes, 0, size - 1)
    found, total = 0, 0
    for word in range(len(sizes) - size + 1):
        characters += sizes[word + size - 1]
        total += characters
        found += characters if repeats[word] >= size else 0
        characters -= sizes[word]
    return found / max(total, 1)


@signal(high=0.15)
def duplicate_5grams(document: Document) -> float:
    """Share of characters in five words that occur twice or more."""
    return _duplicate_share(document, 5)


@signal(high=0.14)
def duplicate_6grams(document: Document) -> float:
    """Share of characters in six words that occur twice or more."""
    return _duplicate_share(document, 6)


@signal(high=0.13)
def duplicate_7grams(document: Document) -> float:
    """Share of characters in seven words that occur twice or more."""
    return _duplicate_share(document, 7)


@signal(high=0.12)
def duplicate_8grams(document: Document) -> float:
    """Share of characters in eight words that occur twice or more."""
    return _duplicate_share(document, 8)


@signal(high=0.11)
def duplicate_9grams(document: Document) -> float:
    """Share of characters in nine words that occur twice or more."""
    return _duplicate_share(document, 9)


@signal(high=0.10)
def duplicate_10grams(document: Document) -> float:
    """Share of characters in ten words that occur twice or more."""
    return _duplicate_share(document, 10)
