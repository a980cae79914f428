"""From keys of all documents to groups that can be decided apart, each within a memory budget.

Documents are numbered through all surveys. Keys are looked at a few bands, and a share of their
values, at a time; what documents share a key is written to disk, and links them. Documents that
are linked, over however many others, are a group: groups are put together to batches, whose
documents are gathered from all surveys. Held for all documents are 13 bytes each: three arrays of
32-bit numbers, and a mask.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Hashes, Mask, Positions
from curate.dedup.buckets import Buckets, Documents, buckets, flatten, unite
from curate.dedup.columns import fixed_width, on_disk
from curate.errors import InputError
from curate.kernel import helper
from curate.survey import Task

NOWHERE = -1
MOST_DOCUMENTS = 2**31 - 1
KEY_BYTES = 28  # of memory for a key and its document, while keys are put into buckets
_MIX = np.uint64(0xD6E8FEB86659FD93)


class Numbered(NamedTuple):
    """Documents of surveys, numbered through; those that are gone are in no bucket."""

    surveys: list[Path]
    starts: Positions  # the number of each survey's first document, and last how many there are
    gone: Path  # a mask over all numbers, as .npy

    @property
    def size(self) -> int:
        """How many documents there are, those that are gone included."""
        return int(self.starts[-1])

    def as_task(self) -> Task:
        """As a task carries it."""
        return {
            "surveys": [*map(str, self.surveys)],
            "starts": self.starts.tolist(),
            "gone": str(self.gone),
        }

    @classmethod
    def of(cls, task: Task) -> "Numbered":
        """From a task."""
        paths, starts = [*map(Path, task["surveys"])], np.array(task["starts"], np.int64)
        return cls(paths, starts, Path(task["gone"]))


def numbered(surveys: list[Path], gone: list[Mask], folder: Path) -> Numbered:
    """The documents of these surveys; `gone` is as long as there are masks, the rest is there."""
    sizes = [pq.read_metadata(path).num_rows for path in surveys]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    if starts[-1] > MOST_DOCUMENTS:
        raise InputError(
            f"{starts[-1]:,} documents are more than the {MOST_DOCUMENTS:,} that are compared at "
            "once; run the recipe on parts of the input"
        )
    path = folder / "gone.npy"
    np.save(path, np.concatenate([*gone, np.zeros(sum(sizes[len(gone) :]), np.bool_)]))
    return Numbered(surveys, starts, path)


# Buckets


def shares(columns: list[str], count: int, memory: int) -> list[Task]:
    """Columns of keys, and shares of their values, that fit into this many bytes each."""
    bytes_each = max(1, count) * KEY_BYTES
    together = max(1, min(len(columns), memory // bytes_each))
    parts = -(-bytes_each // max(memory, KEY_BYTES))
    return [
        {"columns": columns[first : first + together], "part": part, "parts": int(parts)}
        for first in range(0, len(columns), int(together))
        for part in range(int(parts))
    ]


def write_buckets(task: Task, folder: Path) -> Task:
    """Which documents share keys of these columns, within this share of their values."""
    documents = Numbered.of(task["documents"])
    keys: dict[str, list[Hashes]] = {name: [] for name in task["columns"]}
    rows: dict[str, list[Documents]] = {name: [] for name in task["columns"]}
    gone = np.load(documents.gone, mmap_mode="r")
    for path, (start, end) in zip(documents.surveys, pairwise(documents.starts), strict=True):
        table = pq.read_table(path, columns=task["columns"], use_threads=False)
        there = ~gone[start:end]
        for name in task["columns"]:
            column = table.column(name)
            values = column.to_numpy() if column.null_count == 0 else _filled(column)
            taken = there if column.null_count == 0 else there & column.is_valid().to_numpy()
            if task["parts"] > 1:
                taken = taken & (_part(values, task["parts"]) == task["part"])
            keys[name].append(values[taken])
            rows[name].append((np.flatnonzero(taken) + start).astype(np.int32))
    found = []
    for name in task["columns"]:
        if keys[name]:
            column_keys, column_rows = np.concatenate(keys.pop(name)), np.concatenate(rows[name])
            found.append(buckets(column_keys, column_rows))
        del rows[name]
    return _stored(found, folder)


def _filled(column: Any) -> Hashes:
    filled: Hashes = column.fill_null(0).to_numpy()
    return filled


def _part(keys: Hashes, parts: int) -> Hashes:
    # Not the bits by which keys are dealt into chunks: those of one part would all be alike.
    return ((keys * _MIX) >> np.uint64(32)) % np.uint64(parts)


def _stored(found: list[Buckets], folder: Path) -> Task:
    members = np.concatenate([np.zeros(0, np.int32), *(one.members for one in found)])
    sizes = np.concatenate([np.zeros(0, np.int64), *(np.diff(one.ends) for one in found)])
    np.save(folder / "members.npy", members)
    np.save(folder / "ends.npy", np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    return {"folder": str(folder)}


def _load(folder: str) -> Buckets:
    root = Path(folder)
    members = np.load(root / "members.npy", mmap_mode="r")
    return Buckets(members, np.load(root / "ends.npy", mmap_mode="r"))


def read_buckets(folder: str) -> Buckets:
    """Buckets that a task has written."""
    found = _load(folder)
    return Buckets(np.array(found.members), np.array(found.ends))


# Groups and batches


@dataclass(frozen=True)
class Batches:
    """Batch, group and place within the batch of every document; NOWHERE for those alone."""

    folder: Path
    count: int
    documents: int

    def as_task(self) -> Task:
        """As a task carries it."""
        return {"folder": str(self.folder), "count": self.count, "documents": self.documents}

    @classmethod
    def of(cls, task: Task) -> "Batches":
        """From a task."""
        return cls(Path(task["folder"]), task["count"], task["documents"])

    def numbers(self, name: str) -> Documents:
        """One of `batch`, `place` and `group`, of every document; read as it is needed."""
        numbers: Documents = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return numbers


def batches(count: int, found: list[str], room: int, folder: Path) -> Batches:
    """Groups of linked documents, put together to batches of about so many documents.

    A group larger than that is a batch of its own.
    """
    parents = np.arange(count, dtype=np.int32)
    for stored in found:
        members, ends = read_buckets(stored)
        unite(parents, members, ends)
    sizes = flatten(parents)
    roots = np.flatnonzero(sizes > 1)
    counts = sizes[roots].astype(np.int64)
    ends_of_groups = np.cumsum(counts)
    # A group belongs where its first document lies, if batches were cut at every `room` documents.
    numbers = (ends_of_groups - counts) // room
    distinct, numbers = np.unique(numbers, return_inverse=True)
    sizes[:] = NOWHERE
    sizes[roots] = numbers
    batch: Documents = sizes[parents]
    np.save(folder / "batch.npy", batch)
    np.save(folder / "group.npy", parents)
    # A group's documents lie side by side, so that deciding about them stays in the caches.
    firsts = np.searchsorted(numbers, np.arange(len(distinct)))
    starts = ends_of_groups - counts
    sizes[roots] = starts - starts[firsts][numbers]
    np.save(folder / "place.npy", places(parents, sizes, batch))
    return Batches(folder, len(distinct), int(ends_of_groups[-1]) if len(roots) else 0)


@helper
def places(parents: Documents, nexts: Documents, batch: Documents) -> Documents:
    """The place of every document in its batch; `nexts` is that of the next one of each group."""
    out = np.full(len(parents), NOWHERE, np.int32)
    for document in range(len(parents)):
        if batch[document] != NOWHERE:
            root = parents[document]
            out[document] = nexts[root]
            nexts[root] += 1
    return out


def regroup(task: Task, folder: Path) -> Task:
    """Write buckets again, those of a batch together."""
    found = _load(task["folder"])
    batch = Batches.of(task["batches"]).numbers("batch")
    own = batch[found.members[found.ends[:-1]]]
    order = np.argsort(own, kind="stable")
    sizes = np.diff(found.ends)[order]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Where each member comes from: its bucket's first one, and its place behind that.
    source = np.repeat(found.ends[:-1][order] - ends[:-1], sizes) + np.arange(ends[-1])
    np.save(folder / "members.npy", found.members[source])
    np.save(folder / "ends.npy", ends)
    counts = np.bincount(own, minlength=task["batches"]["count"])
    np.save(folder / "batches.npy", np.concatenate([[0], np.cumsum(counts)]))
    return {"folder": str(folder)}


def buckets_of(stored: list[str], batch: int, batches: Batches) -> Buckets:
    """The buckets of a batch, with the places of their members within it."""
    place = batches.numbers("place")
    members, sizes = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for folder in stored:
        found = _load(folder)
        first, last = 0, len(found.ends) - 1
        if batches.count > 1:
            first, last = np.load(Path(folder) / "batches.npy", mmap_mode="r")[batch : batch + 2]
        start, end = found.ends[first], found.ends[last]
        members.append(place[found.members[start:end]])
        sizes.append(np.diff(found.ends[first : last + 1]))
    ends = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    return Buckets(np.concatenate(members), ends)


# What is known of the documents of a batch, from all surveys


class Piece(NamedTuple):
    """Where a gathered column of one survey lies, and where each batch's rows end in it."""

    folder: Path
    ends: Positions

    def rows(self, name: str, batch: int) -> NDArray[Any]:
        """The rows of a batch."""
        column: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return column[self.ends[batch] : self.ends[batch + 1]]


