"""Corpus-wide steps in three beats: survey every shard, decide once, apply to every shard."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from curate.column import Mask
from curate.schema import Batch

Task = dict[str, Any]
Run = Callable[[Any, str, Sequence[Task]], list[Task]]

MEMORY = 1 << 30


@dataclass(frozen=True)
class Means:
    """What a decision may use besides the survey's tables: texts, disk, memory and workers.

    `texts[i]` are the documents of `surveys[i]`, row for row: Parquet files with the columns of the
    batches that were surveyed. They are for the few documents that tables cannot decide about. In
    `folder` a decision keeps what it cannot hold, until it ends. `memory` is how many bytes the
    arrays of the decision, and of each of its tasks, may have.
    """

    texts: list[Path]
    folder: Path
    memory: int = MEMORY
    run: Run | None = None

    def each(self, stage: Any, method: str, tasks: Sequence[Task]) -> list[Task]:
        """Call `stage.method(task, folder)` for every task; the results in the tasks' order.

        Where the run has workers they do it, so what goes in and comes out is JSON: numbers and
        names of files. `folder` is new and the task's own; its files are there until the decision
        ends.
        """
        if self.run:
            return self.run(stage, method, tasks)
        folders = [tempfile.mkdtemp(prefix=f"{method}-", dir=self.folder) for _ in tasks]
        do = getattr(stage, method)
        return [do(task, Path(folder)) for task, folder in zip(tasks, folders, strict=True)]


@runtime_checkable
class Survey(Protocol):
    """A corpus-wide decision about documents, made from small tables, hardly ever from text.

    The runner calls `survey` in the pass that filters, stores its tables beside the shard,
    calls `decide` once, and enters the verdicts in the next pass.
    """

    def survey(self, batch: Batch) -> pa.Table:
        """A small table with one row per document, in the batch's order."""
        ...

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterable[pa.Table]:
        """One table per shard, one row per document: DROPPED_BY, VALUE, BOUND and new columns.

        `surveys` are Parquet files; `gone[i]` says which documents of shard i an earlier survey
        has dropped already. Where there is a column CUTS, those stretches of the text go, and
        CUT_BY says why. The result depends on documents and their ids only, never on the order of
        shards, nor on what the decision may use.
        """
        ...


def decided(
    survey: Survey,
    surveys: list[Path],
    gone: list[Mask],
    texts: Sequence[Path] = (),
    memory: int = MEMORY,
) -> list[pa.Table]:
    """What the survey decides, here and at once."""
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        return list(survey.decide(surveys, gone, Means([*texts], Path(folder), memory)))
