"""OLMo 3's line rules after DCLM: Team Olmo 2025, "all dressed" of allenai/datamap-rs.

Dialect: src/map_fxn.rs with configs/all_dressed/all_dressed_config.yaml, as its code reads it: the
settings `max_length` and `regex_string` there have no effect, for the code knows `max_len` and
`regex`. So phrases go from lines of any length, and a counter must fill its line, as in DCLM.
Lengths are bytes, digits those of ASCII, white space Rust's, words those of `unicode_words`; the
text is not stripped.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, Numbers, Offsets, View, strings, view
from curate.errors import RecipeError
from curate.index import WordPlaces
from curate.kernel import borrowing, helper
from curate.phrases import letter_end
from curate.properties import DIGIT, UPPER, properties
from curate.schema import TEXT, Batch
from curate.stage import mark, with_column
from curate.unicode_words import word_places
from curate.utf8 import code_point, may_be_space, space_size, starts_character
from curate.word_break import WORD, entry

_UNITS = np.isin(np.arange(256), list(b"KMBkmb"))
_COUNTED = (
    *(b"likes", b"shares", b"comments", b"retweets", b"reposts", b"quotes", b"bookmarks"),
    *(b"upvotes", b"downvotes", b"downloads", b"views", b"followers"),
)
_PHRASES = (b"items in cart", b"Read more", b"Sign-in")
_CART, _MORE, _SIGN_IN = range(3)


def _packed(phrases: tuple[bytes, ...]) -> tuple[Any, Any]:
    """All letters, and where each phrase begins and ends in them."""
    ends = np.cumsum([0] + [len(phrase) for phrase in phrases])
    return np.frombuffer(b"".join(phrases), np.uint8).copy(), ends


_COUNTED_LETTERS, _COUNTED_ENDS = _packed(_COUNTED)
_PHRASE_LETTERS, _PHRASE_ENDS = _packed(_PHRASES)


class _Rules(NamedTuple):
    """The settings of Lines, as its kernel takes them."""

    max_uppercase: float
    max_digits: float
    counters: bool
    min_words: int
    phrases: bool


@borrowing
def _space(text: Bytes, at: int, end: int) -> int:
    """How many bytes the white space character has that begins here, as Rust sees it; or 0."""
    byte = text[at]
    return space_size(text, at, end) if may_be_space(byte) and not 28 <= byte <= 31 else 0


@borrowing
def _skip_space(text: Bytes, at: int, end: int) -> int:
    while at < end and _space(text, at, end) > 0:
        at += _space(text, at, end)
    return at


@borrowing
def _space_before(text: Bytes, first: int, at: int) -> int:
    """How many bytes the white space character has that ends here, not before `first`; or 0."""
    found = 0
    for size in range(1, 4):
        if at - size >= first and _space(text, at - size, at) == size:
            found = size
    return found


@borrowing
def _has_good_letters(line: Bytes, rules: _Rules) -> bool:
    """Whether a line that is not empty has few enough capitals and digits."""
    capitals, digits, end = 0, 0, len(line)
    for at in range(end):
        byte = line[at]
        digits += 48 <= byte <= 57
        if byte < 0x80:
            capitals += 65 <= byte <= 90
        elif starts_character(byte):
            capitals += properties(code_point(line, at, end)) & UPPER != 0
    return capitals / end <= rules.max_uppercase and digits / end <= rules.max_digits


@borrowing
def _skip_signs(line: Bytes, at: int, end: int) -> int:
    """Where the next letter, mark, digit or connector is."""
    while at < end and entry(code_point(line, at, end)) & WORD == 0:
        at += 1
    return at


@borrowing
def _counted_end(line: Bytes, at: int, end: int) -> int:
    """Where the name of something counted ends ("likes"), if one begins here; else -1."""
    for word in range(len(_COUNTED_ENDS) - 1):
        stop, letter = at, _COUNTED_ENDS[word]
        while stop >= 0 and letter < _COUNTED_ENDS[word + 1]:
            stop = letter_end(line, stop, end, int(_COUNTED_LETTERS[letter]))
            letter += 1
        if stop >= 0:
            return stop
    return -1


@borrowing
def _number_end(line: Bytes, at: int, end: int) -> int:
    """Where the number that begins here ends, its unit (K, M, B) with it; `at` if none begins."""
    start = at
    while at < end:
        code = code_point(line, at, end)
        sign = at > start and (code == 44 or code == 46)
        if not sign and properties(code) & DIGIT == 0:
            break
        at += 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    if at == start or at >= end:
        return at
    if _UNITS[line[at]]:
        return at + 1
    return max(at, letter_end(line, at, end, 107))  # the Kelvin sign


@borrowing
def _is_counter(line: Bytes) -> bool:
    """Whether the line says how often something was liked or viewed, and nothing else."""
    end = len(line)
    start = _skip_signs(line, 0, end)
    at = _number_end(line, start, end)
    behind = _skip_space(line, at, end)
    if at == start or behind == at:
        return False
    stop = _counted_end(line, behind, end)
    return stop >= 0 and _skip_signs(line, stop, end) == end


@borrowing
def _copied(buffer: Bytes, first: int, last: int, to: int) -> int:
    """Copy a stretch to an earlier place, or leave it where it is; return where the copy ends."""
    if to != first:
        for at in range(first, last):
            buffer[to + at - first] = buffer[at]
    return to + last - first


@borrowing
def _keep_lines(buffer: Bytes, start: int, end: int, starts: Offsets, rules: _Rules) -> int:
    """Leave the lines that every rule keeps, in place; `starts`: where the words of the text are.

    Returns where the text then ends.
    """
    at, to, word = start, start, 0
    while at <= end:
        stop, first = at, word
        while stop < end and buffer[np.uint64(stop)] != 10:
            stop += 1
        while word < len(starts) and starts[word] < stop - start:
            word += 1
        line = buffer[at:stop]
        is_good = at == stop
        if not is_good and word - first >= rules.min_words and _has_good_letters(line, rules):
            is_good = not (rules.counters and _is_counter(line))
        if is_good:
            to = _copied(buffer, at, stop, to)
            buffer[to] = 10
            to += 1
        at = stop + 1
    return max(to - 1, start)


@borrowing
def _phrase_end(line: Bytes, at: int, phrase: int) -> int:
    """Where the phrase that begins here ends; else -1."""
    end = len(line)
    for place in range(_PHRASE_ENDS[phrase], _PHRASE_ENDS[phrase + 1]):
        if at < 0 or at >= end or line[at] != _PHRASE_LETTERS[place]:
            return -1
        at += 1
    if phrase == _MORE:  # "...": any three characters, at the end of the line
        count = 0
        for place in range(at, end):
            count += starts_character(line[place])
        return end if count == 3 else -1
    return at


@borrowing
def _phrase_place(line: Bytes, at: int, phrase: int) -> tuple[int, int]:
    """Where the phrase is next, from here on: its start and end; both -1 if it is nowhere."""
    last = len(line) if phrase != _SIGN_IN else min(1, len(line))
    # At the end of a line it has at most 9 bytes and three characters more.
    at = max(at, len(line) - 21) if phrase == _MORE else at
    while at < last:
        stop = _phrase_end(line, at, phrase)
        if stop >= 0:
            return at, stop
        at += 1
    return -1, -1


@borrowing
def _without_phrase(buffer: Bytes, place: tuple[int, int, int], phrase: int) -> int:
    """Copy a line without the phrase; return where the copy ends, or -1 if only space is left.

    `place`: where the line begins and ends, and where to copy it. "items in cart" leaves a space.
    """
    first, last, to = place
    line = buffer[first:last]
    end, at, is_blank = len(line), 0, True
    if end > 0 and _skip_space(line, 0, end) == end:
        return -1
    start, stop = _phrase_place(line, 0, phrase)
    if start < 0:
        return _copied(buffer, first, last, to)
    while start >= 0:
        start -= 0 if phrase == _SIGN_IN else _space_before(line, at, start)
        stop += _space(line, stop, end) if phrase != _MORE and stop < end else 0
        is_blank = is_blank and _skip_space(line, at, start) == start
        to = _copied(buffer, first + at, first + start, to)
        if phrase == _CART:
            buffer[to] = 32
            to += 1
        at = stop
        start, stop = _phrase_place(line, at, phrase)
    is_blank = is_blank and _skip_space(line, at, end) == end
    return -1 if is_blank else _copied(buffer, first + at, last, to)


@borrowing
def _remove_phrase(buffer: Bytes, start: int, end: int, phrase: int) -> int:
    """Remove a phrase from all lines, in place; return where the text then ends.

    As `str::lines` has it, a line ends before CR LF too, and a newline at the end begins none.
    """
    at, to = start, start
    while at < end:
        stop = at
        while stop < end and buffer[np.uint64(stop)] != 10:
            stop += 1
        last = stop - (stop < end and stop > at and buffer[stop - 1] == 13)
        last = _without_phrase(buffer, (at, last, to), phrase)
        if last >= 0:
            buffer[last] = 10
            to = last + 1
        at = stop + 1
    return max(to - 1, start)


@helper
def _rewrite(text: View, places: WordPlaces, rules: _Rules, out: View) -> None:
    """Write all texts without the lines and phrases that are to go."""
    for row in range(len(text.offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        starts = places.starts[places.offsets[row] : places.offsets[row + 1]]
        start = out.offsets[row]
        end = start + len(own)
        out.data[start:end] = own
        end = _keep_lines(out.data, start, end, starts, rules)
        if rules.phrases:
            for phrase in range(len(_PHRASE_ENDS) - 1):
                end = _remove_phrase(out.data, start, end, phrase)
        out.offsets[row + 1] = end


def _word_counts(texts: pa.Array) -> Numbers:
    return np.diff(word_places(view(texts)).offsets).astype(np.float64)


MOST_NEWLINES = 1000


def _few(name: str, most: int) -> None:
    # More repetitions than this the pattern of _shortened cannot have.
    if not 0 <= most < MOST_NEWLINES:
        raise RecipeError(f"{name}: {most}; write 0 or more, and less than {MOST_NEWLINES}")


def _shortened(texts: pa.Array, most: int) -> pa.Array:
    """Texts with at most so many newlines in a row."""
    return pc.replace_substring_regex(texts, f"\n{{{most + 1},}}", "\n" * most)


@dataclass(frozen=True)
class Newlines:
    """Leaves at most so many newlines in a row."""

    most: int = 2

    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        _few("most", self.most)

    def __call__(self, batch: Batch) -> Batch:
        return with_column(batch, TEXT, _shortened(batch.column(TEXT), self.most))


@dataclass(frozen=True)
class Lines:
    """Removes lines of capitals, digits or counts, short lines and page furniture from the text.

    Marks documents that lost more than a share of their words, all of them, or had none; these keep
    their text.
    """

    max_uppercase: float = 0.5  # capitals per byte; a line with more goes
    max_digits: float = 0.999999  # likewise
    counters: bool = True  # "3 likes", "1.2K views" and the like: the whole line goes
    min_words: int = 2  # in a line that is not empty
    phrases: bool = True  # "items in cart", "Read more..." at the end, "Sign-in" at the beginning
    max_removed: float = 0.05  # share of words
    max_newlines: int = 2  # in a row, in what is left

    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        _few("max_newlines", self.max_newlines)

    def __call__(self, batch: Batch) -> Batch:
        column = batch.column(TEXT)
        text, rows = view(column), len(column)
        places = word_places(text)
        # One byte more: the newline behind the last line.
        size = int(text.offsets[-1]) - int(text.offsets[0]) + 1
        out = View(np.empty(size, np.uint8), np.zeros(rows + 1, np.int32))
        _rewrite(text, places, self._rules(), out)
        written = strings(out.data[: out.offsets[-1]], out.offsets)
        before = np.diff(places.offsets).astype(np.float64)
        after = before.copy()
        changed = np.diff(out.offsets) != np.diff(text.offsets)  # nothing is replaced by as much
        after[changed] = _word_counts(written.filter(pa.array(changed)))
        with np.errstate(invalid="ignore"):
            removed = (before - after) / before
        too_many = ~(removed <= self.max_removed) | (np.diff(out.offsets) == 0)
        left = _shortened(written, self.max_newlines)
        batch = with_column(batch, TEXT, pc.if_else(pa.array(too_many), column, left))
        reason = "olmo_lines.removed"
        return mark(batch, too_many, reason, value=removed, bound=self.max_removed)

    def _rules(self) -> _Rules:
        return _Rules(
            self.max_uppercase, self.max_digits, self.counters, self.min_words, self.phrases
        )
