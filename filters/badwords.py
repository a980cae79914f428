"""Bad words: the lists of LDNOOBW (CC BY 4.0), as C4 (arXiv:1910.10683, section 2.2) uses them.

Dialect: datatrove 0.10.1's C4BadWordsFilter. The text is in lower case (entries are as they are
listed, so those with capitals are never found); an entry counts where no character of words stands
beside it, but in Japanese, Thai and Chinese anywhere. C4 drops a page with any.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar, NamedTuple

import numpy as np

from curate.column import Bytes, Hashes, Numbers, Offsets, View, frozen, view
from curate.errors import RecipeError
from curate.kernel import helper
from curate.properties import is_word
from curate.rewrite import lowered
from curate.schema import ID, TEXT, Batch
from curate.signal import column_signal
from curate.stage import mark
from curate.utf8 import code_point, last_code_point
from filters.stopwords import languages_of

LANGUAGES = (
    *("ar", "cs", "da", "de", "en", "eo", "es", "fa", "fi", "fil", "fr", "hi", "hu", "it", "ja"),
    *("kab", "ko", "nl", "no", "pl", "pt", "ru", "sv", "th", "tlh", "tr", "zh"),
)
UNSPACED = ("ja", "th", "zh")
# C4 takes these out of all lists, for they are harmless words as well.
ALLOWED = ("sm", "グロ", "女の子", "性")


class Automaton(NamedTuple):
    """Aho and Corasick's: the state after a byte tells which entries end with it."""

    classes: Bytes  # of bytes that are alike to all entries
    steps: Offsets  # state * width + class: the next state
    width: int
    sizes: Offsets  # of the longest entry that ends in a state, in bytes; 0 where none does
    shorter: Offsets  # the state of the next shorter entry that ends there too; 0 without


def automaton(entries: Iterable[str]) -> Automaton:
    """The automaton of these entries; state 0 is the start."""
    words = sorted({entry.encode() for entry in entries} - {b""})
    letters = sorted(set(b"".join(words)))
    classes = np.zeros(256, np.uint8)
    classes[letters] = np.arange(1, len(letters) + 1)
    width = len(letters) + 1
    children: list[dict[int, int]] = [{}]
    sizes = [0]
    for word in words:
        state = 0
        for byte in word:
            state = children[state].setdefault(int(classes[byte]), len(children))
            if state == len(children):
                children.append({})
                sizes.append(0)
        sizes[state] = len(word)
    return _linked(children, sizes, classes, width)


def _linked(
    children: list[dict[int, int]], sizes: list[int], classes: Bytes, width: int
) -> Automaton:
    """The automaton of a tree of entries, breadth first: a state falls back on a nearer one."""
    steps = np.zeros((len(children), width), np.int32)
    back, shorter = [0] * len(children), np.zeros(len(children), np.int32)
    waiting = deque([0])
    while waiting:
        state = waiting.popleft()
        steps[state] = steps[back[state]]
        for letter, child in children[state].items():
            back[child] = int(steps[back[state], letter]) if state else 0
            shorter[child] = back[child] if sizes[back[child]] else shorter[back[child]]
            waiting.append(child)
        for letter, child in children[state].items():
            steps[state, letter] = child
    ends = np.array(sizes, np.int32)
    return Automaton(
        frozen(classes), frozen(steps.reshape(-1)), width, frozen(ends), frozen(shorter)
    )


@helper
def _stands_alone(text: Bytes, start: int, end: int) -> bool:
    """Whether no character of words stands beside this stretch."""
    before = last_code_point(text, 0, start) if start > 0 else 32
    after = code_point(text, end, len(text)) if end < len(text) else 32
    return not is_word(before) and not is_word(after)


@helper
def _count(text: Bytes, entries: Automaton, spaced: bool) -> int:
    """How many entries are found, overlapping ones each."""
    classes, steps, sizes, shorter = entries.classes, entries.steps, entries.sizes, entries.shorter
    width, state, found = entries.width, 0, 0
    for at in range(len(text)):
        state = int(steps[state * width + int(classes[text[at]])])
        ending = state if sizes[state] > 0 else int(shorter[state])
        while ending > 0:
            found += not spaced or _stands_alone(text, at + 1 - sizes[ending], at + 1)
            ending = int(shorter[ending])
    return found


@helper
def _count_rows(text: View, rows: Offsets, how: tuple[Automaton, bool], found: Numbers) -> None:
    entries, spaced = how
    for row in rows:
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        found[row] = _count(own, entries, spaced)


@cache
def _entries(language: str) -> Automaton:
    path = files("filters") / "lists" / "badwords" / f"{language}.txt"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return automaton(set(lines) - set(ALLOWED))


def _counts(batch: Batch, default: str) -> Numbers:
    text, languages = lowered(view(batch.column(TEXT))), languages_of(batch, default)
    found = np.zeros(batch.num_rows)
    for language in dict.fromkeys(languages):
        if language in LANGUAGES:
            rows = [row for row, own in enumerate(languages) if own == language]
            how = _entries(language), language not in UNSPACED
            _count_rows(text, np.array(rows, np.int32), how, found)
    return found


@column_signal(high=0)
def count(batch: Batch) -> Numbers:
    """Entries of the list of the document's language that are found, overlapping ones each.

    0 in a language without a list; English where no stage before told the language.
    """
    return _counts(batch, "en")


_MIX = np.uint64(0x9E3779B97F4A7C15)


def _chances(ids: list[bytes]) -> Numbers:
    """A number from 0 to 1 for each identity, the same in every run."""
    first: Hashes = np.array([int.from_bytes(one[:8], "little") for one in ids], np.uint64)
    return np.asarray((first * _MIX >> np.uint64(11)) / 2.0**53, np.float64)


@dataclass(frozen=True)
class Drop:
    """Marks documents with bad words, but for a share of them that the document's id chooses.

    (datatrove draws a random number instead.) Documents in a language without a list are kept.
    """

    keep_fraction: float = 0.0
    default: str = "en"  # the language where no stage before told it

    leaves_text: ClassVar = True

    def __post_init__(self) -> None:
        if not 0 <= self.keep_fraction <= 1:
            raise RecipeError(f"keep_fraction: {self.keep_fraction:g}; write 0 to 1")

    def __call__(self, batch: Batch) -> Batch:
        counts = _counts(batch, self.default)
        broken = counts > 0
        if self.keep_fraction > 0:
            broken &= _chances(batch.column(ID).to_pylist()) >= self.keep_fraction
        return mark(batch, broken, "badwords.found", value=counts, bound=0)
