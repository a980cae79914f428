"""Documents laid out as batches of schema.RAW, with identities that depend on the input alone."""

import hashlib

import pyarrow as pa

from curate.read.settings import Document, Read
from curate.read.settings import columns as columns_of
from curate.read.source import Input
from curate.schema import Batch

ID_BYTES = 16


class Rows:
    """Documents on their way into one batch."""

    def __init__(self, item: Input, settings: Read) -> None:
        self._name = item.name
        self._settings = settings
        # Hashed once, and copied for each document.
        self._seed = hashlib.blake2b(item.identity.encode(), digest_size=ID_BYTES)
        self._documents: list[Document] = []
        self._ids: list[bytes] = []
        self._payload_bytes = 0

    def add(self, document: Document) -> None:
        """Take one more document."""
        seed = self._seed.copy()
        seed.update(document.offset.to_bytes(8, "little") + document.ordinal.to_bytes(8, "little"))
        self._ids.append(seed.digest())
        self._documents.append(document)
        self._payload_bytes += len(document.payload)

    @property
    def full(self) -> bool:
        """Whether it is time for a batch."""
        return (
            len(self._ids) >= self._settings.batch_rows
            or self._payload_bytes >= self._settings.batch_bytes
        )

    def batch(self) -> Batch:
        """The documents so far, which are then forgotten."""
        offsets, _, urls, dates, origins, types, charsets, payloads, verdicts, others = (
            zip(*self._documents, strict=True) if self._documents else ((),) * 10
        )
        columns = [
            self._ids,
            origins,
            urls,
            dates,
            [self._name] * len(offsets),
            offsets,
            types,
            charsets,
            payloads,
            [verdict and verdict.reason for verdict in verdicts],
            [verdict and verdict.value for verdict in verdicts],
            [verdict and verdict.bound for verdict in verdicts],
            [verdict and verdict.quarantined for verdict in verdicts],
        ]
        if self._settings.metadata:
            columns.append(others)
        schema = columns_of(self._settings)
        arrays = [
            pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)
        ]
        self._documents, self._ids, self._payload_bytes = [], [], 0
        return pa.record_batch(arrays, schema=schema)
