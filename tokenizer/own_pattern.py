"""Patterns that no automaton can follow, such as a look behind: `regex` cuts, a text at a time.

What is a letter is for the installed `regex` to say, in its own version of Unicode.

Measured on news in 128 languages and in English: 0.7 MB/s, where on the same busy core the
automaton cut 100 and 200.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import regex

from curate.column import Offsets, View
from curate.errors import InputError, RecipeError

# A byte that belongs to no character is neither letter, number nor space: a private-use one.
STRANGER = 0xE000
# A pattern that tries all ways of cutting a text never ends; one that works needs milliseconds.
MOST_SECONDS = 60


@dataclass(frozen=True)
class OwnPattern:
    """A compiled pattern, and why no automaton follows it."""

    text: str
    compiled: Any
    reason: str

    def ends(self, rows: View) -> Iterator[Offsets]:
        """Where the pieces of all rows end, one row at a time."""
        edges = rows.offsets.tolist()
        for begin, end in pairwise(edges):
            if begin < end:
                yield self.row_ends(rows.data[begin:end].tobytes(), begin)

    def row_ends(self, row: bytes, begin: int) -> Offsets:
        """Where the pieces of one row end: at both ends of every match, and at its own."""
        text, places = decoded(row)
        cuts = [len(text)]
        try:
            for match in self.compiled.finditer(text, timeout=MOST_SECONDS):
                cuts += match.span()
        except TimeoutError as error:
            raise InputError(
                f"pattern {self.text!r} takes more than {MOST_SECONDS} s on a text of {len(row)} "
                "bytes; write repetitions within repetitions as possessive ones: (?:a+)++"
            ) from error
        ends: Offsets = (places[np.unique(np.array(cuts))] + begin).astype(np.int32)
        return ends[ends > begin]


def decoded(row: bytes) -> tuple[str, Any]:
    """The characters of some bytes, and at which byte each begins and the last one ends.

    Bytes that are not UTF-8 are read as the kernel of `pretokenize` reads them.
    """
    try:
        text = row.decode()
    except UnicodeDecodeError:
        return read_as_kernels_do(row)
    if len(text) == len(row):
        return text, np.arange(len(row) + 1)
    starts = np.flatnonzero((np.frombuffer(row, np.uint8) & 0xC0) != 0x80)
    return text, np.append(starts, len(row))


def read_as_kernels_do(row: bytes) -> tuple[str, Any]:
    """Characters by their first bytes alone: what follows is not looked at."""
    points: list[int] = []
    places: list[int] = []
    at = 0
    while at < len(row):
        lead = row[at]
        size = 1 + (lead >= 0xC2) + (lead >= 0xE0) + (lead >= 0xF0)
        point = STRANGER if lead >= 0x80 else lead
        if size > 1 and lead <= 0xF4 and at + size <= len(row):
            point = lead & (0x1F, 0xF, 0x7)[size - 2]
            for byte in row[at + 1 : at + size]:
                point = point << 6 | byte & 0x3F
        else:
            size = 1
        if point >= 0x110000:
            point, size = STRANGER, 1
        if 0xD800 <= point < 0xE000 or (size > 1 and point < 0x80):
            point = STRANGER
        points.append(point)
        places.append(at)
        at += size
    return "".join(map(chr, points)), np.array([*places, len(row)])


@cache
def own_pattern(text: str, reason: str) -> OwnPattern:
    """A pattern for `regex`; `reason` says what the automaton did not understand."""
    try:
        compiled = regex.compile(text, regex.V1)
    except (regex.error, OverflowError, RecursionError) as error:
        raise RecipeError(f"pattern {text!r} is no regular expression: {error}") from error
    if compiled.fullmatch(""):
        raise RecipeError(f"pattern {text!r} matches the empty text")
    return OwnPattern(text, compiled, reason)
