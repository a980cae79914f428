"""Trains an n-gram model: words are numbered, n-grams counted, and a model estimated from these.

Every step reads and writes sorted rows on disk, so that memory follows the words, not the text.
The model depends on the text alone: not on the memory, and not on the number of workers.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import CurateError, InputError
from curate.lm.count import NAMES, Numbering, count_ngrams
from curate.lm.estimate import Estimate, Events, Model
from curate.lm.read import Unit, texts, units
from curate.lm.rows import Run, Sorter, suffix_order
from curate.lm.sentences import Sentences
from curate.models import model_path
from curate.pool import Pool, check, pool_of
from curate.store import disk_errors, sync_file, sync_folder


class Counter:
    """A worker: texts to numbers of words, and these to counts of n-grams."""

    def __init__(self, settings: Estimate) -> None:
        self._settings = settings
        path = model_path(settings.tokenizer) if settings.tokenizer else None
        self._sentences = Sentences(settings.wording, path)

    def run(self, task: dict[str, Any], progress: Callable[[dict[str, int]], None]) -> Any:
        """What the task found; an error of ours comes back as a value, not a traceback."""
        scratch = Path(task["scratch"])
        scratch.mkdir(parents=True, exist_ok=True)
        kinds = {"words": self._words, "ngrams": self._ngrams}
        try:
            with disk_errors(scratch):
                return kinds[task["kind"]](task, scratch, progress)
        except CurateError as error:
            return {"error": type(error).__name__, "message": str(error)}

    def _words(
        self, task: dict[str, Any], scratch: Path, progress: Callable[[dict[str, int]], None]
    ) -> dict[str, Any]:
        unit = Unit(**task["unit"])
        numbering = Numbering()
        found = {"documents": 0, "sentences": 0, "words": 0, "bytes": 0}
        with (scratch / "numbers").open("wb") as file:
            for column in texts(unit):
                sentences, _ = self._sentences(column)
                numbers = numbering.numbers(sentences)
                numbers.tofile(file)
                size = sum(buffer.size for buffer in column.buffers()[2:] if buffer)
                step = {"documents": len(column), "bytes": size, "sentences": len(sentences)}
                step["words"] = len(numbers) - len(sentences)
                found = {name: found[name] + step[name] for name in found}
                progress({"bytes": size})
        table = pa.table({"word": numbering.words()})
        with pa.ipc.new_file(str(scratch / "words"), table.schema) as writer:
            writer.write_table(table)
        return {**found, "special": numbering.special, "scratch": str(scratch)}

    def _ngrams(
        self, task: dict[str, Any], scratch: Path, progress: Callable[[dict[str, int]], None]
    ) -> dict[str, Any]:
        order = self._settings.order
        mapping = np.load(task["mapping"])
        keys, size = suffix_order(order), self._settings.memory_bytes
        sorter = Sorter(scratch, "counts", keys, task["bits"], size, counts=True)
        count_ngrams(Path(task["numbers"]), mapping, sorter)
        progress({"bytes": task["bytes"]})
        return {"runs": [asdict(run) for run in sorter.finish()]}


@dataclass(frozen=True)
class Workers:
    """How many processes count, through Ray; none is this one."""

    count: int = 0
    address: str | None = None


def train(
    paths: list[Path], settings: Estimate, output: Path, events: Events, workers: Workers
) -> dict[str, Any]:
    """Estimate a model from the text of these files and write it; what it was made from."""
    todo = units(paths)
    if not todo:
        raise InputError("no input: name text, JSONL or Parquet files to learn from")
    if settings.tokenizer:
        model_path(settings.tokenizer)
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".lm-", dir=output.parent))
    try:
        with disk_errors(output.parent):
            make = partial(Counter, settings)
            with pool_of(make, workers.count, workers.address) as members:
                counted = Counted(settings, folder, events, members)
                found, words, runs = counted.count(todo)
            model = Model(settings, folder, events, words)
            statistics = model.estimate(runs, folder / "arpa")
            sync_file(folder / "arpa")
            (folder / "arpa").replace(output)
            sync_folder(output.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"files": len(paths), **found, "types": len(words), **statistics}


class Counted:
    """The first steps, which workers share."""

    def __init__(self, settings: Estimate, folder: Path, events: Events, members: Pool) -> None:
        self._settings, self._folder, self._events = settings, folder, events
        self._members = members

    def count(self, todo: list[Unit]) -> tuple[dict[str, int], pa.Array, list[Run]]:
        """What was read, all words by number, and sorted counts of the longest n-grams."""
        tasks = [
            {"kind": "words", "unit": asdict(unit), **self._task(unit.path, "words", index)}
            for index, unit in enumerate(todo)
        ]
        results = self._done("number words", sum(unit.end - unit.start for unit in todo), tasks)
        numbering = Numbering()
        for index, result in enumerate(results):
            with pa.memory_map(result["scratch"] + "/words") as source:
                words = pa.ipc.open_file(source).read_all()["word"].combine_chunks()
                # Words go in as sentences of one word, so every second number is an end.
                new = numbering.numbers(words[len(NAMES) :].cast(pa.binary()))[::2, 0]
            mapping = np.concatenate([np.arange(len(NAMES), dtype=np.uint32), new])
            np.save(self._folder / f"mapping-{index}.npy", mapping)
        bits = max(numbering.size - 1, 1).bit_length()
        tasks = [
            {
                "kind": "ngrams",
                "numbers": result["scratch"] + "/numbers",
                "mapping": str(self._folder / f"mapping-{index}.npy"),
                "bits": bits,
                "bytes": result["bytes"],
                **self._task(unit.path, "ngrams", index),
            }
            for index, (unit, result) in enumerate(zip(todo, results, strict=True))
        ]
        total = sum(result["bytes"] for result in results)
        counted = self._done("count n-grams", total, tasks)
        for result in results:
            shutil.rmtree(result["scratch"])
        found = {
            name: sum(result[name] for result in results)
            for name in ("documents", "sentences", "words", "bytes", "special")
        }
        return found, numbering.words(), [Run(**run) for one in counted for run in one["runs"]]

    def _task(self, source: str, name: str, index: int) -> dict[str, Any]:
        return {"source": source, "scratch": str(self._folder / f"{name}-{index}"), "index": index}

    def _done(self, phase: str, total: int, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._events.begin(phase, total, "bytes")
        advance = self._events.advance
        results = {
            task["index"]: check(result)
            for task, result in self._members.run(tasks, lambda _, counts: advance(counts))
        }
        self._events.end()
        return [results[index] for index in range(len(tasks))]
