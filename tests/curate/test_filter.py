"""The filter stage measures everything, marks the first bound broken and removes nothing."""

import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.filter import Filter
from curate.stage import mark
from filters import gopher

SHORT = gopher.word_count.within(low=2)
STAGE = Filter((SHORT, gopher.mean_word_length, gopher.hash_ratio))
TEXTS = ["long enough words", "one", "", "a b c", "####### #######"]


def batch(texts: list[str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})


def test_the_first_broken_bound_is_the_verdict():
    marked = STAGE(batch(TEXTS))
    assert marked["dropped_by"].to_pylist() == [
        None,
        "gopher.word_count",
        "gopher.word_count",
        "gopher.mean_word_length",
        "gopher.hash_ratio",
    ]
    assert marked["value"].to_pylist() == [None, 1, 0, 1, 7]
    assert marked["bound"].to_pylist() == [None, 2, 2, 3, 0.1]
    assert marked["quarantined"].to_pylist() == [None, False, False, False, False]


def test_every_number_is_kept_also_of_documents_that_are_dropped():
    marked = STAGE(batch(TEXTS))
    assert marked["gopher.word_count"].to_pylist() == [3, 1, 0, 3, 2]
    assert marked["gopher.hash_ratio"].to_pylist()[4] == 7
    assert math.isnan(marked["gopher.hash_ratio"].to_pylist()[2])


def test_an_undefined_number_is_never_kept():
    stage = Filter((gopher.mean_word_length.within(low=0),))
    marked = stage(batch([""]))
    assert marked["dropped_by"].to_pylist() == ["gopher.mean_word_length"]
    assert math.isnan(marked["value"].to_pylist()[0])


def test_a_signal_without_bounds_only_measures():
    marked = Filter((gopher.mean_word_length.within(),))(batch(["", "word"]))
    assert "dropped_by" not in marked.schema.names
    assert math.isnan(marked["gopher.mean_word_length"].to_pylist()[0])


def test_an_earlier_verdict_stays():
    before = mark(batch(["one"]), np.array([True]), "html.empty")
    assert STAGE(before)["dropped_by"].to_pylist() == ["html.empty"]


def test_no_rows_are_measured_too():
    empty = STAGE(batch([]))
    assert empty.num_rows == 0
    assert empty.schema.field("gopher.word_count").type == pa.float64()


def test_bounds_can_be_changed_later_without_the_text():
    measured = STAGE(batch(TEXTS))
    again = SHORT.within(low=1).keeps(measured["gopher.word_count"].to_numpy())
    assert again.tolist() == [True, True, False, True, True]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab# \n"), max_size=12) | st.none(), max_size=6), st.data())
def test_order_and_slices_of_batches_do_not_matter(texts, data):
    whole = STAGE(batch(texts))
    order = data.draw(st.permutations(range(len(texts))))
    first = data.draw(st.integers(0, len(texts)))
    shuffled = STAGE(batch([texts[row] for row in order]))
    sliced = STAGE(batch(texts).slice(first))
    for name in ("gopher.word_count", "gopher.mean_word_length", "gopher.hash_ratio"):
        numbers = whole[name].to_numpy()
        assert np.array_equal(shuffled[name].to_numpy(), numbers[list(order)], equal_nan=True)
        assert np.array_equal(sliced[name].to_numpy(), numbers[first:], equal_nan=True)
