"""Which row of which source each sample shows: shares, caps and orders, with nothing remembered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from curate.column import Hashes, Positions
from curate.errors import RecipeError, ShardError

_ROUNDS = 6
_BLOCK = 1 << 16  # samples in which every source has its exact count
# Samples of a single source that are ordered at once: 64 cost as much NumPy overhead as 4,096.
_AHEAD = 1 << 12


@dataclass(frozen=True)
class Supply:
    """What one source has, and how much of it is asked for."""

    name: str
    tokens: int
    rows: int  # samples in one epoch
    row_tokens: Fraction  # predicted by a row in the mean
    share: float  # of the tokens trained on; 0 in all of them: as many as each has
    max_epochs: float

    @property
    def most(self) -> float:
        """The samples that it may give."""
        if math.isinf(self.max_epochs):
            return math.inf
        return math.floor(_as_written(self.max_epochs) * self.rows)


def _as_written(number: float) -> Fraction:
    """What the user wrote: .29 of 100 rows are 29, of the next binary fraction 28."""
    return Fraction(str(number))


@dataclass(frozen=True)
class Planned:
    """What a training takes from one source."""

    name: str
    tokens: int  # that the source has
    share: float  # that was asked for
    planned_tokens: int
    planned_share: float  # differs where a source is used up, and where rows are not all full
    epochs: float


def planned(supplies: Sequence[Supply], counts: Sequence[int]) -> list[Planned]:
    """The table of a training that shows so many samples of each source."""
    tokens = [count * each.row_tokens for count, each in zip(counts, supplies, strict=True)]
    shares = _shares(supplies)
    return [
        Planned(
            each.name,
            each.tokens,
            float(share / sum(shares)),
            round(of_it),
            float(of_it / sum(tokens)),
            count / each.rows,
        )
        for each, share, of_it, count in zip(supplies, shares, tokens, counts, strict=True)
    ]


def sample_counts(supplies: Sequence[Supply], steps: int, batch: int) -> list[int]:
    """How many of a training's samples each source gives: shares of tokens, within the caps.

    What a source may not give is shared among the others by their weights.
    """
    _check_enough(supplies, steps, batch)
    samples = steps * batch
    weights = [
        share / each.row_tokens for each, share in zip(supplies, _shares(supplies), strict=True)
    ]
    counts: dict[int, int] = {}
    wanted = _divided(weights, counts, samples)
    while over := [i for i, want in wanted.items() if want > supplies[i].most]:
        counts |= {i: int(supplies[i].most) for i in over}
        wanted = _divided(weights, counts, samples)
    counts |= {i: math.floor(want) for i, want in wanted.items()}
    # One more for the largest remainders; a cap is a whole number, so none is passed by that.
    by_remainder = sorted(wanted, key=lambda i: (counts[i] - wanted[i], i))
    for i in by_remainder[: samples - sum(counts.values())]:
        counts[i] += 1
    return [counts[i] for i in range(len(supplies))]


def _divided(
    weights: Sequence[Fraction], given: dict[int, int], samples: int
) -> dict[int, Fraction]:
    """What is left of the samples, divided among the sources that are not settled."""
    left = samples - sum(given.values())
    total = sum(weight for i, weight in enumerate(weights) if i not in given)
    return {i: weight * left / total for i, weight in enumerate(weights) if i not in given}


def _shares(supplies: Sequence[Supply]) -> list[Fraction]:
    if not any(each.share for each in supplies):
        return [Fraction(each.tokens) for each in supplies]
    for each in supplies:
        if not each.share:
            raise RecipeError(f"{each.name}: share: none; write one for every source, or for none")
    return [_as_written(each.share) for each in supplies]


def _check_enough(supplies: Sequence[Supply], steps: int, batch: int) -> None:
    most = sum(each.most for each in supplies)
    if most < steps * batch:
        caps = ", ".join(f"{each.name} {each.most:,}" for each in supplies)
        raise ShardError(
            f"train.steps: {steps:,} of {batch} samples; max_epochs leaves {most:,} samples "
            f"({caps}), enough for {most // batch:,} steps; lower train.steps or raise max_epochs"
        )


class Mixture:
    """The order of samples of one source, endless, or of several, so many of each."""

    def __init__(self, rows: Sequence[int], counts: Sequence[int], seed: int) -> None:
        self._rows = rows
        self._counts = counts
        self._samples = sum(counts)
        self._seed = np.uint64(seed % (1 << 64))
        self._is_one = len(rows) == 1
        # The largest power of two that the training fills, so that it has an exact block.
        self._size = _AHEAD if self._is_one else min(_BLOCK, 1 << self._samples.bit_length() - 1)
        self._shown = (0, [0] * len(rows))
        # A batch may reach into a second block.
        self._ordered = lru_cache(2)(self._order_of_block)

    def order(self, first: int, count: int) -> tuple[Positions, Positions]:
        """For samples first, first + 1, ... of the training: which source, and which row of it."""
        if not self._is_one and first + count > self._samples:
            raise IndexError(f"samples {first} to {first + count} of {self._samples}")
        pieces = []
        for number in range(first // self._size, -(-(first + count) // self._size)):
            sources, rows = self._ordered(number)
            within = slice(max(0, first - number * self._size), first + count - number * self._size)
            pieces.append((sources[within], rows[within]))
        if len(pieces) == 1:
            return pieces[0]
        empty = np.empty(0, np.int64)
        return (
            np.concatenate([empty, *(sources for sources, _ in pieces)]),
            np.concatenate([empty, *(rows for _, rows in pieces)]),
        )

    def epochs(self, samples: int) -> list[float]:
        """How often each source has been seen after so many samples."""
        block = samples // self._size
        shown = list(self.shown(block))
        if samples > block * self._size:
            sources = self._ordered(block)[0][: samples - block * self._size]
            there = np.bincount(sources, minlength=len(shown)).tolist()
            shown = [a + b for a, b in zip(shown, there, strict=True)]
        return [count / rows for count, rows in zip(shown, self._rows, strict=True)]

    def shown(self, block: int) -> list[int]:
        """How many samples each source has given when a block begins.

        Counted from the first block on, at 14 µs each for seven sources: a training of 10**12
        tokens resumes at its end in 0.1 s.
        """
        if self._is_one:
            return [block * self._size]
        number, shown = self._shown if self._shown[0] <= block else (0, [0] * len(self._rows))
        while number < block:
            number += 1
            shown = self._after(shown, min(number * self._size, self._samples))
        self._shown = (number, shown)
        return shown

    def _after(self, shown: list[int], end: int) -> list[int]:
        """What each source has given by the end of a block; less than one from its share of it.

        Each sample of a source is due between two moments, when its share reaches it and when its
        share has passed it. Of those that may come, the ones that must come soonest do: such a
        schedule keeps all dates if any does. Largest remainders would not, with small sources.
        """
        due = [
            max(before, end * count // self._samples)
            for before, count in zip(shown, self._counts, strict=True)
        ]
        dates = [
            (-(-(have + 1) * self._samples // count), i)
            for i, (have, count) in enumerate(zip(due, self._counts, strict=True))
            if have * self._samples < end * count
        ]
        for _, i in sorted(dates)[: end - sum(due)]:
            due[i] += 1
        return due

    def _order_of_block(self, number: int) -> tuple[Positions, Positions]:
        """The sources and rows of a block."""
        before, after = self.shown(number), self.shown(number + 1)
        counts = [b - a for a, b in zip(before, after, strict=True)]
        sources = np.repeat(np.arange(len(counts)), counts)
        if not self._is_one:
            places = np.arange(len(sources))
            key = keys(np.full(len(sources), number), self._seed, len(counts))
            sources = sources[permuted(places, len(sources), key)]
        rows = np.empty(len(sources), np.int64)
        for source, (start, count) in enumerate(zip(before, counts, strict=True)):
            here = np.arange(start, start + count)
            size = self._rows[source]
            key = keys(here // size, self._seed, source)
            rows[sources == source] = permuted(here % size, size, key)
        return sources, rows


def keys(turns: Positions, seed: np.uint64, source: int) -> Hashes:
    """A key for each turn of a source: an epoch of it, or a block."""
    key = np.zeros(1, np.uint64)
    # One behind the other: a sum of all would be the same for seed 1 in epoch 0 and the reverse.
    for part in (np.array([seed]), np.array([source], np.uint64), turns.astype(np.uint64)):
        key = _mixed(part, key, _ROUNDS)
    return key


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
