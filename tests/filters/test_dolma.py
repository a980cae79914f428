"""Dolma's Gopher rules against the rules written out in plain Python."""

import math
import os
import re
import statistics
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import index
from curate.kernel import each
from curate.signal import Signal
from filters import dolma

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=15 if PLAIN else 150, deadline=None)

REQUIRED = {"the", "be", "to", "of", "and", "that", "have", "with"}


def per(count: float, number: int) -> float:
    return count / max(number, 1)


def per_word(text: str, hits: list[bool]) -> float:
    return per(sum(hits), len(text.split()))


def lines(text: str, version: int) -> list[str]:
    return text.split("\n") if version == 1 else re.split("\n+", text)


def per_line(text: str, version: int, hits) -> float:
    return per(sum(map(hits, lines(text, version))), len(lines(text, version)))


def word_characters(text: str) -> int:
    return len("".join(text.split()))


def copies(text: str, version: int) -> list[str]:
    counts = Counter(lines(text, version))
    return [line for line in lines(text, version) if counts[line] > 1]


def bullets(version: int):
    return lambda text: per_line(text, version, lambda line: line.startswith(("*", "-")))


def ellipses(version: int):
    return lambda text: per_line(text, version, lambda line: line.endswith("…"))


def duplicates(version: int):
    return lambda text: per(len(copies(text, version)), len(lines(text, version)))


def grams(text: str, size: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


def top(size: int):
    def share(text: str) -> float:
        found = grams(text, size)
        if not found:
            return math.nan
        gram, count = Counter(found).most_common(1)[0]
        return count * len("".join(gram)) / word_characters(text)

    return share


def repeated(size: int):
    def share(text: str) -> float:
        found = grams(text, size)
        if not found:
            return math.nan
        counts = Counter(found)
        sizes = {gram: len("".join(gram)) for gram in counts}
        many = sum(count * sizes[gram] for gram, count in counts.items() if count > 1)
        return many / sum(count * sizes[gram] for gram, count in counts.items())

    return share


TWINS = {
    dolma.character_count: len,
    dolma.word_count: lambda text: len(text.split()),
    dolma.median_word_length: lambda text: statistics.median(map(len, text.split() or [""])),
    dolma.symbol_to_word_ratio: lambda text: per_word(
        text, ["#" in word or "…" in word for word in text.split()]
    ),
    dolma.alphabetic_words: lambda text: per_word(
        text, [any(map(str.isalpha, word)) for word in text.split()]
    ),
    dolma.required_word_count: lambda text: sum(word in REQUIRED for word in text.split()),
    dolma.bullet_lines: bullets(1),
    dolma.bullet_lines_v2: bullets(2),
    dolma.ellipsis_lines: ellipses(1),
    dolma.ellipsis_lines_v2: ellipses(2),
    dolma.duplicate_lines: duplicates(1),
    dolma.duplicate_lines_v2: duplicates(2),
    dolma.duplicate_line_characters: lambda text: per(
        len("".join(copies(text, 1))), word_characters(text)
    ),
    dolma.top_2gram: top(2),
    dolma.top_3gram: top(3),
    dolma.top_4gram: top(4),
    dolma.duplicate_5grams: repeated(5),
    dolma.duplicate_6grams: repeated(6),
    dolma.duplicate_7grams: repeated(7),
    dolma.duplicate_8grams: repeated(8),
    dolma.duplicate_9grams: repeated(9),
    dolma.duplicate_10grams: repeated(10),
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)

WORDS = st.sampled_from(["a", "b", "ab", "é一", "😀", "the", "#", "to…", "…", "*", "-", "1", "#1"])
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n \n", "\n\n\n", "\u3000", ""])
PROSE = st.lists(WORDS | GAPS, max_size=80).map("".join)
REPETITIVE = st.lists(st.sampled_from(["a b c d e f g", "x y z\n", "b c d e f", "\n\n"])).map(
    " ".join
)
ANY = PROSE | REPETITIVE | st.text(max_size=40)
EDGES = [
    *(
        "",
        "a",
        "\n",
        "\n\n\n",
        " ",
        "\0",
        "😀",
        "\na\n",
        "a\n\na",
        "a\n\n\na\n\n",
        "a b",
        "a a a a",
    ),
    *(
        "x" * 5000,
        "x" * 5000 + " y",
        "!?.,;:#",
        "中文字符没有空格",
        "…\n…",
        "* a\n- b\n\n• c",
        "#…",
        "…#",
    ),
]


def measured(signal, texts: list[str | bytes]) -> list[float]:
    return each(signal.measure, index(view(pa.array(texts)))).tolist()


@SIGNALS
@few
@given(ANY)
def test_a_signal_is_what_its_twin_says(signal, text):
    assert measured(signal, [text]) == pytest.approx([TWINS[signal](text)], rel=0, nan_ok=True)


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    expected = [TWINS[signal](text) for text in EDGES]
    assert measured(signal, EDGES) == pytest.approx(expected, rel=0, nan_ok=True)


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(measured(signal, [data])) == 1


@SIGNALS
def test_real_pages_are_measured_like_their_twins(signal, pages):
    some = pages[:2] if PLAIN else pages
    expected = [TWINS[signal](text) for text in some]
    assert measured(signal, some) == pytest.approx(expected, rel=0, nan_ok=True)


@SIGNALS
@few
@given(st.lists(ANY, max_size=5))
def test_the_order_of_texts_changes_no_number(signal, texts):
    backwards = measured(signal, texts[::-1])[::-1]
    assert measured(signal, texts) == pytest.approx(backwards, rel=0, nan_ok=True)


@SIGNALS
def test_a_word_said_many_times_is_measured_in_linear_time(signal):
    text = "ab " * (1_000 if PLAIN else 300_000)
    assert measured(signal, [text]) == pytest.approx([TWINS[signal](text)], rel=0)


def test_every_signal_of_the_module_has_a_twin():
    every = [value for value in vars(dolma).values() if isinstance(value, Signal)]
    assert {one.name for one in every} == {one.name for one in TWINS}


def test_the_median_of_two_words_lies_between_them():
    assert measured(dolma.median_word_length, ["a bcd", "a bcde", "ab cd", "a b " + "x" * 99]) == [
        *(2.0, 2.5, 2.0, 1.0)
    ]


def test_the_mixer_of_dolma_gives_the_bounds():
    bounds = [(one.low, one.high) for one in TWINS][1:]
    lows = [50, 3, -math.inf, 0.8, 2] + [-math.inf] * 16
    highs = [100_000, 10, 0.1, math.inf, math.inf, 0.9, 0.9, *[0.3] * 5]
    highs += [0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
    assert bounds == list(zip(lows, highs, strict=True))
    assert all(before > after for before, after in pairwise(highs[-9:]))
