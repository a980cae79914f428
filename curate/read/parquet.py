"""Parquet: a document per row, and an unreadable row group costs itself."""

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.ledger import Spans
from curate.read.jsonl import others, with_payload
from curate.read.settings import Document, Read, Verdict, damaged
from curate.read.source import Span, Window
from curate.read.warc import text, url

# Few rows at a time: a dictionary may turn a kilobyte of file into a gigabyte of text.
READ_ROWS = 64

# What a damaged file makes Arrow raise; ValueError also where it decodes names.
FAILURES = (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError)
MAX_NUMBER = 1 << 48


class _File(NamedTuple):
    file: pq.ParquetFile
    schema: pa.Schema
    starts: list[int]  # of the row groups, see _opened
    rows: list[int]


def _opened(window: Window) -> _File:
    """The file, with a share of its bytes for each row group.

    Where a row group really begins is not asked for: on a damaged footer that question ends the
    process (pyarrow 26 lets a C++ exception escape), and shares serve as well.
    """
    size = window.source.seek(0, io.SEEK_END)
    window.source.seek(0)
    file = pq.ParquetFile(window.source, page_checksum_verification=True)
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    rows = [group.num_rows for group in groups]
    weights = [group.total_byte_size for group in groups]
    if not all(0 <= number < MAX_NUMBER for number in rows + weights):
        raise pa.ArrowInvalid("row groups of impossible size")
    total = max(sum(weights), 1)
    before = itertools.accumulate(weights, initial=0)
    starts = [min(size * weight // total, size - 1) for weight in before]
    return _File(file, file.schema_arrow, starts[: len(rows)], rows)


def cut_row_groups(window: Window, split_bytes: int) -> list[Span]:
    """The file in parts of about this size, each with the row groups whose share begins there."""
    size, starts = window.span.end, [0]
    try:
        groups = _opened(window).starts
    except FAILURES:
        groups = []
    for start in groups:
        if start - starts[-1] >= split_bytes and start < size:
            starts.append(start)
    return [Span(*pair) for pair in zip(starts, [*starts[1:], size], strict=True)]


def first_row(source: io.RawIOBase) -> dict[str, Any]:
    """The first row of a file, by column; its columns alone where it has no row."""
    file = pq.ParquetFile(source, page_checksum_verification=True)
    for batch in file.iter_batches(1, use_threads=False):
        row: dict[str, Any] = batch.to_pylist()[0]
        return row
    return dict.fromkeys(file.schema_arrow.names)


@dataclass(frozen=True)
class Parquet:
    """Reads the documents of the row groups that begin in a span."""

    settings: Read
    spans: Spans

    def plain(self, window: Window) -> Iterator[Document]:
        """The documents of a span; the footer and its magic belong to the last one."""
        size = window.span.end - window.span.start
        try:
            file = _opened(window)
        except FAILURES:
            self.spans.faults += size
            yield damaged(window.span.start, "parquet.corrupt")
            return
        if not _is_text(file.schema, self.settings.text_key):
            self.spans.faults += size
            yield damaged(window.span.start, "parquet.no_text")
            return
        yield from self._groups(file, window.span)

    def _groups(self, file: _File, span: Span) -> Iterator[Document]:
        groups = len(file.starts)
        accounted, first_row = span.start, 0
        for index in range(groups):
            if span.start <= file.starts[index] < span.end:
                end = file.starts[index + 1] if index + 1 < groups else span.end
                end = max(accounted, min(end, span.end))
                before = self.spans.faults
                yield from self._group(file, index, first_row, end - accounted)
                if self.spans.faults == before:
                    self.spans.records += end - accounted
                accounted = end
            first_row += file.rows[index]
        self.spans.records += span.end - accounted

    def _group(self, file: _File, index: int, first_row: int, size: int) -> Iterator[Document]:
        row = first_row
        settings = self.settings
        keys = (settings.text_key, settings.url_key, settings.date_key, settings.id_key)
        names = [name for name in file.schema.names if name in keys or settings.metadata]
        try:
            for batch in file.file.iter_batches(READ_ROWS, [index], names, use_threads=False):
                columns = [_bytes(batch, key) for key in keys]
                left = _others(batch, settings)
                for other, *values in zip(left, *columns, strict=True):
                    document = self._document(row, *values)
                    yield document._replace(metadata=other) if other else document
                    row += 1
        except FAILURES:
            self.spans.faults += size
            yield damaged(row, "parquet.corrupt")

    def _document(
        self, row: int, content: bytes | None, place: bytes, date: bytes, origin: bytes
    ) -> Document:
        document = Document(row, 0, url(place), text(date), text(origin), "text/plain", "utf-8")
        if content is None:
            return document._replace(verdict=Verdict("parquet.no_text", quarantined=True))
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return document._replace(verdict=Verdict("parquet.not_utf8", quarantined=True))
        return with_payload(document, content, "parquet", self.settings)


def _others(batch: pa.RecordBatch, settings: Read) -> list[str | None]:
    if not settings.metadata:
        return [None] * batch.num_rows
    return [others(row, settings) for row in batch.drop_columns([settings.text_key]).to_pylist()]


def _is_text(schema: pa.Schema, key: str) -> bool:
    index = schema.get_field_index(key)
    if index < 0:
        return False
    kind = schema.field(index).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_string_view,
        )
    )


def _bytes(batch: pa.RecordBatch, key: str) -> list[bytes | None]:
    """A column's values as bytes; null and what cannot be written as text are missing."""
    if key not in batch.schema.names:
        return [b""] * batch.num_rows
    column = batch.column(key)
    if pa.types.is_nested(column.type):
        return [b""] * batch.num_rows
    if not pa.types.is_binary(column.type) and not pa.types.is_large_binary(column.type):
        # By way of text, because numbers and dates have no bytes of their own.
        column = pc.cast(pc.cast(column, pa.large_string(), safe=False), pa.large_binary())
    values: list[bytes | None] = column.to_pylist()
    return values
