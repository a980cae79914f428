"""The report as one self-contained HTML file that runs nothing but its own few lines of script.

Crawled text is hostile. It reaches the page only through Jinja's autoescaping, never inside a
script, a style, a link or an attribute that could act; and a content policy that names the page's
own style and script by their hashes forbids everything else.
"""

import base64
import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from curate.report import charts
from curate.report.collect import collect
from curate.report.duplicates import PAIR_CHARACTERS, cuts_of, duplicates_of
from curate.report.encoded import told
from curate.report.facts import Duplicates, Report, SignalFacts, Source
from curate.report.marked import MOST_WORDS
from curate.report.sketch import Sketch
from curate.store import write_atomic

HERE = Path(__file__).parent
PAGE = "report.html"
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
KEEPING = (0.99, 0.95, 0.9, 0.8, 0.7, 0.5)
CLUSTERS = (
    (1, 1),
    (2, 2),
    *((2**i + 1, 2 ** (i + 1)) for i in range(1, 20)),
    (2**20 + 1, math.inf),
)
MOST_ROWS = 40

# Characters that would change how their neighbours are read, or not be seen at all.
_UNSEEN = {
    *range(0x20), 0x7F, *range(0x80, 0xA0), 0xAD, 0x61C, 0x180E, 0xFEFF, 0xFFFC,
    *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), *range(0xFFF0, 0xFFFC),
}  # fmt: skip
_ESCAPES = {code: f"\\u{code:04x}" for code in _UNSEEN} | {0x0A: "\n", 0x09: " "}


def write_report(folder: Path, samples: int = 3, times: bool = True) -> Path:
    """Write the page about a run into its folder; the same bytes for the same run."""
    path = folder / PAGE
    report = collect(folder, samples, times)
    report.duplicates = duplicates_of(folder, samples)
    report.cuts = cuts_of(folder, samples)
    write_atomic(path, page(report, samples).encode())
    return path


def page(report: Report, samples: int) -> str:
    """The page."""
    return rendered(
        "template.html",
        report=report,
        samples=samples,
        funnel=funnel(report),
        rules=rules(report),
        keeps=keeps,
        signals=_by_stage(report.signals),
        lengths=_lengths(report.lengths),
        clusters={what: cluster_rows(sketch) for what, sketch in report.clusters.items()},
        duplicates=[duplicate_card(facts) for facts in report.duplicates],
        cuts=report.cuts,
        cut_bytes=cut_bytes(report),
        tokenizer_remarks=told(report.tokens and report.tokens.get("tokenizer")),
        compared=(PAIR_CHARACTERS, MOST_WORDS),
        sources=damaged_first(report.sources)[:MOST_ROWS],
        losses=charts.curve(report.losses, 880.0, 220.0),
        times=times(report),
        quantiles=QUANTILES,
        most_rows=MOST_ROWS,
    )


def rendered(name: str, **facts: Any) -> str:
    """A template of ours with these facts, in our style."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": shown,
        "count": count,
        "size": size,
        "share": share,
        "short": charts.short,
        "seconds": seconds,
    }
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    return environment.get_template(name).render(
        # Ours, not the crawl's: the only two strings that are not escaped (files of this package).
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        **facts,
    )


def policy(style: str, script: str) -> str:
    """A content policy that allows this style and this script, and nothing else."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def shown(text: object) -> str:
    """Text with control, invisible and direction-changing characters as visible escapes."""
    return str(text).translate(_ESCAPES)


def count(number: float) -> str:
    """A whole number with its thousands set apart."""
    return f"{number:,}"


