"""Parquet: a document per row, and an unreadable row group costs itself."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.ledger import Spans
from curate.read.jsonl import with_payload
from curate.read.settings import Document, Read, Verdict, damaged
from curate.read.source import Span, Window
from curate.read.warc import text, url

# Few rows at a time: a dictionary may turn a kilobyte of file into a gigabyte of text.
READ_ROWS = 64

FAILURES = (pa.ArrowException, OSError, MemoryError)


def _opened(window: Window) -> pq.ParquetFile:
    window.source.seek(0)
    return pq.ParquetFile(window.source, page_checksum_verification=True)


def _group_starts(metadata: pq.FileMetaData) -> list[int]:
    """Where each row group begins in the file; empty unless they lie in order."""
    starts = []
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        pages = [
            min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
            for column in map(group.column, range(group.num_columns))
        ]
        starts.append(min(pages, default=0))
    return starts if starts == sorted(set(starts)) else []


def cut_row_groups(window: Window, split_bytes: int) -> list[Span]:
    """The file in parts of about this size, each beginning with a row group."""
    size, starts = window.span.end, [0]
    try:
        groups = _group_starts(_opened(window).metadata)
    except FAILURES:
        groups = []
    for start in groups:
        if start - starts[-1] >= split_bytes and start < size:
            starts.append(start)
    return [Span(*pair) for pair in zip(starts, [*starts[1:], size], strict=True)]


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
        if not _is_text(file.schema_arrow, self.settings.text_key):
            self.spans.faults += size
            yield damaged(window.span.start, "parquet.no_text")
            return
        yield from self._groups(file, window.span)

    def _groups(self, file: pq.ParquetFile, span: Span) -> Iterator[Document]:
        metadata = file.metadata
        groups = metadata.num_row_groups
        starts = _group_starts(metadata) or [0] * groups
        accounted, first_row = span.start, 0
        for index in range(groups):
            if span.start <= starts[index] < span.end:
                end = starts[index + 1] if index + 1 < groups else span.end
                end = max(accounted, min(end, span.end))
                before = self.spans.faults
                yield from self._group(file, index, first_row, end - accounted)
                if self.spans.faults == before:
                    self.spans.records += end - accounted
                accounted = end
            first_row += metadata.row_group(index).num_rows
        self.spans.records += span.end - accounted

    def _group(
        self, file: pq.ParquetFile, index: int, first_row: int, size: int
    ) -> Iterator[Document]:
        row = first_row
        settings = self.settings
        keys = (settings.text_key, settings.url_key, settings.date_key, settings.id_key)
        names = [name for name in keys if name in file.schema_arrow.names]
        try:
            for batch in file.iter_batches(READ_ROWS, [index], names, use_threads=False):
                columns = [_bytes(batch, key) for key in keys]
                for values in zip(*columns, strict=True):
                    yield self._document(row, *values)
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
