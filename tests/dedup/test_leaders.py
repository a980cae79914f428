"""Who stays among documents that share buckets: by hand, and at sizes where squares would show."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.leaders import (
    LEADERS,
    MARGIN,
    Linked,
    Rule,
    by_document,
    first_of_links,
    followers,
    similarity,
)

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def similar(share):
    """Checks of two documents of which this share of 512 is equal."""
    random = np.random.default_rng(5)
    left = random.integers(1, 8, 512)
    right = np.where(np.arange(512) < share * 512, left, left + 8)
    return packed(np.stack([left, right]))


def packed(nibbles):
    nibbles = nibbles.astype(np.uint8)
    return np.ascontiguousarray(nibbles[:, ::2] << 4 | nibbles[:, 1::2]).view(np.uint64)


def plain_similarity(left, right):
    left, right = (
        [n for byte in row.view(np.uint8) for n in (byte >> 4, byte & 15)] for row in (left, right)
    )
    pairs = list(zip(left, right, strict=True))
    either = sum(a > 0 or b > 0 for a, b in pairs)
    both = sum(a > 0 and b > 0 for a, b in pairs)
    equal = sum(a == b > 0 for a, b in pairs)
    return max((15 * equal - both) / 14, 0) / either if equal else 0.0


def linked(checks, buckets, *, order=None, fixed=(), sets=None):
    """Documents that lie in these buckets."""
    count = len(checks)
    members = np.array([one for bucket in buckets for one in bucket], np.int32)
    ends = np.cumsum([0, *map(len, buckets)]).astype(np.int64)
    sets = [[] for _ in range(count)] if sets is None else sets
    values = np.array([one for row in sets for one in sorted(row)], np.uint64)
    set_ends = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    order = np.arange(count) if order is None else np.array(order)
    mask = np.isin(np.arange(count), [*fixed])
    own = by_document(members, ends, count)
    return Linked(order, mask, checks, values, set_ends, members, ends, *own)


SKETCH, TEXT = Rule(0.5, False, False), Rule(0.5, True, False)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_equal_checks_are_counted_and_chance_is_taken_off(share):
    checks = similar(share)
    found = similarity(checks, 0, 1)
    assert found == pytest.approx(plain_similarity(checks[0], checks[1]))
    assert found == pytest.approx(max(0, (15 * share - 1) / 14), abs=0.002)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_similarity_is_that_of_the_plain_twin_and_symmetric(seed, empty):
    random = np.random.default_rng(seed)
    nibbles = random.integers(0, 16, (2, 512)) * (random.random((2, 512)) >= empty)
    nibbles[1, :300] = nibbles[0, :300]
    checks = packed(nibbles)
    found = similarity(checks, 0, 1)
    assert found == pytest.approx(plain_similarity(checks[0], checks[1]))
    assert found == similarity(checks, 1, 0)


@pytest.mark.skipif(JIT_OFF, reason="100,000 pairs need compiled code")
@pytest.mark.parametrize("true", [0.3, 0.5, 0.7, 0.8, 0.95])
def test_the_error_of_similarities_over_1e5_pairs_is_that_of_theory(true):
    # Checks as sets of many n-grams have them: equal with the probability J, else independent.
    random = np.random.default_rng(17)
    pairs, found = 100_000, []
    for _ in range(10):
        left = random.integers(1, 16, (pairs // 10, 512))
        other = random.integers(1, 16, left.shape)
        right = np.where(random.random(left.shape) < true, left, other)
        checks = np.concatenate([packed(left), packed(right)])
        found += [similarity(checks, i, i + len(left)) for i in range(len(left))]
    error = np.array(found) - true
    # Four bits a check: a different one is taken for equal in one of fifteen cases.
    seen = true + (1 - true) / 15
    deviation = np.sqrt(seen * (1 - seen) / 512) * 15 / 14
    assert abs(error.mean()) < 4 * deviation / np.sqrt(pairs)
    assert error.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(error).max() < MARGIN


def test_a_chain_cannot_remove_what_does_not_resemble_the_one_that_stays():
    # Each document resembles its neighbours alone, and shares a bucket with them.
    stream = np.random.default_rng(3).integers(1, 16, 512 + 12 * 128)
    nibbles = np.zeros((12, 12 * 128 + 512), np.int64)
    for i in range(12):
        nibbles[i, 128 * i : 128 * i + 512] = stream[128 * i : 128 * i + 512]
    pairs = [(i, i + 1) for i in range(11)]
    known = linked(packed(nibbles), pairs)
    labels = np.zeros(12, np.int32)
    assert set(first_of_links(known, labels)[0].tolist()) == {0}
    kept, scores = followers(known, SKETCH)
    assert kept.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]
    assert (scores[1::2] >= 0.5).all()


def test_by_text_the_sets_decide_and_not_the_estimate():
    checks = similar(0.6)
    sets = [{1, 2, 3, 4}, {1, 2, 3, 9}]
    kept, scores = followers(linked(checks, [(0, 1)], sets=sets), TEXT)
    assert (kept.tolist(), scores.tolist()) == ([0, 0], [1.0, 3 / 5])
    sets = [{1, 2, 3, 4}, {1, 2, 8, 9}]
    kept, _ = followers(linked(checks, [(0, 1)], sets=sets), TEXT)
    assert kept.tolist() == [0, 1]


def test_containment_is_the_share_of_the_documents_own_ngrams():
    sets = [set(range(20)), {1, 2, 3, 99}]
    for order, kept in (([0, 1], [0, 0]), ([1, 0], [0, 1])):
        known = linked(similar(0.3), [(0, 1)], sets=sets, order=order)
        found, scores = followers(known, Rule(0.7, True, True))
        assert found.tolist() == kept
        assert scores[1] == (0.75 if kept[1] == 0 else 1.0)


def test_documents_of_earlier_runs_stay_whatever_they_resemble():
    checks = np.repeat(similar(1.0)[:1], 3, axis=0)
    known = linked(checks, [(0, 1, 2)], order=[1, 2, 0], fixed=(1, 2))
    assert followers(known, SKETCH)[0].tolist() == [1, 1, 2]
    assert first_of_links(known, np.zeros(3, np.int32))[0].tolist() == [1, 1, 2]


def test_a_bucket_offers_no_more_than_its_leaders():
    count = LEADERS + 2
    nibbles = np.random.default_rng(1).integers(1, 16, (count, 512))
    nibbles[-1] = nibbles[-2]
    checks, everyone = packed(nibbles), [tuple(range(count))]
    # The last two are equal, but stand behind the limit of a bucket that all share.
    assert followers(linked(checks, everyone), SKETCH)[0].tolist() == list(range(count))
    early = linked(checks, everyone, order=[count - 1, *range(count - 1)])
    assert followers(early, SKETCH)[0][count - 2] == count - 1


@pytest.mark.skipif(JIT_OFF, reason="a million documents need compiled code")
@pytest.mark.parametrize("size", [1_000_000, 1000, 2])
def test_a_million_documents_in_few_or_many_buckets_cost_no_square(size):
    count = 1_000_000
    members = np.arange(count, dtype=np.int32)
    ends = np.arange(0, count + 1, size)
    own = by_document(members, ends, count)
    nothing, checks = np.zeros(0, np.uint64), np.ones((count, 4), np.uint64)
    places = np.zeros(count + 1, np.int64)
    mask = np.zeros(count, np.bool_)
    known = Linked(np.arange(count), mask, checks, nothing, places, members, ends, *own)
    labels = (members // size).astype(np.int32)
    for kept, _ in (followers(known, SKETCH), first_of_links(known, labels)):
        assert np.array_equal(kept, members // size * size)
