"""Phrases are found wherever a search in the text in lower case finds them."""

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernel import helper
from curate.phrases import phrases, phrases_in

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=30 if PLAIN else 500, deadline=None)

LISTED = ["lorem ipsum", "use cookies", "uses cookies", "javascript", "site"]
SHORT, LONG = phrases([one.encode() for one in LISTED]), phrases([b"lorem ipsum", b"use cookies"])
PIECES = [
    *("lorem ipsum", "LOREM", " Ipsum", "use", "uses", " cookies", " COO", "\u212aies", "kies"),
    *("java", "Script", "JavaScript", "site", "SITE", "si", "te", " ", "é", "@", "[", "\0", "x"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)


@helper
def found_short(text, start, end, kelvin):
    return phrases_in(text, start, end, SHORT, kelvin)


@helper
def found_long(text, start, end, kelvin):
    return phrases_in(text, start, end, LONG, kelvin)


def listed(text: str, some: list[str]) -> int:
    return sum(1 << bit for bit, phrase in enumerate(some) if phrase in text)


def raw(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@few
@given(TEXTS)
def test_phrases_are_found_in_lower_case_of_ascii_or_with_the_kelvin_sign(text):
    data, small = raw(text), text.encode().lower().decode()
    assert found_short(data, 0, len(data), False) == listed(small, LISTED)
    assert found_short(data, 0, len(data), True) == listed(text.lower(), LISTED)
    assert found_long(data, 0, len(data), False) == listed(small, LISTED[:2])
    assert found_long(data, 0, len(data), True) == listed(text.lower(), LISTED[:2])


@few
@given(TEXTS, st.data())
def test_only_what_lies_within_the_stretch_is_found(text, data):
    whole = raw(text)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    part = text.encode()[start:end].lower()
    expected = sum(1 << bit for bit, phrase in enumerate(LISTED) if phrase.encode() in part)
    assert found_short(whole, start, end, False) == expected
