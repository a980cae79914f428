"""One document's journey: the steps it reached, what was measured there, where it lies now."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.books import read_ledger, read_recipe
from curate.errors import InputError, ShardError
from curate.report.lineage import DUPLICATE_OF, SIMILARITY, SPANS, duplicates, pairs, some
from curate.report.rules import BYTES, STAGE, bounds_of
from curate.schema import (
    BOUND,
    CUT_BY,
    DROPPED_BY,
    ID,
    LANGUAGE,
    ORIGIN,
    QUARANTINED,
    TEXT,
    URL,
    VALUE,
)
from tokenizer.shards import load_offsets

KEPT, DROPPED, FAULTY, NOT_REACHED = "kept", "dropped", "quarantined", "not reached"
ALIKE, ELSEWHERE = "duplicate", "not in this run"
ID_DIGITS = 32
MOST_NAMED = 5


@dataclass(frozen=True)
class Measured:
    """A signal's number for this document; None where it was not measured."""

    name: str
    value: float | None
    low: float
    high: float

    @property
    def within(self) -> bool:
        """Whether the number lies within the bounds; NaN lies within none that there are."""
        if self.value is None:
            return False
        unbounded = math.isinf(self.low) and math.isinf(self.high)
        return unbounded or self.low <= self.value <= self.high


@dataclass(frozen=True)
class Step:
    """What one stage did with the document."""

    stage: str
    outcome: str
    reason: str = ""
    value: float | None = None
    bound: float | None = None
    measured: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Place:
    """Rows or tokens of a file of ours."""

    file: str
    first: int
    count: int


@dataclass(frozen=True)
class Other:
    """A document that stays in the place of another one."""

    id: str
    url: str  # empty where it is not known
    stage: str  # that found them alike
    similarity: float | None
    fate: str  # kept, duplicate, a reason why it was dropped, or that this run does not have it


@dataclass(frozen=True)
class CutOut:
    """What a stage cut out of the document's text."""

    stage: str
    reason: str
    bytes: int
    spans: int


@dataclass(frozen=True)
class Journey:
    """All that is known of one document, without its text."""

    id: str
    facts: dict[str, Any]  # url, date, source, offset, language and the like, where known
    steps: list[Step]
    personal: dict[str, int] = field(default_factory=dict)  # replaced, by kind
    text: Place | None = None  # row and bytes
    tokens: Place | None = None
    cuts: tuple[CutOut, ...] = ()
    others: tuple[Other, ...] = ()  # that stays in its place, the one that stays for that, ...
    copies: int = 0  # documents that it stands for
    some_copies: tuple[str, ...] = ()  # the first of their ids


@dataclass(frozen=True)
class _Found:
    file: Path
    row: int  # of the file
    values: dict[str, Any]


def explain(folder: Path, identity: str) -> Journey:
    """The journey of the document with this id, or a beginning of it that only one has, or URL.

    Raises InputError where none or several match.
    """
    ledger, recipe = read_ledger(folder / "ledger.json"), read_recipe(folder / "recipe.json")
    found = _one(folder, identity)
    values = found.values
    kept = found.file.parent.name == "documents"
    size = values.pop(TEXT, None)
    stages = [stage["name"] for stage in ledger["stages"]]
    if not kept and values[STAGE] not in stages:
        raise ShardError(f"{found.file}: a stage {values[STAGE]!r} that the ledger does not have")
    steps = _steps(stages, recipe, values, kept)
    personal = {
        name.removeprefix("pii_"): value
        for name, value in values.items()
        if name.startswith("pii_") and isinstance(value, int) and value
    }
    aside = {
        ID,
        STAGE,
        *(DROPPED_BY, VALUE, BOUND, QUARANTINED, DUPLICATE_OF),
        "excerpt",
        "bytes",
        "content_type",
    }
    facts = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in values.items()
        if name not in aside and "." not in name and not name.startswith("pii_")
    }
    copies = _copies(folder, values[ID])
    return Journey(
        id=values[ID].hex(),
        facts={name: value for name, value in facts.items() if value not in (None, "")},
        steps=steps,
        personal=personal,
        text=Place(_name(folder, found.file), found.row, size or 0) if kept else None,
        tokens=_tokens(folder, values[ID]) if kept else None,
        cuts=tuple(_cuts(folder, values[ID])),
        others=tuple(_others(folder, values)),
        copies=len(copies),
        some_copies=tuple(sorted(one.hex() for one in copies[:MOST_NAMED].to_pylist())),
    )


def _cuts(folder: Path, identity: bytes) -> Iterator[CutOut]:
    ids = pa.array([identity], pa.binary(16))
    for batch in some(folder, "cut", ids, STAGE, CUT_BY, BYTES, SPANS):
        for row in batch.to_pylist():
            yield CutOut(row[STAGE], row[CUT_BY], row[BYTES], row[SPANS])


def _others(folder: Path, values: dict[str, Any]) -> Iterator[Other]:
    """Who stays for this document, for that one, and so on to the one that has the text."""
    seen = {values[ID]}
    while (identity := values.get(DUPLICATE_OF)) and identity not in seen:
        seen.add(identity)
        found = next(_matches(folder, identity.hex()), None)
        ids = pa.array([values[ID]], pa.binary(16))
        pair = next(pairs(folder, ID, ids=ids)).to_pylist()[0]
        values = found.values if found else {ID: identity}
        fate = KEPT if found else ELSEWHERE
        if found and values.get(DROPPED_BY):
            fate = ALIKE if values.get(DUPLICATE_OF) else values[DROPPED_BY]
        url = values.get(URL) or ""
        yield Other(identity.hex(), url, pair[STAGE], pair[SIMILARITY], fate)


