"""A finished run as its files tell it: where every document went, and the numbers kept with it."""

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import schema
from curate.books import read_ledger, read_recipe
from curate.column import Mask, Numbers
from curate.errors import RecipeError, ShardError
from curate.models import LANGUAGE
from curate.recipe import HOMES
from curate.signal import Signal
from curate.store import canonical, unsealed
from curate.words import HEARING

Codes = NDArray[np.int32]
NONE = -1  # in codes: no stage, no reason

STAGE = "stage"
READ = "read"
# What says how much is held at a time changes no document.
_READ_ASIDE = ("batch_bytes", "batch_rows", "split_bytes")
# What a recipe says of a signal beside what is measured.
_JUDGED = ("low", "high", "by_language", "about", "source")


Digests = tuple[tuple[str, str], ...]  # files by name, with their SHA-256; sorted


@dataclass(frozen=True)
class StageFacts:
    """A stage as a resolved recipe describes it, with the text that it sees."""

    name: str
    kind: str
    settings: dict[str, Any]
    signals: dict[str, str]  # by name: what is measured, without the bounds
    text: str  # all that has rewritten the text before
    text_after: str
    heard: str  # what told the language before, if that can make a difference to the stage
    language: str  # what told the language before
    language_after: str
    files: Digests  # models and lists that it reads
    columns: tuple[str, ...] = ()  # that it writes and judges by
    written: str = ""  # what that depends on

    @property
    def measures_only(self) -> bool:
        """Whether the stage is a list of signals."""
        return bool(self.signals)

    def same(self, other: "StageFacts") -> bool:
        """Whether both do the same to the same text."""
        mine, its = (
            (stage.text, stage.heard, stage.files)  # of the same files by their content
            for stage in (self, other)
        )
        alike = self.kind == other.kind and self.settings == other.settings
        return alike and mine == its and self.signals == other.signals


def stage_facts(
    resolved: dict[str, Any], models: dict[str, str], files: dict[int, Digests] | None = None
) -> list[StageFacts]:
    """The stages of a resolved recipe, reading first.

    `models` are the SHA-256 of a run's files by name; `files` says of stages, by their number, what
    they read instead.
    """
    reading = {
        key: value for key, value in resolved.get("read", {}).items() if key not in _READ_ASIDE
    }
    text, language = canonical([READ, reading]), ""
    stages = [StageFacts(READ, READ, reading, {}, "", text, "", "", "", ())]
    for number, entry in enumerate(resolved["stages"], start=1):
        signals = {
            signal["name"]: canonical(
                [{k: v for k, v in signal.items() if k not in _JUDGED}, language * _hears(signal)]
            )
            for signal in entry.get("signals", [])
        }
        before, told = text, language
        kind, settings = entry["kind"], entry["settings"]
        stage = None if signals else _stage(kind)
        ignores = signals or getattr(stage, "ignores_language", False)
        heard = "" if ignores else language
        # By which bounds it drops a document makes no other text of those that it keeps.
        judged_by = getattr(stage, "judged_by", ())
        read = (files or {}).get(number, _files_in(settings, models))
        making = [{key: value for key, value in settings.items() if key not in judged_by}, read]
        if not (signals or getattr(stage, "leaves_text", False)):
            text = canonical([text, kind, making, heard])
        written = canonical([before, kind, making, heard])
        if getattr(stage, "tells_language", False):
            language = written
        facts = entry["name"], kind, settings, signals, before, text, heard, told, language, read
        stages.append(StageFacts(*facts, _columns(stage, settings), written))
    return stages


def _files_in(settings: dict[str, Any], models: dict[str, str]) -> Digests:
    """Which of a run's files the stage with these settings read."""
    patterns = [
        # A model may have a card beside it, a folder of lists has files in it.
        re.compile(".*".join(map(re.escape, given.split(LANGUAGE))) + "( card|/[^/]+)?")
        for given in settings.values()
        if isinstance(given, str) and given
    ]
    return tuple(
        (name, models[name]) for name in sorted(models) if any(p.fullmatch(name) for p in patterns)
    )


