"""What deduplication did: clusters, how similar their documents are, and pairs to look at."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.books import read_ledger
from curate.column import Positions
from curate.report.collect import EXCERPT, FEWEST_OF_A_HOST, NOT_SHOWN, host_of, place
from curate.report.facts import Cluster, Cuts, CutSample, Duplicates, Pair
from curate.report.lineage import (
    DUPLICATE_OF,
    SIMILARITY,
    SPANS,
    Ids,
    batches,
    equal_stages,
    followed,
    pairs,
    some,
    standing,
)
from curate.report.marked import Marked, marked
from curate.report.rules import BYTES, STAGE, numbers
from curate.schema import BOUND, CUT_BY, DROPPED_BY, ID, TEXT, URL
from filters.pii import scrub_text

# As much of a text as the excerpt of a duplicate has.
PAIR_CHARACTERS = 6_000
CUT_CHARACTERS = 400
LARGEST = 10
# Hosts of a cluster are told apart up to here.
MOST_HOSTS = 10_000

COLUMNS = (ID, URL, BOUND, BYTES, EXCERPT)
NEAR, LARGE, RANDOM = "near the bound", "of a large cluster", "by the smallest identity"

Row = dict[str, Any]
Candidate = tuple[float, bytes, Row]


def duplicates_of(folder: Path, samples: int = 3) -> list[Duplicates]:
    """What each stage of a run dropped because another document stays, in the order of stages.

    So many pairs of each kind are quoted for each stage. Without samples there is no text and no
    URL in it.
    """
    ids = standing(folder)
    if not len(ids):
        return []
    reading = _Reading(ids, samples, equal_stages(folder))
    for batch in pairs(folder, *COLUMNS):
        reading.add(batch)
    names = [stage["name"] for stage in read_ledger(folder / "ledger.json")["stages"]]
    told = [reading.stages[name] for name in names if name in reading.stages]
    final, stays = followed(folder, ids)
    for stage in told:
        stage.finish(final, stays)
    _enter_clusters(folder, ids, told, samples)
    _enter_pairs(folder, told, samples)
    return [stage.facts for stage in told]


@dataclass
class _Stage:
    """What has been seen of one stage: for each document that stays how many went for it."""

    facts: Duplicates
    counts: Positions
    bytes: Positions
    near: list[Candidate] = field(default_factory=list)
    random: list[Candidate] = field(default_factory=list)
    large: list[Candidate] = field(default_factory=list)
    largest: list[int] = field(default_factory=list)  # places of those that stand for most

    def finish(self, final: Positions, stays: Any) -> None:
        """Count clusters, and find the largest of them."""
        facts, counts = self.facts, self.counts
        places = np.flatnonzero(counts)
        facts.kept = len(places)
        facts.linked = int((final[places] != places).sum())
        facts.lost = int((~stays[places]).sum())
        facts.sizes.add((counts[places] + 1).astype(np.float64))
        # Places are in the order of ids, which decide between equals.
        order = np.lexsort((-self.bytes[places], -counts[places]))
        self.largest = places[order[:LARGEST]].tolist()
        # Of the others nothing more is asked.
        self.counts, self.bytes = counts[self.largest], self.bytes[self.largest]


@dataclass
class _Reading:
    ids: Ids
    samples: int
    equal: frozenset[str]
    stages: dict[str, _Stage] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the duplicates of one batch."""
        for name in pc.unique(batch.column(STAGE)).to_pylist():
            rows = batch.filter(pc.equal(batch.column(STAGE), name))
            if name not in self.stages:
                counts, sizes = np.zeros((2, len(self.ids)), np.int64)
                self.stages[name] = _Stage(Duplicates(name), counts, sizes)
            stage = self.stages[name]
            facts, places = stage.facts, self.ids.find(rows.column(DUPLICATE_OF))
            np.add.at(stage.counts, places, 1)
            np.add.at(stage.bytes, places, pc.fill_null(rows.column(BYTES), 0).to_numpy())
            facts.documents += rows.num_rows
            facts.bytes += pc.sum(rows.column(BYTES)).as_py() or 0
            if name not in self.equal:
                facts.similarity.add(numbers(rows.column(SIMILARITY).drop_null()))
                bound = pc.max(rows.column(BOUND)).as_py()
                facts.bound = facts.bound if bound is None else bound
            if self.samples:
                self._choose(stage, rows)

    def _choose(self, stage: _Stage, rows: pa.RecordBatch) -> None:
        shown = rows.filter(pc.is_valid(rows.column(EXCERPT))).to_pylist()
        distances = [(_distance(row), row[ID], row) for row in shown]
        known = [entry for entry in distances if not math.isnan(entry[0])]
        known = known if stage.facts.stage not in self.equal else []
        stage.near = _smallest([*stage.near, *known], self.samples)
        anyone = [(0.0, row[ID], row) for row in shown]
        stage.random = _smallest([*stage.random, *anyone], 3 * self.samples)


