"""Quality classifiers: figures worked out by hand, the library's numbers, always the same bytes."""

import json
import math
import os
import random

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import recipe
from curate.errors import InputError, ModelError, RecipeError
from curate.plan import plan
from filters.classifier import Score, load, normalised
from filters.classifier_data import Labelled, cleaned, split
from filters.classifier_figures import at, auc, calibration, figures, threshold, warnings
from filters.classifier_training import evaluate, preset, train

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
GOOD = ["theorem", "proof", "lemma", "field", "matrix", "prime"]
BAD = ["buy", "cheap", "offer", "click", "sale", "free"]
SMALL = {"dim": 4, "buckets": 200, "epochs": 20, "rate": 0.5, "held_out": 0.3}


def write_documents(path, words, count=60, seed=1):
    draw = random.Random(seed)
    rows = [json.dumps({"text": " ".join(draw.choices(words, k=12))}) for _ in range(count)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    sources = [
        Labelled((write_documents(folder / "good.jsonl", GOOD),), "hq"),
        Labelled((write_documents(folder / "bad.jsonl", BAD),), "cc"),
    ]
    train(sources, preset("dclm", **SMALL), folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def judged(shared):
    """Real pages with labels 0 and 1."""
    folder = shared / "quality"
    paths = (folder / "dclm_majority_data.jsonl", folder / "dclm_agreement_data.jsonl")
    return Labelled(paths, label_column="label")


def batch(*texts):
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})


def scored(toy, *texts, **settings):
    with Score(model=str(toy), **settings).open() as stage:
        return stage(batch(*texts))


numbers = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1)


@given(numbers)
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    scores = np.array([score / 4 for score, _ in pairs])
    truth = np.array([good for _, good in pairs])
    good, bad = scores[truth], scores[~truth]
    if not len(good) or not len(bad):
        assert auc(scores, truth) is None
        return
    right = [(one > other) + (one == other) / 2 for one in good for other in bad]
    assert auc(scores, truth) == pytest.approx(sum(right) / len(right), abs=1e-6)


def test_figures_of_four_documents():
    scores, truth = np.array([0.9, 0.6, 0.55, 0.1]), np.array([True, False, True, False])
    half = at(scores, truth, 0.5)
    assert half["precision"] == pytest.approx(2 / 3, abs=1e-6)
    assert (half["recall"], half["f1"], half["accuracy"]) == (1, 0.8, 0.75)
    table = calibration(scores, truth)
    assert [row["documents"] for row in table["table"]] == [0, 1, 0, 0, 0, 1, 1, 0, 0, 1]
    # A quarter of the documents in each of four bins: |.9-1|, |.6-0|, |.55-1|, |.1-0|.
    assert table["expected_error"] == pytest.approx((0.1 + 0.6 + 0.45 + 0.1) / 4)
    best = threshold(scores, truth, 0.25)
    assert (best["low"], best["kept_share"], best["precision"], best["recall"]) == (
        0.9,
        0.25,
        1,
        0.5,
    )
    assert best["low_of_others"] == 0.6


def test_documents_without_words_count_as_nothing_good():
    found = figures(np.array([np.nan, 0.8]), np.array([False, True]))
    assert (found["without_words"], found["auc"], found["at_half"]["recall"]) == (1, 1, 1)


@pytest.mark.parametrize("truth", [[], [True], [False]])
def test_figures_of_hardly_any_document_are_defined(truth):
    found = figures(np.full(len(truth), 0.7), np.array(truth, np.bool_))
    assert found["auc"] is None
    json.dumps(found, allow_nan=False)


def test_figures_that_say_nothing_say_so():
    truth = np.arange(60) < 30
    told = figures(np.where(truth, 0.9, 0.1), truth)
    assert (told["spread"], warnings(told)) == (0.8, [])
    # One document without words is no spread.
    flat = figures(np.array([*np.linspace(0.5, 0.5039, 59), np.nan]), truth)
    (said,) = warnings(flat)
    assert "differ by 0.0039 at most: the classifier has learned nothing" in said
    (said,) = warnings(figures(np.where(truth[10:], 0.9, 0.1), np.arange(50) < 19))
    assert "only 19 of the label:" in said


def test_a_classifier_that_learned_nothing_says_so_in_its_card(tmp_path):
    sources = [
        Labelled((write_documents(tmp_path / f"{label}.jsonl", GOOD, seed=seed),), label)
        for seed, label in ((1, "hq"), (2, "cc"))
    ]
    train(sources, preset("dclm", **SMALL | {"epochs": 1, "rate": 1e-6}), tmp_path / "model")
    page = (tmp_path / "model" / "model-card.md").read_text()
    assert "**Warning.** The scores differ by" in page and "of the label" in page


def test_texts_become_lines_as_the_library_wants_them():
    texts = pa.array(["One\ntwo\r\nthree\tfour", "a\u2028b\u0085c", " \n", "__label__x is no word"])
    assert cleaned(texts, lower=True) == [
        b"one two  three four",
        b"a b c",
        b"",
        b"is no word",
    ]
    assert cleaned(pa.array(["Not__label__x"]), lower=False) == [b"Not__label__x"]


