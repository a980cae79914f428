"""Words as Unicode cuts them: UAX #29, word boundaries WB1 to WB999, without any tailoring.

A word is a segment between boundaries with a letter or digit in it. An ideograph and a hiragana
are a word each, katakana run together. Thai, Lao, Khmer and Myanmar are written without spaces;
UAX #29 leaves their words to dictionaries, and gives each letter with the marks on it a segment.
So it is here: a word of these scripts is a written cluster, 2 to 4 of which make a spoken word.
Nothing then depends on a dictionary, and n-grams still find what is repeated.
"""

from typing import Any

import numpy as np

from curate.column import Bytes, Offsets, View, view
from curate.index import WordPlaces, index
from curate.kernel import Index, borrowing, helper
from curate.schema import Batch
from curate.utf8 import code_point
from curate.word_break import ALPHABETIC, ALPHANUMERIC, KINDS, NUMERIC, PICTOGRAPHIC, entry

_OTHER, _CR, _LF, _NEWLINE, _EXTEND, _ZWJ, _FORMAT, _REGIONAL = range(8)
_KATAKANA, _HEBREW, _LETTER, _SINGLE, _DOUBLE, _MID_BOTH, _MID_LETTER = range(8, 15)
_MID_NUMBER, _NUMBER, _EXTENDER, _SPACE = range(15, 19)
_SECOND_REGIONAL = 19  # the second of a pair of regional indicators: no third joins it
_NOTHING = 20  # before the first character

Places = tuple[Offsets, Offsets]  # starts and ends, with room


def _joins() -> Any:
    """Which kinds follow which without a boundary: WB3, 3d, 5, 8-10, 13-13b, 15, 16."""
    letters, numbers = [_LETTER, _HEBREW], [_NUMBER]
    table = np.zeros((21, len(KINDS)), np.bool_)
    table[_CR, _LF] = table[_SPACE, _SPACE] = table[_KATAKANA, _KATAKANA] = True
    table[_REGIONAL, _REGIONAL] = True
    for before in (*letters, *numbers, _EXTENDER):
        table[before, [*letters, *numbers, _EXTENDER]] = True
    table[_KATAKANA, _EXTENDER] = table[_EXTENDER, _KATAKANA] = True
    return table


def _bridges() -> Any:
    """Which kinds are joined by which kind between them: WB6, 7, 7b, 7c, 11, 12."""
    table = np.zeros((21, len(KINDS), len(KINDS)), np.bool_)
    for before in (_LETTER, _HEBREW):
        for middle in (_MID_LETTER, _MID_BOTH, _SINGLE):
            table[before, middle, [_LETTER, _HEBREW]] = True
    for middle in (_MID_NUMBER, _MID_BOTH, _SINGLE):
        table[_NUMBER, middle, _NUMBER] = True
    table[_HEBREW, _DOUBLE, _HEBREW] = True
    return table


_JOINS, _BRIDGES = _joins(), _bridges()
_MAY_BRIDGE = _BRIDGES.any(axis=2)
_ENTRIES = np.array([entry(code) if code < 128 else 0 for code in range(256)], np.int64)
_IS_PLAIN = np.isin(_ENTRIES >> 8, (_LETTER, _NUMBER, _EXTENDER))


@borrowing
def _piece(text: Bytes, at: int, end: int, by_first: bool) -> tuple[int, int, int, int]:
    """The next character, or run of ASCII letters and digits, which always join.

    Kind << 8 | properties of the first character, properties of those that count besides the first
    of a word, kind of the last, and where the piece ends.
    """
    byte = text[np.uint64(at)]
    if byte < 0x80:
        one = _ENTRIES[byte]
        found = one
        at += 1
        if _IS_PLAIN[byte]:
            while at < end and _IS_PLAIN[text[np.uint64(at)]]:
                found |= _ENTRIES[text[np.uint64(at)]]
                at += 1
        return one, 0 if by_first else found & 0xFF, _ENTRIES[text[np.uint64(at - 1)]] >> 8, at
    code = code_point(text, at, end)
    if code < 0x80:
        return 0, 0, 0, at + 1
    one = entry(code)
    size = 2 + (code >= 0x800) + (code >= 0x10000)
    return one, 0 if by_first else one & 0xFF, one >> 8, at + size


