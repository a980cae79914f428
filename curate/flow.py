"""Batches through the stages of a pass: marked rows move out, cuts are made, the rest stays."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.cuts import without_cuts
from curate.errors import LawError
from curate.excerpts import Excerpts
from curate.kernel import compiling
from curate.ledger import Count, Cut, Spans, StageLedger
from curate.passes import Pass
from curate.recipe import Step
from curate.rows import Rows, row_groups
from curate.schema import Batch
from curate.stage import Stage, kept, with_column, without
from curate.store import finished
from tokenizer.counts import Counter
from tokenizer.train import COUNTS_FILE, Train, add_batch

Progress = Callable[[dict[str, int]], None]

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


@dataclass
class Flow:
    """Batches through the stages of a pass: marked rows move out, the rest is written."""

    this: Pass
    folder: Path
    rejected: bool
    tokenizer: Train | None
    told: Callable[[Step], AbstractContextManager[None]]  # gives an error of a step its place
    counter: Counter | None  # of the pieces of what is kept at last
    ledger: dict[str, StageLedger] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _dropped: list[Batch] = field(default_factory=list)
    _cut: list[Batch] = field(default_factory=list)
    _surveys: list[Rows] = field(default_factory=list)
    _excerpts: Excerpts = field(default_factory=Excerpts)
    _source: Iterator[Batch] = field(default_factory=lambda: iter(()))
    _reading: bool = False
    _kept: Rows | None = None
    _refused: Rows | None = None

    def read(self, batches: Iterator[Batch], columns: pa.Schema) -> None:
        """Take documents from a reader: what it refused is settled as the stage `read`."""
        # The empty batch tells every stage's columns, also of an input without documents.
        self._source = chain([pa.RecordBatch.from_pylist([], columns)], batches)
        self._reading = True
        self.ledger["read"] = StageLedger()

    def resume(self, documents: Path) -> None:
        """Take documents from the shard that the pass before has written."""
        self._source = row_groups(pq.ParquetFile(documents))

    def run(self, stages: list[tuple[str, Stage]], progress: Progress) -> None:
        """Send every batch through the stages; what is kept at the end is written."""
        self._surveys = [
            Rows(self.folder / f"survey-{index}.parquet", survey=True)
            for index in range(len(self.this.surveys))
        ]
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
            EXCERPT: self._excerpts.of_cuts(label, batch.column(schema.TEXT), cuts, reasons),
        }
        self._cut.append(pa.RecordBatch.from_pydict(record, CUT_RECORD).filter(is_cut))
        for reason in pc.unique(pc.drop_null(reasons)).to_pylist():
            mine = self._cut[-1].filter(pc.equal(self._cut[-1].column(schema.CUT_BY), reason))
            size, spans = (pc.sum(mine.column(name)).as_py() or 0 for name in (BYTES, SPANS))
            ledger.cut.setdefault(reason, Cut()).add(Cut(mine.num_rows, size, spans))
        return without(with_column(batch, schema.TEXT, texts), schema.CUTS, schema.CUT_BY)

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
            self._refused = self._refused or Rows(self.folder / "rejected.parquet")
            self._refused.write(out.select(names))
        record = with_column(out, STAGE, pa.array([label] * out.num_rows, pa.string()))
        record = with_column(record, BYTES, _sizes(out))
        record = with_column(record, EXCERPT, self._excerpts.of_dropped(label, out))
        self._dropped.append(without(record, schema.TEXT, schema.PAYLOAD, schema.CHARSET))

    def _write(self, batch: Batch) -> None:
        started = time.perf_counter()
        name = "documents.parquet" if self.this.final else "kept.parquet"
        self._kept = self._kept or Rows(self.folder / name, passing=not self.this.final)
        self._kept.write(batch)
        self._spend("write", started)
        for step, rows in zip(self.this.surveys, self._surveys, strict=True):
            started = time.perf_counter()
            with self.told(step):
                table = step.stage.survey(batch).combine_chunks()
            rows.write(table.to_batches()[0] if batch.num_rows else _empty(table.schema))
            self._spend(step.label, started)
        if self.counter and self.tokenizer:
            started = time.perf_counter()
            add_batch(self.counter, batch, self.tokenizer)
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
        for rows in self._surveys:
            rows.close()
        if self.counter:
            self.counter.finish(self.folder / COUNTS_FILE)
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


def _empty(columns: pa.Schema) -> Batch:
    return pa.RecordBatch.from_pylist([], columns)


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
