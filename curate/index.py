"""Where words, lines and paragraphs of texts lie: cut once, shared by all signals."""

import numpy as np

from curate.column import Bytes, Hashes, Offsets, View, frozen
from curate.hashing import SEED, clear, first_seen, hash_bytes, mix, step
from curate.kernel import Index, Spans, helper
from curate.utf8 import (
    characters,
    may_be_space,
    skip_space,
    skip_space_back,
    space_size,
    starts_character,
)

LONGEST_REPEAT = 10  # words; Gopher looks at n-grams of up to ten


@helper
def _room(view: View) -> tuple[int, int, int]:
    """At most how many words there are, how many newlines, and the most of both in one text.

    Counting first costs 0.1 ns a byte and spares arrays ten times as large as the text.
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


@helper
def _cut_words(text: Bytes, words: Spans, count: int) -> int:
    """Write the words of a text behind those there are, and return how many there are then."""
    at, end = skip_space(text, 0, len(text)), len(text)
    while at < end:
        words.starts[count] = at
        hashed, letters = SEED, 0
        while at < end:
            byte = text[at]
            if may_be_space(byte) and space_size(text, at, end) > 0:
                break
            hashed = step(hashed, byte)
            letters += starts_character(byte)
            at += 1
        words.ends[count] = at
        words.characters[count] = letters
        words.hashes[count] = mix(hashed)
        count += 1
        at = skip_space(text, at, end)
    return count


@helper
def _add(text: Bytes, spans: Spans, count: int, start: int, end: int) -> int:
    spans.starts[count] = start
    spans.ends[count] = end
    spans.characters[count] = characters(text, start, end)
    spans.hashes[count] = hash_bytes(text, start, end)
    return count + 1


@helper
def _cut_lines(text: Bytes, lines: Spans, count: int) -> int:
    start = 0
    for at in range(len(text)):
        if text[at] == 10:
            count = _add(text, lines, count, start, at)
            start = at + 1
    total: int = _add(text, lines, count, start, len(text))
    return total


@helper
def _cut_paragraphs(text: Bytes, lines: Spans, paragraphs: Spans, count: int) -> int:
    """Paragraphs out of the document's lines, which need not be read again: an empty one parts."""
    start = skip_space(text, 0, len(text))
    end = skip_space_back(text, start, len(text))
    for line in range(len(lines.starts)):
        place = lines.starts[line]
        if start <= place < end and lines.ends[line] == place:
            # The first newline of the run is the one that ends the line before.
            count = _add(text, paragraphs, count, start, place - 1) if start < place - 1 else count
            start = place + 1
    total: int = _add(text, paragraphs, count, start, end)
    return total


@helper
def _keep_repeated(places: Offsets, count: int, repeats: Bytes, size: int) -> int:
    """Keep the places from which `size` words and, one word later, `size` words are repeated."""
    kept = 0
    for item in range(count):
        place = places[item]
        if repeats[place] == size and place + 1 < len(repeats) and repeats[place + 1] == size:
            places[kept] = place
            kept += 1
    return kept


@helper
def _find_repeats(
    hashes: Hashes, repeats: Bytes, keys: Hashes, scratch: tuple[Offsets, ...]
) -> None:
    """Write the size of the longest repetition at each word, growing repetitions word by word.

    n words are repeated only where two overlapping n - 1 are. In prose few words remain after the
    first rounds, which makes ten lengths cost little more than two.
    """
    slots, ids, places = scratch
    for place in range(len(hashes)):
        keys[place] = hashes[place]
        places[place] = place
        repeats[place] = 0
    count = len(hashes)
    for size in range(1, LONGEST_REPEAT + 1):
        mask = clear(slots, count)
        for item in range(count):
            place = places[item]
            first = first_seen(keys, place, slots, mask)
            ids[place] = first
            if first != place:
                repeats[first] = size
                repeats[place] = size
        count = _keep_repeated(places, count, repeats, size)
        for item in range(count):
            place = places[item]
            pair = np.uint64(ids[place]) << np.uint64(32) | np.uint64(ids[place + 1])
            keys[place] = mix(pair)


@helper
def _cut(index: Index, places: Offsets) -> None:
    """Fill an index whose arrays are long enough."""
    data, offsets = index.text
    word, line, paragraph = 0, 0, 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        index.characters[row] = characters(text, 0, len(text))
        first_word, first_line = word, line
        word = _cut_words(text, index.words, word)
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
        _find_repeats(
            index.words.hashes[first_word:word],
            index.repeats[first_word:word],
            index.keys,
            (index.slots, index.counts, places),
        )


def _spans(count: int) -> Spans:
    starts, ends, sizes = (np.empty(count, np.int32) for _ in range(3))
    return Spans(starts, ends, sizes, np.empty(count, np.uint64))


def _trimmed(spans: Spans, offsets: Offsets) -> Spans:
    return Spans(*(frozen(array[: offsets[-1]]) for array in spans))


def index(text: View) -> Index:
    """The index of a column of texts."""
    words, newlines, longest = _room(text)
    rows = len(text.offsets) - 1
    lines = newlines + rows
    filled = Index(
        text=text,
        characters=np.zeros(rows, np.int32),
        words=_spans(words),
        word_offsets=np.zeros(rows + 1, np.int32),
        lines=_spans(lines),
        line_offsets=np.zeros(rows + 1, np.int32),
        paragraphs=_spans(lines),
        paragraph_offsets=np.zeros(rows + 1, np.int32),
        repeats=np.empty(words, np.uint8),
        slots=np.empty(4 * max(longest, 1), np.int32),
        counts=np.empty(longest, np.int32),
        keys=np.empty(longest, np.uint64),
    )
    _cut(filled, np.empty(longest, np.int32))
    return filled._replace(
        characters=frozen(filled.characters),
        words=_trimmed(filled.words, filled.word_offsets),
        word_offsets=frozen(filled.word_offsets),
        lines=_trimmed(filled.lines, filled.line_offsets),
        line_offsets=frozen(filled.line_offsets),
        paragraphs=_trimmed(filled.paragraphs, filled.paragraph_offsets),
        paragraph_offsets=frozen(filled.paragraph_offsets),
        repeats=frozen(filled.repeats[: filled.word_offsets[-1]]),
    )