def _columns(stage: Any, settings: dict[str, Any]) -> tuple[str, ...]:
    """The columns that a stage judges by; none if it judges by none, or is of another version."""
    if not hasattr(stage, "judged_from"):
        return ()
    try:
        columns: tuple[str, ...] = stage(**settings).judged_from
    except (TypeError, RecipeError):
        return ()
    return columns


def _hears(signal: dict[str, Any]) -> bool:
    """Whether a signal's numbers may depend on the language that was told before."""
    words = signal["words"]
    if words is None or words["languages"] or words["default"] in HEARING:
        return True
    family, _, name = signal["name"].partition(".")
    known = _stage(f"filters.{family}.{name.partition('.')[0]}")
    return not (isinstance(known, Signal) and known.is_kernel)


def _stage(kind: str) -> Any:
    """A stage's class, or a signal; None if there is none of this name, as in another version."""
    module, _, name = kind.rpartition(".")
    if module.rpartition(".")[0] not in HOMES or importlib.util.find_spec(module) is None:
        return None
    return getattr(importlib.import_module(module), name, None)


@dataclass(frozen=True)
class Part:
    """A file with documents, and the place of its rows among all rows of the run."""

    path: Path
    start: int
    end: int
    kept: bool

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.start, self.end)

    def has(self, *columns: str) -> bool:
        """Whether it has all these columns."""
        return set(columns) <= set(pq.read_schema(self.path).names)

    def table(self, *columns: str) -> pa.Table:
        """These of its columns; what the file does not have is left out."""
        try:
            with pq.ParquetFile(self.path) as file:
                there = [name for name in columns if name in file.schema_arrow.names]
                return file.read(there)
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"{self.path}: cannot be read: {error}") from error

    def row(self, place: int, *columns: str) -> dict[str, Any]:
        """These of the columns of one row; only its row group is read."""
        with pq.ParquetFile(self.path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if place < count:
                    table = file.read_row_group(group, columns=there).slice(place, 1)
                    values: dict[str, Any] = table.to_pylist()[0]
                    return values
                place -= count
        raise ShardError(f"{self.path}: has no row {place}")


@dataclass
class Stored:
    """A finished run: one entry for each document in every array, files in order of their names."""

    folder: Path
    recipe: dict[str, Any]
    ledger: dict[str, Any]
    stages: list[StageFacts]
    parts: list[Part]
    models: dict[str, str]  # SHA-256 of the files that it read besides documents, by name
    reasons: list[str] = field(default_factory=list)
    reached: Codes = field(default_factory=lambda: np.empty(0, np.int32))  # the last stage
    reason: Codes = field(default_factory=lambda: np.empty(0, np.int32))
    value: Numbers = field(default_factory=lambda: np.empty(0))
    bound: Numbers = field(default_factory=lambda: np.empty(0))
    quarantined: Mask = field(default_factory=lambda: np.empty(0, np.bool_))

    @property
    def count(self) -> int:
        """How many documents were read."""
        return len(self.reached)

    @property
    def kept(self) -> Mask:
        """Which documents every stage kept."""
        mask: Mask = self.reason == NONE
        return mask

    def ids(self) -> pa.ChunkedArray:
        """The id of every document."""
        chunks = [part.table(schema.ID).column(0).cast(pa.binary(16)) for part in self.parts]
        arrays = [chunk for column in chunks for chunk in column.chunks]
        return pa.chunked_array(arrays, pa.binary(16))


def stored(folder: Path) -> Stored:
    """The run in this folder.

    Raises ShardError where it is none, or files are missing.
    """
    recipe, ledger = read_recipe(folder / "recipe.json"), read_ledger(folder / "ledger.json")
    parts, rows = [], 0
    for path, kept in _files(folder):
        try:
            count = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"{path}: cannot be read: {error}") from error
        parts.append(Part(path, rows, rows + count, kept))
        rows += count
    read = ledger["stages"][0]["entered"]["documents"] if ledger["stages"] else 0
    if read != rows:
        raise ShardError(
            f"{folder}: its files hold {rows:,} documents, but the ledger {read:,}; has the run "
            "ended? The same `curate run` again finishes or mends it"
        )
    models = (unsealed(folder / "manifest.json") or {}).get("models", {})
    run = Stored(folder, recipe, ledger, stage_facts(recipe, models), parts, models)
    _read_fates(run, rows)
    return run


