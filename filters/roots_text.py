"""What ROOTS changes in a text before it filters: white space, long words, words of links.

Dialect as in filters/roots.py. Special white space becomes a space, newlines and tabs too, and
control characters go; in twelve languages, words that are too long or have a part of a link in them
go, and what is left stands one space apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from curate.column import Bytes, Offsets, View, strings, view
from curate.kernel import borrowing, helper
from curate.schema import TEXT, Batch
from curate.special import strip
from curate.stage import with_column
from curate.utf8 import code_point, skip_space, skip_space_back, starts_character
from filters.stopwords import languages_of

# Characters of a word; languages that are not here keep all words.
LONGEST = {
    **{"ar": 25, "bn": 20, "ca": 20, "en": 25, "es": 25, "eu": 28, "fr": 45, "hi": 25, "id": 30},
    **{"pt": 19, "ur": 20, "vi": 25},
}
_LINKS = (b"http", b"www", b".com", b"href", b"//")
_LETTERS = np.frombuffer(b"".join(_LINKS), np.uint8).copy()
_ENDS = np.cumsum([0] + [len(link) for link in _LINKS])
# Those of ROOTS that are not ASCII; U+0084 would be a control character.
_SPACES = (0x84, 0x2002, 0x2003, 0x2005, 0x2008, 0x2009, 0x200A, 0x202F, 0x3000, 0xFFFC)


def _begins_link() -> Any:
    table = np.zeros(256, np.bool_)
    table[[link[0] for link in _LINKS]] = True
    return table


_FIRST = _begins_link()


@borrowing
def _has_link(text: Bytes, start: int, end: int) -> bool:
    """Whether part of a link occurs in this stretch."""
    found = False
    for at in range(start, end):
        if found or not _FIRST[text[at]]:
            continue
        for link in range(len(_ENDS) - 1):
            size = _ENDS[link + 1] - _ENDS[link]
            same = at + size <= end
            for place in range(size):
                same = same and text[at + place] == _LETTERS[_ENDS[link] + place]
            found = found or bool(same)
    return found


@borrowing
def _length(text: Bytes, start: int, end: int) -> int:
    length = 0
    for at in range(start, end):
        length += starts_character(text[at])
    return length


@helper
def _is_kept(text: Bytes, start: int, end: int, longest: int) -> bool:
    """Whether a word stays: not too long without the special characters around it, and no link."""
    first, last = strip(text, start, end)
    if _has_link(text, first, last):
        return False
    short = _length(text, start, end) <= longest
    return short or (first < last and _length(text, first, last) <= longest)


_SPACE, _REMOVED, _KEPT = 0, 1, 2


@helper
def _role(code: int) -> int:
    """What becomes of a character: a space, nothing or itself."""
    if code < 0x80:
        is_space = code == 32 or 9 <= code <= 13
        return _SPACE if is_space else _REMOVED if 0 <= code < 32 or code == 127 else _KEPT
    found = _REMOVED if code < 0xA0 else _KEPT
    for space in _SPACES:
        found = _SPACE if code == space else found
    return found


@borrowing
def _closed(out: Bytes, word: int, to: int, longest: int) -> int:
    """Put a space behind a word that stays, or take it back; where the text ends then."""
    if word == to or not _is_kept(out, word, to, longest):
        return word
    out[to] = 32
    return to + 1


@helper
def _write(text: Bytes, out: Bytes, to: int, longest: int) -> int:
    """Write the changed text, without bad words if `longest` is more than 0; where it ends."""
    at = skip_space(text, 0, len(text))
    end = skip_space_back(text, at, len(text))
    first, word = to, to  # where the text begins, and the word that is written
    while at < end:
        code = code_point(text, at, end)
        role = _role(code)
        size = 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
        if role == _SPACE and longest > 0:
            to = _closed(out, word, to, longest)
            word = to
        elif role == _SPACE:
            out[to] = 32
            to += 1
        elif role == _KEPT:
            for place in range(at, at + size):
                out[to] = text[place]
                to += 1
        at += size
    if longest > 0:
        to = _closed(out, word, to, longest)
        to -= to > first  # the space behind the last word
    return to


@helper
def _write_all(text: View, longest: Offsets, out: View) -> None:
    for row in range(len(longest)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        out.offsets[row + 1] = _write(own, out.data, int(out.offsets[row]), longest[row])


@dataclass(frozen=True)
class Modify:
    """Rewrites the text as ROOTS does before it filters."""

    default: str = "en"  # the language where no stage before told it

    def __call__(self, batch: Batch) -> Batch:
        column = batch.column(TEXT)
        text = view(column)
        languages = languages_of(batch, self.default)
        longest = np.array([LONGEST.get(language, 0) for language in languages], np.int32)
        size = int(text.offsets[-1]) - int(text.offsets[0]) + 1
        out = View(np.empty(size, np.uint8), np.zeros(len(text.offsets), np.int32))
        _write_all(text, longest, out)
        written = strings(out.data[: out.offsets[-1]], out.offsets)
        return with_column(batch, TEXT, pc.if_else(column.is_null(), None, written))
