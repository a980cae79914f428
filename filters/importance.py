"""DSIR's importance weights as RedPajama-v2 has them: how much likelier a text is in a target.

Xie et al. 2023, arXiv:2302.03169; RedPajama-Data, app/src/core/quality_signals at commit 855a8e0.
Counted are raw words (cut "wordpunct") and pairs of them, as they are written (DSIR itself makes
letters small), hashed into buckets. Differs: RedPajama's buckets are of Python's `hash` under a
fixed seed, ours of our 64-bit hash, so that other words meet in one, and its counts are no model.
"""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import gammaln, xlogy

from curate import models
from curate.column import Mask, Numbers, Positions, View, frozen, view
from curate.errors import ModelError, RecipeError
from curate.hashing import hash_bytes, join
from curate.index import WordPlaces
from curate.kernel import helper
from curate.schema import LANGUAGE, TEXT, Batch
from curate.stage import Stage, free_column, mark, with_column
from curate.store import file_digest
from curate.wordpunct import places
from filters.stopwords import languages_of

COUNTS, CARD = "counts.npy", "card.json"
# What both add to a probability, so that its logarithm is finite.
SMALLEST = 1e-8


@helper
def _count(text: View, words: WordPlaces, counts: Positions) -> None:
    """Add up how often the words and pairs of words of all texts fall into each bucket."""
    buckets = np.uint64(len(counts))
    for row in range(len(words.offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        first, before = words.offsets[row], np.uint64(0)
        for word in range(first, words.offsets[row + 1]):
            hashed = hash_bytes(own, words.starts[word], words.ends[word])
            counts[hashed % buckets] += 1
            if word > first:
                counts[join(before, hashed) % buckets] += 1
            before = hashed


@helper
def _weigh(text: View, words: WordPlaces, weights: Numbers, found: Numbers) -> None:
    """Write what the words and pairs of words of each text weigh together."""
    buckets = np.uint64(len(weights))
    for row in range(len(words.offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        first, before, total = words.offsets[row], np.uint64(0), 0.0
        for word in range(first, words.offsets[row + 1]):
            hashed = hash_bytes(own, words.starts[word], words.ends[word])
            total += weights[hashed % buckets]
            if word > first:
                total += weights[join(before, hashed) % buckets]
            before = hashed
        found[row] = total


def counted(texts: pa.Array, counts: Positions) -> int:
    """Add the words and pairs of these texts to the counts of their buckets; how many words."""
    text = view(texts)
    words = places(text)
    _count(text, words, counts)
    return len(words.starts)


@dataclass(frozen=True)
class Corpora:
    """Two corpora, as a model keeps them: what each bucket weighs, and words per document."""

    weights: Numbers
    target: float
    source: float

    def scores(self, texts: pa.Array, *, length_correction: bool = False) -> Numbers:
        """The logarithm of how much likelier each text is in the target; NaN for an empty one."""
        text = view(texts)
        found = np.empty(len(texts), np.float64)
        _weigh(text, places(text), self.weights, found)
        found[np.diff(text.offsets) == 0] = np.nan
        if not length_correction:
            return found
        lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
        return found + _log_poisson(lengths, self.target) - _log_poisson(lengths, self.source)


def weights(counts: Positions) -> Numbers:
    """What each bucket weighs, from counts of the target and of the source."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    target, source = (np.array(_logarithms(row), np.float64) for row in shares + SMALLEST)
    return frozen(target - source)


def _log_poisson(lengths: Numbers, mean: float) -> Numbers:
    exponents = xlogy(lengths, mean) - gammaln(lengths + 1.0) - mean
    likely = [math.exp(exponent) + SMALLEST for exponent in exponents.tolist()]
    return np.array(_logarithms(likely), np.float64)


def _logarithms(numbers: Iterable[float]) -> list[float]:
    """Natural logarithms; NumPy's differ in the last bit where there is AVX-512."""
    return [math.log(number) for number in numbers]


@dataclass(frozen=True)
class Importance:
    """Add a text's importance weight, higher where it is more like the target than the source.

    `model` is the folder that `curate importance train` wrote. With {language} in its name there is
    one for each language; documents of others have no number and break no bound. A sum over words,
    the weight grows with a text's length. `length_correction` adds RedPajama's, which compares
    the text's characters with the corpora's words per document, and so is 0 for most texts. To keep
    the best share, leave `low` out and put a `best.Best` with this `column` behind.
    """

    model: str = ""
    column: str = "importance"
    length_correction: bool = False
    low: float | None = None

    leaves_text: ClassVar = True
    judged_by: ClassVar = ("low",)

    def __post_init__(self) -> None:
        if not self.model:
            raise RecipeError("model: none given; name a folder of `curate importance train`")
        free_column(self.column)
        if self.low is not None and not math.isfinite(self.low):
            raise RecipeError(f"low: {self.low}; write a number, or leave it out")

    @property
    def judged_from(self) -> tuple[str, ...]:
        """The column from which `judge` takes its verdicts."""
        return (self.column,)

    def files(self) -> dict[str, Path]:
        """The files on which the result depends, by name."""
        found: dict[str, Path] = {}
        for language, folder in folders(self.model).items():
            name = self.model.replace(models.LANGUAGE, language)
            found |= {name: folder / COUNTS, f"{name} card": folder / CARD}
        return found

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Load the models."""
        loaded = {name: load(folder, name) for name, folder in folders(self.model).items()}
        for corpora in loaded.values():  # kernels are loaded here, or compiled
            corpora.scores(pa.array([], pa.string()))
        yield lambda batch: self.score(batch, loaded)

    def score(self, batch: Batch, loaded: dict[str, Corpora]) -> Batch:
        """The batch with the weight of every text."""
        numbers = np.full(batch.num_rows, np.nan)
        known = np.zeros(batch.num_rows, np.bool_)
        for language, corpora in loaded.items():
            rows = np.flatnonzero(self._mine(batch, language))
            texts = batch.column(TEXT).take(pa.array(rows)) if language else batch.column(TEXT)
            numbers[rows] = corpora.scores(texts, length_correction=self.length_correction)
            known[rows] = True
        return self.judge(with_column(batch, self.column, pa.array(numbers, mask=~known)))

    def _mine(self, batch: Batch, language: str) -> Mask:
        if not language:
            return np.ones(batch.num_rows, np.bool_)
        if LANGUAGE not in batch.schema.names:
            raise RecipeError(
                f"importance.Importance: {self.model} needs the language of every document; "
                "put language.Identify before it"
            )
        return np.array([one == language for one in languages_of(batch, "")], np.bool_)

    def judge(self, batch: Batch) -> Batch:
        """The batch with the verdicts that its numbers call for."""
        if self.low is None:
            return batch
        column = batch.column(self.column)
        scores = column.to_numpy(zero_copy_only=False)
        # Not "below", so that NaN is dropped as well; without a model there is null.
        low = ~(scores >= self.low) & column.is_valid().to_numpy(zero_copy_only=False)
        return mark(batch, low, f"importance.{self.column}", value=scores, bound=self.low)


def folders(name: str) -> dict[str, Path]:
    """The folders of a model by language, where its name holds {language}; else one, under ""."""
    found = {"": Path(name).expanduser()}
    if models.LANGUAGE in name:
        found = models.model_files(name)
    for folder in found.values():
        for file in (COUNTS, CARD):
            if not (folder / file).is_file():
                raise ModelError(
                    f"{folder}: no {file} in it; name a folder of `curate importance train`"
                )
    return found


def load(folder: Path, language: str = "") -> Corpora:
    """The model in a folder, which must not say that it is of another language."""
    card = read_card(folder)
    if language and card["language"] not in ("", language):
        raise ModelError(f"{folder}: a model of {card['language']!r}, not of {language!r}")
    try:
        counts = np.load(folder / COUNTS, allow_pickle=False)
        lengths = (card[side]["words"] / card[side]["documents"] for side in ("target", "source"))
        return Corpora(weights(counts), *lengths)
    except (OSError, ValueError, EOFError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ModelError(f"{folder}: no importance model; train it again: {error}") from error


def read_card(folder: Path) -> dict[str, Any]:
    """What the card beside the counts says."""
    place = folder / CARD
    try:
        card: dict[str, Any] = json.loads(place.read_bytes())
        said = card["model"]["sha256"], card["language"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{place}: no card of an importance model; train it again") from error
    if file_digest(folder / COUNTS) != said[0]:
        raise ModelError(f"{place}: the card of other counts than {COUNTS}; put theirs together")
    return card
