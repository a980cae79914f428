"""RedPajama-v2's quality signals of lines, and their shares and means as signals of documents.

Dialect as in filters/redpajama.py: a line ends behind its newline, and none follows the last one.
The signals here sum up what the source keeps line by line; `redpajama.Annotate` keeps it as well.
"""

import math
from typing import NamedTuple

import numpy as np

from curate.column import Bytes, Numbers, Offsets, frozen, view
from curate.hashing import hash_word
from curate.kernel import Document, Index, borrowing, helper
from curate.properties import NUMERIC, UPPER, properties
from curate.schema import TEXT, Batch
from curate.signal import index_signal, signal
from curate.utf8 import code_point, last_code_point, skip_space, skip_space_back, starts_character

_JAVASCRIPT = hash_word(b"javascript")
# As the source spells them: bullets, triangles, squares, an en dash.
_BULLETS = (*(0x2022, 0x2023, 0x25B6, 0x25C0, 0x25E6, 0x25A0, 0x25A1, 0x25AA, 0x25AB, 0x2013),)


@borrowing
def _line_count(document: Document) -> int:
    count = len(document.lines.starts)
    return count - int(document.lines.starts[count - 1] == document.lines.ends[count - 1])


@helper
def _is_terminated(text: Bytes, start: int, end: int) -> bool:
    """Whether a line ends with . ! ? or ”, white space behind it left out."""
    code = last_code_point(text, start, skip_space_back(text, start, end))
    return code == 46 or code == 33 or code == 63 or code == 0x201D


@helper
def _is_bullet(text: Bytes, start: int, end: int) -> bool:
    """Whether a line begins with a bullet, white space before it left out."""
    at = skip_space(text, start, end)
    code = code_point(text, at, end) if at < end else -1
    found = False
    for bullet in _BULLETS:
        found |= code == bullet
    return found


@helper
def _with_property(text: Bytes, start: int, end: int, kind: int) -> int:
    """How many characters of a line have this property."""
    found = 0
    for at in range(start, end):
        if starts_character(text[at]):
            found += properties(code_point(text, at, end)) & kind != 0
    return found


@signal(words="wordpunct")
def ending_with_terminal_punctuation(document: Document) -> float:
    """Share of lines that end with . ! ? or ”."""
    lines, count, found = document.lines, _line_count(document), 0
    for line in range(count):
        found += _is_terminated(document.text, lines.starts[line], lines.ends[line])
    return found / count if count > 0 else math.nan


@signal(words="wordpunct")
def start_with_bulletpoint(document: Document) -> float:
    """Share of lines that begin with one of ten bullets."""
    lines, count, found = document.lines, _line_count(document), 0
    for line in range(count):
        found += _is_bullet(document.text, lines.starts[line], lines.ends[line])
    return found / count if count > 0 else math.nan


@signal(words="wordpunct")
def uppercase_letter_fraction(document: Document) -> float:
    """Mean over lines of the share of capitals in a line, its newline counted."""
    lines, count, shares = document.lines, _line_count(document), 0.0
    for line in range(count):
        found = _with_property(document.text, lines.starts[line], lines.ends[line], UPPER)
        shares += found / (lines.characters[line] + (lines.ends[line] < len(document.text)))
    return shares / count if count > 0 else math.nan


def _line_counts(batch: Batch, index: Index) -> Numbers:
    """Lines of the raw texts; of the normalised ones, the last may have nothing left in it."""
    text, counts = view(batch.column(TEXT)), np.diff(index.line_offsets)
    empty = np.diff(text.offsets) == 0
    ends = np.where(empty, 0, text.offsets[1:] - 1)
    last = text.data[ends] if len(text.data) > 0 else np.zeros(len(ends), np.uint8)
    found: Numbers = (counts - (empty | (last == 10))).astype(np.float64)
    found[found == 0] = np.nan
    return found


