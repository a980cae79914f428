"""RedPajama's signals against its definitions written out in plain Python."""

import json
import math
import operator
import os
import re
import string
import unicodedata
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.signal import Signal, measured
from filters import redpajama, redpajama_lines
from filters.redpajama_annotation import Annotate

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=5 if PLAIN else 60, deadline=None)


def normal(text: str) -> str:
    text = text.translate(str.maketrans("", "", string.punctuation)).lower()
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text.strip()))


def words(text: str) -> list[str]:
    return normal(text).split()


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]+", text)


def lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def ratio(part: float, whole: float, without: float = math.nan) -> float:
    return part / whole if whole else without


def grams(text: str, size: int) -> list[tuple[str, ...]]:
    own = words(text)
    return [tuple(own[i : i + size]) for i in range(len(own) - size + 1)]


def top(text: str, size: int) -> float:
    found = Counter(grams(text, size)).most_common(1)
    if not found or found[0][1] == 1:
        return 0.0
    return sum(map(len, found[0][0])) * found[0][1] / sum(map(len, words(text)))


def dupes(text: str, size: int) -> float:
    counts, own = Counter(grams(text, size)), words(text)
    inside = [0] * len(own)
    for place, gram in enumerate(grams(text, size)):
        if counts[gram] > 1:
            inside[place : place + size] = [1] * size
    found = sum(len(word) for word, is_inside in zip(own, inside, strict=True) if is_inside)
    return ratio(found, sum(map(len, own)), 0.0)


def entropy(text: str) -> float:
    own = words(text)
    shares = [count / len(own) for count in Counter(own).values()]
    return sum(-share * math.log(share) for share in shares) if own else math.nan


def lorem(text: str) -> float:
    found = normal(text)
    count = len(re.findall("lorem ipsum", found, re.IGNORECASE))
    return count / len(found) if "lorem ipsum" in found else 0.0


DOTS = ("...", "…")
# Of the words below; all letters are in the English list.
STOP_WORDS = {"the", "of", *string.ascii_lowercase}
TWINS = {
    redpajama.num_sentences: lambda t: float(len(re.findall(r"\b[^.!?]+[.!?]*", t))),
    redpajama.word_count: lambda t: float(len(words(t))),
    redpajama.mean_word_length: lambda t: ratio(sum(map(len, words(t))), len(words(t))),
    redpajama.symbol_to_word_ratio: lambda t: ratio(
        sum(t.count(sign) for sign in ("#", *DOTS)), len(tokens(t))
    ),
    redpajama.frac_lines_end_with_ellipsis: lambda t: ratio(
        sum(line.rstrip().endswith(DOTS) for line in lines(t)), len(lines(t))
    ),
    redpajama.frac_no_alph_words: lambda t: ratio(
        sum(not re.search("[a-zA-Z]", token) for token in tokens(t)), len(tokens(t))
    ),
    redpajama.frac_unique_words: lambda t: ratio(len(set(words(t))), len(words(t))),
    redpajama.unigram_entropy: entropy,
    redpajama.frac_all_caps_words: lambda t: ratio(
        sum(map(str.isupper, tokens(t))), len(tokens(t))
    ),
    redpajama.lorem_ipsum: lorem,
    redpajama.curly_bracket: lambda t: ratio(t.count("{") + t.count("}"), len(t), 0.0),
    redpajama.stop_word_fraction: lambda t: ratio(
        sum(token in STOP_WORDS for token in tokens(t)), len(tokens(t)), 0.0
    ),
    **{
        getattr(redpajama, f"frac_chars_top_{size}gram"): lambda t, size=size: top(t, size)
        for size in (2, 3, 4)
    },
    **{
        getattr(redpajama, f"frac_chars_dupe_{size}grams"): lambda t, size=size: dupes(t, size)
        for size in range(5, 11)
    },
}
BULLETS = tuple("•‣▶◀◦■□▪▫–")
LINE_TWINS = {
    redpajama_lines.ending_with_terminal_punctuation: lambda line: line.rstrip().endswith(
        (".", "!", "?", "”")
    ),
    redpajama_lines.start_with_bulletpoint: lambda line: line.lstrip().startswith(BULLETS),
    redpajama_lines.uppercase_letter_fraction: lambda line: sum(map(str.isupper, line)) / len(line),
    redpajama_lines.numerical_chars_fraction: lambda line: ratio(
        sum(map(str.isnumeric, normal(line))), len(normal(line)), 0.0
    ),
    redpajama_lines.num_words: lambda line: len(words(line)),
}
TWINS |= {
    signal: lambda t, twin=twin: ratio(sum(map(twin, lines(t))), len(lines(t)))
    for signal, twin in LINE_TWINS.items()
} | {redpajama_lines.javascript_counts: lambda t: float(words(t).count("javascript"))}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)

