"""The text of a file in batches: Parquet, JSONL or plain lines, whole or a part of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from curate.errors import InputError
from curate.schema import LANGUAGE, TEXT

# Text is read in blocks of this size, whatever the size of the file. Blocks of 16 MB do not stay in
# a core's own cache, and their memory is new to the process each time: 1.1 ns a byte more.
BLOCK_BYTES = 1 << 20
# Files are worked on in parts of about this size: for 1 TB that makes 4,000 tasks.
PART_BYTES = 256 << 20
# One process alone takes so many as one: pieces are then written and read once, not for each part.
# That was a seventh of the time with 400 MB of many languages.
ALONE = 4
PACKED = (".gz", ".zst", ".bz2")
JSON = (".jsonl", ".ndjson", ".json")
CRAWL = (".warc", ".wet", ".wat")
UNPACKED = 4  # times as large as packed text is, about


@dataclass(frozen=True)
class Part:
    """What one task reads of a file: row groups of Parquet, or the lines that begin in bytes."""

    path: str
    begin: int = 0
    end: int | None = None  # None: to the end
    size: int = 0  # about as many bytes of text


def files_of(patterns: list[str]) -> list[Path]:
    """The files that paths, folders and globs name, sorted."""
    files: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            found = [one for one in path.rglob("*") if one.is_file()]
        elif path.is_file():
            found = [path]
        elif path.exists():
            raise InputError(f"{pattern}: neither a file nor a folder")
        else:
            there = Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))
            found = [one for one in there if one.is_file()]
        if not found:
            raise InputError(f"{pattern}: matches no file; write a path, a folder or a glob")
        files.update(found)
    return sorted(files)


def named(path: Path) -> str:
    """The name of a file without the ending that says that it is packed."""
    return path.name.removesuffix(path.suffix) if path.suffix in PACKED else path.name


def parts_of(path: Path, times: int = 1) -> list[Part]:
    """A file in parts of so many times the usual size; a packed one is one part."""
    if named(path).endswith(CRAWL) or is_crawl(path):
        raise InputError(
            f"{path}: a tokenizer is trained on text, and this is a crawl dump; extract its text "
            "first: curate run --recipe ... --output DIR, then --input 'DIR/documents/*.parquet'"
        )
    try:
        if path.name.endswith(".parquet"):
            return row_group_parts(path, times * PART_BYTES)
        size = path.stat().st_size
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if path.suffix in PACKED:
        return [Part(str(path), size=UNPACKED * size)]
    most = times * PART_BYTES
    ends = [*range(most, size, most), size]
    return [Part(str(path), i, j, j - i) for i, j in pairwise([0, *ends])]


def is_crawl(path: Path) -> bool:
    """Whether the file begins as records of crawls do, whatever its name says."""
    try:
        with pa.input_stream(path) as stream:
            return bool(stream.read(5) == b"WARC/")
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def row_group_parts(path: Path, most: int) -> list[Part]:
    """Row groups of a Parquet file, together as large as a part."""
    with parquet(path) as file:
        groups = range(file.num_row_groups)
        sizes = [file.metadata.row_group(k).total_byte_size for k in groups]
    parts, begin = [], 0
    for k in groups:
        size = sum(sizes[begin : k + 1])
        if size >= most or k == len(sizes) - 1:
            parts.append(Part(str(path), begin, k + 1, size))
            begin = k + 1
    return parts or [Part(str(path))]


def text_batches(part: Part | Path, column: str = LANGUAGE) -> Iterator[pa.RecordBatch]:
    """A file, or a part of one, in batches with a column `text`, and this column if it is there.

    A line of plain text keeps its line end, as in the training of `tokenizers`. Packed files
    (.gz, .zst, .bz2) are unpacked on the way.
    """
    part = part if isinstance(part, Part) else Part(str(part))
    path = Path(part.path)
    try:
        if path.name.endswith(".parquet"):
            yield from checked(parquet_batches(part, column), path)
        elif named(path).endswith(JSON):
            yield from checked(json_batches(part, column), path)
        else:
            yield from line_batches(path, part)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """A Parquet file to be read in batches, in memory that does not grow with it."""
    # What is read ahead is held until the file is closed: 450 MB of one of 400 MB, else 80 MB.
    return pyarrow.parquet.ParquetFile(path, pre_buffer=False)


def parquet_batches(part: Part, column: str) -> Iterator[pa.RecordBatch]:
    """The row groups of a part, the columns that are wanted alone."""
    with parquet(Path(part.path)) as file:
        end = file.num_row_groups if part.end is None else part.end
        there = file.schema_arrow.names
        # A file without texts is read as it is, for the error that says what it has.
        names = [name for name in (TEXT, column) if name in there] if TEXT in there else None
        yield from file.iter_batches(1 << 12, list(range(part.begin, end)), names)


def checked(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """The same batches, all with a column of texts."""
    for batch in batches:
        if batch.schema.names.count(TEXT) != 1 or not is_text(batch.column(TEXT).type):
            there = ", ".join(f"{field.name} ({field.type})" for field in batch.schema)
            raise InputError(f"{path}: no column 'text' of strings; there are: {there}")
        yield batch


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def json_options(column: str = LANGUAGE) -> pyarrow.json.ParseOptions:
    """How objects with a text, and this column besides, are read."""
    return pyarrow.json.ParseOptions(
        explicit_schema=pa.schema([(TEXT, pa.string()), (column, pa.string())]),
        unexpected_field_behavior="ignore",
    )


def json_batches(part: Part, column: str) -> Iterator[pa.RecordBatch]:
    """The objects of a part, line by line; what else they have is left out."""
    options = json_options(column)
    for block in line_blocks(part):
        if block.strip():
            size = pyarrow.json.ReadOptions(block_size=len(block) + 1)
            table = pyarrow.json.read_json(pa.BufferReader(block), size, options)
            yield from table.to_batches()


def line_blocks(part: Part) -> Iterator[bytes]:
    """Whole lines of a part, as many as make a block; a line belongs where its first byte lies."""
    rest: list[bytes] = []
    # The line that ends before the part, if only with the byte before it, belongs elsewhere.
    at, skipping = max(part.begin - 1, 0), part.begin > 0
    with pa.input_stream(part.path) as stream:
        if at:
            stream.seek(at)
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            begin = block.find(b"\n") + 1 if skipping else 0
            if begin or not skipping:
                if skipping and part.end is not None and at + begin >= part.end:
                    return
                skipping = False
                end = last_line(block, begin, None if part.end is None else part.end - at)
                if end:
                    yield b"".join([*rest, block[begin:end]])
                    if part.end is not None and at + end >= part.end:
                        return
                    rest = []
                rest.append(block[max(begin, end) :])
            at += len(block)
    yield b"".join(rest)


def last_line(block: bytes, begin: int, limit: int | None) -> int:
    """Where the last line that ends in a block, and that begins before the limit, ends; or 0."""
    if limit is None or len(block) < limit:
        return block.rfind(b"\n", begin) + 1
    return block.find(b"\n", max(limit - 1, begin)) + 1 or block.rfind(b"\n", begin) + 1


def line_batches(path: Path, part: Part | None = None) -> Iterator[pa.RecordBatch]:
    """The lines of a text file, or of a part of it, as bytes, their line ends kept."""
    return map(lines_of, line_blocks(part or Part(str(path))))


def lines_of(data: bytes) -> pa.RecordBatch:
    """Lines as rows."""
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == 10) + 1
    rest = [len(data)] if data and not data.endswith(b"\n") else []
    offsets = np.concatenate([[0], ends, rest]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    lines = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    return pa.record_batch([lines], [TEXT])
