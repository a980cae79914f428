"""Labelled documents of a classifier: read from files, cleaned, put in an order, split in two.

Order and split come from a hash of the text, so that neither files nor their order nor a seed
decide where a document goes, and the same text is never on both sides.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from curate.errors import InputError
from curate.schema import TEXT
from filters.classifier import normalised
from filters.fasttext_file import LABEL
from tokenizer.corpus import PACKED, line_batches, parquet

HEAPS = 64  # sorted one after another, so that a 64th of the text is in memory
ROWS = 1 << 12
JSON_BYTES = 16 << 20  # an object must fit in a block
# What parts words for fastText, as spaces: its training takes a line for a document.
SPACES = bytes.maketrans(b"\0\t\n\v\f\r", b" " * 6)
# A word that fastText would take for a label of the document.
FALSE_LABEL = re.compile(rb"(?:(?<=\s)|^)" + LABEL + rb"\S*")
NAME = re.compile(r"[^\s\0]+")


@dataclass(frozen=True)
class Labelled:
    """Files whose documents have one label, or a column that says which."""

    paths: tuple[Path, ...]
    label: str = ""  # of all documents
    label_column: str = ""
    text_column: str = TEXT

    def batches(self, path: Path) -> Iterator[tuple[pa.Array, list[str]]]:
        """The texts of a file and their labels; documents without text are left out."""
        for batch in record_batches(path):
            texts = column(batch, self.text_column, path)
            labels = pa.array([self.label] * len(texts))
            if self.label_column:
                labels = column(batch, self.label_column, path)
            there = pc.and_(pc.is_valid(texts), pc.is_valid(labels))
            yield texts.filter(there), labels.filter(there).to_pylist()


@dataclass
class Counted:
    """What a file gave."""

    file: str
    sha256: str
    bytes: int
    labels: dict[str, int] = field(default_factory=dict)


@dataclass
class Split:
    """Two files of lines `__label__hq text`, and how many documents of each label they have."""

    train: Path
    held_out: Path
    counts: dict[str, dict[str, int]]
    files: list[Counted]
    repeated: int = 0


def record_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """A Parquet or JSONL file in batches with all columns; of plain text, every line a document.

    A file without documents is a batch without rows that has its columns; an empty JSONL has none.
    """
    name = path.name.removesuffix(path.suffix) if path.suffix in PACKED else path.name
    try:
        if name.endswith(".parquet"):
            file = parquet(path)
            yield from file.iter_batches(ROWS)
            if not file.metadata.num_rows:
                yield pa.RecordBatch.from_pylist([], file.schema_arrow)
        elif name.endswith((".jsonl", ".ndjson", ".json")):
            with pa.input_stream(path) as stream:
                if not stream.read(1):
                    return
            with pa.input_stream(path) as stream:
                options = pyarrow.json.ReadOptions(block_size=JSON_BYTES)
                yield from pyarrow.json.open_json(stream, options)
        else:
            yield from line_batches(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def column(batch: pa.RecordBatch, name: str, path: Path) -> pa.Array:
    """A column by its name, as strings."""
    if name not in batch.schema.names:
        there = ", ".join(batch.schema.names)
        raise InputError(f"{path}: no column {name!r}; there are: {there}")
    try:
        return batch.column(name).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{path}: the column {name!r} holds no text: {error}") from error


def cleaned(texts: pa.Array, *, lower: bool) -> list[bytes]:
    """Texts as lines for fastText's training; one without words is empty."""
    lines = []
    for text in normalised(texts, lower=lower).cast(pa.binary()).to_pylist():
        line = text.translate(SPACES)
        if LABEL in line:
            line = FALSE_LABEL.sub(b"", line)
        lines.append(line.strip(b" "))
    return lines


def split(sources: list[Labelled], folder: Path, held_out: float, *, lower: bool) -> Split:
    """Write the documents of all sources to two files, in the order of their hashes.

    A document goes to the second where its hash, as a share of all hashes, is below `held_out`.
    Repeated documents are left out.
    """
    with contextlib.ExitStack() as stack:
        heaps = [
            stack.enter_context((folder / f"heap-{heap:02}").open("w+b")) for heap in range(HEAPS)
        ]
        files = [
            _scatter(source, path, heaps, lower=lower)
            for source in sources
            for path in source.paths
        ]
        result = Split(folder / "train.txt", folder / "held-out.txt", {}, files)
        outputs = {
            name: stack.enter_context(path.open("wb"))
            for name, path in (("train", result.train), ("held_out", result.held_out))
        }
        result.counts = {name: {} for name in outputs}
        for heap in heaps:
            heap.seek(0)
            rows = sorted(heap.read().splitlines())
            distinct = dict.fromkeys(rows)
            result.repeated += len(rows) - len(distinct)
            for row in distinct:
                hashed, _, line = row.partition(b" ")
                side = "held_out" if int(hashed, 16) < held_out * 2**64 else "train"
                outputs[side].write(line + b"\n")
                label = line.partition(b" ")[0].removeprefix(LABEL).decode()
                result.counts[side][label] = result.counts[side].get(label, 0) + 1
    return result


def _scatter(source: Labelled, path: Path, heaps: Sequence[BinaryIO], *, lower: bool) -> Counted:
    counted = Counted(path.name, *_described(path))
    for texts, labels in source.batches(path):
        for line, label in zip(cleaned(texts, lower=lower), labels, strict=True):
            if not NAME.fullmatch(label):
                raise InputError(f"{path}: {label!r} is no label; write one without spaces")
            counted.labels[label] = counted.labels.get(label, 0) + 1
            if line:
                hashed = hashlib.sha256(line).hexdigest()[:16]
                row = hashed.encode() + b" " + LABEL + label.encode() + b" " + line + b"\n"
                heaps[int(hashed[:8], 16) % HEAPS].write(row)
    return counted


def _described(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def read_lines(path: Path) -> Iterator[tuple[pa.Array, list[str]]]:
    """The documents that `split` wrote, and their labels, in batches."""
    texts: list[bytes] = []
    labels: list[str] = []
    with path.open("rb") as lines:
        for line in lines:
            label, _, text = line.rstrip(b"\n").partition(b" ")
            texts.append(text)
            labels.append(label.removeprefix(LABEL).decode())
            if len(texts) == ROWS:
                yield _strings(texts), labels
                texts, labels = [], []
    yield _strings(texts), labels


def _strings(texts: list[bytes]) -> Any:
    return pa.array(texts, pa.binary()).view(pa.string())
