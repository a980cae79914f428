"""Charts as geometry: what is drawn where, in the units of an SVG's view box."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.column import Numbers
from curate.report.curves import STEPS, Curves, curves
from curate.report.facts import SignalFacts
from curate.report.sketch import Sketch, cut

WIDTH, HEIGHT = 480.0, 132.0
BINS = 48
# Beyond this ratio of the axis to the median, equal steps would squeeze most documents into a bar.
SKEWED = 12.0
# A bar this many times as high as all others would make them invisible: it is cut, but not to less
# than this part of itself, or two documents would look like a crowd.
TOWERING = 4.0
LEAST_OF_A_TOWER = 1 / 25

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    x: float
    label: str


@dataclass(frozen=True)
class Bin:
    """A bin's place, and what there is to say about it."""

    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Bound:
    """A bound as a line, its label on the side where there is room."""

    x: float
    label: str
    anchor: str
    # The side on which documents are dropped.
    outside_x: float
    outside_width: float


@dataclass(frozen=True)
class Cut:
    """A bar that is drawn shorter than it is, and the number that it stands for."""

    x: float
    width: float
    label: str
    label_x: float
    anchor: str


@dataclass(frozen=True)
class Histogram:
    """Bars in layers from the ground up, bounds over them, and curves below."""

    layers: list[tuple[str, str]]  # class and path
    bins: list[Bin]
    cut: list[Cut]
    bounds: list[Bound]
    ticks: list[Tick]
    highest: int
    is_log: bool
    curves: Curves | None
    beyond: str  # what lies beyond the ends of the axis, in words


@dataclass(frozen=True)
class Axis:
    """From numbers to places between 0 and WIDTH; on a logarithmic one all below `low` is at 0."""

    low: float
    high: float
    is_log: bool
    is_whole: bool = False

    def at(self, number: float) -> float:
        """The place of a number; beyond the ends it is at the end."""
        low, high = self._transformed(self.low), self._transformed(self.high)
        share = (self._transformed(number) - low) / (high - low)
        return WIDTH * min(max(share, 0.0), 1.0)

    @property
    def aside(self) -> float:
        """How far from its number a bound is drawn: a bar that is kept lies on the inner side."""
        return 0.5 if self.is_whole else 0.0

    def edges(self, bins: int, bounds: Sequence[float]) -> Numbers:
        """The edges of about so many bins of about equal width on the page; each bound is one.

        A whole number is never split.
        """
        if self.is_whole:
            return np.arange(self.low, self.high + 1)
        ends = [self.low, *sorted({n for n in bounds if self.low < n < self.high}), self.high]
        whole = self._transformed(self.high) - self._transformed(self.low)
        parts = []
        for start, end in pairwise(ends):
            low, high = self._transformed(start), self._transformed(end)
            steps = np.linspace(low, high, max(1, round(bins * (high - low) / whole)) + 1)[:-1]
            parts.append(np.power(10.0, steps) if self.is_log else steps)
            parts[-1][0] = start
        return np.append(np.concatenate(parts), self.high)

    def ticks(self) -> list[Tick]:
        """Round numbers along the axis."""
        numbers = _decades(self) if self.is_log else _round_steps(self.low, self.high)
        if self.is_whole:
            numbers = [number for number in numbers if number == int(number)]
        return [Tick(self.at(number), short(number)) for number in numbers]

    def _transformed(self, number: float) -> float:
        return math.log10(max(number, self.low)) if self.is_log else number


def axis(numbers: Sketch, bounds: list[float]) -> Axis:
    """An axis that shows nearly all numbers and every bound.

    Few whole numbers get half a step more at both ends, so that each can have a bar of its own.
    """
    shown = [numbers.quantile(0.005), numbers.quantile(0.995), *bounds]
    low, high = min(shown), max(shown)
    positive = [number for number in (numbers.quantile(0.05), *bounds) if number > 0]
    middle = numbers.quantile(0.5)
    if low >= 0 and high > 1 and middle > 0 and high / middle > SKEWED and positive:
        return Axis(min(positive) / 2, high * 1.2, True)
    if low >= 0 and low < 0.25 * high:
        low = 0.0
    if _whole(numbers, [low, high, *bounds]):
        return Axis(low - 0.5, max(high, low + 2) + 0.5, False, True)
    if high <= low:  # all numbers are the same
        low, high = low - 0.5, high + 0.5
    margin = 0.03 * (high - low)
    is_share = low >= 0 and high <= 1
    left = low - margin if low else low  # a bound on the edge would not be seen
    return Axis(left, 1.0 if is_share and high > 0.9 else high + margin, False)


