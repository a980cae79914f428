"""Documents with the same 128-bit key: how many there are and which one stays, in fixed memory.

Keys are even over all numbers, so that a range of them is decided on its own: every range reads the
keys of all surveys once, and holds one entry per key, however many documents have it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.column import Hashes, Mask, Numbers, Positions
from curate.dedup.columns import DUPLICATE_OF, binaries, fixed_width, on_disk, only
from curate.dedup.keeping import PREFERENCE
from curate.kernel import helper
from curate.schema import BOUND, DROPPED_BY, ID, VALUE
from curate.survey import Means, Task

KEY = "key"

_ROWS = 1 << 16  # that are read at once
# An entry has 48 bytes, and of entries a quarter to a half is full; while they double, both are
# there. What is found takes 40 bytes more.
_BYTES_PER_KEY = 6 * 48 + 40
_MOST_BITS = 16
_HALF = np.uint64(63)
_ONE = np.uint64(1)


class Entries(NamedTuple):
    """A table of keys with open addresses: the document that stays, and how many have the key."""

    keys: Hashes  # two halves
    ids: Hashes  # two halves, as numbers
    preferences: Numbers
    counts: Positions  # 0: no entry


def entries(slots: int) -> Entries:
    """An empty table; the number of slots is a power of two."""
    return Entries(
        np.zeros((slots, 2), np.uint64),
        np.zeros((slots, 2), np.uint64),
        np.zeros(slots),
        np.zeros(slots, np.int64),
    )


@helper
def gather(new: Entries, into: Entries) -> int:
    """Enter documents, or another table's entries, into a table; how many keys are new."""
    last = np.uint64(len(into.counts) - 1)
    added = 0
    for row in range(len(new.counts)):
        if new.counts[row] == 0:
            continue
        # The upper half chose the range; the lower one is as even within it.
        slot = new.keys[row, 1] & last
        while into.counts[slot] > 0 and (
            into.keys[slot, 0] != new.keys[row, 0] or into.keys[slot, 1] != new.keys[row, 1]
        ):
            slot = (slot + _ONE) & last
        before = into.counts[slot]
        added += before == 0
        into.counts[slot] = before + new.counts[row]
        if before == 0 or stays(new, row, into, slot):
            into.keys[slot] = new.keys[row]
            into.ids[slot] = new.ids[row]
            into.preferences[slot] = new.preferences[row]
    return added


@helper
def stays(new: Entries, row: int, than: Entries, slot: int) -> bool:
    """Whether a document would stay rather than that of an entry."""
    if new.preferences[row] != than.preferences[slot]:
        return bool(new.preferences[row] > than.preferences[slot])
    if new.ids[row, 0] != than.ids[slot, 0]:
        return bool(new.ids[row, 0] < than.ids[slot, 0])
    return bool(new.ids[row, 1] < than.ids[slot, 1])


@helper
def find(keys: Hashes, among: Hashes) -> Positions:
    """The place of each key among sorted ones, -1 where it is not there."""
    out = np.full(len(keys), -1, np.int64)
    for row in range(len(keys)):
        high, low = keys[row, 0], keys[row, 1]
        start, end = 0, len(among)
        while start < end:
            middle = (start + end) // 2
            other = among[middle, 0]
            if other < high or (other == high and among[middle, 1] < low):
                start = middle + 1
            else:
                end = middle
        if start < len(among) and among[start, 0] == high and among[start, 1] == low:
            out[row] = start
    return out


class Copies(NamedTuple):
    """Every key that more than one document has: sorted, with the id of the one that stays."""

    keys: Hashes
    ids: Hashes
    counts: Positions
    preferences: Numbers  # KNOWN: the one that stays is of an earlier run


class Names(NamedTuple):
    """What verdicts say: of what goes for a document of this run, or of an earlier one."""

    reason: str
    known: str
    column: str  # of how many there are


# No document of a run prefers to stay so much: those of earlier runs stay, whoever else there is.
KNOWN = np.inf
_MOST = np.finfo(np.float64).max


def choose(task: Task, folder: Path) -> Task:
    """The copies among the keys of one range, written into the folder."""
    inputs = json.loads(Path(task["inputs"]).read_text())
    gone = np.load(task["gone"], mmap_mode="r")
    table, used, start = entries(1 << 10), 0, 0
    for number, survey in enumerate(inputs):
        for batch in _batches(Path(survey)):
            end = start + batch.num_rows
            new = _documents(batch, ~gone[start:end], task["bits"], task["range"])
            np.minimum(new.preferences, _MOST, out=new.preferences)
            new.preferences[:] = KNOWN if number >= task["own"] else new.preferences
            start = end
            if 2 * (used + len(new.counts)) > len(table.counts):
                table = _larger(table, used + len(new.counts))
            used += gather(new, table)
    found = np.flatnonzero(table.counts > 1)
    found = found[np.lexsort((table.keys[found, 1], table.keys[found, 0]))]
    for name in Copies._fields:
        np.save(folder / f"{name}.npy", getattr(table, name)[found])
    return {"folder": str(folder)}


