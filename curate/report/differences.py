"""Two funnels side by side, and two runs' verdicts against each other, for a terminal."""

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from curate.compare import KEPT, UNDECIDED, Comparison
from curate.fates import Decision, Row
from curate.report.charts import short
from curate.report.facts import Sample
from curate.report.page import shown
from curate.report.terminal import plain

MOST_REASONS = 24
MOST_MISSING = 12
QUOTED = 240


def decided(decision: Decision) -> RenderableType:
    """The other recipe's funnel next to the first run's, and what is missing to decide the rest."""
    rows = decision.funnel()
    parts: list[RenderableType] = [_headline(decision), Text(), _funnels(rows), Text()]
    parts.append(_reasons(rows))
    if decision.fates.undecided.any():
        parts += [Text(), _missing(decision)]
    notes = list(decision.notes)
    open_reasons = decision.uncertain_reasons()
    if open_reasons:
        notes.append(
            f"{open_reasons:,} documents are dropped for certain, but perhaps for an earlier "
            "reason than the one they are counted under"
        )
    parts += [Text(f"\n{shown(note)}", "dim") for note in notes]
    return Group(*parts)


def _headline(decision: Decision) -> Text:
    fates, before = decision.fates, int(decision.run.kept.sum())
    kept, undecided = int(fates.kept.sum()), int(fates.undecided.sum())
    text = Text(f"{decision.run.count:,} documents, none read: ")
    text.append(f"{shown(decision.run.recipe['name'])} kept {before:,}, ")
    text.append(f"{shown(decision.recipe.name)} keeps ")
    text.append(f"{kept:,}", "bold green")
    text.append(f" ({kept - before:+,})")
    if undecided:
        text.append(f", {undecided:,} undecided, need a run", "yellow")
    return text


def _funnels(rows: list[Row]) -> Table:
    table = Table("step", box=None, header_style="bold", pad_edge=False)
    for name in ("first in", "dropped", "left", "now in", "dropped", "undecided", "left"):
        table.add_column(name, justify="right")
    for row in rows:
        before = ("", "", "")
        if row.first:
            gone = sum(row.first_reasons.values())
            before = (
                _count(row.first.entered.documents),
                _some(gone),
                _count(row.first.kept.documents),
            )
        after = ["", "", "", ""]
        if row.entered is not None:
            gone = sum(row.reasons.values())
            after = [_count(row.entered), _some(gone), _some(row.undecided), _count(row.left or 0)]
        table.add_row(plain(row.stage), *before, *after)
    return table


def _count(number: int) -> str:
    return f"{number:,}"


def _some(number: int) -> str:
    return f"{number:,}" if number else ""


def _reasons(rows: list[Row]) -> Table:
    table = Table("reason", "step", box=None, header_style="bold", pad_edge=False)
    for name in ("first run", "now", "difference"):
        table.add_column(name, justify="right")
    entries = [
        (reason, row.stage, row.first_reasons.get(reason, 0), row.reasons.get(reason, 0))
        for row in rows
        for reason in dict.fromkeys([*row.first_reasons, *row.reasons])
    ]
    entries.sort(key=lambda entry: (-abs(entry[3] - entry[2]), -max(entry[2:])))
    for reason, stage, first, now in entries[:MOST_REASONS]:
        style = "" if first == now else "red" if now > first else "green"
        difference = Text(f"{now - first:+,}" if now != first else "", style)
        table.add_row(plain(reason), plain(stage), _some(first), _some(now), difference)
    if len(entries) > MOST_REASONS:
        table.add_row(f"{len(entries) - MOST_REASONS} more", "", "", "", "")
    return table


def _missing(decision: Decision) -> Table:
    table = Table("undecided for want of", box=None, header_style="bold", pad_edge=False)
    table.add_column("documents", justify="right")
    for name in ("because", "to know it"):
        table.add_column(name, overflow="fold")
    entries = decision.missing()
    for missing, count in entries[:MOST_MISSING]:
        table.add_row(plain(missing.what), f"{count:,}", plain(missing.why), plain(missing.advice))
    if len(entries) > MOST_MISSING:
        rest = sum(count for _, count in entries[MOST_MISSING:])
        table.add_row(f"{len(entries) - MOST_MISSING} more", f"{rest:,}", "", "")
    return table


def compared(comparison: Comparison) -> RenderableType:
    """How far two sides agree, who drops what the other keeps, and samples of that."""
    parts: list[RenderableType] = [_agreement(comparison), Text(), _matrix(comparison)]
    first, second = comparison.names
    for dropper, keeper, is_first in ((first, second, True), (second, first, False)):
        reasons = comparison.disputed(is_first)
        if reasons:
            parts += [Text(), _disputed(dropper, keeper, reasons)]
            parts += [_quoted(sample) for sample in comparison.samples.get(dropper, [])]
    return Group(*parts)


def _agreement(comparison: Comparison) -> Text:
    text = Text(f"{comparison.documents:,} documents in both")
    for name, number in zip(comparison.names, comparison.alone, strict=True):
        if number:
            text.append(f", {number:,} only in {shown(name)}", "yellow")
    if comparison.decided:
        text.append(f": the same verdict on {comparison.agreement:.2%}", "bold")
        text.append(f" of the {comparison.decided:,} that both decide")
        if not math.isnan(comparison.kappa):
            text.append(f", Cohen's kappa {comparison.kappa:.3f}")
    return text


def _matrix(comparison: Comparison) -> Table:
    first, second = (shown(name) for name in comparison.names)
    table = Table("", box=None, header_style="bold", pad_edge=False)
    outcomes = (KEPT, "dropped", UNDECIDED)
    for outcome in outcomes:
        table.add_column(f"{second}: {outcome}", justify="right")
    for outcome in outcomes:
        counts = [comparison.count(outcome, its) for its in outcomes]
        if any(counts) or outcome != UNDECIDED:
            table.add_row(f"{first}: {outcome}", *map(_some, counts))
    return table


def _disputed(dropper: str, keeper: str, reasons: list[tuple[str, int]]) -> Table:
    title = f"{shown(dropper)} drops, {shown(keeper)} keeps"
    table = Table(title, box=None, header_style="bold", pad_edge=False)
    table.add_column("documents", justify="right")
    for reason, count in reasons[:MOST_REASONS]:
        table.add_row(Text(shown(reason), "red"), f"{count:,}")
    if len(reasons) > MOST_REASONS:
        rest = sum(count for _, count in reasons[MOST_REASONS:])
        table.add_row(f"{len(reasons) - MOST_REASONS} more", f"{rest:,}")
    return table


def _quoted(sample: Sample) -> Text:
    text = Text("\n")
    text.append(f"{shown(sample.reason)} ", "red")
    text.append(
        f"{short(sample.value)}, bound {short(sample.bound)}  {shown(sample.place)}\n", "dim"
    )
    text.append(shown(" ".join(sample.text.split()))[:QUOTED])
    return text
