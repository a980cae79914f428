"""From surveys of all shards to verdicts: which documents are alike, and which of them stays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate.column import Hashes, Mask, Numbers, Positions
from curate.kernel import helper
from curate.schema import DROPPED_BY, ID

Places = NDArray[np.int32]  # the bucket of every document in every band, -1 where it is alone
Keep = Literal["longest", "first"]

SIZE = "bytes"  # of the text, in a survey
DUPLICATE_OF = "duplicate_of"  # id of the document that stays

# A bucket offers at most this many documents that stay for comparison. Without a limit a page
# frame that a million pages share, but too little else, would cost its square.
LEADERS = 16

NOWHERE = -1
_CODES = 15  # values of a check that is not empty
_ONES = np.uint64(0x1111111111111111)
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x00FF00FF00FF00FF)
_SUM = np.uint64(0x0001000100010001)
_ONE, _TWO, _FOUR, _EIGHT, _TOP = (np.uint64(i) for i in (1, 2, 4, 8, 48))


@dataclass(frozen=True)
class Rows:
    """The documents that take part: for every shard its survey and the numbers of its rows."""

    surveys: list[Path]
    taking: list[Positions]
    sizes: list[int]

    @classmethod
    def alive(cls, surveys: list[Path], gone: list[Mask]) -> "Rows":
        """All documents that no earlier survey has dropped."""
        return cls(surveys, [np.flatnonzero(~mask) for mask in gone], [len(m) for m in gone])

    def count(self) -> int:
        """How many documents take part."""
        return sum(map(len, self.taking))

    def numbers(self, name: str, dtype: str, width: int = 1) -> NDArray[Any]:
        """A column of fixed width of these documents, one row each."""
        out = np.empty((self.count(), width), dtype)
        end = 0
        for survey, taking in zip(self.surveys, self.taking, strict=True):
            column = pq.read_table(survey, columns=[name]).column(0).combine_chunks()
            start, end = end, end + len(taking)
            if len(taking):
                out[start:end] = fixed_width(column, dtype, width)[taking]
        return out

    def valid(self, name: str) -> Mask:
        """Which of these documents have a value in the column."""
        masks = [np.zeros(0, np.bool_)]
        for survey, taking in zip(self.surveys, self.taking, strict=True):
            column = pq.read_table(survey, columns=[name]).column(0)
            masks.append(column.is_valid().to_numpy()[taking])
        return np.concatenate(masks)

    def some(self, chosen: Mask) -> "Rows":
        """Those of these documents that are chosen."""
        taking, end = [], 0
        for rows in self.taking:
            start, end = end, end + len(rows)
            taking.append(rows[chosen[start:end]])
        return Rows(self.surveys, taking, self.sizes)

    def spread(self, values: pa.Array) -> list[pa.Array]:
        """One array per shard of values of these documents, null for all others."""
        arrays, end = [], 0
        for taking, size in zip(self.taking, self.sizes, strict=True):
            start, end = end, end + len(taking)
            where = np.full(size, NOWHERE, np.int64)
            where[taking] = np.arange(start, end)
            arrays.append(values.take(pa.array(where, mask=where == NOWHERE)))
        return arrays


class Kept(NamedTuple):
    """For every document the one that stays in its place, itself for those that stay."""

    of: Positions
    similarity: Numbers  # to the one that stays

    def dropped(self) -> Mask:
        mask: Mask = self.of != np.arange(len(self.of))
        return mask

    def copies(self) -> Positions:
        """How many documents each document stands for, itself included; 0 for the dropped."""
        return np.bincount(self.of, minlength=len(self.of))


def fixed_width(column: pa.Array, dtype: str, width: int) -> NDArray[Any]:
    """Arrow's own buffer of a column of numbers or of binaries of one width, a row per value."""
    row = np.dtype(dtype).itemsize * width
    raw = np.frombuffer(column.buffers()[1], np.uint8)
    start = column.offset * row
    return raw[start : start + len(column) * row].view(dtype).reshape(len(column), width)


