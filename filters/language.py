"""Which language a text is in, as fastText's `lid.176` tells it (Joulin et al. 2016).

datatrove's LanguageFilter keeps a document when a wanted language scores above .65; above one half
that is the first label, which is the one recorded here. FineWeb2 has a bound for each language.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import models
from curate.column import Numbers, Offsets, Positions, View, frozen, view
from curate.errors import RecipeError
from curate.schema import LANGUAGE, LANGUAGE_SCORE, TEXT, Batch
from curate.stage import Stage, mark, with_column
from filters.fasttext_file import Floats, Ranks
from filters.fasttext_model import FastText

LANGUAGES, LANGUAGE_SCORES = "languages", "language_scores"  # lists, the likeliest first
LANGUAGE_LINES = "language_lines"
UNDETERMINED = "und"  # ISO 639-2 for a text without words
# Sums of floats differ in the seventh place from one processor to the next; a decision should not.
DECIMALS = 5
NEWLINE = 10


@dataclass(frozen=True)
class Identify:
    """Add `language` and `language_score`; drop what is not wanted, or not certain enough.

    Any fastText model serves, by its path: GlotLID and OpenLID say `eng_Latn` where lid.176 says
    `en`. A newline is a space to it. `top` lists several languages of a document as `languages` and
    `language_scores`; `lines` adds `language_lines`, the share of its lines, or of the characters
    in them, that are in its language when each is asked alone; lines without words do not count.
    """

    model: str = "lid.176"  # a name that `curate models list` shows, or a path
    keep: tuple[str, ...] = ()  # empty: all languages
    low: float = 0.65
    by_language: dict[str, float] = field(default_factory=dict)  # in place of `low`: {is: 0.8}
    top: int = 0  # so many languages at most, for a list; 0: none
    floor: float = 0.05  # that score so much at least
    lines: Literal["lines", "characters"] | None = None
    low_lines: float = 0.0

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    tells_language: ClassVar = True
    judged_by: ClassVar = ("keep", "low", "by_language", "low_lines")

    def __post_init__(self) -> None:
        bounds = {"low": self.low, "floor": self.floor, "low_lines": self.low_lines}
        bounds |= {f"by_language: {name}": low for name, low in self.by_language.items()}
        for name, bound in bounds.items():
            if not 0 <= bound <= 1:
                raise RecipeError(f"{name}: {bound} is no probability; write 0 to 1")
        if self.top < 0:
            raise RecipeError(f"top: {self.top}; write how many languages to list, or 0")
        if self.low_lines and not self.lines:
            raise RecipeError("low_lines: write `lines: lines` or `lines: characters` to measure")

    @property
    def judged_from(self) -> tuple[str, ...]:
        """The columns from which `judge` takes its verdicts."""
        return (LANGUAGE, LANGUAGE_SCORE, *((LANGUAGE_LINES,) if self.lines else ()))

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Load the model, if it is whole."""
        model = FastText.load(models.model_path(self.model))
        for setting, languages in (("keep", self.keep), ("by_language", tuple(self.by_language))):
            for language in languages:
                known_label(language, model, f"{setting}: {self.model} knows no language")
        yield lambda batch: self.identify(batch, model)

    def identify(self, batch: Batch, model: FastText) -> Batch:
        """The batch with the language of every text."""
        texts = view(batch.column(TEXT))
        labels, scores = model.best(texts, max(self.top, 1))
        certain = rounded(scores)
        batch = with_column(batch, LANGUAGE, names_of(labels[:, 0], model))
        batch = with_column(batch, LANGUAGE_SCORE, pa.array(certain[:, 0], pa.float64()))
        if self.top:
            heard = certain >= self.floor
            offsets = pa.array(np.concatenate([[0], heard.sum(axis=1).cumsum()]), pa.int32())
            for name, values in (
                (LANGUAGES, names_of(labels[heard], model)),
                (LANGUAGE_SCORES, pa.array(certain[heard], pa.float64())),
            ):
                batch = with_column(batch, name, pa.ListArray.from_arrays(offsets, values))
        if self.lines:
            shares = line_share(texts, labels[:, 0], model, in_characters=self.lines != "lines")
            batch = with_column(batch, LANGUAGE_LINES, pa.array(shares, pa.float64()))
        return self.judge(batch)

    def judge(self, batch: Batch) -> Batch:
        """The batch with the verdicts that its languages and scores call for."""
        languages = batch.column(LANGUAGE)
        scores = batch.column(LANGUAGE_SCORE).to_numpy(zero_copy_only=False)
        if self.keep:
            wanted = pc.is_in(languages, value_set=pa.array(self.keep, pa.string()))
            unwanted = ~wanted.to_numpy(zero_copy_only=False)
            batch = mark(batch, unwanted, "language.unwanted", value=scores)
        low = np.full(batch.num_rows, self.low)
        for language, bound in self.by_language.items():
            own = pc.fill_null(pc.equal(languages, language), False)
            low[own.to_numpy(zero_copy_only=False)] = bound
        # Not "below", so that NaN is dropped as well.
        batch = mark(batch, ~(scores >= low), "language.score", value=scores, bound=low)
        if not self.lines:
            return batch
        shares = batch.column(LANGUAGE_LINES).to_numpy(zero_copy_only=False)
        mixed = ~(shares >= self.low_lines)
        return mark(batch, mixed, "language.lines", value=shares, bound=self.low_lines)


