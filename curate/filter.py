"""The stage that measures signals first, compares second, and leaves the dropping to the runner."""

from dataclasses import dataclass

import pyarrow as pa

from curate.schema import LANGUAGE, Batch
from curate.signal import Signal, measured
from curate.stage import mark, with_column


@dataclass(frozen=True)
class Filter:
    """Adds a column with the numbers of each signal, and marks the documents out of its bounds.

    All rows are measured by all signals, also those that another one has marked, so that bounds can
    be changed later without reading the text again. The first signal that does not keep a document
    is its reason; one without bounds is only measured. A call with an empty batch loads the
    kernels, or compiles them.
    """

    signals: tuple[Signal, ...]

    def __call__(self, batch: Batch) -> Batch:
        found = measured(self.signals, batch)
        for signal, numbers in zip(self.signals, found, strict=True):
            batch = with_column(batch, signal.name, pa.array(numbers))
        languages = batch.column(LANGUAGE) if LANGUAGE in batch.schema.names else None
        for signal, numbers in zip(self.signals, found, strict=True):
            bounds = signal.bounds(languages, batch.num_rows)
            broken, bound = ~signal.keeps(numbers, bounds), signal.broken_bound(numbers, bounds)
            batch = mark(batch, broken, signal.name, value=numbers, bound=bound)
        return batch
