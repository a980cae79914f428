"""Listed words and phrases are counted as a scan of all n-grams counts them."""

import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import index
from filters.stopwords import Phrases, languages_of, listed, occurrences, phrases

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=20 if PLAIN else 200, deadline=None)
WORDS = st.lists(st.sampled_from(["a", "b", "c", "é", "d"]), max_size=20)
ENTRIES = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "é"]), min_size=1, max_size=3).map(tuple), max_size=6
)


def counted(texts: list[str], table: Phrases) -> np.ndarray:
    return occurrences(index(view(pa.array(texts))), ["en"] * len(texts), {"en": table}.get)


@few
@given(WORDS, ENTRIES)
def test_phrases_are_counted_at_every_word(words, entries):
    found = [
        tuple(words[at : at + size])
        for size in (1, 2, 3)
        for at in range(len(words) - size + 1)
        if tuple(words[at : at + size]) in entries
    ]
    counts = counted(["a b a", " ".join(words)], phrases(entries))
    assert counts[1].tolist() == [len(found), len(set(found))]


def test_a_language_without_a_list_is_undefined():
    counts = occurrences(index(view(pa.array(["a", "a"]))), ["en", "xx"], {"en": phrases([])}.get)
    assert counts[0].tolist() == [0, 0]
    assert np.isnan(counts[1]).all()


def test_no_list_and_no_text_are_nothing():
    assert counted([""], phrases([])).tolist() == [[0, 0]]


def test_lists_are_found_by_each_of_their_codes():
    assert listed("fineweb2_stop_words.txt", "pt") == listed("fineweb2_stop_words.txt", "por_Latn")
    assert "des" in (listed("redpajama_stop_words.txt", "fr") or [])
    assert listed("redpajama_stop_words.txt", "xx") is None


@pytest.mark.parametrize("languages", [None, ["de", None]])
def test_where_no_language_is_told_it_is_the_default(languages):
    batch = pa.record_batch({"text": ["a", "b"]})
    if languages:
        batch = batch.append_column("language", pa.array(languages))
    assert languages_of(batch) == ([*languages[:1], "en"] if languages else ["en", "en"])