@helper
def _sum_shares(index: Index, sums: Numbers) -> None:
    """Add up the shares of numeric characters in the lines of each text."""
    for row in range(len(sums)):
        text = index.text.data[index.text.offsets[row] : index.text.offsets[row + 1]]
        for line in range(index.line_offsets[row], index.line_offsets[row + 1]):
            start, end = index.lines.starts[line], index.lines.ends[line]
            found = _with_property(text, start, end, NUMERIC)
            sums[row] += found / max(index.lines.characters[line], 1)


@index_signal(words="normalised")
def numerical_chars_fraction(batch: Batch, index: Index) -> Numbers:
    """Mean over normalised lines of the share of numeric characters in a line."""
    sums = np.zeros(batch.num_rows)
    _sum_shares(index, sums)
    return sums / _line_counts(batch, index)


@index_signal(words="normalised")
def num_words(batch: Batch, index: Index) -> Numbers:
    """Mean number of words in a normalised line."""
    counts: Numbers = np.diff(index.word_offsets) / _line_counts(batch, index)
    return counts


@signal(words="normalised")
def javascript_counts(document: Document) -> float:
    """How often the word "javascript" occurs in the normalised text."""
    found = 0
    for hashed in document.words.hashes:
        found += hashed == _JAVASCRIPT
    return float(found)


class Lines(NamedTuple):
    """What RedPajama keeps of every line; those of row i from offsets[i] on."""

    offsets: Offsets
    characters: Offsets  # with the newline
    upper: Offsets
    terminated: Offsets
    bullet: Offsets
    normalised: Offsets  # characters of the normalised line
    words: Offsets
    javascript: Offsets
    numeric: Offsets


@helper
def _measure_raw(text: Bytes, own: tuple[Offsets, Offsets], lines: Lines, at: int) -> None:
    starts, ends = own
    for line in range(len(starts)):
        start, end = starts[line], ends[line]
        characters = 0
        for byte in text[start:end]:
            characters += starts_character(byte)
        lines.characters[at + line] = characters + (end < len(text))
        lines.upper[at + line] = _with_property(text, start, end, UPPER)
        lines.terminated[at + line] = _is_terminated(text, start, end)
        lines.bullet[at + line] = _is_bullet(text, start, end)


@helper
def _measure(raw: Index, copy: Index, lines: Lines) -> None:
    """Write what is kept of all lines, which the raw texts and their copies have alike."""
    data, places = copy.text
    for row in range(len(raw.word_offsets) - 1):
        first, last = raw.line_offsets[row], raw.line_offsets[row + 1]
        text = raw.text.data[raw.text.offsets[row] : raw.text.offsets[row + 1]]
        own = raw.lines.starts[first:last], raw.lines.ends[first:last]
        _measure_raw(text, own, lines, first)
        word, end_word = copy.word_offsets[row], copy.word_offsets[row + 1]
        text = data[places[row] : places[row + 1]]
        for line in range(first, last):
            start, end = copy.lines.starts[line], copy.lines.ends[line]
            lines.normalised[line] = copy.lines.characters[line]
            lines.numeric[line] = _with_property(text, start, end, NUMERIC)
            lines.words[line], lines.javascript[line] = 0, 0
            while word < end_word and copy.words.starts[word] < end:
                lines.words[line] += 1
                lines.javascript[line] += copy.words.hashes[word] == _JAVASCRIPT
                word += 1


def measured_lines(raw: Index, copy: Index) -> Lines:
    """What RedPajama keeps of every line of a column, from its raw and its normalised index."""
    offsets = frozen(raw.line_offsets)
    lines = Lines(offsets, *(np.zeros(offsets[-1], np.int32) for _ in range(8)))
    _measure(raw, copy, lines)
    return lines


def shares(parts: Offsets, wholes: Offsets) -> Numbers:
    """One part of each whole, 0 of nothing."""
    return parts / np.maximum(wholes, 1)
