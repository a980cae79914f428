"""Importance weights: RedPajama's formula over our buckets, and models that say whose they are."""

import json
import math
import os
import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from curate import recipe
from curate.decide import decide
from curate.errors import InputError, ModelError, RecipeError
from curate.hashing import hash_word
from curate.plan import plan
from curate.run import Job, run
from curate.stored import stored
from filters.classifier_data import record_batches
from filters.importance import Importance, counted, load
from filters.importance_training import SIDES, Settings, count, write
from tests.chaos.zygote import Quiet

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=10 if PLAIN else 200, deadline=None)
GOOD = "The theorem, proved by the lemma, holds for every field of prime order."
BAD = "Buy cheap offers! Click here, click now: a sale, free, free, free..."
BUCKETS = 500


def mixed(hashed: int) -> int:
    """The last step of murmur3."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashed = (hashed ^ hashed >> 33) * factor % 2**64
    return hashed ^ hashed >> 33


def features(text: str, buckets: int = BUCKETS) -> list[int]:
    """The bucket of every word and of every two words, as RedPajama's hash_feature lists them."""
    hashes = [int(hash_word(word.encode())) for word in re.findall(r"\w+|[^\w\s]+", text)]
    pairs = [mixed((one * 0x100000001B3 + other) % 2**64) for one, other in pairwise(hashes)]
    return [hashed % buckets for hashed in (*hashes, *pairs)]


def redpajama(text: str, counts: np.ndarray, means: tuple[float, float] | None) -> float:
    """Written after importance_weights.py at commit 855a8e0; `means` asks for its correction."""
    if len(text) == 0:
        return math.nan
    found = np.zeros(counts.shape[1], np.int64)
    for bucket in features(text, counts.shape[1]):
        found[bucket] += 1
    target, source = counts[0] / counts[0].sum(), counts[1] / counts[1].sum()
    score = float(np.inner(found, np.log(target + 1e-8) - np.log(source + 1e-8)))
    if means is not None:
        probabilities = [stats.poisson.pmf(len(text), mean) + 1e-8 for mean in means]
        score += float(np.log(probabilities[0]) - np.log(probabilities[1]))
    return score


def write_documents(path, texts):
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path)
    return path


def train(folder, *sides, **how):
    """A model of two lists of texts, or of files."""
    folder.mkdir(parents=True, exist_ok=True)
    how = Settings(**{"buckets": BUCKETS, **how})
    corpora = {}
    for side, given_ in zip(SIDES, sides, strict=True):
        files = given_
        if any(isinstance(one, str | None) for one in given_) or not given_:
            files = [write_documents(folder / f"{side}.parquet", given_)]
        corpora[side] = count(files, how, lambda _: None)
    return write(corpora, how, folder / "model")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("importance")
    train(folder, [GOOD, "", "A proof."], [BAD, "Free offers, here!"])
    return folder / "model"


def batch(*texts, **columns):
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string()), **columns})


def weighed(model, *texts, **how):
    with Importance(model=str(model), **how).open() as stage:
        return stage(batch(*texts))


PIECES = [
    *GOOD.split(),
    *BAD.split(),
    "北京大学",
    "é",
    "\u2003",
    "\n",
    "١",
    "…",
    "x_1",
    "\U0001f600",
]
TEXTS = st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join)


@few
@given(TEXTS)
def test_words_and_pairs_are_counted_as_the_twin_counts_them(text):
    counts = np.zeros(BUCKETS, np.int64)
    words = counted(pa.array([GOOD, None, text]), counts)
    expected = np.bincount([*features(GOOD), *features(text)], minlength=BUCKETS)
    assert counts.tolist() == expected.tolist()
    assert words == len(re.findall(r"\w+|[^\w\s]+", GOOD + " " + text))


@few
@given(TEXTS)
def test_a_weight_is_what_redpajama_computes_from_the_same_buckets(model, text):
    counts, corpora = np.load(model / "counts.npy"), load(model)
    means = (corpora.target, corpora.source)
    texts = pa.array([GOOD, text])
    for corrected in (False, True):
        expected = [redpajama(one, counts, means if corrected else None) for one in (GOOD, text)]
        found = corpora.scores(texts, length_correction=corrected).tolist()
        assert found == pytest.approx(expected, nan_ok=True, rel=1e-11, abs=1e-11)


