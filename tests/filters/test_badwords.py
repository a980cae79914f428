"""Bad words are found where datatrove's regular expression finds them."""

import os
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from filters import badwords

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=10 if PLAIN else 200, deadline=None)


def batch(texts: list[str | bytes], language: str | None = None) -> pa.RecordBatch:
    ids = [bytes([row]) * 16 for row in range(len(texts))]
    columns = {"id": pa.array(ids, pa.binary(16)), "text": pa.array(texts)}
    if language is not None:
        columns["language"] = pa.array([language] * len(texts), pa.string())
    return pa.record_batch(columns)


def counts(texts: list[str | bytes], language: str | None = None) -> list[float]:
    return badwords.count.measure(batch(texts, language)).tolist()


def entries(language: str) -> list[str]:
    path = badwords.files("filters") / "lists" / "badwords" / f"{language}.txt"
    return path.read_text(encoding="utf-8").splitlines()[1:]


def pattern(language: str) -> re.Pattern[str]:
    words = "|".join(re.escape(word) for word in set(entries(language)) - set(badwords.ALLOWED))
    if language in ("ja", "th", "zh"):
        return re.compile(words)
    return re.compile(rf"(?:\W|^)({words})(?:\W|$)")


# Few languages: compiling a pattern of their lists takes long.
PATTERNS = {language: pattern(language) for language in ("en", "de", "ru", "ja", "zh", "tr")}
WORDS = st.sampled_from([(one, word) for one in PATTERNS for word in entries(one)])
BESIDE = st.sampled_from(["", " ", ".", "-", "_", "é", "ſ", "\n", "1", "\u0301", "字", "a b "])
CASES = st.sampled_from([str.lower, str.upper, str.title, str.swapcase])


@few
@given(WORDS, BESIDE, BESIDE, CASES, st.text(max_size=10))
def test_a_word_counts_where_the_pattern_finds_one(word, before, behind, case, more):
    language, entry = word
    text = before + case(entry) + behind + more
    found = PATTERNS[language].search(text.lower()) is not None
    assert [count > 0 for count in counts(["", text], language)] == [False, found]


def test_overlapping_entries_count_each():
    # "ass" and "eat my ass", "anus", but not within another word.
    assert counts(["Eat my ass, Anus! manus"]) == [3]


def test_a_word_at_either_end_stands_alone():
    assert counts(["anus", " anus", "anus.", "anuss", "xanus", "_anus"]) == [1, 1, 1, 0, 0, 0]


def test_words_need_no_gaps_where_a_script_has_none():
    assert counts(["xアナルx"], "ja") == [1]
    assert counts(["xアナルx"], "en") == [0]


def test_allowed_words_are_none():
    assert counts(["sm グロ 女の子"], "ja") == [0]
    assert counts(["性"], "zh") == [0]


def test_a_language_without_a_list_has_no_bad_words():
    assert counts(["anus"], "xx") == [0]


@pytest.mark.parametrize("text", ["", "a", "...", "字" * 50, "a" * 5000])
def test_other_texts_have_none(text):
    assert counts([text]) == [0]


@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_searched_too(data):
    assert len(counts([data])) == 1


@few
@given(st.lists(WORDS.map(lambda word: f"x {word[1]} y"), max_size=5))
def test_a_sliced_batch_sees_its_own_rows(texts):
    whole = badwords.count.measure(batch(["anus", *texts]).slice(1))
    assert whole.tolist() == counts(list(texts))


def test_a_share_of_documents_with_bad_words_stays():
    texts = ["good", *["anus"] * 200]
    dropped = badwords.Drop()(batch(texts))["dropped_by"].to_pylist()
    assert dropped == [None, *["badwords.found"] * 200]
    some = badwords.Drop(keep_fraction=0.25)
    marked = some(batch(texts))["dropped_by"].to_pylist()
    assert 25 < marked.count(None) < 75
    assert marked[100:] == some(batch(texts).slice(100))["dropped_by"].to_pylist()


def test_a_share_above_one_is_refused():
    with pytest.raises(RecipeError, match="0 to 1"):
        badwords.Drop(keep_fraction=2)
