"""Sets of word n-grams against a plain twin, and what two sorted arrays have in common."""

import os
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import View, frozen, view
from curate.dedup.characters import characters
from curate.dedup.distinct import sort_distinct
from curate.dedup.sets import intersection, shingle_sets
from curate.dedup.shingles import ngram_of, shingled

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def sets(texts, ngram=5):
    hashes, offsets = shingle_sets(view(pa.array(texts, pa.string())), ngram)
    return [hashes[a:b] for a, b in pairwise(offsets)]


def test_a_set_has_each_shingle_once_in_order():
    one, two, three = sets(["a b c d e a b c d e", "A, b c d e", "one two three four"])
    assert len(one) == 5 and len(two) == 1 and len(three) == 0
    assert (np.diff(one.astype(object)) > 0).all()
    assert intersection(one, two) == intersection(two, one) == 1
    assert intersection(one, three) == 0 and intersection(one, one) == 5


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("aB c\t中ก\U00020000'.") | st.characters(codec="utf-8"))),
    st.integers(1, 3),
)
def test_sets_are_as_large_as_those_of_the_plain_twin_and_meet_where_they_do(plain, texts, ngram):
    found = sets(texts, ngram)
    expected = [frozenset(plain.shingles(text, ngram)) for text in texts]
    assert [*map(len, found)] == [*map(len, expected)]
    for left, mine in zip(expected, found, strict=True):
        for right, other in zip(expected, found, strict=True):
            assert intersection(mine, other) == len(left & right)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=3))
def test_sets_of_any_bytes_are_the_shingles_that_sketches_are_made_from(rows):
    data = frozen(np.frombuffer(b"".join(rows), np.uint8))
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    hashes, ends = shingle_sets(View(data, frozen(offsets)), 2)
    units, out = np.empty(len(data) + 1, np.uint64), np.empty(len(data) + 1, np.uint64)
    for i in range(len(rows)):
        text = data[offsets[i] : offsets[i + 1]]
        count = shingled(text, characters(), ngram_of(2, "words"), units, out)
        expected = set(out[:count].tolist())
        assert hashes[ends[i] : ends[i + 1]].tolist() == sorted(expected)


def test_a_sliced_column_has_its_own_rows():
    texts = ["a b c d e f", "g h i j k l m", "n o p q r s"]
    hashes, offsets = shingle_sets(view(pa.array(texts)[1:]), 5)
    assert offsets.tolist() == [0, 3, 5]
    assert np.array_equal(hashes, np.concatenate(sets(texts)[1:]))
    assert shingle_sets(view(pa.array([], pa.string())), 5)[1].tolist() == [0]


numbers = st.lists(
    st.integers(0, 2**64 - 2) | st.sampled_from([0, 1, 2**63, 2**64 - 3, 2**64 - 2]), max_size=40
)


@settings(deadline=None)
@given(numbers)
def test_any_numbers_are_sorted_and_each_is_left_once(values):
    hashes = np.array(values, np.uint64)
    table = np.empty(5 * len(values) + 3, np.uint64)
    count = sort_distinct(hashes, table)
    assert hashes[:count].tolist() == sorted({*values})


@settings(deadline=None)
@given(numbers, numbers)
def test_an_intersection_is_that_of_sets(left, right):
    arrays = [np.array(sorted({*values}), np.uint64) for values in (left, right)]
    assert intersection(*arrays) == len({*left} & {*right})


@pytest.mark.skipif(JIT_OFF, reason="a million words need compiled code")
@pytest.mark.parametrize("period", [1, 2, 1000, 10**6])
def test_a_text_that_repeats_itself_costs_no_more(period):
    text = " ".join(f"w{i % period}" for i in range(10**6))
    (found,) = sets([text])
    assert len(found) == min(period, 10**6 - 4)