def test_lengths_are_corrected_as_scipy_s_poisson_says(model):
    counts, corpora = np.load(model / "counts.npy"), load(model)
    texts = ["a", "a b", "word " * 3, "word " * 1000, " ", "\n" * 7, "é" * 12]
    for means in ((8.0, 13.5), (0.3, 700.0)):
        other = type(corpora)(corpora.weights, *means)
        found = other.scores(pa.array(texts), length_correction=True).tolist()
        expected = [redpajama(text, counts, means) for text in texts]
        assert found == pytest.approx(expected, rel=1e-11, abs=1e-11)


def test_the_length_of_a_text_is_its_characters_and_that_of_a_corpus_its_words(model):
    corpora = load(model)
    # 16, 0 and 3 words in three documents, 19 and 5 in two.
    assert (corpora.target, corpora.source) == (19 / 3, 24 / 2)
    texts = pa.array(["é é é"])  # five characters in eight bytes, three words
    corrected, plain = (corpora.scores(texts, length_correction=how)[0] for how in (True, False))
    near, far = (stats.poisson.pmf(5, mean) + 1e-8 for mean in (19 / 3, 24 / 2))
    assert corrected - plain == pytest.approx(math.log(near / far))


def test_most_texts_are_so_long_that_the_correction_is_nothing(model):
    corpora, texts = load(model), pa.array([GOOD * 3])
    assert corpora.scores(texts) == corpora.scores(texts, length_correction=True)


def test_a_weight_worked_out_by_hand(tmp_path):
    # One word, so no pairs: its share is 1 there, and 1/2 of two words and 0 of one pair here.
    train(tmp_path, ["a", "a"], ["a", "b"], buckets=1 << 20)
    found = weighed(tmp_path / "model", "a", "b", "a a").column("importance").to_pylist()
    once = math.log(1 + 1e-8) - math.log(0.5 + 1e-8)
    never = math.log(1e-8) - math.log(0.5 + 1e-8)
    # Two words and a pair that neither corpus has.
    assert found == pytest.approx([once, never, 2 * once], abs=1e-12)


def test_target_and_source_in_each_other_s_place_turn_the_sign(tmp_path, model):
    train(tmp_path, [BAD, "Free offers, here!"], [GOOD, "", "A proof."])
    texts = pa.array([GOOD, BAD, "neither"])
    assert load(tmp_path / "model").scores(texts) == pytest.approx(-load(model).scores(texts))


def test_undefined_is_only_the_weight_of_an_empty_text(model):
    good, bad, empty, none, blank = weighed(model, GOOD, BAD, "", None, " \n").column("importance")
    assert good.as_py() > 0 > bad.as_py() and blank.as_py() == 0
    assert math.isnan(empty.as_py()) and math.isnan(none.as_py())
    assert weighed(model).column("importance").to_pylist() == []


@few
@given(st.lists(TEXTS, max_size=6), st.integers(0, 6))
def test_a_sliced_batch_sees_its_own_rows(model, texts, first):
    whole = load(model).scores(pa.array(texts, pa.string())).tolist()
    part = load(model).scores(pa.array(texts, pa.string())[first:]).tolist()
    assert part == pytest.approx(whole[first:], nan_ok=True, abs=0)


def test_only_a_bound_drops(model):
    texts = (GOOD, BAD, "")
    found = weighed(model, *texts, column="wiki")
    assert found.schema.field("wiki").type == pa.float64()
    assert "dropped_by" not in found.schema.names
    judged = weighed(model, *texts, column="wiki", low=0).to_pydict()
    assert judged["dropped_by"] == [None, "importance.wiki", "importance.wiki"]
    assert judged["value"][1] == judged["wiki"][1] and judged["bound"][1] == 0


