"""Which language a text is in, as fastText's `lid.176` tells it (Joulin et al. 2016).

datatrove's LanguageFilter keeps a document when a wanted language scores above .65; above one half
that is the first label, which is the one recorded here.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate import models
from curate.column import Numbers
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
        if self.keep:
            unwanted = np.array([language not in self.keep for language in languages], np.bool_)
            batch = mark(batch, unwanted, "language.unwanted", value=scores)
        # Not "below", so that NaN is dropped as well.
        uncertain = ~(scores >= self.low)
        return mark(batch, uncertain, "language.score", value=scores, bound=self.low)


def language_of(texts: pa.Array, model: FastText) -> tuple[list[str], Numbers]:
    """The first label of every text and its probability; `und` and NaN without words."""
    probabilities = model.probabilities(texts)
    if len(probabilities) == 0:
        return [], np.empty(0)
    silent = np.isnan(probabilities[:, 0])
    first = np.argmax(probabilities, axis=1)
    scores = np.round(probabilities[np.arange(len(first)), first].astype(np.float64), DECIMALS)
    languages = [model.labels[label] for label in first.tolist()]
    for row in np.flatnonzero(silent).tolist():
        languages[row] = UNDETERMINED
    # The library's sum of logarithms can exceed a probability of 1 by its rounding.
    return languages, np.minimum(scores, 1.0)
