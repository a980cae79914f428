"""What a word is: the ways of cutting texts into words, by the names that recipes use."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from curate.column import Offsets, view
from curate.errors import RecipeError
from curate.index import WordPlaces, index
from curate.joined import with_joined_grams
from curate.kernel import Index
from curate.normalised import normalised
from curate.schema import LANGUAGE, Batch
from curate.special import stripped
from curate.tokens import tokens
from curate.unicode_words import unicode, unicode_alphanumeric
from curate.wordpunct import wordpunct

Cut = Callable[[Batch, str], Index]  # of a batch and the column to cut


def space(batch: Batch, column: str) -> Index:
    """Words are what white space separates, as in `str.split`."""
    return index(view(batch.column(column)))


CUTS: dict[str, Cut] = {
    "space": space,
    "tokens": tokens,
    "wordpunct": wordpunct,
    "normalised": normalised,
    "stripped": stripped,
    "unicode": unicode,
    "unicode_alphanumeric": unicode_alphanumeric,
}

# The words of these lie in a copy of the text, so that their places mean nothing in another.
COPIES = ("normalised", "stripped")
# These cut some languages in another way, where a stage before told the language.
HEARING = ("stripped",)

# n-grams of these are compared joined, with nothing between the words.
JOINING = ("tokens",)


@dataclass(frozen=True)
class Words:
    """What counts as a word: one way for all texts, or another for those of some languages."""

    default: str = "space"
    languages: tuple[tuple[str, str], ...] = field(default=())  # language, way; sorted

    def __post_init__(self) -> None:
        for name in (self.default, *(way for _, way in self.languages)):
            if name not in CUTS:
                raise RecipeError(f"words: no way {name!r}; there are {', '.join(CUTS)}")
            if self.languages and name in COPIES:
                raise RecipeError(
                    f"words: {name} are those of a copy of the text, so not by language; choose "
                    f"it for all, or of {', '.join(way for way in CUTS if way not in COPIES)}"
                )

    def cut(self, batch: Batch, column: str) -> Index:
        """The index of a column with these words."""
        if not self.languages:
            return CUTS[self.default](batch, column)
        ways = {name: CUTS[name](batch, column) for name in (self.default, *self._ways())}
        chosen = dict(self.languages)
        rows = [chosen.get(language, self.default) for language in _languages(batch)]
        parts = [_places(ways[way], row) for row, way in enumerate(rows)]
        offsets = np.cumsum([0] + [len(starts) for starts, _ in parts], dtype=np.int32)
        starts = np.concatenate([np.empty(0, np.int32), *(part[0] for part in parts)])
        ends = np.concatenate([np.empty(0, np.int32), *(part[1] for part in parts)])
        cut = index(view(batch.column(column)), WordPlaces(starts, ends, offsets))
        joins = np.array([way in JOINING for way in rows], np.bool_)
        return with_joined_grams(cut, joins) if joins.any() else cut

    def _ways(self) -> list[str]:
        return sorted({way for _, way in self.languages} - {self.default})


def _languages(batch: Batch) -> list[str]:
    if LANGUAGE not in batch.schema.names:
        raise RecipeError("words: chosen by language, but no stage before this one tells it")
    languages: list[str] = batch.column(LANGUAGE).to_pylist()
    return languages


def _places(cut: Index, row: int) -> tuple[Offsets, Offsets]:
    first, last = cut.word_offsets[row], cut.word_offsets[row + 1]
    return cut.words.starts[first:last], cut.words.ends[first:last]
