"""Quality classifiers: linear fastText models that give a text a number, and the card beside one.

LLaMA (arXiv:2302.13971) told pages that Wikipedia refers to from random ones; RedPajama's rebuild
keeps .25 and more. DCLM (arXiv:2406.11794) told instructions (OH-2.5, ELI5) from RefinedWeb and
keeps .018112 and more, about the best tenth. Both make newlines spaces, and take the probability
of one label.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import models
from curate.column import Numbers, view
from curate.errors import ModelError, RecipeError
from curate.schema import TEXT, Batch
from curate.stage import Stage, free_column, mark, with_column
from curate.store import file_digest
from filters.fasttext_file import LABEL
from filters.fasttext_model import FastText
from filters.language import known_label

MODEL, CARD = "model.bin", "card.json"
# As DCLM's published threshold has them.
DECIMALS = 6
# Line ends of Python's splitlines() that fastText takes for letters; the others part words for it.
LINE_ENDS = "[\x1c-\x1e\u0085\u2028\u2029]"


@dataclass(frozen=True)
class Classifier:
    """A model with the label that its number is about, and how texts are written for it."""

    model: FastText
    label: str
    lower: bool

    def scores(self, texts: pa.Array) -> Numbers:
        """The label's probability for every text; NaN without words."""
        found = self.model.probabilities(view(normalised(texts, lower=self.lower)))
        column = found[:, self.model.labels.index(self.label)].astype(np.float64)
        return np.round(column, DECIMALS).astype(np.float64, copy=False)


@dataclass(frozen=True)
class Score:
    """Add the probability of a classifier's label as a number; with `low`, drop what is below it.

    `model` is the folder that `curate classifier train` wrote, whose card names the label and says
    how texts are written; or any fastText model by its path. To keep the best share rather than
    what reaches a bound, leave `low` out and put a `best.Best` with this `column` behind.
    """

    model: str = ""
    column: str = "quality"
    label: str = ""  # such as hq, or __label__hq; empty: the card's
    low: float | None = None

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    judged_by: ClassVar = ("low",)

    def __post_init__(self) -> None:
        if not self.model:
            raise RecipeError("model: none given; name a folder or a .bin or .ftz file")
        free_column(self.column)
        if self.low is not None and not 0 <= self.low <= 1:
            raise RecipeError(f"low: {self.low} is no probability; write 0 to 1")

    @property
    def judged_from(self) -> tuple[str, ...]:
        """The column from which `judge` takes its verdicts."""
        return (self.column,)

    def files(self) -> dict[str, Path]:
        """The files on which the result depends, by name."""
        path = model_file(self.model)
        card = path.with_name(CARD)
        return {self.model: path, **({f"{self.model} card": card} if card.is_file() else {})}

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Load the model."""
        classifier = load(self.model, self.label)
        yield lambda batch: self.score(batch, classifier)

    def score(self, batch: Batch, classifier: Classifier) -> Batch:
        """The batch with the number of every text."""
        scores = classifier.scores(batch.column(TEXT))
        return self.judge(with_column(batch, self.column, pa.array(scores, pa.float64())))

    def judge(self, batch: Batch) -> Batch:
        """The batch with the verdicts that its numbers call for."""
        if self.low is None:
            return batch
        scores = batch.column(self.column).to_numpy(zero_copy_only=False)
        # Not "below", so that NaN is dropped as well.
        low = ~(scores >= self.low)
        return mark(batch, low, f"classifier.{self.column}", value=scores, bound=self.low)


def load(name: str, label: str = "") -> Classifier:
    """A classifier by its folder or its model's path; its card may name the label."""
    path = model_file(name)
    card = read_card(path)
    model = FastText.load(path)
    label = label.removeprefix(LABEL.decode()) or card.get("label", "")
    if not label:
        raise RecipeError(f"label: {name} has no card; write one of {', '.join(model.labels)}")
    known_label(label, model, f"label: {name} has no")
    return Classifier(model, label, bool(card.get("normalise", {}).get("lower", False)))


def model_file(name: str) -> Path:
    """The file of a model, by its folder, its path, or `path#sha256=...`."""
    folder = Path(name).expanduser()
    return models.model_path(str(folder / MODEL) if folder.is_dir() else name)


def read_card(path: Path) -> dict[str, Any]:
    """What the card beside a model says; nothing where there is none."""
    place = path.with_name(CARD)
    if not place.is_file():
        return {}
    try:
        card = json.loads(place.read_bytes())
        said = card["model"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{place}: no card of a classifier; train it again") from error
    if file_digest(path) != said:
        raise ModelError(
            f"{place}: the card of another model than {path.name}; put theirs together"
        )
    checked: dict[str, Any] = card
    return checked


def normalised(texts: pa.Array, *, lower: bool) -> pa.Array:
    """Texts as a classifier reads them: every line end a space, letters small if it wants so."""
    if pc.any(pc.match_substring_regex(texts, LINE_ENDS)).as_py():
        texts = pc.replace_substring_regex(texts, LINE_ENDS, " ")
    return pc.utf8_lower(texts) if lower else texts
