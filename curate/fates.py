"""What another recipe does with every document of a run: keep it, drop it, or nobody knows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from curate.column import Mask, Numbers, Positions
from curate.ledger import StageLedger
from curate.recipe import Recipe
from curate.stored import NONE, Codes, StageFacts, Stored


class Missing(NamedTuple):
    """What would have to be known to decide, and why it is not."""

    stage: int  # of the other recipe
    what: str  # a signal, or a stage
    why: str
    advice: str


# From the places of some rows in a part to their reasons (codes), values, bounds and whether they
# are quarantined.
Verdicts = Callable[[Positions], tuple[Any, Any, Any, Any]]


class Fates:
    """What the other recipe does with every document, as far as that is known."""

    def __init__(self, reasons: list[str], count: int) -> None:
        self.reasons = {reason: code for code, reason in enumerate(reasons)}
        self.missing: dict[Missing, int] = {}
        self.stage: Codes = np.full(count, NONE, np.int32)  # that drops it
        self.reason: Codes = np.full(count, NONE, np.int32)
        self.value: Numbers = np.full(count, np.nan)
        self.bound: Numbers = np.full(count, np.nan)
        self.quarantined: Mask = np.zeros(count, np.bool_)
        # The first thing that is not known of it. One that a later stage drops for certain is
        # dropped; only for which reason is open.
        self.unknown: Codes = np.full(count, NONE, np.int32)

    @property
    def kept(self) -> Mask:
        """Which documents are kept for certain."""
        mask: Mask = (self.stage == NONE) & (self.unknown == NONE)
        return mask

    @property
    def undecided(self) -> Mask:
        """Of which documents it is not known whether they are kept."""
        mask: Mask = (self.stage == NONE) & (self.unknown != NONE)
        return mask

    def code(self, reason: str) -> int:
        """The code of a reason."""
        return self.reasons.setdefault(reason, len(self.reasons))

    def left(self, rows: slice) -> Mask:
        """Which of these documents nothing has dropped so far."""
        mask: Mask = self.stage[rows] == NONE
        return mask

    def drop(self, rows: slice, broken: Mask, stage: int, verdicts: Verdicts) -> None:
        """Enter what is said of the rows of a part; of those only that are broken and left."""
        own = np.flatnonzero(broken & self.left(rows))
        if len(own):
            places = own + rows.start
            self.stage[places] = stage
            for entered, said in zip(self._entered(), verdicts(own), strict=True):
                entered[places] = said

    def _entered(self) -> tuple[Any, ...]:
        return self.reason, self.value, self.bound, self.quarantined

    def doubt(self, rows: slice, unknown: Mask, missing: Missing) -> None:
        """Note what is missing for those of which nothing was missing yet."""
        first = unknown & self.left(rows) & (self.unknown[rows] == NONE)
        if first.any():
            code = self.missing.setdefault(missing, len(self.missing))
            self.unknown[rows][first] = code

    def restore(self, places: Any, missing: Missing) -> None:
        """Take back the verdict on these documents: it depends on what is missing."""
        self.stage[places], self.reason[places] = NONE, NONE
        self.value[places], self.bound[places] = np.nan, np.nan
        code = self.missing.setdefault(missing, len(self.missing))
        self.unknown[places] = np.where(self.unknown[places] == NONE, code, self.unknown[places])


@dataclass
class Row:
    """One stage of both funnels; None where a recipe does not have it."""

    stage: str
    first: StageLedger | None
    entered: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    undecided: int = 0

    @property
    def first_reasons(self) -> dict[str, int]:
        """Documents that the first run dropped or quarantined here, by reason."""
        books = (self.first.dropped, self.first.quarantined) if self.first else ()
        return {reason: count.documents for book in books for reason, count in book.items()}

    @property
    def left(self) -> int | None:
        """How many documents go on."""
        if self.entered is None:
            return None
        return self.entered - sum(self.reasons.values()) - self.undecided


@dataclass
class Decision:
    """The fates of all documents of a run under another recipe."""

    run: Stored
    recipe: Recipe
    stages: list[StageFacts]
    fates: Fates
    notes: list[str] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)  # columns with other numbers in a real run

    def missing(self) -> list[tuple[Missing, int]]:
        """What is missing, and how many documents are undecided for it; the most first."""
        unknown = self.fates.unknown[self.fates.undecided]
        counts = np.bincount(unknown, minlength=len(self.fates.missing)).tolist()
        found = [entry for entry in zip(self.fates.missing, counts, strict=True) if entry[1]]
        return sorted(found, key=lambda entry: -entry[1])

    def uncertain_reasons(self) -> int:
        """Documents that are dropped for certain, but perhaps by an earlier stage or signal."""
        return int(((self.fates.stage != NONE) & (self.fates.unknown != NONE)).sum())

    def funnel(self) -> list[Row]:
        """Both funnels side by side, the other recipe's stages in order."""
        before = {
            entry["name"]: StageLedger.from_json(entry) for entry in self.run.ledger["stages"]
        }
        rows, passed = [], 0
        names = list(before)
        counts = self._counts()
        left = self.run.count
        for index, stage in enumerate(self.stages):
            if stage.name in names[passed:]:
                place = names.index(stage.name, passed)
                rows += [Row(name, before[name]) for name in names[passed:place]]
                passed = place + 1
                first = before[stage.name]
            else:
                first = None
            row = Row(stage.name, first, left, *counts[index])
            left = row.left or 0
            rows.append(row)
        return rows + [Row(name, before[name]) for name in names[passed:]]

    def _counts(self) -> list[tuple[dict[str, int], int]]:
        fates, stages = self.fates, len(self.stages)
        names = list(fates.reasons)
        gone = fates.stage != NONE
        pairs = fates.stage[gone].astype(np.int64) * max(1, len(names)) + fates.reason[gone]
        table = np.bincount(pairs, minlength=stages * len(names)).reshape(stages, -1)
        places = np.array([missing.stage for missing in fates.missing], np.int64)
        undecided = np.bincount(places[fates.unknown[fates.undecided]], minlength=stages)
        return [
            ({name: count for name, count in zip(names, row, strict=True) if count}, number)
            for row, number in zip(table.tolist(), undecided.tolist(), strict=True)
        ]
