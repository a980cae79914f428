"""Another recipe's verdicts on the stored numbers of a finished run, without reading its text.

The outcome has three values. A verdict that depends on a number which was never measured is
undecided, and says what is missing: a document that another stage dropped before, a signal that the
first recipe does not have, a text that other stages have rewritten.
"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.column import Mask, Numbers, Positions
from curate.copies import copies
from curate.errors import ModelError, RecipeError
from curate.fates import Decision, Fates, Missing, Verdicts
from curate.filter import Filter
from curate.plan import files_of
from curate.recipe import Recipe, Step
from curate.signal import Signal
from curate.stage import Judge, with_column
from curate.store import file_digest
from curate.stored import (
    NONE,
    Digests,
    Part,
    Reader,
    StageFacts,
    Stored,
    as_json,
    coded,
    occurrences,
)
from curate.stored import stage_facts as facts_of
from curate.survey import decided
from filters.best import Best

Pair = tuple[Any, Any]  # low and high: of every row, or one for all


def decide(run: Stored, recipe: Recipe) -> Decision:
    """What this recipe would have done with the documents of a run."""
    stages = facts_of(as_json(recipe.resolved()), run.models, _files(recipe))
    decision = Decision(run, recipe, stages, Fates(run.reasons, run.count))
    _recorded(decision, 0, None)
    for index, step in enumerate(recipe.steps, start=1):
        if isinstance(step.stage, Filter):
            _filter(decision, index, step.stage.signals)
        elif isinstance(step.stage, Best):
            _best(decision, index, step.stage)
        else:
            _recorded(decision, index, step)
    return decision


def _files(recipe: Recipe) -> dict[int, Digests]:
    """The files that stages would read now; a stage whose files are gone is left out."""
    found: dict[int, Digests] = {}
    for index, step in enumerate(recipe.steps, start=1):
        try:
            files = files_of(step.stage)
        except (ModelError, RecipeError):  # the numbers that it made are still there
            continue
        found[index] = tuple((name, file_digest(files[name])) for name in sorted(files))
    return found


# Filters


def _filter(decision: Decision, index: int, signals: tuple[Signal, ...]) -> None:
    """Compare the stored numbers with the bounds, as the stage itself would."""
    fates, stage = decision.fates, decision.stages[index]
    names = frozenset([schema.LANGUAGE, *(signal.name for signal in signals)])
    for part in decision.run.parts:
        if not fates.left(part.rows).any():
            continue
        reader = Reader(decision.run, part, names)
        for signal in signals:
            if signal.by_language is None and math.isinf(signal.low) and math.isinf(signal.high):
                continue  # only measured
            if signal.by_language is not None and _otherwise_told(decision, index):
                everything = np.ones(part.end - part.start, np.bool_)
                fates.doubt(part.rows, everything, _other_language(index))
                continue
            numbers, known = reader.numbers(signal.name, stage.signals[signal.name], stage.text)
            bounds, told = _bounds(signal, reader, len(known))
            broken = known & told & ~signal.keeps(numbers, bounds)
            verdicts = _broken(signal, numbers, bounds, fates.code(signal.name))
            fates.drop(part.rows, broken, index, verdicts)
            open_ = ~told | ~known & (np.isfinite(bounds[0]) | np.isfinite(bounds[1]))
            for missing, unknown in _why(decision, index, signal.name, part, open_):
                fates.doubt(part.rows, unknown, missing)


def _otherwise_told(decision: Decision, index: int) -> bool:
    """Whether the stored languages may be others than this stage would see."""
    told = {stage.language_after for stage in decision.run.stages} - {""}
    return not told <= {decision.stages[index].language}


def _other_language(index: int) -> Missing:
    why = "in the first run another stage told it, or told it of another text"
    return Missing(index, schema.LANGUAGE, why, "this needs a run")


def _bounds(signal: Signal, reader: Reader, rows: int) -> tuple[Pair, Mask]:
    """The bounds of every row, and for which rows it is known whose language they depend on."""
    told = np.ones(rows, np.bool_)
    if signal.by_language is None:
        # One value for all: arrays of them would double the time of a decision.
        return (np.float64(signal.low), np.float64(signal.high)), told
    if schema.LANGUAGE not in reader.table.column_names:
        return (np.float64(signal.low), np.float64(signal.high)), ~told
    languages = reader.table.column(schema.LANGUAGE).combine_chunks()
    return signal.bounds(languages, rows), pc.is_valid(languages).to_numpy(zero_copy_only=False)


def _broken(signal: Signal, numbers: Numbers, bounds: Pair, code: int) -> Verdicts:
    def verdicts(own: Positions) -> tuple[int, Numbers, Numbers, bool]:
        low, high = (bound[own] if np.ndim(bound) else bound for bound in bounds)
        return code, numbers[own], signal.broken_bound(numbers[own], (low, high)), False

    return verdicts


def _why(
    decision: Decision, index: int, name: str, part: Part, unknown: Mask
) -> Iterator[tuple[Missing, Mask]]:
    """Why a signal has no number for these documents."""
    if not unknown.any():
        return
    stage, first = decision.stages[index], decision.run.stages
    measured = occurrences(first, name)
    usable = [
        place
        for place in measured
        if first[place].signals[name] == stage.signals[name] and first[place].text == stage.text
    ]
    add = f"list {name} in a filter"
    if not measured:
        advice = f"{add} of the first recipe; without bounds it only measures"
        yield Missing(index, name, "the first run did not measure it", advice), unknown
    elif not usable:
        there = ", ".join(first[place].name for place in measured)
        why = f"the first run measured it at {there}: another text, or in another way"
        yield Missing(index, name, why, f"{add} of the first recipe at the same place"), unknown
    else:
        yield from _not_reached(decision, index, name, part, unknown)


def _not_reached(
    decision: Decision, index: int, what: str, part: Part, unknown: Mask
) -> Iterator[tuple[Missing, Mask]]:
    reached = decision.run.reached[part.rows]
    for place in np.unique(reached[unknown]).tolist():
        stages = decision.run.stages
        if place == len(stages):
            yield Missing(index, what, "there is no number of it", ""), unknown & (reached == place)
            continue
        by = stages[place].name
        why = f"the first run dropped these before, at {by}"
        advice = f"move {by} behind it in the first recipe, or widen its bounds"
        yield Missing(index, what, why, advice), unknown & (reached == place)


# Other stages


def _recorded(decision: Decision, index: int, step: Step | None) -> None:
    """Take over the verdicts that the same stage gave in the first run."""
    stage, run = decision.stages[index], decision.run
    same = [place for place, other in enumerate(run.stages) if other.same(stage)]
    earlier = sum(other.same(stage) for other in decision.stages[:index])
    if len(same) <= earlier:
        _otherwise(decision, index, step)
        return
    place = same[earlier]
    if step and step.is_survey:
        new = copies(decision, index, place, step.stage)
    else:
        new = (decision.fates.stage == NONE) & (run.reached < place)
        for part in run.parts:
            rows = part.rows
            told = tuple(one[rows] for one in (run.reason, run.value, run.bound, run.quarantined))
            decision.fates.drop(rows, run.reached[rows] == place, index, _told(*told))
    for part in run.parts:
        for missing, unknown in _not_reached(decision, index, stage.name, part, new[part.rows]):
            decision.fates.doubt(part.rows, unknown, missing)


def _told(*columns: Any) -> Verdicts:
    def verdicts(own: Positions) -> tuple[Any, Any, Any, Any]:
        reason, value, bound, quarantined = (column[own] for column in columns)
        return reason, value, bound, quarantined

    return verdicts


def _otherwise(decision: Decision, index: int, step: Step | None) -> None:
    """A stage that the first run did not have, or had with other settings."""
    stage, first = decision.stages[index], decision.run.stages
    alike = [place for place, other in enumerate(first) if other.kind == stage.kind]
    if step and isinstance(step.stage, Judge):
        has_columns = all(part.has(*step.stage.judged_from) for part in decision.run.parts)
        for place in alike if has_columns else []:
            if _judgeable(first[place], stage, step.stage.judged_by):
                _judge(decision, index, place, step.stage)
                return
    changed = _changed([first[place] for place in alike], stage, step)
    if not alike:
        why = "the first run did not have this stage"
    elif changed:
        why = f"{changed} has changed since the first run"
    elif any(first[place].settings == stage.settings for place in alike):
        why = "in the first run this stage saw another text, or another language of it"
    else:
        why = "the first run had other settings here"
    missing = Missing(index, stage.name, why, "this needs a run")
    everything = slice(0, decision.run.count)
    decision.fates.doubt(everything, decision.fates.left(everything), missing)


def _judgeable(first: StageFacts, stage: StageFacts, judged_by: tuple[str, ...]) -> bool:
    """Whether both stages measure the same on the same text, whatever they make of it."""
    same_text = first.text == stage.text and first.heard == stage.heard
    return same_text and first.files == stage.files and _alike(first, stage, judged_by)


def _alike(first: StageFacts, stage: StageFacts, judged_by: tuple[str, ...]) -> bool:
    mine, its = (
        {key: value for key, value in one.settings.items() if key not in judged_by}
        for one in (first, stage)
    )
    return mine == its


def _changed(alike: list[StageFacts], stage: StageFacts, step: Step | None) -> str:
    """A model or list that is another one now under the same settings; nothing if none is."""
    judged_by = getattr(step.stage, "judged_by", ()) if step else ()
    for first in alike:
        names = sorted({name for name, _ in set(first.files) ^ set(stage.files)})
        if names and _alike(first, stage, judged_by):
            return names[0]
    return ""


def _judge(decision: Decision, index: int, place: int, stage: Judge) -> None:
    """Let the stage judge again by the columns that it wrote in the first run."""
    run, name = decision.run, decision.stages[index].name
    until = _written_again(run.stages, place, stage)
    for part in run.parts:
        rows, reached = part.rows, run.reached[part.rows]
        batch = _batch(part, *stage.judged_from)
        is_there = np.logical_and.reduce([_valid(column) for column in batch.columns])
        known = (reached >= place) & (reached < until)
        _enter(decision.fates, index, part, known & is_there, stage.judge(batch))
        told = tuple(one[rows] for one in (run.reason, run.value, run.bound, run.quarantined))
        decision.fates.drop(rows, ~is_there & (reached == place), index, _told(*told))
        for missing, unknown in _not_reached(decision, index, name, part, reached < place):
            decision.fates.doubt(rows, unknown, missing)
        lost = Missing(index, name, "a later stage of the first run wrote over its numbers", "")
        decision.fates.doubt(rows, reached >= until, lost)


def _written_again(stages: list[StageFacts], place: int, stage: Any) -> int:
    """Which stage behind this one wrote other numbers in its columns; none: beyond all stages."""
    for later in range(place + 1, len(stages)):
        is_same = stages[later].written == stages[place].written
        if not is_same and set(stages[later].columns) & set(stage.judged_from):
            return later
    return len(stages) + 1


def _valid(column: pa.Array) -> Mask:
    mask: Mask = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return mask


def _batch(part: Part, *columns: str) -> schema.Batch:
    table = part.table(*columns).combine_chunks()
    arrays = [column.chunk(0) if table.num_rows else [] for column in table.columns]
    return pa.RecordBatch.from_arrays(
        [pa.array(array, field.type) for array, field in zip(arrays, table.schema, strict=True)],
        schema=table.schema,
    )


def _enter(
    fates: Fates, index: int, part: Part, known: Mask, marked: schema.Batch | pa.Table
) -> None:
    """Enter the verdicts that a stage has written into columns."""
    if schema.DROPPED_BY not in marked.schema.names:
        return

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array([marked.column(name)]).cast(marked.schema.field(name).type)

    reasons = coded(column(schema.DROPPED_BY), fates.reasons)
    value, bound = (column(name).to_numpy() for name in (schema.VALUE, schema.BOUND))
    told = _told(reasons, value, bound, np.zeros(len(reasons), np.bool_))
    fates.drop(part.rows, known & (reasons != NONE), index, told)


# The best share


def _best(decision: Decision, index: int, stage: Best) -> None:
    """Rank the documents again by their stored numbers, if every one of them has its own."""
    run, fates = decision.run, decision.fates
    label = decision.stages[index].name
    open_, unknown = 0, []
    for part in run.parts:
        left = fates.left(part.rows)
        known = _known(decision, index, part, stage.column) & (fates.unknown[part.rows] == NONE)
        if stage.by and not _same_writer(decision, index, stage.by):
            known[:] = False
        unknown.append(left & ~known)
        open_ += int(unknown[-1].sum())
    if open_:
        why = f"it ranks all documents, and of {open_:,} it is not known whether or where"
        everything = slice(0, run.count)
        missing = Missing(
            index, label, why, f"mend what else is missing, or measure {stage.column}"
        )
        fates.doubt(everything, fates.left(everything), missing)
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, part in enumerate(run.parts):
            columns = {schema.ID, stage.column, *([stage.by] if stage.by else [])}
            batch = _batch(part, *sorted(columns))
            for name in columns - set(batch.schema.names):  # none of its documents is left
                batch = with_column(batch, name, pa.nulls(batch.num_rows, pa.float64()))
            paths.append(Path(folder) / f"{number}.parquet")
            pq.write_table(stage.survey(batch), paths[-1])
        gone = [~fates.left(part.rows) for part in run.parts]
        for part, table in zip(run.parts, decided(stage, paths, gone), strict=True):
            _enter(fates, index, part, fates.left(part.rows), table)


def _same_writer(decision: Decision, index: int, column: str) -> bool:
    """Whether all that the first run wrote into a column is what this stage would find there."""
    first = decision.run.stages
    mine = [stage.written for stage in decision.stages[:index] if column in stage.columns]
    its = [stage.written for stage in first if column in stage.columns]
    return set(its) <= set(mine[-1:]) and not occurrences(first, column)


def _known(decision: Decision, index: int, part: Part, column: str) -> Mask:
    """For which documents a column holds what the recipe would find there."""
    if column in decision.stale:
        return np.zeros(part.end - part.start, np.bool_)
    places = occurrences(decision.stages[:index], column)
    reader = Reader(decision.run, part, frozenset([column]))
    if places:
        stage = decision.stages[places[-1]]
        return reader.numbers(column, stage.signals[column], stage.text)[1]
    if column not in reader.table.column_names or not _same_writer(decision, index, column):
        return np.zeros(part.end - part.start, np.bool_)
    mask: Mask = pc.is_valid(reader.table.column(column)).to_numpy()
    return mask
