"""What a stage is, and the one way in which it may refuse a document: by marking it.

A stage is a callable from batch to batch that returns the same rows in the same order. It adds
columns, may rewrite `text`, and marks the documents that should not go on; it never removes a
row. The runner moves the marked rows out and enters them into the ledger, so the law
in = kept + dropped + quarantined is kept in one place.

Numbers measured before a stage and behind it are the same if it leaves `text` as it was, which it
says by a class attribute, `leaves_text = True`. Likewise one that does the same whatever language
was told says `ignores_language = True`, and one that tells it `tells_language = True`.

A stage that needs something opened (a model, a child process) has `open()` instead, a context
manager that gives the callable.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Mask, Numbers
from curate.errors import RecipeError
from curate.schema import BOUND, DROPPED_BY, METADATA, QUARANTINED, RAW, TEXT, VALUE, VERDICT, Batch

Stage = Callable[[Batch], Batch]


@runtime_checkable
class Opened(Protocol):
    """A stage whose callable needs resources for as long as it is used."""

    def open(self) -> AbstractContextManager[Stage]: ...


@runtime_checkable
class Judge(Protocol):
    """A stage whose verdicts follow from columns that it wrote, so that it can judge again.

    Where it wrote null, no setting in `judged_by` changes its verdict, kept or dropped.
    """

    judged_from: ClassVar[tuple[str, ...]]  # these columns
    judged_by: ClassVar[tuple[str, ...]]  # settings that change no column, nor the text of the kept

    def judge(self, batch: Batch) -> Batch:
        """The batch, which has the columns, with the verdicts."""
        ...


def free_column(*names: str) -> None:
    """Refuse names for a stage's own columns of which one is empty or every document's already."""
    if not all(names) or {TEXT, METADATA, *RAW.names}.intersection(names):
        raise RecipeError(f"column: {names[0]!r} is taken; choose another name")


def with_column(batch: Batch, name: str, values: pa.Array) -> Batch:
    """The batch with this column added, or replaced where it is there."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        return batch.append_column(name, values)
    return batch.set_column(index, name, values)


def without(batch: Batch, *names: str) -> Batch:
    """The batch without these columns, whether it has them or not."""
    return batch.select([name for name in batch.schema.names if name not in names])


def kept(batch: Batch) -> Mask:
    """Which rows carry no verdict yet."""
    if DROPPED_BY not in batch.schema.names:
        return np.ones(batch.num_rows, np.bool_)
    mask: Mask = pc.is_null(batch.column(DROPPED_BY)).to_numpy(zero_copy_only=False)
    return mask


def mark(  # noqa: PLR0913  # a verdict has this many parts
    batch: Batch,
    broken: Mask,
    reason: str,
    *,
    value: Numbers | None = None,
    bound: Numbers | float | None = None,
    quarantined: bool = False,
) -> Batch:
    """Give the broken rows this verdict, unless they have one: the first reason stays."""
    broken = np.asarray(broken, np.bool_) & kept(batch)
    if not broken.any():
        return batch
    where = pa.array(broken)
    numbers = np.full(batch.num_rows, np.nan) if value is None else value
    bounds = np.broadcast_to(np.nan if bound is None else bound, batch.num_rows)
    verdict = {
        DROPPED_BY: pa.scalar(reason),
        VALUE: pa.array(numbers, pa.float64(), from_pandas=value is None),
        BOUND: pa.array(bounds.astype(np.float64), from_pandas=True),
        QUARANTINED: pa.scalar(quarantined),
    }
    for field in VERDICT:
        if field.name in batch.schema.names:
            before = batch.column(field.name)
        else:
            before = pa.nulls(batch.num_rows, field.type)
        after = pc.if_else(where, verdict[field.name], before)
        batch = with_column(batch, field.name, after.cast(field.type))
    return batch
