"""Every document and byte, counted: in = kept + dropped by reason + quarantined by reason."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from curate.errors import LawError

IDENTITY_BITS = 128
_MODULUS = 1 << IDENTITY_BITS


@dataclass
class Count:
    """Documents, their bytes, and the sum of their identities modulo 2**128.

    The sum notices what a count cannot: one document lost and another doubled.
    """

    documents: int = 0
    bytes: int = 0
    identity: int = 0

    def add(self, other: "Count") -> None:
        self.documents += other.documents
        self.bytes += other.bytes
        self.identity = (self.identity + other.identity) % _MODULUS

    @classmethod
    def of(cls, ids: pa.Array, sizes: int) -> "Count":
        """The count of the documents with these 16-byte ids and this many bytes together."""
        return cls(len(ids), sizes, identity_sum(ids))

    def to_json(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "identity": f"{self.identity:032x}",
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["documents"], value["bytes"], int(value["identity"], 16))


def identity_sum(ids: pa.Array) -> int:
    """The sum of 16-byte ids, read as big-endian numbers, modulo 2**128."""
    if len(ids) == 0:
        return 0
    raw = np.frombuffer(ids.buffers()[1], np.uint8)
    rows = raw[16 * ids.offset : 16 * (ids.offset + len(ids))].reshape(-1, 16)
    # Column sums of bytes stay below 2**63 for any batch, so 16 additions replace one per row.
    total = 0
    for column in rows.sum(axis=0, dtype=np.int64).tolist():
        total = (total << 8) + column
    return total % _MODULUS


@dataclass
class Cut:
    """Documents that stay without some stretches of their text."""

    documents: int = 0
    bytes: int = 0
    spans: int = 0

    def add(self, other: "Cut") -> None:
        self.documents += other.documents
        self.bytes += other.bytes
        self.spans += other.spans


@dataclass
class StageLedger:
    """What one stage did with the documents that reached it."""

    entered: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    dropped: dict[str, Count] = field(default_factory=dict)
    quarantined: dict[str, Count] = field(default_factory=dict)
    cut: dict[str, Cut] = field(default_factory=dict)  # out of documents that are kept

    def add(self, other: "StageLedger") -> None:
        self.entered.add(other.entered)
        self.kept.add(other.kept)
        for mine, theirs in (
            (self.dropped, other.dropped),
            (self.quarantined, other.quarantined),
        ):
            for reason, count in theirs.items():
                mine.setdefault(reason, Count()).add(count)
        for reason, cut in other.cut.items():
            self.cut.setdefault(reason, Cut()).add(cut)

    def check(self, where: str, *, in_bytes: bool = False) -> None:
        """Raise LawError unless every document that entered is kept, dropped or quarantined.

        Where nothing is rewritten, `in_bytes`, so is every byte of them, or it was cut.
        """
        out = Count()
        for count in (self.kept, *self.dropped.values(), *self.quarantined.values()):
            out.add(count)
        entered = (self.entered.documents, self.entered.identity)
        if entered != (out.documents, out.identity):
            raise LawError(
                f"{where}: {self.entered.documents} documents entered, but "
                f"{out.documents} are accounted for (or others than those that entered)"
            )
        told = out.bytes + sum(cut.bytes for cut in self.cut.values())
        if in_bytes and told != self.entered.bytes:
            raise LawError(
                f"{where}: {self.entered.bytes} bytes entered, but {told} are accounted for"
            )

    def to_json(self) -> dict[str, Any]:
        cut = {reason: vars(self.cut[reason]).copy() for reason in sorted(self.cut)}
        return {
            "entered": self.entered.to_json(),
            "kept": self.kept.to_json(),
            "dropped": {reason: self.dropped[reason].to_json() for reason in sorted(self.dropped)},
            "quarantined": {
                reason: self.quarantined[reason].to_json() for reason in sorted(self.quarantined)
            },
            **({"cut": cut} if cut else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(
            Count.from_json(value["entered"]),
            Count.from_json(value["kept"]),
            {reason: Count.from_json(count) for reason, count in value["dropped"].items()},
            {reason: Count.from_json(count) for reason, count in value["quarantined"].items()},
            {reason: Cut(**cut) for reason, cut in value.get("cut", {}).items()},
        )


@dataclass
class Spans:
    """The bytes of one input (or a part of one): records + faults + padding = size."""

    size: int = 0
    records: int = 0
    faults: int = 0
    padding: int = 0
    # Records that are no documents, by type: {"record.request": 20, "record.warcinfo": 1}.
    skipped: dict[str, int] = field(default_factory=dict)
    # What was noticed and mended, by kind: {"warc.length_mismatch": 2}.
    noticed: dict[str, int] = field(default_factory=dict)

    def skip(self, kind: str) -> None:
        self.skipped[kind] = self.skipped.get(kind, 0) + 1

    def notice(self, kind: str) -> None:
        self.noticed[kind] = self.noticed.get(kind, 0) + 1

    def add(self, other: "Spans") -> None:
        self.size += other.size
        self.records += other.records
        self.faults += other.faults
        self.padding += other.padding
        for kind, count in other.skipped.items():
            self.skipped[kind] = self.skipped.get(kind, 0) + count
        for kind, count in other.noticed.items():
            self.noticed[kind] = self.noticed.get(kind, 0) + count

    def check(self, where: str) -> None:
        """Raise LawError unless every byte is in a record, a fault or padding."""
        if self.records + self.faults + self.padding != self.size:
            raise LawError(
                f"{where}: {self.size} bytes, but {self.records} in records, "
                f"{self.faults} in faults and {self.padding} in padding"
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "records": self.records,
            "faults": self.faults,
            "padding": self.padding,
            "skipped": dict(sorted(self.skipped.items())),
            "noticed": dict(sorted(self.noticed.items())),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(**value)
