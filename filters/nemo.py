"""NeMo Curator's heuristic filters on text: version 1.4, stages/text/filters/heuristic/string.py.

Dialect: words are what white space separates, as NeMo has it for all languages but Chinese (jieba)
and Japanese (MeCab), whose words are not reproduced here. Lines are what newlines separate, blank
ones left out; paragraphs what two newlines do. Numbers are those of `score_document`; undefined
where it fails, without words or lines. Bounds are those of its English configuration, and inclusive
as there. The configuration asks for these and for filters/nemo_repetition.py.

`pornographic_urls` is in no configuration. `SubstringFilter` is not here, for it has no text of its
own to look for.
"""

import math
from typing import Any

import numpy as np

from curate.column import Bytes
from curate.hashing import hash_word
from curate.kernel import LETTER, WIDE, Document, borrowing
from curate.phrases import letter_start, may_hold_pair, phrase_start
from curate.signal import signal
from curate.utf8 import code_point, skip_space, skip_space_back, starts_character
from curate.word_break import ALPHABETIC, entry
from filters.nemo_phrases import policies


def _joined(phrases: list[bytes]) -> tuple[Any, Any]:
    """The letters of all phrases in a row, and where each begins, and the last ends."""
    letters = np.frombuffer(b"".join(phrases), np.uint8).copy()
    return letters, np.cumsum([0, *(len(phrase) for phrase in phrases)])


def _table(characters: bytes) -> Any:
    """For each byte, whether it is one of these."""
    table = np.zeros(256, np.bool_)
    table[list(characters)] = True
    return table


@signal(high=0.25)
def non_alpha_numeric(document: Document) -> float:
    """Share of characters that are none of a-z, A-Z, 0-9, newline and ? ! , .; 1 without any."""
    if document.characters == 0:
        return 1.0
    plain = 0
    for byte in document.text:
        letter = byte | 32
        plain += (letter >= 97) & (letter <= 122) | (byte >= 48) & (byte <= 57)
        plain += (byte == 10) | (byte == 63) | (byte == 33) | (byte == 44) | (byte == 46)
    return (document.characters - plain) / document.characters


_MARKS = ("...", "[...]", "…", "(...)", "[…]", "-»")  # two more hold a space
_MARK_HASHES = tuple(hash_word(mark.encode()) for mark in _MARKS)


@borrowing
def _is_mark(document: Document, word: int) -> bool:
    """Whether this word is an ellipsis in any of its spellings."""
    first, hashed = document.text[document.words.starts[word]], document.words.hashes[word]
    found = False
    if first == 46 or first == 91 or first == 0xE2 or first == 40 or first == 45:
        for place in range(len(_MARK_HASHES)):
            found |= hashed == _MARK_HASHES[place]
    return found


@borrowing
def _is_half_signs(document: Document, word: int) -> bool:
    """Whether a word has more runs of number signs than half its characters: #, #a#, #a#b# ..."""
    text, start, end = document.text, document.words.starts[word], document.words.ends[word]
    if text[start] != 35:
        return False
    runs = 0
    for at in range(start, end):
        runs += text[at] == 35 and (at == start or text[at - 1] != 35)
    return bool(2 * runs > document.words.characters[word])


@signal(high=0.1)
def symbols_to_words(document: Document) -> float:
    """Share of words that are ellipses, or number signs in every other place."""
    count, found = len(document.words.starts), 0
    for word in range(count):
        found += _is_mark(document, word) or _is_half_signs(document, word)
    return found / count if count > 0 else math.nan


@signal(high=0.15)
def numbers(document: Document) -> float:
    """Share of characters that are digits 0 to 9; 1 without any characters."""
    if document.characters == 0:
        return 1.0
    digits = 0
    for byte in document.text:
        digits += (byte >= 48) & (byte <= 57)
    return digits / document.characters


_ALPHANUMERIC = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_IN_URL = _table(_ALPHANUMERIC + b"$-_@.&+/:=?#~!*(),")  # and a percent sign before two of these:
_HEXADECIMAL = _table(b"0123456789ABCDEFabcdef")


