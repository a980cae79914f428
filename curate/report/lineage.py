"""Which document stays for which, followed through the stages of a run: ids are held, no text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.books import read_recipe
from curate.column import Mask, Positions
from curate.errors import ShardError
from curate.report.rules import STAGE
from curate.schema import ID, URL, VALUE
from curate.store import disk_errors

DUPLICATE_OF = "duplicate_of"
SIMILARITY = "similarity"
SPANS = "spans"  # stretches that were cut out of a document
STAYS, GONE = -1, -2  # of a document that stands for others: stays to the end, dropped otherwise

ROWS = 1 << 16  # of a batch
# URLs of so many documents that stay are held at a time: about a hundred bytes each.
MOST_URLS = 4_000_000
# A chain has a link for each stage that looks for duplicates; doubled, 2**16 of them.
ROUNDS = 16

# Stages whose documents that go equal the one that stays; their VALUE counts copies.
EQUAL = (".Exact",)

PAIRS = pa.schema(
    [
        (ID, pa.binary(16)),
        (URL, pa.string()),
        (DUPLICATE_OF, pa.binary(16)),
        ("duplicate_of_url", pa.string()),
        (STAGE, pa.string()),
        (SIMILARITY, pa.float64()),
        ("final", pa.binary(16)),
    ]
)

Halves = NDArray[np.uint64]


def batches(folder: Path, kind: str, *columns: str) -> Iterator[pa.RecordBatch]:
    """These columns of a run's documents/, dropped/ or cut/; one that is missing is null."""
    for path in _parts(folder, kind):
        with _opened(path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(ROWS, columns=there, use_threads=False):
                yield _filled(batch, columns)


def some(folder: Path, kind: str, ids: pa.Array, *columns: str) -> Iterator[pa.RecordBatch]:
    """These columns of a few documents: of all others only the ids are read."""
    for path in _parts(folder, kind):
        with _opened(path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                known = file.read_row_group(group, columns=[ID], use_threads=False).column(ID)
                mine = pc.is_in(known, value_set=ids)
                if pc.any(mine).as_py():
                    table = file.read_row_group(group, columns=there, use_threads=False)
                    for batch in table.filter(mine).to_batches():
                        yield _filled(batch, columns)


def _parts(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).glob("*.parquet"))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path}: cannot be read: {error}") from error


def _filled(batch: pa.RecordBatch, columns: tuple[str, ...]) -> pa.RecordBatch:
    for name in columns:
        if name not in batch.schema.names:
            kind = pa.binary(16) if name in (ID, DUPLICATE_OF) else pa.null()
            batch = batch.append_column(name, pa.nulls(batch.num_rows, kind))
    return batch


def duplicates(
    folder: Path, *columns: str, ids: pa.Array | None = None
) -> Iterator[pa.RecordBatch]:
    """The documents that another one stays for, or those with these ids, with these columns."""
    names = (DUPLICATE_OF, *columns)
    found = batches(folder, "dropped", *names)
    for batch in found if ids is None else some(folder, "dropped", ids, *names):
        valid = pc.is_valid(batch.column(DUPLICATE_OF))
        if pc.any(valid).as_py():
            yield batch.filter(valid)


class Ids:
    """Different 16-byte ids in their order, and where each of them is."""

    def __init__(self, ids: pa.Array) -> None:
        halves = _halves(ids)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        self._high, self._low = halves[order, 0], halves[order, 1]
        _, runs = np.unique(self._high, return_counts=True)
        self._longest = int(runs.max(initial=0))  # run of ids with one first half

    def __len__(self) -> int:
        return len(self._high)

    def find(self, ids: pa.Array) -> Positions:
        """The places of these ids, -1 for those that are not here."""
        found = np.full(len(ids), STAYS, np.int64)
        if not len(self):
            return found
        high, low = _halves(ids).T
        first = np.searchsorted(self._high, high)
        for step in range(self._longest):
            at = np.minimum(first + step, len(self) - 1)
            same = (self._high[at] == high) & (self._low[at] == low)
            found[same] = at[same]
        return found

    def take(self, places: Positions, null: Mask) -> pa.Array:
        """The ids at these places, null where it says so."""
        rows = np.stack([self._high[places], self._low[places]], axis=1).astype(">u8")
        bitmap = pa.array(~null).buffers()[1]
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(places), [bitmap, pa.py_buffer(rows)]
        )


def _halves(ids: pa.Array) -> Halves:
    if not len(ids):
        return np.empty((0, 2), np.uint64)
    raw = np.frombuffer(ids.buffers()[1], ">u8", 2 * (ids.offset + len(ids))).reshape(-1, 2)
    return raw[ids.offset :].astype(np.uint64)