def _larger(table: Entries, count: int) -> Entries:
    larger = entries(1 << int(2 * count).bit_length())
    gather(table, larger)
    return larger


def _batches(survey: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(survey) as file:
        yield from file.iter_batches(_ROWS, columns=[KEY, PREFERENCE, ID], use_threads=False)


def _documents(batch: pa.RecordBatch, there: Mask, bits: int, place: int) -> Entries:
    """The documents of a batch that are there and have a key of this range, one entry each."""
    keys = fixed_width(batch.column(KEY), "<u8", 2)
    taking = there & batch.column(KEY).is_valid().to_numpy(zero_copy_only=False)
    if bits:
        taking &= keys[:, 0] >> np.uint64(64 - bits) == place
    rows = np.flatnonzero(taking)
    return Entries(
        keys[rows],
        fixed_width(batch.column(ID), ">u8", 2)[rows].astype(np.uint64),
        batch.column(PREFERENCE).to_numpy()[rows].copy(),
        np.ones(len(rows), np.int64),
    )


def copies(
    stage: Any, surveys: list[Path], gone: list[Mask], means: Means, earlier: list[Path]
) -> Copies:
    """All copies, decided range by range; `stage.choose` is `choose`.

    The surveys of earlier runs take part, and their documents stay.
    """
    # Files, for a worker may decide about a range.
    inputs, mask = means.folder / "surveys.json", means.folder / "gone.npy"
    inputs.write_text(json.dumps([*map(str, [*surveys, *earlier])]))
    there = sum(pq.read_metadata(path).num_rows for path in earlier)
    np.save(mask, np.concatenate([*gone, np.zeros(there, np.bool_)]))
    bits = ranges(sum(map(len, gone)) + there, means.memory)
    task = {"inputs": str(inputs), "gone": str(mask), "bits": bits, "own": len(surveys)}
    done = means.each(stage, "choose", [{**task, "range": place} for place in range(1 << bits)])
    return Copies(*(_joined(name, done, means.folder) for name in Copies._fields))


def ranges(documents: int, memory: int) -> int:
    """How many leading bits of a key number its range, so that each fits into the memory."""
    parts = -(-documents * _BYTES_PER_KEY // max(memory, 1))
    return min(max(parts - 1, 0).bit_length(), _MOST_BITS)


def _joined(name: str, done: list[Task], folder: Path) -> Any:
    """The arrays of all ranges as one, on disk."""
    parts = [np.load(Path(task["folder"]) / f"{name}.npy", mmap_mode="r") for task in done]
    length = sum(map(len, parts))
    if not length or len(parts) == 1:
        return np.ascontiguousarray(parts[0])
    shape = (length, *parts[0].shape[1:])
    path = folder / f"all-{name}.npy"
    out = on_disk(path, parts[0].dtype, shape)
    end = 0
    for part in parts:
        start, end = end, end + len(part)
        out[start:end] = part
    return out


def verdicts(
    found: Copies, surveys: list[Path], gone: list[Mask], names: Names
) -> Iterator[pa.Table]:
    """One table per shard."""
    reasons = pa.array([names.reason, names.known])
    for survey, away in zip(surveys, gone, strict=True):
        table = pq.read_table(survey, columns=[KEY, ID]).combine_chunks()
        there = ~away
        keys, ids = (_chunk(table.column(name)) for name in (KEY, ID))
        places = np.full(len(there), -1, np.int64)
        rows = np.flatnonzero(there & keys.is_valid().to_numpy(zero_copy_only=False))
        if len(rows):
            places[rows] = find(fixed_width(keys, "<u8", 2)[rows], found.keys)
        copied = places >= 0
        counts = np.ones(len(there), np.int64)
        counts[copied] = found.counts[places[copied]]
        kept = np.zeros((len(there), 2), ">u8")
        kept[copied] = found.ids[places[copied]]
        own = fixed_width(ids, ">u8", 2) if len(there) else kept
        dropped = copied & (kept != own).any(axis=1)
        known = np.zeros(len(there), np.int64)
        known[copied] = found.preferences[places[copied]] == KNOWN
        yield pa.table(
            {
                DROPPED_BY: reasons.take(pa.array(known, mask=~dropped)),
                DUPLICATE_OF: binaries(kept.view(np.uint8), dropped),
                VALUE: only(counts, dropped, pa.float64()),
                BOUND: only(np.ones(len(there)), dropped, pa.float64()),
                names.column: only(counts, there & ~dropped, pa.int64()),
            }
        )


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
