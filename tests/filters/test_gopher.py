"""Gopher's quality signals against the rules written out in plain Python."""

import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.signal import measure
from filters import gopher

few = settings(
    max_examples=15 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 300, deadline=None
)

STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


def per_word(text: str, count: int) -> float:
    return count / len(text.split()) if text.split() else math.nan


def mean_length(text: str) -> float:
    return per_word(text, sum(map(len, text.split())))


TWINS = {
    gopher.word_count: lambda text: len(text.split()),
    gopher.mean_word_length: mean_length,
    gopher.hash_ratio: lambda text: per_word(text, text.count("#")),
    gopher.ellipsis_ratio: lambda text: per_word(text, text.count("...") + text.count("…")),
    gopher.bullet_lines: lambda text: share(
        [line.lstrip().startswith(("•", "-")) for line in text.splitlines()]
    ),
    gopher.ellipsis_lines: lambda text: share(
        [line.rstrip().endswith(("...", "…")) for line in text.splitlines()]
    ),
    gopher.alphabetic_words: lambda text: share(
        [any(map(str.isalpha, word)) for word in text.split()]
    ),
    gopher.stop_words: lambda text: len(STOP & set(text.split())),
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)

PARTS = ["the", "of", "The", "a", "é", "一", "1", "#", ".", "...", "…", "•", "-", "😀", "\u2020"]
GAPS = ["", " ", "\n", "\r\n", "\r", "\u2028", "\x85", "\u3000", "\x1f", "\n\n", "\0"]
PROSE = st.lists(st.sampled_from(PARTS + GAPS), max_size=30).map("".join)
EDGES = ["", "a", "\n", "\n\n\n", " ", "\0", "😀", "....", ".. .", "- a\n• b\r\n* c", "of the"]


@SIGNALS
@few
@given(PROSE)
def test_a_signal_is_what_its_twin_says(signal, text):
    assert measure(signal, [text]) == pytest.approx([TWINS[signal](text)], nan_ok=True)


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    expected = [TWINS[signal](text) for text in EDGES]
    assert measure(signal, EDGES) == pytest.approx(expected, nan_ok=True)


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(measure(signal, [data])) == 1


@SIGNALS
def test_a_long_line_is_measured(signal):
    words = 1_000 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 200_000
    text = "then# " * words
    assert measure(signal, [text]) == pytest.approx([TWINS[signal](text)], nan_ok=True)


def test_bounds_are_those_of_the_paper():
    bounds = {signal.name: (signal.low, signal.high) for signal in TWINS}
    assert bounds == {
        "gopher.word_count": (50, 100_000),
        "gopher.mean_word_length": (3, 10),
        "gopher.hash_ratio": (-math.inf, 0.1),
        "gopher.ellipsis_ratio": (-math.inf, 0.1),
        "gopher.bullet_lines": (-math.inf, 0.9),
        "gopher.ellipsis_lines": (-math.inf, 0.3),
        "gopher.alphabetic_words": (0.8, math.inf),
        "gopher.stop_words": (2, math.inf),
    }
