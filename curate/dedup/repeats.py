"""Which units of text a corpus repeats: counted by hash, in parts that fit into memory.

1. `spread`, for every shard: its distinct keys in order, how often each is there, and in which of
   its documents first. A key that a shard has a million times is one entry from here on.
2. `judge`, for every part of the hashes: the sums over all shards, and what becomes of each key
   in each shard.
3. `cut_task`, for every shard: from keys back to stretches of text.

A shard's arrays lie in its folder, whole and sorted, so that a part of the hashes is a stretch of
them. Two units with one key are taken as the same: among n distinct ones n**2 / 2**65 pairs have
one by chance, 3 pairs among 10**10.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Mask, Offsets, Positions, frozen
from curate.dedup.columns import fixed_width
from curate.dedup.segments import NO_KEY
from curate.errors import CurateError
from curate.kernel import helper
from curate.schema import BOUND, CUT_BY, CUTS, DROPPED_BY, ID, VALUE
from curate.survey import Means, Task

# Columns of a survey: the documents' units.
KEYS = "unit_keys"
STARTS, ENDS, WORDS = "unit_starts", "unit_ends", "unit_words"
CHECKS = "unit_checks"
SIZE = "bytes"

STAYS, GOES, FIRST_STAYS = 0, 1, 2  # what becomes of a key in a shard
# Bytes that sorting needs for a key: itself twice, its order, where and how often it is there.
COST = 64
_ROWS = 1024  # documents of a survey in memory at a time
_DTYPES = {
    "keys": "<u8",
    "counts": "<u4",
    "rows": "<u4",
    "firsts": "<u4",
    "ids": "<u8",
    "checks": "<u8",
}
_LOW = np.int64(0xFFFFFFFF)


class Rule(NamedTuple):
    """Which keys go."""

    copies: int  # those that occur at least so often
    keeps_first: bool  # but not the occurrence in the document with the smallest id
    documents: bool  # an occurrence is a document with the key, however often it is there
    bands: int = 1  # keys of a unit
    checks: int = 0  # numbers of a unit that are compared with those of the first


def parts_of(entries: int, memory: int) -> int:
    """In how many parts so many keys are sorted."""
    return max(1, -(-entries * COST // max(memory, COST)))


def bounds(part: int, parts: int) -> tuple[np.uint64, np.uint64]:
    """The first and the last key of a part."""
    return np.uint64((part << 64) // parts), np.uint64(((part + 1 << 64) // parts) - 1)


def stored(folder: Path, name: str) -> NDArray[Any]:
    """An array of a shard, where it lies."""
    path = folder / name
    if path.stat().st_size == 0:
        return np.empty(0, _DTYPES[name])
    return np.memmap(path, _DTYPES[name], "r")


def lists(batch: pa.RecordBatch, name: str) -> tuple[NDArray[Any], Offsets]:
    """The values of a column of lists, and where those of each row begin."""
    column = batch.column(name)
    offsets = column.offsets.to_numpy()
    values = column.values.slice(offsets[0], offsets[-1] - offsets[0]).to_numpy()
    return values, offsets - offsets[0]


def _batches(survey: Path, *names: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(survey) as file:
        yield from file.iter_batches(_ROWS, columns=[*names], use_threads=False)


def _key_count(survey: Path) -> int:
    """At most how many keys a survey has, as the file itself says: an empty list counts as one."""
    with pq.ParquetFile(survey) as file:
        columns = [file.schema.column(i).path.split(".")[0] for i in range(len(file.schema))]
        groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
        return sum(group.column(columns.index(KEYS)).num_values for group in groups)


# From a shard to its distinct keys


def spread(survey: Path, gone: Mask, memory: int, rule: Rule, folder: Path) -> int:
    """Write the shard's distinct keys, and return how many they are."""
    by_id, rank = _ranked(survey, folder)
    parts = parts_of(_key_count(survey), memory)
    found = 0
    for part in range(parts):
        keys, rows, places = _within(survey, gone, bounds(part, parts))
        ranks = rank[rows] << 32 | places // rule.bands
        distinct = _distinct(keys, rows, ranks, rule.documents)
        found += len(distinct[0])
        columns = (*distinct[:2], by_id[distinct[2] >> 32], distinct[2] & _LOW)
        for name, column in zip(("keys", "counts", "rows", "firsts"), columns, strict=True):
            with (folder / name).open("ab") as file:
                column.astype(_DTYPES[name], copy=False).tofile(file)
    if rule.checks:
        with (folder / "checks").open("wb") as file:
            for batch in _batches(survey, CHECKS):
                lists(batch, CHECKS)[0].tofile(file)
    return found


