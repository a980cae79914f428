"""What each rule of a filter does: alone, as the first reason, and as the only one."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.bounds import Bounds, table
from curate.column import Mask, Numbers, Positions
from curate.errors import RecipeError
from curate.report.facts import Effect, SignalFacts
from curate.schema import DROPPED_BY, LANGUAGE

STAGE = "stage"
BYTES = "bytes"


def signals_of(recipe: dict[str, Any]) -> list[SignalFacts]:
    """The signals of a resolved recipe, with the bounds that they had."""
    return [
        _facts(stage["name"], signal)
        for stage in recipe["stages"]
        for signal in stage.get("signals", [])
    ]


def _facts(stage: str, signal: dict[str, Any]) -> SignalFacts:
    low, high = bounds_of(signal, None)
    facts = SignalFacts(
        name=signal["name"],
        stage=stage,
        about=signal.get("about", ""),
        source=signal.get("source", ""),
        low=low,
        high=high,
    )
    told = signal.get("by_language")
    if told is None:
        return facts
    by_language = _bounds(signal)
    return replace(facts, table=str(told["table"]), by_language=by_language)


def bounds_of(signal: dict[str, Any], language: str | None) -> tuple[float, float]:
    """The bounds that a signal of a resolved recipe has for a document in this language."""
    by_language = _bounds(signal)
    if language and by_language and language in by_language.pairs:
        return by_language.pairs[language]
    low, high = signal.get("low"), signal.get("high")
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _bounds(signal: dict[str, Any]) -> Bounds | None:
    """The table of bounds that a signal had; None where there is none, or it is another one now."""
    told = signal.get("by_language")
    if told is None:
        return None
    try:
        bounds = table(told["table"]).get(signal["name"])
    except RecipeError:
        return None
    return bounds if bounds and bounds.digest == told["sha256"] else None


class Rules:
    """The signals of one filter, and the documents that they judged."""

    def __init__(self, stage: str, signals: list[SignalFacts], after: frozenset[str]) -> None:
        self.stage = stage
        self.signals = signals
        self._after = after  # stages behind this one

    def add(self, rows: pa.Table, kept: bool) -> None:
        """Count the documents of one row group."""
        there = [signal for signal in self.signals if signal.name in rows.column_names]
        if not there or not rows.num_rows:
            return
        if kept:
            for signal in there:
                _measure(signal, rows)
                signal.kept.add(numbers(rows.column(signal.name)))
            return
        stages = rows.column(STAGE)
        self._judge(there, rows.filter(pc.equal(stages, self.stage)))
        later = rows.filter(pc.is_in(stages, value_set=pa.array(self._after, pa.string())))
        for signal in there:
            _measure(signal, later)
            signal.dropped_later.add(numbers(later.column(signal.name)))

    def _judge(self, signals: list[SignalFacts], rows: pa.Table) -> None:
        """The documents that this filter dropped, and all the rules that each of them broke."""
        sizes = numbers(rows.column(BYTES)).astype(np.int64)
        reasons = rows.column(DROPPED_BY)
        broken = [_measure(signal, rows) for signal in signals]
        count = np.sum(broken, axis=0) if broken else np.zeros(0)
        for signal, mine in zip(signals, broken, strict=True):
            values = numbers(rows.column(signal.name))
            here = pc.fill_null(pc.equal(reasons, signal.name), False).to_numpy()
            signal.dropped_here.add(values[here])
            signal.dropped_beside.add(values[~here])
            only = mine & (count == 1)
            signal.dropped_only.add(values[only])
            for effect, rule in (
                (signal.charged, here),
                (signal.alone, mine),
                (signal.only, only),
            ):
                effect.add(_effect(rule, sizes))


def _effect(rows: Mask, sizes: Positions) -> Effect:
    return Effect(int(rows.sum()), int(sizes[rows].sum()))


def _measure(signal: SignalFacts, rows: pa.Table) -> Mask:
    """Count what is out of bounds, and tell which documents are."""
    values = numbers(rows.column(signal.name))
    measured = pc.is_valid(rows.column(signal.name)).to_numpy()
    low, high = _row_bounds(signal, rows)
    undefined = np.isnan(values) & measured
    signal.undefined += int(undefined.sum())
    signal.below += int((values < low).sum())
    signal.above += int((values > high).sum())
    bounded = np.isfinite(low) | np.isfinite(high)
    broken: Mask = bounded & measured & ~((low <= values) & (values <= high))
    signal.broken += int(broken.sum())
    return broken


def _row_bounds(signal: SignalFacts, rows: pa.Table) -> tuple[Numbers, Numbers]:
    low, high = (np.full(rows.num_rows, one, np.float64) for one in (signal.low, signal.high))
    if signal.by_language is not None and LANGUAGE in rows.column_names:
        signal.by_language.enter(rows.column(LANGUAGE).combine_chunks(), low, high)
    return low, high


def numbers(column: pa.ChunkedArray) -> Numbers:
    """A column as floats; NaN for null."""
    found: Numbers = column.cast(pa.float64()).to_numpy()
    return found
