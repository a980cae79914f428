"""Hashes are the published ones, and tables find what was entered first."""

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import hashing

few = settings(
    max_examples=20 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 200, deadline=None
)


def test_mixing_is_the_last_step_of_murmur3():
    assert hashing.mix(np.uint64(0)) == 0
    assert hashing.mix(np.uint64(1)) == 0xB456BCFC34C2CB2C


@few
@given(st.binary(), st.binary())
def test_a_word_hashes_alike_as_python_integers(word, after):
    whole = np.frombuffer(word + after, np.uint8)
    assert hashing.hash_word(word) == hashing.hash_bytes(whole, 0, len(word))


@few
@given(st.binary(), st.binary(), st.binary())
def test_a_stretch_hashes_alike_wherever_it_lies(before, data, after):
    whole = np.frombuffer(before + data + after, np.uint8)
    alone = np.frombuffer(data, np.uint8)
    found = hashing.hash_bytes(whole, len(before), len(before) + len(data))
    assert found == hashing.hash_bytes(alone, 0, len(data))


def test_short_stretches_have_different_hashes():
    texts = [bytes([a]) * n for a in range(40) for n in range(1, 20)] + [b""]
    arrays = [np.frombuffer(text, np.uint8) for text in texts]
    assert len({int(hashing.hash_bytes(a, 0, len(a))) for a in arrays}) == len(texts)


def test_order_matters_to_a_joined_hash():
    one, two = np.uint64(1), np.uint64(2)
    seed = hashing.SEED
    forward = hashing.join(np.uint64(hashing.join(seed, one)), two)
    backward = hashing.join(np.uint64(hashing.join(seed, two)), one)
    assert forward != backward


@few
@given(st.lists(st.integers(0, 30) | st.integers(2**64 - 30, 2**64 - 1)))
def test_a_table_gives_the_first_item_with_a_key(numbers):
    keys = np.array(numbers, np.uint64)
    slots = np.full(4 * max(len(keys), 1), -7, np.int32)
    mask = hashing.clear(slots, len(keys))
    assert mask + 1 <= len(slots)
    found = [hashing.first_seen(keys, item, slots, mask) for item in range(len(keys))]
    assert found == [numbers.index(number) for number in numbers]
