"""How often a document should be seen in training, by how many copies of it there were.

FineWeb2 ("rehydration", arXiv:2506.20920): of what many pages have, filters remove less than of
what one page has, up to a size from where on it is mostly boilerplate. Deduplication takes that
away; repeating documents by the size of their cluster gives some of it back, and costs no text.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curate.dedup.minhash import CLUSTER
from curate.errors import RecipeError
from curate.schema import Batch
from curate.stage import with_column

REPEATS = "repeats"


@dataclass(frozen=True)
class ByClusterSize:
    """Writes into the column `repeats` how often each document should be seen.

    `repeats` are pairs of a size and of how often documents of clusters of that size and more are
    seen, up to the next pair. The default has the shape that FineWeb2 found, over its sizes; its
    heights are to be measured: repeat most the sizes of which your filters remove the least.
    `column` is any column of counts, such as exact_copies; where it is null, a document is alone.
    No document is added, nor is one taken away.
    """

    repeats: tuple[tuple[int, int], ...] = ((1, 1), (2, 2), (5, 3), (100, 2), (1000, 1))
    column: str = CLUSTER

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    reads_text: ClassVar = False
    adds: ClassVar = (REPEATS,)

    def __post_init__(self) -> None:
        sizes = [size for size, _ in self.repeats]
        if sizes[:1] != [1] or any(low >= high for low, high in pairwise(sizes)):
            raise RecipeError(f"repeats: sizes {sizes}; write them from 1 upwards, such as [1, 2]")
        if any(not 1 <= times < 1 << 31 for _, times in self.repeats):
            raise RecipeError("repeats: how often is 1 or more; filters are what drops documents")

    def __call__(self, batch: Batch) -> Batch:
        """The batch with a column of whole numbers."""
        if self.column not in batch.schema.names:
            there = ", ".join(batch.schema.names)
            raise RecipeError(f"column: no column {self.column!r} at this stage; there are {there}")
        counts = batch.column(self.column)
        if not pa.types.is_integer(counts.type):
            raise RecipeError(f"column: {self.column} holds {counts.type}; choose one of counts")
        counts = counts.fill_null(1).to_numpy(zero_copy_only=False)
        sizes, times = np.array(self.repeats, np.int64).T
        places = np.searchsorted(sizes, np.maximum(counts, 1), side="right") - 1
        return with_column(batch, REPEATS, pa.array(times[places], pa.int32()))
