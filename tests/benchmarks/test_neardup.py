"""What the near-duplicate benchmarks measure with, against plain definitions and by hand."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.clusters_growth import clusters, layout, shard
from benchmarks.neardup_corpus import cut, one_word_changed, shuffled, without_tokens
from benchmarks.neardup_labelled import (
    adjusted_rand_index,
    core_scores,
    duplicates_found,
    news_text,
)
from benchmarks.neardup_truth import (
    curve,
    estimate_deviation,
    shingle_sets,
    similar_pairs,
    words,
)

LETTERS = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


def jaccard(left, right, ngram):
    left, right = (
        {tuple(text.split()[i : i + ngram]) for i in range(len(text.split()) - ngram + 1)}
        for text in (left, right)
    )
    return len(left & right) / len(left | right) if left | right else 0.0


@settings(deadline=None)
@given(st.lists(LETTERS, max_size=12), st.sampled_from([0.2, 0.5, 0.7, 1.0]), st.integers(1, 3))
def test_all_pairs_of_a_similarity_are_found_and_no_others(texts, least, ngram):
    found = similar_pairs(shingle_sets(texts, ngram), least)
    rows = zip(*(column.tolist() for column in found), strict=True)
    pairs = {(left, right): one for left, right, one in rows}
    every = {
        (i, j): jaccard(texts[i], texts[j], ngram) for i, j in combinations(range(len(texts)), 2)
    }
    assert pairs == pytest.approx({pair: one for pair, one in every.items() if one >= least})
    assert len(pairs) == len(found.left)


def test_words_are_cut_as_the_stage_cuts_them():
    assert words("Don't  PANIC,\tÉcole—Ψυχή…") == ["dont", "panic", "écoleψυχή"]
    assert words("中文abc字 𠀀x") == ["中", "文", "abc", "字", "𠀀", "x"]


def test_the_s_curve_is_the_plain_one_where_that_has_digits():
    jaccard = np.array([0, 0.5, 0.8, 1.0])
    assert curve(jaccard, 14, 8) == pytest.approx(1 - (1 - jaccard**8) ** 14)


def test_edits_do_what_their_names_say():
    class Draw:
        def random(self):
            return 0.05

        def shuffle(self, parts):
            parts.reverse()

        def randrange(self, count):
            return count - 1

    assert without_tokens("a b c", 0.1, Draw()) == ""
    assert without_tokens("a b  c", 0.05, Draw()) == "a b  c"
    assert shuffled("a\n\nb\nc", Draw()) == "c\nb\na"
    assert shuffled("One. Two? Three.", Draw()) == "Three. Two? One."
    assert one_word_changed("a b c", Draw()) == "a b exchanged"
    assert cut("a b c d", 0.75) == "a b c"


def test_a_document_of_core_is_right_if_all_its_duplicates_are_found():
    labelled = {"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}, "e": set(), "f": set(), "g": set()}
    # a and b are right, c found nothing, d found a stranger, so did e; f and g are rightly alone.
    found = duplicates_found([*"abcdefg"], [1, 1, 2, 3, 3, 4, 5])
    scores = core_scores(labelled, found)
    assert (scores.precision, scores.recall) == (2 / 4, 2 / 3)
    assert scores.mean_precision == pytest.approx((2 / 4 + 2 / 3) / 2)
    assert scores.macro_f1 == pytest.approx((4 / 7 + 4 / 7) / 2)
    assert scores.accuracy == 4 / 7


def test_the_adjusted_rand_index_is_that_of_a_worked_example():
    # Contingency [[2, 1], [0, 3]]: 4 pairs together in both, 6 and 7 in one, 15 in all.
    left, right = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1]
    assert adjusted_rand_index(left, right) == pytest.approx((4 - 6 * 7 / 15) / (6.5 - 6 * 7 / 15))
    assert adjusted_rand_index(left, [*"xxxyyy"]) == 1.0
    assert adjusted_rand_index([0], [0]) == 1.0


def test_articles_are_cleaned_as_the_benchmark_of_news_copy_does():
    assert news_text('The "re-\nturn" of\nX-rays — (1)!') == "The return of X-rays  1"


def test_generated_surveys_have_the_layout_of_the_stage_and_do_not_change():
    everyone = clusters(1000, 1)
    assert np.bincount(everyone).max() >= 20
    assert 0.5 < (np.bincount(everyone)[everyone] == 1).mean() < 0.7
    table = shard(layout(), 0, everyone[:500], 1)
    assert table.schema == layout()
    assert table.equals(shard(layout(), 0, clusters(1000, 1)[:500], 1))
    assert pa.compute.count_distinct(table.column("id")).as_py() == 500


def test_the_error_of_estimates_in_theory_is_that_of_thrown_shingles():
    draw, checks, codes, both, each = np.random.default_rng(1), 64, 15, 150, 50
    hashes = draw.random((2000, both + 2 * each))
    place = draw.integers(0, checks, hashes.shape)
    code = draw.integers(1, codes + 1, hashes.shape)
    estimates = []
    for row, places, codes_ in zip(hashes, place, code, strict=True):
        sides = []
        for own in (np.r_[: both + each], np.r_[:both, both + each : both + 2 * each]):
            least, side = np.full(checks, 2.0), np.zeros(checks, np.int64)
            for i in own[np.argsort(-row[own])]:
                least[places[i]], side[places[i]] = row[i], codes_[i]
            sides.append(side)
        left, right = sides
        either, shared = ((left > 0) | (right > 0)).sum(), ((left > 0) & (right > 0)).sum()
        equal = ((left == right) & (left > 0)).sum()
        estimates.append((codes * equal - shared) / (codes - 1) / either)
    sizes = np.array([both + each])
    (theory,) = estimate_deviation(np.array([0.6]), sizes, sizes, checks, codes)
    assert np.mean(estimates) == pytest.approx(0.6, abs=4 * theory / 2000**0.5 + 0.003)
    assert np.std(estimates) == pytest.approx(theory, rel=0.08)
