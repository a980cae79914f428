"""Which documents share a key, and which are linked: against plain twins, and at a million."""

import os
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.buckets import Buckets, buckets, flatten, unite

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
# Some keys are neighbours and some lie in one chunk: both are where a table would go wrong.
KEYS = st.one_of(st.integers(0, 6), st.integers(2**64 - 3, 2**64 - 1))


def shown(found: Buckets) -> list[tuple[int, ...]]:
    pieces = np.split(found.members, found.ends[1:-1]) if len(found.ends) > 1 else []
    return [tuple(piece.tolist()) for piece in pieces]


def plain_buckets(keys):
    rows = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return {tuple(members) for members in rows.values() if len(members) > 1}


def plain_links(count, groups):
    label = list(range(count))
    for group in groups:
        for member in group:
            low, high = sorted((label[group[0]], label[member]))
            label = [low if one == high else one for one in label]
    return label


@settings(deadline=None)
@given(st.lists(KEYS, max_size=40))
def test_a_bucket_holds_the_documents_of_a_key_that_occurs_twice_in_their_order(keys):
    found = buckets(np.array(keys, np.uint64), np.arange(len(keys), dtype=np.int32))
    assert sorted(shown(found)) == sorted(plain_buckets(keys))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 3000), st.integers(1, 6000))
def test_buckets_over_many_chunks_are_those_of_the_plain_twin(seed, count, distinct):
    count = min(count, 100) if JIT_OFF else count
    keys = np.random.default_rng(seed).integers(0, distinct, count).astype(np.uint64) << 40
    found = buckets(keys, np.arange(count, dtype=np.int32))
    assert sorted(shown(found)) == sorted(plain_buckets(keys.tolist()))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 19), min_size=2, max_size=5), max_size=12))
def test_links_go_through_others_and_the_smallest_stands_for_all(groups):
    parents = np.arange(20, dtype=np.int32)
    members = np.array([one for group in groups for one in group], np.int32)
    unite(parents, members, np.cumsum([0, *map(len, groups)]).astype(np.int64))
    sizes = flatten(parents)
    plain = plain_links(20, groups)
    assert parents.tolist() == plain
    assert sizes.tolist() == [plain.count(i) if plain[i] == i else 0 for i in range(20)]


@pytest.mark.skipif(JIT_OFF, reason="a million documents need compiled code")
@pytest.mark.parametrize("distinct", [1, 1000, 500_000])
def test_a_million_documents_in_few_or_many_buckets_cost_no_square(distinct):
    count = 1_000_000
    keys = np.arange(count, dtype=np.uint64) % np.uint64(distinct)
    found = buckets(keys, np.arange(count, dtype=np.int32))
    assert len(found.ends) - 1 == distinct
    parents = np.arange(count, dtype=np.int32)
    unite(parents, found.members, found.ends)
    assert flatten(parents)[:distinct].tolist() == [count // distinct] * distinct
    assert np.array_equal(parents, np.arange(count) % distinct)
