"""What a signal is: one number about one document, with the bounds that its source keeps.

    @signal(low=3, high=10)
    def mean_word_length(document: Document) -> float:
        '''Characters per word; undefined without words.'''

The number is kept as a column under the signal's name. Both bounds are inclusive; a number that is
undefined (NaN) lies within none, but a signal without bounds refuses nothing. Words are what white
space separates unless `words` names another way to cut them (curate/words.py).
"""

import importlib
import inspect
import math
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from curate.bounds import Bounds
from curate.column import Mask, Numbers
from curate.errors import RecipeError
from curate.kernel import Index, Measure, each
from curate.schema import TEXT, Batch
from curate.words import Words

ColumnMeasure = Callable[[Batch], Numbers]
IndexMeasure = Callable[[Batch, Index], Numbers]


@dataclass(frozen=True)
class Signal:
    """One number about one document; a document is kept where low <= number <= high."""

    name: str  # module and function: "gopher.word_count"
    measure: Callable[..., Any]  # a Measure, IndexMeasure or ColumnMeasure
    column: str | None  # what is cut into words; None: the measure takes the batch alone
    low: float
    high: float
    about: str  # the measure's docstring
    source: str  # the first line of its module's
    words: Words = field(default=Words())
    is_kernel: bool = True  # whether the measure sees one document at a time
    by_language: Bounds | None = None  # bounds that take the place of low and high

    def within(self, low: float = -math.inf, high: float = math.inf) -> Self:
        """The same signal with these bounds in place of its own."""
        return replace(self, low=low, high=high)

    def over(self, words: Words) -> Self:
        """The same signal over words that are cut in another way; its name says so."""
        ways = dict.fromkeys((words.default, *(way for _, way in words.languages)))
        name = f"{self.name}.{'_'.join(ways)}" if words != Words() else self.name
        return replace(self, words=words, name=name)

    def bounds(self, languages: pa.Array | None, rows: int) -> tuple[Numbers, Numbers]:
        """The low and the high bound of every row, which may depend on its language."""
        low = np.full(rows, self.low, np.float64)
        high = np.full(rows, self.high, np.float64)
        if self.by_language is not None:
            if languages is None:
                raise RecipeError(f"{self.name}: bounds by language, but no stage before tells it")
            self.by_language.enter(languages, low, high)
        return low, high

    def keeps(self, numbers: Numbers, bounds: tuple[Numbers, Numbers] | None = None) -> Mask:
        """Which of these numbers lie within the bounds; without bounds all do, NaN too."""
        low, high = bounds or (np.float64(self.low), np.float64(self.high))
        kept: Mask = (low <= numbers) & (numbers <= high) | np.isinf(low) & np.isinf(high)
        return kept

    def broken_bound(
        self, numbers: Numbers, bounds: tuple[Numbers, Numbers] | None = None
    ) -> Numbers:
        """The bound that a number broke; for NaN the one that there is, low before high."""
        low, high = bounds or (np.float64(self.low), np.float64(self.high))
        above = np.where(numbers > high, high, np.where(np.isfinite(low), low, high))
        return np.where(numbers < low, low, above)


def signal(
    *,
    low: float = -math.inf,
    high: float = math.inf,
    column: str = TEXT,
    words: str = "space",
) -> Callable[[Measure], Signal]:
    """Declare a kernel over the texts of a column to be a signal."""

    def declare(measure: Measure) -> Signal:
        return _signal(measure, column, (low, high), words=Words(words))

    return declare


def index_signal(
    *,
    low: float = -math.inf,
    high: float = math.inf,
    column: str = TEXT,
    words: str = "space",
) -> Callable[[IndexMeasure], Signal]:
    """Declare a function from a batch and its index to one number for each row to be a signal.

    For what needs another column too (the language), or scratch space of its own.
    """

    def declare(measure: IndexMeasure) -> Signal:
        return _signal(measure, column, (low, high), words=Words(words), is_kernel=False)

    return declare


def column_signal(
    *, low: float = -math.inf, high: float = math.inf
) -> Callable[[ColumnMeasure], Signal]:
    """Declare a function from a batch to one number for each row to be a signal."""

    def declare(measure: ColumnMeasure) -> Signal:
        return _signal(measure, None, (low, high), is_kernel=False)

    return declare


def _signal(
    measure: Callable[..., Any], column: str | None, bounds: tuple[float, float], **how: Any
) -> Signal:
    module = measure.__module__
    source = (sys.modules[module].__doc__ or "").partition("\n")[0]
    name = f"{module.rpartition('.')[2]}.{measure.__name__}"
    about = inspect.getdoc(measure) or ""
    return Signal(name, measure, column, *bounds, about, source, **how)


def measured(signals: tuple[Signal, ...], batch: Batch) -> list[Numbers]:
    """What the signals measure on every row; each column is cut once for all of the same words."""
    indices: dict[tuple[str, Words], Index] = {}
    numbers: list[Numbers] = []
    for one in signals:
        if one.column is None:
            numbers.append(one.measure(batch))
            continue
        key = one.column, one.words
        if key not in indices:
            indices[key] = one.words.cut(batch, one.column)
        cut = indices[key]
        numbers.append(each(one.measure, cut) if one.is_kernel else one.measure(batch, cut))
    return numbers


def measure(one: Signal, texts: Sequence[str | bytes]) -> list[float]:
    """What a signal measures on each of these texts: for tests, and to try a filter out."""
    column = pa.array(texts) if texts else pa.array([], pa.string())
    batch = pa.RecordBatch.from_pydict({one.column or TEXT: column})
    (numbers,) = measured((one,), batch)
    found: list[float] = numbers.tolist()
    return found


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
