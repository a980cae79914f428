"""One order of documents over a whole corpus, and its cuts: sorted runs, then parts from them.

An external sort in three steps. Tokens are written in *runs* that fit into memory, each in the
order of its documents' keys: hashes of a seed and of their ids. The *layout* says how many of each
run's documents are in each part. A part is *gathered* from a stretch of every run. What comes out
depends on the documents and the settings alone, and not on how the input was split.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Hashes, Positions, frozen
from curate.errors import InputError, RecipeError
from curate.hashing import SEED, join
from curate.kernel import borrowing
from curate.schema import Batch
from curate.store import disk_errors
from tokenizer.shards import (
    COLUMNS,
    DOCUMENTS,
    ROW_GROUP,
    PartSummary,
    TokenBatch,
    closed_part,
    documents_of,
    ended,
    running_sums,
    save_array,
)

# A worker holds a run twice while it sorts it.
RUN_BYTES = 64 << 20
RUN_ROWS = 1 << 18
# A part has no more documents: to gather it takes 400 bytes of memory for each.
PART_ROWS = 1 << 22
# What the rows of a run have besides those of docs.parquet: no names of columns of documents.
KEY, START = "\0key", "\0start"
# How often a document is to be seen, as weights.ByClusterSize writes it.
REPEATS = "repeats"
MOST_REPEATS = 1000  # the copies of a document are in one run, and so in memory
RANGES, RUNS, SCHEMA = "ranges.npy", "runs.json", "schema.arrow"


@dataclass(frozen=True)
class Shards:
    """How token shards are written: in which order, in parts of which size, with which columns."""

    shuffle: bool = True  # one order over the whole corpus; false: documents as they come
    seed: int = 0  # of that order
    shard_bytes: int = 1 << 30  # of tokens in a part at most; a larger document is one alone
    columns: tuple[str, ...] = ()  # of documents, for docs.parquet, such as language_score

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 63:
            raise RecipeError(f"shards.seed: {self.seed}; write 0 to 2**63 - 1")
        if self.shard_bytes < 1:
            raise RecipeError(f"shards.shard_bytes: {self.shard_bytes}; write 1 or more")
        if len(set(self.columns)) < len(self.columns):
            raise RecipeError("shards.columns: each must be different")

    @property
    def others(self) -> tuple[str, ...]:
        """The columns that docs.parquet does not have anyway."""
        return tuple(name for name in self.columns if name not in DOCUMENTS.names)

    def told(self, probe: dict[str, Any]) -> dict[str, Any]:
        """What a manifest tells of shards that were written like this, and by which tokenizer."""
        return {
            "order": {"shuffled": self.shuffle, "seed": self.seed if self.shuffle else None},
            "columns": list(self.others),
            "probe": probe,
        }

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of documents that are read, where they are there."""
        return tuple(dict.fromkeys((*COLUMNS, REPEATS, *self.others)))


@borrowing
def enter_keys(halves: Hashes, copies: Hashes, seed: np.uint64, out: Hashes) -> None:
    """A key for each copy of a document, from the halves of its id and the number of the copy."""
    begun = join(SEED, seed)
    for row in range(len(out)):
        key = join(join(begun, halves[2 * row]), halves[2 * row + 1])
        out[row] = join(key, copies[row])


@borrowing
def place_documents(tokens: Any, starts: Any, lengths: Any, places: Any, out: Any) -> None:
    """Copy the document that begins at starts[i] to places[i], for all i."""
    for row in range(len(places)):
        begin, place = starts[row], places[row]
        for i in range(lengths[row]):
            out[place + i] = tokens[begin + i]


def placed(
    tokens: NDArray[Any], starts: Positions, lengths: NDArray[Any], places: Positions, out: Any
) -> None:
    """Copy documents to their places; for arrays that may be written or not there is one kernel."""
    given = (starts, lengths.astype(np.int64, copy=False), places)
    starts, lengths, places = map(frozen, given)
    place_documents(frozen(tokens), starts, lengths, places, out)


def warm(body: NDArray[Any]) -> None:
    """Load the kernels for tokens of this type, or compile them."""
    keys_of(pa.array([bytes(16)], pa.binary(16)), np.zeros(1, np.int64), Shards())
    one = np.zeros(1, np.int64)
    placed(body, one, one, one, body.copy())


def keys_of(ids: pa.Array, copies: Positions, settings: Shards) -> Hashes:
    """By what documents are sorted; all equal where they stay as they came."""
    keys = np.zeros(len(ids), np.uint64)
    if settings.shuffle and len(ids):
        buffer = ids.buffers()[1]
        halves = np.frombuffer(buffer, "<u8", 2 * len(ids), 16 * ids.offset)
        counted = frozen(copies.astype(np.uint64))
        enter_keys(frozen(halves), counted, np.uint64(settings.seed), keys)
    return keys