def _ranked(survey: Path, folder: Path) -> tuple[Positions, Positions]:
    """The shard's rows in the order of their ids, and the rank of each; ids are written."""
    pieces = [fixed_width(batch.column(ID), ">u8", 2) for batch in _batches(survey, ID)]
    # As numbers of this machine: what is concatenated may be, whatever the pieces were.
    ids = np.concatenate([np.empty((0, 2), "<u8"), *pieces]).astype("<u8", copy=False)
    ids.tofile(folder / "ids")
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return order, rank


def _within(
    survey: Path, gone: Mask, bounds: tuple[np.uint64, np.uint64]
) -> tuple[Hashes, Positions, Positions]:
    """The keys of documents that are left, within bounds; the row and the place of each."""
    low, high = bounds
    keys, rows, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    first = begin = 0
    for batch in _batches(survey, KEYS):
        own, offsets = lists(batch, KEYS)
        row = np.repeat(np.arange(first, first + batch.num_rows), np.diff(offsets))
        chosen = np.flatnonzero((own != NO_KEY) & (own >= low) & (own <= high) & ~gone[row])
        keys.append(own[chosen])
        rows.append(row[chosen])
        places.append(chosen + begin)
        first, begin = first + batch.num_rows, begin + len(own)
    return np.concatenate(keys), np.concatenate(rows), np.concatenate(places)


def _distinct(
    keys: Hashes, rows: Positions, ranks: Positions, documents: bool
) -> tuple[Hashes, Positions, Positions]:
    """Each key once, how often it is there, and the smallest rank that it has."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(opens(keys))
    if len(starts) == 0:
        return keys, rows, ranks
    counted = np.ones(len(keys), np.int64)
    if documents:
        rows = rows[order]
        counted[1:] = (rows[1:] != rows[:-1]) | (keys[1:] != keys[:-1])
    firsts = np.minimum.reduceat(ranks[order], starts)
    return keys[starts], np.add.reduceat(counted, starts), firsts


def opens(keys: Hashes | Positions) -> Mask:
    """Whether a key in a sorted row is another one than that before it."""
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    return new


# From the keys of all shards to what becomes of them


class _Entries(NamedTuple):
    """The keys of a part of the hashes, shard after shard."""

    shards: list[Path]
    spans: list[tuple[int, int]]  # where they lie in each shard
    offsets: Positions  # where those of each shard begin here
    order: Positions  # by key
    starts: Positions  # where in that order another key begins

    def gathered(self, entries: Positions, *names: str, width: int = 1) -> NDArray[Any]:
        """For some entries what an array of their shards has for what the arrays before point at.

        The first name is that of an array with a number for each key.
        """
        shard = np.searchsorted(self.offsets, entries, "right") - 1
        by_shard = np.argsort(shard, kind="stable")
        ends = np.searchsorted(shard[by_shard], np.arange(len(self.shards) + 1))
        out = np.empty((len(entries), width), np.uint64)
        for i in np.unique(shard).tolist():
            own = by_shard[ends[i] : ends[i + 1]]
            found = entries[own] - self.offsets[i] + self.spans[i][0]
            for name in names[:-1]:
                found = stored(self.shards[i], name)[found]
            out[own] = stored(self.shards[i], names[-1]).reshape(-1, width)[found]
        return out


def _entries(shards: list[Path], low: np.uint64, high: np.uint64) -> tuple[_Entries, Positions]:
    """The entries of a part, and how often each key is there."""
    spans = [_span(stored(shard, "keys"), low, high) for shard in shards]
    offsets = np.cumsum(np.array([0, *(last - first for first, last in spans)], np.int64))
    keys = np.empty(offsets[-1], np.uint64)
    counts = np.empty(offsets[-1], np.uint32)
    for i, (shard, (first, last)) in enumerate(zip(shards, spans, strict=True)):
        keys[offsets[i] : offsets[i + 1]] = stored(shard, "keys")[first:last]
        counts[offsets[i] : offsets[i + 1]] = stored(shard, "counts")[first:last]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(opens(keys[order]))
    repeated = starts
    if len(starts):
        repeated = np.add.reduceat(counts[order], starts, dtype=np.int64)
    return _Entries(shards, spans, offsets, order, starts), repeated


def judge(shards: list[Path], part: int, parts: int, rule: Rule, folder: Path) -> None:
    """Write what becomes of the keys of a part, shard after shard, and where each shard begins."""
    entries, repeated = _entries(shards, *bounds(part, parts))
    order, starts = entries.order, entries.starts
    sizes = np.diff(starts, append=len(order))
    goes = repeated >= rule.copies
    verdicts = np.zeros(len(order), np.uint8)
    verdicts[order[np.repeat(goes, sizes)]] = GOES
    if rule.keeps_first:
        firsts = _first_of_each(entries, sizes, goes)
        verdicts[firsts] = FIRST_STAYS
        if rule.checks:
            # A row of checks for each entry that may go, those of the first.
            of = np.empty(len(order), np.int64)
            of[order[np.repeat(goes, sizes)]] = np.repeat(np.arange(len(firsts)), sizes[goes])
            found = entries.gathered(firsts, "firsts", "checks", width=rule.checks)
            may_go = verdicts != STAYS
            found[of[may_go]].tofile(folder / "checks")
            counts = np.concatenate([[0], np.cumsum(may_go)])
            np.save(folder / "check_offsets.npy", counts[entries.offsets])
    verdicts.tofile(folder / "verdicts")
    np.save(folder / "offsets.npy", entries.offsets)


def _span(keys: Hashes, low: np.uint64, high: np.uint64) -> tuple[int, int]:
    return int(np.searchsorted(keys, low)), int(np.searchsorted(keys, high, "right"))


def _first_of_each(entries: _Entries, sizes: Positions, goes: Mask) -> Positions:
    """For each key that goes, that of its entries whose document has the smallest id."""
    firsts = entries.order[entries.starts]
    shared = np.flatnonzero(np.repeat(goes & (sizes > 1), sizes))
    group = np.repeat(np.arange(len(sizes)), sizes)[shared]
    ids = entries.gathered(entries.order[shared], "rows", "ids", width=2)
    order = np.lexsort((ids[:, 1], ids[:, 0], group))
    order = order[opens(group[order])]
    firsts[group[order]] = entries.order[shared[order]]
    return firsts[goes]


# From keys back to text


class Units(NamedTuple):
    """The units of some documents of a shard."""

    first: int  # row of the shard
    starts: Offsets
    ends: Offsets
    words: Offsets  # empty where nobody counts them
    offsets: Offsets
    sizes: Offsets  # of the texts


class Verdicts(NamedTuple):
    """What becomes of a shard's distinct keys, and the row that has each first."""

    of: Bytes
    rows: NDArray[np.uint32]
    documents: bool


