"""Languages: the same labels and scores as the fastText library, and a verdict for every text."""

import gzip
import math
import os
import random
from dataclasses import replace

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import schema
from curate.column import view
from curate.errors import ModelError, RecipeError
from filters.fasttext_model import FastText, new_cache
from filters.fasttext_words import Cache
from filters.language import UNDETERMINED, Identify, language_of, line_share

# As plain Python the kernels are a thousand times slower.
COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"


@pytest.fixture(scope="session")
def model_file(shared):
    return shared / "models" / "lid.176.ftz"


@pytest.fixture(scope="session")
def ours(model_file):
    return FastText.load(model_file)


@pytest.fixture(scope="session")
def library(model_file):
    return fasttext.load_model(str(model_file))


def batch(*texts: str) -> schema.Batch:
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})


def identified(model_file, *texts, **given):
    with Identify(model=str(model_file), **given).open() as stage:
        return stage(batch(*texts))


def sample(shared, name, count):
    with gzip.open(shared / "multilingual" / f"{name}.tsv.gz", "rt", encoding="utf-8") as lines:
        texts = [line.rstrip("\n").split("\t")[-1] for line in lines]
    return [text for text in random.Random(7).sample(texts, count) if text.strip()]


def agree(ours, library, texts):
    languages, scores = language_of(pa.array(texts, pa.string()), ours)
    for text, language, score in zip(texts, languages, scores.tolist(), strict=True):
        labels, values = library.predict(text.replace("\n", " "))
        assert language == labels[0].removeprefix("__label__"), text
        assert abs(score - min(values[0], 1)) < 1e-4, text


@pytest.mark.parametrize("name", ["ntrex", "lingua"])
def test_128_languages_get_the_labels_and_scores_of_the_library(shared, ours, library, name):
    agree(ours, library, sample(shared, name, 800 if COMPILED else 20))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip(" \t\n\r\v\f\0")), min_size=1))
def test_any_text_gets_the_label_and_score_of_the_library(ours, library, texts):
    agree(ours, library, texts)


def test_odd_words_get_the_labels_and_scores_of_the_library(ours, library):
    agree(
        ours,
        library,
        [
            "ordinary words </s> les mots après la fin",
            "__label__fr the label is no word",
            "\0nul\0parts\0words\0",
            "é",
            "😀 😃 😄",
            "日本語" * 3000,
            "x" * 100_000,
            "a\u3000b\u00a0c",
            "</s>x </s",
        ],
    )


def test_every_probability_is_the_libraries(ours, library):
    text = "Das ist ein Satz, and this is another one."
    labels, values = library.predict(text, k=-1)
    expected = {
        label.removeprefix("__label__"): value for label, value in zip(labels, values, strict=True)
    }
    found = dict(
        zip(ours.labels, ours.probabilities(view(pa.array([text])))[0].tolist(), strict=True)
    )
    # The library leaves out what it does not follow to the end, as below .00001.
    assert len(found) == 176 and len(expected) > 20
    assert all(abs(found[label] - expected.get(label, 0)) < 1e-4 for label in found)


def test_a_model_of_word_pairs_that_is_not_compressed_agrees_as_well(shared):
    path = shared / "models" / "ft_pang_lee_supervised.bin"
    ours, library = FastText.load(path), fasttext.load_model(str(path))
    texts = ["a good film", "bad bad bad", "unheard words entirely", "the plot is not a plot"]
    found = ours.probabilities(view(pa.array(texts)))
    for row, text in enumerate(texts):
        for label, value in zip(*library.predict(text, k=-1), strict=True):
            column = ours.labels.index(label.removeprefix("__label__"))
            assert abs(found[row, column] - value) < 1e-4


def test_trained_here_with_word_n_grams_and_every_loss_it_agrees(tmp_path):
    lines = tmp_path / "lines.txt"
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    draw = random.Random(3)
    rows = [(word, " ".join(draw.choices(words, k=6))) for word in words for _ in range(30)]
    lines.write_text("".join(f"__label__{word} {text}\n" for word, text in rows))
    for loss in ("softmax", "hs", "ns", "ova"):
        library = fasttext.train_supervised(
            str(lines), loss=loss, wordNgrams=3, minn=2, maxn=3, dim=5, bucket=500, verbose=0
        )
        library.save_model(str(tmp_path / "model.bin"))
        ours = FastText.load(tmp_path / "model.bin")
        texts = ["alpha beta beta unknown", "zeta", "gamma delta epsilon alpha"]
        texts += [" ".join(draw.choices(words, k=count)) for count in (340, 341, 342, 343, 1500)]
        found = ours.probabilities(view(pa.array(texts)))
        for row, text in enumerate(texts):
            for label, value in zip(*library.predict(text, k=-1), strict=True):
                column = ours.labels.index(label.removeprefix("__label__"))
                assert abs(found[row, column] - value) < 1e-4, loss


