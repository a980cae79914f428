"""Words of other texts than the raw one agree with plain Python, on any text."""

import os
import re
import string
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import View, view
from curate.normalised import normalised, normalised_view
from curate.rewrite import lowered
from curate.special import stripped
from curate.wordpunct import wordpunct
from curate.words import CUTS

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=20 if PLAIN else 500, deadline=None)

# Sigmas between letters, signs and marks; what grows in lower case; Hangul; marks out of order.
TRICKY = st.text(
    st.sampled_from("aBÉσΣς.:'’\u0301\u0323\u00ad İẞǅﬁ한각\t\n\u2028\u3000\u1ff0\u0344_-1٣½Ⓜ😀")
)
TEXTS = TRICKY | st.text() | st.text(st.sampled_from("ab \n\tΣ."))
EDGES = [
    "",
    " ",
    "\n",
    "\n\n a",
    "a",
    "Σ",
    "ΑΣ",
    "ΑΣ.",
    "ΑΣ Σ",
    "\u0301",
    "a\u0301\u0323",
    "\0",
    "한",
]


def batch(texts: list[str | bytes]) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts)})


def rows(found: View) -> list[str]:
    places = pairwise(found.offsets.tolist())
    return [found.data[start:end].tobytes().decode() for start, end in places]


def words(way: str, text: str) -> list[str]:
    cut = CUTS[way](batch(["before", text, "after"]), "text")
    raw = rows(cut.text)[1].encode()
    first, last = cut.word_offsets[1], cut.word_offsets[2]
    places = zip(cut.words.starts[first:last], cut.words.ends[first:last], strict=True)
    return [raw[start:end].decode() for start, end in places]


def normal(text: str) -> str:
    text = text.translate(str.maketrans("", "", string.punctuation)).lower()
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text.strip()))


@few
@given(TEXTS)
def test_lower_case_is_that_of_str_lower(text):
    assert rows(lowered(view(pa.array(["Before", text, ""])))) == ["before", text.lower(), ""]


@few
@given(TEXTS)
def test_normalised_lines_are_those_of_redpajama(text):
    found = rows(normalised_view(view(pa.array(["", text]))))[1]
    assert found.split("\n") == [normal(line) for line in text.split("\n")]
    assert words("normalised", text) == normal(text).split()


@few
@given(TEXTS)
def test_words_and_punctuation_are_those_of_nltk(text):
    assert words("wordpunct", text) == re.findall(r"\w+|[^\w\s]+", text)


def roots_words(text: str) -> list[str]:
    pieces = [word.lower() for word in re.split(" |\n|\t", text)]
    special = set(string.punctuation + string.digits + string.whitespace + "–一ッΣ😀ⓂГ½")
    special -= set("Σ")
    found = []
    for piece in pieces:
        start = 0
        while start < len(piece) and piece[start] in special:
            start += 1
        end = len(piece)
        while end > start and piece[end - 1] in special:
            end -= 1
        found.append(piece[start:end])
    return [word for word in found if word]


@few
@given(st.text(st.sampled_from("aБГг–一ッ😀Ⓜ½.,! \n\t\r_1é")))
def test_stripped_words_are_those_of_roots(text):
    assert words("stripped", text) == roots_words(text)


@pytest.mark.parametrize("text", EDGES)
def test_edges(text):
    assert rows(lowered(view(pa.array([text])))) == [text.lower()]
    assert words("normalised", text) == normal(text).split()
    assert words("wordpunct", text) == re.findall(r"\w+|[^\w\s]+", text)
    assert words("stripped", text) == roots_words(text)


@few
@given(st.lists(st.binary(max_size=30), max_size=4))
def test_bytes_that_are_not_utf8_are_cut_too(texts):
    for way in (normalised, wordpunct, stripped):
        cut = way(batch(texts), "text")
        assert len(cut.word_offsets) == len(texts) + 1
        assert np.all(cut.words.starts < cut.words.ends)


@few
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_sliced_batch_sees_its_own_rows(texts):
    whole = batch(texts)
    for way in (normalised, wordpunct, stripped):
        every, last = way(whole, "text"), way(whole.slice(len(texts) - 1), "text")
        assert rows(every.text)[-1] == rows(last.text)[-1]
        count = int(last.word_offsets[-1])
        assert every.words.hashes[len(every.words.hashes) - count :].tolist() == (
            last.words.hashes.tolist()
        )
