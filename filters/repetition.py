"""Gopher repetition rules: Rae et al. 2021, arXiv:2112.11446, table A1.

Dialect: the paper. Words are what white space separates, and n-grams are equal if their words are.
Lines are what newlines separate, paragraphs what two newlines or more do; both as datatrove 0.10.1
cuts them. Characters are shares of all characters of the text. All bounds are the paper's and
inclusive: it removes what exceeds them.
"""

import math

from curate.column import Hashes, Offsets
from curate.hashing import clear, first_seen
from curate.kernel import Document, borrowing
from curate.ngrams import characters_said_again, gram_characters, top_gram
from curate.signal import signal


@borrowing
def _duplicates(hashes: Hashes, sizes: Offsets, keys: Hashes, slots: Offsets) -> tuple[int, int]:
    """How many pieces occurred before, and how many characters these have."""
    mask = clear(slots, len(hashes))
    pieces, characters = 0, 0
    for piece in range(len(hashes)):
        keys[piece] = hashes[piece]
        if first_seen(keys, piece, slots, mask) != piece:
            pieces += 1
            characters += sizes[piece]
    return pieces, characters


@signal(high=0.3)
def duplicate_paragraphs(document: Document) -> float:
    """Share of paragraphs that occurred before; undefined in an empty text."""
    if document.characters == 0:
        return math.nan
    pieces = document.paragraphs
    found, _ = _duplicates(pieces.hashes, pieces.characters, document.keys, document.slots)
    return found / len(pieces.hashes)


@signal(high=0.2)
def duplicate_paragraph_characters(document: Document) -> float:
    """Share of characters in paragraphs that occurred before; undefined in an empty text."""
    if document.characters == 0:
        return math.nan
    pieces = document.paragraphs
    _, found = _duplicates(pieces.hashes, pieces.characters, document.keys, document.slots)
    return found / document.characters


@signal(high=0.3)
def duplicate_lines(document: Document) -> float:
    """Share of lines that occurred before; blank lines between others do not count."""
    if document.characters == 0:
        return math.nan
    hashes, sizes = document.lines.hashes, document.lines.characters
    last = len(hashes) - 1
    found, _ = _duplicates(hashes, sizes, document.keys, document.slots)
    empty = 0
    for line in range(last + 1):
        empty += int(sizes[line] == 0)
    # Cut at runs of newlines, a text has an empty line only before its first or after its last.
    ends = int(sizes[0] == 0) + int(last > 0 and sizes[last] == 0)
    found -= max(empty - 1, 0) - max(ends - 1, 0)
    return float(found / (last + 1 - empty + ends))


@signal(high=0.2)
def duplicate_line_characters(document: Document) -> float:
    """Share of characters in lines that occurred before; undefined in an empty text."""
    if document.characters == 0:
        return math.nan
    pieces = document.lines
    _, found = _duplicates(pieces.hashes, pieces.characters, document.keys, document.slots)
    return found / document.characters


@borrowing
def _top_share(document: Document, size: int) -> float:
    if document.characters == 0:
        return math.nan
    if len(document.words.hashes) < size:
        return 0.0
    word, count = top_gram(document, size)
    # The words of an n-gram are joined by one space.
    length = gram_characters(document.words.characters, word, size) + size - 1
    return length * count / document.characters


@signal(high=0.20)
def top_2gram(document: Document) -> float:
    """Share of characters in the most frequent pair of words, even if it occurs only once."""
    return _top_share(document, 2)


@signal(high=0.18)
def top_3gram(document: Document) -> float:
    """Share of characters in the most frequent three words, even if they occur only once."""
    return _top_share(document, 3)


@signal(high=0.16)
def top_4gram(document: Document) -> float:
    """Share of characters in the most frequent four words, even if they occur only once."""
    return _top_share(document, 4)


@borrowing
def _duplicate_share(document: Document, size: int) -> float:
    """Share of characters in n-grams that occurred before, each word counted once.

    As in datatrove, reading goes on behind an n-gram that occurred before, and what begins inside
    it is not remembered. Spaces do not count.
    """
    if document.characters == 0:
        return math.nan
    return characters_said_again(document, size) / document.characters


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
