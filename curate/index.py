"""Where words, lines and paragraphs of texts lie: cut once, shared by all signals.

Words are those that white space separates, or those that somebody else has found: curate/words.py.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Offsets, View, frozen
from curate.eight import HIGH, ONES, below, eight, first, letters, same, zeros
from curate.hashing import SEED, clear, first_seen, hash_bytes, join, mix
from curate.kernel import LETTER, WIDE, Grams, Index, Spans, borrowing, helper
from curate.utf8 import (
    breaks,
    characters,
    code_point,
    ends_with_break,
    is_letter,
    may_be_space,
    skip_space,
    skip_space_back,
    space_size,
    starts_character,
)

# Unsigned, so that what they point at is not tested for being counted from the end.
Places = NDArray[np.uint32]

LONGEST_REPEAT = 10  # words; Gopher looks at n-grams of up to ten


@borrowing
def _spaces(found: np.uint64) -> np.uint64:
    """The mask of the bytes with which white space may begin, and of some others.

    In UTF-8 it begins with a byte up to 32, with C2, or with E1, E2 or E3; E0 is taken with them.
    """
    narrow = below(found, np.uint64(33))
    return np.uint64(narrow | (same(found, np.uint64(0xC2)) | zeros(found & _FC ^ _E0)) & found)


_FC, _E0 = np.uint64(0xFC) * ONES, np.uint64(0xE0) * ONES


@helper
def _room(view: View) -> tuple[int, int, int]:
    """At most how many words there are, how many newlines, and the most of both in one text.

    Counting first costs 0.5 ns a byte and spares arrays ten times as large as the text.
    """
    words, newlines, longest = 0, 0, 0
    for row in range(len(view.offsets) - 1):
        before = words + newlines
        for byte in view.data[view.offsets[row] : view.offsets[row + 1]]:
            words += may_be_space(byte)
            newlines += byte == 10
        words += 1
        longest = max(longest, words + newlines - before)
    return words, newlines, longest


@borrowing
def _word_end(text: Bytes, at: int, end: int) -> tuple[int, np.uint64, np.uint64]:
    """Where the word that is here ends; its bytes that are not ASCII, and its ASCII letters."""
    wide, lettered, inside = np.uint64(0), np.uint64(0), True
    while inside and at < end:
        size, found = min(end - at, 8), np.uint64(0)
        if at + 8 <= len(text):
            found = eight(text, at)
        else:
            for place in range(size):
                found |= np.uint64(text[at + place]) << np.uint64(8 * place)
        spaces = _spaces(found)
        if spaces != 0:
            size = min(size, first(spaces))
        if size > 0:  # a shift by 64 would be none
            found <<= np.uint64(64 - 8 * size)
            wide |= found & HIGH
            lettered |= letters(found)
            at += size
        if spaces != 0 and at < end:
            inside = space_size(text, at, end) == 0
            wide |= np.uint64(inside) * HIGH & np.uint64(text[at])
            at += inside
    return at, wide, lettered


@borrowing
def _has_letter(text: Bytes, start: int, end: int) -> bool:
    found = False
    for at in range(start, end):
        if not found and starts_character(text[at]):
            found = is_letter(code_point(text, at, end))
    return found


@borrowing
def _traits(text: Bytes, start: int, end: int) -> int:
    """LETTER and WIDE of a word."""
    wide, letter = 0, 0
    for at in range(start, end):
        byte = text[at]
        wide |= byte
        letter |= 97 <= (byte | 32) <= 122
    if wide < 0x80:
        return LETTER * letter
    return WIDE | LETTER * (letter or _has_letter(text, start, end))


@borrowing
def _enter_gap(text: Bytes, gap: tuple[int, int], index: Index, place: tuple[int, int]) -> None:
    """Count the line breaks before a word, which begins a line if there are any or it is first."""
    word, row = place
    broken = breaks(text, gap[0], gap[1])
    index.rows[row] += broken
    if broken > 0 or word == index.word_offsets[row]:
        index.heads[index.head_offsets[row + 1]] = word - index.word_offsets[row]
        index.head_offsets[row + 1] += 1


@borrowing
def _enter_rows(text: Bytes, behind: int, index: Index, row: int) -> None:
    """Count the line breaks behind the last word, and the line that none of them ends."""
    unbroken = len(text) > 0 and not ends_with_break(text)
    index.rows[row] += breaks(text, behind, len(text)) + unbroken


@helper
def _cut_words(text: Bytes, index: Index, count: int, row: int) -> int:
    """Write the words of a text behind those there are, and return how many there are then."""
    words, behind, end = index.words, 0, len(text)
    index.rows[row], index.head_offsets[row + 1] = 0, index.head_offsets[row]
    at = skip_space(text, 0, end)
    while at < end:
        start = at
        at, wide, lettered = _word_end(text, start, end)
        words.starts[count] = start
        words.ends[count] = at
        words.characters[count] = at - start
        traits = LETTER if lettered != 0 else 0
        if wide != 0:
            words.characters[count] = characters(text, start, at)
            traits = WIDE | LETTER * (lettered != 0 or _has_letter(text, start, at))
        words.hashes[count] = hash_bytes(text, start, at)
        index.traits[count] = traits
        if behind == 0 or start != behind + 1 or text[behind] != 32:
            _enter_gap(text, (behind, start), index, (count, row))
        count += 1
        behind = at
        at += 1
        if at < end and (text[behind] != 32 or text[at] <= 32 or text[at] >= 0x80):
            at = skip_space(text, behind, end)
    _enter_rows(text, behind, index, row)
    return count


@borrowing
def _add(text: Bytes, lines: Spans, count: int, start: int, end: int) -> int:
    lines.starts[count] = start
    lines.ends[count] = end
    lines.characters[count] = characters(text, start, end)
    lines.hashes[count] = hash_bytes(text, start, end)
    return count + 1


@helper
def _cut_lines(text: Bytes, lines: Spans, count: int) -> int:
    start = 0
    for at in range(len(text)):
        if text[at] == 10:
            count = _add(text, lines, count, start, at)
            start = at + 1
    return _add(text, lines, count, start, len(text))


@borrowing
def _extend(paragraphs: Spans, count: int, line: tuple[int, int, int, np.uint64]) -> None:
    """Put one more line behind the last paragraph."""
    start, end, size, hashed = line
    if paragraphs.characters[count] < 0:
        paragraphs.starts[count] = start
        paragraphs.hashes[count] = SEED
    paragraphs.ends[count] = end
    paragraphs.characters[count] += size + 1
    paragraphs.hashes[count] = join(paragraphs.hashes[count], hashed)


@helper
def _cut_paragraphs(text: Bytes, lines: Spans, paragraphs: Spans, count: int) -> int:
    """Paragraphs put together out of lines, which need not be read again; an empty line parts.

    Of the first and the last line, only what is left of the stripped text belongs to them.
    """
    start = skip_space(text, 0, len(text))
    end = skip_space_back(text, start, len(text))
    paragraphs.characters[count] = -1
    for line in range(len(lines.starts)):
        first, last = lines.starts[line], lines.ends[line]
        if last <= start or first >= end:
            continue
        if first == last:
            count += paragraphs.characters[count] >= 0
            paragraphs.characters[count] = -1
            continue
        size, hashed = lines.characters[line], lines.hashes[line]
        if first < start or last > end:
            first, last = max(first, start), min(last, end)
            size, hashed = characters(text, first, last), hash_bytes(text, first, last)
        _extend(paragraphs, count, (first, last, size, hashed))
    if start == end:
        _extend(paragraphs, count, (start, end, 0, SEED))
    return count + 1


@helper
def _keep_repeated(places: Places, count: int, repeats: Bytes, size: int) -> int:
    """Keep the places from which `size` words and, one word later, `size` words are repeated."""
    kept = 0
    for item in range(count):
        place = places[item]
        if repeats[place] == size and place + 1 < len(repeats) and repeats[place + 1] == size:
            places[kept] = place
            kept += 1
    return kept


@borrowing
def _list_grams(grams: Grams, at: int, found: tuple[Places, Offsets, int], repeats: Bytes) -> int:
    """Write which of these places begin an n-gram that is repeated; return where the list ends."""
    places, ids, size = found
    for item in range(len(places)):
        place = places[item]
        if repeats[place] == size:
            grams.places[at] = place
            grams.firsts[at] = ids[place]
            at += 1
    return at


@helper
def _find_repeats(
    hashes: Hashes,
    repeats: Bytes,
    grams: Grams,
    keys: Hashes,
    scratch: tuple[Offsets, Offsets, Places],
) -> None:
    """Write the size of the longest repetition at each word, growing repetitions word by word.

    n words are repeated only where two overlapping n - 1 are. On real pages 63 % of words remain
    after the first round, 20 % after the second, 8 % after the third and 2 % after the tenth.
    """
    slots, ids, places = scratch
    for place in range(len(hashes)):
        keys[place] = hashes[place]
        places[place] = place
        repeats[place] = 0
    count, listed = len(hashes), grams.ends[0]
    for size in range(1, LONGEST_REPEAT + 1):
        mask = clear(slots, count)
        for item in range(count):
            place = places[item]
            first = first_seen(keys, place, slots, mask)
            ids[place] = first
            if first != place:
                repeats[first] = size
                repeats[place] = size
        if size > 1:
            listed = _list_grams(grams, listed, (places[:count], ids, size), repeats)
        grams.ends[size] = listed
        count = _keep_repeated(places, count, repeats, size)
        for item in range(count):
            place = places[item]
            pair = np.uint64(ids[place]) << np.uint64(32) | np.uint64(ids[place + 1])
            keys[place] = mix(pair)


@helper
def _measure_words(text: Bytes, index: Index, count: int, row: int) -> int:
    """Write what the words of a text are that have their places; return how many there are then."""
    behind, last = 0, index.word_offsets[row + 1]
    starts, ends, sizes, hashes = index.words
    traits = index.traits
    index.rows[row], index.head_offsets[row + 1] = 0, index.head_offsets[row]
    for word in range(count, last):
        start, end = starts[word], ends[word]
        traits[word] = _traits(text, start, end)
        wide = traits[word] & WIDE != 0
        sizes[word] = characters(text, start, end) if wide else end - start
        hashes[word] = hash_bytes(text, start, end)
        # Most words follow the one before them at once, or behind a space.
        if behind == 0 or start > behind + 1 or (start > behind and text[behind] != 32):
            _enter_gap(text, (behind, start), index, (word, row))
        behind = end
    _enter_rows(text, behind, index, row)
    return int(last)


@helper
def _cut(index: Index, places: Places, known: bool) -> None:
    """Fill an index whose arrays are long enough; `known` says whether words have their places."""
    data, offsets = index.text
    word, line, paragraph = 0, 0, 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        index.characters[row] = characters(text, 0, len(text))
        first_word, first_line = word, line
        if known:
            word = _measure_words(text, index, word, row)
        else:
            word = _cut_words(text, index, word, row)
        line = _cut_lines(text, index.lines, line)
        own = Spans(
            index.lines.starts[first_line:line],
            index.lines.ends[first_line:line],
            index.lines.characters[first_line:line],
            index.lines.hashes[first_line:line],
        )
        paragraph = _cut_paragraphs(text, own, index.paragraphs, paragraph)
        index.word_offsets[row + 1] = word
        index.line_offsets[row + 1] = line
        index.paragraph_offsets[row + 1] = paragraph
        ends = index.grams.ends[11 * row : 11 * row + 11]
        ends[0] = index.grams.ends[11 * row - 1] if row > 0 else 0
        _find_repeats(
            index.words.hashes[first_word:word],
            index.repeats[first_word:word],
            Grams(index.grams.places, index.grams.firsts, ends),
            index.keys,
            (index.slots, index.counts, places),
        )


def _spans(count: int) -> Spans:
    starts, ends, sizes = (np.empty(count, np.int32) for _ in range(3))
    return Spans(starts, ends, sizes, np.empty(count, np.uint64))


def _trimmed(spans: Spans, offsets: Offsets) -> Spans:
    return Spans(*(frozen(array[: offsets[-1]]) for array in spans))


class WordPlaces(NamedTuple):
    """Where words lie in the bytes of their texts: those of row i from offsets[i] on."""

    starts: Offsets
    ends: Offsets
    offsets: Offsets


def index(text: View, words: WordPlaces | None = None) -> Index:
    """The index of a column of texts; words are what white space separates, or those given."""
    count, newlines, longest = _room(text)
    rows = len(text.offsets) - 1
    lines = newlines + rows
    if words is not None:
        longest += int(np.max(np.diff(words.offsets), initial=0))
        count = len(words.starts)
    filled = Index(
        text=text,
        characters=np.zeros(rows, np.int32),
        words=_spans(count),
        word_offsets=np.zeros(rows + 1, np.int32),
        lines=_spans(lines),
        line_offsets=np.zeros(rows + 1, np.int32),
        paragraphs=_spans(lines),
        paragraph_offsets=np.zeros(rows + 1, np.int32),
        repeats=np.empty(count, np.uint8),
        # As long as if everything were repeated; pages that are not written to cost nothing.
        grams=Grams(
            np.empty(9 * count, np.int32),
            np.empty(9 * count, np.int32),
            np.zeros((LONGEST_REPEAT + 1) * rows, np.int32),
        ),
        rows=np.zeros(rows, np.int32),
        heads=np.empty(count, np.int32),
        head_offsets=np.zeros(rows + 1, np.int32),
        traits=np.empty(count, np.uint8),
        slots=np.empty(4 * max(longest, 1), np.int32),
        counts=np.empty(longest, np.int32),
        keys=np.empty(longest, np.uint64),
    )
    if words is not None:
        filled.words.starts[:] = words.starts
        filled.words.ends[:] = words.ends
        filled.word_offsets[:] = words.offsets
    _cut(filled, np.empty(longest, np.uint32), words is not None)
    return filled._replace(
        characters=frozen(filled.characters),
        words=_trimmed(filled.words, filled.word_offsets),
        word_offsets=frozen(filled.word_offsets),
        lines=_trimmed(filled.lines, filled.line_offsets),
        line_offsets=frozen(filled.line_offsets),
        paragraphs=_trimmed(filled.paragraphs, filled.paragraph_offsets),
        paragraph_offsets=frozen(filled.paragraph_offsets),
        repeats=frozen(filled.repeats[: filled.word_offsets[-1]]),
        grams=Grams(*(frozen(array) for array in filled.grams)),
        rows=frozen(filled.rows),
        heads=frozen(filled.heads[: filled.head_offsets[-1]]),
        head_offsets=frozen(filled.head_offsets),
        traits=frozen(filled.traits[: filled.word_offsets[-1]]),
    )
