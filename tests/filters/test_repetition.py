"""Gopher's repetition signals against datatrove's algorithm written out in plain Python."""

import math
import os
import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import index
from curate.kernel import each
from filters import repetition

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=10 if PLAIN else 300, deadline=None)


def duplicates(pieces: list[str]) -> tuple[int, int]:
    seen, count, characters = set(), 0, 0
    for piece in pieces:
        if piece in seen:
            count += 1
            characters += len(piece)
        seen.add(piece)
    return count, characters


def paragraphs(text: str) -> list[str]:
    return re.split(r"\n{2,}", text.strip())


def lines(text: str) -> list[str]:
    return re.split(r"\n+", text)


def top(text: str, size: int) -> float:
    words = text.split()
    grams = [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]
    if not grams:
        return 0.0
    gram, count = Counter(grams).most_common(1)[0]
    return len(gram) * count / len(text)


def duplicated(text: str, size: int) -> float:
    words, seen, found, at = text.split(), set(), 0, 0
    while at < len(words) - size + 1:
        gram = tuple(words[at : at + size])
        if gram in seen:
            found += len("".join(gram))
            at += size
        else:
            seen.add(gram)
            at += 1
    return found / len(text)


TWINS = {
    repetition.duplicate_paragraphs: lambda t: duplicates(paragraphs(t))[0] / len(paragraphs(t)),
    repetition.duplicate_paragraph_characters: lambda t: duplicates(paragraphs(t))[1] / len(t),
    repetition.duplicate_lines: lambda t: duplicates(lines(t))[0] / len(lines(t)),
    repetition.duplicate_line_characters: lambda t: duplicates(lines(t))[1] / len(t),
    repetition.top_2gram: lambda t: top(t, 2),
    repetition.top_3gram: lambda t: top(t, 3),
    repetition.top_4gram: lambda t: top(t, 4),
    repetition.duplicate_5grams: lambda t: duplicated(t, 5),
    repetition.duplicate_6grams: lambda t: duplicated(t, 6),
    repetition.duplicate_7grams: lambda t: duplicated(t, 7),
    repetition.duplicate_8grams: lambda t: duplicated(t, 8),
    repetition.duplicate_9grams: lambda t: duplicated(t, 9),
    repetition.duplicate_10grams: lambda t: duplicated(t, 10),
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)

WORDS = st.lists(st.sampled_from(["a", "b", "ab", "é一", "😀", "the"]), max_size=60)
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n \n", "\n\n\n", "\u3000"])
PROSE = WORDS.flatmap(
    lambda words: st.lists(GAPS, min_size=len(words) + 1, max_size=len(words) + 1).map(
        lambda gaps: gaps[0] + "".join(w + g for w, g in zip(words, gaps[1:], strict=True))
    )
)
# A few phrases again and again, so that long n-grams repeat.
REPETITIVE = st.lists(st.sampled_from(["a b c d e f g", "x y z", "b c d e f", "w"])).map(" ".join)
EDGES = ["a", "\n", "\n\n\n", " ", "\0", "😀", "\na\n", "a\n\na", "a\n\n\na\n\n", "a b", "a a a a"]


def measured(signal, texts: list[str | bytes]) -> list[float]:
    return each(signal.measure, index(view(pa.array(texts)))).tolist()


@SIGNALS
@few
@given(PROSE | REPETITIVE | st.text(max_size=40))
def test_a_signal_is_what_its_twin_says(signal, text):
    expected = TWINS[signal](text) if text else math.nan
    assert measured(signal, [text]) == pytest.approx([expected], nan_ok=True)


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    assert measured(signal, EDGES) == pytest.approx([TWINS[signal](text) for text in EDGES])


@SIGNALS
def test_an_empty_text_is_undefined(signal):
    assert math.isnan(measured(signal, [""])[0])


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(measured(signal, [data])) == 1


@SIGNALS
def test_real_pages_are_measured_like_their_twins(signal, pages):
    some = pages[:2] if PLAIN else pages
    assert measured(signal, some) == pytest.approx([TWINS[signal](text) for text in some])


@SIGNALS
def test_a_word_said_many_times_is_measured_in_linear_time(signal):
    text = "ab " * (1_000 if PLAIN else 300_000)
    assert measured(signal, [text]) == pytest.approx([TWINS[signal](text)])


def test_the_paper_s_own_table_gives_the_bounds():
    bounds = [signal.high for signal in TWINS]
    assert bounds == [0.3, 0.2, 0.3, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
