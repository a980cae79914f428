"""An evaluation of tokenizers as one self-contained page, drawn from its JSON alone."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from curate.report.charts import WIDTH, Axis, short
from curate.report.page import rendered, shown

# In units of an SVG's view box.
WHOLE, LABELS, GAP, ROW = 880.0, 132.0, 36.0, 20.0
RANKS_HEIGHT = 260.0
BARS_WIDTH, BARS_HEIGHT = 440.0, 120.0
LONGEST = 20  # bytes; longer tokens share a bar
TOKEN_LETTERS = 40  # of a token are shown
STYLES = 6  # colours and shapes; more tokenizers begin again

SHAPES: list[Callable[[float, float], str]] = [
    lambda x, y: f"M{x - 3.5:.1f} {y:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    lambda x, y: f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6z",
    lambda x, y: f"M{x:.1f} {y - 4.2:.1f}l4.2 4.2l-4.2 4.2l-4.2 -4.2z",
    lambda x, y: f"M{x:.1f} {y - 4:.1f}l4 7h-8z",
    lambda x, y: f"M{x:.1f} {y + 4:.1f}l4 -7h-8z",
    lambda x, y: f"M{x - 1.5:.1f} {y - 4.5:.1f}h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
]


def page(said: dict[str, Any]) -> str:
    """The page about an evaluation, as `tokenizer/evaluated.py` describes it."""
    names = [one["name"] for one in said["tokenizers"]]
    spaced = [one["language"] for one in said["languages"] if not one["spaceless"]]
    spaceless = [one["language"] for one in said["languages"] if one["spaceless"]]
    return rendered(
        "tokenizers.html",
        said=said,
        names=names,
        total={
            key: sum(one[key] for one in said["languages"])
            for key in ("documents", "bytes", "characters", "words")
        },
        legend=[{"style": i % STYLES, "path": SHAPES[i % STYLES](6, 6)} for i in range(len(names))],
        plots=[
            plot
            for plot in (
                dots(said, spaced, "fertility", "tokens per word"),
                dots(said, spaceless, "tokens_per_character", "tokens per character"),
            )
            if plot
        ],
        ranks=ranks(said),
        lengths=[lengths(one) for one in said["tokenizers"]],
        token=token,
    )


def token(text: str) -> str:
    """A token so that it can be seen: in one line, cut if it is long."""
    text = shown(text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r"))
    return text if len(text) <= TOKEN_LETTERS else f"{text[:TOKEN_LETTERS]}…"


def values_of(said: dict[str, Any], languages: list[str], key: str) -> list[list[float | None]]:
    """A measure in each language with each tokenizer."""
    return [[one["languages"][name][key] for one in said["tokenizers"]] for name in languages]


def dots(said: dict[str, Any], languages: list[str], key: str, label: str) -> dict[str, Any]:
    """A row for each language, the best first, and a panel for each of two or three measures.

    Empty if no language has a number.
    """
    first = dict(zip(languages, values_of(said, languages, key), strict=True))
    languages = [name for name in languages if any(value is not None for value in first[name])]
    if not languages:
        return {}
    languages.sort(key=lambda name: sum(value or 0 for value in first[name]))
    panels = [(key, label, True), ("bytes_per_token", "bytes per token", False)]
    if said["settings"]["pivot"]:
        panels.append(("premium", f"tokens by those for {said['settings']['pivot']}", True))
    width = (WHOLE - LABELS - GAP * (len(panels) - 1) - 10) / len(panels)
    return {
        "label": label,
        "height": ROW * len(languages),
        "rows": [
            {"name": name, "y": ROW * (i + 0.5), "band": i % 2 == 0}
            for i, name in enumerate(languages)
        ],
        "panels": [
            panel(said, languages, which, (LABELS + i * (width + GAP), width))
            for i, which in enumerate(panels)
        ],
    }


def panel(
    said: dict[str, Any],
    languages: list[str],
    measure: tuple[str, str, bool],
    place: tuple[float, float],
) -> dict[str, Any]:
    """The dots of one measure, its axis, and what is said of each row."""
    key, label, is_log = measure
    left, width = place
    table = values_of(said, languages, key)
    scale = axis_over([value for row in table for value in row if value is not None], is_log)

    def x(value: float) -> float:
        return left + width * scale.at(value) / WIDTH

    marks, spans, hits = [], [], []
    for i, (name, row) in enumerate(zip(languages, table, strict=True)):
        y = ROW * (i + 0.5)
        known = [value for value in row if value is not None]
        if known:
            spans.append(f"M{x(min(known)):.1f} {y:.1f}H{x(max(known)):.1f}")
        values = zip(said["tokenizers"], row, strict=True)
        numbers = ", ".join(
            f"{shown(one['name'])} {'–' if value is None else format(value, '.3f')}"
            for one, value in values
        )
        hits.append({"y": ROW * i, "title": f"{shown(name)}, {label}: {numbers}"})
        # Aside of each other, or equal tokenizers would hide one another.
        step = min(3.0, 9.0 / len(row))
        marks += [
            {
                "style": at % STYLES,
                "path": SHAPES[at % STYLES](x(value), y + step * (at - (len(row) - 1) / 2)),
            }
            for at, value in reversed(list(enumerate(row)))
            if value is not None
        ]
    return {
        "label": label,
        "left": left,
        "width": width,
        "ticks": [{"x": x(number), "label": short(number)} for number in ticks_of(scale)],
        "spans": "".join(spans),
        "marks": marks,
        "hits": hits,
    }


def axis_over(values: list[float], is_log: bool) -> Axis:
    """An axis that shows all of these numbers, with a margin."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    if is_log and low > 0:
        return Axis(low / 1.06, high * 1.06, True)
    return Axis(min(low, 0.0), high * 1.04 or 1.0, False)