def test_the_first_labels_are_those_of_all_probabilities(shared, ours):
    texts = view(pa.array(sample(shared, "lingua", 200 if COMPILED else 20)))
    every = ours.probabilities(texts)
    labels, scores = ours.best(texts, 5)
    expected = np.sort(every, axis=1)[:, ::-1][:, :5]
    assert np.allclose(scores, expected, atol=1e-6)
    assert np.allclose(np.take_along_axis(every, labels, axis=1), scores, atol=1e-6)
    assert np.array_equal(ours.best(texts)[0], labels[:, :1])


def test_what_was_remembered_does_not_change_a_bit(shared, ours):
    texts = view(pa.array(sample(shared, "lingua", 300 if COMPILED else 30)))
    small = Cache(np.zeros((5, 8), np.uint64), np.zeros((5, 16), np.float32))
    forgetful = replace(ours, cache=small)
    fresh = replace(ours, cache=new_cache(16))
    expected = fresh.hidden(texts)
    assert (small.words[:, 6] != 0).sum() == 0
    for model in (fresh, forgetful, forgetful, ours):
        assert np.array_equal(model.hidden(texts)[0], expected[0])
        assert np.array_equal(model.hidden(texts)[1], expected[1])
    assert (small.words[:4, 6] != 0).all()


def test_two_words_in_one_slot_are_told_apart(ours):
    only = Cache(np.zeros((2, 8), np.uint64), np.zeros((2, 16), np.float32))
    model = replace(ours, cache=only)
    texts = view(pa.array(["one two one two", "two one", "one", "two", "onetwothree " * 9]))
    assert np.array_equal(model.best(texts)[1], ours.best(texts)[1])


def test_a_text_without_words_is_undetermined_and_dropped(model_file):
    result = identified(model_file, "", " \n\t ", low=0.0).to_pydict()
    assert result["language"] == [UNDETERMINED] * 2
    assert all(math.isnan(score) for score in result["language_score"])
    assert result["dropped_by"] == ["language.score"] * 2


def test_unwanted_and_uncertain_texts_are_marked_with_their_score(model_file):
    english = "This is an ordinary English sentence about the weather."
    german = "Das ist ein gewöhnlicher deutscher Satz über das Wetter."
    result = identified(model_file, english, german, "x", keep=("en",)).to_pydict()
    assert result["language"][:2] == ["en", "de"]
    assert result["dropped_by"][:2] == [None, "language.unwanted"]
    assert result["dropped_by"][2] in ("language.unwanted", "language.score")
    assert result["value"][1] == result["language_score"][1]


def test_newlines_are_spaces(model_file):
    result = identified(model_file, "un deux trois", "un\ndeux\n\ntrois\n").to_pydict()
    assert result["language_score"][0] == result["language_score"][1]


def test_a_sliced_batch_and_its_order_do_not_matter(shared, ours):
    texts = sample(shared, "lingua", 300 if COMPILED else 150)
    languages, scores = language_of(pa.array(texts), ours)
    assert language_of(pa.array(texts).slice(100, 50), ours)[0] == languages[100:150]
    backwards = language_of(pa.array(texts[::-1]), ours)
    assert backwards[0] == languages[::-1]
    assert np.array_equal(backwards[1], scores[::-1])


def test_no_texts_have_no_languages(model_file):
    assert identified(model_file).num_rows == 0


def test_a_misspelt_language_is_answered_with_the_nearest(model_file):
    with pytest.raises(RecipeError, match=r"'eng'; did you mean en"):
        identified(model_file, "text", keep=("eng",))


def test_a_bound_that_is_no_probability_is_refused():
    with pytest.raises(RecipeError, match="write 0 to 1"):
        Identify(low=65)


def test_the_named_model_is_loaded_only_if_it_is_whole(tmp_path, monkeypatch, model_file):
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path))
    (tmp_path / "lid.176.ftz").write_bytes(model_file.read_bytes()[:-1])
    with pytest.raises(ModelError, match="SHA-256"), Identify().open():
        pass


@pytest.mark.parametrize("share", [0, 0.00001, 0.001, 0.1, 0.5, 0.9, 0.99999])
def test_a_truncated_model_without_a_pin_is_an_error_and_no_crash(tmp_path, model_file, share):
    data = model_file.read_bytes()
    (tmp_path / "cut.ftz").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match="fastText model"):
        FastText.load(tmp_path / "cut.ftz")


