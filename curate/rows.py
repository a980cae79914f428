"""Parquet files written in row groups of a bounded size, and read back one at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import LawError
from curate.schema import Batch

GROUP_BYTES = 8 << 20
GROUP_ROWS = 4096
# Of a survey columns are read one by one, and their values are small.
SURVEY_ROWS = 1 << 16


class Rows:
    """A Parquet file written in row groups of a bounded number of bytes.

    A survey's file is one of many numbers that hardly repeat: a dictionary of them, and packing
    them well, only costs time. What the next pass reads again and a user never does is `passing`:
    packed in half the time, into half as much again.
    """

    def __init__(self, path: Path, *, survey: bool = False, passing: bool = False) -> None:
        self._path = path
        self._survey = survey
        self._packing = "snappy" if survey else "lz4" if passing else "zstd"
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[Batch] = []
        self._bytes = 0
        self.rows = 0

    def write(self, batch: Batch) -> None:
        """Take a batch; the file has the columns of the first one."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path,
                batch.schema,
                compression=self._packing,
                use_dictionary=not self._survey,
            )
        if batch.num_rows == 0:
            return
        self._waiting.append(batch)
        self._bytes += batch.nbytes
        self.rows += batch.num_rows
        rows = sum(waiting.num_rows for waiting in self._waiting)
        if self._bytes >= GROUP_BYTES or rows >= (SURVEY_ROWS if self._survey else GROUP_ROWS):
            self._flush()

    def _flush(self) -> None:
        if self._writer and self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._bytes = [], 0

    def close(self) -> pa.Schema:
        """Finish the file; its columns."""
        self._flush()
        if self._writer is None:
            raise LawError(f"{self._path.name}: closed before its columns were known")
        self._writer.close()
        return self._writer.schema


def row_groups(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[Batch]:
    """One batch per row group: their sizes were bounded when they were written.

    Of `columns`, where they are given, those that there are.
    """
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns, use_threads=False).combine_chunks()
        yield from table.to_batches()
    if file.num_row_groups == 0:
        yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow)
