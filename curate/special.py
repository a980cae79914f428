"""Words without the special characters around them, as ROOTS and data-juicer see them."""

from pathlib import Path
from typing import Any

import numpy as np

from curate.column import Bytes, Offsets, View, view
from curate.index import WordPlaces, index
from curate.kernel import Index, borrowing, helper
from curate.properties import paged
from curate.rewrite import lowered
from curate.schema import LANGUAGE, Batch
from curate.unicode_words import word_places
from curate.utf8 import code_point, starts_character


def _tables(path: Path) -> tuple[Any, Any]:
    every = np.zeros(0x110000, np.uint8)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        first, _, last = line.partition("-")
        every[int(first, 16) : int(last or first, 16) + 1] = 1
    return paged(every)


_CHINESE = "zh"
_WHERE, _SPECIAL = _tables(Path(__file__).with_name("special.txt"))


@borrowing
def is_special(code: int) -> bool:
    """Whether a character is a digit, punctuation, white space, an emoji or listed by ROOTS."""
    known = code if code >= 0 else 65  # what is no code point is as special as an A
    return bool(_SPECIAL[int(_WHERE[known >> 7]) + (known & 127)])


@borrowing
def is_separator(byte: int) -> bool:
    """Whether ROOTS separates words by it: a space, a newline or a tab."""
    return byte == 32 or byte == 10 or byte == 9


@helper
def strip(text: Bytes, start: int, end: int) -> tuple[int, int]:
    """Where a word begins and ends without the special characters around it; may be empty."""
    while start < end:
        code = code_point(text, start, end)
        if not is_special(code):
            break
        start += 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    while start < end:
        last = end - 1
        while last > start and not starts_character(text[last]):
            last -= 1
        if not is_special(code_point(text, last, end)):
            break
        end = last
    return min(start, end), end


@helper
def _cut(text: View, starts: Offsets, ends: Offsets, offsets: Offsets) -> None:
    count = 0
    for row in range(len(offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        at, end = 0, len(own)
        while at < end:
            while at < end and is_separator(own[at]):
                at += 1
            start = at
            while at < end and not is_separator(own[at]):
                at += 1
            starts[count], ends[count] = strip(own, start, at)
            count += starts[count] < ends[count]
        offsets[row + 1] = count


def stripped_places(text: View) -> WordPlaces:
    """Where the words are that spaces, tabs and newlines separate, less special characters."""
    size = (int(text.offsets[-1]) - int(text.offsets[0])) // 2 + len(text.offsets)
    starts, ends = np.empty(size, np.int32), np.empty(size, np.int32)
    offsets = np.zeros(len(text.offsets), np.int32)
    _cut(text, starts, ends, offsets)
    return WordPlaces(starts[: offsets[-1]], ends[: offsets[-1]], offsets)


def stripped(batch: Batch, column: str) -> Index:
    """Words are those of the copy in lower case, less the special characters around them.

    Chinese, which has no spaces, is cut as Unicode says, where a stage before told the language.
    """
    text = lowered(view(batch.column(column)))
    places = stripped_places(text)
    languages = batch.column(LANGUAGE).to_pylist() if LANGUAGE in batch.schema.names else []
    if _CHINESE not in languages:
        return index(text, places)
    segments = _less_special(text, word_places(text))
    ways = [segments if language == _CHINESE else places for language in languages]
    rows = [slice(way.offsets[row], way.offsets[row + 1]) for row, way in enumerate(ways)]
    starts = np.concatenate([way.starts[own] for way, own in zip(ways, rows, strict=True)])
    ends = np.concatenate([way.ends[own] for way, own in zip(ways, rows, strict=True)])
    sizes = [own.stop - own.start for own in rows]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return index(text, WordPlaces(starts, ends, offsets))


@helper
def _strip_all(text: View, places: WordPlaces, starts: Offsets, ends: Offsets) -> None:
    for row in range(len(places.offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        for word in range(places.offsets[row], places.offsets[row + 1]):
            starts[word], ends[word] = strip(own, places.starts[word], places.ends[word])


def _less_special(text: View, places: WordPlaces) -> WordPlaces:
    """The words without special characters around them; those of nothing else are left out."""
    starts, ends = np.empty_like(places.starts), np.empty_like(places.ends)
    _strip_all(text, places, starts, ends)
    kept = starts < ends
    counts = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    return WordPlaces(starts[kept], ends[kept], counts[places.offsets])
