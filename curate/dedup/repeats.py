"""Which units of text a corpus repeats: counted by hash, in parts that fit into memory.

1. `spread`, for every shard: its distinct keys in order, how often each is there, and in which of
   its documents first. A key that a shard has a million times is one entry from here on.
2. `judge`, for every part of the hashes: the sums over all shards, and what becomes of each key
   in each shard.
3. `Cutter`, for every shard: from keys back to stretches of text.

A shard's arrays lie in its folder, whole and sorted, so that a part of the hashes is a stretch of
them. Two units with one key are taken as the same: among n distinct ones n**2 / 2**65 pairs have
one by chance, 3 pairs among 10**10.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Mask, Offsets, Positions
from curate.dedup.clusters import fixed_width
from curate.dedup.segments import NO_KEY
from curate.errors import CurateError
from curate.kernel import helper
from curate.schema import ID

# Columns of a survey: the documents' units.
KEYS = "unit_keys"
STARTS, ENDS, WORDS = "unit_starts", "unit_ends", "unit_words"
SIZE = "bytes"

STAYS, GOES, FIRST_STAYS = 0, 1, 2  # what becomes of a key in a shard
# Bytes that sorting needs for a key: itself twice, its order, where and how often it is there.
COST = 64
_ROWS = 1024  # documents of a survey in memory at a time
_DTYPES = {"keys": "<u8", "counts": "<u4", "rows": "<u4", "ids": "<u8"}


class Rule(NamedTuple):
    """Which keys go."""

    copies: int  # those that occur at least so often
    keeps_first: bool  # but not the occurrence in the document with the smallest id
    documents: bool  # an occurrence is a document with the key, however often it is there


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
    """At least how many keys a survey has, as the file itself says."""
    with pq.ParquetFile(survey) as file:
        columns = [file.schema.column(i).path.split(".")[0] for i in range(len(file.schema))]
        groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
        return sum(group.column(columns.index(KEYS)).num_values for group in groups)


# From a shard to its distinct keys


def spread(survey: Path, gone: Mask, memory: int, documents: bool, folder: Path) -> int:
    """Write the shard's distinct keys, and return how many they are."""
    by_id, rank = _ranked(survey, folder)
    parts = parts_of(_key_count(survey), memory)
    found = 0
    for part in range(parts):
        keys, rows = _within(survey, gone, bounds(part, parts))
        distinct = _distinct(keys, rows, rank, documents)
        found += len(distinct[0])
        columns = (*distinct[:2], by_id[distinct[2]])
        for name, column in zip(("keys", "counts", "rows"), columns, strict=True):
            with (folder / name).open("ab") as file:
                column.astype(_DTYPES[name], copy=False).tofile(file)
    return found


def _ranked(survey: Path, folder: Path) -> tuple[Positions, Positions]:
    """The shard's rows in the order of their ids, and the place of each in it; ids are written."""
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
) -> tuple[Hashes, Positions]:
    """The keys of documents that are left, within bounds, and the row of each."""
    low, high = bounds
    keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    first = 0
    for batch in _batches(survey, KEYS):
        own, offsets = lists(batch, KEYS)
        place = np.repeat(np.arange(first, first + batch.num_rows), np.diff(offsets))
        chosen = (own != NO_KEY) & (own >= low) & (own <= high) & ~gone[place]
        keys.append(own[chosen])
        rows.append(place[chosen])
        first += batch.num_rows
    return np.concatenate(keys), np.concatenate(rows)