# Words of which the lists of both twins have the same.
PIECES = (
    *("the", "a", "of", "I", "dog", "Dog", "DOG", "lorem", "ipsum", "ıpsum", "Café", "北京", "٣"),
    *("javascript", "...", "…", "#", "{", "}", ".", "?", "”", "•", "–", "½", "x_1", "ΑΣ", "\u0301"),
)
TEXTS = st.lists(
    st.tuples(
        st.sampled_from(PIECES), st.sampled_from([" ", " ", " ", "", "\n", "\r\n", "\u2003"])
    ),
    max_size=60,
).map(lambda pairs: "".join(piece + gap for piece, gap in pairs))
REPETITIVE = st.lists(st.sampled_from(["a b c d e f g", "x Y, z", "b c d e f", "w"])).map(" ".join)
EDGES = (
    *("", "a", " ", "\n", "\n\n", "\0", "!!!", "... …", "北京大学", "DOG", "a" * 300, "a.\n", "é"),
    *("lorem\nipsum", "Lorem ipsum lorem ıpsum", "x{y}", "- • dog", "\u2022", "“a.”"),
)


def values(signal: Signal, texts: list[str | bytes]) -> list[float]:
    return measured((signal,), pa.record_batch({"text": pa.array(texts)}))[0].tolist()


@SIGNALS
@few
@given(TEXTS | REPETITIVE | st.text(max_size=40).filter(lambda t: not re.search("[a-z]", t)))
def test_a_signal_is_what_its_twin_says(signal, text):
    expected = [TWINS[signal]("Dog. dog"), TWINS[signal](text)]
    assert values(signal, ["Dog. dog", text]) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    expected = [TWINS[signal](text) for text in EDGES]
    assert values(signal, list(EDGES)) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(values(signal, [data])) == 1


def test_every_signal_of_documents_and_lines_has_a_twin():
    own = {
        one
        for file in (redpajama, redpajama_lines)
        for one in vars(file).values()
        if isinstance(one, Signal)
    }
    assert own - set(TWINS) == {redpajama.ldnoobw_words}


def in_language(signal: Signal, language: str, text: str) -> float:
    batch = pa.record_batch({"text": [text], "language": [language]})
    return measured((signal,), batch)[0].tolist()[0]


def test_bad_words_are_counted_as_the_source_lists_them():
    assert in_language(redpajama.ldnoobw_words, "en", "A 2 Girls, 1 cup: anus ANUS anuses") == 3
    assert in_language(redpajama.ldnoobw_words, "nl", "anus") == 0
    # Listed with its accent, but looked for in decomposed words.
    assert in_language(redpajama.ldnoobw_words, "fr", "enculé") == 0


def test_stop_words_are_those_of_the_language():
    assert in_language(redpajama.stop_word_fraction, "de", "Der Hund und die Katze") == 2 / 5
    assert math.isnan(in_language(redpajama.stop_word_fraction, "nl", "de hond"))


def annotation(text: str) -> dict[str, list[list[float | None]]]:
    batch = Annotate()(pa.record_batch({"text": ["before", text, "after\n"]}))
    return json.loads(batch["quality_signals"].to_pylist()[1])


