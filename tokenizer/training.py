"""A tokenizer from files of text: counted part by part by any number of workers, then learned.

What a worker has counted lies in `OUTPUT/work` until the tokenizer is written, under a key made of
the part's file as it was last changed, the settings that counting depends on, and our sources. A
training that was cut off goes on from there.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.code import code
from curate.errors import CurateError, InputError
from curate.pool import check, pool_of
from curate.progress import Watcher
from curate.room import memory_share
from curate.schema import TEXT
from curate.store import WorkFolder, digest, disk_errors, finished, owned
from tokenizer.corpus import ALONE, JSON, Part, named, parquet, parts_of, text_batches
from tokenizer.counting import count_pieces
from tokenizer.counts import Counter
from tokenizer.pretokenize import splitter
from tokenizer.train import (
    COUNTS_FILE,
    Train,
    add_batch,
    counting_facts,
    learn,
    refuse_part,
    train,
)
from tokenizer.vocabulary import Vocabulary

Progress = Callable[[dict[str, int]], None]


class CountWorker:
    """Counts the pieces of parts of files."""

    def __init__(self, settings: Train, memory: int) -> None:
        self._settings = settings
        self._memory = memory

    def run(self, task: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """The files of one part; an error of ours comes back as a value, not a traceback."""
        folder, part = Path(task["scratch"]), Part(**task["part"])
        machines = splitter(self._settings.pattern)
        counter = Counter(machines, folder / "runs", self._memory)
        done = 0
        try:
            with disk_errors(folder):
                for batch in text_batches(part, self._settings.balance or "language"):
                    size = int(pc.sum(pc.binary_length(batch.column(TEXT))).as_py() or 0)
                    add_batch(counter, batch, self._settings)
                    # How much text a file holds is known when it is read: the bar shows the file.
                    left = task["size"] - done
                    progress({"documents": len(batch), "bytes": size, "done": min(size, left)})
                    done += min(size, left)
                counter.finish(folder / COUNTS_FILE)
                progress({"done": task["size"] - done})
                return {"files": finished(folder)}
        except CurateError as error:
            where = "" if part.path in str(error) else f"{part.path}: "
            return {"error": type(error).__name__, "message": f"{where}{error}"}


def train_on_files(
    paths: Sequence[Path],
    settings: Train,
    folder: Path,
    means: tuple[int, int | None] = (0, None),
    events: Watcher | None = None,
) -> dict[str, Any]:
    """Train on the text of these files, write the tokenizer, and say what it was made from.

    `means` are the number of workers, 0 for this process alone, and the bytes of memory that
    counting takes in each, and learning in this process.
    """
    if not paths:
        raise InputError("no input: name Parquet, JSONL or text files to train on")
    parts = [part for path in paths for part in parts_of(path, 1 if means[0] else ALONE)]
    check_columns(paths, settings)
    workers, memory = min(means[0], len(parts)), means[1]
    started = time.perf_counter()
    with owned(folder / "work"):
        work = WorkFolder(folder / "work")
        try:
            keys, missing = tasks_for(parts, settings, work)
            if missing:
                # Kernels are compiled here, once, and not by every worker.
                train(count_pieces(pa.array(["a text"]), settings.pattern), Train())
                make = partial(CountWorker, settings, memory or memory_share(max(workers, 1)))

                def publish(task: dict[str, Any], result: dict[str, Any]) -> None:
                    work.publish(task["key"], Path(task["scratch"]), check(result))
                    refuse_part(work.path(task["key"], COUNTS_FILE), settings, memory)

                count_parts(missing, make, workers, publish, events)
            counted = time.perf_counter()
            counts = [work.path(key, COUNTS_FILE) for key in keys]
            vocabulary, said = learned(counts, settings, memory, events)
            if not said["bytes"]:
                raise InputError(f"no text in the input (in JSON lines it is the field {TEXT!r})")
            vocabulary.save(folder)
        finally:
            work.close()
        shutil.rmtree(folder / "work")
    seconds = {"counting": counted - started, "learning": time.perf_counter() - counted}
    parts_said = {"files": len(paths), "parts": len(parts), "reused": len(parts) - len(missing)}
    return {**parts_said, **said, "seconds": seconds}


def learned(
    counts: list[Path], settings: Train, memory: int | None, events: Watcher | None
) -> tuple[Vocabulary, dict[str, Any]]:
    """What is learned from these counts, and what was counted; how far it is can be seen."""
    if events is None:
        return learn(counts, settings, memory)
    events.begin("learn merges", settings.size, "tokens")
    found = learn(counts, settings, memory, lambda tokens: events.advance({"tokens": tokens}))
    events.end()
    return found


def check_columns(paths: Sequence[Path], settings: Train) -> None:
    """Refuse files that lack the column to balance by, before anything is counted."""
    for path in paths if settings.balance else ():
        if path.name.endswith(".parquet"):
            with parquet(path) as file:
                there = file.schema_arrow.names
        else:
            there = [settings.balance] if named(path).endswith(JSON) else [TEXT]
        if settings.balance not in there:
            raise InputError(
                f"{path}: no column {settings.balance!r} to balance by; there are: "
                f"{', '.join(there)}"
            )


def tasks_for(
    parts: list[Part], settings: Train, work: WorkFolder
) -> tuple[list[str], list[dict[str, Any]]]:
    """The key of each part, and the tasks for those that are not counted yet."""
    facts = counting_facts(settings) | {"code": code()}
    states = {path: state_of(Path(path)) for path in {part.path for part in parts}}
    keys, missing = [], []
    for part in parts:
        # The format is what the name that was given says, which may be a link.
        kind = Path(part.path).suffixes
        key = digest({**facts, "part": [*states[part.path], kind, part.begin, part.end]})[:40]
        if work.find(key) is None and key not in keys:
            name = f"{part.path}[{part.begin}:{part.end or ''}]"
            task = {"key": key, "part": asdict(part), "size": part.size, "source": name}
            missing.append({**task, "scratch": str(work.scratch(key))})
        keys.append(key)
    return keys, missing


def state_of(path: Path) -> list[str | int]:
    """What is another one after a file was written again; the system sets the last time by itself.

    Only what is written through a memory map while it is counted may go unseen.
    """
    # To read the file for a digest took a tenth of the whole training.
    said = path.stat()
    return [str(path.resolve()), said.st_size, said.st_mtime_ns, said.st_ctime_ns]


def count_parts(
    tasks: list[dict[str, Any]],
    make: Callable[[], CountWorker],
    workers: int,
    publish: Callable[[dict[str, Any], dict[str, Any]], None],
    events: Watcher | None,
) -> None:
    """Count all these parts; each is kept as it ends."""
    if events:
        events.begin("count pieces", sum(task["size"] for task in tasks), "done")

    def advance(_: Any, counts: dict[str, int]) -> None:
        if events:
            events.advance({**counts, "kept": counts.get("documents", 0)})

    with pool_of(make, min(workers, len(tasks))) as members:
        for task, result in members.run(tasks, advance):
            publish(task, result)
    if events:
        events.end()