class Taken(NamedTuple):
    """What goes from documents: how many units, what is left, and the stretches to cut out."""

    units: Offsets
    words: Offsets  # that are left; units, where nobody counts words
    cuts: Offsets  # start, end, start, end
    offsets: Offsets


@helper
def mark(units: Units, places: Positions, verdicts: Verdicts, span: int, marks: Bytes) -> None:
    """Mark the units that go; places are those of keys among the distinct ones, or negative."""
    for row in range(len(units.sizes)):
        last = units.offsets[row + 1]
        for unit in range(units.offsets[row], last):
            place = places[unit]
            if place < 0 or verdicts.of[place] == STAYS:
                continue
            if verdicts.of[place] == FIRST_STAYS and verdicts.rows[place] == units.first + row:
                # What follows in the same document is another occurrence, or is not.
                verdicts.of[place] = FIRST_STAYS if verdicts.documents else GOES
                continue
            for later in range(unit, min(unit + span, last)):
                marks[later] = 1


@helper
def cut(units: Units, row: int, marks: Bytes, cuts: Offsets, count: int) -> int:
    """Write the stretches that go from a document, and return where they end.

    Of the gaps around them the longer stays, the one before them if they are equal; what a text
    begins and ends with stays, unless all of its units go.
    """
    starts, ends = units.starts, units.ends
    first, last = units.offsets[row], units.offsets[row + 1]
    unit = first
    while unit < last:
        if marks[unit] == 0:
            unit += 1
            continue
        behind = unit
        while behind < last and marks[behind] != 0:
            behind += 1
        if unit == first and behind == last:
            start, end = 0, units.sizes[row]
        elif behind == last or (
            unit > first and starts[behind] - ends[behind - 1] > starts[unit] - ends[unit - 1]
        ):
            start, end = ends[unit - 1], ends[behind - 1]
        else:
            start, end = starts[unit], starts[behind]
        cuts[count] = start
        cuts[count + 1] = end
        count += 2
        unit = behind
    return count


