"""What a survey has decided, as the stage that enters it, and the columns that it will add."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.column import Numbers
from curate.errors import LawError
from curate.schema import Batch
from curate.stage import Stage, mark, with_column
from curate.survey import Survey, decided


def decided_upon(seen: Batch, batch: Batch, survey: Survey) -> Batch:
    """A batch without rows with the columns that the survey's decision gives to documents.

    `seen` is what the survey sees, without rows too.

    What it decides about is two documents with one text: without any, half of its kernels would
    not be needed, and so not be loaded.
    """
    two = {
        field.name: pa.nulls(2, field.type)
        if field.name not in (schema.ID, schema.TEXT)
        else pa.array(_TWO[field.name], field.type)
        for field in seen.schema
    }
    rows = pa.RecordBatch.from_pydict(two, seen.schema)
    with tempfile.TemporaryDirectory() as folder:
        path, texts = Path(folder) / "survey.parquet", Path(folder) / "kept.parquet"
        pq.write_table(survey.survey(rows), path, use_dictionary=False)
        pq.write_table(pa.Table.from_batches([rows]), texts)
        (verdicts,) = decided(survey, [path], [np.zeros(2, np.bool_)], [texts])
    for column in verdicts.schema:
        if column.name not in (*schema.VERDICT.names, schema.CUTS, schema.CUT_BY):
            batch = with_column(batch, column.name, pa.array([], column.type))
    return batch


_TWO = {
    schema.ID: [bytes(16), bytes([255]) * 16],
    schema.TEXT: ["A text of some words. " * 9] * 2,
}


def decision(path: Path) -> Stage:
    """The stage that enters what a survey decided for the documents of one unit."""
    table = pq.read_table(path, use_threads=False).combine_chunks()
    ids = table.column(schema.ID).combine_chunks()

    def entered(batch: Batch) -> Batch:
        where = pc.index_in(batch.column(schema.ID), value_set=ids)
        if where.null_count:
            raise LawError(f"{path}: the survey decided nothing for {where.null_count} documents")
        rows = table.take(where).combine_chunks()
        columns = {name: _array(rows.column(name)) for name in rows.schema.names}
        for name, column in columns.items():
            if name != schema.ID and name not in schema.VERDICT.names:
                batch = with_column(batch, name, column)
        value, bound = (floats(columns[name]) for name in (schema.VALUE, schema.BOUND))
        verdict = columns[schema.DROPPED_BY]
        for reason in pc.unique(pc.drop_null(verdict)).to_pylist():
            mine = pc.fill_null(pc.equal(verdict, reason), False)
            batch = mark(
                batch, mine.to_numpy(zero_copy_only=False), reason, value=value, bound=bound
            )
        return batch

    return entered


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def floats(column: pa.Array) -> Numbers:
    """A column of numbers as an array, nan for null."""
    numbers: Numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