def test_each_language_has_its_model_and_others_break_no_bound(tmp_path, model):
    for language in ("en", "de"):
        sides = ([GOOD], [BAD]) if language == "en" else ([BAD], [GOOD])
        train(tmp_path / language, *sides, language=language)
        (tmp_path / language / "model").rename(tmp_path / f"wiki-{language}")
    stage = Importance(model=str(tmp_path / "wiki-{language}"), low=0)
    assert set(stage.files()) == {
        f"{tmp_path}/wiki-{name}" for name in ("en", "de", "en card", "de card")
    }
    rows = batch(GOOD, GOOD, GOOD, GOOD, "", language=["en", "de", "fr", None, "en"])
    with stage.open() as add:
        found = add(rows).to_pydict()
        with pytest.raises(RecipeError, match=r"put language\.Identify before it"):
            add(batch(GOOD))
    english, german, french, unknown, empty = found["importance"]
    assert english > 0 > german == -english and french is None and unknown is None
    assert math.isnan(empty)
    reason = "importance.importance"
    assert found["dropped_by"] == [None, reason, None, None, reason]
    card = json.loads((tmp_path / "wiki-de" / "card.json").read_text())
    (tmp_path / "wiki-de" / "card.json").write_text(json.dumps({**card, "language": "nl"}))
    with pytest.raises(ModelError, match="a model of 'nl', not of 'de'"), stage.open():
        pass


def test_the_same_documents_give_the_same_bytes_in_whatever_files_and_order(tmp_path):
    texts = [f"{GOOD} number {number}" for number in range(30)]
    train(tmp_path / "one", texts, [BAD])
    parts = [
        write_documents(tmp_path / "b.parquet", texts[20:]),
        write_documents(tmp_path / "a.parquet", texts[:20][::-1]),
    ]
    source = [write_documents(tmp_path / "one" / "source.parquet", [BAD])]
    cards = [
        train(tmp_path / name, files, source)
        for name, files in (("two", parts), ("three", parts[::-1]))
    ]
    counts = [(tmp_path / name / "model" / "counts.npy").read_bytes() for name in ("one", "two")]
    assert counts[0] == counts[1] and cards[0] == cards[1]
    written = [(tmp_path / name / "model" / "card.json").read_bytes() for name in ("two", "three")]
    assert written[0] == written[1]


def test_the_card_says_what_was_counted(tmp_path):
    card = train(tmp_path, [GOOD, None, ""], [BAD], language="en")
    target = card["target"]
    assert (target["documents"], target["words"], card["language"]) == (2, 16, "en")
    assert (
        target["files"][0]["file"] == "target.parquet" and len(target["files"][0]["sha256"]) == 64
    )
    assert target["mean_weight"] > 0 > card["source"]["mean_weight"]
    counts = np.load(tmp_path / "model" / "counts.npy")
    assert counts.shape == (2, BUCKETS) and counts.sum(axis=1).tolist() == [16 + 15, 19 + 18]
    assert str(tmp_path) not in (tmp_path / "model" / "card.json").read_text()


def test_texts_in_other_columns_and_files_are_counted_too(tmp_path):
    (tmp_path / "good.jsonl").write_text(json.dumps({"body": GOOD, "more": 1}) + "\n")
    pq.write_table(
        pa.table({"body": pa.array([BAD, BAD], pa.large_string())}), tmp_path / "bad.parquet"
    )
    card = train(
        tmp_path, [tmp_path / "good.jsonl"], [tmp_path / "bad.parquet"], text_column="body"
    )
    assert (card["target"]["words"], card["source"]["words"]) == (16, 38)


def test_corpora_that_say_nothing_are_refused(tmp_path):
    with pytest.raises(InputError, match="--target: no words in its 2 documents"):
        train(tmp_path, ["", " \n"], [BAD])
    with pytest.raises(InputError, match="--source: no words in its 0 documents"):
        train(tmp_path, [GOOD], [])
    one = [write_documents(tmp_path / "one.parquet", [GOOD])]
    with pytest.raises(InputError, match="are the same files"):
        train(tmp_path, one, one)
    with pytest.raises(InputError, match="no column 'body'; there are: text"):
        train(tmp_path, one, one, text_column="body")
    with pytest.raises(RecipeError, match="buckets: 1; write 2 to"):
        Settings(buckets=1)
    assert not (tmp_path / "model").exists()


def test_settings_that_mean_nothing_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="model: none given"):
        Importance()
    with pytest.raises(RecipeError, match="column: 'text' is taken"):
        Importance(model="m", column="text")
    with pytest.raises(RecipeError, match="low: nan"):
        Importance(model="m", low=math.nan)
    with pytest.raises(ModelError, match=r"no counts\.npy in it; name a folder of"):
        weighed(tmp_path / "nowhere", "x")
    with pytest.raises(ModelError, match="no such file for any language"):
        weighed(tmp_path / "{language}", "x")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": {}}', b'{"model": 3}'])
