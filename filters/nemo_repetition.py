"""NeMo Curator's filters of repetition: version 1.4, stages/text/filters/heuristic/repetition.

Dialect: words are what white space separates (not reproduced: jieba's for Chinese, MeCab's for
Japanese). Lines are what newlines separate, blank ones left out; paragraphs what two newlines do.
Numbers are those of `score_document`, undefined where it fails; texts with fewer words than an
n-gram score 1. Bounds are those of its English configuration, and inclusive as there.

Of several n-grams that are the most frequent, NeMo takes one that depends on the seed of Python's
hashes (PYTHONHASHSEED); here it is the first.
"""

import math

from curate.hashing import SEED, clear, first_seen, join
from curate.kernel import Document, borrowing
from curate.ngrams import gram, gram_characters, room_for_repeated, top_gram
from curate.signal import signal
from curate.utf8 import skip_space


@borrowing
def _lines(document: Document) -> tuple[int, int, int, int]:
    """How many lines there are, and different ones, and the characters of either."""
    lines, keys = document.lines, document.keys
    mask = clear(document.slots, len(lines.starts))
    count, different, characters, own = 0, 0, 0, 0
    for line in range(len(lines.starts)):
        end = lines.ends[line]
        if skip_space(document.text, lines.starts[line], end) == end:
            continue
        keys[line] = lines.hashes[line]
        is_first = first_seen(keys, line, document.slots, mask) == line
        count += 1
        characters += lines.characters[line]
        different += is_first
        own += lines.characters[line] * is_first
    return count, different, characters, own


@borrowing
def _paragraphs(document: Document) -> tuple[int, int, int, int]:
    """How many paragraphs there are, and different ones, and the characters of either.

    Two newlines end one, that is an empty line with another behind it.
    """
    lines, keys, last = document.lines, document.keys, len(document.lines.starts) - 1
    mask = clear(document.slots, last + 1)
    count, different, characters, own, line = 0, 0, 0, 0, 0
    while line <= last:
        hashed, size = join(SEED, lines.hashes[line]), lines.characters[line]
        line += 1
        while line <= last and (line == last or lines.starts[line] < lines.ends[line]):
            hashed = join(hashed, lines.hashes[line])
            size += lines.characters[line] + 1
            line += 1
        keys[count] = hashed
        is_first = first_seen(keys, count, document.slots, mask) == count
        count += 1
        characters += size
        different += is_first
        own += size * is_first
        line += 1
    return count, different, characters, own


@signal(low=0.7)
def repeated_lines(document: Document) -> float:
    """Different lines per line."""
    count, different, _, _ = _lines(document)
    return different / count if count > 0 else math.nan


@signal(low=0.7)
def repeated_paragraphs(document: Document) -> float:
    """Different paragraphs per paragraph."""
    count, different, _, _ = _paragraphs(document)
    return different / count


@signal(low=0.8)
def repeated_line_characters(document: Document) -> float:
    """Characters of different lines per character of lines (RepeatedLinesByCharFilter)."""
    _, _, characters, own = _lines(document)
    return own / characters if characters > 0 else math.nan


@signal(low=0.8)
def repeated_paragraph_characters(document: Document) -> float:
    """Characters of different paragraphs per character (RepeatedParagraphsByCharFilter)."""
    _, _, characters, own = _paragraphs(document)
    return own / characters if characters > 0 else math.nan


@borrowing
def _is_parted(document: Document, word: int, size: int) -> bool:
    """Whether one space and nothing else parts so many words from here on."""
    text, words = document.text, document.words
    for place in range(word, word + size - 1):
        at = words.ends[place]
        if words.starts[place + 1] != at + 1 or text[at] != 32:
            return False
    return True


@borrowing
def _ends_alike(document: Document, word: int, top: int) -> bool:
    """Whether this word ends with that one."""
    text, words = document.text, document.words
    at, place = words.ends[word], words.ends[top]
    if at - words.starts[word] < place - words.starts[top]:
        return False
    while place > words.starts[top] and text[at - 1] == text[place - 1]:
        at -= 1
        place -= 1
    return bool(place == words.starts[top])