def priority(rows: Rows, keep: Keep) -> Positions:
    """Documents in the order in which they would rather stay; ids decide between equals."""
    ids = rows.numbers(ID, ">u8", 2)
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    if keep == "first":
        return order
    sizes = rows.numbers(SIZE, "i4")[:, 0]
    return order[np.argsort(-sizes[order].astype(np.int64), kind="stable")]


def groups(hashes: Hashes) -> Positions:
    """A number for every distinct hash of two halves."""
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    labels = np.zeros(len(order), np.int64)
    labels[order[1:]] = np.cumsum((hashes[order[1:]] != hashes[order[:-1]]).any(axis=1))
    return labels


def buckets(keys: NDArray[Any]) -> Places:
    """A number for every key that occurs more than once, -1 for the others."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    shared = np.zeros(len(keys), np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    opens = shared.copy()
    opens[1:] &= ~same
    out = np.empty(len(keys), np.int32)
    out[order] = np.where(shared, np.cumsum(opens) - 1, NOWHERE)
    return out


def band_buckets(keys: Hashes) -> Places:
    """The bucket of every document in every band; no two bands share a number."""
    out = np.empty(keys.shape, np.int32)
    first = 0
    for band in range(keys.shape[1]):
        found = buckets(keys[:, band])
        out[:, band] = np.where(found == NOWHERE, NOWHERE, found + first)
        first += int(found.max(initial=NOWHERE)) + 1
    return out


def bucket_count(places: Places) -> int:
    """How many buckets there are in all bands."""
    return int(places.max(initial=NOWHERE)) + 1


def components(places: Places) -> Positions:
    """Documents that share a bucket, or are linked through others that do, have one label."""
    row, band = np.nonzero(places != NOWHERE)
    # One edge from a document to each of its buckets: a bucket of a million costs a million.
    count, nodes = len(places), len(places) + bucket_count(places)
    edges = coo_array(
        (np.ones(len(row), np.bool_), (row, count + places[row, band])), (nodes, nodes)
    )
    labels: Positions = connected_components(edges, directed=False)[1][:count]
    return labels


def first_of_each(labels: Positions, order: Positions) -> Positions:
    """For every document that one of its label which comes first in the order."""
    first = np.empty(labels.max(initial=NOWHERE) + 1, np.int64)
    # Assigned backwards, so that the first of the order is what remains.
    first[labels[order[::-1]]] = order[::-1]
    return first[labels]


class Leaders(NamedTuple):
    """For every bucket a list of the documents that stay, and with whom one was compared last."""

    heads: Positions  # an entry is document * bands + band
    lengths: NDArray[np.int32]
    following: Positions  # the entry behind an entry
    compared: Positions


@helper
def full_nibbles(word: np.uint64) -> np.uint64:
    """One in every nibble that is not zero."""
    word = word | (word >> _TWO)
    return (word | (word >> _ONE)) & _ONES


@helper
def by_byte(ones: np.uint64) -> np.uint64:
    """The sum of both nibbles in every byte."""
    return (ones + (ones >> _FOUR)) & _LOW_NIBBLES


@helper
def sum_of_bytes(word: np.uint64) -> float:
    """The sum of the word's eight bytes."""
    total: np.uint64 = (((word & _BYTES) + ((word >> _EIGHT) & _BYTES)) * _SUM) >> _TOP
    return float(total)


@helper
def similarity(checks: Hashes, left: int, right: int) -> float:
    """The Jaccard similarity of two documents, estimated from their checks."""
    # Sums by byte until the end: 32 words add at most 2 each, and the loop vectorises.
    some, both, different = np.uint64(0), np.uint64(0), np.uint64(0)
    for k in range(checks.shape[1]):
        a, b = checks[left, k], checks[right, k]
        different += by_byte(full_nibbles(a ^ b))
        a, b = full_nibbles(a), full_nibbles(b)
        some += by_byte(a | b)
        both += by_byte(a & b)
    either: float = sum_of_bytes(some)
    equal: float = either - sum_of_bytes(different)
    if equal == 0.0:
        return 0.0
    # Checks of different shingles have the same four bits by chance in one of fifteen cases.
    true: float = (_CODES * equal - sum_of_bytes(both)) / (_CODES - 1)
    return max(true, 0.0) / either


