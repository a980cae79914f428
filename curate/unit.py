"""One unit of work: a part of an input, or its documents, through the stages of one pass.

A worker reads files and writes files in a scratch folder; it returns counts. It knows nothing of
other units, and it never publishes.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from curate import schema
from curate.dedup.known import kept_rows
from curate.entered import decided_upon, decision
from curate.errors import CurateError, ModelError, RecipeError
from curate.flow import Flow, Progress
from curate.kernel import compiling
from curate.ledger import Spans
from curate.passes import Pass, lineage, passes
from curate.pool import Loop, Pool, pool_of
from curate.read.reader import Input, Span, read
from curate.read.settings import columns
from curate.recipe import Step, parse
from curate.rows import row_groups
from curate.schema import Batch
from curate.stage import Opened, Stage, without
from curate.store import disk_errors, finished
from curate.tokenizing import loaded
from tokenizer import shards, shuffle, vocabulary
from tokenizer.counting import count_pieces
from tokenizer.counts import Counter
from tokenizer.encode import Encoder
from tokenizer.pretokenize import splitter
from tokenizer.train import train

ENCODE, WRITE = "encode tokens", "write token shards"


class Worker:
    """Runs units of one recipe; models and child processes are opened once and kept."""

    def __init__(self, recipe: str, where: str) -> None:
        self._recipe = parse(recipe, where)
        self._where = where
        self._passes = passes(self._recipe)
        self._stages: dict[int, list[tuple[str, Stage]]] = {}
        self._encoders: dict[Path, Encoder] = {}
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def warm(self) -> None:
        """Send a batch without rows through every stage: its kernels are loaded, or compiled."""
        batch = pa.RecordBatch.from_pylist([], columns(self._recipe.read))
        for this in self._passes:
            for label, stage in self._open(this.index):
                with compiling(label):
                    batch = stage(batch)
            # The surveys of a pass see what its stages made, and not what the others will add.
            seen = without(batch, *schema.VERDICT.names)
            for step in this.surveys:
                with self._told(step), compiling(step.label):
                    batch = decided_upon(seen, batch, step.stage)
        if settings := self._recipe.tokenizer:
            texts = pa.array(["a text"])
            words = loaded(settings) or train(count_pieces(texts, settings.pattern), settings)
            found = Encoder(words).encode(texts)
            size = words.size if settings.load else settings.size
            shuffle.warm(shards.ended("a text", *found, (size, words.end_of_text)))

    def run(self, task: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """The unit's counts and files; an error of ours comes back as a value, not a traceback."""
        kinds = {
            "text": self._text,
            "tokens": self._tokens,
            "part": self._part,
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
        folder, told = Path(task["scratch"]), self._recipe.tokenizer
        counter = None
        if this.final and told and not told.load:
            counter = Counter(splitter(told.pattern), folder / "runs", task["memory"])
        flow = Flow(this, folder, task["rejected"], told, self._told, counter)
        where = task["source"]
        if this.index == 0:
            spans = Spans()
            source = Input(**task["input"])
            settings = self._recipe.read
            flow.read(read(source, Span(*task["span"]), settings, spans), columns(settings))
            flow.run(self._open(0), progress)
            return {**flow.result(where, spans), "surveys": self._surveyed(this)}
        flow.resume(Path(task["documents"]))
        decided = [
            (step.label, decision(Path(path)))
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
        encoder = self._encoder(Path(task["tokenizer"]))
        words, settings = encoder.vocabulary, self._recipe.order

        def encoded() -> Iterator[tuple[Batch, Any, Any]]:
            with pq.ParquetFile(task["documents"]) as file:
                for batch in row_groups(file, settings.reads):
                    tokens, offsets = encoder.encode(batch.column(schema.TEXT))
                    progress({"documents": batch.num_rows, "kept": batch.num_rows})
                    yield batch, tokens, offsets

        folder = Path(task["scratch"])
        ids = (words.size, words.end_of_text)
        runs = shuffle.write_runs(folder, encoded(), ids, settings)
        files = finished(folder)
        return {"runs": runs, "files": files, "seconds": {ENCODE: time.perf_counter() - started}}

    def _part(self, task: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """A part of the token shards, from the tokens of all units."""
        started, folder = time.perf_counter(), Path(task["scratch"])
        layout, pieces = Path(task["layout"]), Path(task["pieces"])
        part = shuffle.gather(layout, pieces, task["part"], folder, task["dtype"])
        progress({"documents": part.documents, "kept": part.documents})
        seconds = {WRITE: time.perf_counter() - started}
        return {"part": part.to_json(), "files": part.files, "seconds": seconds}

    def _encoder(self, folder: Path) -> Encoder:
        """The tokenizer of this folder, opened once: that takes as long as 50 MB of text."""
        if folder not in self._encoders:
            self._encoders = {folder: Encoder(vocabulary.load(folder))}
        return self._encoders[folder]


@contextmanager
def pool(workers: int, address: str | None, recipe: str, where: str) -> Iterator[Pool]:
    """A pool of workers for this recipe: none is a loop in this process, without Ray."""
    if workers == 0:
        with Worker(recipe, where) as worker:
            yield Loop(worker)
        return
    with pool_of(partial(Worker, recipe, where), workers, address) as members:
        yield members
