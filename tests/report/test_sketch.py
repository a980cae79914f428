"""Sketches: exact for few and small numbers, near for all others, whatever the order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.report.sketch import Sketch


def sketch(numbers) -> Sketch:
    made = Sketch()
    made.add(np.array(numbers, np.float64))
    return made


numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=50)


def test_small_whole_numbers_are_exact():
    assert sketch([3, 1, 2, 3]).values.tolist() == [1, 2, 3]
    assert sketch([3, 1, 2, 3]).counts.tolist() == [1, 1, 2]
    assert sketch(range(2048)).values.tolist() == list(range(2048))


def test_the_undefined_and_the_infinite_are_left_out():
    assert sketch([math.nan, math.inf, -math.inf, -0.0, 0.0]).total == 2
    assert sketch([-0.0, 0.0]).values.tolist() == [0.0]


def test_an_empty_sketch_has_no_quantiles():
    assert math.isnan(Sketch().quantile(0.5))
    assert math.isnan(Sketch().share_within(0, 1))
    assert Sketch().between(np.array([0.0, 1.0])).tolist() == [0]


def test_the_last_bin_has_both_its_edges():
    assert sketch([0, 1, 2, 3]).between(np.array([0.0, 1, 2, 3])).tolist() == [1, 1, 2]


@given(numbers.filter(bool), st.floats(0, 1))
def test_a_quantile_is_within_a_thousandth_of_the_exact_one(values, share):
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert sketch(values).quantile(share) == pytest.approx(exact, rel=1e-3, abs=1e-300)


@given(numbers, numbers, numbers)
def test_neither_order_nor_grouping_matters(a, b, c):
    one = sketch([*a, *b, *c])
    two = sketch(c).plus(sketch(b), sketch(a))
    assert one.values.tolist() == two.values.tolist()
    assert one.counts.tolist() == two.counts.tolist()


@given(numbers)
def test_nothing_is_lost_between_infinite_edges(values):
    assert sketch(values).between(np.array([-math.inf, 0.0, math.inf])).sum() == len(values)


def test_memory_does_not_grow_with_the_documents():
    made = Sketch()
    rng = np.random.default_rng(1)
    for _ in range(20):
        made.add(rng.random(50_000))
    assert made.total == 1_000_000
    assert len(made.values) < 25_000
