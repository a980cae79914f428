"""Which tokens every training step sees: a closed form of shards, seed and step.

The shards are cut into windows that overlap by one token, so that every token but the first is
predicted once per epoch. Each epoch visits all windows in an order of its own, given by a keyed
permutation. Nothing is remembered from step to step: resuming at step n is asking for step n.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Hashes, Positions
from curate.errors import ShardError
from tokenizer.dataset import TokenDataset
from trainer.settings import Source, TrainSettings

IGNORED = -100  # a target that is not trained; the value that torch ignores by default
_ROUNDS = 6
# Indices computed at once: a call for 64 costs as much NumPy overhead as one for 4,096.
_AHEAD = 4096


class Window(NamedTuple):
    """One step's rows: tokens, what follows each, and which document each belongs to."""

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    documents: NDArray[np.int32] | None


def permuted(indices: Positions, size: int, key: Hashes) -> Positions:
    """Where a keyed permutation of range(size) puts these indices; one key for each.

    A balanced Feistel network over the next even number of bits, walked until it falls inside.
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    values = indices.astype(np.uint64)
    outside = np.ones(len(values), np.bool_)
    while outside.any():
        left, right = values[outside] >> half, values[outside] & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_mixed(right, key[outside], turn) & mask)
        values[outside] = (left << half) | right
        outside = values >= np.uint64(size)
    return values.astype(np.int64)


def _mixed(values: Hashes, key: Hashes, turn: int) -> Hashes:
    """The SplitMix64 finalizer of a value, its key and the round."""
    mixed = (values + key) ^ np.uint64((turn + 1) * 0x9E3779B97F4A7C15 % (1 << 64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    finalized: Hashes = mixed ^ (mixed >> np.uint64(31))
    return finalized


def open_loader(data: Path | Mapping[str, Source], settings: TrainSettings) -> "Loader":
    """The windows of a training, of one folder of token shards or of a mixture of several."""
    if not isinstance(data, Path):
        raise ShardError("mixtures are not read yet")
    return Loader(
        TokenDataset(data), settings.context, settings.seed, masked=settings.document_mask
    )


class Loader:
    """The windows of any training step, in any order, without state."""

    def __init__(self, dataset: TokenDataset, context: int, seed: int, *, masked: bool) -> None:
        self.windows = (dataset.tokens - 1) // context
        if self.windows < 1:
            raise ShardError(
                f"{dataset.folder}: {dataset.documents} documents with {dataset.tokens} tokens are "
                f"too few for one window of {context} + 1; keep more documents, or lower "
                "train.context"
            )
        self.vocab_size, self.end_of_text = dataset.vocab_size, dataset.end_of_text
        self.digest = dataset.digest  # of what is read, and of what decides the order
        self._dataset = dataset
        self._context = context
        self._seed = np.uint64(seed % (1 << 64))
        self._masked = masked
        self._ahead = (0, np.empty(0, np.int64))

    def epochs(self, samples: int) -> dict[str, float]:
        """How often each source has been seen after so many samples, by its name."""
        return {str(self._dataset.folder): samples / self.windows}

    def order(self, first: int, count: int) -> Positions:
        """The windows that samples first, first + 1, ... of the whole training show."""
        start, windows = self._ahead
        if first < start or first + count > start + len(windows):
            samples = np.arange(first, first + max(count, _AHEAD), dtype=np.int64)
            epochs = (samples // self.windows).astype(np.uint64)
            key = _mixed(epochs, np.full(len(epochs), self._seed), _ROUNDS)
            start, windows = first, permuted(samples % self.windows, self.windows, key)
            self._ahead = (start, windows)
        return windows[first - start : first - start + count]

    def stored(self, first: int, count: int) -> NDArray[np.unsignedinteger[Any]]:
        """The samples first, first + 1, ... as rows of context + 1 tokens."""
        length = self._context + 1
        tokens = np.empty((count, length), self._dataset.dtype)
        starts = self.order(first, count) * self._context
        for row, start in zip(tokens, starts.tolist(), strict=True):
            self._dataset.window(start, length, row)
        return tokens

    def rows(self, first: int, count: int) -> Window:
        """The same samples as a model is fed with them."""
        wide = self.stored(first, count).astype(np.int64)
        inputs, targets = wide[:, :-1], wide[:, 1:]
        if not self._masked:
            return Window(inputs, targets, None)
        documents = self._documents(first, count)
        # The only context of a document's first token is the document before it.
        targets = np.where(documents[:, 1:] == documents[:, :-1], targets, IGNORED)
        return Window(inputs, targets, documents[:, :-1])

    def _documents(self, first: int, count: int) -> NDArray[np.int32]:
        """For each token of these samples, which document of its row it belongs to."""
        length = self._context + 1
        documents = np.zeros((count, length), np.int32)
        starts = self.order(first, count) * self._context
        for row, start in zip(documents, starts.tolist(), strict=True):
            row[self._dataset.document_starts(start, length)] = 1
        documents.cumsum(axis=1, out=documents)
        return documents