def standing(folder: Path) -> Ids:
    """The ids of all documents that stand for another one."""
    empty = pa.array([], pa.binary(16))
    known, new, waiting = empty, [empty], 0
    for batch in duplicates(folder):
        new.append(pc.unique(batch.column(DUPLICATE_OF)))
        waiting += len(new[-1])
        if waiting > max(ROWS, len(known)):  # so that each is looked at a few times only
            known, new, waiting = _united([known, *new]), [], 0
    return Ids(_united([known, *new]))


def _united(ids: list[pa.Array]) -> pa.Array:
    return pc.unique(pa.chunked_array(ids, pa.binary(16)))


def equal_stages(folder: Path) -> frozenset[str]:
    """The stages of a run that drop equal texts only."""
    stages = read_recipe(folder / "recipe.json")["stages"]
    return frozenset(one["name"] for one in stages if one.get("kind", "").endswith(EQUAL))


def pairs(folder: Path, *columns: str, ids: pa.Array | None = None) -> Iterator[pa.RecordBatch]:
    """The duplicates as above, or these of them, and how similar each is to the one that stays.

    SIMILARITY is null where a stage says nothing of it, and 1 where it drops equal texts only.
    """
    equal = pa.array(sorted(equal_stages(folder)), pa.string())
    for batch in duplicates(folder, STAGE, VALUE, *columns, ids=ids):
        values = batch.column(VALUE).cast(pa.float64())
        is_share = pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0))
        similar = pc.if_else(is_share, values, pa.scalar(None, pa.float64()))
        same = pc.is_in(batch.column(STAGE), value_set=equal)
        yield batch.append_column(SIMILARITY, pc.if_else(same, 1.0, similar))


def followed(folder: Path, ids: Ids) -> tuple[Positions, Mask]:
    """Of each document that stands for others: the one that does in the end, and if it stays.

    One that no stage of this run has dropped stays, be it in this run or in an earlier one.
    """
    following = np.full(len(ids), STAYS, np.int64)
    for batch in batches(folder, "dropped", ID, DUPLICATE_OF):
        places = ids.find(batch.column(ID))
        here = places >= 0
        of = batch.column(DUPLICATE_OF).filter(pa.array(here))
        other = ids.find(of)
        # Null is a verdict without another document; its bytes say nothing.
        following[places[here]] = np.where(of.is_valid().to_numpy(False), other, GONE)
    final = np.where(following >= 0, following, np.arange(len(ids)))
    for _ in range(ROUNDS):
        final = final[final]
    return final, following[final] == STAYS


def write_pairs(folder: Path, path: Path) -> int:
    """Write every document that went for another one, and that one; returns how many there are.

    `final` is the document that holds the text in the end: null where that was dropped, too, for
    a reason of its own.
    """
    read_recipe(folder / "recipe.json")  # or this is no run
    ids = standing(folder)
    final, stays = followed(folder, ids)
    ends = ids.take(final, ~stays)
    rows = 0
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        with pq.ParquetWriter(temporary, PAIRS, compression="zstd") as writer:
            for start in range(0, len(ids), MOST_URLS):
                part = range(start, min(start + MOST_URLS, len(ids)))
                urls = _urls(folder, ids, part)
                for batch in pairs(folder, ID, URL):
                    places = ids.find(batch.column(DUPLICATE_OF))
                    table = _lines(batch, places, part, urls, ends)
                    writer.write_table(table)
                    rows += table.num_rows
        temporary.replace(path)
    return rows


def _lines(
    batch: pa.RecordBatch, places: Positions, part: range, urls: pa.Array, ends: pa.Array
) -> pa.Table:
    """The rows of those documents whose other one is in this part."""
    mine = (places >= part.start) & (places < part.stop)
    batch, places = batch.filter(pa.array(mine)), places[mine]
    columns = {name: batch.column(name) for name in batch.schema.names}
    columns[URL] = columns[URL].cast(pa.string())
    columns["duplicate_of_url"] = urls.take(pa.array(places - part.start))
    columns["final"] = ends.take(pa.array(places))
    return pa.table({name: columns[name] for name in PAIRS.names}, PAIRS)


def _urls(folder: Path, ids: Ids, part: range) -> pa.Array:
    """The URLs of these documents that stay, null where none is known."""
    found: list[tuple[Positions, Any]] = []
    for kind in ("documents", "dropped"):
        for batch in batches(folder, kind, ID, URL):
            places = ids.find(batch.column(ID)) - part.start
            mine = (places >= 0) & (places < len(part))
            if mine.any():
                urls = batch.column(URL).cast(pa.string()).filter(pa.array(mine))
                found.append((places[mine], urls))
    order = np.full(len(part), STAYS, np.int64)
    if found:
        places = np.concatenate([place for place, _ in found])
        order[places] = np.arange(len(places))
    urls = pa.chunked_array([url for _, url in found], pa.string()).combine_chunks()
    return urls.take(pa.array(order, mask=order == STAYS))