def size(number: float) -> str:
    """Bytes, in the unit that fits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def share(part: float, whole: float = 1.0) -> str:
    """A share in percent; never 0 or 100 where it is not."""
    if not whole or math.isnan(part):
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "<0.1 %"
    if 99.95 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %"


def seconds(number: float) -> str:
    """A duration."""
    if number >= 3600:
        return f"{number / 3600:.1f} h"
    return f"{number / 60:.1f} min" if number >= 120 else f"{number:.3g} s"


def times(report: Report) -> dict[str, float]:
    """Seconds by step; for one process also what no step claims, so that they make up the total."""
    spent = dict(report.times.get("seconds", {}))
    rest = report.times.get("wall_seconds", 0) - sum(spent.values())
    in_parts = report.times.get("workers", 0) > 1 or report.times.get("units_reused", 0)
    if spent and rest > 0 and not in_parts:
        spent["start, plan and publication"] = rest
    return spent


def funnel(report: Report) -> list[dict[str, Any]]:
    """Each stage with its part of a funnel, drawn between what entered and what was kept."""
    widest = max(1, report.entered.documents)
    rows = []
    for name, stage in report.stages:
        entered, kept = stage.entered.documents, stage.kept.documents
        top, bottom = (50 * number / widest for number in (entered, kept))
        rows.append(
            {
                "name": name,
                "stage": stage,
                "dropped": sum(count.documents for count in stage.dropped.values()),
                "quarantined": sum(count.documents for count in stage.quarantined.values()),
                "outer": f"M{50 - top:.2f} 0H{50 + top:.2f}V10H{50 - top:.2f}z",
                "inner": f"M{50 - top:.2f} 0H{50 + top:.2f}L{50 + bottom:.2f} 10"
                f"H{50 - bottom:.2f}z",
            }
        )
    return rows


def _by_stage(signals: list[SignalFacts]) -> dict[str, list[dict[str, Any]]]:
    cards: dict[str, list[dict[str, Any]]] = {}
    for signal in signals:
        cards.setdefault(signal.stage, []).append(signal_card(signal))
    return cards


def signal_card(signal: SignalFacts) -> dict[str, Any]:
    """A signal with its chart and the numbers behind it."""
    everything = signal.all
    return {
        "facts": signal,
        "chart": charts.histogram(signal, with_curves=bool(signal.stage)),
        "total": everything.total,
        "within": 1 - signal.broken / signal.measured if signal.measured else math.nan,
        "quantiles": [everything.quantile(quantile) for quantile in QUANTILES],
        "keeping": [
            {
                "share": keeping,
                "low": everything.quantile(1 - keeping) if math.isfinite(signal.low) else None,
                "high": everything.quantile(keeping) if math.isfinite(signal.high) else None,
            }
            for keeping in KEEPING
        ],
    }


def rules(report: Report) -> list[dict[str, Any]]:
    """The rules of each filter, and how many documents broke one of them only."""
    groups = []
    for name, stage in report.stages:
        signals = [s for s in report.signals if s.stage == name and s.is_rule]
        if signals:
            groups.append(
                {
                    "stage": name,
                    "signals": signals,
                    "most": max(1, *(signal.alone.documents for signal in signals)),
                    "dropped": sum(count.documents for count in stage.dropped.values()),
                    "once": sum(signal.only.documents for signal in signals),
                }
            )
    return groups


def keeps(signal: SignalFacts) -> str:
    """The bounds of a rule in words."""
    if signal.table:
        return "by language"
    if math.isinf(signal.low):
        return f"≤ {charts.short(signal.high)}"
    if math.isinf(signal.high):
        return f"≥ {charts.short(signal.low)}"
    return f"{charts.short(signal.low)} to {charts.short(signal.high)}"


def _lengths(lengths: Sketch) -> dict[str, Any] | None:
    if not lengths.total:
        return None
    facts = SignalFacts("bytes of text", "", "", "", -math.inf, math.inf, kept=lengths)
    return signal_card(facts)


def cluster_rows(sketch: Sketch) -> list[dict[str, Any]]:
    """How many documents stand for how many others."""
    rows: list[dict[str, Any]] = []
    for low, high in CLUSTERS:
        within = (sketch.values >= low) & (sketch.values <= high)
        clusters = int(sketch.counts[within].sum())
        if clusters:
            label = f"{low:,}" if low == high else f"{low:,} to {high:,.0f}"
            documents = int((sketch.counts * sketch.values)[within].sum())
            label = label if math.isfinite(high) else f"over {low - 1:,}"
            rows.append({"label": label, "clusters": clusters, "documents": documents})
    most = math.log1p(max((row["clusters"] for row in rows), default=1))
    return [{**row, "height": math.log1p(row["clusters"]) / most} for row in rows]


def duplicate_card(facts: Duplicates) -> dict[str, Any]:
    """A stage that drops duplicates, with its charts."""
    card = None
    if facts.similarity.total:
        # What a rule drops above its upper bound is what goes here from the bound on.
        bound = math.inf if math.isnan(facts.bound) else facts.bound
        similar = SignalFacts(
            "similarity", "", "", "", -math.inf, bound, dropped_here=facts.similarity
        )
        card = signal_card(similar)
        bounds = [replace(edge, label=f"≥ {charts.short(bound)}") for edge in card["chart"].bounds]
        card["chart"] = replace(card["chart"], bounds=bounds)
    return {"facts": facts, "sizes": cluster_rows(facts.sizes), "similarity": card}


def cut_bytes(report: Report) -> dict[str, int]:
    """Bytes that each stage cut out of documents that stay."""
    bytes_of: dict[str, int] = {}
    for cuts in report.cuts:
        bytes_of[cuts.stage] = bytes_of.get(cuts.stage, 0) + cuts.bytes
    return bytes_of


def damaged_first(sources: list[Source]) -> list[Source]:
    """Inputs with faults before those without, the larger first."""

    def rank(source: Source) -> tuple[int, int, int, str]:
        faults = sum(source.quarantined.values())
        return -source.spans.faults, -faults, -source.spans.size, source.name

    return sorted(sources, key=rank)
