"""Words and shingles against a plain twin; sketches against the exact Jaccard similarity."""

import os
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import View, frozen, view
from curate.dedup import shingles
from curate.dedup.characters import NOTHING, PUNCTUATION, characters, folded
from curate.dedup.leaders import similarity
from curate.dedup.shingles import CHECKS, ngram_of, shingled, workspace

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def column_of(*rows):
    data = b"".join(rows)
    offsets = np.cumsum([0, *map(len, rows)])
    return View(frozen(np.frombuffer(data, np.uint8)), frozen(offsets.astype(np.int32)))


def shingle_hashes(text, ngram=5, unit="words"):
    return shingle_hashes_of_bytes(text.encode("utf-8"), ngram, unit)


def jaccard(left, right):
    left, right = (
        set(zip(*(t.split(" ")[i:] for i in range(5)), strict=False)) for t in (left, right)
    )
    return len(left & right) / len(left | right)


def sketched(texts, bands=14, rows=8, seed=1):
    keys = np.zeros((len(texts), bands), np.uint64)
    checks = np.zeros((len(texts), CHECKS // 2), np.uint8)
    space = workspace(bands * rows, 5, seed)
    counts = shingles.sketches(view(pa.array(texts, pa.string())), keys, checks, rows, space)
    return counts, keys, checks.view(np.uint64)


def fold(raw, removed=NOTHING):
    data, offsets = folded(column_of(raw), characters(), removed)
    return bytes(data[: offsets[-1]])


def test_words_are_lower_case_and_without_punctuation(plain):
    assert plain.words("Don't  PANIC,\tÉcole—Ψυχή…") == ["dont", "panic", "écoleψυχή"]
    assert fold("Don't  PANIC,\tÉcole—Ψυχή…\n".encode(), PUNCTUATION).decode() == (
        "dont panic écoleψυχή"
    )


def test_where_no_spaces_are_written_each_character_is_a_word(plain):
    assert plain.words("中文abc字") == ["中", "文", "abc", "字"]
    assert len(shingle_hashes("中文字典书籍")) == 2


def test_a_document_of_fewer_words_than_a_shingle_has_no_signature():
    counts, keys, checks = sketched(["", "one two three four", "... !!! ... ??? ...", "a b c d e"])
    assert counts.tolist() == [0, 0, 0, 1]
    assert not keys[:3].any() and not checks[:3].any() and keys[3].all() and checks[3].any()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["A", "b", "é", "É", "Я", "。", ",", " ", "\n", "\u200b", "𝒜"])))
def test_shingles_are_those_of_the_plain_twin(plain, parts):
    text = "".join(parts)
    assert_same_shingles(plain, text)


@settings(deadline=None)
@given(st.text(st.sampled_from("aB cD\t中ก\U00020000\u0301'") | st.characters(codec="utf-8")))
def test_shingles_of_any_text_are_those_of_the_plain_twin(plain, text):
    assert_same_shingles(plain, text)


LONG = st.text(st.sampled_from("abcXYZ0189_'. \n\x00é中\u0301"), min_size=8, max_size=60)


@settings(deadline=None, max_examples=300)
@given(LONG)
def test_words_of_many_bytes_are_hashed_by_what_is_left_of_them(plain, text):
    assert_same_shingles(plain, text)
    assert shingle_hashes(text, 1) == shingle_hashes(" ".join(plain.words(text)), 1)
    # The same word byte by byte: what is removed between letters keeps eight of them apart.
    apart = " ".join("'".join(word) for word in plain.words(text))
    assert shingle_hashes(apart, 1) == shingle_hashes(text, 1)


@settings(deadline=None)
@given(
    LONG | st.text(st.sampled_from("aB cD\t中ก\U00020000\u0301'") | st.characters(codec="utf-8"))
)
def test_characters_are_those_of_the_words_with_one_space_between(plain, text):
    spaced = "".join(
        {"space": " ", "punctuation": ""}.get(plain.kind(c), plain.lower(c)) for c in text
    )
    letters = " ".join(spaced.split(" ")).split()
    letters = [*" ".join(letters)]
    hashes = shingle_hashes(text, 3, "characters")
    grams = [*zip(letters, letters[1:], letters[2:], strict=False)]
    assert len(hashes) == len(grams)
    assert len(set(zip(hashes, grams, strict=True))) == len(set(hashes)) == len(set(grams))


def assert_same_shingles(plain, text):
    hashes, tuples = shingle_hashes(text, 2), plain.shingles(text, 2)
    assert len(hashes) == len(tuples)
    # One hash for each shingle, and one shingle for each hash.
    assert len(set(zip(hashes, tuples, strict=True))) == len(set(hashes)) == len(set(tuples))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_utf8_are_removed_as_the_replacement_character_is(raw):
    replaced = raw.decode("utf-8", "replace")
    assert fold(raw, PUNCTUATION) == fold(replaced.encode(), PUNCTUATION)
    assert shingle_hashes_of_bytes(raw) == shingle_hashes(replaced, 1)


