"""Masks of eight bytes against looking at each of them."""

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.eight import below, eight, first, letters, same, zeros

few = settings(max_examples=20 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 300)
EIGHT = st.binary(min_size=8, max_size=8)


def number(text: bytes) -> np.uint64:
    return np.uint64(eight(np.frombuffer(text, np.uint8), 0))  # compiled, it gives an int


def marked(mask: np.uint64) -> list[bool]:
    found = int(mask).to_bytes(8, "little")
    assert set(found) <= {0, 0x80}
    return [byte == 0x80 for byte in found]


def test_the_first_byte_is_the_lowest():
    assert int(number(b"abcdefgh")) == int.from_bytes(b"abcdefgh", "little")


@few
@given(EIGHT, st.integers(0, 255), st.integers(0, 128))
def test_masks_mean_the_bytes_they_say(text, byte, bound):
    ours = number(text)
    assert marked(same(ours, np.uint64(byte))) == [each == byte for each in text]
    assert marked(zeros(ours)) == [each == 0 for each in text]
    assert marked(below(ours, np.uint64(bound))) == [each < bound for each in text]
    assert marked(letters(ours)) == [bytes([each]).isalpha() for each in text]


@few
@given(st.lists(st.booleans(), min_size=8, max_size=8).filter(any))
def test_the_first_marked_byte_is_found(places):
    mask = sum(0x80 << 8 * place for place, meant in enumerate(places) if meant)
    assert first(np.uint64(mask)) == places.index(True)
