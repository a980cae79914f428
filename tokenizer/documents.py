"""Documents of Parquet and JSON lines as a run has them: with an id, a source and a place in it."""

import json
import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from curate.column import Positions
from curate.errors import InputError
from curate.recipe import nearest
from curate.schema import ID, LANGUAGE, OFFSET, SOURCE, TEXT, URL, Batch
from tokenizer.corpus import JSON, Part, files_of, is_text, line_blocks, named, parquet
from tokenizer.shuffle import REPEATS

ROWS = 1 << 10
HEAD = 1 << 20  # bytes of JSON lines from which the types of fields are known
TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def inputs_of(patterns: Sequence[str]) -> list[Path]:
    """The files of documents that paths, folders and globs name; of a run its documents."""
    found: set[Path] = set()
    for pattern in patterns:
        path = meant(Path(pattern))
        files = files_of([str(path)])
        fitting = {file for file in files if named(file).endswith((".parquet", *JSON))}
        if (path.is_file() or not fitting) and set(files) - fitting:
            raise InputError(f"{files[0]}: neither Parquet nor JSON lines (.parquet, .jsonl)")
        found |= fitting
    for path in sorted(found):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{str(path)!r}: the name is not UTF-8; rename it") from error
    return sorted(found)


def meant(path: Path) -> Path:
    """The folder of documents where a path is the output of a run; else the path."""
    is_run = (path / "ledger.json").is_file() and (path / "documents").is_dir()
    return path / "documents" if is_run else path


def names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """What each file is called as a source: its path from the folder on that all are in."""
    folder = os.path.commonpath([path.absolute().parent for path in paths])
    return {path: path.absolute().relative_to(folder).as_posix() for path in paths}


def check_columns(paths: Sequence[Path], text_key: str, columns: Sequence[str]) -> None:
    """Refuse files without a text or a column that is asked for, before any work."""
    for path in paths:
        try:
            there = fields_of(path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read: {error}") from error
        if there is None:  # no documents
            continue
        for name in (text_key, *columns):
            if name not in there:
                raise InputError(
                    f"{path}: no column {name!r}; there are: {', '.join(there)}"
                    f"{nearest(name, [*there])}"
                )
        if not is_text(there[text_key]):
            raise InputError(f"{path}: the column {text_key!r} holds {there[text_key]}, not text")


def fields_of(path: Path) -> dict[str, pa.DataType] | None:
    """The columns of a file; of JSON lines those of its first lines, or None if it has none."""
    if path.name.endswith(".parquet"):
        with parquet(path) as file:
            return {field.name: field.type for field in file.schema_arrow}
    with pa.input_stream(path) as stream:
        head = read = stream.read(HEAD)
        while read and b"\n" not in head:
            head += (read := stream.read(HEAD))
    whole = head[: head.rfind(b"\n") + 1] if read else head
    found: dict[str, set[type]] = {}
    for line in filter(bytes.strip, whole.split(b"\n")):
        for name, value in fields_in(line, path).items():
            found.setdefault(name, set()).add(type(value))
    return {name: type_of(kinds) for name, kinds in found.items()} or None


def fields_in(line: bytes, path: Path) -> dict[str, Any]:
    """The fields of an object of JSON."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}: no JSON object on each line: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object on each line, not {line[:40]!r}")
    return value


def type_of(kinds: set[type]) -> pa.DataType:
    """The type of a field with values of these kinds; null where it is none of one kind."""
    kinds = kinds - {type(None)}
    if kinds == {int, float}:
        return pa.float64()
    return TYPES.get(next(iter(kinds)), pa.null()) if len(kinds) == 1 else pa.null()


def document_batches(
    part: Part, source: str, text_key: str, columns: Sequence[str]
) -> Iterator[Batch]:
    """The documents of a part, with these further columns; a text may be null."""
    path = Path(part.path)
    wanted = (ID, SOURCE, OFFSET, URL, LANGUAGE, REPEATS, text_key, *columns)
    try:
        read = parquet_rows if path.name.endswith(".parquet") else json_rows
        for rows, places in read(part, wanted):
            yield documents(rows, places, source, text_key)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def parquet_rows(part: Part, wanted: Sequence[str]) -> Iterator[tuple[Batch, Positions]]:
    """Rows with their numbers in the file."""
    with parquet(Path(part.path)) as file:
        end = file.num_row_groups if part.end is None else part.end
        at = sum(file.metadata.row_group(k).num_rows for k in range(part.begin))
        there = [name for name in dict.fromkeys(wanted) if name in file.schema_arrow.names]
        for batch in file.iter_batches(ROWS, list(range(part.begin, end)), there):
            yield batch, np.arange(at, at + len(batch))
            at += len(batch)


def json_rows(part: Part, wanted: Sequence[str]) -> Iterator[tuple[Batch, Positions]]:
    """Objects with the places where their lines begin."""
    path = Path(part.path)
    there = fields_of(path) or {}
    fields = [(name, kind_in(there, name)) for name in dict.fromkeys(wanted) if name in there]
    options = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
    )
    at = first_line(part)
    for block in line_blocks(part):
        starts = line_starts(block)
        if starts:
            size = pyarrow.json.ReadOptions(block_size=len(block) + 1)
            table = pyarrow.json.read_json(pa.BufferReader(block), size, options)
            table.validate(full=True)  # the reader lets pass what is no UTF-8
            if len(table) != len(starts):
                raise InputError(f"{path}: not one JSON object on each line, behind byte {at}")
            [batch] = table.combine_chunks().to_batches()
            yield batch, np.array(starts) + at
        at += len(block)


def kind_in(there: dict[str, pa.DataType], name: str) -> pa.DataType:
    """The type by which a field is read; one that is null so far is text."""
    return pa.string() if pa.types.is_null(there[name]) else there[name]


def first_line(part: Part) -> int:
    """Where the first line that begins in a part does."""
    if part.begin == 0:
        return 0
    with Path(part.path).open("rb") as file:
        file.seek(part.begin - 1)
        file.readline()
        return file.tell()


def line_starts(block: bytes) -> list[int]:
    """Where the lines begin that are not blank."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    bounds = [0, *ends.tolist()]
    if bounds[-1] < len(block):
        bounds.append(len(block))
    return [i for i, j in pairwise(bounds) if not block[i:j].isspace()]


def documents(rows: Batch, places: Positions, source: str, text_key: str) -> Batch:
    """Rows with the columns that documents of a run have."""
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    columns[TEXT] = columns[text_key].cast(pa.string())
    if SOURCE not in columns or OFFSET not in columns:
        columns |= {SOURCE: pa.repeat(pa.scalar(source), len(rows)), OFFSET: pa.array(places)}
    for name in (SOURCE, URL, LANGUAGE):
        if name in columns:
            columns[name] = columns[name].cast(pa.string())
    columns[ID] = ids_of(columns.get(ID), source, places)
    return pa.record_batch(list(columns.values()), list(columns))


def ids_of(own: pa.Array | None, source: str, places: Positions) -> pa.Array:
    """A run's own ids as they are; else the hash of what a file gives, or of the place in it."""
    kind = pa.binary(16)
    if own is not None and own.type == kind and not own.null_count:
        return own
    given = [None] * len(places) if own is None else own.to_pylist()
    names = [
        f"{source}\0{place}" if one is None else str(one)
        for one, place in zip(given, places.tolist(), strict=True)
    ]
    return pa.array([blake2b(name.encode(), digest_size=16).digest() for name in names], kind)
