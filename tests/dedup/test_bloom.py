"""A Bloom filter against exact counting: its rate of false positives, and what it takes out."""

import gzip
import json
import math
import os
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.dedup import bloom
from curate.dedup.bloom import Bloom, contains, empty_filter, insert, shape_for, shape_of
from curate.errors import RecipeError
from curate.survey import MEMORY, Survey, decided
from tests.dedup import units_twin as twin

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
COMPILED = pytest.mark.skipif(JIT_OFF, reason="megabytes of text need compiled code")
FEW = settings(
    max_examples=15 if JIT_OFF else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SURE = 1e-12  # false positives: none in a test


def decide(stage, folder, *shards, gone=(), memory=MEMORY):
    """What is decided about shards of (id, text)."""
    surveys, texts, masks = [], [], []
    for i, rows in enumerate(shards):
        ids = [(number * (2**116 + 259)).to_bytes(16, "big") for number, _ in rows]
        batch = pa.RecordBatch.from_arrays(
            [pa.array(ids, pa.binary(16)), pa.array([text for _, text in rows], pa.string())],
            ["id", "text"],
        )
        surveys.append(folder / f"survey-{i}.parquet")
        texts.append(folder / f"text-{i}.parquet")
        pq.write_table(stage.survey(batch), surveys[-1])
        pq.write_table(pa.Table.from_batches([batch]), texts[-1])
        masks.append(np.array([number in gone for number, _ in rows], np.bool_))
    return [table.to_pylist() for table in decided(stage, surveys, masks, texts, memory)]


def applied(text, row):
    raw = (text or "").encode()
    ends = [0, *row["cuts"], len(raw)]
    assert sorted(ends) == ends and (row["cut_by"] is None) == (row["cuts"] == [])
    if row["dropped_by"]:
        assert row["cuts"] == []
        return ""
    return b"".join(raw[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True)).decode()


def left(stage, folder, *texts, **options):
    (table,) = decide(stage, folder, list(enumerate(texts)), **options)
    return [applied(text, row) for text, row in zip(texts, table, strict=True)]


def of(**options):
    """A stage over pairs of words, without false positives."""
    return Bloom(**{"ngram": 2, "min_ngram": 2, "false_positives": SURE, **options})


def words_from(seed, count):
    return [f"w{n}" for n in np.random.default_rng(seed).integers(0, 10**9, count)]


# The filter


def test_bloom_is_a_survey():
    assert isinstance(Bloom(), Survey)


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.01, 0.003, 1e-6])
def test_a_filter_is_as_large_as_its_rate_needs(rate):
    shape = shape_for(100_000, rate)
    assert 0.98 * rate < shape.rate(100_000) <= rate
    assert shape.bits < 1.02 * 100_000 * -math.log(rate) / math.log(2) ** 2 + 64
    again = shape_of(shape.bits // 8, 100_000)
    assert again.rate(100_000) == pytest.approx(rate, rel=0.03)


def test_the_usual_filter_has_ten_bits_and_seven_hashes():
    shape = shape_for(1_000_000, 0.01)
    assert shape.hashes == 7 and shape.bits == pytest.approx(9_592_955, abs=64)


@FEW
@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(1, 5), st.integers(1, 9))
def test_what_was_put_in_is_found(ngrams, words, hashes):
    full = empty_filter(bloom.Shape(64 * words, hashes))
    for ngram in ngrams:
        insert(full, np.uint64(ngram))
    assert all(contains(full, np.uint64(ngram)) for ngram in ngrams)
    assert full.filled[0] == sum(int(word).bit_count() for word in full.words)


@pytest.mark.parametrize("words", [1, 2, 3, 16, 1024])
def test_every_bit_of_a_filter_of_any_size_is_used(words):
    # datatrove's, which takes the hash `& size`, reaches 2 bits of 2**20 bytes.
    full = empty_filter(bloom.Shape(64 * words, 4))
    random = np.random.default_rng(words)
    for ngram in random.integers(0, 2**64, 40 * words + 500, np.uint64, endpoint=False):
        insert(full, ngram)
    assert full.filled[0] > 0.9 * 64 * words
    high = full.words >> np.uint64(32)
    assert high.any() or words == 1


def looked_for(full, ngrams):
    return np.array([contains(full, ngram) for ngram in ngrams])


@COMPILED
@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_the_rate_of_false_positives_is_the_configured_one(rate):
    random = np.random.default_rng(7)
    ngrams = random.integers(0, 2**64, 250_000, np.uint64, endpoint=False)
    full = empty_filter(shape_for(50_000, rate))
    for ngram in ngrams[:50_000]:
        insert(full, ngram)
    measured = looked_for(full, ngrams[50_000:]).mean()
    # Four standard errors of 200,000 looks, and 2 % for how full it became by chance.
    error = 4 * math.sqrt(rate / 200_000) + 0.02 * rate
    assert abs(measured - rate) < error
    assert bloom.false_positive_rate(full) == pytest.approx(rate, rel=0.05)