def _distinct(
    keys: Hashes, rows: Positions, rank: Positions, documents: bool
) -> tuple[Hashes, Positions, Positions]:
    """Each key once, how often it is there, and the rank of the first document that has it."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    starts = np.flatnonzero(opens(keys))
    if len(starts) == 0:
        return keys, rows, rows
    counted = np.ones(len(keys), np.int64)
    if documents:
        counted[1:] = (rows[1:] != rows[:-1]) | (keys[1:] != keys[:-1])
    firsts = np.minimum.reduceat(rank[rows], starts)
    return keys[starts], np.add.reduceat(counted, starts), firsts


def opens(keys: Hashes | Positions) -> Mask:
    """Whether a key in a sorted row is another one than that before it."""
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    return new


# From the keys of all shards to what becomes of them


def judge(shards: list[Path], part: int, parts: int, rule: Rule, folder: Path) -> None:
    """Write what becomes of the keys of a part, shard after shard, and where each shard begins."""
    low, high = bounds(part, parts)
    spans = [_span(stored(shard, "keys"), low, high) for shard in shards]
    sizes = np.array([0, *(last - first for first, last in spans)], np.int64)
    offsets = np.cumsum(sizes)
    keys = np.empty(offsets[-1], np.uint64)
    counts = np.empty(offsets[-1], np.uint32)
    for i, (shard, (first, last)) in enumerate(zip(shards, spans, strict=True)):
        keys[offsets[i] : offsets[i + 1]] = stored(shard, "keys")[first:last]
        counts[offsets[i] : offsets[i + 1]] = stored(shard, "counts")[first:last]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(opens(keys[order]))
    del keys
    sizes = np.diff(starts, append=len(order))
    repeated = np.add.reduceat(counts[order], starts, dtype=np.int64) if len(starts) else starts
    goes = np.repeat(repeated >= rule.copies, sizes)
    verdicts = np.zeros(len(order), np.uint8)
    verdicts[order[goes]] = GOES
    if rule.keeps_first:
        verdicts[order[starts[(repeated >= rule.copies) & (sizes == 1)]]] = FIRST_STAYS
        shared = np.flatnonzero(goes & np.repeat(sizes > 1, sizes))
        group = np.repeat(np.arange(len(sizes)), sizes)[shared]
        verdicts[_first_of_each(order[shared], group, shards, (spans, offsets))] = FIRST_STAYS
    verdicts.tofile(folder / "verdicts")
    np.save(folder / "offsets.npy", offsets)


def _span(keys: Hashes, low: np.uint64, high: np.uint64) -> tuple[int, int]:
    return int(np.searchsorted(keys, low)), int(np.searchsorted(keys, high, "right"))


def _first_of_each(
    entries: Positions,
    group: Positions,
    shards: list[Path],
    places: tuple[list[tuple[int, int]], Positions],
) -> Positions:
    """Of the entries of each group that whose document has the smallest id."""
    spans, offsets = places
    ids = np.empty((len(entries), 2), np.uint64)
    shard = np.searchsorted(offsets, entries, "right") - 1
    by_shard = np.argsort(shard, kind="stable")
    ends = np.searchsorted(shard[by_shard], np.arange(len(shards) + 1))
    for i in np.unique(shard).tolist():
        own = by_shard[ends[i] : ends[i + 1]]
        rows = stored(shards[i], "rows")[entries[own] - offsets[i] + spans[i][0]]
        ids[own] = stored(shards[i], "ids").reshape(-1, 2)[rows]
    order = np.lexsort((ids[:, 1], ids[:, 0], group))
    firsts: Positions = entries[order[opens(group[order])]]
    return firsts


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


class Cutter:
    """What a shard loses, some documents after others in the shard's order."""

    def __init__(self, folder: Path, verdicts: Bytes, documents: bool) -> None:
        self.keys = stored(folder, "keys")
        if len(verdicts) != len(self.keys):
            raise CurateError(f"{folder}: {len(verdicts)} verdicts on {len(self.keys)} keys")
        self.verdicts = Verdicts(verdicts, np.asarray(stored(folder, "rows")), documents)

    def taken(self, units: Units, keys: Hashes, span: int, min_words: int) -> Taken:
        """What goes from these documents; keys of those that take no part are NO_KEY."""
        # In the order of keys, so that what is searched is at hand: 5 times as fast.
        order = np.argsort(keys)
        places = np.empty(len(keys), np.int64)
        places[order] = np.searchsorted(self.keys, keys[order])
        places[keys == NO_KEY] = -1
        marks = np.zeros(len(keys), np.uint8)
        mark(units, places, self.verdicts, span, marks)
        return taken_out(units, marks, min_words)


def shard_verdicts(judged: list[Path], shard: int) -> Bytes:
    """What becomes of a shard's distinct keys, from the parts."""
    pieces = [np.empty(0, np.uint8)]
    for folder in judged:
        first, last = np.load(folder / "offsets.npy", mmap_mode="r")[shard : shard + 2].tolist()
        pieces.append(np.fromfile(folder / "verdicts", np.uint8, last - first, offset=first))
    return np.concatenate(pieces)
