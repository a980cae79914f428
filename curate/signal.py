"""What a signal is: one number about one document, with the bounds that its source keeps.

    @signal(low=3, high=10)
    def mean_word_length(document: Document) -> float:
        '''Characters per word; undefined without words.'''

The number is kept as a column under the signal's name. Both bounds are inclusive; a number that is
undefined (NaN) lies within none.
"""

import importlib
import inspect
import math
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Self

import numpy as np

from curate.column import Mask, Numbers, view
from curate.index import index
from curate.kernel import Index, Measure, each
from curate.schema import TEXT, Batch

ColumnMeasure = Callable[[Batch], Numbers]


@dataclass(frozen=True)
class Signal:
    """One number about one document; a document is kept where low <= number <= high."""

    name: str  # module and function: "gopher.word_count"
    measure: Callable[..., Any]  # a Measure, or of a batch: a ColumnMeasure
    column: str | None  # what a kernel reads; None: the measure takes the batch itself
    low: float
    high: float
    about: str  # the measure's docstring
    source: str  # the first line of its module's

    def within(self, low: float = -math.inf, high: float = math.inf) -> Self:
        """The same signal with these bounds in place of its own."""
        return replace(self, low=low, high=high)

    def keeps(self, numbers: Numbers) -> Mask:
        """Which of these numbers lie within the bounds."""
        return (self.low <= numbers) & (numbers <= self.high)

    def broken_bound(self, numbers: Numbers) -> Numbers:
        """The bound that a number broke; for NaN the one that there is, low before high."""
        undefined = self.low if math.isfinite(self.low) else self.high
        above = np.where(numbers > self.high, self.high, undefined)
        return np.where(numbers < self.low, self.low, above)


def signal(
    *, low: float = -math.inf, high: float = math.inf, column: str = TEXT
) -> Callable[[Measure], Signal]:
    """Declare a kernel over the texts of a column to be a signal."""

    def declare(measure: Measure) -> Signal:
        return _signal(measure, column, low, high)

    return declare


def column_signal(
    *, low: float = -math.inf, high: float = math.inf
) -> Callable[[ColumnMeasure], Signal]:
    """Declare a function from a batch to one number for each row to be a signal."""

    def declare(measure: ColumnMeasure) -> Signal:
        return _signal(measure, None, low, high)

    return declare


def _signal(
    measure: Measure | ColumnMeasure, column: str | None, low: float, high: float
) -> Signal:
    module = measure.__module__
    source = (sys.modules[module].__doc__ or "").partition("\n")[0]
    name = f"{module.rpartition('.')[2]}.{measure.__name__}"
    return Signal(name, measure, column, low, high, inspect.getdoc(measure) or "", source)


def measured(signals: tuple[Signal, ...], batch: Batch) -> list[Numbers]:
    """What the signals measure on every row; each column is cut once for all of them."""
    indices: dict[str, Index] = {}
    numbers: list[Numbers] = []
    for one in signals:
        if one.column is None:
            numbers.append(one.measure(batch))
            continue
        if one.column not in indices:
            indices[one.column] = index(view(batch.column(one.column)))
        numbers.append(each(one.measure, indices[one.column]))
    return numbers


def catalogue(package: ModuleType) -> tuple[Signal, ...]:
    """All signals that the modules of a package declare, by module, in order of declaration."""
    found: list[Signal] = []
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        found += [
            value
            for value in names.values()
            if isinstance(value, Signal) and value.name.startswith(f"{module.name}.")
        ]
    return tuple(found)
