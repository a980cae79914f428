"""Which tokens every training step sees: a closed form of shards, seed and step.

By default shards are cut into windows that overlap by one token, so that every token but the first
is predicted once per epoch. Each epoch visits all windows in an order of its own, given by a keyed
permutation. Nothing is remembered from step to step: resuming at step n is asking for step n.
"""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Positions
from curate.errors import ShardError
from curate.store import digest
from tokenizer.dataset import TokenDataset
from trainer.mixture import Mixture, Planned, Supply, planned, sample_counts
from trainer.packing import Rows, rows_of
from trainer.settings import Source, TrainSettings

_Share = tuple[Rows, Positions, Positions]

IGNORED = -100  # a target that is not trained; the value that torch ignores by default


class Window(NamedTuple):
    """One step's rows: tokens, what follows each, and which document each belongs to."""

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    documents: NDArray[np.int32] | None


def open_loader(
    data: Path | Mapping[str, Source], settings: TrainSettings, plans: Path | None = None
) -> "Loader":
    """The rows of a training, of one folder of token shards or of a mixture of several.

    Plans of packing are kept in the folder `plans`; without one they are made at each start.
    """
    if isinstance(data, Path):
        name = str(data)
        return Loader({name: TokenDataset(data)}, {name: Source(name)}, settings, plans)
    if not data:
        raise ShardError("no sources; write at least one, with the folder of its tokens")
    # By name: the order in which they are written is no part of a training.
    sources = {name: data[name] for name in sorted(data)}
    datasets = {name: TokenDataset(Path(source.tokens)) for name, source in sources.items()}
    loader = Loader(datasets, sources, settings, plans)
    asked = {name: [source.share, str(source.max_epochs)] for name, source in sources.items()}
    loader.digest = digest(
        {name: [datasets[name].digest, *asked[name]] for name in sources}  # not where they lie
    )
    return loader


class Loader:
    """The rows of any training step, in any order, without state."""

    def __init__(
        self,
        datasets: Mapping[str, TokenDataset],
        sources: Mapping[str, Source],
        settings: TrainSettings,
        plans: Path | None,
    ) -> None:
        first, *others = datasets.values()
        for other in others:
            _check_alike(first, other)
        self.vocab_size, self.end_of_text = first.vocab_size, first.end_of_text
        self.vocabulary: str = first.manifest["vocabulary"]
        self.digest = first.digest  # of what is read, and of what decides which samples it gives
        self._dtype = first.dtype
        self._length = settings.context + 1
        self._masked = settings.document_mask
        self._names = list(datasets)
        self._rows = [
            rows_of(dataset, settings.context, settings.packing, plans)
            for dataset in datasets.values()
        ]
        for dataset, rows in zip(datasets.values(), self._rows, strict=True):
            _check_some(dataset, rows, settings)
        self.windows = sum(rows.rows for rows in self._rows)
        supplies = [
            Supply(name, datasets[name].tokens, rows.rows, Fraction(rows.targets, rows.rows),
                   sources[name].share, sources[name].max_epochs)
            for name, rows in zip(datasets, self._rows, strict=True)
        ]  # fmt: skip
        counts = sample_counts(supplies, settings.steps, settings.batch)
        self.planned: list[Planned] = planned(supplies, counts)
        self._is_full = all(rows.fill == 1 for rows in self._rows)
        self._mixture = Mixture([rows.rows for rows in self._rows], counts, settings.seed)

    def epochs(self, samples: int) -> dict[str, float]:
        """How often each source has been seen after so many samples, by its name."""
        return dict(zip(self._names, self._mixture.epochs(samples), strict=True))

    def order(self, first: int, count: int) -> tuple[Positions, Positions]:
        """For samples first, first + 1, ... of the training: which source, and which row of it."""
        return self._mixture.order(first, count)

    def stored(self, first: int, count: int) -> NDArray[np.unsignedinteger[Any]]:
        """The samples first, first + 1, ... as rows of context + 1 tokens."""
        return self._read(self._by_source(first, count), count)

    def rows(self, first: int, count: int) -> Window:
        """The same samples as a model is fed with them."""
        shares = self._by_source(first, count)
        stored = self._read(shares, count)
        wide = stored.astype(np.int64)
        if not self._masked and self._is_full:
            return Window(wide[:, :-1], wide[:, 1:], None)
        targets = stored[:, 1:].astype(np.int64)
        marks, documents = np.empty(0, np.int64), None
        for source, places, rows in shares:
            filled = source.filled(rows)
            for short in np.flatnonzero(filled < self._length).tolist():
                targets[places[short], filled[short] - 1 :] = IGNORED
            if self._masked:
                within, starts = source.marks(rows)
                marks = np.concatenate([marks, places[within] * self._length + starts])
        if self._masked:
            marks.sort()
            documents = numbered(marks, count, self._length)[:, :-1]
            # The only context of a document's first token is the document before it.
            marks = marks[marks % self._length > 0]
            targets.reshape(-1)[marks - marks // self._length - 1] = IGNORED
        return Window(wide[:, :-1], targets, documents)

    def _by_source(self, first: int, count: int) -> list[_Share]:
        """The samples of each source: their places among these, and their rows."""
        sources, rows = self.order(first, count)
        shares = []
        for source in np.unique(sources).tolist():
            places = np.flatnonzero(sources == source)
            shares.append((self._rows[source], places, rows[places]))
        return shares

    def _read(self, shares: list[_Share], count: int) -> NDArray[np.unsignedinteger[Any]]:
        tokens = np.empty((count, self._length), self._dtype)
        for source, places, rows in shares:
            source.read(rows, [tokens[place] for place in places.tolist()])
        return tokens


def numbered(marks: Positions, count: int, length: int) -> NDArray[np.int32]:
    """For each place of `count` rows how many marks of its row are there or before.

    Marks are numbered through all rows, in order. Runs of equal numbers are a tenth of the work of
    running sums.
    """
    rows = marks // length
    # A row begins before the mark that is at its first place: a run of no length.
    begins = np.arange(count) + np.searchsorted(rows, np.arange(count))
    edges = np.insert(marks, np.searchsorted(rows, np.arange(count)), np.arange(count) * length)
    runs = np.diff(edges, append=count * length)
    numbers = np.arange(len(edges)) - np.repeat(begins, np.diff(begins, append=len(edges)))
    return np.repeat(numbers.astype(np.int32), runs).reshape(count, length)


def _check_alike(one: TokenDataset, other: TokenDataset) -> None:
    """Fail where two folders have not the same ids."""
    for fact, meaning in (
        ("vocabulary", "tokenizer"),
        ("vocab_size", "number of ids"),
        ("end_of_text", "end of text"),
    ):
        if one.manifest[fact] != other.manifest[fact]:
            raise ShardError(
                f"{one.folder} and {other.folder} differ in their {meaning}: "
                f"{one.manifest[fact]} and {other.manifest[fact]}; write both with one tokenizer"
            )


def _check_some(dataset: TokenDataset, rows: Rows, settings: TrainSettings) -> None:
    if rows.targets < 1:
        raise ShardError(
            f"{dataset.folder}: {dataset.documents} documents with {dataset.tokens} tokens are "
            f"too few for one window of {settings.context} + 1; keep more documents, or lower "
            "train.context"
        )
    if settings.document_mask and dataset.tokens == dataset.documents:
        raise ShardError(
            f"{dataset.folder}: all of its {dataset.documents} documents are empty, so there is "
            "nothing to predict; keep others"
        )