def ticks_of(scale: Axis) -> list[float]:
    """Round numbers along an axis, close enough to read values off."""
    if not scale.is_log:
        step = 10.0 ** math.floor(math.log10(scale.high)) / 2
        step *= next(n for n in (1, 2, 4, 10) if scale.high / (step * n) <= 7)
        return [step * i for i in range(math.floor(scale.high / step) + 1)]
    decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
    if scale.high / scale.low > 1e3:
        return [10.0**power for power in decades if scale.low <= 10.0**power <= scale.high]
    steps = (1, 2, 5) if scale.high / scale.low > 5 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7)
    every = [step * 10.0**power for power in decades for step in steps]
    return [number for number in every if scale.low <= number <= scale.high]


def ranks(said: dict[str, Any]) -> dict[str, Any]:
    """How often the r-th most frequent token of each tokenizer occurs, both on log axes."""
    curves = [one["ranks"] for one in said["tokenizers"]]
    points = [point for curve in curves for point in curve]
    if not points:
        return {}
    across = Axis(0.9, max(point["rank"] for point in points) * 1.1, True)
    up = Axis(0.9, max(point["count"] for point in points) * 1.2, True)
    left = 60.0

    def x(rank: float) -> float:
        return left + (WHOLE - left - 10) * across.at(rank) / WIDTH

    def y(count: float) -> float:
        return RANKS_HEIGHT * (1 - up.at(count) / WIDTH)

    return {
        "height": RANKS_HEIGHT,
        "left": left,
        "lines": [
            {
                "style": i % STYLES,
                "path": "M" + "L".join(f"{x(p['rank']):.1f} {y(p['count']):.1f}" for p in curve),
            }
            for i, curve in enumerate(curves)
            if curve
        ],
        "xs": [{"x": x(number), "label": short(number)} for number in ticks_of(across)],
        "ys": [{"y": y(number), "label": short(number)} for number in ticks_of(up)],
    }


def lengths(judged: dict[str, Any]) -> dict[str, Any]:
    """How long the tokens of a vocabulary are, and those of the text, as shares of each."""
    totals = {
        key: sum(row[key] for row in judged["lengths"]) or 1 for key in ("vocabulary", "text")
    }
    shares = {key: [0.0] * (LONGEST + 1) for key in totals}
    for row in judged["lengths"]:
        for key, total in totals.items():
            shares[key][min(row["bytes"], LONGEST + 1) - 1] += row[key] / total
    highest = max(max(shares["vocabulary"]), max(shares["text"])) or 1.0
    step = BARS_WIDTH / (LONGEST + 1)
    paths = {}
    for at, (key, row) in enumerate(shares.items()):
        bars = []
        for i, share in enumerate(row):
            height = BARS_HEIGHT * share / highest
            left = i * step + 1.5 + at * (step - 3) / 2
            bars.append(
                f"M{left:.1f} {BARS_HEIGHT}v{-height:.1f}h{(step - 3) / 2:.1f}v{height:.1f}z"
            )
        paths[key] = "".join(bars)
    edges = [i * step for i in range(LONGEST + 2)]
    return {
        "paths": paths,
        "highest": highest,
        "ticks": [
            {"x": (edges[i] + edges[i + 1]) / 2, "label": f"{i + 1}" if i < LONGEST else "more"}
            for i in (0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 17, LONGEST)
        ],
        "hits": [
            {
                "x": start,
                "width": end - start,
                "title": f"{i + 1 if i < LONGEST else f'over {LONGEST}'} bytes: "
                f"{shares['text'][i]:.1%} of the text's tokens, "
                f"{shares['vocabulary'][i]:.1%} of the vocabulary's",
            }
            for i, (start, end) in enumerate(pairwise(edges))
        ],
    }
