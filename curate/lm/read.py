"""Text for a language model: files in units of work, and units in batches of texts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from curate.errors import InputError
from curate.schema import TEXT
from tokenizer.corpus import checked, json_options, text_batches

UNIT_BYTES = 64 << 20
BLOCK_BYTES = 4 << 20
LINES = (".jsonl", ".ndjson", ".json")
# Parquet has no lines, and packed files can only be read from their beginning.
WHOLE = (".parquet", ".gz", ".zst", ".bz2")


@dataclass(frozen=True)
class Unit:
    """A part of a file that begins and ends with a line, or a whole file."""

    path: str
    start: int
    end: int


def units(paths: list[Path], unit_bytes: int = UNIT_BYTES) -> list[Unit]:
    """The files in parts, decided by their content alone."""
    return [unit for path in paths for unit in _cut(path, unit_bytes)]


def _cut(path: Path, unit_bytes: int) -> Iterator[Unit]:
    size = path.stat().st_size
    start = 0
    if not path.name.endswith(WHOLE):
        with path.open("rb") as file:
            while size - start > unit_bytes:
                file.seek(start + unit_bytes - 1)
                file.readline()
                if file.tell() >= size:
                    break
                yield Unit(str(path), start, file.tell())
                start = file.tell()
    yield Unit(str(path), start, size)


def texts(unit: Unit) -> Iterator[pa.Array]:
    """The texts of a unit, in batches: a line of a text file, `text` of JSON and Parquet rows."""
    path = Path(unit.path)
    if path.name.endswith(WHOLE):
        for batch in text_batches(path):
            yield _without_ends(batch.column(TEXT))
        return
    for block in _blocks(unit):
        yield _parsed(block, path) if path.name.endswith(LINES) else _lines(block)


def _blocks(unit: Unit) -> Iterator[bytes]:
    """The bytes of a unit in whole lines."""
    with Path(unit.path).open("rb") as file:
        file.seek(unit.start)
        while (left := unit.end - file.tell()) > 0:
            block = file.read(min(BLOCK_BYTES, left))
            yield block + (file.readline() if len(block) < left else b"")


def _parsed(block: bytes, path: Path) -> pa.Array:
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(block), options, json_options())
    except pa.ArrowException as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    column = [batch.column(TEXT) for batch in checked(table.to_batches(), path)]
    return pa.concat_arrays(column) if column else pa.array([], pa.string())


def _lines(block: bytes) -> pa.Array:
    return pa.array(block.removesuffix(b"\n").split(b"\n"), pa.binary())


def _without_ends(lines: pa.Array) -> pa.Array:
    """Lines of a packed text file without their line ends; texts of documents as they are."""
    if not pa.types.is_binary(lines.type):
        return lines
    return pa.array([line.removesuffix(b"\n") for line in lines.to_pylist()], pa.binary())