class Desk(NamedTuple):
    """Where the arrays of a batch lie: in memory, or in files where they are larger than that."""

    folder: Path
    memory: int

    def room(self, name: str, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
        """An array to be written, its name a file's."""
        if np.dtype(kind).itemsize * np.prod(shape, dtype=np.int64) <= self.memory:
            return np.empty(shape, kind)
        path = self.folder / f"{name}.npy"
        return on_disk(path, kind, shape)


def assembled(
    found: list[Piece], name: str, batch: int, places: Positions, desk: Desk
) -> NDArray[Any]:
    """The rows of a batch from all surveys, each in its place, as native numbers."""
    pieces = [piece.rows(name, batch) for piece in found]
    kind = pieces[0].dtype.newbyteorder("=")
    out = desk.room(name, (len(places), *pieces[0].shape[1:]), kind)
    at = 0
    for rows in pieces:
        out[places[at : at + len(rows)]] = rows
        at += len(rows)
    return out


def chosen_rows(batches: Batches, start: int, end: int) -> tuple[Positions, Positions]:
    """The rows of a survey that are in batches, those of a batch together, and where these end."""
    batch = batches.numbers("batch")[start:end]
    rows = np.flatnonzero(batch != NOWHERE)
    order = np.argsort(batch[rows], kind="stable")
    ends = np.searchsorted(batch[rows][order], np.arange(batches.count + 1))
    return rows[order], ends.astype(np.int64)


def pieces(folders: list[str]) -> list[Piece]:
    """What was gathered of every survey."""
    return [Piece(Path(folder), np.load(Path(folder) / "ends.npy")) for folder in folders]


def wide(column: Any, dtype: str, width: int) -> NDArray[Any]:
    """A column of binaries of one width, a row each; zeros for null."""
    rows = fixed_width(column.combine_chunks(), dtype, width)
    if column.null_count:
        rows = np.where(column.is_valid().to_numpy()[:, None], rows, 0)
    return rows
