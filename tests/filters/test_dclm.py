"""DCLM's signals against its functions written out in plain Python."""

import math
import os
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.signal import measured
from curate.unicode_words import word_places
from filters import dclm

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=10 if PLAIN else 200, deadline=None)

STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}
SIGNS = ("#", "...", ". . .", "…")


def pieces(text: str, by: str) -> list[str]:
    return [piece for one in text.split(by) if (piece := one.strip())]


def unicode_words(text: str) -> list[str]:
    """Words as uniseg cuts them, proved equal elsewhere, that begin with a letter or digit."""
    places, data = word_places(view(pa.array([text])), by_first=True), text.encode()
    return [data[s:e].decode() for s, e in zip(places.starts, places.ends, strict=True)]


def fasttext_words(text: str) -> int:
    for separator in "\n\r\t\v\f\0":
        text = text.replace(separator, " ")
    return sum(token[0].isalnum() for token in text.split(" ") if token)


def symbols(text: str) -> float:
    return sum(map(text.count, SIGNS)) / len(text.split()) if text.split() else math.nan


def lines_where(text: str, holds) -> float:
    return sum(map(holds, pieces(text, "\n"))) / max(len(pieces(text, "\n")), 1)


def repeated(text: str, by: str, weight) -> float:
    counts = Counter(pieces(text, by))
    if not counts:
        return math.nan
    total = sum(weight(piece) * count for piece, count in counts.items())
    return sum(weight(piece) * count for piece, count in counts.items() if count > 1) / total


def grams(text: str, size: int) -> tuple[list[str], list[tuple[str, ...]]]:
    words = unicode_words(text)
    return words, [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


def top(text: str, size: int) -> float:
    words, found = grams(text, size)
    counts = Counter(found)
    most = max(counts.values(), default=0)
    if not text or most < 2:
        return 0.0 if text else math.nan
    longest = max(len("".join(gram)) for gram, count in counts.items() if count == most)
    return longest * most / len("".join(words))


def duplicated(text: str, size: int) -> float:
    words, found = grams(text, size)
    counts = Counter(found)
    covered = {at + i for at, gram in enumerate(found) if counts[gram] > 1 for i in range(size)}
    if not words:
        return 0.0 if text else math.nan
    return sum(len(words[at]) for at in covered) / len("".join(words))


TWINS = {
    dclm.word_count: fasttext_words,
    dclm.symbol_ratio: symbols,
    dclm.bullet_lines: lambda t: lines_where(t, lambda line: line[0] in "●•*-"),
    dclm.ellipsis_lines: lambda t: lines_where(t, lambda line: line.endswith(SIGNS[1:])),
    dclm.stop_words: lambda t: sum(word.lower() in STOP for word in t.split()),
    dclm.duplicate_lines: lambda t: repeated(t, "\n", lambda piece: 1),
    dclm.duplicate_paragraphs: lambda t: repeated(t, "\n\n", lambda piece: 1),
    dclm.duplicate_line_characters: lambda t: repeated(t, "\n", len),
    dclm.duplicate_paragraph_characters: lambda t: repeated(t, "\n\n", len),
    dclm.top_2gram: lambda t: top(t, 2),
    dclm.top_3gram: lambda t: top(t, 3),
    dclm.top_4gram: lambda t: top(t, 4),
    dclm.duplicate_5grams: lambda t: duplicated(t, 5),
    dclm.duplicate_6grams: lambda t: duplicated(t, 6),
    dclm.duplicate_7grams: lambda t: duplicated(t, 7),
    dclm.duplicate_8grams: lambda t: duplicated(t, 8),
    dclm.duplicate_9grams: lambda t: duplicated(t, 9),
    dclm.duplicate_10grams: lambda t: duplicated(t, 10),
}
PARTS = ["the", "The", "a", "é", "一", "1", "#", ".", "..", ". . .", "…", "●", "•", "-", "*", "😀"]
GAPS = ["", " ", " ", "\n", "\n\n", "\r\n", "\u2028", "\u3000", "\x1f", "\0", "\t"]
PROSE = st.lists(st.sampled_from(PARTS + GAPS), max_size=30).map("".join)
REPETITIVE = st.lists(st.sampled_from(["a b c d e f g", "x y z", "b c d e f", "w", "\n"])).map(
    " ".join
)
EDGES = ["", "a", "\n", " \n\n ", "\0", "😀", "....", ". . . . .", "... . .", "#…#", "一二三", "!?"]


def numbers(signals, texts: list[str] | list[bytes]) -> list[list[float]]:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts)})
    return [found.tolist() for found in measured(tuple(signals), batch)]


@few
@given(PROSE | REPETITIVE | st.text(max_size=40))
def test_every_signal_is_what_its_twin_says(text):
    expected = [twin(text) for twin in TWINS.values()]
    found = [row[0] for row in numbers(TWINS, [text])]
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    expected = [TWINS[signal](text) for text in EDGES]
    assert numbers([signal], EDGES)[0] == pytest.approx(expected, nan_ok=True)


@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(data):
    assert len(numbers(TWINS, [data])) == len(TWINS)


def test_real_pages_are_measured_like_their_twins(pages):
    some = pages[:1] if PLAIN else pages
    for signal, found in zip(TWINS, numbers(TWINS, some), strict=True):
        assert found == pytest.approx([TWINS[signal](text) for text in some]), signal.name


def test_one_enormous_word_and_one_said_often_are_measured_in_linear_time():
    size = 1_000 if PLAIN else 300_000
    texts = ["x" * size, "ab " * size]
    for signal, found in zip(TWINS, numbers(TWINS, texts), strict=True):
        assert found == pytest.approx([TWINS[signal](text) for text in texts]), signal.name


def test_the_configuration_gives_the_bounds():
    bounds = [(signal.low, signal.high) for signal in TWINS]
    assert bounds[:5] == [
        (50, 100_000),
        (-math.inf, 0.1),
        (-math.inf, 0.9),
        (-math.inf, 0.3),
        (2, math.inf),
    ]
    highs = [0.3, 0.3, 0.2, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
    assert [high for _, high in bounds[5:]] == highs