def test_a_damaged_card_is_an_error(tmp_path, model, content):
    (tmp_path / "counts.npy").write_bytes((model / "counts.npy").read_bytes())
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"card\.json: no card of an importance model"):
        load(tmp_path)


def test_counts_that_are_not_the_card_s_are_an_error(tmp_path, model):
    (tmp_path / "counts.npy").write_bytes((model / "counts.npy").read_bytes() + b"\0")
    (tmp_path / "card.json").write_bytes((model / "card.json").read_bytes())
    with pytest.raises(ModelError, match="the card of other counts"):
        load(tmp_path)


RECIPE = "name: t\nstages:\n  - html.Extract\n  - importance.Importance: {{model: {}{}}}\n"
BEST = "  - best.Best: {column: importance, share: 0.2}\n"


@pytest.fixture(scope="session")
def web(tmp_path_factory):
    """Twenty texts, from none to all of their sentences out of the target."""
    path = tmp_path_factory.mktemp("web") / "web.jsonl"
    texts = [" ".join([GOOD] * good + [BAD] * (19 - good)) for good in range(20)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def kept(output) -> list[int]:
    """How many sentences of the target the documents have that a run kept."""
    tables = [pq.read_table(path) for path in sorted((output / "documents").iterdir())]
    return sorted(text.count("theorem") for table in tables for text in table["text"].to_pylist())


def test_the_best_share_by_weight_is_kept(tmp_path, model, web):
    text = RECIPE.format(model, "") + BEST
    run(Job(text, "t.yaml", [str(web)], tmp_path / "o", workers=0), Quiet())
    assert kept(tmp_path / "o") == [16, 17, 18, 19]


def test_another_bound_is_decided_from_the_stored_weights(tmp_path, model, web):
    run(Job(RECIPE.format(model, ""), "t.yaml", [str(web)], tmp_path / "o", workers=0), Quiet())
    assert kept(tmp_path / "o") == list(range(20))
    with Importance(model=str(model)).open() as stage:
        texts = [json.loads(line)["text"] for line in web.read_text().splitlines()]
        weights = stage(batch(*texts)).column("importance").to_pylist()
    text = RECIPE.format(model, f", low: {weights[12]!r}")
    decision = decide(stored(tmp_path / "o"), recipe.parse(text, "other.yaml"))
    assert not decision.fates.missing
    assert int(decision.fates.kept.sum()) == 8
    best = recipe.parse(RECIPE.format(model, "") + BEST, "other.yaml")
    assert int(decide(stored(tmp_path / "o"), best).fates.kept.sum()) == 4


def test_the_counts_and_their_card_are_part_of_a_run_s_key(tmp_path, model, web):
    found = plan(recipe.parse(RECIPE.format(model, ""), "x.yaml"), [str(web)], tmp_path / "o")
    assert set(found.models) == {str(model), f"{model} card"}


def test_real_wikipedia_is_told_from_the_web(shared, tmp_path):
    folder = shared / "sources"
    wiki = (folder / "llama-factory_wiki_demo.txt").read_text().splitlines()
    lines = (folder / "llama-factory_c4_demo.jsonl").read_text().splitlines()
    web = [json.loads(line)["text"] for line in lines]
    train(tmp_path, wiki[::2], web[::2], buckets=10_000)
    corpora = load(tmp_path / "model")
    target, source = (corpora.scores(pa.array(texts[1::2])) for texts in (wiki, web))
    higher = np.greater.outer(target, source).mean()
    assert higher > 0.9, higher


def test_a_parquet_file_is_not_held_in_memory(tmp_path):
    draw = np.random.default_rng(1)
    path = tmp_path / "many.parquet"
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for _ in range(30):  # a megabyte each
            texts = [draw.bytes(125).hex() for _ in range(4096)]
            writer.write_table(pa.table({"text": texts}))
    before, held = pa.total_allocated_bytes(), []
    for _ in record_batches(path):
        held.append(pa.total_allocated_bytes() - before)
    assert len(held) == 30 and max(held) < 12e6