def shingle_hashes_of_bytes(raw, ngram=1, unit="words"):
    data = frozen(np.frombuffer(raw, np.uint8))
    units, out = np.empty(len(raw) + 1, np.uint64), np.empty(len(raw) + 1, np.uint64)
    count = shingled(data, characters(), ngram_of(ngram, unit), units, out)
    return out[:count].tolist()


@settings(deadline=None)
@given(st.text(st.sampled_from("aÉ ,\n\u3000") | st.characters(codec="utf-8"), max_size=60))
def test_folding_keeps_punctuation_and_joins_white_space(plain, text):
    spaced = "".join(" " if plain.kind(c) == "space" else plain.lower(c) for c in text)
    words = [word for word in spaced.split(" ") if word]
    assert fold(text.encode()).decode() == " ".join(words)


def test_rows_of_a_batch_do_not_touch_each_other():
    texts = ["One, two  three four five six", "", "Eins zwei drei vier fünf", "中文字典书籍"]
    data, offsets = folded(view(pa.array(texts)), characters(), PUNCTUATION)
    rows = [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]
    assert rows == ["one two three four five six", "", "eins zwei drei vier fünf", "中文字典书籍"]
    together = sketched(texts)
    for i, text in enumerate(texts):
        for alone_, all_ in zip(sketched([text]), together, strict=True):
            assert np.array_equal(alone_[0], all_[i])


def test_a_sliced_column_is_sketched_as_its_own_rows():
    texts = ["a b c d e f", "g h i j k l m", "n o p q r s"]
    whole, part = sketched(texts), view(pa.array(texts)[1:])
    keys, checks = np.zeros((2, 14), np.uint64), np.zeros((2, CHECKS // 2), np.uint8)
    shingles.sketches(part, keys, checks, 8, workspace(112, 5, 1))
    assert np.array_equal(keys, whole[1][1:])
    assert np.array_equal(folded(part, characters(), NOTHING)[1], [0, 13, 24])


def test_a_sketch_depends_on_the_set_of_shingles_alone():
    once, twice = "a b c d e a b c d", "a b c d e a b c d e a b c d"
    counts, keys, checks = sketched([once, twice])
    assert counts.tolist() == [5, 10]
    assert np.array_equal(keys[0], keys[1]) and np.array_equal(checks[0], checks[1])


def test_another_seed_gives_other_keys():
    assert not np.any(sketched(["a b c d e f"])[1] == sketched(["a b c d e f"], seed=2)[1])


def test_documents_with_nothing_in_common_have_similarity_near_zero():
    _, _, checks = sketched([words_from(i, 300) for i in range(4)])
    assert similarity(checks, 0, 1) < 0.03
    assert similarity(checks, 2, 3) < 0.03
    assert similarity(checks, 0, 0) == 1.0


def words_from(seed, count):
    return " ".join(f"w{n}" for n in np.random.default_rng(seed).integers(0, 10**9, count))


def edited_pairs(count, words, share):
    """Pairs of texts, the second with this share of its words changed."""
    random = np.random.default_rng(words)
    pairs = []
    for _ in range(count):
        left = [f"w{n}" for n in random.integers(0, 10**9, words)]
        changed = random.random(words) < share
        right = [f"x{w}" if c else w for w, c in zip(left, changed, strict=True)]
        pairs.append((" ".join(left), " ".join(right)))
    return pairs


@pytest.mark.skipif(JIT_OFF, reason="a statistic over a thousand documents needs compiled code")
@pytest.mark.parametrize("words", [12, 60, 300, 1_500, 10_000])
def test_the_error_of_the_estimate_is_what_theory_says(words):
    pairs = edited_pairs(max(30, 30_000 // words), words, 0.04)
    true = np.array([jaccard(*pair) for pair in pairs])
    _, keys, checks = sketched([text for pair in pairs for text in pair], bands=256, rows=1)
    estimated = np.array([similarity(checks, 2 * i, 2 * i + 1) for i in range(len(pairs))])
    slots = (keys[::2] == keys[1::2]).mean(axis=1)
    for found, size in ((estimated, CHECKS), (slots, 256)):
        deviation = np.sqrt(np.mean(true * (1 - true)) / size)
        # Four standard errors of a mean; the checks' chance hits of 1 in 15 add a little spread.
        assert abs(np.mean(found - true)) < 4 * deviation / np.sqrt(len(pairs))
        assert np.sqrt(np.mean((found - true) ** 2)) < 1.25 * deviation


@pytest.mark.skipif(JIT_OFF, reason="a long text needs compiled code")
def test_a_very_long_document_is_estimated_as_well_as_a_short_one():
    text = words_from(7, 200_000)
    half = " ".join(text.split(" ")[:100_000])
    _, keys, checks = sketched([text, half], bands=256, rows=1)
    assert abs(similarity(checks, 0, 1) - 0.5) < 0.08
    assert abs((keys[0] == keys[1]).mean() - 0.5) < 0.13


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 30))
def test_every_slot_is_filled_for_any_shape(bands, rows, words):
    counts, keys, _ = sketched([words_from(1, words)], bands, rows)
    assert counts[0] == max(words - 4, 0)
    assert (keys[0] != 0).all() == (words >= 5)
