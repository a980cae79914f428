"""The report and a document's journey in short, for a terminal."""

import math
from pathlib import Path

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from curate.progress import line
from curate.report.charts import short
from curate.report.collect import collect
from curate.report.explain import DROPPED, ELSEWHERE, FAULTY, KEPT, Journey, Step, explain
from curate.report.facts import Report
from curate.report.page import shown, size

MOST_REASONS = 12
BAR = 24
STYLES = {KEPT: "green", DROPPED: "red", FAULTY: "magenta"}


def summary(folder: Path) -> RenderableType:
    """The report's funnel and its reasons."""
    report = collect(folder, samples=0)
    return Group(
        _headline(report), Text(), _funnel(report), Text(), _reasons(report), *_cut(report)
    )


def journey(folder: Path, identity: str) -> RenderableType:
    """What happened to one document, step by step."""
    told = explain(folder, identity)
    return Group(_facts(told), Text(), _steps(told), *_places(told), *_alike(told))


def _headline(report: Report) -> Text:
    entered, kept = report.entered.documents, report.kept.documents
    text = Text(f"{size(report.bytes)} read, ")
    text.append(f"{entered:,} documents, ")
    text.append(f"{kept:,} kept", "bold green")
    text.append(f" ({kept / entered:.1%})" if entered else "")
    if report.tokens:
        made, size_of_text = report.tokens["tokens"], report.tokens["bytes"]
        text.append(f", {made:,} tokens")
        text.append(f" of {size_of_text / made:.2f} bytes" if made else "")
    return text


def _funnel(report: Report) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("step", no_wrap=True)
    for name in ("documents", "dropped", "quarantined", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", max_width=BAR)  # where room is short, all bars are made shorter
    widest = max(1, report.entered.documents)
    for name, stage in report.stages:
        dropped, faults = (
            sum(count.documents for count in book.values())
            for book in (stage.dropped, stage.quarantined)
        )
        left = stage.kept.documents / widest
        table.add_row(
            plain(name),
            f"{stage.entered.documents:,}",
            f"{dropped:,}" if dropped else "",
            Text(f"{faults:,}" if faults else "", "magenta"),
            f"{left:.1%}",
            Bar(1.0, 0.0, left, color="green"),
        )
    return table


def _reasons(report: Report) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("reason", no_wrap=True)
    table.add_column("step", overflow="fold")
    table.add_column("documents", justify="right", no_wrap=True)
    table.add_column("of all", justify="right", no_wrap=True)
    whole = max(1, report.entered.documents)
    for reason in report.reasons[:MOST_REASONS]:
        table.add_row(
            Text(shown(reason.name), "magenta" if reason.quarantined else "red"),
            plain(reason.stage),
            f"{reason.count.documents:,}",
            f"{reason.count.documents / whole:.1%}",
        )
    rest = report.reasons[MOST_REASONS:]
    if rest:
        number = sum(reason.count.documents for reason in rest)
        table.add_row(f"{len(rest)} more", "", f"{number:,}", f"{number / whole:.1%}")
    return table


def _cut(report: Report) -> list[RenderableType]:
    """How much each step cut out of documents that stay; nothing where none did."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("cut out of documents", "step"):
        table.add_column(name, no_wrap=True)
    for name in ("documents", "stretches", "bytes", "of the text"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, stage in report.stages:
        for reason, cut in stage.cut.items():
            share = cut.bytes / max(1, stage.entered.bytes)
            counts = (f"{cut.documents:,}", f"{cut.spans:,}", size(cut.bytes), f"{share:.1%}")
            table.add_row(Text(shown(reason), "red"), plain(name), *counts)
    return [Text(), table] if table.row_count else []


def plain(text: object) -> Text:
    """Foreign text as it is: without markup, and with control characters as escapes."""
    return Text(shown(text).replace("\n", "\\n"))


def _facts(told: Journey) -> Group:
    facts = {"id": told.id, **told.facts}
    widest = max(map(len, facts))
    lines = (f"{name:{widest}}  {value}" for name, value in facts.items())
    return Group(*(line(plain(text).plain) for text in lines))


def _steps(told: Journey) -> Table:
    table = Table("step", "what happened", box=None, header_style="bold", pad_edge=False)
    for name in ("number", "bounds"):
        table.add_column(name, justify="right")
    for step in told.steps:
        table.add_row(plain(step.stage), *_verdict(step))
        for measured in step.measured:
            known = measured.value is not None
            table.add_row(
                Text(f"  {measured.name}", "dim"),
                "" if measured.within or not known else Text("out of bounds", "red"),
                short(measured.value) if measured.value is not None else "",
                _bounds(measured.low, measured.high),
            )
    return table


def _verdict(step: Step) -> tuple[Text, str, str]:
    outcome = Text(step.outcome, STYLES.get(step.outcome, "dim"))
    if step.reason:
        outcome.append(f": {shown(step.reason)}")
    value = "" if step.value is None else short(step.value)
    return outcome, value, "" if step.bound is None else short(step.bound)


def _bounds(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f"≥ {short(low)}"
    return f"≤ {short(high)}" if math.isinf(low) else f"{short(low)} to {short(high)}"


def _alike(told: Journey) -> list[RenderableType]:
    """What was cut out of it, who stays in its place, and for whom it stays."""
    lines: list[RenderableType] = [
        Text(
            f"cut out: {cut.bytes:,} bytes, stretches: {cut.spans:,} "
            f"({shown(cut.stage)}: {shown(cut.reason)})"
        )
        for cut in told.cuts
    ]
    for i, other in enumerate(told.others):
        text = Text("for which stays: " if i else "\nin its place: ")
        text.append(shown(other.id), "bold")
        similar = "" if other.similarity is None else f", similarity {short(other.similarity)}"
        text.append(f" {plain(other.url).plain} ({shown(other.stage)}{similar})")
        lines.append(text)
    if told.others:
        last = told.others[-1]
        where = f"in {last.id}" if last.fate == KEPT else f"nowhere: {shown(last.fate)}"
        where = f"in {last.id}, {ELSEWHERE}" if last.fate == ELSEWHERE else where
        lines.append(Text(f"its text: {where}"))
    if told.copies:
        more = ", ..." if told.copies > len(told.some_copies) else ""
        what = "document" if told.copies == 1 else "documents"
        ids = ", ".join(told.some_copies)
        lines.append(Text(f"\nstands for {told.copies:,} more {what}: {ids}{more}"))
    return lines


def _places(told: Journey) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if told.personal:
        kinds = ", ".join(f"{number} {kind}" for kind, number in told.personal.items())
        lines.append(Text(f"\npersonal data replaced: {kinds}"))
    if told.text:
        lines.append(
            Text(f"\ntext: {told.text.file}, row {told.text.first:,}, {told.text.count:,} bytes")
        )
    if told.tokens:
        first, end = told.tokens.first, told.tokens.first + told.tokens.count
        lines.append(Text(f"tokens: {told.tokens.file}, {first:,} to {end:,}"))
    return lines