def repeats_of(batch: Batch) -> Positions:
    """How often each document is written: once, or as a column says."""
    if REPEATS not in batch.schema.names:
        return np.ones(batch.num_rows, np.int64)
    column = batch.column(REPEATS)
    if not pa.types.is_integer(column.type):
        raise InputError(
            f"the column {REPEATS!r} says how often a document is written; it holds "
            f"{column.type}, not whole numbers: rename it"
        )
    times = column.fill_null(1).to_numpy(zero_copy_only=False)
    for wrong in times[(times < 1) | (times > MOST_REPEATS)][:1]:
        raise InputError(f"the column {REPEATS!r} holds {wrong}; write 1 or more, up to 1,000")
    counted: Positions = times.astype(np.int64)
    return counted


class _Run:
    """Documents that wait to be written in the order of their keys."""

    def __init__(self, settings: Shards) -> None:
        self._settings = settings
        self._bodies: list[NDArray[Any]] = []
        self._starts: list[Positions] = []
        self._keys: list[Hashes] = []
        self._rows: list[Batch] = []
        self.bytes = 0
        self.rows = 0

    def add(self, batch: Batch, body: NDArray[Any], starts: Positions, times: Positions) -> None:
        """Take documents that begin there, with their ends of text, and so many copies of each."""
        described = documents_of(batch, np.diff(starts), self._settings.others)
        which = np.repeat(np.arange(batch.num_rows), times)
        copies = np.arange(len(which)) - np.repeat(running_sums(times)[:-1], times)
        # A copy: rows that wait must not hold the buffers of a batch, and with them its text.
        rows = described.take(pa.array(which))
        before = sum(map(len, self._bodies))
        self._bodies.append(body)
        self._starts.append(starts[which] + before)
        self._keys.append(keys_of(rows.column(0), copies, self._settings))
        self._rows.append(rows)
        self.bytes += int((np.diff(starts) * times).sum()) * body.itemsize
        self.rows += rows.num_rows

    def write(self, path: Path) -> None:
        """Tokens and rows, in order."""
        keys, starts = np.concatenate(self._keys), np.concatenate(self._starts)
        order = np.argsort(keys, kind="stable")
        table = pa.Table.from_batches(self._rows).combine_chunks().take(pa.array(order))
        lengths = table["n_tokens"].to_numpy()
        places = running_sums(lengths)
        table = table.append_column(KEY, pa.array(keys[order]))
        table = table.append_column(START, pa.array(places[:-1]))
        body = np.concatenate(self._bodies)
        out = np.empty(int(places[-1]), body.dtype)
        placed(body, starts[order], lengths, places[:-1], out)
        path.with_suffix(".bin").write_bytes(out.data)
        with pa.ipc.new_file(path.with_suffix(".arrow"), table.schema) as file:
            file.write_table(table.combine_chunks())