def _distance(row: Row) -> float:
    """How far a duplicate is from not being one; NaN where nothing is known of it."""
    if row[BOUND] is None or row[SIMILARITY] is None:
        return math.nan
    distance: float = abs(row[SIMILARITY] - row[BOUND])
    return distance


def _smallest(entries: list[Candidate], count: int) -> list[Candidate]:
    return sorted(entries, key=lambda entry: entry[:2])[:count]


def _enter_clusters(folder: Path, ids: Ids, stages: list[_Stage], samples: int) -> None:
    """The largest clusters: a second look at their documents only."""
    found = {stage.facts.stage: [_Members() for _ in stage.largest] for stage in stages}
    for batch in pairs(folder, *COLUMNS):
        places = ids.find(batch.column(DUPLICATE_OF))
        for stage in stages:
            mine = pc.equal(batch.column(STAGE), stage.facts.stage).to_numpy(False)
            for members, at in zip(found[stage.facts.stage], stage.largest, strict=True):
                here = mine & (places == at)
                if here.any():
                    members.add(batch.filter(pa.array(here)))
    wanted = {one for stage in stages for one in _ids_at(ids, stage.largest)}
    kept = _known(folder, wanted)
    for stage in stages:
        identities = _ids_at(ids, stage.largest)
        sizes = zip(stage.counts.tolist(), stage.bytes.tolist(), strict=True)
        for identity, size, members in zip(
            identities, sizes, found[stage.facts.stage], strict=True
        ):
            url = kept.get(identity, {}).get(URL) or ""
            stage.facts.largest.append(members.cluster(identity, url, size, samples))
            if samples and members.shown and len(stage.large) < samples:
                stage.large.append(members.shown)


def _ids_at(ids: Ids, places: list[int]) -> list[bytes]:
    where = np.array(places, np.int64)
    taken: list[bytes] = ids.take(where, np.zeros(len(where), np.bool_)).to_pylist()
    return taken


