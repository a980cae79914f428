"""Which documents are copies, decided again for those that another recipe leaves.

With the tables of the first run's survey the survey itself decides again. Without them only its
verdicts are there, and what they say of other documents than it compared is less: whoever is gone
may have displaced a document that would displace others.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.column import Mask, Numbers, Positions
from curate.dedup.columns import DUPLICATE_OF
from curate.dedup.contained import PARTS, Contained
from curate.dedup.exact import COPIES, URL_COPIES, Exact, Url
from curate.dedup.minhash import CLUSTER, MinHash
from curate.fates import Decision, Missing
from curate.sketches import KEPT, Sketches, sketches
from curate.stored import NONE, Codes, coded
from curate.survey import decided

COUNTS = {Exact: COPIES, Url: URL_COPIES, MinHash: CLUSTER, Contained: PARTS}

OPEN = "which other documents reach it is not known"
GONE = "documents that it compared in the first run are gone, or may be"


def copies(decision: Decision, index: int, place: int, survey: Any) -> Mask:
    """Enter what the survey, at this place of the first run, would decide.

    Returns which documents that reach it now were not compared in the first run.
    """
    run, fates = decision.run, decision.fates
    left, compared = fates.stage == NONE, run.reached >= place
    is_changed = bool((left != compared).any() or fates.undecided.any())
    found = sketches(run, place) if is_changed and type(survey) in COUNTS else None
    counts = COUNTS.get(type(survey))
    if is_changed and counts:
        decision.stale.add(counts)
        decision.notes.append(
            f"{decision.stages[index].name}: {counts} is still that of the first run"
        )
    if found is None:
        _from_verdicts(decision, index, place, survey)
    else:
        compared = np.zeros(run.count, np.bool_)
        for rows in found.rows:
            compared[rows] = True
        _from_sketches(decision, index, found, survey, compared)
    newcomers: Mask = left & ~compared
    return newcomers


def _monotone(survey: Any) -> bool:
    """Whether a copy stays one, whatever other documents are added."""
    if isinstance(survey, MinHash):
        return survey.verify == "none"
    return isinstance(survey, Exact | Url)


class _Verdicts(NamedTuple):
    """What a survey says of every document of a run."""

    reason: Codes  # NONE: it stays, or was not asked about
    value: Numbers
    bound: Numbers
    of: Positions  # the document that stays in its place, or itself

    def entered(self, own: Positions) -> tuple[Any, Any, Any, Any]:
        return self.reason[own], self.value[own], self.bound[own], False


# With the survey's tables


def _from_sketches(
    decision: Decision, index: int, found: Sketches, survey: Any, compared: Mask
) -> None:
    """Let the survey decide again, and doubt what depends on documents that may be there or not.

    Only documents that are linked through bands can displace each other, so that a chain of links
    without any doubt in it is decided as a real run would.
    """
    fates, everything = decision.fates, slice(0, decision.run.count)
    left, unsure = fates.stage == NONE, fates.undecided
    newcomers = int((left & ~compared).sum())
    verdicts = _decided(decision, found, survey, left)
    dropped, doubtful = verdicts.reason != NONE, compared & left
    if not newcomers:
        chains = verdicts.of
        if isinstance(survey, MinHash) and survey.verify != "none":
            chains = _decided(decision, found, replace(survey, verify="none"), left).of
        if isinstance(survey, Contained):  # parts are linked otherwise than by who goes for whom
            chains = np.zeros_like(chains)
        doubtful &= np.isin(chains, chains[unsure & compared])
    certain = dropped & ~doubtful
    if _monotone(survey) and doubtful.any():
        certain |= _decided(decision, found, survey, left & ~unsure).reason != NONE
        doubtful &= dropped | (newcomers > 0)  # what stays among more documents, stays among fewer
    fates.doubt(everything, doubtful, _missing(decision, index, newcomers, OPEN))
    fates.drop(everything, certain, index, verdicts.entered)


def _decided(decision: Decision, found: Sketches, survey: Any, there: Mask) -> _Verdicts:
    """What the survey says if these documents are there."""
    count, ids = decision.run.count, decision.run.ids().combine_chunks()
    reason, of = np.full(count, NONE, np.int32), np.arange(count)
    value, bound = np.full(count, np.nan), np.full(count, np.nan)
    texts = [path.with_name(KEPT) for path in found.paths]
    tables = decided(survey, found.paths, [~there[rows] for rows in found.rows], texts)
    for rows, table in zip(found.rows, tables, strict=True):
        reason[rows] = coded(table.column(schema.DROPPED_BY), decision.fates.reasons)
        value[rows], bound[rows] = (
            table.column(c).to_numpy() for c in (schema.VALUE, schema.BOUND)
        )
        of[rows] = _stays_for(table.column(DUPLICATE_OF), ids, rows)
    return _Verdicts(reason, value, bound, of)


def _stays_for(column: pa.ChunkedArray, ids: pa.Array, rows: Positions) -> Positions:
    """The places of the documents with these ids; for null that of the row itself."""
    where = pc.index_in(column.cast(pa.binary(16)), value_set=ids, skip_nulls=True)
    places = pc.fill_null(where.combine_chunks(), NONE).to_numpy().astype(np.int64)
    return np.where(places == NONE, rows, places)


# With its verdicts alone


def _from_verdicts(decision: Decision, index: int, place: int, survey: Any) -> None:
    """Take over the verdicts of the first run that nothing can have changed.

    Of documents that stay in the first run it does not tell which resemble each other: where a copy
    whose original is gone comes back, it may displace any of them.
    """
    run, fates, everything = decision.run, decision.fates, slice(0, decision.run.count)
    left, compared = fates.stage == NONE, run.reached >= place
    newcomers = int((left & ~compared).sum())
    mine = left & compared
    told = _Verdicts(run.reason, run.value, run.bound, _originals(decision, place))
    copied = run.reached == place
    changed = compared & (~left | fates.undecided)
    if not _monotone(survey):
        # A copy displaces nobody: whether it is there makes no difference to the others.
        doubtful = mine & bool(newcomers or (changed & ~copied).any())
        certain = mine & copied & ~doubtful
    elif isinstance(survey, Exact | Url):
        touched = np.isin(told.of, told.of[changed])
        doubtful = mine & (touched & copied | (newcomers > 0))
        certain = mine & copied & ~changed[told.of]
    else:  # one that is gone may have been the link between others
        touched = np.isin(told.of, told.of[changed])
        doubtful = mine & (touched & copied | (newcomers > 0))
        certain = mine & copied & ~touched
    fates.doubt(everything, doubtful, _missing(decision, index, newcomers, GONE))
    fates.drop(everything, certain, index, told.entered)


def _originals(decision: Decision, place: int) -> Positions:
    """For the copies of the first run the documents that stayed, for all others themselves."""
    run = decision.run
    ids, of = run.ids().combine_chunks(), np.arange(run.count)
    for part in run.parts:
        table = part.table(DUPLICATE_OF)
        if part.kept or not table.num_columns:
            continue
        rows = np.arange(part.start, part.end)
        stays = _stays_for(table.column(0), ids, rows)
        of[part.rows] = np.where(run.reached[part.rows] == place, stays, rows)
    return of


def _missing(decision: Decision, index: int, newcomers: int, otherwise: str) -> Missing:
    why = otherwise
    if newcomers:
        why = f"it did not compare {newcomers:,} documents in the first run that reach it now"
    advice = "mend what else is missing" if otherwise == OPEN and not newcomers else ""
    advice = advice or "this needs a run"
    if otherwise == GONE and not newcomers:
        advice = "this needs a run, or the first run's work/, which is not there"
    return Missing(index, decision.stages[index].name, why, advice)