@helper
def take(units: Units, marks: Bytes, min_words: int, taken: Taken) -> None:
    """Count what goes and what is left; write the stretches, where enough is left."""
    count = 0
    for row in range(len(units.sizes)):
        for unit in range(units.offsets[row], units.offsets[row + 1]):
            left = 1 - marks[unit]
            taken.units[row] += 1 - left
            taken.words[row] += left * (units.words[unit] if len(units.words) > 0 else 1)
        if taken.units[row] > 0 and taken.words[row] >= min_words:
            count = cut(units, row, marks, taken.cuts, count)
        taken.offsets[row + 1] = count


def taken_out(units: Units, marks: Bytes, min_words: int) -> Taken:
    """What goes from documents whose units are marked, where so many words are left."""
    rows = len(units.sizes)
    taken = Taken(
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int32),
        np.empty(2 * len(marks), np.int32),
        np.zeros(rows + 1, np.int32),
    )
    take(units, marks, min_words, taken)
    return taken._replace(cuts=taken.cuts[: taken.offsets[-1]])


class Names(NamedTuple):
    """What a stage calls what it does."""

    reason: str  # of a cut
    left: str  # of a document's end: too little is left
    column: str  # with how many units went


class Marker:
    """Which units of a shard go, some documents after others in the shard's order."""

    def __init__(self, task: Task, documents: bool, span: int) -> None:
        folder = Path(task["keys"])
        self.keys = stored(folder, "keys")
        verdicts = shard_verdicts(listed(task["judged"]), task["shard"])
        if len(verdicts) != len(self.keys):
            raise CurateError(f"{folder}: {len(verdicts)} verdicts on {len(self.keys)} keys")
        self.verdicts = Verdicts(verdicts, np.asarray(stored(folder, "rows")), documents)
        self.span = span

    def __call__(self, _: pa.RecordBatch, units: Units, keys: Hashes) -> Bytes:
        """A mark for each unit; keys of those that take no part are NO_KEY."""
        marks = np.zeros(len(keys), np.uint8)
        mark(units, places_of(keys, self.keys), self.verdicts, self.span, marks)
        return marks


def places_of(keys: Hashes, known: Hashes) -> Positions:
    """Where the keys are among those that are known, in order; -1 for NO_KEY."""
    # In the order of keys, so that what is searched is at hand.
    order = np.argsort(keys)
    places = np.empty(len(keys), np.int64)
    places[order] = np.searchsorted(known, keys[order])
    places[keys == NO_KEY] = -1
    return places


def shard_verdicts(judged: list[Path], shard: int) -> Bytes:
    """What becomes of a shard's distinct keys, from the parts."""
    pieces = [np.empty(0, np.uint8)]
    for folder in judged:
        first, last = np.load(folder / "offsets.npy", mmap_mode="r")[shard : shard + 2].tolist()
        pieces.append(np.fromfile(folder / "verdicts", np.uint8, last - first, offset=first))
    return np.concatenate(pieces)


def shard_checks(judged: list[Path], shard: int, checks: int) -> Hashes:
    """For those of a shard's distinct keys that may go, the checks of the first unit with each."""
    pieces = [np.empty((0, checks), np.uint64)]
    for folder in judged:
        offsets = np.load(folder / "check_offsets.npy", mmap_mode="r")
        first, last = (checks * offsets[shard : shard + 2]).tolist()
        found = np.fromfile(folder / "checks", "<u8", last - first, offset=8 * first)
        pieces.append(found.reshape(-1, checks))
    return np.concatenate(pieces)