@borrowing
def _is_mark(kind: int, before: int) -> bool:
    """Whether this kind belongs to the character before it (WB4)."""
    return _EXTEND <= kind <= _FORMAT and before != _NOTHING and not _CR <= before <= _NEWLINE


@borrowing
def _joined(before: int, joiner: bool, bare: bool, one: int) -> bool:
    """Whether no boundary parts this character from the one before."""
    if joiner and one & PICTOGRAPHIC:  # WB3c
        return True
    return bool(_JOINS[before, one >> 8]) and (bare or before != _SPACE)


@borrowing
def _close(places: Places, count: int, start: int, end: int, is_word: int) -> int:
    """Write a segment that ends here, if it is a word; how many words there are then."""
    places[0][count] = start
    places[1][count] = end
    return count + (is_word != 0)


@helper
def _cut(text: Bytes, places: Places, count: int, by_first: bool) -> int:
    """Write the words of a text behind those there are; return how many there are then.

    A character that may join letters or digits is held until the next one tells, so that a text is
    read once, however many marks there are.
    """
    wanted = ALPHANUMERIC if by_first else ALPHABETIC | NUMERIC
    end, at = len(text), 0
    start, found = 0, 0  # the segment: where it begins, properties that make it a word
    before, joiner, bare = _NOTHING, False, False  # its last kind; ends with ZWJ; without marks
    held, later, left = -1, 0, _NOTHING  # held: where, properties from there on, kind before it
    while at < end:
        here = at
        one, more, last, at = _piece(text, at, end, by_first)
        kind = one >> 8
        if _is_mark(kind, before):
            joiner, bare = kind == _ZWJ, False
            found |= more * (held < 0)
            later |= more * (held >= 0)
            continue
        bridged = False
        if held >= 0:
            bridged = bool(_BRIDGES[left, before, kind])
            if not (bridged or (left == _HEBREW and before == _SINGLE)):  # WB7a
                count = _close(places, count, start, held, found & wanted)
                start, found = held, 0
            found, held = found | later, -1
        paired = before == _REGIONAL and kind == _REGIONAL
        if bridged or _joined(before, joiner, bare, one):
            found |= more
        elif _MAY_BRIDGE[before, kind]:
            held, later, left = here, one | more, before
        else:
            count = _close(places, count, start, here, found & wanted)
            start, found = here, one | more
        before, joiner, bare = _SECOND_REGIONAL if paired else last, kind == _ZWJ, True
    if held >= 0 and not (left == _HEBREW and before == _SINGLE):
        count = _close(places, count, start, held, found & wanted)
        start, found = held, 0
    return _close(places, count, start, end, (found | later * (held >= 0)) & wanted)


_SEPARATORS = np.isin(np.arange(256), list(b" \n\r\t\v\f\0"))


@borrowing
def fasttext_word_count(text: Bytes) -> int:
    """Tokens of `fasttext`, parted by ASCII space and NUL, that begin with a letter or digit."""
    words, inside, end = 0, False, len(text)
    for at in range(end):
        separator = _SEPARATORS[text[at]]
        if not separator and not inside:
            words += entry(code_point(text, at, end)) & ALPHANUMERIC
        inside = not separator
    return words


@helper
def _cut_all(text: View, places: Places, offsets: Offsets, by_first: bool) -> None:
    for row in range(len(offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        offsets[row + 1] = _cut(own, places, offsets[row], by_first)


def word_places(text: View, by_first: bool = False) -> WordPlaces:
    """Where the words of texts are: segments with a letter or digit, or that begin with one."""
    # A word has a byte at least. What is not written to is not taken from memory.
    most = int(text.offsets[-1]) - int(text.offsets[0]) + 1
    places = np.empty(most, np.int32), np.empty(most, np.int32)
    offsets = np.zeros(len(text.offsets), np.int32)
    _cut_all(text, places, offsets, by_first)
    return WordPlaces(places[0][: offsets[-1]], places[1][: offsets[-1]], offsets)


def unicode(batch: Batch, column: str) -> Index:
    """Segments with a letter or digit, as Rust's `unicode_words` finds them."""
    texts = view(batch.column(column))
    return index(texts, word_places(texts))


def unicode_alphanumeric(batch: Batch, column: str) -> Index:
    """Segments whose first character is a letter or digit, as DCLM takes them from `uniseg`."""
    texts = view(batch.column(column))
    return index(texts, word_places(texts, by_first=True))
