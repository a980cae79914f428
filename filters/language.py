"""Which language a text is in, as fastText's `lid.176` tells it (Joulin et al. 2016).

datatrove's LanguageFilter keeps a document when a wanted language scores above .65; above one half
that is the first label, which is the one recorded here.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import models
from curate.column import Numbers, view
from curate.errors import RecipeError
from curate.schema import LANGUAGE, LANGUAGE_SCORE, TEXT, Batch
from curate.stage import Stage, mark, with_column
from filters.fasttext_model import FastText

UNDETERMINED = "und"  # ISO 639-2 for a text without words
# Sums of floats differ in the seventh place from one processor to the next; a decision should not.
DECIMALS = 5


@dataclass(frozen=True)
class Identify:
    """Add `language` and `language_score`; drop what is not wanted, or not certain enough."""

    model: str = "lid.176"  # a name that `curate models list` shows, or a path
    keep: tuple[str, ...] = ()  # empty: all languages
    low: float = 0.65
    judged_from: ClassVar = (LANGUAGE, LANGUAGE_SCORE)
    judged_by: ClassVar = ("keep", "low")

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1:
            raise RecipeError(f"low: {self.low} is no probability; write 0 to 1")

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Load the model, if it is whole."""
        model = FastText.load(models.model_path(self.model))
        for language in self.keep:
            if language not in model.labels:
                near = difflib.get_close_matches(language, model.labels, n=1, cutoff=0.3)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise RecipeError(f"keep: {self.model} knows no language {language!r}{hint}")
        yield lambda batch: self.identify(batch, model)

    def identify(self, batch: Batch, model: FastText) -> Batch:
        """The batch with the language of every text."""
        languages, scores = language_of(batch.column(TEXT), model)
        batch = with_column(batch, LANGUAGE, pa.array(languages, pa.string()))
        batch = with_column(batch, LANGUAGE_SCORE, pa.array(scores, pa.float64()))
        return self.judge(batch)

    def judge(self, batch: Batch) -> Batch:
        """The batch with the verdicts that its languages and scores call for."""
        languages = batch.column(LANGUAGE)
        scores = batch.column(LANGUAGE_SCORE).to_numpy(zero_copy_only=False)
        if self.keep:
            wanted = pc.is_in(languages, value_set=pa.array(self.keep, pa.string()))
            unwanted = ~wanted.to_numpy(zero_copy_only=False)
            batch = mark(batch, unwanted, "language.unwanted", value=scores)
        # Not "below", so that NaN is dropped as well.
        uncertain = ~(scores >= self.low)
        return mark(batch, uncertain, "language.score", value=scores, bound=self.low)


def language_of(texts: pa.Array, model: FastText) -> tuple[list[str], Numbers]:
    """The first label of every text and its probability; `und` and NaN without words."""
    labels, scores = model.best(view(texts))
    names = [*model.labels, UNDETERMINED]  # the last one for -1
    languages = [names[label] for label in labels[:, 0].tolist()]
    certain: Numbers = np.round(scores[:, 0].astype(np.float64), DECIMALS)
    return languages, certain