def _files(folder: Path) -> Iterator[tuple[Path, bool]]:
    for name in ("documents", "dropped"):
        for path in sorted((folder / name).glob("*.parquet")):
            yield path, name == "documents"


def _read_fates(run: Stored, rows: int) -> None:
    run.reached = np.full(rows, len(run.stages), np.int32)
    run.reason = np.full(rows, NONE, np.int32)
    run.value, run.bound = np.full(rows, np.nan), np.full(rows, np.nan)
    run.quarantined = np.zeros(rows, np.bool_)
    names = {stage.name: index for index, stage in enumerate(run.stages)}
    known: dict[str, int] = {}
    for part in run.parts:
        if part.kept or part.start == part.end:
            continue
        texts = (STAGE, schema.DROPPED_BY)
        table = part.table(*texts, *schema.VERDICT.names[1:])
        if not {*texts, *schema.VERDICT.names} <= set(table.column_names):
            raise ShardError(f"{part.path}: not the dropped documents of a run: columns missing")
        run.reached[part.rows] = coded(table.column(STAGE), names, part.path)
        run.reason[part.rows] = coded(table.column(schema.DROPPED_BY), known)
        run.value[part.rows] = table.column(schema.VALUE).to_numpy()
        run.bound[part.rows] = table.column(schema.BOUND).to_numpy()
        run.quarantined[part.rows] = pc.fill_null(table.column(schema.QUARANTINED), False)
    run.reasons = list(known)


def coded(column: pa.ChunkedArray, codes: dict[str, int], closed: Path | None = None) -> Codes:
    """A column of few different texts as codes; what is new is added, or refused where closed."""
    found = [np.empty(0, np.int32)]
    for chunk in column.chunks:
        encoded = chunk.dictionary_encode()
        for text in encoded.dictionary.to_pylist():
            if text not in codes and closed:
                raise ShardError(f"{closed}: a stage {text!r} that recipe.json does not have")
            codes.setdefault(text, len(codes))
        own = [codes[text] for text in encoded.dictionary.to_pylist()]
        places = pc.fill_null(encoded.indices, len(own)).to_numpy()
        found.append(np.array([*own, NONE], np.int32)[places])
    return np.concatenate(found)


class Reader:
    """The stored numbers of one part, and for which documents they are the ones asked for."""

    def __init__(self, run: Stored, part: Part, columns: frozenset[str]) -> None:
        self._run = run
        self._reached = run.reached[part.rows]
        self.table = part.table(*sorted(columns))

    def numbers(self, name: str, wanted: str, text: str) -> tuple[Numbers, Mask]:
        """A signal's numbers, and which of them were measured on this very text."""
        known = np.zeros(len(self._reached), np.bool_)
        if name not in self.table.column_names:
            return np.full(len(known), np.nan), known
        column = self.table.column(name)
        measured = occurrences(self._run.stages, name)
        # A stage that measures again replaces the number; whoever reached it has the new one.
        ends = [*measured[1:], len(self._run.stages) + 1]  # kept: beyond the last stage
        for start, end in zip(measured, ends, strict=True):
            stage = self._run.stages[start]
            if stage.signals[name] == wanted and stage.text == text:
                known |= (self._reached >= start) & (self._reached < end)
        if column.null_count:
            known &= pc.is_valid(column).to_numpy()
        return column.cast(pa.float64()).to_numpy(), known


def occurrences(stages: list[StageFacts], signal: str) -> list[int]:
    """Which stages measure the signal."""
    return [index for index, stage in enumerate(stages) if signal in stage.signals]


def as_json(value: Any) -> Any:
    """A value as a reader of its JSON would see it: lists for tuples."""
    return json.loads(json.dumps(value))
