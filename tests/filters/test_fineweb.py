"""FineWeb's signals against datatrove's lines written out in plain Python."""

import math
import os
from importlib.resources import files

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import index
from curate.kernel import each
from filters import fineweb

few = settings(
    max_examples=15 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 300, deadline=None
)

TABLE = (files("filters") / "lists" / "terminal_punctuation.txt").read_text(encoding="utf-8")
TERMINAL = tuple(chr(int(line, 16)) for line in TABLE.splitlines()[1:])


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip() != ""]


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


def duplicated(text: str) -> float:
    seen, found = set(), 0
    for line in lines(text):
        found += len(line) if line in seen else 0
        seen.add(line)
    return found / len(text.replace("\n", "")) if lines(text) else math.nan


TWINS = {
    fineweb.line_punct_ratio: lambda t: share([line.endswith(TERMINAL) for line in lines(t)]),
    fineweb.short_line_ratio: lambda t: share([len(line) <= 30 for line in lines(t)]),
    fineweb.char_dup_ratio: duplicated,
    fineweb.list_ratio: lambda t: t.count("\n") / len(t.split()) if t.split() else math.nan,
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)

PARTS = ["a", "é", "一", ".", "।", "。", "!", " ", "\n", "\n", "\r", "\u3000", "x" * 15, "一" * 15]
PROSE = st.lists(st.sampled_from([*PARTS, "𑗕", "😀"]), max_size=30).map("".join)
EDGES = ["", "a", "\n", "\n \n", ".", "a. ", "\0", "x" * 30, "x" * 31, "a.\n\na.\n", "一" * 30]


def measured(signal, texts: list[str | bytes]) -> list[float]:
    return each(signal.measure, index(view(pa.array(texts)))).tolist()


@SIGNALS
@few
@given(PROSE)
def test_a_signal_is_what_its_twin_says(signal, text):
    assert measured(signal, [text]) == pytest.approx([TWINS[signal](text)], nan_ok=True)


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    expected = [TWINS[signal](text) for text in EDGES]
    assert measured(signal, EDGES) == pytest.approx(expected, nan_ok=True)


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(measured(signal, [data])) == 1


def test_every_terminal_mark_ends_a_line():
    texts = [f"a{mark}" for mark in TERMINAL] + ["a,", "a ", 'a"']
    assert measured(fineweb.line_punct_ratio, texts) == [1.0] * len(TERMINAL) + [0.0] * 3


def test_bounds_are_those_of_datatrove():
    assert [(s.low, s.high) for s in TWINS] == [
        (0.12, math.inf),
        (-math.inf, 0.67),
        (-math.inf, 0.01),
        (-math.inf, 0.3),
    ]
