"""Sentences that are nearly alike: by hand, by laws, and against brute force."""

import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.dedup.sentence_lsh import Sentences
from curate.errors import RecipeError
from curate.survey import MEMORY, Survey
from tests.dedup import units_twin as twin
from tests.dedup.test_lines import applied, batch_of, decide, left

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
COMPILED = pytest.mark.skipif(JIT_OFF, reason="thousands of sentences need compiled code")
FEW = settings(
    max_examples=8 if JIT_OFF else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LONG = "The quick brown fox jumps over the lazy dog that sleeps beside the old stone wall."
NEAR = "The quick brown fox jumps over a lazy dog that sleeps beside the old stone wall!"
FAR = "A slow white hare walks around the busy cat which wakes behind a new wooden fence."


def texts_left(stage, folder, *texts):
    return left(stage, folder, *enumerate(texts))


def grams(text, ngram=5):
    return {text[i : i + ngram] for i in range(max(len(text) - ngram, 0) + 1)}


def jaccard(left, right):
    left, right = grams(left), grams(right)
    return len(left & right) / len(left | right)


def test_sentences_is_a_survey():
    assert isinstance(Sentences(), Survey)


def test_all_but_the_first_of_similar_sentences_go(tmp_path):
    texts = [f"One is here. {LONG}", f"{NEAR} {FAR}", f"{LONG.upper()}\nTwo."]
    assert texts_left(Sentences(), tmp_path, *texts) == [texts[0], FAR, "Two."]
    strict = Sentences(threshold=1.0)
    assert texts_left(strict, tmp_path, *texts) == [texts[0], texts[1], "Two."]


def test_an_earlier_sentence_of_the_same_document_counts(tmp_path):
    assert texts_left(Sentences(), tmp_path, f"{LONG} {FAR} {NEAR}") == [f"{LONG} {FAR}"]


def test_a_document_of_which_nothing_is_left_goes(tmp_path):
    (table,) = decide(Sentences(), tmp_path, [(1, LONG), (2, NEAR), (3, ""), (4, None)])
    assert [row["dropped_by"] for row in table] == [
        *(None, "sentence_lsh.nothing_left", None, None)
    ]
    assert [row["sentence_lsh_cut"] for row in table] == [0, 1, 0, 0]


def test_short_units_are_left_alone_or_compared_whole(tmp_path):
    texts = ["Yes. Abc. No.", "Yes! No!", "中。中。国。"]
    assert texts_left(Sentences(), tmp_path, *texts) == texts
    assert texts_left(Sentences(min_bytes=1), tmp_path, *texts) == [texts[0], "", "中。国。"]


def test_lines_and_paragraphs_too(tmp_path):
    texts = [f"{LONG}\n{FAR}", f"{FAR}\n{NEAR}", f"{LONG}\n{FAR}"]
    assert texts_left(Sentences(unit="lines"), tmp_path, *texts) == [texts[0], "", ""]
    own = "Own words that nobody else has."
    texts = [f"{LONG}\n{FAR}", f"{LONG}\n\n{FAR}", f"{NEAR}\n{FAR}\n\n{own}"]
    assert texts_left(Sentences(unit="paragraphs"), tmp_path, *texts) == [*texts[:2], own]


def test_documents_that_are_gone_neither_count_nor_lose(tmp_path):
    rows = [(1, LONG), (2, f"{NEAR} {FAR}"), (3, f"{LONG} End.")]
    assert left(Sentences(), tmp_path, *rows, gone={1}) == [LONG, f"{NEAR} {FAR}", "End."]


def test_no_shards_and_empty_shards_have_decisions(tmp_path):
    assert decide(Sentences(), tmp_path) == []
    assert decide(Sentences(), tmp_path, [], [(1, LONG)])[0] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": 1.1}, "threshold: 1.1; write 0 to 1"),
        ({"normalise": "none"}, "normalise: none; write spaces-case"),
        ({"bands": 0}, "bands: 0; write 1 to 256"),
        ({"ngram": 0}, "ngram: 0; write 1 to"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, said):
    with pytest.raises(RecipeError, match=said):
        Sentences(**settings)


def test_a_survey_has_keys_for_each_band_and_no_text():
    table = Sentences(bands=3).survey(batch_of([(1, f"{LONG} {FAR} x."), (2, NEAR), (3, None)]))
    keys = table.column("unit_keys").to_pylist()
    assert [len(row) for row in keys] == [9, 3, 0]
    assert keys[0][6:] == [0, 0, 0] and len(set(keys[0][:6])) == 6
    assert [len(row) for row in table.column("unit_checks").to_pylist()] == [12, 4, 0]


POOL = [LONG, NEAR, FAR, FAR.replace("busy", "lazy"), LONG.lower(), f"So {LONG}", "Short one."]
ROWS = st.lists(st.lists(st.sampled_from(POOL), max_size=4).map(" ".join), min_size=1, max_size=6)


@FEW
@given(ROWS, st.permutations(range(6)), st.lists(st.integers(0, 6), max_size=3))
def test_order_sharding_and_memory_change_nothing(tmp_path, texts, order, splits):
    documents = list(enumerate(texts))
    (whole,) = decide(Sentences(), tmp_path, documents)
    moved = [documents[i] for i in order if i < len(documents)]
    ends = [0, *sorted(splits), len(moved)]
    shards = [moved[a:b] for a, b in pairwise(ends)]
    tables = decide(Sentences(), tmp_path, *shards, memory=500)
    found = {
        number: row
        for shard, table in zip(shards, tables, strict=True)
        for (number, _), row in zip(shard, table, strict=True)
    }
    assert [found[number] for number, _ in documents] == whole


@FEW
@given(ROWS)
def test_what_goes_resembles_something_earlier(plain, tmp_path, texts):
    (table,) = decide(Sentences(), tmp_path, list(enumerate(texts)))
    earlier = []
    for text, row in zip(texts, table, strict=True):
        cuts = (
            [(0, len(text))]
            if row["dropped_by"]
            else list(zip(row["cuts"][::2], row["cuts"][1::2], strict=True))
        )
        for a, b in twin.sentences(text):
            unit = twin.normal(plain, "words", text[a:b])
            if any(start <= a < end for start, end in cuts):
                assert max(jaccard(unit, other) for other in earlier) > 0.6
            earlier.append(unit)
        assert row["dropped_by"] or applied(text, row) in text or cuts


def edited(random, text, share):
    """The sentence with this share of its words changed."""
    words = text.split(" ")
    change = random.random(len(words)) < share
    return " ".join(
        f"x{random.integers(10**6)}" if c else w for c, w in zip(change, words, strict=True)
    )


@COMPILED
def test_as_many_are_found_as_brute_force_finds(tmp_path):
    random = np.random.default_rng(3)
    base = [" ".join(f"w{random.integers(10**6)}" for _ in range(14)) for _ in range(1500)]
    near = [edited(random, text, 0.07) for text in base]
    similar = np.array([jaccard(a, b) for a, b in zip(base, near, strict=True)])
    rows = [(i, text + ".") for i, text in enumerate([*base, *near])]
    (table,) = decide(Sentences(), tmp_path, rows, memory=MEMORY)
    assert not any(row["sentence_lsh_cut"] for row in table[:1500])
    goes = np.array([row["sentence_lsh_cut"] for row in table[1500:]]) == 1
    # The estimate deviates by .05: two of them beside the threshold nearly all are right.
    assert goes[similar >= 0.9].mean() > 0.97
    assert goes[similar <= 0.7].mean() < 0.05
    assert (similar >= 0.9).sum() > 200 and (similar <= 0.7).sum() > 200
