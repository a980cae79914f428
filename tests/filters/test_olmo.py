"""OLMo 3's signals against datamap-rs's functions written out in plain Python."""

import math
import os
import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.signal import measured
from curate.unicode_words import word_places
from curate.word_break import ALPHABETIC, entry
from filters import olmo

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=10 if PLAIN else 200, deadline=None)

STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}
ELLIPSES = ("...", ". . .", "…")
SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")


def words(text: str) -> list[str]:
    return [word for word in SPACE.split(text) if word]


def unicode_words(text: str) -> list[str]:
    """Words as unicode-segmentation cuts them, proved equal to the annex elsewhere."""
    places, data = word_places(view(pa.array([text]))), text.encode()
    return [data[s:e].decode() for s, e in zip(places.starts, places.ends, strict=True)]


def word_count(text: str) -> int:
    return len(re.findall("[A-Za-z0-9]+", text) if text.isascii() else unicode_words(text))


def mean_word_length(text: str) -> float:
    found = words(text)
    return sum(len(word.encode()) for word in found) / len(found) if found else math.nan


def symbol_ratio(text: str) -> float:
    symbols = sum(map(text.count, ("#", *ELLIPSES)))
    return symbols / max(len(words(text.replace(". . .", "..."))), 1)


def bullet_lines(text: str) -> float:
    lines = text.split("\n")
    return sum(line.startswith(("●", "•", "*", "-")) for line in lines) / len(lines)


def rust_lines(text: str) -> list[str]:
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def ellipsis_lines(text: str) -> float:
    lines = [line for line in rust_lines(text) if line]
    return sum(line.endswith(ELLIPSES) for line in lines) / max(len(lines), 1)


def words_without_letters(text: str) -> float:
    found = words(text)
    if len(found) < 2:
        return math.nan
    return sum(not any(entry(ord(c)) & ALPHABETIC for c in word) for word in found) / len(found)


def repeated(text: str, by: str, weight) -> float:
    pieces = [piece for piece in text.split(by) if piece]
    counts = Counter(pieces)
    if len(pieces) < 2:
        return 0.0 if pieces else 1.0
    found = sum(weight(piece) * count for piece, count in counts.items() if count > 1)
    return found / sum(map(weight, pieces))


def size(text: str) -> int:
    return len(text.encode())


def duplicated(text: str, length: int) -> float:
    found = unicode_words(text)
    grams = [tuple(found[at : at + length]) for at in range(len(found) - length + 1)]
    counts = Counter(grams)
    chosen = {gram for gram in grams if counts[gram] > 1}
    if length <= 4 and chosen:
        chosen = {max(counts, key=lambda gram: (counts[gram], size("".join(gram))))}
    covered = {at + i for at, gram in enumerate(grams) if gram in chosen for i in range(length)}
    return sum(size(found[at]) for at in covered) / max(size("".join(found)), 1)


TWINS = {
    olmo.character_count: len,
    olmo.word_count: word_count,
    olmo.mean_word_length: mean_word_length,
    olmo.symbol_ratio: symbol_ratio,
    olmo.bullet_lines: bullet_lines,
    olmo.ellipsis_lines: ellipsis_lines,
    olmo.words_without_letters: words_without_letters,
    olmo.stop_words: lambda t: sum(word.lower() in STOP for word in words(t)),
    olmo.duplicate_lines: lambda t: repeated(t, "\n", lambda piece: 1),
    olmo.duplicate_paragraphs: lambda t: repeated(t, "\n\n", lambda piece: 1),
    olmo.duplicate_line_bytes: lambda t: repeated(t, "\n", size),
    olmo.duplicate_paragraph_bytes: lambda t: repeated(t, "\n\n", size),
    olmo.top_2gram: lambda t: duplicated(t, 2),
    olmo.top_3gram: lambda t: duplicated(t, 3),
    olmo.top_4gram: lambda t: duplicated(t, 4),
    olmo.duplicate_5grams: lambda t: duplicated(t, 5),
    olmo.duplicate_6grams: lambda t: duplicated(t, 6),
    olmo.duplicate_7grams: lambda t: duplicated(t, 7),
    olmo.duplicate_8grams: lambda t: duplicated(t, 8),
    olmo.duplicate_9grams: lambda t: duplicated(t, 9),
    olmo.duplicate_10grams: lambda t: duplicated(t, 10),
}
PARTS = ["the", "The", "a", "don't", "é", "一", "ก", "ิ", "1", "#", ".", "..", ". . .", "…"]
PARTS += ["●", "•", "-", "*", "😀"]
GAPS = ["", " ", " ", "\n", "\n\n", "\n\n\n", "\r\n", "\u2028", "\u3000", "\x1f", "\0", "\u202f"]
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
    found = [row[0] for row in numbers(TWINS, [text])]
    assert found == pytest.approx([twin(text) for twin in TWINS.values()], nan_ok=True)


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
    many = 1_000 if PLAIN else 300_000
    texts = ["x" * many, "ab " * many]
    for signal, found in zip(TWINS, numbers(TWINS, texts), strict=True):
        expected = [TWINS[signal](text) for text in texts]
        assert found == pytest.approx(expected, nan_ok=True), signal.name


def test_the_configuration_gives_the_bounds():
    bounds = [(signal.low, signal.high) for signal in TWINS]
    none = math.inf
    assert bounds[:4] == [(150, none), (50, 100_000), (3, 10), (-none, 0.1)]
    assert bounds[4:8] == [(-none, 0.9), (-none, 0.3), (-none, 0.2), (2, none)]
    highs = [0.3, 0.3, 0.2, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
    assert [high for _, high in bounds[8:]] == highs