@dataclass
class _Members:
    """The documents of a cluster that went."""

    hosts: Counter[str] = field(default_factory=Counter)
    shown: Candidate | None = None

    def add(self, rows: pa.RecordBatch) -> None:
        for entry in pc.value_counts(pc.drop_null(host_of(rows.column(URL)))).to_pylist():
            if entry["values"] in self.hosts or len(self.hosts) < MOST_HOSTS:
                self.hosts[entry["values"]] += entry["counts"]
        shown = rows.filter(pc.is_valid(rows.column(EXCERPT))).to_pylist()
        candidates = [(0.0, row[ID], row) for row in shown]
        for smallest in _smallest([*([self.shown] if self.shown else []), *candidates], 1):
            self.shown = smallest

    def cluster(self, identity: bytes, url: str, size: tuple[int, int], samples: int) -> Cluster:
        """The facts about it, the one that stays included."""
        hosts = self.hosts.copy()
        hosts.update(pc.drop_null(host_of(pa.array([url], pa.string()))).to_pylist())
        most, times = min(hosts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
        is_shown = bool(samples) and times >= FEWEST_OF_A_HOST
        return Cluster(
            id=identity.hex(),
            place=place(url) if samples else "",
            size=size[0] + 1,
            bytes=size[1],
            hosts=len(hosts),
            host=scrub_text(most) if is_shown else "",
        )


def _known(folder: Path, wanted: Iterable[bytes], *columns: str) -> dict[bytes, Row]:
    """What a run knows of a few documents, by id."""
    ids = pa.array(sorted(wanted), pa.binary(16))
    names = (ID, URL, STAGE, DROPPED_BY, DUPLICATE_OF, *columns)
    return {
        row[ID]: row
        for kind in ("documents", "dropped")
        for batch in some(folder, kind, ids, *names)
        for row in batch.to_pylist()
    }


def _enter_pairs(folder: Path, stages: list[_Stage], samples: int) -> None:
    """Pairs of each kind, no document twice."""
    chosen = {stage.facts.stage: _chosen(stage, samples) for stage in stages}
    others = _chains(folder, {row[DUPLICATE_OF] for rows in chosen.values() for _, row in rows})
    for stage in stages:
        for why, row in chosen[stage.facts.stage]:
            stage.facts.pairs.append(_pair(why, row, others))


def _chosen(stage: _Stage, samples: int) -> list[tuple[str, Row]]:
    groups = [(NEAR, stage.near), (LARGE, stage.large), (RANDOM, stage.random)]
    taken: dict[bytes, tuple[str, Row]] = {}
    for why, entries in groups:
        rows = [row for _, identity, row in entries if identity not in taken]
        taken |= {row[ID]: (why, row) for row in rows[:samples]}
    return list(taken.values())


def _chains(folder: Path, wanted: Iterable[bytes]) -> dict[bytes, Row]:
    """These documents, and those that stay in the place of any that do not."""
    found: dict[bytes, Row] = {}
    missing = set(wanted)
    while missing:
        new = _known(folder, missing, TEXT, EXCERPT)
        found |= new
        missing = {row[DUPLICATE_OF] for row in new.values() if row[DUPLICATE_OF]} - found.keys()
    return found


def _pair(why: str, row: Row, others: dict[bytes, Row]) -> Pair:
    first = row[DUPLICATE_OF]
    other, fate = others.get(first), ""
    seen = {row[ID]}
    while other and other[DUPLICATE_OF] in others.keys() - seen:
        seen.add(other[ID])
        fate = f"went later, too, by {other[STAGE]}; this is the one that stays in the end"
        other = others[other[DUPLICATE_OF]]
    if other and other[DROPPED_BY]:
        fate = f"was dropped later: {other[DROPPED_BY]}"
    if not other:
        fate = "is none of this run's documents"
    return Pair(
        id=row[ID].hex(),
        place=place(row[URL] or ""),
        chosen=why,
        similarity=math.nan if row[SIMILARITY] is None else row[SIMILARITY],
        of=(other[ID] if other else first).hex(),
        of_place=place(other[URL] or "") if other else "",
        fate=fate,
        texts=_marked(row, other) if other else None,
    )


def _marked(row: Row, other: Row) -> Marked | None:
    """Both texts as far as they may be shown."""
    if (other[DROPPED_BY] or "").startswith(NOT_SHOWN):
        return None
    text = other[TEXT] or other[EXCERPT]
    if text is None:
        return None
    # Scrubbed before it is cut: a cut could hide what makes an address an address.
    scrubbed = scrub_text(text[: 2 * PAIR_CHARACTERS])
    whole = len(text) <= 2 * PAIR_CHARACTERS
    end = PAIR_CHARACTERS if whole else min(PAIR_CHARACTERS, len(scrubbed) // 2)
    is_cut = len(scrubbed) > end or other[TEXT] is None
    mine = scrub_text(row[EXCERPT])[:PAIR_CHARACTERS]
    return marked(mine, scrubbed[:end], row[BYTES] > len(mine.encode()), is_cut)


def cuts_of(folder: Path, samples: int = 3) -> list[Cuts]:
    """What each stage of a run cut out of documents that stay, in the order of stages."""
    told = {
        (stage["name"], reason): Cuts(
            stage=stage["name"],
            reason=reason,
            documents=cut["documents"],
            bytes=cut["bytes"],
            spans=cut[SPANS],
            entered=stage["entered"]["bytes"],
        )
        for stage in read_ledger(folder / "ledger.json")["stages"]
        for reason, cut in stage.get("cut", {}).items()
    }
    if told and samples:
        _enter_cut_samples(folder, told, samples)
    return list(told.values())


def _enter_cut_samples(folder: Path, told: dict[tuple[str, str], Cuts], samples: int) -> None:
    chosen: dict[tuple[str, str], list[Candidate]] = {key: [] for key in told}
    for batch in batches(folder, "cut", ID, URL, STAGE, CUT_BY, BYTES, SPANS, EXCERPT):
        for row in batch.filter(pc.is_valid(batch.column(EXCERPT))).to_pylist():
            key = (row[STAGE], row[CUT_BY])
            if key in chosen and not row[CUT_BY].startswith(NOT_SHOWN):
                chosen[key] = _smallest([*chosen[key], (0.0, row[ID], row)], samples)
    kept = _known(folder, {one for rows in chosen.values() for _, one, _ in rows}, TEXT)
    for key, rows in chosen.items():
        told[key].samples = [_cut_sample(row, kept.get(row[ID], {})) for _, _, row in rows]


def _cut_sample(row: Row, kept: Row) -> CutSample:
    left = scrub_text((kept.get(TEXT) or "")[: 100 * CUT_CHARACTERS])
    return CutSample(
        id=row[ID].hex(),
        place=place(row[URL] or ""),
        bytes=row[BYTES],
        spans=row[SPANS],
        text=scrub_text(row[EXCERPT])[:CUT_CHARACTERS],
        left=left[:CUT_CHARACTERS] + ("…" if len(left) > CUT_CHARACTERS else ""),
    )
