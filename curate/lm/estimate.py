"""From sorted counts to an ARPA file, order by order; the file is that of KenLM's lmplz."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from curate.column import Mask
from curate.errors import LawError, RecipeError
from curate.lm.adjust import MARKED, Adjuster, Statistics, Totals
from curate.lm.arpa import Arpa
from curate.lm.normalize import known
from curate.lm.rows import (
    PAYLOAD,
    Columns,
    Floats,
    Lookup,
    Merge,
    Rows,
    Run,
    Sorter,
    context_order,
    suffix_order,
)
from curate.lm.sentences import Wording
from curate.lm.smooth import backoffs, interpolated, logarithms, shares, unigrams

MAX_ORDER = 6  # of KenLM as its wheel is compiled
MIB = 1 << 20
BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Estimate:
    """What is estimated, and from which sentences."""

    order: int = 5
    prune: tuple[int, ...] = ()  # n-grams seen so often or less are left out, by order
    fallback: tuple[float, ...] | None = None  # discounts where the text gives none
    memory_bytes: int = 1 << 30  # of each process, beside the words
    tokenizer: str = ""
    normalize: str = "none"
    lines: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.order <= MAX_ORDER:
            raise RecipeError(f"order: {self.order}; KenLM reads models of order 2 to {MAX_ORDER}")
        if len(self.prune) > self.order or list(self.prune) != sorted(self.prune):
            raise RecipeError("prune: write one number an order at most, none below the one before")
        if min(self.prune, default=0) < 0:
            raise RecipeError("prune: a number is negative; write 0 to prune nothing")
        if self.fallback and not all(0 <= d <= j for j, d in enumerate(self.fallback, start=1)):
            raise RecipeError("discounts: write D1, D2, D3+ from 0 to 1, 2, 3")
        if self.memory_bytes < MIB:
            raise RecipeError(f"memory: {self.memory_bytes} bytes; write 1M or more")
        known(self.normalize)

    @property
    def least(self) -> tuple[int, ...]:
        """The pruning thresholds of all orders; the last one given holds for those above."""
        return (*self.prune, *(self.prune[-1:] or (0,)) * (self.order - len(self.prune)))

    @property
    def wording(self) -> Wording:
        """How texts become sentences of words."""
        return Wording(self.tokenizer, self.normalize, self.lines)


class Events(Protocol):
    """Is told what goes on."""

    def begin(self, phase: str, total: int, unit: str) -> None: ...

    def advance(self, counts: dict[str, int]) -> None: ...

    def end(self) -> None: ...


class Model:
    """The steps from counts to an ARPA file, in this process."""

    def __init__(self, settings: Estimate, folder: Path, events: Events, words: pa.Array) -> None:
        self._settings, self._folder, self._events, self._words = settings, folder, events, words
        self._bits = max(len(words) - 1, 1).bit_length()

    def estimate(self, runs: list[Run], path: Path) -> dict[str, Any]:
        """Write the model; its n-grams and discounts by order."""
        counts, pruned, adjusted, statistics = self._adjust(runs)
        discounts = statistics.discounts(self._settings.fallback)
        weighed = self._weigh(adjusted, discounts)
        first = unigrams(counts, pruned, discounts[0])
        kept = statistics.kept.tolist()
        with path.open("wb") as file:
            arpa = Arpa(file, self._words, kept)
            self._interpolate(arpa, first, pruned, weighed)
            arpa.end()
        return {
            "ngrams": kept,
            "discounts": [[round(float(d), 6) for d in one[1:]] for one in discounts],
        }

    def _merge(self, keys: Columns, *, counts: bool = False) -> Merge:
        # What is read, taken and sorted at once is several times the size of a piece.
        size = self._settings.memory_bytes // 8
        return Merge(self._folder, keys, self._bits, size, counts)

    def _adjust(self, runs: list[Run]) -> tuple[Totals, Mask, dict[int, list[Run]], Statistics]:
        order, size = self._settings.order, self._settings.memory_bytes // 2
        sorters = {
            n: Sorter(self._folder, f"adjusted{n}", context_order(n), self._bits, size // order)
            for n in range(2, order + 1)
        }
        counts = np.zeros(len(self._words), np.int64)
        pruned = np.zeros(len(self._words), np.bool_)
        adjuster = Adjuster(self._settings.least)

        def take(closed: list[Rows]) -> None:
            first = closed[0] if closed else np.empty((0, 3), np.uint32)
            high = first[:, 2].astype(np.int64)
            counts[first[:, 0]] = first[:, 1] | (high & (MARKED - 1)) << 32
            pruned[first[:, 0]] = high >= MARKED
            for n, rows in enumerate(closed[1:], start=2):
                sorters[n].add(rows)

        self._events.begin("adjust counts", sum(run.rows for run in runs), "ngrams")
        for block in self._merge(suffix_order(order), counts=True)(runs):
            take(adjuster.adjusted(block))
            self._events.advance({"ngrams": len(block)})
        take(adjuster.rest())
        self._events.end()
        done = {n: sorter.finish() for n, sorter in sorters.items()}
        return counts, pruned, done, adjuster.statistics()

    def _weigh(
        self, adjusted: dict[int, list[Run]], discounts: list[Floats]
    ) -> dict[int, tuple[list[Run], Run]]:
        """By order: the shares of n-grams in suffix order, and the weights of their contexts."""
        weighed = {}
        total = sum(run.rows for runs in adjusted.values() for run in runs)
        self._events.begin("weigh contexts", total, "ngrams")
        for n, runs in adjusted.items():
            rows = sum(run.rows for run in runs)
            size = self._settings.memory_bytes // 2
            sorter = Sorter(self._folder, f"shares{n}", suffix_order(n), self._bits, size)
            path = self._folder / f"contexts{n}"
            contexts = shares(runs, discounts[n - 1], self._merge(context_order(n)), sorter, path)
            weighed[n] = sorter.finish(), contexts
            self._events.advance({"ngrams": rows})
        self._events.end()
        return weighed

    def _interpolate(
        self, arpa: Arpa, first: Floats, pruned: Mask, weighed: dict[int, tuple[list[Run], Run]]
    ) -> None:
        """Write all orders, each with the probabilities of the one before it."""
        total = sum(run.rows for runs, _ in weighed.values() for run in runs)
        self._events.begin("write model", total, "ngrams")
        order, size = self._settings.order, self._settings.memory_bytes // 16
        lower: Lookup | None = None
        for n in range(1, order + 1):
            arpa.begin(n)
            contexts = Lookup(weighed[n + 1][1], size) if n < order else None
            path = self._folder / f"probabilities{n}"
            with path.open("wb") as file:
                for block in self._blocks(n, pruned, weighed):
                    rows = np.ascontiguousarray(block)
                    if n == 1:
                        values = first[rows[:, 0]]
                    else:
                        below = first[rows[:, 1]] if lower is None else lower.values(rows, 1)
                        values = interpolated(rows, below)
                    if np.isnan(values).any():
                        raise LawError("an n-gram is in the model, but not without its first word")
                    written = np.minimum(logarithms(values), np.float32(0))
                    arpa.write(rows, written, backoffs(rows, contexts) if contexts else None)
                    if 1 < n < order:
                        rows.view(np.float32)[:, n] = values
                        rows.tofile(file)
                    self._events.advance({"ngrams": len(rows) if n > 1 else 0})
            if 1 < n < order:
                width = n + PAYLOAD
                lower = Lookup(Run(str(path), width, path.stat().st_size // (4 * width)), size)
        self._events.end()

    def _blocks(
        self, order: int, pruned: Mask, weighed: dict[int, tuple[list[Run], Run]]
    ) -> Iterator[Rows]:
        if order > 1:
            yield from self._merge(suffix_order(order))(weighed[order][0])
            return
        kept = np.flatnonzero(~pruned)
        for start in range(0, len(kept), BLOCK_ROWS):
            rows = np.zeros((len(kept[start : start + BLOCK_ROWS]), 1 + PAYLOAD), np.uint32)
            rows[:, 0] = kept[start : start + BLOCK_ROWS]
            yield rows