@given(st.text())
def test_newlines_are_spaces_as_splitlines_sees_them(text):
    ours = normalised(pa.array([text]), lower=False)[0].as_py()
    assert ours.split() == " ".join(text.splitlines()).split()


def test_where_a_document_goes_depends_on_its_text_alone(tmp_path):
    texts = [f"document number {number}" for number in range(400)]
    rows = [json.dumps({"text": text}) for text in texts]
    (tmp_path / "all.jsonl").write_text("\n".join(rows))
    (tmp_path / "a.jsonl").write_text("\n".join(rows[250:]))
    (tmp_path / "b.jsonl").write_text("\n".join([*reversed(rows[:250]), *rows[:5]]))
    whole = Labelled((tmp_path / "all.jsonl",), "hq")
    parts = Labelled((tmp_path / "a.jsonl", tmp_path / "b.jsonl"), "hq")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one = split([whole], tmp_path / "one", 0.25, lower=False)
    other = split([parts], tmp_path / "other", 0.25, lower=False)
    assert one.train.read_bytes() == other.train.read_bytes()
    assert one.held_out.read_bytes() == other.held_out.read_bytes()
    assert (one.repeated, other.repeated) == (0, 5)
    assert 70 <= one.counts["held_out"]["hq"] <= 130
    lines = one.train.read_text().splitlines() + one.held_out.read_text().splitlines()
    assert sorted(lines) == sorted(f"__label__hq {text}" for text in texts)
    # Not in the order of the files: the library learns badly from one label after the other.
    assert lines != sorted(lines)


def test_two_trainings_give_the_same_bytes(tmp_path, toy):
    folder = toy.parent
    sources = [
        Labelled((folder / "bad.jsonl",), "cc"),
        Labelled((folder / "good.jsonl",), "hq"),
    ]
    train(sources, preset("dclm", **SMALL), tmp_path / "again")
    names = ["card.json", "model-card.md", "model.bin"]
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (toy / name).read_bytes()


@pytest.mark.skipif(not COMPILED, reason="a thousand times slower as plain Python")
def test_on_real_pages_it_tells_good_from_bad(tmp_path, judged):
    settings = preset("dclm", label="1", dim=16, buckets=20_000, epochs=50, rate=0.5, held_out=0.3)
    card = train([judged], settings, tmp_path / "model")
    assert card["figures"]["documents"] > 40
    assert card["figures"]["auc"] > 0.75
    # On what it has seen it is better still.
    assert evaluate(str(tmp_path / "model"), [judged])["auc"] > card["figures"]["auc"]
    library = fasttext.load_model(str(tmp_path / "model" / "model.bin"))
    ours = load(str(tmp_path / "model"))
    for path in judged.paths:
        for texts, _ in judged.batches(path):
            for text, score in zip(texts.to_pylist(), ours.scores(texts).tolist(), strict=True):
                # As DCLM asks it: the other label's probability, taken from one.
                labels, values = library.predict(" ".join(text.strip().splitlines()))
                expected = values[0] if labels[0] == "__label__1" else 1 - values[0]
                assert abs(score - expected) < 1e-4


def test_the_card_says_what_the_model_was_made_from(toy):
    card = json.loads((toy / "card.json").read_text())
    assert card["data"][0]["file"] == "bad.jsonl" and len(card["data"][0]["sha256"]) == 64
    assert card["data"][0]["labels"] == {"cc": 60}
    assert card["settings"]["word_ngrams"] == 2 and card["trained_by"]["threads"] == 1
    counts = card["split"]["documents"]
    assert sum(sum(side.values()) for side in counts.values()) == 120
    page = (toy / "model-card.md").read_text()
    assert card["model"]["sha256"] in page and "AUC" in page and "DCLM" in page
    assert str(toy.parent) not in page + json.dumps(card)


def test_the_number_is_a_column_and_only_a_bound_drops(toy):
    texts = ["theorem proof lemma", "buy cheap offer", "", "unheard words"]
    measured = scored(toy, *texts, column="dclm")
    assert measured.schema.field("dclm").type == pa.float64()
    good, bad, empty, _ = measured.column("dclm").to_pylist()
    assert good > 0.8 > 0.2 > bad and math.isnan(empty)
    assert "dropped_by" not in measured.schema.names
    judged = scored(toy, *texts, low=0.5).to_pydict()
    assert judged["dropped_by"][:3] == [None, "classifier.quality", "classifier.quality"]
    assert judged["value"][1] == judged["quality"][1] and judged["bound"][1] == 0.5


def test_both_labels_of_a_model_can_be_asked_for(toy):
    good = scored(toy, "theorem proof").column("quality")[0].as_py()
    bad = scored(toy, "theorem proof", label="__label__cc").column("quality")[0].as_py()
    assert good + bad == pytest.approx(1, abs=1e-5)


