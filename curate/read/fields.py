"""Which fields an input has, for a user whose recipe reads its text from one that is not there."""

import io
import json
import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import yaml

from curate.errors import CurateError
from curate.ledger import Spans
from curate.read.gzip_members import Gap, gzip_members
from curate.read.jsonl import BOM, Lines, begins_json
from curate.read.parquet import FAILURES, first_row
from curate.read.reader import kind_of
from curate.read.settings import Read
from curate.read.source import BLOCK_BYTES, Input, Span, Window, opened
from curate.read.zstd_frames import zstd_frames

NEARLY_ALL = 0.9
MANY = 20  # fields are named at most


def hints(inputs: Iterable[Input], books: Iterable[dict[str, Any]], settings: Read) -> list[str]:
    """What to write for inputs in which nearly no document has a text; `books` are a ledger's."""
    found = []
    for item, book in zip(inputs, books, strict=True):
        stage = book["stages"][0]
        without = sum(
            count["documents"]
            for reason, count in stage["quarantined"].items()
            if reason.endswith(".no_text")
        )
        if without and without >= NEARLY_ALL * stage["entered"]["documents"]:
            found.append(_hint(item, settings))
    return found


def _hint(item: Input, settings: Read) -> str:
    row = first_record(item, settings.max_member_bytes)
    key = settings.text_key
    said = f"the field {key!r} in {item.name} holds no text"
    if key not in row:
        said = f"no field {key!r} in {item.name}"
    texts = {name: len(value) for name, value in row.items() if isinstance(value, str)}
    if not texts:
        return f"{said}; name the field of the text in the recipe: read: {{text_key: NAME}}"
    likely = max(texts, key=lambda name: texts[name])
    setting = yaml.safe_dump({"text_key": likely}, default_flow_style=True, width=math.inf).strip()
    there = ", ".join([*islice(row, MANY), *(["..."] if len(row) > MANY else [])])
    where = "in the recipe (curate dedup: --text-key)"
    return f"{said}; there are: {there}; say `read: {setting}` {where}"


def first_record(item: Input, max_bytes: int) -> dict[str, Any]:
    """The first record of a JSONL or Parquet input, by field; nothing where it cannot be read."""
    try:
        kind = kind_of(item)
        with opened(item) as source:
            if kind == "parquet":
                return first_row(source)
            with closing(_contents(source, kind, item.size)) as parts:
                return _first_object(parts, max_bytes)
    except (*FAILURES, CurateError):  # the run has told what is wrong with this input
        return {}


def _contents(source: io.RawIOBase, kind: str, size: int) -> Generator[bytes]:
    """The content of a JSONL input, unpacked, in parts."""
    window = Window(source, Span(0, size))
    if kind == "jsonl":
        while part := window.take(BLOCK_BYTES):
            yield bytes(part)
        return
    unpack = gzip_members if kind.endswith(".gz") else zstd_frames
    for member in unpack(window, begins_json, Spans()):
        while not isinstance(member, Gap) and (part := member.read()):
            yield bytes(part)


def _first_object(parts: Iterator[bytes], max_bytes: int) -> dict[str, Any]:
    lines = Lines(0, max_bytes)
    for part in parts:
        for line in lines.feed(part):
            if line.content.strip():
                return _object(line.content)
    return next((_object(line.content) for line in lines.close()), {})


def _object(content: bytes) -> dict[str, Any]:
    row = json.loads(content.removeprefix(BOM))
    return row if isinstance(row, dict) else {}
