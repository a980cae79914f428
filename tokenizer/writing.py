"""From files of documents to finished token shards, by any number of workers, without a recipe.

What a worker has done lies in `OUTPUT/work` until the manifest is written, under a key made of the
content, the tokenizer, the settings and our sources. What was cut off goes on from there.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from curate.code import code
from curate.errors import CurateError, InputError
from curate.pieces import Pieces
from curate.pool import pool_of
from curate.progress import Watcher
from curate.publish import link
from curate.schema import TEXT
from curate.store import (
    WorkFolder,
    digest,
    disk_errors,
    file_digest,
    finished,
    owned,
    sealed,
    sync_folder,
    unsealed,
    write_atomic,
)
from curate.token_steps import lay_out, runs_of
from curate.tokenizing import probe
from tokenizer import shuffle, vocabulary
from tokenizer.corpus import Part, parts_of
from tokenizer.documents import check_columns, document_batches, inputs_of, meant, names_of
from tokenizer.encode import Encoder
from tokenizer.shards import MANIFEST, PartSummary, TokenBatch, manifest, token_type
from tokenizer.shuffle import Shards
from tokenizer.vocabulary import Vocabulary

Task = dict[str, Any]
OURS = re.compile(r"part-\d{5}\.(bin|idx|offsets\.npy|docs\.parquet)")


@dataclass(frozen=True)
class Asked:
    """How documents are read and shards are written."""

    shards: Shards = field(default_factory=Shards)
    text_key: str = TEXT
    workers: int = 0  # 0 is this process alone


class ShardWorker:
    """Encodes parts of files, and gathers parts of shards."""

    def __init__(self, tokenizer: Path | Vocabulary, asked: Asked) -> None:
        words = vocabulary.load(tokenizer) if isinstance(tokenizer, Path) else tokenizer
        self._encoder = Encoder(words)
        self._asked = asked

    def run(self, task: Task, progress: Any) -> dict[str, Any]:
        """Counts and files; an error of ours comes back as a value, not a traceback."""
        try:
            with disk_errors(Path(task["scratch"])):
                return (
                    self._part(task, progress) if "layout" in task else self._encode(task, progress)
                )
        except CurateError as error:
            return {"error": type(error).__name__, "message": str(error)}
        except pa.ArrowException as error:  # columns that cannot be what they must be
            return {"error": InputError.__name__, "message": f"{task['source']}: {error}"}

    def _encode(self, task: Task, progress: Any) -> dict[str, Any]:
        words, folder, nulls = self._encoder.vocabulary, Path(task["scratch"]), 0
        settings, part = self._asked.shards, Part(**task["part"])

        def encoded() -> Iterator[TokenBatch]:
            nonlocal nulls
            rows = document_batches(part, task["name"], self._asked.text_key, settings.others)
            for batch in rows:
                texts = batch.column(TEXT)
                nulls += texts.null_count
                if texts.null_count:
                    batch = batch.filter(pc.is_valid(texts))
                tokens, offsets = self._encoder.encode(batch.column(TEXT))
                size = int(pc.sum(pc.binary_length(batch.column(TEXT))).as_py() or 0)
                progress({"documents": len(texts), "kept": batch.num_rows, "bytes": size})
                yield batch, tokens, offsets

        runs = shuffle.write_runs(folder, encoded(), (words.size, words.end_of_text), settings)
        return {"runs": runs, "nulls": nulls, "files": finished(folder), "seconds": {}}

    def _part(self, task: Task, progress: Any) -> dict[str, Any]:
        layout, pieces, folder = map(Path, (task["layout"], task["pieces"], task["scratch"]))
        kind = token_type(self._encoder.vocabulary.size)
        part = shuffle.gather(layout, pieces, task["part"], folder, kind)
        progress({"documents": part.documents, "kept": part.documents})
        return {"part": part.to_json(), "files": part.files, "seconds": {}}


def write_shards(
    inputs: Sequence[str],
    tokenizer: Path,
    output: Path,
    asked: Asked | None = None,
    events: Watcher | None = None,
) -> dict[str, Any]:
    """Write the documents of these files as token shards; their manifest.

    Files, folders, globs and the outputs of runs can be named. The bytes that are written depend
    on the documents, the tokenizer and the settings alone.
    """
    asked = asked or Asked()
    words = vocabulary.load(tokenizer)
    ids = (words.size, words.end_of_text)
    for folder in map(meant, map(Path, inputs)):
        if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{output}: lies within the input {folder}; choose another --output")
    paths = inputs_of(inputs)
    check_columns(paths, asked.text_key, asked.shards.others)
    tasks = encoding_tasks(paths, asked, words.fingerprint())
    made_of = digest([asdict(asked.shards), *(task["key"] for task in tasks)])
    if there := _finished(output, made_of):
        return there
    with owned(output / "work"):
        work = WorkFolder(output / "work")
        try:
            workers = min(asked.workers, len(tasks))
            # Loaded once where it can be: GPT-2's takes .25 s, and to a process goes its path.
            make = partial(ShardWorker, tokenizer.absolute() if workers else words, asked)
            with pool_of(make, workers) as members:
                pieces = Pieces(work, members, events or Watcher(Console(quiet=True)))
                parts = _made(pieces, tasks, token_type(words.size), asked.shards.shard_bytes)
            nulls = sum(pieces.find(task["key"])["nulls"] for task in tasks)
            _place(parts, output)
        finally:
            work.close()
        shutil.rmtree(output / "work")
        told = asked.shards.told(probe(words))
        told |= {"made_of": made_of, "without_text": nulls}
        whole = manifest([part for _, part in parts], words.fingerprint(), *ids, told)
        write_atomic(output / MANIFEST, sealed(whole))
    return whole


def encoding_tasks(paths: Sequence[Path], asked: Asked, fingerprint: str) -> list[Task]:
    """What is to be encoded, each under its key."""
    names, tasks = names_of(paths), []
    facts = [code(), fingerprint, {**asdict(asked.shards), "shard_bytes": None}, asked.text_key]
    for path in paths:
        content = file_digest(path)
        for part in parts_of(path):
            span = [content, path.suffixes, names[path], part.begin, part.end]
            source = f"{path}[{part.begin}:{part.end or ''}]"
            task = {"part": asdict(part), "name": names[path], "source": source}
            tasks.append({**task, "key": digest([*facts, span])[:40]})
    return tasks


def _made(
    pieces: Pieces, tasks: list[Task], kind: str, shard_bytes: int
) -> list[tuple[Path, PartSummary]]:
    """All parts, each with the folder in which it lies; what is there already is not made again."""
    size = sum(task["part"]["size"] for task in tasks)
    pieces.make(tasks, "encode tokens", size, "bytes")
    runs = runs_of(pieces, [task["key"] for task in tasks])
    key = digest([code(), runs, shard_bytes])[:40]
    documents = lay_out(pieces, key, runs, max(shard_bytes // np.dtype(kind).itemsize, 1))
    layout = {"layout": str(pieces.work.path(key)), "pieces": str(pieces.work.pieces)}
    gathering: list[Task] = [
        {**layout, "part": part, "source": shuffle.part_name(part), "key": f"{key}-{part}"}
        for part in range(len(documents))
    ]
    pieces.make(gathering, "write token shards", sum(documents), "documents")
    keys = [one["key"] for one in gathering]
    summaries = [PartSummary.from_json(pieces.find(one)["part"]) for one in keys]
    return list(zip(map(pieces.work.path, keys), summaries, strict=True))


def _finished(output: Path, made_of: str) -> dict[str, Any] | None:
    """Shards that are there already, if they are those; other files are refused."""
    there = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if MANIFEST in there:
        whole = unsealed(output / MANIFEST)
        if whole and whole.get("made_of") == made_of:
            return whole
        raise InputError(f"{output}: holds other shards; name another --output, or remove it")
    foreign = {name for name in there - {"work"} if not OURS.fullmatch(name)}
    if foreign:
        raise InputError(
            f"{output}: has {min(foreign)} in it; name a new or an empty folder as --output"
        )
    return None


def _place(parts: list[tuple[Path, PartSummary]], output: Path) -> None:
    """Hard links to the pieces; what an earlier attempt left besides goes."""
    wanted = {name: folder for folder, part in parts for name in part.files}
    with disk_errors(output):
        for path in output.iterdir():
            if OURS.fullmatch(path.name) and path.name not in wanted:
                path.unlink()
        for name, folder in wanted.items():
            link(folder / name, output / name)
        sync_folder(output)
