"""What other bounds would keep: threshold curves as geometry, in the units of an SVG's view box."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.column import Numbers
from curate.report.facts import SignalFacts
from curate.report.sketch import Sketch

HEIGHT = 72.0
STEPS = 96
HITS = 24
LABEL = 50.0  # the width of one

Place = Callable[[float], float]
Share = Callable[[float], float]


@dataclass(frozen=True)
class Mark:
    """A point on a curve: the bound as it is, and what it keeps."""

    x: float
    y: float
    label: str
    label_x: float
    label_y: float
    anchor: str
    kind: str


@dataclass(frozen=True)
class Hit:
    """A strip of the chart, and what there is to say about a bound in it."""

    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Curves:
    """The share kept as a function of the bound, alone and together with the filter's others."""

    lines: list[tuple[str, str]]  # class and path
    marks: list[Mark]
    hits: list[Hit]


def curves(
    signal: SignalFacts, edges: Numbers, at: Place, aside: float, short: Callable[[float], str]
) -> Curves | None:
    """The curves of a signal for bounds at these edges; None if no document has a number.

    A bound is drawn `aside` of its number, so that what it keeps lies on its inner side.
    """
    if not signal.all.total:
        return None
    shares = _shares(signal, signal.measured)
    # What a rule does alone lies below what it does in the filter.
    order = sorted(shares, key=lambda name: "alone" not in name)
    lines = [(name, path(edges, at, shares[name], in_steps=aside > 0)) for name in order]
    return Curves(lines, _marks(signal, shares, at, aside), _hits(edges, at, shares, short))


def _shares(signal: SignalFacts, measured: int) -> dict[str, Share]:
    """For each curve the share that it gives to a bound."""
    sides = [side for side in ("low", "high") if math.isfinite(getattr(signal, side))]
    everything, others_keep = signal.all, signal.others_keep
    shares: dict[str, Share] = {}
    for side in sides or ("low", "high"):
        shares[f"{side} alone"] = _share(everything, side, (-math.inf, math.inf), measured)
        if sides and not signal.table:
            shares[side] = _share(others_keep, side, (signal.low, signal.high), measured)
    return shares


def _share(numbers: Sketch, side: str, bounds: tuple[float, float], measured: int) -> Share:
    up_to = np.concatenate([[0], np.cumsum(numbers.counts)])
    low, high = bounds

    def count(first: float, last: float) -> int:
        """Numbers from the first to the last, both included."""
        start = np.searchsorted(numbers.values, first, side="left")
        end = np.searchsorted(numbers.values, last, side="right")
        return max(0, int(up_to[end] - up_to[start]))

    if side == "low":
        return lambda bound: count(bound, high) / measured
    return lambda bound: count(low, bound) / measured


def path(edges: Numbers, at: Place, share: Share, in_steps: bool) -> str:
    """A line through what the share is at each edge; points on a level stretch are left out.

    Between the edges of whole numbers lies one of them, and there is the step.
    """
    points = [(at(edge), HEIGHT * (1 - share(edge))) for edge in edges.tolist()]
    if in_steps:
        steps = [
            ((start + end) / 2, y)
            for (start, before), (end, after) in pairwise(points)
            for y in (before, after)
        ]
        points = [points[0], *steps, points[-1]]
    rounded = [(f"{x:.1f}", f"{y:.1f}") for x, y in points]
    kept = [
        point
        for i, point in enumerate(rounded)
        if i in (0, len(rounded) - 1) or not rounded[i - 1][1] == point[1] == rounded[i + 1][1]
    ]
    return "M" + "L".join(f"{x} {y}" for x, y in kept)


def _marks(signal: SignalFacts, shares: dict[str, Share], at: Place, aside: float) -> list[Mark]:
    """The bounds as they are; how much both together keep stands beside the point."""
    width = at(math.inf)
    marks = []
    for name, share in shares.items():
        side, _, alone = name.partition(" ")
        bound = getattr(signal, side)
        if not math.isfinite(bound):
            continue
        x = at(bound - aside if side == "low" else bound + aside)
        y = HEIGHT * (1 - share(bound))
        # No curve passes below the point on the side that is dropped, nor above it on the other.
        outside = x if side == "low" else width - x
        is_below = outside > LABEL and y < HEIGHT - 18
        anchor, label_x = ("end", x - 6) if is_below == (side == "low") else ("start", x + 6)
        label_y = y + 15 if is_below else y - 6
        label = "" if alone else f"{100 * share(bound):.1f} %"
        marks.append(Mark(x, y, label, label_x, label_y, anchor, name))
    return marks


def _hits(
    edges: Numbers, at: Place, shares: dict[str, Share], short: Callable[[float], str]
) -> list[Hit]:
    places = np.unique(np.linspace(0, len(edges) - 1, HITS + 1).round().astype(int))
    hits = []
    for start, end in pairwise(edges[places].tolist()):
        middle = (start * end) ** 0.5 if start > 0 and end / start > 4 else (start + end) / 2
        told = [
            f"{'≥' if name.startswith('low') else '≤'} {short(middle)} keeps "
            f"{100 * share(middle):.1f} %{' by itself' if 'alone' in name else ''}"
            for name, share in sorted(shares.items(), key=lambda entry: "alone" in entry[0])
        ]
        hits.append(Hit(at(start), at(end) - at(start), "; ".join(told)))
    return hits