def known_label(label: str, model: FastText, problem: str) -> None:
    """Refuse a label that the model does not have, and name the nearest."""
    if label in model.labels:
        return
    near = difflib.get_close_matches(label, model.labels, n=1, cutoff=0.3)
    some = ", ".join(model.labels[:5])
    hint = f"; did you mean {near[0]}?" if near else f"; it knows {some}"
    raise RecipeError(f"{problem} {label!r}{hint}")


def names_of(labels: Ranks, model: FastText) -> pa.StringArray:
    """The names of labels; `und` for -1."""
    names = pa.array([*model.labels, UNDETERMINED], pa.string())
    return names.take(pa.array(np.where(labels < 0, len(model.labels), labels)))


def rounded(scores: Floats) -> Numbers:
    """Scores as they are recorded and compared."""
    return np.round(scores.astype(np.float64), DECIMALS).astype(np.float64, copy=False)


def language_of(texts: pa.Array, model: FastText) -> tuple[list[str], Numbers]:
    """The first label of every text and its probability; `und` and NaN without words."""
    labels, scores = model.best(view(texts))
    return names_of(labels[:, 0], model).to_pylist(), rounded(scores[:, 0])


def line_share(texts: View, labels: Ranks, model: FastText, *, in_characters: bool) -> Numbers:
    """The share of every text's lines, or of the characters in them, that have its label.

    NaN for a text without words.
    """
    offsets, owners = cut_lines(texts)
    found = model.best(View(texts.data, frozen(offsets)))[0][:, 0]
    weights = np.ones(len(owners))
    if in_characters and len(owners):
        begins = (texts.data[: offsets[-1]] & 0xC0) != 0x80
        weights = np.add.reduceat(begins, offsets[:-1], dtype=np.float64)
    told = found >= 0
    alike = found == labels[owners]
    rows = len(labels)
    total = np.bincount(owners[told], weights[told], rows)
    same = np.bincount(owners[told & alike], weights[told & alike], rows)
    shares: Numbers = np.divide(same, total, out=np.full(rows, np.nan), where=total > 0)
    return shares


def cut_lines(texts: View) -> tuple[Offsets, Positions]:
    """Where the lines of all texts begin, with the end of the last, and whose each of them is.

    A line keeps its newline, so that lines follow each other without a gap.
    """
    first, last = int(texts.offsets[0]), int(texts.offsets[-1])
    newlines = np.flatnonzero(texts.data[first:last] == NEWLINE) + first + 1
    offsets = np.unique(np.concatenate([newlines, texts.offsets])).astype(np.int32)
    owners = np.searchsorted(texts.offsets, offsets[:-1], "right") - 1
    return offsets, owners