def histogram(signal: SignalFacts, with_curves: bool = True) -> Histogram | None:
    """The chart of a signal; None if no document has a number."""
    everything = signal.all
    if not everything.total:
        return None
    bounds = [bound for bound in (signal.low, signal.high) if math.isfinite(bound)]
    scale = axis(everything, bounds)
    edges = scale.edges(BINS, bounds)
    parts = {
        "kept": signal.kept,
        "elsewhere": signal.dropped_elsewhere,
        "here": signal.dropped_here,
    }
    counts = {
        name: _counts(sketch, _edges(edges, signal, name == "here"))
        for name, sketch in parts.items()
    }
    totals = counts["kept"] + counts["elsewhere"] + counts["here"]
    highest = _highest(totals)
    places = [scale.at(edge) for edge in edges.tolist()]
    return Histogram(
        layers=_layers(counts, places, highest),
        cut=_cuts(totals, places, highest),
        bins=[
            Bin(start, end - start, _title(edges, i, counts))
            for i, (start, end) in enumerate(pairwise(places))
            if totals[i]
        ],
        bounds=_bounds(signal, scale),
        ticks=scale.ticks(),
        highest=highest,
        is_log=scale.is_log,
        curves=curves(signal, scale.edges(STEPS, bounds), scale.at, scale.aside, short)
        if with_curves
        else None,
        beyond=_beyond(everything, edges, scale),
    )


def _whole(numbers: Sketch, ends: list[float]) -> bool:
    """Whether all are whole numbers, and few enough for a bar each."""
    few = ends[1] - ends[0] <= BINS and all(end == math.floor(end) for end in ends)
    return few and bool(np.all(numbers.values == np.floor(numbers.values)))


def _highest(totals: Numbers) -> int:
    """The height of the chart in documents."""
    *_, second, first = map(float, [0.0, *sorted(totals.tolist())])
    if TOWERING * second >= first or second == 0:
        return int(first)
    return math.ceil(max(1.5 * second, LEAST_OF_A_TOWER * first))


def _cuts(totals: Numbers, places: list[float], highest: int) -> list[Cut]:
    cuts = []
    for i, total in enumerate(totals.tolist()):
        if total > highest:
            start, end = places[i], places[i + 1]
            left = end < 0.75 * WIDTH
            label_x, anchor = (end + 4, "start") if left else (start - 4, "end")
            cuts.append(Cut(start, end - start, f"{total:,.0f}", label_x, anchor))
    return cuts


def _edges(edges: Numbers, signal: SignalFacts, is_out: bool) -> Numbers:
    """The edges for documents within the bounds, or out of them.

    A sketch cuts numbers, so that one on a bound and one right beside it can look the same: the
    edge is put on the side of both where what has this verdict lies.
    """
    edges = edges.copy()
    for bound, is_behind in ((signal.low, is_out), (signal.high, not is_out)):
        at = cut(np.array([bound]))[0]
        edges[edges == bound] = np.nextafter(at, math.inf) if is_behind else at
    return edges


def _counts(sketch: Sketch, edges: Numbers) -> Numbers:
    """Numbers in each bin; those beyond the axis are in the first and the last bin."""
    open_ended = edges.copy()
    open_ended[0], open_ended[-1] = -math.inf, math.inf
    return sketch.between(open_ended).astype(np.float64)


