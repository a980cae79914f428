"""Charts: where bars, bounds and ticks come to lie."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest

from curate.report import charts, curves
from curate.report.facts import SignalFacts


def facts(kept, here=(), low=-math.inf, high=math.inf) -> SignalFacts:
    signal = SignalFacts("x.y", "filter x", "", "", low, high)
    signal.kept.add(np.array(kept, np.float64))
    signal.dropped_here.add(np.array(here, np.float64))
    return signal


def drawn_height(drawn: charts.Histogram) -> float:
    return sum(float(h) for _, path in drawn.layers for h in re.findall(r"v(\d+\.\d+)z", path))


def test_a_signal_without_numbers_has_no_chart():
    assert charts.histogram(facts([])) is None


def test_bars_add_up_to_the_documents():
    drawn = charts.histogram(facts(np.linspace(0, 1, 1000)))
    height = drawn_height(drawn) / charts.HEIGHT * drawn.highest
    assert height == pytest.approx(1000, rel=0.01)


def test_few_whole_numbers_have_a_bar_each_and_the_bound_lies_between_them():
    drawn = charts.histogram(facts([2, 3, 4, 4], here=[0, 1], low=2))
    assert len(drawn.bins) == 5
    assert drawn.bounds[0].x == pytest.approx(charts.WIDTH * 2 / 5)
    assert [tick.label for tick in drawn.ticks] == ["0", "1", "2", "3", "4"]


def test_skewed_numbers_get_a_logarithmic_axis():
    drawn = charts.histogram(facts(np.logspace(0, 5, 500), low=50, high=100_000))
    assert drawn.is_log
    assert [tick.label for tick in drawn.ticks][-1] == "100k"
    assert 0 < drawn.bounds[0].x < drawn.bounds[1].x < charts.WIDTH


def test_shares_keep_a_linear_axis_however_skewed():
    assert not charts.histogram(facts([0.001] * 99 + [0.9], high=0.1)).is_log


def test_every_bound_is_on_the_axis_and_tints_the_dropped_side():
    drawn = charts.histogram(facts([5.5, 6.5], low=3, high=10))
    low, high = drawn.bounds
    assert (low.outside_x, low.outside_width) == (0.0, low.x)
    assert high.outside_x == high.x < charts.WIDTH
    assert (low.label, high.label) == ("≥ 3", "≤ 10")


@pytest.mark.parametrize(
    "numbers", [[0], [7.5] * 3, [-3, -2.5], [1e300, 1e-300], [0, 1e12], [1e12]]
)
def test_odd_numbers_can_be_drawn(numbers):
    drawn = charts.histogram(facts(numbers, low=0))
    places = [float(x) for _, path in drawn.layers for x in re.findall(r"M(-?[\d.]+) ", path)]
    assert places
    assert all(-1 <= x <= charts.WIDTH + 1 for x in places)


def heights(drawn: charts.Histogram, name: str) -> list[tuple[float, float]]:
    """The points of a curve as place and share."""
    path = dict(drawn.curves.lines)[name]
    points = [point.split() for point in path[1:].split("L")]
    return [(float(x) / charts.WIDTH, 1 - float(y) / curves.HEIGHT) for x, y in points]


def test_the_curve_tells_what_another_bound_would_keep():
    drawn = charts.histogram(facts(np.linspace(0, 1, 1001), low=0.5))
    assert {name for name, _ in drawn.curves.lines} == {"low", "low alone"}
    for name in ("low", "low alone"):
        points = heights(drawn, name)
        assert points[0][1] == pytest.approx(1, abs=0.01)
        assert all(share == pytest.approx(1 - place, abs=0.04) for place, share in points)


def test_a_signal_with_two_bounds_has_a_curve_for_each_that_meet_at_what_is_kept():
    signal = facts(np.linspace(0.25, 0.75, 501), low=0.25, high=0.75)
    # Of those out of bounds another rule of the filter drops half, too.
    outside = np.concatenate([np.linspace(0, 0.249, 250), np.linspace(0.751, 1, 250)])
    signal.dropped_here.add(outside)
    signal.dropped_only.add(outside[::2])
    drawn = charts.histogram(signal)
    marks = {mark.kind: mark for mark in drawn.curves.marks}
    assert set(marks) == {"low", "high", "low alone", "high alone"}
    assert marks["low"].label == marks["high"].label == "50.0 %"
    assert marks["low"].y == marks["high"].y
    assert marks["low"].x < marks["high"].x
    # Without the lower bound a quarter of the rest would come back; alone, it would be a half.
    assert heights(drawn, "low")[0][1] == pytest.approx(0.625, abs=0.02)
    assert heights(drawn, "low alone")[0][1] == pytest.approx(1.0, abs=0.01)


def test_a_signal_that_only_measures_has_curves_of_both_sides_and_no_mark():
    drawn = charts.histogram(facts([1.0, 2.0, 3.0]))
    assert [name for name, _ in drawn.curves.lines] == ["low alone", "high alone"]
    assert drawn.curves.marks == []
    assert all(hit.title.endswith("by itself") for hit in drawn.curves.hits)


def test_what_is_undefined_is_measured_but_never_kept():
    signal = facts([0.5] * 50, low=0.1)
    signal.undefined = 50
    assert {mark.label for mark in charts.histogram(signal).curves.marks} == {"50.0 %", ""}


def test_a_level_stretch_of_a_curve_takes_no_room():
    drawn = charts.histogram(facts([0.0] * 50 + [1.0] * 50, low=0.5))
    assert all(len(path) < 160 for _, path in drawn.curves.lines)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.85, "0.85"),
        (-3, "−3"),
        (1234, "1,234"),
        (100_000, "100k"),
        (2.5e6, "2.5M"),
        (math.inf, "∞"),
        (math.nan, "none"),
    ],
)
def test_numbers_are_short(number, text):
    assert charts.short(number) == text


def test_a_loss_curve_averages_many_points_and_passes_over_broken_ones():
    points = [(step, 5.0 - step / 1000) for step in range(1, 1001)]
    drawn = charts.curve([*points, (1001, math.nan)], 800, 200)
    assert drawn["path"].count("L") < 400
    assert charts.curve([(1, 2.0)], 800, 200) == charts.curve([], 800, 200) == {}


def test_a_bar_that_towers_over_all_others_is_cut_and_told():
    drawn = charts.histogram(facts([0.0] * 1000 + [0.5] * 20, high=1))
    ((label, x),) = [(cut.label, cut.x) for cut in drawn.cut]
    assert (label, x) == ("1,000", 0.0)
    assert drawn.highest == 40
    assert charts.histogram(facts([0.0] * 30 + [0.5] * 20, high=1)).cut == []


@pytest.mark.parametrize(("low", "high"), [(0.65, math.inf), (-math.inf, 0.3), (0.2, 0.7)])
@pytest.mark.parametrize("scale", [1.0, 3.7, -1.3, 5000.0])
def test_what_is_dropped_is_never_drawn_on_the_side_that_is_kept(low, high, scale):
    low, high = sorted((low * scale, high * scale))
    numbers = [*(scale * np.linspace(0, 1, 4001)), *(scale * np.logspace(-4, 0, 500))]
    for bound in (low, high):
        if math.isfinite(bound):  # right beside it, closer than a sketch can tell
            numbers += [bound, np.nextafter(bound, 9e9), np.nextafter(bound, -9e9)]
    kept = [number for number in numbers if low <= number <= high]
    here = [number for number in numbers if not low <= number <= high]
    drawn = charts.histogram(facts(kept, here, low, high))
    inside = [0.0, charts.WIDTH]
    for bound in drawn.bounds:
        inside[bound.label.startswith("≤")] = bound.x
    for name, path in drawn.layers:
        bars = [
            (float(x), float(x) + float(w)) for x, w in re.findall(r"M([\d.]+) .*?h([\d.]+)", path)
        ]
        assert name == "elsewhere" or bars
        for start, end in bars:
            is_inside = start > inside[0] - 0.2 and end < inside[1] + 0.2
            is_outside = end < inside[0] + 0.2 or start > inside[1] - 0.2
            assert is_inside if name == "kept" else is_outside


def test_bins_are_about_equally_wide_though_bounds_are_among_their_edges():
    edges = charts.Axis(0.0, 1.0, False).edges(48, [0.13, 0.7])
    assert {0.0, 0.13, 0.7, 1.0} <= set(edges.tolist())
    assert 46 <= len(edges) <= 52
    assert np.diff(edges) == pytest.approx(1 / 48, rel=0.1)
    logarithmic = charts.Axis(3.0, 70_000.0, True).edges(48, [50.0, 1000.0])
    assert {50.0, 1000.0} <= set(logarithmic.tolist())
    assert np.all(np.diff(logarithmic) > 0)


def test_a_curve_over_whole_numbers_goes_in_steps():
    drawn = charts.histogram(facts([0, 1, 1, 2, 3, 4], low=1))
    points = heights(drawn, "low alone")
    assert all(x == last_x or y == last_y for (last_x, last_y), (x, y) in pairwise(points))
    # Of six numbers five are 1 or more: from the middle of the first bar to that of the second.
    level = [x for x, y in points if y == pytest.approx(5 / 6, abs=0.01)]
    assert (min(level), max(level)) == (pytest.approx(0.1, abs=0.01), pytest.approx(0.3, abs=0.01))


def test_what_a_bound_keeps_stands_where_no_curve_passes():
    rng = np.random.default_rng(1)
    for low, high in ((0.1, 2.0), (-1.0, 0.6), (0.3, 0.9), (0.85, 2.0), (0.02, 0.98)):
        numbers = rng.random(2000)
        inside = (low <= numbers) & (numbers <= high)
        bounds = (
            {"low": low} if high > 1 else {"high": high} if low < 0 else {"low": low, "high": high}
        )
        drawn = charts.histogram(facts(numbers[inside], numbers[~inside], **bounds))
        for mark in drawn.curves.marks:
            if not mark.label:
                continue
            side = -1 if mark.anchor == "end" else 1
            first, last = sorted((mark.label_x, mark.label_x + side * 36))
            name = mark.kind  # its own curve; the other one of two may cross
            for x, share in heights(drawn, name):
                y = curves.HEIGHT * (1 - share)
                assert not (first < x * charts.WIDTH < last and mark.label_y - 7 < y < mark.label_y)