@few
@given(TEXTS)
def test_the_annotation_holds_every_line_with_its_place(text):
    found, places = annotation(text), []
    for line in lines(text):
        start = places[-1][1] if places else 0
        places.append((start, start + len(line)))
    uppercase = found["rps_lines_uppercase_letter_fraction"]
    assert [span[:2] for span in uppercase] == [list(place) for place in places]
    shares = LINE_TWINS[redpajama_lines.uppercase_letter_fraction]
    assert [span[2] for span in uppercase] == [round(shares(line), 8) for line in lines(text)]
    assert [span[2] for span in found["rps_lines_num_words"]] == [
        len(words(line)) for line in lines(text)
    ]
    assert operator.itemgetter(0, 1)(found["rps_doc_word_count"][0]) == (0, len(text))


def test_an_annotation_worked_out_by_hand():
    found = annotation("– One TWO.\nthree")
    assert found["rps_doc_word_count"] == [[0, 16, 4]]
    assert found["rps_doc_num_sentences"] == [[0, 16, 2.0]]
    assert found["rps_lines_start_with_bulletpoint"] == [[0, 11, 1.0], [11, 16, 0.0]]
    assert found["rps_lines_ending_with_terminal_punctution_mark"] == [[0, 11, 1.0], [11, 16, 0.0]]
    assert found["rps_lines_uppercase_letter_fraction"] == [[0, 11, 0.36363636], [11, 16, 0.0]]


def test_columns_of_stages_before_are_annotated_too():
    columns = {"wiki": [1.123456789, math.nan, None], "ut1_id": [4, None, 0]}
    batch = pa.record_batch({"text": ["One.", "", "Two"], **columns})
    names = {"rps_doc_wikipedia_importance": "wiki", "rps_doc_ut1_blacklist": "ut1_id"}
    found = Annotate(columns=names)(batch)["quality_signals"].to_pylist()
    first, empty, last = map(json.loads, found)
    assert first["rps_doc_wikipedia_importance"] == [[0, 4, 1.12345679]]
    assert first["rps_doc_ut1_blacklist"] == [[0, 4, 4]] and "[[0,4,4]]" in found[0]
    assert empty["rps_doc_wikipedia_importance"] == [[0, 0, None]]
    assert empty["rps_doc_ut1_blacklist"] == [[0, 0, None]]
    assert last["rps_doc_wikipedia_importance"] == [[0, 3, None]]
    assert last["rps_doc_ut1_blacklist"] == [[0, 3, 0]]
    assert Annotate()(batch)["quality_signals"].to_pylist()[0].count("rps_") == len(first) - 2


def test_columns_that_cannot_be_annotated_are_refused():
    batch = pa.record_batch({"text": ["One."], "ut1": ["adult"], "ut1_id": [0]})
    with pytest.raises(RecipeError, match="no column 'ut1_idd'; did you mean ut1_id"):
        Annotate(columns={"rps_doc_ut1_blacklist": "ut1_idd"})(batch)
    with pytest.raises(RecipeError, match="no column 'wiki'; put the stage that writes it before"):
        Annotate(columns={"rps_doc_wikipedia_importance": "wiki"})(batch)
    with pytest.raises(RecipeError, match="'ut1' holds string, no numbers"):
        Annotate(columns={"rps_doc_ut1_blacklist": "ut1"})(batch)
    for name in ("rps_doc_word_count", "rps_lines_num_words"):
        with pytest.raises(RecipeError, match=f"columns: {name} is measured here"):
            Annotate(columns={name: "ut1_id"})


def test_an_empty_text_is_annotated_as_in_the_source():
    found = annotation("")
    assert found["rps_doc_mean_word_length"] == [[0, 0, None]]
    assert found["rps_doc_lorem_ipsum"] == [[0, 0, 0.0]]
    assert found["rps_lines_num_words"] == []
    assert found["rps_lines_start_with_bulletpoint"] == [[0, 0, None]]
