"""Which keys occur twice among more than memory holds: sorted runs on disk, compared in parts.

A run is a sorted file of the distinct keys of a chunk, each once, so that a key that occurs a
million times is compared once a chunk. A part is a range of keys; it reads its slice of every run,
and answers for every entry whether its key occurs twice anywhere.
"""

import json
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Positions
from curate.survey import Means, Task

# What a run holds of a key. `twice` says whether the chunk has it more than once; `id` and `place`
# are the smallest of the chunk, where it matters which copy is the first.
SHORT = np.dtype([("high", "<u8"), ("twice", "u1")])
LONG = np.dtype([*SHORT.descr, ("low", "<u8")])
PLACED = np.dtype([*LONG.descr, ("id", "<u8", (2,)), ("place", "<i4")])
# Runs of these are sorted by anchor, so that one part has all keys of an anchor.
ANCHORED = np.dtype([*PLACED.descr, ("anchor", "<u8")])

# Bytes of arrays for each key: two copies of its entry, which has up to 62, and of what it is made
# from, its order and its group.
KEY_BYTES = 256
_MOST = 1 << 30  # keys of a chunk: an entry's number and a bit are 32 bits

# Answers: the key occurs twice; this copy is not the first; its anchor has other keys, too.
REPEATED, LATER, MIXED = np.uint8(1), np.uint8(2), np.uint8(4)


class Keys(NamedTuple):
    """Keys of a chunk, in the order in which they were found.

    Where the first copy matters, key i stands at places[i] of a document whose id, in two halves,
    is ids[documents[i]]. Keys that are equal have one anchor.
    """

    high: Hashes
    low: Hashes | None = None
    ids: Hashes | None = None
    documents: Positions | None = None
    places: Positions | None = None
    anchors: Hashes | None = None

    @property
    def kind(self) -> np.dtype[Any]:
        """What a run holds of these keys."""
        if self.low is None:
            return SHORT
        if self.ids is None:
            return LONG
        return PLACED if self.anchors is None else ANCHORED


class Groups(NamedTuple):
    """Items in an order in which equal keys are neighbours, and where each key begins in it."""

    order: Positions
    begins: Positions
    numbers: Positions  # of the key of each item in this order

    def sizes(self) -> Positions:
        return np.diff(self.begins, append=len(self.order))


def grouped(high: Hashes, low: Hashes | None) -> Groups:
    """The items by key."""
    order = np.argsort(high)
    new = high[order[1:]] != high[order[:-1]]
    if low is not None:
        other = low[order[1:]] != low[order[:-1]]
        if (other & ~new).any():  # two keys share a half: sorting by both is ten times slower
            order = np.lexsort((low, high))
            new = high[order[1:]] != high[order[:-1]]
            other = low[order[1:]] != low[order[:-1]]
        new |= other
    begins = np.flatnonzero(np.concatenate([np.ones(min(len(order), 1), np.bool_), new]))
    numbers = np.zeros(len(order), np.int64)
    numbers[1:] = np.cumsum(new)
    return Groups(order, begins, numbers)


class Chunks:
    """A shard's keys, written as a run as often as memory for them is full."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder = folder
        self._capacity = min(max(memory // KEY_BYTES, 1), _MOST)
        self._held: list[Keys] = []
        self._notes: list[NDArray[np.int32]] = []
        self._runs: list[str] = []
        self._entries = 0
        self.room = self._capacity

    def add(self, keys: Keys, note: NDArray[np.int32]) -> None:
        """Take keys, not more than there is room for, and a table about them, of three rows."""
        self._held.append(keys)
        self._notes.append(note)
        self.room -= len(keys.high)
        if self.room <= 0:
            self._write()

    def written(self) -> Task:
        """The names of all runs, and how many entries they have."""
        if self._held:
            self._write()
        return {"runs": self._runs, "entries": self._entries}

    def _write(self) -> None:
        entries, where = run_of(joined(self._held))
        path = self._folder / f"{len(self._runs)}"
        np.save(f"{path}.npy", entries)
        np.save(f"{path}.where.npy", where)
        np.save(f"{path}.note.npy", np.concatenate(self._notes, axis=1))
        self._runs.append(str(path))
        self._entries += len(entries)
        self._held, self._notes, self.room = [], [], self._capacity


def note_of(run: str) -> NDArray[np.int32]:
    """The tables that came with the keys of a run."""
    note: NDArray[np.int32] = np.load(f"{run}.note.npy")
    return note


def joined(held: list[Keys]) -> Keys:
    """All keys of a chunk."""
    columns: list[Any] = [list(arrays) for arrays in zip(*held, strict=True)]
    if held[0].ids is not None:
        first = np.cumsum([0, *map(len, columns[2])])
        columns[3] = [rows + start for rows, start in zip(columns[3], first[:-1], strict=True)]
    whole: list[Any] = [None if c[0] is None else np.concatenate(c) for c in columns]
    return Keys(*whole)


def run_of(keys: Keys) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """The entries of a run, and the entry of each key; its lowest bit says: the first copy."""
    groups = grouped(keys.high, keys.low)
    opens = groups.order[groups.begins]
    entries = np.empty(len(opens), keys.kind)
    entries["high"] = keys.high[opens]
    entries["twice"] = groups.sizes() > 1
    where = np.empty(len(groups.order), np.uint32)
    where[groups.order] = groups.numbers << 1
    if keys.low is not None:
        entries["low"] = keys.low[opens]
    if keys.ids is not None and keys.documents is not None and keys.places is not None:
        firsts = _firsts(ranks(keys.ids)[keys.documents], keys.places, groups)
        where[firsts] |= np.uint32(1)
        entries["id"] = keys.ids[keys.documents[firsts]]
        entries["place"] = keys.places[firsts]
    if keys.anchors is not None:
        entries["anchor"] = keys.anchors[opens]
        order = np.argsort(entries["anchor"])
        entries, moved = entries[order], np.empty(len(order), np.uint32)
        moved[order] = np.arange(len(order))
        where = (moved[where >> 1] << 1) | (where & 1)
    return entries, where


def ranks(ids: Hashes) -> Positions:
    """The number of every id among those that differ, in their order."""
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    out = np.zeros(len(order), np.int64)
    out[order[1:]] = np.cumsum((ids[order[1:]] != ids[order[:-1]]).any(axis=1))
    return out


def _firsts(documents: Positions, places: Positions, groups: Groups) -> Positions:
    """For every key the item of the smallest document, and there of the smallest place."""
    age = ((documents << 32) | places)[groups.order]  # both are below 2**31
    oldest = np.flatnonzero(age == np.minimum.reduceat(age, groups.begins)[groups.numbers])
    # Two documents of one id would tell two items of one age.
    _, one_each = np.unique(groups.numbers[oldest], return_index=True)
    firsts: Positions = groups.order[oldest[one_each]]
    return firsts


# Parts


class Answers(NamedTuple):
    """The folders of all parts, each with its answers about all runs."""

    folders: list[str]

    @classmethod
    def read(cls, path: str) -> "Answers":
        """The answers that a file lists."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8")))

    def about(self, run: int, path: str) -> Bytes:
        """The answers about all keys of a chunk, in its order."""
        raw = [np.empty(0, np.uint8)]
        for folder in self.folders:
            begins = np.load(Path(folder) / "begins.npy", mmap_mode="r")
            start, end = int(begins[run]), int(begins[run + 1])
            if start < end:
                raw.append(np.load(Path(folder) / "answers.npy", mmap_mode="r")[start:end])
        where = np.load(f"{path}.where.npy")
        answers: Bytes = np.concatenate(raw)[where >> 1]
        answers[(where & 1) == 0] |= LATER
        return answers