@borrowing
def _url_sign(text: Bytes, at: int, end: int) -> int:
    """How many bytes the sign of a URL has that begins here; or 0."""
    if _IN_URL[text[at]]:
        return 1
    if text[at] != 37 or at + 3 > end:
        return 0
    return 3 if _HEXADECIMAL[text[at + 1]] and _HEXADECIMAL[text[at + 2]] else 0


@borrowing
def _url_end(text: Bytes, at: int) -> int:
    """Where the URL ends that begins with this h; `at` itself if none does."""
    end = len(text)
    if at + 8 > end or text[at + 1] != 116 or text[at + 2] != 116 or text[at + 3] != 112:
        return at
    start = at + 4 + (text[at + 4] == 115)  # http, https
    if start + 3 > end or text[start] != 58 or text[start + 1] != 47 or text[start + 2] != 47:
        return at
    start += 3
    place, size = start, 1
    while size > 0 and place < end:
        size = _url_sign(text, place, end)
        place += size
    return place if place > start else at


@borrowing
def _next_url(text: Bytes, at: int) -> int:
    """Where the first URL from here on begins, or the end of the text."""
    is_there = False
    while not is_there and at < len(text):
        if at + 8 <= len(text) and not may_hold_pair(text, at, 104, 116):  # ht
            at += 7
        elif text[at] == 104 and _url_end(text, at) > at:
            is_there = True
        else:
            at += 1
    return min(at, len(text))


@signal(high=0.2)
def urls(document: Document) -> float:
    """Share of characters in URLs; 1 without any characters."""
    if document.characters == 0:
        return 1.0
    text, found, at = document.text, 0, _next_url(document.text, 0)
    while at < len(text):
        end = _url_end(text, at)
        found += end - at
        at = _next_url(text, end)
    return found / document.characters


@signal(high=0.25)
def white_space(document: Document) -> float:
    """Share of characters that are space, tab, newline, return or backspace; 1 without any."""
    if document.characters == 0:
        return 1.0
    spaces = 0
    for byte in document.text:
        spaces += (byte == 32) | (byte == 10) | (byte == 9) | (byte == 13) | (byte == 8)
    return spaces / document.characters


@signal(high=0.1)
def parentheses(document: Document) -> float:
    """Share of characters that are any of () [] {} ⟨⟩; 1 without any characters."""
    if document.characters == 0:
        return 1.0
    text, found, wide = document.text, 0, 0
    for byte in text:
        found += (byte == 40) | (byte == 41) | (byte == 91) | (byte == 93)
        found += (byte == 123) | (byte == 125)
        wide += byte == 0x9F
    for at in range(2, len(text) if wide > 0 else 0):  # U+27E8, U+27E9
        angle = (text[at] == 0xA8) | (text[at] == 0xA9)
        found += angle & (text[at - 1] == 0x9F) & (text[at - 2] == 0xE2)
    return found / document.characters


@signal(high=0.4)
def boilerplate(document: Document) -> float:
    """Share of paragraphs with a phrase of policies on cookies and privacy; 1 with lorem ipsum."""
    return float(policies(document))


@signal(low=3, high=10)
def mean_word_length(document: Document) -> float:
    """Characters per word."""
    characters = 0
    for size in document.words.characters:
        characters += size
    count = len(document.words.starts)
    return characters / count if count > 0 else math.nan


@signal(high=1000)
def long_word(document: Document) -> float:
    """Characters of the longest word."""
    longest = 0
    for size in document.words.characters:
        longest = max(longest, size)
    return float(longest) if len(document.words.starts) > 0 else math.nan


@signal(low=50, high=100_000)
def word_count(document: Document) -> float:
    """Words."""
    return float(len(document.words.starts))


@borrowing
def _ends_sentence(byte: int) -> bool:
    return bool(byte == 46 or byte == 63 or byte == 33 or byte == 34 or byte == 39)


