import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.measures import gini, ratio, renyi_efficiency

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=40)


def efficiency(counts, vocabulary=None, alpha=2.5):
    return renyi_efficiency(np.array(counts, np.int64), vocabulary or len(counts), alpha)


def test_a_vocabulary_that_is_used_evenly_is_wholly_efficient():
    assert efficiency([3, 3, 3, 3]) == pytest.approx(1)


def test_one_token_alone_is_no_information():
    assert efficiency([9, 0, 0, 0]) == pytest.approx(0)


def test_the_efficiency_of_three_to_one_was_worked_out_by_hand():
    # shares 3/4 and 1/4: log2(.75 ** 2.5 + .25 ** 2.5) = log2(.51839...) = -.94789 by -1.5 = .63193
    power = 0.75**2.5 + 0.25**2.5
    assert power == pytest.approx(0.5183893, abs=1e-7)
    assert efficiency([3, 1]) == pytest.approx(math.log2(power) / -1.5)
    assert efficiency([3, 1]) == pytest.approx(0.6319, abs=1e-4)


def test_tokens_that_do_not_occur_count_in_the_size_of_the_vocabulary():
    assert efficiency([2, 2, 0, 0]) == pytest.approx(0.5)
    assert efficiency([2, 2], vocabulary=4) == pytest.approx(0.5)


def test_order_one_is_shannon_s_entropy():
    assert efficiency([2, 1, 1, 0], alpha=1) == pytest.approx(1.5 / 2)
    near = efficiency([2, 1, 1, 0], alpha=1 + 1e-6)
    assert near == pytest.approx(1.5 / 2, abs=1e-5)


@pytest.mark.parametrize("counts", [[], [0, 0], [5]])
def test_without_tokens_or_a_choice_of_them_efficiency_is_undefined(counts):
    assert math.isnan(renyi_efficiency(np.array(counts, np.int64), len(counts)))


@given(COUNTS)
def test_efficiency_lies_between_0_and_1_and_does_not_depend_on_order_or_scale(counts):
    found = efficiency(counts)
    if not any(counts):
        assert math.isnan(found)
        return
    assert -1e-9 <= found <= 1 + 1e-9
    assert efficiency(counts[::-1]) == pytest.approx(found, abs=1e-9)
    assert efficiency([7 * count for count in counts]) == pytest.approx(found, abs=1e-9)


def test_equal_costs_have_no_inequality_and_one_who_bears_all_has_the_most():
    assert gini([4, 4, 4]) == pytest.approx(0)
    assert gini([0, 0, 0, 8]) == pytest.approx(0.75)
    assert gini([1, 3]) == pytest.approx(0.25)  # |1 - 3| twice over 4 pairs = 1, by twice 2


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(costs):
    found = gini(costs)
    if not any(costs):
        assert math.isnan(found)
        return
    differences = sum(abs(a - b) for a in costs for b in costs) / len(costs) ** 2
    assert found == pytest.approx(differences / (2 * sum(costs) / len(costs)), abs=1e-9)


def test_what_would_be_divided_by_0_is_nan():
    assert math.isnan(ratio(0, 0))
    assert math.isnan(gini([]))
    assert ratio(3, 2) == 1.5
