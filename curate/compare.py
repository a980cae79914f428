"""Two runs on the same input, or a run and a decision: where their verdicts differ."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.column import Mask, Numbers, Positions
from curate.decided import COLUMNS, SUMMARY, VERDICTS, read_summary
from curate.errors import InputError, ShardError
from curate.report.collect import EXCERPT, NOT_SHOWN, sample_of
from curate.report.facts import Sample
from curate.stored import NONE, Codes, Stored, coded, stored

KEPT, UNDECIDED = "kept", "undecided"


@dataclass(frozen=True)
class Side:
    """One of the two: the verdict on every document."""

    name: str
    folder: Path
    run: Stored | None  # None: a decision, which has no text
    outcomes: list[str]  # kept, undecided, and the reasons
    outcome: Codes
    ids: pa.Array
    value: Numbers
    bound: Numbers
    rows: Positions  # of the run

    def is_kept(self) -> Mask:
        """Which documents it keeps."""
        mask: Mask = self.outcome == 0
        return mask

    def is_dropped(self) -> Mask:
        """Which documents it drops, for whatever reason."""
        mask: Mask = self.outcome > 1
        return mask

    def taken(self, rows: Positions) -> "Side":
        """These documents, in this order."""
        return replace(
            self,
            outcome=self.outcome[rows],
            ids=self.ids.take(pa.array(rows)),
            value=self.value[rows],
            bound=self.bound[rows],
            rows=self.rows[rows],
        )


@dataclass(frozen=True)
class Pair:
    """So many documents had this outcome on one side and that on the other."""

    first: str
    second: str
    documents: int


@dataclass
class Comparison:
    """How two sides agree on the documents that both have."""

    names: tuple[str, str]
    documents: int
    alone: tuple[int, int]  # documents that only one side has
    pairs: list[Pair]  # most first
    # By the name of the side that drops them while the other keeps them.
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def count(self, first: str, second: str) -> int:
        """Documents with these outcomes: kept, undecided, or dropped for whatever reason."""

        def is_one(outcome: str, wanted: str) -> bool:
            return outcome == wanted or (wanted == "dropped" and outcome not in (KEPT, UNDECIDED))

        return sum(
            pair.documents
            for pair in self.pairs
            if is_one(pair.first, first) and is_one(pair.second, second)
        )

    def disputed(self, is_first: bool) -> list[tuple[str, int]]:
        """The reasons for which the first (or the second) drops what the other keeps."""
        sides = [(pair.first, pair.second, pair.documents) for pair in self.pairs]
        if not is_first:
            sides = [(second, first, documents) for first, second, documents in sides]
        return [
            (reason, documents)
            for reason, other, documents in sides
            if other == KEPT and reason not in (KEPT, UNDECIDED)
        ]

    @property
    def decided(self) -> int:
        """Documents that both sides either keep or drop."""
        return sum(self.count(a, b) for a in (KEPT, "dropped") for b in (KEPT, "dropped"))

    @property
    def agreement(self) -> float:
        """The share of the decided documents that both keep or both drop; NaN without any."""
        same = self.count(KEPT, KEPT) + self.count("dropped", "dropped")
        return same / self.decided if self.decided else float("nan")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what chance would give; NaN where it is not defined."""
        total = self.decided
        if not total:
            return float("nan")
        both, first, second = (
            self.count(KEPT, KEPT),
            self.count(KEPT, "dropped"),
            self.count("dropped", KEPT),
        )
        kept = (both + first) / total, (both + second) / total
        chance = kept[0] * kept[1] + (1 - kept[0]) * (1 - kept[1])
        return (self.agreement - chance) / (1 - chance) if chance < 1 else float("nan")


def compare(first: Path, second: Path, samples: int = 3) -> Comparison:
    """The verdicts of two folders on the documents that both have, joined by id."""
    sides = side(first), side(second)
    where = pc.index_in(sides[0].ids, value_set=sides[1].ids)
    found = pc.is_valid(where).to_numpy(zero_copy_only=False)
    common = int(found.sum())
    if not common:
        raise InputError(
            f"{first} and {second} have no document in common; give two runs on the same input"
        )
    rows = np.flatnonzero(found)
    others = pc.drop_null(where).to_numpy().astype(np.int64)
    alone = len(sides[0].ids) - common, len(sides[1].ids) - common
    sides = sides[0].taken(rows), sides[1].taken(others)
    result = Comparison(_names(sides), common, alone, _pairs(*sides))
    if samples:
        for name, one, other in zip(result.names, sides, reversed(sides), strict=True):
            result.samples[name] = _samples(one, other, samples)
    return result