@helper
def similarities(checks: Hashes, others: Positions) -> Numbers:
    """The similarity of every document to its other one."""
    out = np.ones(len(others))
    for i in range(len(others)):
        if others[i] != i:
            out[i] = similarity(checks, i, others[i])
    return out


@helper
def best_leader(
    document: int, places: Places, checks: Hashes, leaders: Leaders
) -> tuple[int, float]:
    """The most similar document among those that stay in this one's buckets, -1 without any."""
    best, found = -1.0, -1
    bands = places.shape[1]
    for band in range(bands):
        bucket = places[document, band]
        entry = leaders.heads[bucket] if bucket >= 0 else -1
        while entry >= 0:
            other = entry // bands
            entry = leaders.following[entry]
            if leaders.compared[other] == document:
                continue
            leaders.compared[other] = document
            score = similarity(checks, document, other)
            if score > best:
                best, found = score, other
    return found, best


@helper
def lead(document: int, places: Places, leaders: Leaders) -> None:
    """Enter a document that stays into the lists of its buckets."""
    bands = places.shape[1]
    for band in range(bands):
        bucket = places[document, band]
        if bucket >= 0 and leaders.lengths[bucket] < LEADERS:
            entry = document * bands + band
            leaders.following[entry] = leaders.heads[bucket]
            leaders.heads[bucket] = entry
            leaders.lengths[bucket] += 1


@helper
def followers(
    order: Positions, places: Places, checks: Hashes, threshold: float, leaders: Leaders
) -> tuple[Positions, Numbers]:
    """In this order, a document goes if one that stays, in a bucket of both, is similar enough."""
    kept = np.arange(len(order))
    scores = np.ones(len(order))
    for document in order:
        other, score = best_leader(document, places, checks, leaders)
        if other >= 0 and score >= threshold:
            kept[document] = other
            scores[document] = score
        else:
            lead(document, places, leaders)
    return kept, scores


def verified(order: Positions, places: Places, checks: Hashes, threshold: float) -> Kept:
    """What stays if every document that goes must resemble the one that stays in its place."""
    size = bucket_count(places)
    leaders = Leaders(
        np.full(size, NOWHERE, np.int64),
        np.zeros(size, np.int32),
        np.full(places.size, NOWHERE, np.int64),
        np.full(len(places), NOWHERE, np.int64),
    )
    return Kept(*followers(order, places, checks, threshold, leaders))


def unverified(order: Positions, places: Places, checks: Hashes) -> Kept:
    """What stays if one document stays of all that are linked through buckets."""
    of = first_of_each(components(places), order)
    return Kept(of, similarities(checks, of))


def verdicts(rows: Rows, kept: Kept, reason: str, columns: dict[str, pa.Array]) -> list[pa.Table]:
    """One table per shard: the verdict, the id of the document that stays, and these columns."""
    dropped = kept.dropped()
    columns = {
        DROPPED_BY: pc.if_else(pa.array(dropped), reason, pa.scalar(None, pa.string())),
        DUPLICATE_OF: binaries(rows.numbers(ID, "u1", 16)[kept.of], dropped),
        **columns,
    }
    spread = {name: rows.spread(column) for name, column in columns.items()}
    return [pa.table({name: spread[name][i] for name in spread}) for i in range(len(rows.sizes))]


def binaries(rows: NDArray[Any], valid: Mask) -> pa.Array:
    """The bytes of each row as a binary of fixed width, null where it is not valid."""
    width = rows.dtype.itemsize * rows.shape[1]
    bitmap = pa.array(valid).buffers()[1]
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(rows), [bitmap, pa.py_buffer(rows)]
    )


def only(values: NDArray[Any], where: Mask, kind: pa.DataType) -> pa.Array:
    """The values as a column that is null elsewhere."""
    return pa.array(values, kind, mask=~where)
