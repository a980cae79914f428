"""The recipe's `read:` settings, and what every reader hands on: documents and verdicts."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import pyarrow as pa

from curate.errors import RecipeError
from curate.schema import METADATA, RAW

MIB = 1 << 20

# The record types of WARC 1.1 (ISO 28500); only the first three can hold a document.
DOCUMENT_TYPES = ("response", "conversion", "resource")
OTHER_TYPES = ("request", "metadata", "warcinfo", "revisit", "continuation")

# Container faults get an index that no record inside a member can have.
FAULT_INDEX = 1 << 63


# A batch holds so much and one payload more. As UTF-8 it is up to three times as long, its normal
# form three times that, and of every word nine n-grams are listed: all are places of 32 bits.
MOST_BYTES = 192 * MIB


@dataclass(frozen=True)
class Read:
    """What is taken from the inputs, and how much one record may weigh."""

    types: tuple[str, ...] = ("response", "conversion")  # WARC-Type kept
    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain")
    max_payload_bytes: int = 32 * MIB  # one body, decoded
    max_member_bytes: int = 64 * MIB  # one record (WARC) or line (JSONL), decompressed
    batch_bytes: int = 16 * MIB
    batch_rows: int = 1024
    split_bytes: int = 64 * MIB  # a larger input is cut into parts of about this size
    text_key: str = "text"  # JSONL and Parquet
    url_key: str = "url"
    id_key: str = "id"
    date_key: str = "date"
    metadata: bool = False  # JSONL and Parquet: keep all other fields, as JSON in one column

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_bytes", "_rows")):
                _check_count(field.name, value)
            elif field.name.endswith("_key"):
                _check_key(field.name, value)
            elif field.name == "metadata":
                continue
            else:
                object.__setattr__(self, field.name, _words(field.name, value))
        _check_types(self.types)
        if self.max_member_bytes < self.max_payload_bytes:
            raise RecipeError(
                f"read.max_member_bytes: {self.max_member_bytes} is less than "
                f"max_payload_bytes, {self.max_payload_bytes}; write at least that much"
            )
        together = self.batch_bytes + self.max_payload_bytes
        if together > MOST_BYTES:
            raise RecipeError(
                f"read.batch_bytes and max_payload_bytes: {together} together; a batch is counted "
                f"in 32 bits, so write {MOST_BYTES} at most"
            )


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RecipeError(f"read.{name}: {value!r}; write a whole number, 1 or more")


def _check_key(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise RecipeError(f"read.{name}: {value!r}; write the name of a field, such as text")


def _words(name: str, value: object) -> tuple[str, ...]:
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(isinstance(word, str) for word in value)
    ):
        raise RecipeError(f"read.{name}: {value!r}; write a list of one or more words")
    return tuple(word.lower() for word in value)


def _check_types(types: tuple[str, ...]) -> None:
    for name in types:
        if name not in DOCUMENT_TYPES:
            raise RecipeError(
                f"read.types: no documents in records of type {name!r}; "
                f"write one or more of {', '.join(DOCUMENT_TYPES)}"
            )


def columns(settings: Read) -> pa.Schema:
    """What every reader yields, with these settings."""
    return RAW.append(pa.field(METADATA, pa.string())) if settings.metadata else RAW


class Verdict(NamedTuple):
    """Why a document goes no further: refused by decision, or quarantined as damaged."""

    reason: str
    quarantined: bool = False
    value: float | None = None
    bound: float | None = None


class Document(NamedTuple):
    """One row of schema.RAW, before it is laid out in columns."""

    offset: int
    ordinal: int = 0  # among the records with this offset
    url: str | None = None
    date: str | None = None
    origin: str | None = None
    content_type: str = ""
    charset: str = ""
    payload: bytes = b""
    verdict: Verdict | None = None
    metadata: str | None = None


def damaged(offset: int, reason: str) -> Document:
    """The row that stands for a span of the input in which no record could be made out."""
    return Document(offset, FAULT_INDEX, verdict=Verdict(reason, quarantined=True))