def test_each_language_has_its_own_bound(model_file):
    english = "This is an ordinary English sentence about the weather."
    german = "Das ist ein gewöhnlicher deutscher Satz über das Wetter."
    stage = {"low": 0.2, "by_language": {"de": 0.999999}}
    result = identified(model_file, english, german, **stage).to_pydict()
    assert result["dropped_by"] == [None, "language.score"]
    assert result["bound"][1] == 0.999999


def test_several_languages_are_listed_while_they_score_enough(model_file, library):
    text = "Das ist ein Satz, and this is another one. Voilà une phrase."
    result = identified(model_file, text, "", top=3, floor=0.01, low=0.0)
    labels, values = library.predict(text, k=3)
    count = sum(value >= 0.01 for value in values)
    assert result.column("languages").to_pylist() == [
        [label.removeprefix("__label__") for label in labels[:count]],
        [],
    ]
    scores = result.column("language_scores").to_pylist()
    assert np.allclose(scores[0], values[:count], atol=1e-4) and scores[1] == []


ENGLISH = "This is an ordinary English sentence about the weather."
GERMAN = "Das ist ein deutscher Satz."


def test_lines_and_their_characters_in_the_language_of_their_text_have_a_share(model_file):
    mixed = f"{GERMAN}\n{ENGLISH}\n\n{GERMAN}\n{GERMAN}\n"
    texts = (mixed, "", "\n\n", GERMAN)
    lines = identified(model_file, *texts, lines="lines", low=0.0, low_lines=0.7)
    share = [3 / 4, math.nan, math.nan, 1]
    assert np.allclose(lines.column("language_lines"), share, equal_nan=True)
    assert lines.column("dropped_by").to_pylist()[0] is None
    characters = identified(model_file, *texts, lines="characters", low=0.0, low_lines=0.7)
    german, english = 3 * (len(GERMAN) + 1), len(ENGLISH) + 1
    share[0] = german / (german + english)
    assert np.allclose(characters.column("language_lines"), share, equal_nan=True)
    assert characters.column("dropped_by").to_pylist()[0] == "language.lines"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from([ENGLISH, GERMAN, "", " ", "日本語です。"]))))
def test_the_share_of_lines_is_what_asking_line_by_line_gives(ours, texts):
    column = pa.array(["", *("\n".join(lines) for lines in texts)]).slice(1)
    labels = ours.best(view(column))[0][:, 0]
    found = line_share(view(column), labels, ours, in_characters=False)
    for label, lines, share in zip(labels.tolist(), texts, found.tolist(), strict=True):
        each = ours.best(view(pa.array(lines, pa.string())))[0][:, 0].tolist()
        heard = [one for one in each if one >= 0]
        assert share == heard.count(label) / len(heard) if heard else math.isnan(share)


def test_it_judges_again_from_what_it_wrote(model_file):
    given = {"model": str(model_file), "lines": "lines"}
    with Identify(**given).open() as stage:
        before = stage(batch(f"{ENGLISH}\n{GERMAN}\n{ENGLISH}"))
    again = Identify(**given, low_lines=0.9)
    after = again.judge(before.select(list(again.judged_from)))
    assert after.column("dropped_by").to_pylist() == ["language.lines"]


def test_it_judges_again_where_a_document_was_gone_before_its_language_was_told():
    told = pa.record_batch(
        {"language": ["en", None, "de"], "language_score": pa.array([0.5, None, 0.5])}
    )
    after = Identify(low=0.4, by_language={"de": 0.6}).judge(told)
    assert after.column("dropped_by").to_pylist() == [None, "language.score", "language.score"]
    assert after.column("bound").to_pylist() == [None, 0.4, 0.6]


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(RecipeError, match="by_language: de: 65 is no probability"):
        Identify(by_language={"de": 65})
    with pytest.raises(RecipeError, match="write `lines: lines`"):
        Identify(low_lines=0.5)
    with pytest.raises(RecipeError, match="top: -1"):
        Identify(top=-1)


def test_a_misspelt_language_with_a_bound_is_answered_with_the_nearest(model_file):
    with pytest.raises(RecipeError, match=r"by_language: .* 'eng'; did you mean en"):
        identified(model_file, "text", by_language={"eng": 0.5})


def test_labels_with_a_script_are_kept_as_they_are(tmp_path):
    lines = ["__label__eng_Latn the cat sat", "__label__rus_Cyrl кот сидел на окне"] * 30
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n")
    model = fasttext.train_supervised(
        str(tmp_path / "train.txt"), minn=2, maxn=3, dim=4, bucket=300, thread=1, verbose=0
    )
    model.save_model(str(tmp_path / "script.bin"))
    keep = ("rus_Cyrl",)
    result = identified(tmp_path / "script.bin", "the cat", "кот", keep=keep, low=0.5).to_pydict()
    assert result["language"] == ["eng_Latn", "rus_Cyrl"]
    assert result["dropped_by"][0] == "language.unwanted"
