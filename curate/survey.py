"""Corpus-wide steps in three beats: survey every shard, decide once, apply to every shard."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa

from curate.column import Mask
from curate.schema import Batch


@runtime_checkable
class Survey(Protocol):
    """A corpus-wide decision about documents, made from small tables, never from text.

    The runner calls `survey` in the pass that filters, stores its tables beside the shard,
    calls `decide` once, and enters the verdicts in the next pass.
    """

    def survey(self, batch: Batch) -> pa.Table:
        """A small table with one row per document, in the batch's order."""
        ...

    def decide(self, surveys: list[Path], gone: list[Mask]) -> list[pa.Table]:
        """One table per shard, one row per document: DROPPED_BY, VALUE, BOUND and new columns.

        `surveys` are Parquet files; `gone[i]` says which documents of shard i an earlier survey
        has dropped already. The result depends on documents and their ids only, never on the
        order of shards.
        """
        ...