def test_the_card_says_how_texts_are_written(tmp_path, toy):
    sources = [
        Labelled((write_documents(tmp_path / "good.jsonl", [w.upper() for w in GOOD]),), "hq"),
        Labelled((toy.parent / "bad.jsonl",), "cc"),
    ]
    train(sources, preset("fasttext", lower=True, **SMALL), tmp_path / "lower")
    big, small = scored(tmp_path / "lower", "THEOREM PROOF", "theorem proof").column("quality")
    assert big == small and big.as_py() > 0.8


def test_no_documents_have_no_numbers(toy):
    assert scored(toy).column("quality").to_pylist() == []


def test_it_judges_again_from_its_number(toy):
    before = scored(toy, "theorem", "buy")
    stage = Score(model=str(toy), low=0.5)
    after = stage.judge(before.select(list(stage.judged_from)))
    assert after.column("dropped_by").to_pylist() == [None, "classifier.quality"]


def test_the_model_and_its_card_are_part_of_a_runs_key(tmp_path, toy):
    text = f"stages:\n  - html.Extract\n  - classifier.Score: {{model: {toy}, low: 0.1}}\n"
    documents = str(write_documents(tmp_path / "in.jsonl", GOOD, 3))

    def found():
        return plan(recipe.parse(text, "x.yaml"), [documents], tmp_path / "out").models

    before = found()
    assert set(before) == {str(toy), f"{toy} card"}
    card = (toy / "card.json").read_bytes()
    try:
        (toy / "card.json").write_bytes(card.replace(b'"lower": false', b'"lower": true'))
        assert found()[str(toy)] == before[str(toy)]
        assert found()[f"{toy} card"] != before[f"{toy} card"]
    finally:
        (toy / "card.json").write_bytes(card)


def test_a_model_without_a_card_needs_a_label(tmp_path, toy):
    alone = tmp_path / "alone.bin"
    alone.write_bytes((toy / "model.bin").read_bytes())
    with pytest.raises(RecipeError, match=r"has no card; write one of (hq, cc|cc, hq)"):
        scored(alone, "theorem")
    assert scored(alone, "theorem", label="hq").column("quality")[0].as_py() > 0.8


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": {}}', b'{"model": 3}'])
def test_a_damaged_card_is_an_error(tmp_path, toy, content):
    (tmp_path / "model.bin").write_bytes((toy / "model.bin").read_bytes())
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"card\.json: no card of a classifier"):
        load(str(tmp_path))


def test_the_card_of_another_model_is_an_error(tmp_path, toy):
    (tmp_path / "model.bin").write_bytes((toy / "model.bin").read_bytes() + b"\0")
    (tmp_path / "card.json").write_bytes((toy / "card.json").read_bytes())
    with pytest.raises(ModelError, match="the card of another model"):
        load(str(tmp_path))


def test_settings_that_mean_nothing_are_refused(toy):
    with pytest.raises(RecipeError, match="model: none given"):
        Score()
    with pytest.raises(RecipeError, match="column: 'text' is taken"):
        Score(model="m", column="text")
    with pytest.raises(RecipeError, match="low: 65 is no probability"):
        Score(model="m", low=65)
    with pytest.raises(RecipeError, match="no 'hqq'; did you mean hq"):
        scored(toy, "x", label="hqq")
    with pytest.raises(ModelError, match="no such file"):
        scored(toy / "nowhere", "x")
    with pytest.raises(RecipeError, match="no 'dcml'; did you mean dclm"):
        preset("dcml")
    with pytest.raises(RecipeError, match="held_out: 1"):
        preset("dclm", held_out=1.0)


def test_documents_that_cannot_teach_are_refused(tmp_path, toy):
    good = Labelled((toy.parent / "good.jsonl",), "hq")
    with pytest.raises(InputError, match="another label are needed on both sides"):
        train([good], preset("fasttext", **SMALL), tmp_path / "model")
    with pytest.raises(InputError, match="no column 'body'; there are: text"):
        column = Labelled(good.paths, "hq", text_column="body")
        train([column], preset("fasttext", **SMALL), tmp_path / "model")
    (tmp_path / "spaced.jsonl").write_text('{"text": "a", "label": "two words"}\n')
    with pytest.raises(InputError, match="'two words' is no label"):
        spaced = Labelled((tmp_path / "spaced.jsonl",), label_column="label")
        train([spaced], preset("fasttext", **SMALL), tmp_path / "model")
    assert not (tmp_path / "model" / "model.bin").exists()


def test_a_label_that_no_document_has_is_answered_by_those_there_are(tmp_path):
    rows = [json.dumps({"text": f"text {at}", "label": str(at % 2)}) for at in range(149)]
    (tmp_path / "judged.jsonl").write_text("\n".join(rows))
    judged = Labelled((tmp_path / "judged.jsonl",), label_column="label")
    expected = (
        r"the labels found are '0' \(75 documents\) and '1' \(74 documents\), and none is 'hq'; "
        "say which of them the number is about, such as --label 1"
    )
    with pytest.raises(InputError, match=expected):
        train([judged], preset("dclm", **SMALL), tmp_path / "model")