@borrowing
def _begins_alike(document: Document, word: int, top: int) -> bool:
    """Whether this word begins with that one."""
    text, words = document.text, document.words
    at, place = words.starts[word], words.starts[top]
    if words.ends[word] - at < words.ends[top] - place:
        return False
    while place < words.ends[top] and text[at] == text[place]:
        at += 1
        place += 1
    return bool(place == words.ends[top])


@borrowing
def _holds(document: Document, word: int, top: int, size: int) -> bool:
    """Whether the n-gram from `top` lies in the words from here, its first word at an end."""
    if not _ends_alike(document, word, top) or not _is_parted(document, word, size):
        return False
    hashes = document.words.hashes
    for place in range(1, size - 1):
        if hashes[word + place] != hashes[top + place]:
            return False
    return _begins_alike(document, word + size - 1, top + size - 1)


@borrowing
def _removed(document: Document, top: int, size: int) -> int:
    """How often `str.replace` finds the words from `top`, joined by one space, in the text.

    It looks for letters, so the first may be the end of a longer word, and the last the beginning
    of one; those between are whole words. No place is compared with more than its own word, so
    this is linear in the length of the text.
    """
    text, words = document.text, document.words
    first = words.ends[top] - words.starts[top]
    before, behind = text[words.ends[top] - 1], text[words.starts[top + size - 1]]
    length = size - 1
    for place in range(top, top + size):
        length += words.ends[place] - words.starts[place]
    found, free = 0, 0
    for word in range(len(words.starts) - size + 1):
        end = words.ends[word]
        if text[end - 1] != before or text[words.starts[word + size - 1]] != behind:
            continue
        if end - first >= free and _holds(document, word, top, size):
            found += 1
            free = end - first + length
    return int(found)


@borrowing
def _top_share(document: Document, size: int) -> float:
    if len(document.words.starts) < size:
        return 1.0
    top, _ = top_gram(document, size)
    characters = gram_characters(document.words.characters, top, size) + size - 1
    removed: int = _removed(document, top, size)
    return removed * characters / document.characters


@signal(high=0.20)
def top_2gram(document: Document) -> float:
    """Share of characters that go with the most frequent pair of words, found as letters."""
    return _top_share(document, 2)


@signal(high=0.18)
def top_3gram(document: Document) -> float:
    """Share of characters that go with the most frequent three words, found as letters."""
    return _top_share(document, 3)


@signal(high=0.16)
def top_4gram(document: Document) -> float:
    """Share of characters that go with the most frequent four words, found as letters."""
    return _top_share(document, 4)


@borrowing
def _duplicate_share(document: Document, size: int) -> float:
    """Share of characters in n-grams that occurred before, each word and space counted once."""
    words, keys, repeats = document.words, document.keys, document.repeats
    if len(repeats) < size:
        return 1.0
    mask = room_for_repeated(document, size)
    if mask < 0:
        return 0.0
    found, overlap = 0, 0
    for word in range(len(repeats) - size + 1):
        if repeats[word] >= size:
            keys[word] = gram(words.hashes, word, size)
            if first_seen(keys, word, document.slots, mask) != word:
                found += gram_characters(words.characters, word + overlap, size - overlap)
                found += min(size - overlap, size - 1)
                overlap = size
        overlap = max(overlap - 1, 0)
    return found / document.characters


@signal(high=0.15)
def duplicate_5grams(document: Document) -> float:
    """Share of characters in five words that occurred before together."""
    return _duplicate_share(document, 5)


@signal(high=0.14)
def duplicate_6grams(document: Document) -> float:
    """Share of characters in six words that occurred before together."""
    return _duplicate_share(document, 6)


@signal(high=0.13)
def duplicate_7grams(document: Document) -> float:
    """Share of characters in seven words that occurred before together."""
    return _duplicate_share(document, 7)


@signal(high=0.12)
def duplicate_8grams(document: Document) -> float:
    """Share of characters in eight words that occurred before together."""
    return _duplicate_share(document, 8)


@signal(high=0.11)
def duplicate_9grams(document: Document) -> float:
    """Share of characters in nine words that occurred before together."""
    return _duplicate_share(document, 9)


@signal(high=0.10)
def duplicate_10grams(document: Document) -> float:
    """Share of characters in ten words that occurred before together."""
    return _duplicate_share(document, 10)