def write_runs(
    folder: Path, batches: Iterable[TokenBatch], ids: tuple[int, int], settings: Shards
) -> list[str]:
    """Write these documents in sorted runs; the names of the runs.

    `ids` are the vocabulary's size and its end of text. Memory is bounded by a run and a batch.
    """
    names: list[str] = []
    run = _Run(settings)

    def written() -> _Run:
        names.append(f"run-{len(names):05d}")
        run.write(folder / names[-1])
        return _Run(settings)

    with disk_errors(folder):
        for batch, tokens, offsets in batches:
            body = ended(folder.name, tokens, offsets, ids)
            starts, times = offsets + np.arange(len(offsets)), repeats_of(batch)
            # Copies of a batch may be more than a run holds: then it is cut.
            sizes = np.maximum(np.diff(starts) * body.itemsize, RUN_BYTES // RUN_ROWS) * times
            for begin, end in pairwise(cuts_of(np.cumsum(sizes), RUN_BYTES)):
                rows, first = slice(begin, end), starts[begin]
                run.add(
                    batch[rows],
                    body[first : starts[end]],
                    starts[begin : end + 1] - first,
                    times[rows],
                )
                if run.bytes >= RUN_BYTES or run.rows >= RUN_ROWS:
                    run = written()
        if run.rows:
            written()
    return names


def part_name(part: int) -> str:
    """What a part is called."""
    return f"part-{part:05d}"


def rows_of(run: Path) -> pa.Table:
    """The rows of a run, read in place."""
    with pa.memory_map(str(run.with_suffix(".arrow"))) as file:
        return pa.ipc.open_file(file).read_all()


def cuts_of(ends: Positions, most: int) -> list[int]:
    """Where to cut documents that end there, so that no stretch has more, if it has two."""
    cuts = [0]
    while cuts[-1] < len(ends):
        before = int(ends[cuts[-1] - 1]) if cuts[-1] else 0
        following = int(np.searchsorted(ends, before + most, "right"))
        cuts.append(max(min(following, cuts[-1] + PART_ROWS), cuts[-1] + 1))
    return cuts


def one_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The types in which all these rows can be kept, or InputError where there are none."""
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise InputError(f"columns: {error}; give it one type in all files") from error


def lay_out(root: Path, runs: Sequence[str], folder: Path, most: int) -> list[int]:
    """Decide which documents of each run are in which part; the number of each part's documents.

    A part has at most `most` tokens, or one document. What is decided lies in `folder`; the runs
    are named from `root` on. A document takes 40 bytes of memory here.
    """
    keys, lengths, schemas = [np.empty(0, np.uint64)], [np.empty(0, np.int32)], [DOCUMENTS]
    for run in runs:
        rows = rows_of(root / run)
        keys.append(rows[KEY].to_numpy())
        lengths.append(rows["n_tokens"].to_numpy().astype(np.int32))
        schemas.append(rows.drop_columns([KEY, START]).schema)
    order = np.argsort(np.concatenate(keys), kind="stable")
    owners = np.repeat(np.arange(len(runs), dtype=np.int32), list(map(len, lengths[1:])))[order]
    cuts = cuts_of(np.cumsum(np.concatenate(lengths)[order], dtype=np.int64), most)
    ranges = np.zeros((len(cuts), len(runs)), np.int64)
    for part in range(1, len(cuts)):
        here = owners[cuts[part - 1] : cuts[part]]
        ranges[part] = ranges[part - 1] + np.bincount(here, minlength=len(runs))
    with disk_errors(folder):
        save_array(folder / RANGES, ranges)
        (folder / RUNS).write_text(json.dumps(list(runs)), encoding="utf-8")
        schema = one_schema(schemas)
        with pa.ipc.new_file(folder / SCHEMA, schema):
            pass
    return np.diff(cuts).tolist()


def gather(layout: Path, root: Path, part: int, folder: Path, kind: str) -> PartSummary:
    """Write a part, as the layout says, from its stretch of every run.

    Its rows are held in memory, its tokens are not.
    """
    name = part_name(part)
    first, last = np.load(layout / RANGES)[part : part + 2]
    with pa.memory_map(str(layout / SCHEMA)) as file:
        schema = pa.ipc.open_file(file).schema
    runs = json.loads((layout / RUNS).read_text(encoding="utf-8"))
    there = [number for number in range(len(runs)) if first[number] < last[number]]
    tables = [_stretch(root / runs[number], first[number], last[number]) for number in there]
    keys = np.concatenate([table[KEY].to_numpy() for table in tables])
    order = np.argsort(keys, kind="stable")
    lengths = np.concatenate([table["n_tokens"].to_numpy() for table in tables])
    places = np.empty(len(order), np.int64)
    places[order] = running_sums(lengths[order])[:-1]
    with disk_errors(folder):
        out = _room(folder / f"{name}.bin", int(lengths.sum()), kind)
        before = 0
        for number, table in zip(there, tables, strict=True):
            here = slice(before, before + len(table))
            tokens = np.asarray(np.memmap((root / runs[number]).with_suffix(".bin"), kind, "r"))
            placed(tokens, table[START].to_numpy(), lengths[here], places[here], out)
            before += len(table)
        del out
        rows = pa.concat_tables([table.drop_columns([KEY, START]).cast(schema) for table in tables])
        rows = rows.combine_chunks().take(pa.array(order))
        path = folder / f"{name}.docs.parquet"
        pq.write_table(rows, path, row_group_size=ROW_GROUP, compression="zstd")
        size = pc.sum(rows["n_bytes"], min_count=0).as_py()
        return closed_part(folder, name, lengths[order], size, kind)


def _stretch(run: Path, first: int, last: int) -> pa.Table:
    """Rows of a run, as a copy: of thousands of runs no more than one is open."""
    return rows_of(run).take(pa.array(np.arange(first, last)))


def _room(path: Path, tokens: int, kind: str) -> NDArray[Any]:
    """A file of so many tokens to be written in any order."""
    size = tokens * np.dtype(kind).itemsize
    with path.open("wb") as file:
        # What is written to a map has nowhere to fail: a full disk is found out here.
        os.posix_fallocate(file.fileno(), 0, size)
    return np.asarray(np.memmap(path, kind, "r+"))
