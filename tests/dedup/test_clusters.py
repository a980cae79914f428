"""Buckets, components and who stays, against plain twins and at sizes where squares would show."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import clusters
from curate.dedup.clusters import LEADERS, NOWHERE

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
KEYS = st.integers(0, 6)


def plain_components(keys):
    label = list(range(len(keys)))
    for i in range(len(keys)):
        for j in range(i):
            if any(a == b for a, b in zip(keys[i], keys[j], strict=True)):
                label = [label[j] if x == label[i] else x for x in label]
    return label


def similar(share):
    """Checks of two documents of which this share of 512 is equal."""
    random = np.random.default_rng(5)
    left = random.integers(1, 8, 512)
    right = np.where(np.arange(512) < share * 512, left, left + 8)
    nibbles = np.stack([left, right]).astype(np.uint8)
    return (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).view(np.uint64)


def plain_similarity(left, right):
    left, right = (
        [n for byte in row.view(np.uint8) for n in (byte >> 4, byte & 15)] for row in (left, right)
    )
    pairs = list(zip(left, right, strict=True))
    either = sum(a > 0 or b > 0 for a, b in pairs)
    both = sum(a > 0 and b > 0 for a, b in pairs)
    equal = sum(a == b > 0 for a, b in pairs)
    return max((15 * equal - both) / 14, 0) / either if equal else 0.0


@settings(deadline=None)
@given(st.lists(KEYS, max_size=20))
def test_a_bucket_is_a_key_that_occurs_twice(keys):
    found = clusters.buckets(np.array(keys, np.uint64)).tolist()
    assert [number == NOWHERE for number in found] == [keys.count(key) == 1 for key in keys]
    shared = {(number, key) for number, key in zip(found, keys, strict=True) if number >= 0}
    assert len(shared) == len({number for number, _ in shared}) == len({key for _, key in shared})


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, KEYS, KEYS), max_size=12))
def test_components_are_those_of_all_pairs(keys):
    places = clusters.band_buckets(np.array(keys, np.uint64).reshape(-1, 3))
    found, plain = clusters.components(places).tolist(), plain_components(keys)
    assert len(set(zip(found, plain, strict=True))) == len(set(found)) == len(set(plain))


@settings(deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_the_first_of_a_label_is_the_first_in_the_order(order, labels):
    found = clusters.first_of_each(np.array(labels), np.array(order))
    assert found.tolist() == [next(j for j in order if labels[j] == label) for label in labels]


def test_no_documents_have_no_components():
    places = clusters.band_buckets(np.empty((0, 14), np.uint64))
    assert clusters.components(places).tolist() == []


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_equal_checks_are_counted_and_chance_is_taken_off(share):
    checks = similar(share)
    found = clusters.similarity(checks, 0, 1)
    assert found == pytest.approx(plain_similarity(checks[0], checks[1]))
    assert found == pytest.approx(max(0, (15 * share - 1) / 14), abs=0.002)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_similarity_is_that_of_the_plain_twin_and_symmetric(seed, empty):
    random = np.random.default_rng(seed)
    nibbles = random.integers(0, 16, (2, 512)) * (random.random((2, 512)) >= empty)
    nibbles[1, :300] = nibbles[0, :300]
    nibbles = nibbles.astype(np.uint8)
    checks = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).view(np.uint64)
    found = clusters.similarity(checks, 0, 1)
    assert found == pytest.approx(plain_similarity(checks[0], checks[1]))
    assert found == clusters.similarity(checks, 1, 0)


def test_a_chain_cannot_remove_what_does_not_resemble_the_one_that_stays():
    # Each document resembles its neighbours alone, and shares a bucket with them.
    random = np.random.default_rng(3)
    stream = random.integers(1, 16, 512 + 12 * 128).astype(np.uint8)
    nibbles = np.zeros((12, 12 * 128 + 512), np.uint8)
    for i in range(12):
        nibbles[i, 128 * i : 128 * i + 512] = stream[128 * i : 128 * i + 512]
    checks = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).copy().view(np.uint64)
    keys = np.array([[i // 2, 50 + (i + 1) // 2] for i in range(12)], np.uint64)
    places, order = clusters.band_buckets(keys), np.arange(12)
    assert len(set(clusters.unverified(order, places, checks).of.tolist())) == 1
    kept = clusters.verified(order, places, checks, 0.5)
    assert kept.of.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]
    assert (kept.similarity[kept.dropped()] >= 0.5).all()


def test_a_bucket_offers_no_more_than_its_leaders():
    count = LEADERS + 2
    random = np.random.default_rng(1)
    nibbles = random.integers(1, 16, (count, 512)).astype(np.uint8)
    nibbles[-1] = nibbles[-2]
    checks = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).view(np.uint64)
    places = np.zeros((count, 1), np.int32)
    # The last two are equal, but stand behind the limit of a bucket that all share.
    kept = clusters.verified(np.arange(count), places, checks, 0.7)
    assert kept.of.tolist() == list(range(count))
    early = np.array([count - 1, *range(count - 1)])
    assert clusters.verified(early, places, checks, 0.7).of[count - 2] == count - 1


@pytest.mark.skipif(JIT_OFF, reason="a million documents need compiled code")
@pytest.mark.parametrize("distinct", [1, 1000, 1_000_000])
def test_a_million_documents_in_few_or_many_buckets_cost_no_square(distinct):
    count = 1_000_000
    keys = (np.arange(count, dtype=np.uint64) % np.uint64(distinct))[:, None]
    checks = np.ones((count, 4), np.uint64)
    places = clusters.band_buckets(keys)
    order = np.arange(count)
    for kept in (
        clusters.verified(order, places, checks, 0.7),
        clusters.unverified(order, places, checks),
    ):
        assert np.array_equal(kept.of, np.arange(count) % distinct)