# What goes, by hand


def test_a_line_goes_if_enough_of_its_ngrams_were_seen(tmp_path):
    texts = ["a b c d e f", "new line here\na b c d e f", "a b c d e x", "a b c d x y"]
    assert left(of(), tmp_path, *texts) == [texts[0], "new line here", "", "a b c d x y"]


def test_of_a_line_that_went_nothing_is_put_in(tmp_path):
    # All of "x y" stands in a line that goes; then it is new.
    texts = ["a b c d e f", "own words\na b c d e x", "e x"]
    assert left(of(), tmp_path, *texts) == [texts[0], "own words", "e x"]


def test_a_document_is_no_copy_of_itself(tmp_path):
    text = "one two three\nfour five six\n" * 3
    for remove in ("document", "both"):
        assert decide(of(remove=remove), tmp_path, [(1, text)])[0][0]["dropped_by"] is None
    assert left(of(remove="document"), tmp_path, text) == [text]
    assert left(of(), tmp_path, text) == ["one two three\nfour five six\n"]


def test_different_documents_all_stay(tmp_path):
    # A filter that is updated twice, once before it is asked, removes all of them.
    texts = ["\n".join(" ".join(words_from(9 * i + j, 30)) for j in range(9)) for i in range(40)]
    for remove in ("paragraph", "document", "both"):
        assert left(Bloom(remove=remove, words="space"), tmp_path, *texts) == texts


def test_blank_and_short_lines_are_never_seen(tmp_path):
    texts = ["a\n\n \nb c", "\n\n\na\nb c\n"]
    assert left(of(min_ngram=2), tmp_path, *texts) == ["a\n\n \nb c", "\n\n\na\n"]
    assert left(Bloom(false_positives=SURE), tmp_path, *texts) == texts
    assert left(of(min_ngram=1), tmp_path, *texts) == ["a\n\n \nb c", ""]


def test_both_drops_a_document_of_whose_lines_enough_was_seen(tmp_path):
    rows = [(0, "a b c d e f g h i"), (1, "a b c d e\nx y\nd e f g h i"), (2, "x y z\na b c d")]
    (table,) = decide(of(remove="both"), tmp_path, rows)
    assert [row["dropped_by"] for row in table] == [None, "bloom.seen", None]
    assert (table[1]["value"], table[1]["bound"]) == (9 / 10, 0.8)
    assert [applied(text, row) for (_, text), row in zip(rows, table, strict=True)][2] == "x y z"
    assert [row["bloom_seen"] for row in table] == [0.0, 0.9, 3 / 5]
    assert [row["bloom_cut"] for row in table] == [0, 0, 1]


def test_documents_go_whole_by_ngrams_that_cross_their_lines(tmp_path):
    assert left(of(remove="document"), tmp_path, "a b\nc d", "a\nb c d", "c d a b") == [
        *("a b\nc d", "", "c d a b")
    ]


def test_a_document_of_which_nothing_is_left_goes(tmp_path):
    (table,) = decide(of(), tmp_path, [(0, "a b c"), (1, "a b c"), (2, "")])
    assert [row["dropped_by"] for row in table] == [None, "bloom.nothing_left", None]
    assert (table[1]["value"], table[1]["bound"]) == (0.0, 1.0)
    assert [row["bloom_seen"] for row in table] == [0.0, 1.0, None]


def test_documents_that_are_gone_are_not_put_in(tmp_path):
    rows = [(0, "a b c"), (1, "a b c"), (2, "a b c")]
    (table,) = decide(of(), tmp_path, rows, gone={0})
    assert [row["dropped_by"] for row in table] == [None, None, "bloom.nothing_left"]
    assert [row["bloom_cut"] for row in table] == [None, 0, 1]


def test_missing_and_empty_texts_and_shards_have_decisions(tmp_path):
    assert decide(Bloom(), tmp_path) == []
    assert decide(Bloom(), tmp_path, [], [(1, "a")])[0] == []
    assert left(of(), tmp_path, None, "", " \n", None) == ["", "", " \n", ""]


