"""How numbers are distributed, in one pass and bounded memory, whatever their range."""

import math

import numpy as np

from curate.column import Numbers, Positions

# 10 bits of the mantissa are kept: an error below 0.1 %, and none for integers up to 2,048.
_DROPPED_BITS = np.int64(42)


def cut(numbers: Numbers) -> Numbers:
    """The numbers as a sketch keeps them, cut towards zero."""
    kept: Numbers = (numbers.view(np.int64) >> _DROPPED_BITS << _DROPPED_BITS).view(np.float64)
    return kept + 0.0  # one zero, not two


class Sketch:
    """How often each number occurred, with numbers cut to 11 significant bits."""

    def __init__(self) -> None:
        self.values: Numbers = np.empty(0, np.float64)
        self.counts: Positions = np.empty(0, np.int64)

    @property
    def total(self) -> int:
        """How many finite numbers were added."""
        return int(self.counts.sum())

    def add(self, numbers: Numbers) -> None:
        """Count these numbers; the infinite and the undefined are left out."""
        finite = np.ascontiguousarray(numbers[np.isfinite(numbers)], np.float64)
        values, counts = np.unique(cut(finite), return_counts=True)
        self._merge(values, counts)

    def plus(self, *others: "Sketch") -> "Sketch":
        """A sketch of all of them together."""
        together = Sketch()
        for sketch in (self, *others):
            together._merge(sketch.values, sketch.counts)
        return together

    def _merge(self, values: Numbers, counts: Positions) -> None:
        both = np.concatenate([self.values, values])
        self.values, places = np.unique(both, return_inverse=True)
        merged = np.zeros(len(self.values), np.int64)
        np.add.at(merged, places, np.concatenate([self.counts, counts]))
        self.counts = merged

    def quantile(self, share: float) -> float:
        """The smallest number that has at least this share of all at or below it; NaN for none."""
        if len(self.values) == 0:
            return float("nan")
        up_to = np.cumsum(self.counts)
        place = int(np.searchsorted(up_to, max(1, math.ceil(share * int(up_to[-1])))))
        return float(self.values[min(place, len(self.values) - 1)])

    def between(self, edges: Numbers) -> Positions:
        """Numbers in each bin; a bin has its lower edge, and the last one its upper edge too."""
        up_to = np.concatenate([[0], np.cumsum(self.counts)])
        places = np.searchsorted(self.values, edges, side="left")
        places[-1] = np.searchsorted(self.values, edges[-1], side="right")
        return np.diff(up_to[places])

    def share_within(self, low: float, high: float) -> float:
        """Which share lies within these bounds, both included; NaN for an empty sketch."""
        if not self.total:
            return float("nan")
        within = (self.values >= low) & (self.values <= high)
        return float(self.counts[within].sum() / self.total)
