"""MADLAD's questionable sentences against datamap-rs's functions written out in plain Python."""

import math
import os
import re
from importlib.resources import files

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.signal import measured
from curate.unicode_words import word_places
from filters import madlad

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=20 if PLAIN else 400, deadline=None)

SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
END, BLANK = re.compile(f"[.!?]+[{SPACES}]+"), re.compile(f"[{SPACES}]*")
LISTED = (files("filters") / "lists" / "madlad_cursed.txt").read_text("utf-8").split("\n")[1:-1]
STRINGS, PATTERNS = LISTED[:-4], [re.compile(pattern) for pattern in LISTED[-4:]]
NUMBERS = (madlad.sentences, madlad.questionable_sentences)


def unicode_words(text: str) -> list[str]:
    places, data = word_places(view(pa.array([text]))), text.encode()
    return [data[s:e].decode() for s, e in zip(places.starts, places.ends, strict=True)]


def is_questionable(sentence: str) -> bool:
    words = unicode_words(sentence)
    capitals = sum(word[0].isupper() for word in words)
    listed = len(words) >= 12 and capitals > len(words) * 0.5
    cursed = any(string in sentence for string in STRINGS)
    return listed or cursed or any(pattern.search(sentence) for pattern in PATTERNS)


def expected(text: str) -> list[float]:
    sentences = [one for one in END.split(text) if not BLANK.fullmatch(one)]
    share = sum(map(is_questionable, sentences)) / len(sentences) if sentences else math.nan
    return [len(sentences), share]


def found(texts: list[str] | list[bytes]) -> list[list[float]]:
    numbers = measured(NUMBERS, pa.RecordBatch.from_pydict({"text": pa.array(texts)}))
    return [[number[row] for number in numbers] for row in range(len(texts))]


PARTS = [
    *STRINGS,
    *(" aaa bbb ccc ddd eee fff ggg hhh iii", " abc" * 9, " a,c" * 8, " éèà" * 9, " aaaa" * 9),
    *(" a" * 9, " é" * 8, " \n" * 9, ", ab,, ab, ab,, ab,", ", ab, ab,, ab, ,,,,", ", ab" * 4),
    *("Word " * 7, "word " * 6, "É ", "a", ".", "!", "?", ". ", "! ", ".\u202f", "\n", " ", "\x1f"),
]
TEXT = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


@few
@given(TEXT | st.text(max_size=20))
def test_numbers_are_what_their_twins_say(text):
    assert found([text])[0] == pytest.approx(expected(text), nan_ok=True)


# Short windows try the patterns at every offset.
@few
@given(st.text(alphabet=" ,a\né", max_size=60))
def test_patterns_are_found_as_regular_expressions_find_them(text):
    assert found([text])[0] == pytest.approx(expected(text), nan_ok=True)


@pytest.mark.parametrize("string", STRINGS)
def test_every_string_makes_its_sentence_questionable(string):
    sentence = f"It is x{string}x here. But this is fine."
    assert found([sentence]) == [[2, 0.5]]


@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(data):
    assert len(found([data])[0]) == 2


@few
@given(st.lists(TEXT, max_size=4))
def test_a_text_alone_is_measured_as_among_others(texts):
    if texts:
        alone = [found([text])[0] for text in texts]
        assert [number for row in found(texts) for number in row] == pytest.approx(
            [number for row in alone for number in row], nan_ok=True
        )


def test_a_fifth_of_questionable_sentences_is_too_much():
    texts = ["One is fine. " * 4 + "An mp3.", "One is fine. " * 5 + "An mp3."]
    numbers = measured(NUMBERS, pa.RecordBatch.from_pydict({"text": pa.array(texts)}))[1]
    assert madlad.questionable_sentences.keeps(numbers).tolist() == [False, True]
    assert (madlad.sentences.low, madlad.sentences.high) == (5, math.inf)


def test_real_pages_are_measured_like_their_twins(pages):
    some = pages[:2] if PLAIN else pages
    for text, numbers in zip(some, found(some), strict=True):
        assert numbers == pytest.approx(expected(text), nan_ok=True)


def test_long_texts_are_read_in_linear_time():
    size = 300 if PLAIN else 100_000
    texts = ["." * size, ". " * size, " a" * size, " abc" * size, " sex" * size, ", ab," * size]
    assert len(found(texts)) == len(texts)
