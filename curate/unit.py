"""One unit of work: a part of an input, or its documents, through the stages of one pass.

A worker reads files and writes files in a scratch folder; it returns counts. It knows nothing of
other units, and it never publishes.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.column import Numbers
from curate.cuts import stretches, without_cuts
from curate.dedup.columns import DUPLICATE_OF
from curate.dedup.known import kept_rows
from curate.errors import CurateError, LawError, ModelError, RecipeError
from curate.kernel import compiling
from curate.ledger import Count, Cut, Spans, StageLedger
from curate.passes import Pass, lineage, passes
from curate.read.reader import Input, Span, read
from curate.recipe import Step, parse
from curate.schema import Batch
from curate.stage import Opened, Stage, kept, mark, with_column, without
from curate.store import disk_errors, finished
from curate.survey import Survey, decided
from filters.pii import scrub_text
from tokenizer import pretokenize, shards, train, vocabulary
from tokenizer.encode import Encoder

Progress = Callable[[dict[str, int]], None]

ROW_GROUP_BYTES = 8 << 20
ROW_GROUP_ROWS = 4096
EXCERPTS = 2  # kept per reason and unit, for the report
EXCERPT_CHARACTERS = 400
# More of duplicates, which are shown beside the document that stays: of a batch so many nearest to
# the bound, of the largest groups and by identity, until the unit has enough.
TELLING, DUPLICATE_EXCERPTS = 4, 12
DUPLICATE_CHARACTERS = 6_000
STAGE = "stage"
BYTES = "bytes"
EXCERPT = "excerpt"
SPANS = "spans"
CUT_RECORD = pa.schema(
    [
        (schema.ID, pa.binary(16)),
        (schema.URL, pa.string()),
        (STAGE, pa.string()),
        (schema.CUT_BY, pa.string()),
        (BYTES, pa.int64()),
        (SPANS, pa.int32()),
        (EXCERPT, pa.string()),
    ]
)


class Worker:
    """Runs units of one recipe; models and child processes are opened once and kept."""

    def __init__(self, recipe: str, where: str) -> None:
        self._recipe = parse(recipe, where)
        self._where = where
        self._passes = passes(self._recipe)
        self._stages: dict[int, list[tuple[str, Stage]]] = {}
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def warm(self) -> None:
        """Send a batch without rows through every stage: its kernels are loaded, or compiled."""
        batch = pa.RecordBatch.from_pylist([], schema.RAW)
        for this in self._passes:
            for label, stage in self._open(this.index):
                with compiling(label):
                    batch = stage(batch)
            for step in this.surveys:
                with self._told(step), compiling(step.label):
                    batch = _decided_upon(without(batch, *schema.VERDICT.names), step.stage)
        if self._recipe.tokenizer and not self._recipe.tokenizer.load:
            texts = pa.array(["a text"])
            counts = pretokenize.count_pieces(texts, self._recipe.tokenizer.pattern)
            Encoder(train.train(counts, self._recipe.tokenizer)).encode(texts)

    def run(self, task: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """The unit's counts and files; an error of ours comes back as a value, not a traceback."""
        kinds = {
            "text": self._text,
            "tokens": self._tokens,
            "decide": self._decide,
            "index": self._index,
        }
        try:
            with disk_errors(Path(task["scratch"])):
                result = kinds[task["kind"]](task, progress)
        except CurateError as error:
            return {"error": type(error).__name__, "message": str(error)}
        return result

    def _open(self, index: int) -> list[tuple[str, Stage]]:
        if index not in self._stages:
            self._stages[index] = [
                (step.label, self._placed(step)) for step in self._passes[index].steps
            ]
        return self._stages[index]

    def _placed(self, step: Step) -> Stage:
        """The stage; what it finds wrong with the recipe is told with its place."""
        with self._told(step):
            stage = self._opened(step)

        def placed(batch: Batch) -> Batch:
            with self._told(step):
                return stage(batch)

        return placed

    @contextmanager
    def _told(self, step: Step) -> Iterator[None]:
        try:
            yield
        except (RecipeError, ModelError) as error:
            place = f"{self._where}: stages[{self._recipe.steps.index(step)}]"
            problem = str(error).removeprefix(f"{step.label}: ")
            raise type(error)(f"{place}: {step.label}: {problem}") from error

    def _opened(self, step: Step) -> Stage:
        if isinstance(step.stage, Opened):
            return self._resources.enter_context(step.stage.open())
        stage: Stage = step.stage
        return stage

    def _text(self, task: dict[str, Any], progress: Progress) -> dict[str, Any]:
        this = self._passes[task["pass"]]
        flow = _Flow(this, Path(task["scratch"]), task["rejected"], self._recipe.tokenizer)
        where = task["source"]
        if this.index == 0:
            spans = Spans()
            source = Input(**task["input"])
            flow.read(read(source, Span(*task["span"]), self._recipe.read, spans))
            flow.run(self._open(0), progress)
            return {**flow.result(where, spans), "surveys": self._surveyed(this)}
        flow.resume(Path(task["documents"]))
        decided = [
            (step.label, _decision(Path(path)))
            for step, path in zip(this.decided, task["decisions"], strict=True)
        ]
        flow.run([*decided, *self._open(this.index)], progress)
        return {**flow.result(where, None), "surveys": self._surveyed(this)}

    def _decide(self, task: dict[str, Any], _: Progress) -> dict[str, Any]:
        """A part of a survey's decision, by the stage itself."""
        step = self._recipe.steps[task["step"]]
        with self._told(step), compiling(step.label):
            result = getattr(step.stage, task["method"])(task["task"], Path(task["scratch"]))
        return {"result": result}

    def _index(self, task: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """What a survey says of the documents that are left."""
        started, folder = time.perf_counter(), Path(task["scratch"])
        table = kept_rows(Path(task["survey"]), Path(task["documents"]))
        pq.write_table(table, folder / "index.parquet", use_dictionary=False)
        progress({"documents": table.num_rows, "kept": table.num_rows})
        seconds = {"write the index": time.perf_counter() - started}
        return {"files": finished(folder), "seconds": seconds}

    def _surveyed(self, this: Pass) -> list[str]:
        """What each survey of this pass looked at, so that `curate decide` finds its table."""
        resolved, steps = self._recipe.resolved(), self._recipe.steps
        return [lineage(resolved, steps.index(step) + 1) for step in this.surveys]

    def _tokens(self, task: dict[str, Any], progress: Progress) -> dict[str, Any]:
        started = time.perf_counter()
        words = vocabulary.load(Path(task["tokenizer"]))
        encoder = Encoder(words)
        folder = Path(task["scratch"])

        def encoded() -> Iterator[tuple[Batch, Any, Any]]:
            file = pq.ParquetFile(task["documents"])
            for batch in _row_groups(file):
                tokens, offsets = encoder.encode(batch.column(schema.TEXT))
                progress({"documents": batch.num_rows, "kept": batch.num_rows})
                yield batch, tokens, offsets

        part = shards.write_part(folder, "part", encoded(), words.size, words.end_of_text)
        seconds = {"encode tokens": time.perf_counter() - started}
        return {"part": part.to_json(), "files": finished(folder), "seconds": seconds}


@dataclass
class _Flow:
    """Batches through the stages of a pass: marked rows move out, the rest is written."""

    this: Pass
    folder: Path
    rejected: bool
    tokenizer: train.Train | None
    ledger: dict[str, StageLedger] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _dropped: list[Batch] = field(default_factory=list)
    _cut: list[Batch] = field(default_factory=list)
    _surveys: list[list[pa.Table]] = field(default_factory=list)
    _pieces: list[pa.Table] = field(default_factory=list)
    _excerpts: dict[tuple[str, str], int] = field(default_factory=dict)
    _source: Iterator[Batch] = field(default_factory=lambda: iter(()))
    _reading: bool = False
    _kept: "_Rows | None" = None
    _refused: "_Rows | None" = None

    def read(self, batches: Iterator[Batch]) -> None:
        """Take documents from a reader: what it refused is settled as the stage `read`."""
        # The empty batch tells every stage's columns, also of an input without documents.
        self._source = chain([pa.RecordBatch.from_pylist([], schema.RAW)], batches)
        self._reading = True
        self.ledger["read"] = StageLedger()

    def resume(self, documents: Path) -> None:
        """Take documents from the shard that the pass before has written."""
        self._source = _row_groups(pq.ParquetFile(documents))

    def run(self, stages: list[tuple[str, Stage]], progress: Progress) -> None:
        """Send every batch through the stages; what is kept at the end is written."""
        self._surveys = [[] for _ in self.this.surveys]
        self.ledger |= {label: StageLedger() for label, _ in stages}
        while (batch := self._next()) is not None:
            rows = batch.num_rows
            if self._reading:
                batch = self._settle("read", batch, _count(batch))
            for label, stage in stages:
                batch = self._apply(label, stage, batch)
            self._write(batch)
            progress({"documents": rows, "kept": batch.num_rows})

    def _next(self) -> Batch | None:
        started = time.perf_counter()
        batch = next(self._source, None)
        self._spend("read" if self._reading else "read back", started)
        return batch

    def _apply(self, label: str, stage: Stage, batch: Batch) -> Batch:
        started = time.perf_counter()
        with compiling(label):
            after = stage(batch)
        self._spend(label, started)
        if not after.column(schema.ID).equals(batch.column(schema.ID)):
            raise LawError(f"{label}: the stage returned other rows than it was given")
        return self._settle(label, after, _count(batch))

    def _settle(self, label: str, batch: Batch, entered: Count) -> Batch:
        """Move the marked rows out and enter them into the ledger under this label."""
        ledger = self.ledger[label]
        ledger.entered.add(entered)
        mask = kept(batch)
        if not mask.all():
            self._refuse(label, ledger, batch.filter(pa.array(~mask)))
            batch = batch.filter(pa.array(mask))
        if schema.CUTS in batch.schema.names:
            batch = self._without_cuts(label, ledger, batch)
        batch = without(batch, *schema.VERDICT.names)
        ledger.kept.add(_count(batch))
        return batch

    def _without_cuts(self, label: str, ledger: StageLedger, batch: Batch) -> Batch:
        """Take the marked stretches out of the texts, and enter them into the ledger."""
        cuts, reasons = batch.column(schema.CUTS), batch.column(schema.CUT_BY)
        before, spans = _sizes(batch), pc.fill_null(pc.list_value_length(cuts), 0)
        texts = without_cuts(batch.column(schema.TEXT), cuts)
        out = pc.subtract(before, pc.binary_length(texts).cast(pa.int64()))
        is_cut = pc.greater(spans, 0)
        record = {
            schema.ID: batch.column(schema.ID),
            schema.URL: batch.column(schema.URL),
            STAGE: pa.array([label] * batch.num_rows, pa.string()),
            schema.CUT_BY: reasons,
            BYTES: out,
            SPANS: pc.divide(spans, 2).cast(pa.int32()),
            EXCERPT: self._cut_excerpts(label, batch.column(schema.TEXT), cuts, reasons),
        }
        self._cut.append(pa.RecordBatch.from_pydict(record, CUT_RECORD).filter(is_cut))
        for reason in pc.unique(pc.drop_null(reasons)).to_pylist():
            mine = self._cut[-1].filter(pc.equal(self._cut[-1].column(schema.CUT_BY), reason))
            size, spans = (pc.sum(mine.column(name)).as_py() or 0 for name in (BYTES, SPANS))
            ledger.cut.setdefault(reason, Cut()).add(Cut(mine.num_rows, size, spans))
        return without(with_column(batch, schema.TEXT, texts), schema.CUTS, schema.CUT_BY)

    def _cut_excerpts(
        self, label: str, texts: pa.Array, cuts: pa.Array, reasons: pa.Array
    ) -> pa.Array:
        """What was cut out of the first few documents of each reason, scrubbed; null for others."""
        excerpts: list[str | None] = [None] * len(texts)
        for row, reason in enumerate(reasons.to_pylist()):
            if reason is not None and self._shown(label, reason):
                places = cuts[row].as_py() or []
                cut = stretches(texts[row].as_py(), places, 100 * EXCERPT_CHARACTERS)
                excerpts[row] = scrub_text(cut)[:EXCERPT_CHARACTERS]
        return pa.array(excerpts, pa.string())

    def _shown(self, label: str, reason: str) -> bool:
        """Whether a document of this reason is among the first few, which are shown."""
        taken = self._excerpts.get((label, reason), 0)
        self._excerpts[label, reason] = taken + 1
        return taken < EXCERPTS

    def _refuse(self, label: str, ledger: StageLedger, out: Batch) -> None:
        reasons = out.column(schema.DROPPED_BY)
        faults = pc.fill_null(out.column(schema.QUARANTINED), False)
        for reason in pc.unique(reasons).to_pylist():
            mine = pc.equal(reasons, reason)
            for is_fault, book in ((True, ledger.quarantined), (False, ledger.dropped)):
                rows = out.filter(pc.and_(mine, pc.equal(faults, is_fault)))
                if rows.num_rows:
                    book.setdefault(reason, Count()).add(_count(rows))
        if self.rejected and schema.TEXT in out.schema.names:
            names = [schema.ID, schema.URL, *schema.VERDICT.names[:3], schema.TEXT]
            self._refused = self._refused or _Rows(self.folder / "rejected.parquet")
            self._refused.write(out.select(names))
        record = with_column(out, STAGE, pa.array([label] * out.num_rows, pa.string()))
        record = with_column(record, BYTES, _sizes(out))
        record = with_column(record, EXCERPT, self._excerpt(label, out))
        self._dropped.append(without(record, schema.TEXT, schema.PAYLOAD, schema.CHARSET))

    def _excerpt(self, label: str, out: Batch) -> pa.Array:
        """The beginning of a few documents of each reason, scrubbed; null for the rest."""
        excerpts: list[str | None] = [None] * out.num_rows
        if schema.TEXT not in out.schema.names:
            return pa.array(excerpts, pa.string())
        most = _duplicate_characters(out)
        for row, reason in enumerate(out.column(schema.DROPPED_BY).to_pylist()):
            taken = self._excerpts.get((label, reason), 0)
            characters = most.get(row, EXCERPT_CHARACTERS)
            if characters and taken < (DUPLICATE_EXCERPTS if row in most else EXCERPTS):
                self._excerpts[label, reason] = taken + 1
                # Scrubbed before it is cut: a cut could hide what makes an address an address.
                # However much the scrubbing shortens, the end of what was scrubbed is not shown.
                read = 2 * characters if row in most else 100 * characters
                text = out.column(schema.TEXT)[row].as_py()
                scrubbed = scrub_text(text[:read])
                end = len(scrubbed) if len(text) <= read else len(scrubbed) // 2
                excerpts[row] = scrubbed[: min(characters, end)]
        return pa.array(excerpts, pa.string())

    def _write(self, batch: Batch) -> None:
        started = time.perf_counter()
        name = "documents.parquet" if self.this.final else "kept.parquet"
        self._kept = self._kept or _Rows(self.folder / name)
        self._kept.write(batch)
        self._spend("write", started)
        for step, tables in zip(self.this.surveys, self._surveys, strict=True):
            started = time.perf_counter()
            tables.append(step.stage.survey(batch))
            self._spend(step.label, started)
        if self.this.final and self.tokenizer and not self.tokenizer.load:
            started = time.perf_counter()
            counts = pretokenize.count_pieces(batch.column(schema.TEXT), self.tokenizer.pattern)
            self._pieces.append(counts)
            self._spend("count pieces", started)

    def result(self, where: str, spans: Spans | None) -> dict[str, Any]:
        """Close all files, check the law, and say what was done."""
        started = time.perf_counter()
        documents = self._kept.close() if self._kept else None
        if self._kept and self.ledger:
            kept = list(self.ledger.values())[-1].kept.documents
            if self._kept.rows != kept:
                raise LawError(f"{where}: {kept} documents kept, but {self._kept.rows} written")
        if self._refused:
            self._refused.close()
        if documents is not None:
            dropped = _aligned(self._dropped, documents)
            pq.write_table(dropped, self.folder / "dropped.parquet", compression="zstd")
        if self._cut:
            cut = pa.Table.from_batches(self._cut)
            pq.write_table(cut, self.folder / "cut.parquet", compression="zstd")
        for index, tables in enumerate(self._surveys):
            # Hashes do not repeat: a dictionary of them only costs time.
            path = self.folder / f"survey-{index}.parquet"
            pq.write_table(pa.concat_tables(tables), path, use_dictionary=False)
        if self.this.final and self.tokenizer and not self.tokenizer.load:
            pq.write_table(train.merge_counts(self._pieces), self.folder / "pieces.parquet")
        self._check(where, spans)
        files = finished(self.folder)
        self._spend("write", started)
        return {
            "files": files,
            "ledger": [[label, ledger.to_json()] for label, ledger in self.ledger.items()],
            "spans": spans.to_json() if spans else None,
            "seconds": self.seconds,
        }

    def _check(self, where: str, spans: Spans | None) -> None:
        if spans:
            spans.check(where)
        before: Count | None = None
        surveys = [step.label for step in self.this.decided]
        for label, ledger in self.ledger.items():
            ledger.check(f"{where}: {label}", in_bytes=label in surveys)
            if before and (before.documents, before.identity) != (
                ledger.entered.documents,
                ledger.entered.identity,
            ):
                raise LawError(f"{where}: {label}: other documents entered than were kept before")
            before = ledger.kept

    def _spend(self, label: str, started: float) -> None:
        self.seconds[label] = self.seconds.get(label, 0.0) + time.perf_counter() - started


class _Rows:
    """A Parquet file written in row groups of a bounded number of bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[Batch] = []
        self._bytes = 0
        self.rows = 0

    def write(self, batch: Batch) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, batch.schema, compression="zstd")
        if batch.num_rows == 0:
            return
        self._waiting.append(batch)
        self._bytes += batch.nbytes
        self.rows += batch.num_rows
        rows = sum(waiting.num_rows for waiting in self._waiting)
        if self._bytes >= ROW_GROUP_BYTES or rows >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._writer and self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._bytes = [], 0

    def close(self) -> pa.Schema:
        self._flush()
        if self._writer is None:
            raise LawError(f"{self._path.name}: closed before its columns were known")
        self._writer.close()
        return self._writer.schema


def _row_groups(file: pq.ParquetFile) -> Iterator[Batch]:
    """One batch per row group: their sizes were bounded when they were written."""
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, use_threads=False).combine_chunks()
        yield from table.to_batches()
    if file.num_row_groups == 0:
        yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow)


def _decided_upon(batch: Batch, survey: Survey) -> Batch:
    """A batch without rows with the columns that the survey's decision gives to documents.

    What it decides about is two documents with one text: without any, half of its kernels would
    not be needed, and so not be loaded.
    """
    two = {
        field.name: pa.nulls(2, field.type)
        if field.name not in (schema.ID, schema.TEXT)
        else pa.array(_TWO[field.name], field.type)
        for field in batch.schema
    }
    rows = pa.RecordBatch.from_pydict(two, batch.schema)
    with tempfile.TemporaryDirectory() as folder:
        path, texts = Path(folder) / "survey.parquet", Path(folder) / "kept.parquet"
        pq.write_table(survey.survey(rows), path, use_dictionary=False)
        pq.write_table(pa.Table.from_batches([rows]), texts)
        (verdicts,) = decided(survey, [path], [np.zeros(2, np.bool_)], [texts])
    for column in verdicts.schema:
        if column.name not in (*schema.VERDICT.names, schema.CUTS, schema.CUT_BY):
            batch = with_column(batch, column.name, pa.array([], column.type))
    return batch


_TWO = {
    schema.ID: [bytes(16), bytes([255]) * 16],
    schema.TEXT: ["A text of some words. " * 9] * 2,
}


def _decision(path: Path) -> Stage:
    """The stage that enters what a survey decided for the documents of one unit."""
    table = pq.read_table(path, use_threads=False).combine_chunks()
    ids = table.column(schema.ID).combine_chunks()

    def entered(batch: Batch) -> Batch:
        where = pc.index_in(batch.column(schema.ID), value_set=ids)
        if where.null_count:
            raise LawError(f"{path}: the survey decided nothing for {where.null_count} documents")
        rows = table.take(where).combine_chunks()
        columns = {name: _array(rows.column(name)) for name in rows.schema.names}
        for name, column in columns.items():
            if name != schema.ID and name not in schema.VERDICT.names:
                batch = with_column(batch, name, column)
        value, bound = (_floats(columns[name]) for name in (schema.VALUE, schema.BOUND))
        verdict = columns[schema.DROPPED_BY]
        for reason in pc.unique(pc.drop_null(verdict)).to_pylist():
            mine = pc.fill_null(pc.equal(verdict, reason), False)
            batch = mark(
                batch, mine.to_numpy(zero_copy_only=False), reason, value=value, bound=bound
            )
        return batch

    return entered


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _floats(column: pa.Array) -> Numbers:
    numbers: Numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _duplicate_characters(out: Batch) -> dict[int, int]:
    """How much to keep of duplicates: much of the doubtful, of large groups and of a few others."""
    if DUPLICATE_OF not in out.schema.names:
        return {}
    others, ids = (out.column(name).to_pylist() for name in (DUPLICATE_OF, schema.ID))
    rows = sorted((row for row, other in enumerate(others) if other), key=ids.__getitem__)
    value, bound = (_floats(out.column(name)) for name in (schema.VALUE, schema.BOUND))
    distance = np.nan_to_num(np.abs(value - bound), nan=np.inf)
    nearest = sorted(rows, key=distance.__getitem__)[:TELLING]
    groups = Counter(others[row] for row in rows)
    largest = sorted(groups, key=lambda other: (-groups[other], other))[:TELLING]
    first = {others[row]: row for row in reversed(rows)}
    telling = {*nearest, *(first[other] for other in largest), *rows[:TELLING]}
    return {row: DUPLICATE_CHARACTERS if row in telling else 0 for row in rows}


def _sizes(batch: Batch) -> pa.Array:
    name = schema.TEXT if schema.TEXT in batch.schema.names else schema.PAYLOAD
    return pc.fill_null(pc.binary_length(batch.column(name)), 0).cast(pa.int64())


def _count(batch: Batch) -> Count:
    size = pc.sum(_sizes(batch)).as_py() or 0
    return Count.of(batch.column(schema.ID), size)


def _aligned(batches: list[Batch], documents: pa.Schema) -> pa.Table:
    """The dropped documents in one table; what was not measured yet is null."""
    fields = {field.name: field for field in documents if field.name != schema.TEXT}
    fields |= {field.name: field for field in schema.VERDICT}
    fields |= {STAGE: pa.field(STAGE, pa.string()), BYTES: pa.field(BYTES, pa.int64())}
    fields[EXCERPT] = pa.field(EXCERPT, pa.string())
    wanted = pa.schema(list(fields.values()))
    rows = [
        pa.table(
            {
                field.name: batch.column(field.name)
                if field.name in batch.schema.names
                else pa.nulls(batch.num_rows, field.type)
                for field in wanted
            },
            schema=wanted,
        )
        for batch in batches
    ]
    return pa.concat_tables([wanted.empty_table(), *rows])
