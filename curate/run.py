"""The driver: plan, passes, decisions, publication. Only it publishes, and files are the truth."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import __version__, publish, schema, tokenizing
from curate.code import code
from curate.column import Mask
from curate.dedup.known import part_name
from curate.errors import CurateError, LawError
from curate.filter import Filter
from curate.kernel import cache_folder
from curate.ledger import Spans, StageLedger
from curate.passes import Pass, passes
from curate.pieces import Events, Pieces
from curate.plan import Plan, Unit, as_json, plan
from curate.pool import Pool, check
from curate.recipe import Step, describe, parse
from curate.room import Needs, memory_share, require
from curate.store import WorkFolder, digest, finished, owned, sealed
from curate.survey import Means, Task
from curate.token_steps import TokenSteps
from curate.unit import Worker, pool
from tokenizer import counts
from tokenizer.vocabulary import Vocabulary

FORMAT = 1


@dataclass(frozen=True)
class Job:
    """What the user asked for."""

    recipe: str  # YAML text
    where: str  # its file, for errors
    inputs: list[str]
    output: Path
    workers: int | None = None  # None: as many as pay off
    address: str | None = None
    rejected: bool = False
    memory: int | None = None  # bytes for each task of a decision; None: a share of what is free


@dataclass
class Outcome:
    """What came of it."""

    plan: Plan
    ledger: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    curation_seconds: float = 0.0  # from the plan to the token shards, without loading kernels
    workers: int = 0
    units: int = 0
    reused: int = 0
    files: int = 0


# Below this many bytes of input, starting Ray (8 s measured) costs more than a second worker saves.
SMALL_RUN_BYTES = 128 << 20

# What a decision needs of memory and disk is told from here on.
TOLD_BYTES = 256 << 20

KERNELS = "load kernels"
# From the disk cache kernels are there in less; what takes longer is told, for it may compile.
QUIET_SECONDS = 1.0


def run(job: Job, events: Events) -> Outcome:
    """Do the job, or what is left of it: finished work that still verifies is used again.

    Raises BusyError if another run owns the output folder, and CurateError for whatever the
    user can mend.
    """
    started = time.perf_counter()
    recipe = parse(job.recipe, job.where)
    publish.refuse_foreign(job.output)
    is_new = not job.output.exists()
    with owned(job.output / "work"), _no_trace_of_failure(job.output, is_new):
        todo = plan(recipe, job.inputs, job.output)
        loaded = tokenizing.loaded(recipe.tokenizer)
        remarks = tokenizing.remarks(recipe.tokenizer, loaded)
        for note in [*todo.notes, *_replaced(todo, job.output), *remarks]:
            events.note(note)
        work = WorkFolder(job.output / "work")
        try:
            workers = _workers(job, todo)
            loading = _warm(job, todo, events)
            with pool(workers, job.address, job.recipe, job.where) as members:
                outcome = _Run(job, todo, work, members, events).run(loaded)
        finally:
            work.close()
    outcome.workers = workers
    outcome.curation_seconds = time.perf_counter() - started - loading
    if loading:
        outcome.seconds = {KERNELS: loading, **outcome.seconds}
    return outcome


@contextmanager
def _no_trace_of_failure(output: Path, is_new: bool) -> Iterator[None]:
    """Where the output folder is new and nothing gets done in it, it does not stay either."""
    try:
        yield
    except CurateError:
        if is_new:
            publish.forget_empty(output)
        raise


def _replaced(todo: Plan, output: Path) -> list[str]:
    """What an earlier run of another recipe, or over other inputs, loses by this one, in a line."""
    try:
        recipe = json.loads((output / "recipe.json").read_bytes())
        inputs = json.loads((output / "manifest.json").read_bytes())["inputs"]
        name = str(recipe["name"])
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or it was not finished
        return []
    what = f"replaces what recipe {name} left in {output}"
    if name != todo.recipe.name:
        return [what]
    if recipe != json.loads(publish.pretty(todo.recipe.resolved())):
        return [f"{what}: it had other settings"]
    return [f"{what}: it had other inputs"] if inputs != named_inputs(todo) else []


def named_inputs(todo: Plan) -> list[dict[str, Any]]:
    """The inputs as a manifest names them."""
    return [
        {"source": source.name, "size": source.size, "identity": source.identity}
        for source in todo.inputs
    ]


def _warm(job: Job, todo: Plan, events: Events) -> float:
    """Compile the kernels of these stages once, before every worker would; the seconds it took."""
    stages = [
        [signal.name for signal in step.stage.signals] if isinstance(step.stage, Filter) else [name]
        for name, step in ((step.label, step) for step in todo.recipe.steps)
    ]
    tokenizer = todo.recipe.tokenizer and ("load" if todo.recipe.tokenizer.load else "train")
    compiled = cache_folder() / f"compiled-{digest([code(), stages, tokenizer])[:16]}"
    if compiled.exists():
        return 0.0
    started = time.perf_counter()
    told = threading.Timer(
        QUIET_SECONDS,
        events.note,
        ["loading kernels; those that are new are compiled, once, which can take a minute or two"],
    )
    told.start()
    try:
        with Worker(job.recipe, job.where) as worker:
            worker.warm()
    finally:
        told.cancel()
    compiled.touch()
    return time.perf_counter() - started


def _workers(job: Job, todo: Plan) -> int:
    if job.workers is not None:
        return job.workers
    if job.address is None and (todo.bytes < SMALL_RUN_BYTES or len(todo.units) == 1):
        return 0
    return min(len(todo.units), _cores())


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class _Run:
    """One run of a plan: the pieces that are there, and those that are made."""

    def __init__(
        self, job: Job, todo: Plan, work: WorkFolder, members: Pool, events: Events
    ) -> None:
        self._job = job
        self._plan = todo
        self._work = work
        self._pieces = Pieces(work, members, events)
        self._memory = job.memory or memory_share(_workers(job, todo))
        self._events = events
        self._outcome = Outcome(todo, {})
        self._ledgers: list[dict[str, StageLedger]] = [{} for _ in todo.units]
        self._spans: list[Spans] = [Spans() for _ in todo.units]
        self._files: dict[str, Path] = {}

    def run(self, loaded: Vocabulary | None) -> Outcome:
        """All passes and decisions, then the output folder."""
        before: list[dict[str, Path]] = [{} for _ in self._plan.units]
        pieces: list[str] = []
        indexed: list[tuple[int, str, list[str]]] = []
        for this in passes(self._plan.recipe):
            pieces = self._pass(this, before)
            for index, step in enumerate(this.surveys):
                if getattr(step.stage, "index", False):
                    place = self._plan.recipe.steps.index(step)
                    indexed.append((place, f"survey-{index}.parquet", pieces))
            if not this.final:
                decisions = self._decide(this, pieces)
                before = [
                    {"documents": self._work.path(piece, "kept.parquet"), **decision}
                    for piece, decision in zip(pieces, decisions, strict=True)
                ]
        texts = {
            "recipe.yaml": self._job.recipe.encode(),
            "recipe.json": publish.pretty(self._plan.recipe.resolved()),
        }
        for place, name, surveyed in indexed:
            self._index(place, name, surveyed, pieces)
        kept = [self._ledger_kept(unit) for unit in self._plan.units]
        steps = TokenSteps(self._plan, self._pieces, self._files, texts, self._job.memory)
        tokens = steps.run(pieces, kept, loaded)
        self._outcome.ledger = self._ledger(tokens)
        texts["ledger.json"] = publish.pretty(self._outcome.ledger)
        self._publish(texts)
        made = self._pieces
        self._outcome.units, self._outcome.reused = made.units, made.reused
        self._outcome.seconds = made.seconds
        return self._outcome

    # Passes over the text

    def _pass(self, this: Pass, before: list[dict[str, Path]]) -> list[str]:
        """Every unit through one pass; the keys of their pieces."""
        keys, tasks = [], []
        for unit, files in zip(self._plan.units, before, strict=True):
            digests = {name: self._pieces.digest(path) for name, path in files.items()}
            key = self._plan.text_key(this, unit, digests, self._job.rejected)
            keys.append(key)
            tasks.append(self._text_task(this, unit, key, files))
        total = sum(unit.span.end - unit.span.start for unit in self._plan.units)
        label = f"pass {this.index + 1} of {len(passes(self._plan.recipe))}"
        if this.index == 0:
            self._pieces.make(tasks, f"{label}, read and filter", total, "bytes")
        else:
            self._pieces.make(tasks, f"{label}, apply decisions", self._kept(), "documents")
        for unit, key in zip(self._plan.units, keys, strict=True):
            self._enter(this, unit, key)
        return keys

    def _text_task(self, this: Pass, unit: Unit, key: str, files: dict[str, Path]) -> Task:
        task: Task = {
            "kind": "text",
            "key": key,
            "pass": this.index,
            "source": unit.name,
            "rejected": self._job.rejected,
            "memory": min(self._memory, counts.MEMORY),
        }
        if this.index == 0:
            span = [unit.span.start, unit.span.end]
            return {**task, "input": as_json(unit.input), "span": span}
        decisions = [str(files[f"decision-{index}"]) for index in range(len(this.decided))]
        return {**task, "documents": str(files["documents"]), "decisions": decisions}

    def _enter(self, this: Pass, unit: Unit, key: str) -> None:
        """A unit's counts into the ledger, its files into the output."""
        piece = self._pieces.find(key)
        book = self._ledgers[unit.index]
        last = list(book.values())[-1].kept if book else None
        fresh = {label: StageLedger.from_json(stage) for label, stage in piece["ledger"]}
        if fresh and last:
            first = next(iter(fresh.values())).entered
            if (first.documents, first.identity) != (last.documents, last.identity):
                raise LawError(f"{unit.name}: pass {this.index} lost or gained documents")
        book |= fresh
        if piece["spans"]:
            self._spans[unit.index] = Spans.from_json(piece["spans"])
        part = f"part-{unit.index:05d}"
        for name, target in (
            ("documents.parquet", f"documents/{part}.parquet"),
            ("dropped.parquet", f"dropped/{part}-pass-{this.index}.parquet"),
            ("cut.parquet", f"cut/{part}-pass-{this.index}.parquet"),
            ("rejected.parquet", f"rejected/{part}-pass-{this.index}.parquet"),
        ):
            if name in piece["files"]:
                self._files[target] = self._work.path(key, name)

    # Surveys

    def _decide(self, this: Pass, pieces: list[str]) -> list[dict[str, Path]]:
        """The decisions of the surveys after a pass, one file for each unit and survey."""
        decided: list[dict[str, Path]] = [{} for _ in pieces]
        gone: list[Mask] = []
        earlier: list[str] = []
        for index, step in enumerate(this.surveys):
            tables = [self._work.path(piece, f"survey-{index}.parquet") for piece in pieces]
            key = self._plan.decision_key(
                describe(step),
                [*map(self._pieces.digest, tables), *map(self._documents, pieces), *earlier],
            )
            if not gone:
                gone = [self._nothing_gone(piece) for piece in pieces]
            if self._work.find(key) is None:
                documents = sum(map(len, gone))
                if hasattr(step.stage, "needs"):
                    self._room(step, step.stage.needs(documents))
                self._events.begin(f"decide {step.label}", documents, "documents")
                started = time.perf_counter()
                folder = self._work.scratch(key)
                with self._means(step, key, pieces) as means:
                    results = step.stage.decide(tables, gone, means)
                    for unit, (piece, table) in enumerate(zip(pieces, results, strict=True)):
                        pq.write_table(self._with_ids(piece, table), folder / _unit_file(unit))
                seconds = {f"decide {step.label}": time.perf_counter() - started}
                self._work.publish(key, folder, {"files": finished(folder), "seconds": seconds})
                self._events.end()
            self._pieces.spend(key)
            earlier.append(key)
            for unit in range(len(pieces)):
                path = self._work.path(key, _unit_file(unit))
                decided[unit][f"decision-{index}"] = path
                verdicts = pq.read_table(path, columns=[schema.DROPPED_BY]).column(0)
                gone[unit] = gone[unit] | pc.is_valid(verdicts).to_numpy()
        return decided

    def _room(self, step: Step, needs: Needs) -> None:
        """Refuse a decision for which there is no room, before it begins; tell of a large one."""
        told = require(f"decide {step.label}", needs, self._work.pieces)
        if needs.memory + needs.disk >= TOLD_BYTES:
            self._events.note(told)

    @contextmanager
    def _means(self, step: Step, key: str, pieces: list[str]) -> Iterator[Means]:
        """What the decision of this survey may use; what it leaves on the disk goes at its end."""
        folder = self._work.scratch(f"{key}-means")
        place = self._plan.recipe.steps.index(step)
        numbers = count()

        def run(_: Any, method: str, tasks: Sequence[Task]) -> list[Task]:
            named: list[Task] = [
                {
                    "kind": "decide",
                    "key": key,
                    "source": f"decide {step.label}",
                    "step": place,
                    "method": method,
                    "task": task,
                    "place": number,
                    "scratch": str(folder / f"{method}-{next(numbers)}"),
                }
                for number, task in enumerate(tasks)
            ]
            results: list[Task] = [{}] * len(named)
            for task in named:
                Path(task["scratch"]).mkdir()
            for task, result in self._pieces.pool.run(named, lambda *_: None):
                results[task["place"]] = check(result)["result"]
            return results

        texts = [self._work.path(piece, "kept.parquet") for piece in pieces]
        try:
            yield Means(texts, folder, self._memory, run)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _nothing_gone(self, piece: str) -> Mask:
        rows = pq.read_metadata(self._work.path(piece, "kept.parquet")).num_rows
        return np.zeros(rows, np.bool_)

    def _documents(self, piece: str) -> str:
        return str(self._pieces.find(piece)["files"]["kept.parquet"]["sha256"])

    def _with_ids(self, piece: str, table: pa.Table) -> pa.Table:
        ids = pq.read_table(self._work.path(piece, "kept.parquet"), columns=[schema.ID])
        if ids.num_rows != table.num_rows:
            raise LawError(f"a survey decided for {table.num_rows} of {ids.num_rows} documents")
        names = [name for name in table.schema.names if name != schema.ID]
        return table.select(names).add_column(0, schema.ID, ids.column(0))

    def _index(self, stage: int, name: str, surveyed: list[str], pieces: list[str]) -> None:
        """What a survey says of the documents that are kept in the end, for later runs."""
        tasks: list[Task] = []
        for unit, before, piece in zip(self._plan.units, surveyed, pieces, strict=True):
            survey = self._work.path(before, name)
            documents = self._work.path(piece, "documents.parquet")
            key = self._plan.index_key(self._pieces.digest(survey), self._pieces.digest(documents))
            paths = {"survey": str(survey), "documents": str(documents)}
            tasks.append({"kind": "index", "key": key, "source": unit.name, **paths})
            self._files[part_name(unit.index, stage)] = self._work.path(key, "index.parquet")
        self._pieces.make(tasks, "write the index", self._kept(), "documents")

    # The ledger and the output folder

    def _ledger_kept(self, unit: Unit) -> int:
        return list(self._ledgers[unit.index].values())[-1].kept.documents

    def _kept(self) -> int:
        return sum(self._ledger_kept(unit) for unit in self._plan.units)

    def _ledger(self, tokens: dict[str, Any] | None) -> dict[str, Any]:
        """The whole run's books: per input and in total, the law checked on the sums again."""
        inputs = []
        total: dict[str, StageLedger] = {}
        for source in self._plan.inputs:
            spans = Spans()
            book: dict[str, StageLedger] = {}
            for unit in self._plan.units:
                if unit.input == source:
                    spans.add(self._spans[unit.index])
                    _add(book, self._ledgers[unit.index])
            spans.check(source.name)
            if spans.size != source.size:
                raise LawError(f"{source.name}: {source.size} bytes, but {spans.size} were read")
            _add(total, book)
            inputs.append(
                {
                    "source": source.name,
                    "size": source.size,
                    "identity": source.identity,
                    "spans": spans.to_json(),
                    "stages": _named(book),
                }
            )
        surveys = [step.label for step in self._plan.recipe.steps if step.is_survey]
        for label, ledger in total.items():
            ledger.check(label, in_bytes=label in surveys)
        return {
            "format": FORMAT,
            "recipe": self._plan.recipe.name,
            "inputs": inputs,
            "stages": _named(total),
            "tokens": tokens,
        }

    def _publish(self, texts: dict[str, bytes]) -> None:
        files = {name: self._pieces.entry(path) for name, path in self._files.items()}
        manifest = {
            "format": FORMAT,
            "version": __version__,
            "recipe": self._plan.recipe.name,
            "models": self._plan.models,
            "inputs": named_inputs(self._plan),
            "files": files,
        }
        publish.tree(self._job.output, self._files, texts, sealed(manifest))
        self._outcome.files = len(files)


def _unit_file(unit: int) -> str:
    return f"unit-{unit:05d}.parquet"


def _add(book: dict[str, StageLedger], other: dict[str, StageLedger]) -> None:
    for label, ledger in other.items():
        book.setdefault(label, StageLedger()).add(ledger)


def _named(book: dict[str, StageLedger]) -> list[dict[str, Any]]:
    return [{"name": label, **ledger.to_json()} for label, ledger in book.items()]