def _copies(folder: Path, identity: bytes) -> pa.Array:
    """The ids of all documents that this one stands for, also through others, in their order."""
    found = new = pa.array([identity], pa.binary(16))
    while len(new):
        alike = [
            batch.column(ID).filter(pc.is_in(batch.column(DUPLICATE_OF), value_set=new))
            for batch in duplicates(folder, ID)
        ]
        new = pa.chunked_array(alike, pa.binary(16)).combine_chunks()
        new = new.filter(pc.invert(pc.is_in(new, value_set=found)))
        found = pa.concat_arrays([found, new])
    copies = found[1:].cast(pa.binary())
    return copies.take(pc.array_sort_indices(copies))


def _one(folder: Path, identity: str) -> _Found:
    matches: list[_Found] = []
    named = identity.strip()
    for found in chain(_matches(folder, named), _matches(folder, named, ORIGIN)):
        if all(found.values[ID] != other.values[ID] for other in matches):
            matches.append(found)
        if len(matches) > MOST_NAMED:
            break
    if not matches:
        raise InputError(
            f"{folder}: no document {identity!r}; give a URL, the dump's own id, or an id in hex "
            "or its beginning: the report's samples name some; `id` in documents/ and dropped/ "
            "holds all, as bytes"
        )
    if len(matches) > 1:
        ids = ", ".join(found.values[ID].hex() for found in matches[:MOST_NAMED])
        more = " and more" if len(matches) > MOST_NAMED else ""
        raise InputError(f"{folder}: {identity!r} could be {ids}{more}; give more of the id")
    return matches[0]


def _matches(folder: Path, identity: str, column: str = "") -> Iterator[_Found]:
    prefix = identity.lower()
    is_hex = len(prefix) <= ID_DIGITS and set(prefix) <= set("0123456789abcdef")
    column = column or (ID if is_hex else URL)
    for path in sorted([*folder.glob("documents/*.parquet"), *folder.glob("dropped/*.parquet")]):
        try:
            with pq.ParquetFile(path) as file:
                yield from _rows(path, file, column, prefix if column == ID else identity)
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"{path}: cannot be read: {error}") from error


def _rows(path: Path, file: pq.ParquetFile, column: str, wanted: str) -> Iterator[_Found]:
    if not wanted or column not in file.schema_arrow.names:
        return
    before = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=[column], use_threads=False)
        for row in _places(table.column(column), column, wanted):
            yield _Found(path, before + row, _values(file, group, row))
        before += table.num_rows


def _places(values: pa.ChunkedArray, column: str, wanted: str) -> list[int]:
    if column != ID:
        found = pc.equal(values, wanted)
    else:
        # Whole bytes by Arrow; an odd last digit in Python.
        whole = bytes.fromhex(wanted[: len(wanted) // 2 * 2])
        found = pc.starts_with(values.cast(pa.binary()), whole)
    places: list[int] = pc.indices_nonzero(pc.fill_null(found, False)).to_pylist()
    if column == ID and len(wanted) % 2:
        places = [place for place in places if values[place].as_py().hex().startswith(wanted)]
    return places


def _values(file: pq.ParquetFile, group: int, row: int) -> dict[str, Any]:
    """The row's values; of the text only its size."""
    table = file.read_row_group(group, use_threads=False).slice(row, 1)
    if TEXT in table.column_names:
        size = pc.binary_length(table.column(TEXT))
        table = table.set_column(table.column_names.index(TEXT), TEXT, size)
    values: dict[str, Any] = table.to_pylist()[0]
    return values


def _steps(
    stages: list[str], recipe: dict[str, Any], values: dict[str, Any], kept: bool
) -> list[Step]:
    last = len(stages) if kept else stages.index(values[STAGE])
    signals = {stage["name"]: stage.get("signals", []) for stage in recipe["stages"]}
    steps = []
    for index, stage in enumerate(stages):
        if index > last:
            steps.append(Step(stage, NOT_REACHED))
            continue
        measured = tuple(_measured(signal, values) for signal in signals.get(stage, []))
        if index < last:
            steps.append(Step(stage, KEPT, measured=measured))
            continue
        outcome = FAULTY if values.get(QUARANTINED) else DROPPED
        verdict = (values[DROPPED_BY], values.get(VALUE), values.get(BOUND))
        steps.append(Step(stage, outcome, *verdict, measured))
    return steps


def _measured(signal: dict[str, Any], values: dict[str, Any]) -> Measured:
    bounds = bounds_of(signal, values.get(LANGUAGE))
    return Measured(signal["name"], values.get(signal["name"]), *bounds)


def _tokens(folder: Path, identity: bytes) -> Place | None:
    for path in sorted((folder / "tokens").glob("*.docs.parquet")):
        ids = pq.read_table(path, columns=["doc_id"]).column("doc_id")
        row = pc.index(ids, pa.scalar(identity, ids.type)).as_py()
        if row >= 0:
            part = path.name.removesuffix(".docs.parquet")
            offsets = load_offsets(path.with_name(f"{part}.offsets.npy"))
            first, end = offsets[row : row + 2].tolist()
            return Place(f"tokens/{part}.bin", first, end - first)
    return None


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()