def decided(stage: Any, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
    """The tables of a stage that has a method for each of the three steps: spread, judge, cut."""
    tasks: list[Task] = []
    for number, (survey, mask) in enumerate(zip(surveys, gone, strict=True)):
        path = means.folder / f"gone-{number}.npy"
        np.save(path, mask)
        tasks.append({"survey": str(survey), "gone": str(path), "memory": means.memory})
    spread = means.each(stage, "spread", tasks)
    shards = means.folder / "shards.json"  # once, not in every task
    shards.write_text(json.dumps([one["folder"] for one in spread]), encoding="utf-8")
    memory = means.memory // (2 if stage.rule().checks else 1)  # checks are as large as all else
    parts = parts_of(sum(one["keys"] for one in spread), memory)
    judging = [{"shards": str(shards), "part": i, "parts": parts} for i in range(parts)]
    judged = means.folder / "judged.json"
    folders = [one["folder"] for one in means.each(stage, "judge", judging)]
    judged.write_text(json.dumps(folders), encoding="utf-8")
    cutting = [
        {**task, "keys": one["folder"], "judged": str(judged), "shard": number}
        for number, (task, one) in enumerate(zip(tasks, spread, strict=True))
    ]
    for done in means.each(stage, "cut", cutting):
        yield pq.read_table(done["table"], use_threads=False)


def spread_task(rule: Rule, task: Task, folder: Path) -> Task:
    """The first step, for a shard."""
    gone = np.load(task["gone"])
    keys = spread(Path(task["survey"]), gone, task["memory"], rule, folder)
    return {"folder": str(folder), "keys": keys}


def judge_task(rule: Rule, task: Task, folder: Path) -> Task:
    """The second step, for a part of the hashes."""
    judge(listed(task["shards"]), task["part"], task["parts"], rule, folder)
    return {"folder": str(folder)}


Marks = Callable[[pa.RecordBatch, Units, Hashes], Bytes]


def cut_task(task: Task, folder: Path, names: Names, min_words: int, marks: Marks) -> Task:
    """The third step, for a shard: its table."""
    gone, path = np.load(task["gone"]), folder / "decided.parquet"
    schema = _schema(names)
    first = 0
    with pq.ParquetFile(task["survey"]) as file, pq.ParquetWriter(path, schema) as writer:
        for batch in file.iter_batches(_ROWS, use_threads=False):
            own = gone[first : first + batch.num_rows]
            units, keys = _units(batch, first, own)
            taken = taken_out(units, marks(batch, units, keys), min_words)
            writer.write_batch(_decided(taken, own, names, min_words))
            first += batch.num_rows
    return {"table": str(path)}


def _schema(names: Names) -> pa.Schema:
    return pa.schema(
        [
            (DROPPED_BY, pa.string()),
            (VALUE, pa.float64()),
            (BOUND, pa.float64()),
            (CUTS, pa.list_(pa.int32())),
            (CUT_BY, pa.string()),
            (names.column, pa.int32()),
        ]
    )


def _decided(taken: Taken, gone: Mask, names: Names, min_words: int) -> pa.RecordBatch:
    cut = taken.units > 0
    drops = cut & (taken.words < min_words)
    nothing = pa.scalar(None, pa.string())
    return pa.RecordBatch.from_arrays(
        [
            pc.if_else(pa.array(drops), names.left, nothing),
            pa.array(taken.words.astype(np.float64), mask=~drops),
            pa.array(np.full(len(drops), min_words, np.float64), mask=~drops),
            pa.ListArray.from_arrays(pa.array(taken.offsets), pa.array(taken.cuts)),
            pc.if_else(pa.array(cut & ~drops), names.reason, nothing),
            pa.array(taken.units, mask=gone),
        ],
        schema=_schema(names),
    )


def _units(batch: pa.RecordBatch, first: int, gone: Mask) -> tuple[Units, Hashes]:
    """The units of a part of a survey, and their keys: none of documents that are gone."""
    keys, key_offsets = lists(batch, KEYS)
    starts, offsets = lists(batch, STARTS)
    ends = lists(batch, ENDS)[0]
    has_words = WORDS in batch.schema.names
    words = lists(batch, WORDS)[0] if has_words else np.empty(0, np.int32)
    sizes = batch.column(SIZE).to_numpy()
    out = np.repeat(gone, np.diff(key_offsets))
    # Frozen, so that there is one kernel type.
    starts, ends, words, offsets, sizes = map(frozen, (starts, ends, words, offsets, sizes))
    return Units(first, starts, ends, words, offsets, sizes), np.where(out, NO_KEY, keys)


def table(
    batch: pa.RecordBatch, sizes: Offsets, offsets: Offsets, columns: dict[str, Any]
) -> pa.Table:
    """The survey of a batch with these columns of units, as many numbers for each as it has."""
    lists = {}
    for name, values in columns.items():
        each = values.size // max(int(offsets[-1]), 1)
        lists[name] = pa.ListArray.from_arrays(
            pa.array(offsets.astype(np.int32) * np.int32(each)), pa.array(values.ravel())
        )
    return pa.table({ID: batch.column(ID), SIZE: sizes, **lists})


def listed(path: str) -> list[Path]:
    """The folders whose names are in a file."""
    return [Path(name) for name in json.loads(Path(path).read_text(encoding="utf-8"))]