def test_words_are_cut_as_unicode_says_or_at_white_space(tmp_path):
    texts = ["state-of-the-art, he said", "state of the art he said"]
    assert left(of(words="unicode"), tmp_path, *texts) == [texts[0], ""]
    assert left(of(words="space"), tmp_path, *texts) == texts


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"min_ngram": 14}, "min_ngram: 14; write 1 to ngram, 13"),
        ({"threshold": 0}, "threshold: 0; write more than 0"),
        ({"false_positives": 1.0}, "false_positives: 1; write a share"),
        ({"size_bytes": 7}, "size_bytes: 7; write 8 or more"),
        ({"ngrams": 0}, "ngrams: 0; write 1 or more, or null"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, said):
    with pytest.raises(RecipeError, match=said):
        Bloom(**settings)


def test_a_filter_that_does_not_fit_is_refused(tmp_path):
    said = r"a filter for 1,000,000 n-grams takes 1,19\d,\d+ bytes, and a decision has 1,000,000"
    with pytest.raises(RecipeError, match=said):
        decide(Bloom(ngrams=1_000_000), tmp_path, [(1, "a")], memory=1_000_000)
    decide(Bloom(ngrams=1_000_000, size_bytes=999_999), tmp_path, [(1, "a")], memory=1_000_000)


# Laws, and exact counting

STAGES = st.builds(
    of,
    remove=st.sampled_from(["paragraph", "document", "both"]),
    ngram=st.sampled_from([2, 3]),
    min_ngram=st.sampled_from([1, 2]),
    threshold=st.sampled_from([0.5, 0.8, 1.0]),
    words=st.just("space"),
)
LINE = st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join)
ROWS = st.lists(st.lists(LINE, max_size=4).map("\n".join), min_size=1, max_size=8)


def grams_of(stage, text):
    words = tuple(text.split())
    if len(words) < stage.min_ngram:
        return []
    return [words[i : i + stage.ngram] for i in range(max(len(words) - stage.ngram, 0) + 1)]


def exactly(stage, texts):
    """What bff would leave of texts with a filter that errs never."""
    seen, out = set(), []
    for text in texts:
        places = list(twin.lines(text)) if stage.remove != "document" else [(0, len(text))]
        grams = [grams_of(stage, text[a:b]) for a, b in places]
        every = [gram for line in grams for gram in line]
        found = sum(gram in seen for gram in every)
        if stage.remove != "paragraph" and every and found / len(every) >= stage.threshold:
            out.append("")
            continue
        goes = set()
        for place, line in enumerate(grams):
            found = sum(gram in seen for gram in line)
            if stage.remove != "document" and line and found / len(line) >= stage.threshold:
                goes.add(place)
            else:
                seen.update(line)
        out.append(twin.without(text, places, goes) if goes else text)
    return out


@FEW
@given(STAGES, ROWS)
def test_what_is_left_is_what_exact_counting_leaves(tmp_path, stage, texts):
    assert left(stage, tmp_path, *texts) == exactly(stage, texts)


@FEW
@given(STAGES, ROWS, st.lists(st.integers(0, 8), max_size=3), st.randoms())
def test_the_order_of_shards_changes_nothing(tmp_path, stage, texts, splits, random):
    rows = list(enumerate(texts))
    ends = [0, *sorted(splits), len(rows)]
    shards = [rows[a:b] for a, b in pairwise(ends)]
    random.shuffle(shards)
    tables = decide(stage, tmp_path, *shards)
    found = {
        number: row
        for shard, table in zip(shards, tables, strict=True)
        for (number, _), row in zip(shard, table, strict=True)
    }
    (whole,) = decide(stage, tmp_path, rows)
    assert [found[number] for number in range(len(rows))] == whole


@COMPILED
@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_false_positives_on_real_pages_are_as_many_as_configured(shared, tmp_path, rate):
    with gzip.open(shared / "neardup" / "web.docs.jsonl.gz") as file:
        texts = [json.loads(line)["text"] for line in file]
    stage = Bloom(words="space", false_positives=rate, threshold=1.0)
    (table,) = decide(stage, tmp_path, list(enumerate(texts)))
    (exact,) = decide(
        Bloom(words="space", false_positives=1e-9, threshold=1.0),
        tmp_path,
        list(enumerate(texts)),
    )
    counted = [sum(len(grams_of(stage, text[a:b])) for a, b in twin.lines(text)) for text in texts]
    looks, false, expected = 0, 0.0, 0.0
    for row, sure, count in zip(table, exact, counted, strict=True):
        if count and row["bloom_cut"] == sure["bloom_cut"]:
            new = count * (1 - sure["bloom_seen"])
            looks += new
            false += count * (row["bloom_seen"] - sure["bloom_seen"])
            expected += new * row["bloom_false_positives"]
    assert looks > 100_000
    # Measured against what the filter says of itself while it fills; at the end it is at most the
    # configured rate, for n-grams that were seen are not put in again.
    assert false == pytest.approx(expected, rel=0.1)
    assert 0.6 * rate < table[-1]["bloom_false_positives"] <= 1.02 * rate