def side(folder: Path) -> Side:
    """A finished run, or what `curate decide --output` wrote."""
    if (folder / SUMMARY).exists():
        return _decision(folder)
    run = stored(folder)
    outcome = np.where(run.reason == NONE, 0, run.reason + 2).astype(np.int32)
    return Side(
        name=run.recipe["name"],
        folder=folder,
        run=run,
        outcomes=[KEPT, UNDECIDED, *run.reasons],
        outcome=outcome,
        ids=run.ids().combine_chunks(),
        value=run.value,
        bound=run.bound,
        rows=np.arange(run.count),
    )


def _decision(folder: Path) -> Side:
    path = folder / VERDICTS
    name = read_summary(folder / SUMMARY)["recipe"]
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path}: cannot be read: {error}") from error
    if not set(COLUMNS.names) <= set(table.column_names):
        raise ShardError(f"{path}: not the verdicts of a decision: columns missing")
    known = {KEPT: 0, UNDECIDED: 1}
    outcome = coded(table.column("after"), known)
    missing = pc.is_valid(table.column("missing")).to_numpy()
    return Side(
        name=name,
        folder=folder,
        run=None,
        outcomes=list(known),
        outcome=np.where(outcome == NONE, missing, outcome).astype(np.int32),
        ids=table.column(schema.ID).combine_chunks(),
        value=table.column(schema.VALUE).to_numpy(),
        bound=table.column(schema.BOUND).to_numpy(),
        rows=np.arange(table.num_rows),
    )


def _names(sides: tuple[Side, Side]) -> tuple[str, str]:
    """Two names that differ."""
    first, second = (one.name for one in sides)
    if first != second:
        return first, second
    folders = [one.folder.resolve().name for one in sides]
    if folders[0] == folders[1]:
        return f"{first} (first)", f"{second} (second)"
    return f"{first} ({folders[0]})", f"{second} ({folders[1]})"


def _pairs(first: Side, second: Side) -> list[Pair]:
    width = len(second.outcomes)
    both = first.outcome.astype(np.int64) * width + second.outcome
    codes, counts = np.unique(both, return_counts=True)
    pairs = [
        Pair(first.outcomes[code // width], second.outcomes[code % width], count)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-pair.documents, pair.first, pair.second))


# Samples


class _Texts(NamedTuple):
    """Where the text of a document is kept, and of which documents one is."""

    run: Stored
    rows: Positions
    column: str
    there: Mask


def _samples(one: Side, other: Side, count: int) -> list[Sample]:
    """Of what this side drops and the other keeps, a few for each reason.

    The smallest ids, which are hashes, of those of which a text is kept somewhere.
    """
    texts = _texts(one, other)
    if texts is None:
        return []
    disputed = one.is_dropped() & other.is_kept() & texts.there
    samples = []
    for code in np.unique(one.outcome[disputed]).tolist():
        if one.outcomes[code].startswith(NOT_SHOWN):
            continue
        rows = np.flatnonzero(disputed & (one.outcome == code))
        ids = one.ids.take(pa.array(rows)).cast(pa.binary())
        for place in pc.array_sort_indices(ids)[:count].to_pylist():
            samples.append(_sample(one, texts, int(rows[place])))
    return samples


def _texts(one: Side, other: Side) -> _Texts | None:
    """The documents of a run that keeps them, or the excerpts of one that drops them."""
    if other.run:
        return _Texts(other.run, other.rows, schema.TEXT, np.ones(len(other.rows), np.bool_))
    if one.run is None:
        return None
    there = np.zeros(one.run.count, np.bool_)
    for part in one.run.parts:
        table = part.table(EXCERPT)
        if table.num_columns:
            there[part.rows] = pc.is_valid(table.column(0)).to_numpy()
    return _Texts(one.run, one.rows, EXCERPT, there[one.rows])


def _sample(one: Side, texts: _Texts, row: int) -> Sample:
    place = int(texts.rows[row])
    part = next(part for part in texts.run.parts if part.start <= place < part.end)
    facts = part.row(place - part.start, schema.URL, schema.LANGUAGE, texts.column)
    verdict = {
        schema.ID: one.ids[row].as_py(),
        schema.DROPPED_BY: one.outcomes[one.outcome[row]],
        schema.VALUE: float(one.value[row]),
        schema.BOUND: float(one.bound[row]),
    }
    return sample_of({**facts, **verdict}, texts.column)
