"""A signal knows its name, its source and its bounds; NaN lies within none."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filters
from curate.signal import catalogue, column_signal, measured, signal
from filters import gopher, url


def test_a_signal_is_named_after_its_module_and_function():
    assert gopher.word_count.name == "gopher.word_count"
    assert gopher.word_count.column == "text"
    assert gopher.word_count.about == "Words."
    assert gopher.word_count.source.startswith("Gopher quality rules: Rae et al. 2021")


def test_other_bounds_make_another_signal():
    other = gopher.word_count.within(low=100)
    assert (other.low, other.high) == (100, math.inf)
    assert (gopher.word_count.low, gopher.word_count.high) == (50, 100_000)
    assert other.measure is gopher.word_count.measure


def test_both_bounds_are_kept_and_nan_is_not():
    kept = gopher.mean_word_length.keeps(np.array([2.9, 3.0, 10.0, 10.1, math.nan]))
    assert kept.tolist() == [False, True, True, False, False]


def test_the_broken_bound_is_the_one_that_was_broken():
    numbers = np.array([2.0, 11.0, math.nan])
    assert gopher.mean_word_length.broken_bound(numbers).tolist() == [3, 10, 3]
    assert gopher.hash_ratio.broken_bound(numbers[2:]).tolist() == [0.1]


@given(st.floats(), st.floats(), st.floats())
def test_a_number_is_kept_exactly_where_low_and_high_hold(low, high, number):
    one = gopher.word_count.within(low, high)
    assert one.keeps(np.array([number]))[0] == (low <= number <= high)


def test_a_signal_may_read_another_column():
    @signal(high=3, column="url")
    def length(document) -> float:
        """Bytes."""
        return float(len(document.text))

    batch = pa.RecordBatch.from_pydict({"url": ["abc", None], "text": ["", ""]})
    assert [numbers.tolist() for numbers in measured((length,), batch)] == [[3, 0]]


def test_a_column_signal_takes_the_batch():
    @column_signal(low=0.5)
    def score(batch) -> np.ndarray:
        """A score."""
        return batch["score"].to_numpy()

    batch = pa.RecordBatch.from_pydict({"score": [0.25, 0.75]})
    (numbers,) = measured((score,), batch)
    assert score.column is None
    assert score.keeps(numbers).tolist() == [False, True]


def test_the_catalogue_lists_every_signal_once_with_a_sentence_and_a_source():
    found = catalogue(filters)
    names = [one.name for one in found]
    assert len(names) == len(set(names))
    assert {gopher.stop_words, url.soft_words} <= set(found)
    assert all(one.about and one.source for one in found)


@pytest.mark.parametrize("text", ["", "a", "\n", "\0", "😀"])
def test_every_signal_measures_every_text(text):
    every = tuple(one for one in catalogue(filters) if one.column == "text")
    numbers = measured(every, pa.RecordBatch.from_pydict({"text": [text]}))
    assert all(len(found) == 1 for found in numbers)