def _layers(counts: dict[str, Numbers], places: list[float], highest: int) -> list[tuple[str, str]]:
    ground = np.zeros(len(places) - 1)
    layers = []
    # A bar that is cut keeps the proportions of its parts.
    scales = np.maximum(highest, sum(counts.values(), np.zeros(len(places) - 1))).tolist()
    for name, numbers in counts.items():
        path = []
        for i, number in enumerate(numbers.tolist()):
            if number:
                # At least half a unit high, so that a single document can be seen.
                height = max(0.5, number / scales[i] * HEIGHT)
                bottom = HEIGHT - ground[i]
                start, width = places[i] + 0.5, max(places[i + 1] - places[i] - 1, 0.8)
                path.append(f"M{start:.1f} {bottom:.1f}v{-height:.1f}h{width:.1f}v{height:.1f}z")
                ground[i] += height
        layers.append((name, "".join(path)))
    return layers


def _title(edges: Numbers, i: int, counts: dict[str, Numbers]) -> str:
    kept, elsewhere, here = (int(counts[name][i]) for name in ("kept", "elsewhere", "here"))
    return (
        f"{short(edges[i])} to {short(edges[i + 1])}: {kept:,} kept, {here:,} dropped by this, "
        f"{elsewhere:,} by others"
    )


def _bounds(signal: SignalFacts, scale: Axis) -> list[Bound]:
    bounds = []
    if math.isfinite(signal.low):
        x = scale.at(signal.low - scale.aside)
        anchor = "start" if x < 0.75 * WIDTH else "end"
        bounds.append(Bound(x, f"≥ {short(signal.low)}", anchor, 0.0, x))
    if math.isfinite(signal.high):
        x = scale.at(signal.high + scale.aside)
        anchor = "end" if x > 0.25 * WIDTH else "start"
        bounds.append(Bound(x, f"≤ {short(signal.high)}", anchor, x, WIDTH - x))
    return bounds


def _beyond(numbers: Sketch, edges: Numbers, scale: Axis) -> str:
    below = int(numbers.counts[numbers.values < edges[0]].sum())
    above = int(numbers.counts[numbers.values > edges[-1]].sum())
    parts = []
    if below:
        what = "smaller or zero" if scale.is_log else "smaller"
        parts.append(f"{below:,} {what}, in the first bar")
    if above:
        parts.append(f"{above:,} larger (up to {short(numbers.quantile(1.0))}), in the last bar")
    return "; ".join(parts)


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(scale: Axis) -> list[float]:
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    every = max(1, round((last - first) / 6))
    decades = [10.0**power for power in range(first, last + 1, every)]
    if last - first <= 2:
        decades = sorted([*decades, *(3 * number for number in decades)])
    return [number for number in decades if scale.low <= number <= scale.high]


def short(number: float) -> str:
    """A number in few characters: 12, 0.85, 3.2k, 1.5M."""
    if not math.isfinite(number):
        return "none" if math.isnan(number) else ("∞" if number > 0 else "−∞")
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit:
            scaled = number / (1e3 if letter == "k" else limit)
            return f"{scaled:.3g}{letter}"
    text = f"{number:.4g}" if abs(number) < 100 else f"{number:,.0f}"
    return text.replace("-", "−")


def curve(points: list[tuple[int, float]], width: float, height: float) -> dict[str, object]:
    """A line through these points, with its axes; at most 400 of them, averaged in groups."""
    every = max(1, math.ceil(len(points) / 400))
    groups = [points[i : i + every] for i in range(0, len(points), every)]
    averaged = [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]
    finite = [(step, loss) for step, loss in averaged if math.isfinite(loss)]
    if len(finite) < 2:
        return {}
    first, last = finite[0][0], finite[-1][0]
    losses = [loss for _, loss in finite]
    low, high = min(losses), max(losses)
    margin = 0.05 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def x(step: float) -> float:
        return width * (step - first) / (last - first or 1)

    def y(loss: float) -> float:
        return height * (high - loss) / (high - low)

    path = "M" + "L".join(f"{x(step):.1f} {y(loss):.1f}" for step, loss in finite)
    return {
        "path": path,
        "xs": [Tick(x(tick), short(tick)) for tick in _round_steps(first, last)],
        "ys": [Tick(y(tick), short(tick)) for tick in _round_steps(low, high)],
        "first": finite[0],
        "last": finite[-1],
    }
