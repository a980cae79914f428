"""DCLM's line rules after RefinedWeb: Li et al. 2024, arXiv:2406.11794, dclm-baseline.

Dialect: github.com/mlfoundations/dclm, baselines/mappers/modifiers.py, with the settings of
baselines_configs/dclm_baseline_refinedweb.yaml. Its steps look at the text one after another, and
most of them strip it: so it is here. Words of a line are what white space separates; those that
are counted before and after are fastText's (dclm.word_count).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, Numbers, View, strings, view
from curate.kernel import borrowing, helper
from curate.phrases import letter_end
from curate.properties import DIGIT, UPPER, is_word, properties
from curate.schema import TEXT, Batch
from curate.stage import mark, with_column
from curate.unicode_words import fasttext_word_count
from curate.utf8 import (
    code_point,
    may_be_space,
    skip_space,
    skip_space_back,
    space_size,
    starts_character,
)
from curate.word_break import DIGIT as DIGIT_OR_SCRIPT
from curate.word_break import entry

_UNITS = np.isin(np.arange(256), list(b"KMBkmb"))
_COUNTED = (
    *(b"likes", b"shares", b"comments", b"retweets", b"reposts", b"quotes", b"bookmarks"),
    *(b"upvotes", b"downvotes", b"downloads", b"views", b"followers"),
)
_PHRASES = (b"items in cart", b"read more", b"sign-in")
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
    max_phrase_words: int


_UPPERCASE_RULE, _DIGITS_RULE, _COUNTER_RULE, _WORDS_RULE, _FIRST_PHRASE_RULE = range(5)


@borrowing
def _uppercase_share(line: Bytes) -> float:
    capitals, size, end = 0, 0, len(line)
    for at in range(end):
        byte = line[at]
        if byte < 0x80:
            size += 1
            capitals += 65 <= byte <= 90
        elif starts_character(byte):
            size += 1
            capitals += properties(code_point(line, at, end)) & UPPER != 0
    return capitals / max(size, 1)


@borrowing
def _digit_share(line: Bytes, enough: float) -> float:
    """Share of digits, superscripts too; less than that once it cannot be more than enough."""
    digits, others, at, end = 0, 0, 0, len(line)
    while at < end and end - others > enough * end:
        if starts_character(line[at]):
            is_digit = entry(code_point(line, at, end)) & DIGIT_OR_SCRIPT != 0
            digits += is_digit
            others += not is_digit
        at += 1
    return digits / max(digits + others, 1) if at == end else 0.0


@borrowing
def _skip_signs(line: Bytes, at: int, end: int) -> int:
    """Where the next letter, digit or underscore is."""
    while at < end and not (starts_character(line[at]) and is_word(code_point(line, at, end))):
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
    if at == start:
        return False
    behind = skip_space(line, at, end)
    if behind == at:
        return False
    stop = _counted_end(line, behind, end)
    return stop >= 0 and _skip_signs(line, stop, end) == end


@borrowing
def _words(line: Bytes, most: int) -> int:
    """How many words white space separates, counted up to one more than this."""
    words, end = 0, len(line)
    at = skip_space(line, 0, end)
    while at < end and words <= most:
        words += 1
        while at < end and not (may_be_space(line[at]) and space_size(line, at, end) > 0):
            at += 1
        at = skip_space(line, at, end)
    return words


@borrowing
def _stays(line: Bytes, rule: int, rules: _Rules) -> bool:
    """Whether the rule keeps this line, which is not empty."""
    if rule == _UPPERCASE_RULE:
        return _uppercase_share(line) <= rules.max_uppercase
    if rule == _DIGITS_RULE:
        return _digit_share(line, rules.max_digits) <= rules.max_digits
    if rule == _COUNTER_RULE:
        return not _is_counter(line)
    return _words(line, rules.min_words) >= rules.min_words


@borrowing
def _letter_end(line: Bytes, at: int, end: int, letter: int) -> int:
    """Where this letter ends if it begins here in any case, as `re.IGNORECASE` has it; else -1."""
    stop = letter_end(line, at, end, letter)
    if stop < 0 and at + 2 <= end and (letter == 105 or letter == 115):
        pair = int(line[at]) << 8 | int(line[at + 1])
        # Letter i has U+0130 and U+0131, letter s has U+017F.
        if (letter == 105 and 0xC4B0 <= pair <= 0xC4B1) or (letter == 115 and pair == 0xC5BF):
            return at + 2
    return stop


@borrowing
def _phrase_end(line: Bytes, at: int, phrase: int) -> int:
    """Where the phrase that begins here ends; else -1."""
    end = len(line)
    for place in range(_PHRASE_ENDS[phrase], _PHRASE_ENDS[phrase + 1]):
        at = _letter_end(line, at, end, int(_PHRASE_LETTERS[place])) if at >= 0 else -1
    if phrase == _MORE and at >= 0:  # "...": any three characters, at the end of the line
        count = 0
        for place in range(at, end):
            count += starts_character(line[place])
        return end if count == 3 else -1
    return at


@borrowing
def _phrase_place(line: Bytes, at: int, phrase: int) -> tuple[int, int]:
    """Where the phrase is next, from here on: its start and end; both -1 if it is nowhere."""
    last = len(line) if phrase != _SIGN_IN else min(1, len(line))
    first = int(_PHRASE_LETTERS[_PHRASE_ENDS[phrase]])
    # At the end of a line it has at most 9 bytes and three characters more.
    at = max(at, len(line) - 21) if phrase == _MORE else at
    while at < last:
        if line[at] | 32 == first or line[at] >= 0xC4:
            stop = _phrase_end(line, at, phrase)
            if stop >= 0:
                return at, stop
        at += 1
    return -1, -1


@borrowing
def _space_before(line: Bytes, first: int, at: int) -> int:
    """How many bytes the white space character has that ends here, not before `first`; or 0."""
    found = 0
    for size in range(1, 4):
        if at - size >= first and space_size(line, at - size, at) == size:
            found = size
    return found


@borrowing
def _copied(buffer: Bytes, first: int, last: int, to: int) -> int:
    """Copy a stretch to an earlier place, or leave it where it is; return where the copy ends."""
    if to != first:
        for at in range(first, last):
            buffer[to + at - first] = buffer[at]
    return to + last - first


@borrowing
def _without_phrase(buffer: Bytes, place: tuple[int, int, int], phrase: int, most: int) -> int:
    """Copy a line without the phrase; return where the copy ends, or -1 if only space is left.

    `place`: where the line begins and ends, and where to copy it.
    """
    first, last, to = place
    line = buffer[first:last]
    end, at = len(line), 0
    if end > 0 and skip_space(line, 0, end) == end:
        return -1
    start, stop = _phrase_place(line, 0, phrase)
    if start < 0 or _words(line, most) > most:
        return _copied(buffer, first, last, to)
    is_blank = True
    while start >= 0:
        if phrase == _SIGN_IN:
            stop += space_size(line, stop, end) if stop < end else 0
        else:
            start -= _space_before(line, at, start)
        is_blank = is_blank and skip_space(line, at, start) == start
        to = _copied(buffer, first + at, first + start, to)
        at = stop
        start, stop = _phrase_place(line, at, phrase)
    is_blank = is_blank and skip_space(line, at, end) == end
    return -1 if is_blank else _copied(buffer, first + at, last, to)


@borrowing
def _stripped(buffer: Bytes, start: int, end: int) -> int:
    """Move the stripped text to the start; return where it ends."""
    first = skip_space(buffer, start, end)
    last = skip_space_back(buffer, first, end)
    return _copied(buffer, first, last, start)


@helper
def _step(buffer: Bytes, start: int, end: int, rule: int, rules: _Rules) -> int:
    """Apply one rule to the lines of a text, in place; return where the text then ends."""
    at, to = start, start
    while at <= end:
        stop = at
        while stop < end and buffer[np.uint64(stop)] != 10:
            stop += 1
        last = -1
        if rule >= _FIRST_PHRASE_RULE:
            most = rules.max_phrase_words
            last = _without_phrase(buffer, (at, stop, to), rule - _FIRST_PHRASE_RULE, most)
        elif at == stop or _stays(buffer[at:stop], rule, rules):
            last = _copied(buffer, at, stop, to)
        if last >= 0:
            buffer[last] = 10
            to = last + 1
        at = stop + 1
    end = max(to - 1, start)
    return end if rule == _WORDS_RULE else _stripped(buffer, start, end)


@helper
def _rewrite(text: View, rules: _Rules, out: View, shares: Numbers) -> None:
    """Write all texts, and which share of the words of each went; NaN if there was none."""
    for row in range(len(shares)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        start = out.offsets[row]
        end = start + len(own)
        out.data[start:end] = own
        for rule in range(_FIRST_PHRASE_RULE + len(_PHRASE_ENDS) - 1):
            if rule != _COUNTER_RULE or rules.counters:
                end = _step(out.data, start, end, rule, rules)
        before = fasttext_word_count(own)
        after = fasttext_word_count(out.data[start:end])
        shares[row] = (before - after) / before if before > 0 else np.nan
        out.offsets[row + 1] = end


@dataclass(frozen=True)
class Lines:
    """Removes lines of capitals, digits or counts, short lines and page furniture from the text.

    Marks documents that lost more than a share of their words, all of them, or had none; these keep
    their text.
    """

    max_uppercase: float = 0.5  # share of characters; a line with more goes
    max_digits: float = 0.999999  # likewise
    counters: bool = True  # "3 likes", "1.2K views" and the like: the whole line goes
    min_words: int = 2  # in a line that is not empty
    max_phrase_words: int = 10  # shorter lines lose "items in cart", "Read more..." and "Sign-in"
    max_removed: float = 0.05  # share of words

    ignores_language: ClassVar = True

    def __call__(self, batch: Batch) -> Batch:
        column = batch.column(TEXT)
        text = view(column)
        rows = len(column)
        # One byte more: the newline behind the last line, before it is stripped.
        size = int(text.offsets[-1]) - int(text.offsets[0]) + 1
        out = View(np.empty(size, np.uint8), np.zeros(rows + 1, np.int32))
        removed = np.empty(rows, np.float64)
        _rewrite(text, self._rules(), out, removed)
        written = strings(out.data[: out.offsets[-1]], out.offsets)
        too_many = ~(removed <= self.max_removed) | (np.diff(out.offsets) == 0)
        batch = with_column(batch, TEXT, pc.if_else(pa.array(too_many), column, written))
        reason = "dclm_lines.removed"
        return mark(batch, too_many, reason, value=removed, bound=self.max_removed)

    def _rules(self) -> _Rules:
        return _Rules(
            self.max_uppercase,
            self.max_digits,
            self.counters,
            self.min_words,
            self.max_phrase_words,
        )