@signal(high=0.85)
def punctuation(document: Document) -> float:
    """Share of lines that do not end with . ? ! " or '."""
    text, lines = document.text, document.lines
    count, found = 0, 0
    for line in range(len(lines.starts)):
        start = skip_space(text, lines.starts[line], lines.ends[line])
        end = skip_space_back(text, start, lines.ends[line])
        count += start < end
        found += start < end and not _ends_sentence(text[end - 1])
    return found / count if count > 0 else math.nan


_ENDINGS, _ENDING_ENDS = _joined([mark.encode() for mark in (*_MARKS, "read more..", "read more")])


@borrowing
def _ends_with_mark(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch ends with an ellipsis in any of its spellings."""
    found = False
    for mark in range(len(_ENDING_ENDS) - 1):
        ending = _ENDINGS[_ENDING_ENDS[mark] : _ENDING_ENDS[mark + 1]]
        if letter_start(text, start, end, int(ending[len(ending) - 1])) >= 0:
            found |= phrase_start(text, start, end, ending) >= 0
    return found


@signal(high=0.3)
def ellipsis(document: Document) -> float:
    """Share of lines that end with an ellipsis, "-»" or "read more"."""
    text, lines = document.text, document.lines
    count, found = 0, 0
    for line in range(len(lines.starts)):
        start = skip_space(text, lines.starts[line], lines.ends[line])
        end = skip_space_back(text, start, lines.ends[line])
        count += start < end
        found += start < end and _ends_with_mark(text, start, end)
    return found / count if count > 0 else math.nan


_COMMON = tuple(
    hash_word(word) for word in (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")
)


@signal(low=2)
def common_english_words(document: Document) -> float:
    """How often the, be, to, of, and, that, have, with occur in all, counted up to 2."""
    count = 0
    for hashed in document.words.hashes:
        for place in range(len(_COMMON)):
            count += hashed == _COMMON[place]
        if count == 2:
            return 2.0
    return float(count)


@borrowing
def _is_alphabetic(text: Bytes, start: int, end: int) -> bool:
    found = False
    for at in range(start, end):
        if starts_character(text[at]):
            found |= entry(code_point(text, at, end)) & ALPHABETIC != 0
    return found


@signal(low=0.8)
def words_without_alphabets(document: Document) -> float:
    """Share of words WITH an alphabetic character, vowel signs and the like among them."""
    words, found = document.words, 0
    for word in range(len(words.starts)):
        traits = document.traits[word]
        if traits == WIDE:  # no letter, but maybe a vowel sign
            found += _is_alphabetic(document.text, words.starts[word], words.ends[word])
        found += (traits & LETTER) != 0
    return found / len(words.starts) if len(words.starts) > 0 else math.nan


_BULLETS = tuple(ord(bullet) for bullet in "•‣⁃⁌⁍∙○●◘◦⦾⦿")


@signal(high=0.9)
def bullets(document: Document) -> float:
    """Share of lines that begin with one of 12 bullets; "-" and "*" are none."""
    text, lines = document.text, document.lines
    count, found = 0, 0
    for line in range(len(lines.starts)):
        start = skip_space(text, lines.starts[line], lines.ends[line])
        count += start < lines.ends[line]
        if start < lines.ends[line] and text[start] == 0xE2:
            code = code_point(text, start, lines.ends[line])
            for place in range(len(_BULLETS)):
                found += code == _BULLETS[place]
    return found / count if count > 0 else math.nan


@signal(high=0)
def pornographic_urls(document: Document) -> float:
    """1 if a URL has "porn" in it, else 0."""
    text, found, at = document.text, False, _next_url(document.text, 0)
    while at < len(text):
        end = _url_end(text, at)
        for place in range(at, end - 3):
            if text[place] == 112 and text[place + 1] == 111:  # po
                found |= text[place + 2] == 114 and text[place + 3] == 110  # rn
        at = _next_url(text, end)
    return 1.0 if found else 0.0
