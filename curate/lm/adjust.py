"""From counts of the longest n-grams to adjusted counts of all, and to discounts, as lmplz does.

An adjusted count says how many different words stand before an n-gram; what begins with a sentence
counts as often as it occurs. (Heafield et al. 2013; KenLM, lm/builder/adjust_counts.cc.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.errors import CurateError
from curate.kernel import helper
from curate.lm.rows import PAYLOAD, Floats, Rows

UNKNOWN, BEGIN, END = 0, 1, 2  # the numbers of <unk>, <s> and </s>
MARKED = 1 << 31  # in the upper half of a count: the n-gram is pruned
FALLBACK = (0.5, 1.0, 1.5)
# Columns of statistics: n-grams with adjusted counts 0 to 4, those there are, kept, and written.
COUNTS, THERE, KEPT, WRITTEN = 5, 5, 6, 7

Totals = NDArray[np.int64]
Outs = tuple[tuple[Rows, ...], Totals]


@helper
def emit(chain: Rows, order: int, counts: Totals, least: int, to: tuple[Rows, Totals]) -> None:
    """Write the end of the chain with its adjusted count; counts: adjusted and actual."""
    out, stats = to
    row, words = stats[order, WRITTEN], chain.shape[1]
    for column in range(order):
        out[row, column] = chain[0, words - order + column]
    out[row, order] = counts[0] & 0xFFFFFFFF
    out[row, order + 1] = counts[0] >> 32
    special = order == 1 and chain[0, words - 1] <= END
    if counts[1] <= least and not special:
        out[row, order + 1] |= MARKED
    else:
        stats[order, KEPT] += 1
    stats[order, THERE] += 1
    if counts[0] < COUNTS:
        stats[order, counts[0]] += 1
    stats[order, WRITTEN] = row + 1


@helper
def close(chain: Rows, same: int, state: Totals, prune: Totals, out: Outs) -> None:
    """Write the open n-grams of more than `same` words, the longest first."""
    outs, stats = out
    for size in range(state[0, 0], same, -1):
        emit(chain, size, state[size], prune[size - 1], (outs[size - 1], stats))


@helper
def begin(chain: Rows, same: int, count: int, state: Totals) -> bool:
    """Open the n-grams of more than `same` words; whether the whole chain is one of the longest.

    It is none where it begins with more than one BEGIN: then the n-gram that begins with the last
    of these was the longest there is.
    """
    place, size = chain.shape[1] - 1 - same, same
    while place > 0 and chain[0, place] != BEGIN:
        size += 1
        state[size, 0], state[size, 1] = 1, count
        place -= 1
    if place > 0:
        size += 1
        state[size, 0], state[size, 1] = count, count
    state[0, 0] = size
    return bool(place == 0)


@helper
def adjust(rows: Rows, chain: Rows, state: Totals, prune: Totals, out: Outs) -> None:
    """Walk through n-grams in suffix order; close those that do not go on, open those that begin.

    `chain` is the last n-gram; state[0, 0] is how many words of its end are open, state[k] the
    adjusted and the actual count of the last k.
    """
    outs, stats = out
    order = chain.shape[1]
    for row in range(len(rows)):
        count = np.int64(rows[row, order]) | np.int64(rows[row, order + 1]) << 32
        same = 0
        while same < state[0, 0] and rows[row, order - 1 - same] == chain[0, order - 1 - same]:
            same += 1
        close(chain, same, state, prune, out)
        for size in range(1, same + 1):
            state[size, 1] += count
        if same > 0:
            state[same, 0] += 1
        for column in range(order):
            chain[0, column] = rows[row, column]
        state[order, 0], state[order, 1] = count, count
        if begin(chain, same, count, state):
            emit(chain, order, state[order], prune[order - 1], (outs[order - 1], stats))


class Adjuster:
    """N-grams of the longest order in, n-grams of all orders with adjusted counts out."""

    def __init__(self, prune: tuple[int, ...]) -> None:
        order = len(prune)
        self._prune = np.array(prune, np.int64)
        self._chain = np.zeros((1, order), np.uint32)
        self._state = np.zeros((order + 1, 2), np.int64)
        self._stats = np.zeros((order + 1, 8), np.int64)

    def adjusted(self, rows: Rows) -> list[Rows]:
        """What the walk through these rows closes, by order."""
        order = len(self._prune)
        self._stats[:, WRITTEN] = 0
        # One row closes one n-gram of each order at most.
        sizes = range(1, order + 1)
        outs = tuple(np.empty((len(rows) + 1, size + PAYLOAD), np.uint32) for size in sizes)
        adjust(rows, self._chain, self._state, self._prune, (outs, self._stats))
        return [out[: self._stats[size, WRITTEN]] for size, out in enumerate(outs, start=1)]

    def rest(self) -> list[Rows]:
        """What is open after the last row.

        As in lmplz, actual counts of these few go into the discounts in place of adjusted ones.
        """
        self._stats[:, WRITTEN] = 0
        closed = []
        for size in range(1, int(self._state[0, 0]) + 1):
            out = np.empty((1, size + PAYLOAD), np.uint32)
            counts, least = self._state[size], int(self._prune[size - 1])
            emit(self._chain, size, counts, least, (out, self._stats))
            for count, change in zip(counts.tolist(), (-1, 1), strict=True):
                if count < COUNTS:
                    self._stats[size, count] += change
            closed.append(out)
        return closed

    def statistics(self) -> "Statistics":
        """How many n-grams of every order there are, and how often each small count."""
        there, kept = self._stats[1:, THERE].copy(), self._stats[1:, KEPT].copy()
        # <unk> and <s> are unigrams, too.
        there[0] += 2
        kept[0] += 2
        return Statistics(self._stats[1:, :COUNTS].copy(), there, kept)


@dataclass(frozen=True)
class Statistics:
    """N-grams by order."""

    counts: Totals  # row: order, column: how many have this adjusted count, 0 to 4
    there: Totals
    kept: Totals

    def discounts(self, fallback: tuple[float, ...] | None) -> list[Floats]:
        """D1, D2 and D3+ behind a zero, by order (Chen and Goodman 1998, equation 26)."""
        return [_discount(order, row, fallback) for order, row in enumerate(self.counts, start=1)]


def _discount(order: int, counts: Totals, fallback: tuple[float, ...] | None) -> Floats:
    n = counts.astype(np.float32)
    try:
        if not counts[1:4].all():
            missing = int(np.argmin(counts[1:4] > 0)) + 1
            raise _BadDiscountError(f"no {order}-gram has an adjusted count of {missing}")
        y = np.float32(n[1] / np.float32(counts[1] + 2.0 * counts[2]))
        found = np.zeros(4, np.float32)
        for j in (1, 2, 3):
            found[j] = np.float32(j) - np.float32(j + 1) * y * n[j + 1] / n[j]
            if not 0 <= found[j] <= j:
                raise _BadDiscountError(
                    f"the discount of {order}-grams seen {j} times is {found[j]}"
                )
    except _BadDiscountError as error:
        if fallback is None:
            raise CurateError(
                f"{error}: small, repeated or artificial text? --discount-fallback takes "
                f"{', '.join(map(str, FALLBACK))} instead"
            ) from error
        return np.array([0, *fallback], np.float32)
    return found


class _BadDiscountError(Exception):
    """Counts from which modified Kneser-Ney smoothing finds no discount."""
