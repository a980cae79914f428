"""The ledger's law, and what breaks it."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import LawError
from curate.ledger import Count, Spans, StageLedger, identity_sum

IDS = st.lists(st.binary(min_size=16, max_size=16), max_size=50)


@given(IDS)
def test_the_identity_sum_is_the_sum_of_the_ids(ids):
    expected = sum(int.from_bytes(one, "big") for one in ids) % 2**128
    assert identity_sum(pa.array(ids, pa.binary(16))) == expected


@given(IDS, st.integers(0, 10), st.integers(0, 10))
def test_a_slice_sums_its_own_rows(ids, first, length):
    array = pa.array(ids, pa.binary(16)).slice(first, length)
    expected = sum(int.from_bytes(one, "big") for one in ids[first : first + length]) % 2**128
    assert identity_sum(array) == expected


def _ids(*names: str) -> pa.Array:
    digests = [hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names]
    return pa.array(digests, pa.binary(16))


def _stage(entered: pa.Array, kept: pa.Array, dropped: pa.Array) -> StageLedger:
    return StageLedger(Count.of(entered, 0), Count.of(kept, 0), {"x": Count.of(dropped, 0)})


def test_a_balanced_stage_passes():
    _stage(_ids("a", "b", "c"), _ids("a", "c"), _ids("b")).check("here")


def test_a_lost_document_is_noticed():
    with pytest.raises(LawError, match="here"):
        _stage(_ids("a", "b", "c"), _ids("a"), _ids("b")).check("here")


def test_one_lost_and_another_doubled_is_noticed_although_the_counts_agree():
    with pytest.raises(LawError):
        _stage(_ids("a", "b", "c"), _ids("a", "a"), _ids("b")).check("here")


def test_adding_ledgers_is_adding_their_counts_and_survives_json():
    one = _stage(_ids("a", "b"), _ids("a"), _ids("b"))
    two = _stage(_ids("c"), _ids(), _ids("c"))
    one.add(two)
    one.check("sum")
    assert one.entered.documents == 3
    assert one.dropped["x"].documents == 2
    assert StageLedger.from_json(one.to_json()) == one


def test_bytes_must_balance():
    Spans(size=10, records=6, faults=3, padding=1).check("file")
    with pytest.raises(LawError, match="file"):
        Spans(size=10, records=6, faults=3).check("file")
