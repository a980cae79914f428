"""The best share of all documents by a number: "the top 10 %", or CCNet's head, middle and tail.

Wenzek et al. 2019, arXiv:1911.00359, section 3.3, cut each language into thirds by perplexity;
DCLM, arXiv:2406.11794, section 4.4, keeps the best tenth by a classifier's score.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Mask, Numbers, Positions
from curate.dedup.columns import fixed_width, only
from curate.errors import RecipeError
from curate.schema import BOUND, DROPPED_BY, ID, VALUE, Batch
from curate.survey import Means

ABOVE, BELOW, UNDEFINED = "best.above", "best.below", "best.undefined"
# In a survey: the number, turned so that smaller is better, and the group it is ranked in.
SCORE, GROUP = "score", "group"
# A document's place in the ranking: by score and both halves of its id, the smallest first.
Keys = tuple[NDArray[Any], ...]
LEVELS = 3


@dataclass(frozen=True)
class Best:
    """Keeps this share of the documents: the best by a column of numbers, such as a signal's.

    Ranked are the documents that have a number; those without are dropped. `low` is the share
    passed over at the top: head, middle and tail are {share: 0.33}, {low: 0.33, share: 0.33}
    and {low: 0.66, share: 0.34}; a part of a document counts as one. Between equal numbers the
    smaller id is the better. `by` ranks each value of a column apart, such as each language.
    """

    column: str = ""
    share: float = 0.1
    low: float = 0.0
    best: Literal["highest", "lowest"] = "highest"  # lowest: for a perplexity
    by: str | None = None

    leaves_text: ClassVar = True

    def __post_init__(self) -> None:
        if not self.column:
            raise RecipeError("column: none given; name the numbers, such as gopher.word_count")
        if not 0 < self.share <= 1:
            raise RecipeError(f"share: {self.share:g}; write more than 0 and at most 1")
        if not 0 <= self.low < 1 or self.low + self.share > 1 + 1e-9:
            raise RecipeError(f"low: {self.low:g}; write 0 or more, and with share at most 1")

    def survey(self, batch: Batch) -> pa.Table:
        """The number of every document, and its group."""
        scores = _column(batch, self.column)
        if not (pa.types.is_integer(scores.type) or pa.types.is_floating(scores.type)):
            raise RecipeError(f"best.Best: column: {self.column} holds {scores.type}, no numbers")
        scores = scores.cast(pa.float64())
        groups = _column(batch, self.by) if self.by else pa.nulls(batch.num_rows)
        if pa.types.is_nested(groups.type):
            raise RecipeError(f"best.Best: by: {self.by} holds {groups.type}, no single values")
        return pa.table(
            {
                ID: batch.column(ID),
                SCORE: scores if self.best == "lowest" else pc.negate(scores),
                GROUP: groups.cast(pa.string()),
            }
        )

    def decide(self, surveys: list[Path], gone: list[Mask], _: Means) -> Iterator[pa.Table]:
        """All documents are ranked, and those outside of the places to keep go.

        Holds 8 bytes for each document, besides one shard.
        """
        shards = _Shards(surveys, gone, _groups(surveys))
        passed, last = (_edge(shards, share) for share in (self.low, self.low + self.share))
        for shard in shards.each():
            yield self._verdicts(shard, passed, last)

    def _verdicts(self, shard: "_Shard", passed: "_Edge", last: "_Edge") -> pa.Table:
        above = passed.reaches(shard)
        dropped = shard.alive & ~(last.reaches(shard) & ~above)
        reasons = np.where(above, 0, np.where(shard.ranked, 1, 2))
        names = pa.array([ABOVE, BELOW, UNDEFINED])
        turned = 1.0 if self.best == "lowest" else -1.0
        # Of 0 and -0, which are equal, either may be found: the bound is 0.
        bounds = np.where(above, passed.keys[0][shard.groups], last.keys[0][shard.groups])
        return pa.table(
            {
                DROPPED_BY: names.take(pa.array(reasons, mask=~dropped)),
                VALUE: only(turned * shard.scores, dropped, pa.float64()),
                BOUND: only(turned * bounds + 0.0, dropped & ~np.isnan(bounds), pa.float64()),
            }
        )


def places(documents: int, share: float) -> int:
    """How many documents this share is; a part of one counts as one."""
    # 0.1 + 0.2 is a little more than 0.3, which must not add a document.
    return min(documents, math.ceil(share * documents * (1 - 1e-12)))


class _Shard(NamedTuple):
    """The documents of one shard: which are there, their groups and their keys."""

    alive: Mask
    ranked: Mask  # there, and with a score
    groups: Positions
    keys: Keys

    @property
    def scores(self) -> Numbers:
        """The first key; NaN for none."""
        return self.keys[0]


class _Shards(NamedTuple):
    """All shards, read one at a time."""

    surveys: list[Path]
    gone: list[Mask]
    groups: pa.Array  # distinct

    def each(self) -> Iterator[_Shard]:
        for path, gone in zip(self.surveys, self.gone, strict=True):
            table = pq.read_table(path).combine_chunks()
            scores = table.column(SCORE).to_numpy().astype(np.float64)
            groups = pc.index_in(table.column(GROUP), value_set=self.groups)
            ids = np.empty((0, 2), np.uint64)
            if table.num_rows:
                ids = fixed_width(table.column(ID).chunk(0), ">u8", 2).astype(np.uint64)
            ranked = ~gone & ~np.isnan(scores)
            keys = (scores, ids[:, 0], ids[:, 1])
            yield _Shard(~gone, ranked, groups.to_numpy().astype(np.int64), keys)


class _Edge(NamedTuple):
    """For every group the keys of the last of its first so many documents."""

    counts: Positions  # how many; 0: none is within
    keys: Keys

    def reaches(self, shard: _Shard) -> Mask:
        """Which documents are among the first so many of their group."""
        within = np.zeros(len(shard.groups), np.bool_)
        equal = shard.ranked & (self.counts > 0)[shard.groups]
        for mine, edges in zip(shard.keys, self.keys, strict=True):
            edge = edges[shard.groups]
            within |= equal & (mine < edge)
            equal &= mine == edge
        return within | equal


def _column(batch: Batch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        there = ", ".join(batch.schema.names)
        raise RecipeError(f"best.Best: no column {name!r} where it stands; there are {there}")
    return batch.column(name)


def _groups(surveys: list[Path]) -> pa.Array:
    found = [pq.read_table(path, columns=[GROUP]).column(0).unique() for path in surveys]
    return pa.chunked_array(found, pa.string()).unique()


def _edge(shards: _Shards, share: float) -> _Edge:
    """The last document of this share in every group: by score, and by id among equal ones."""
    counts = np.zeros(len(shards.groups), np.int64)
    if not share:
        return _Edge(counts, (np.full(len(counts), np.nan),) * LEVELS)
    found: list[Any] = []
    left = counts
    for level in range(LEVELS):
        keys, sizes = _dealt(shards, found, level)
        if level == 0:
            counts = left = np.array([places(size, share) for size in sizes.tolist()], np.int64)
        edges, left = _cut(keys, sizes, left)
        found.append(edges)
    return _Edge(counts, tuple(found))


def _dealt(shards: _Shards, found: list[Any], level: int) -> tuple[NDArray[Any], Positions]:
    """The keys at a level, group behind group, of the documents that equal what was found."""
    sizes = np.zeros(len(shards.groups), np.int64)
    for shard in shards.each():
        sizes += np.bincount(shard.groups[_equal(shard, found)], minlength=len(sizes))
    keys = np.empty(sizes.sum(), np.uint64 if level else np.float64)
    ends = np.cumsum(sizes) - sizes
    for shard in shards.each():
        equal = _equal(shard, found)
        groups = shard.groups[equal]
        order = np.argsort(groups, kind="stable")
        mine = np.bincount(groups, minlength=len(sizes))
        # Where a group's keys go, less where its first one lies in this shard.
        offsets = ends - (np.cumsum(mine) - mine)
        where = np.arange(len(order)) + np.repeat(offsets, mine)
        keys[where] = shard.keys[level][equal][order]
        ends += mine
    return keys, sizes


def _equal(shard: _Shard, found: list[Any]) -> Mask:
    equal = shard.ranked.copy()
    for mine, edges in zip(shard.keys, found, strict=False):  # those that were found so far
        equal &= mine == edges[shard.groups]
    return equal


def _cut(keys: NDArray[Any], sizes: Positions, counts: Positions) -> tuple[NDArray[Any], Positions]:
    """In every group the key at this place, and how many that equal it are within."""
    nothing = np.nan if keys.dtype == np.float64 else 0
    edges = np.full(len(sizes), nothing, keys.dtype)
    left = np.zeros(len(sizes), np.int64)
    for group, (end, size) in enumerate(zip(np.cumsum(sizes), sizes.tolist(), strict=True)):
        mine, count = keys[end - size : end], int(counts[group])
        if count:
            mine.partition(count - 1)
            edges[group] = mine[count - 1]
            left[group] = count - int((mine[:count] < edges[group]).sum())
    return edges, left
