"""OSCAR's filter and annotations against the conditions of its source."""

import os
import unicodedata
from math import floor

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.signal import measured
from filters import ungoliant

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=10 if PLAIN else 200, deadline=None)


def lines(text: str) -> list[str]:
    """Those of Rust's `lines`."""
    *ended, last = text.split("\n")
    return [line.removesuffix("\r") for line in ended] + ([last] if last else [])


def is_kept(text: str) -> bool:
    sizes = [len(line) for line in lines(text)]
    return not sum(size for size in sizes if size >= 100) < 0.6 * sum(sizes)


def has_few_short(own: list[str], fifth: int) -> bool:
    return sum(len(line.encode()) < 100 for line in own) <= floor(fifth * 0.5)


def letters(text: str) -> int:
    return sum(unicodedata.category(character)[0] in "LM" for character in text)


def fifth(text: str) -> int:
    return floor(len(lines(text)) * 0.2)


# Whether the filter keeps a document, or it is without an annotation.
TWINS = {
    ungoliant.long_lines: is_kept,
    ungoliant.line_count: lambda t: len(lines(t)) >= 5,
    ungoliant.short_lines: lambda t: (
        sum(len(line) <= 100 for line in lines(t)) <= len(lines(t)) // 2
    ),
    ungoliant.header: lambda t: has_few_short(lines(t)[: fifth(t)], fifth(t)),
    ungoliant.footer: lambda t: has_few_short(lines(t)[len(lines(t)) - fifth(t) :], fifth(t)),
    ungoliant.noise: lambda t: len(t) - letters(t) <= len(t) // 2,
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)
LINES = st.sampled_from(["", "short", "é" * 99, "x" * 99, "x" * 100, "é" * 100, "x" * 101, "1.,-"])
TEXTS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\n", "\r\n", "\r"])), max_size=30).map(
    lambda pairs: "".join(line + end for line, end in pairs)
)


def is_within(signal, texts: list[str | bytes]) -> list[bool]:
    numbers = measured((signal,), pa.record_batch({"text": pa.array(texts)}))[0]
    return signal.keeps(numbers).tolist()


@SIGNALS
@few
@given(TEXTS | st.text(max_size=30))
def test_a_bound_is_broken_where_the_source_says(signal, text):
    assert is_within(signal, ["before", text]) == [TWINS[signal]("before"), TWINS[signal](text)]


@SIGNALS
@pytest.mark.parametrize("text", ["", "a", "\n", "\r\n", "\r", "...", "北" * 100, "x" * 9000])
def test_edges(signal, text):
    assert is_within(signal, [text]) == [TWINS[signal](text)]


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(is_within(signal, [data])) == 1
