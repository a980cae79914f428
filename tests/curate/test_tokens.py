"""Tokens as spaCy cuts them: examples that it cut, and its rules as regular expressions."""

import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.schema import LANGUAGE, TEXT
from curate.signal import measured
from curate.tokens import token_places, tokens
from curate.words import Words
from filters import repetition
from tests import spacy_twin

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=50 if PLAIN else 1000, deadline=None)


def cut(texts: list[str]) -> list[list[str]]:
    starts, ends, offsets = token_places(view(pa.array(texts, pa.string())))
    return [
        [data[starts[word] : ends[word]].decode() for word in range(first, last)]
        for data, first, last in zip(map(str.encode, texts), offsets, offsets[1:], strict=False)
    ]


# Cut by spaCy 3.8.18.
EXAMPLES = {
    "Hello, world.": "Hello , world .",
    "I don't, can't; cannot!": "I do n't , ca n't ; can not !",
    "(U.S.) at 10a.m. vs. 5p.m.": "( U.S. ) at 10 a.m. vs. 5 p.m.",
    "foo:) foo:) ) foo: )": "foo :) foo : ) ) foo : )",
    "x-and/or y": "x - and/or y",
    "10km 5m/s 3kg. 20°C. $5 5$ 7US$ 9٣km": "10 km 5 m/s 3 kg . 20 ° C . $ 5 5 $ 7 US$ 9٣km",
    "http://a.bc/x, me@x.org. www.x.org": "http://a.bc/x , me@x.org . www.x.org",
    "192.168.0.1/x 8.8.8.8/x-y": "192.168.0.1 / x 8.8.8.8/x-y",
    "a--b a---b a----b 5-3 5--3 a,b 1,000": "a -- b a --- b a----b 5 - 3 5 - -3 a , b 1,000",
    "end... ... ……… .. a.b a.B": "end ... ... … …… .. a.b a. B",
    "he's He’s cats' 's": "he 's He ’s cats ' 's",
    "中文，字。 한국어. ไทย。": "中文，字 。 한국어 . ไทย 。",
    "": "",
    " \n\t\u3000": "",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_text_is_cut_as_spacy_cut_it(text):
    assert cut([text]) == [EXAMPLES[text].split()]


NASTY = "'\"`‘’“”«»()[]{}<>.,;:!?…·。，-–—_~^*+=/\\|&%#@$£§°²©😀\u0301\u200d\x00中éÉя٣sSUCkm059abAB"
URL_PARTS = (
    *("http", "://", "a.", "www.", "com", "org", "10.", "192.168.", "1.", "172.", "16.", "255"),
    *("256", "٣", "/", ":", "80", "@", "x_y", "é", "\U00020000", "-", "?", "#", "B"),
)
RUNS = st.one_of(
    st.text(st.sampled_from(NASTY), max_size=10),
    st.text(max_size=6),
    st.lists(st.sampled_from([*sorted(spacy_twin.EXCEPTIONS), *"-/.,:()'x5"]), max_size=4).map(
        "".join
    ),
    st.lists(st.sampled_from(URL_PARTS), max_size=8).map("".join),
)
SPACES = st.sampled_from([" ", " ", " ", "  ", "\n", " \n", "\u3000", "\x85", "\x1c"])
TEXTS = st.lists(st.tuples(RUNS, SPACES), max_size=8).map(
    lambda pairs: "".join(part for pair in pairs for part in pair)
)


@few
@given(TEXTS)
def test_a_text_is_cut_as_the_regular_expressions_cut_it(text):
    assert cut([text]) == [spacy_twin.tokens(text)]


def test_exceptions_are_cut_as_the_table_says_next_to_anything():
    texts = [
        form % word for word in spacy_twin.EXCEPTIONS for form in ("%s", "(%s)", "x-%s.", "%s )")
    ]
    assert cut(texts) == [spacy_twin.tokens(text) for text in texts]


@few
@given(st.lists(TEXTS, max_size=4))
def test_a_text_is_cut_alike_whatever_its_neighbours_are(texts):
    assert cut(texts) == [cut([text])[0] for text in texts]
    sliced = view(pa.array(["x. y", *texts, "z"], pa.string())[1:-1])
    assert len(token_places(sliced).starts) == sum(map(len, cut(texts)))


@few
@given(st.binary(max_size=40))
def test_tokens_hold_all_that_is_not_white_space_of_any_bytes(data):
    starts, ends, _ = token_places(view(pa.array([data], pa.binary())))
    assert all(starts < ends)
    assert all(starts[1:] >= ends[:-1])
    left = bytearray(data)
    for start, end in zip(starts, ends, strict=True):
        left[start:end] = b" " * (end - start)
    assert not left.decode("utf-8", "surrogateescape").strip()


@pytest.mark.parametrize("run", ["x", '"', "a.", "a-", ":)", "1.", "@", "http://", "中", "'s"])
def test_a_giant_run_is_cut_in_linear_time(run):
    size = 2_000 if PLAIN else 1_000_000
    text = run * (size // len(run))
    (found,) = cut([text])
    assert "".join(found) == text


def test_ngrams_of_five_tokens_are_equal_where_they_are_joined():
    text = "ab c d e f; a bc d e f;"
    made = tokens(pa.RecordBatch.from_pydict({TEXT: pa.array([text])}), TEXT)
    ends = made.grams.ends.tolist()
    assert made.words.starts.tolist() == [0, 3, 5, 7, 9, 10, 12, 14, 17, 19, 21, 22]
    entries = [(made.grams.places[at], made.grams.firsts[at]) for at in range(ends[4], ends[5])]
    assert (0, 0) in entries
    assert (6, 0) in entries


PHRASES = ["ab c d e f", "a bc d e f", "a b.", "中文 d e f g", "中 文 d e f g", "x"]
phrases = st.lists(st.sampled_from(PHRASES), max_size=9).map(" ".join)


@few
@given(st.lists(st.tuples(phrases, st.sampled_from(["en", "zh", "de"])), min_size=1, max_size=5))
def test_a_document_has_the_numbers_of_its_words_whatever_those_of_other_languages(documents):
    texts, languages = zip(*documents, strict=True)
    batch = pa.RecordBatch.from_pydict({TEXT: pa.array(texts), LANGUAGE: pa.array(languages)})

    def found(words: Words) -> np.ndarray:
        signals = (repetition.top_2gram, repetition.duplicate_5grams, repetition.duplicate_6grams)
        return np.array(measured(tuple(signal.over(words) for signal in signals), batch))

    each = found(Words("tokens", (("de", "space"), ("zh", "unicode"))))
    ways = {"en": "tokens", "zh": "unicode", "de": "space"}
    alone = {way: found(Words(way)) for way in ways.values()}
    for row, language in enumerate(languages):
        np.testing.assert_array_equal(each[:, row], alone[ways[language]][:, row])