def compare(task: Task, folder: Path) -> Task:
    """Answer for a range of keys of all runs; a task of `compared`."""
    slices: list[NDArray[Any]] = []
    for run in json.loads(Path(task["runs"]).read_text(encoding="utf-8")):
        entries = np.load(f"{run}.npy", mmap_mode="r")
        keys = entries["anchor" if "anchor" in entries.dtype.names else "high"]
        bounds = [_bound(keys, task["part"] + i, task["parts"]) for i in (0, 1)]
        slices.append(entries[bounds[0] : bounds[1]])
    entries = np.concatenate(slices)
    np.save(folder / "begins.npy", np.cumsum([0, *map(len, slices)]))
    np.save(folder / "answers.npy", answered(entries))
    return {"folder": str(folder)}


def _bound(keys: Hashes, part: int, parts: int) -> int:
    """The first key of a part; keys are even, for they are hashes."""
    bound = (part << 64) // parts
    return bisect_left(keys, bound) if part < parts else len(keys)


def answered(entries: NDArray[Any]) -> Bytes:
    """For entries of many runs, which of them are repeated, and which have an earlier copy."""
    names = entries.dtype.names or ()
    groups = grouped(
        np.ascontiguousarray(entries["high"]),
        np.ascontiguousarray(entries["low"]) if "low" in names else None,
    )
    sizes = groups.sizes()
    repeated = sizes > 1
    repeated[groups.numbers[entries["twice"][groups.order].astype(np.bool_)]] = True
    answers = np.zeros(len(entries), np.uint8)
    answers[groups.order] = repeated[groups.numbers] * REPEATED
    if "id" in names:
        several = groups.order[sizes[groups.numbers] > 1]
        number = groups.numbers[sizes[groups.numbers] > 1]
        ids = entries["id"][several]
        order = np.lexsort((entries["place"][several], ids[:, 1], ids[:, 0], number))
        is_later = np.zeros(len(order), np.bool_)
        is_later[1:] = number[order[1:]] == number[order[:-1]]
        answers[several[order[is_later]]] |= LATER
    if "anchor" in names:
        _, anchor = np.unique(entries["anchor"], return_inverse=True)
        keys = np.bincount(anchor[groups.order[groups.begins]], minlength=len(anchor))
        answers[(keys > 1)[anchor]] |= MIXED
    return answers


def compared(stage: Any, means: Means, results: Sequence[Task], name: str) -> str:
    """Compare the runs that these results name, by the stage's method `compare`; the answers."""
    runs = [run for result in results for run in result["runs"]]
    listed = means.folder / f"{name}-runs.json"
    listed.write_text(json.dumps(runs), encoding="utf-8")
    total = sum(result["entries"] for result in results)
    parts = -(-total * KEY_BYTES // means.memory)
    tasks = [{"runs": str(listed), "part": part, "parts": parts} for part in range(parts)]
    folders = [done["folder"] for done in means.each(stage, "compare", tasks)]
    answers = means.folder / f"{name}-answers.json"
    answers.write_text(json.dumps(folders), encoding="utf-8")
    return str(answers)
