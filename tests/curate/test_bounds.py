import math

import numpy as np
import pyarrow as pa
import pytest

from curate import recipe
from curate.bounds import table
from curate.errors import RecipeError
from curate.filter import Filter
from curate.words import Words
from filters import gopher

RECIPE = """
stages:
  - html.Extract
  - filter:
      by_language: {table}
      words: {words}
      signals:
        - gopher.word_count
        - gopher.mean_word_length: {{low: 1, high: 2}}
        - gopher.stop_words
"""


@pytest.fixture
def bounds(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text(
        "# numbers made up for this test\n"
        "language\tgopher.word_count\tgopher.mean_word_length\n"
        "de,deu_Latn\t2:3\t4:5\n"
        "fr\t:1\t\n"
    )
    return path


def batch(texts, languages):
    return pa.RecordBatch.from_pydict({"text": texts, "language": pa.array(languages, pa.string())})


def test_a_document_is_held_to_the_bounds_of_its_language(bounds):
    signal = gopher.word_count.within(low=1)
    stage = Filter((recipe.replace(signal, by_language=table(str(bounds))["gopher.word_count"]),))
    texts = ["one", "one two", "one two", "one", "one two three four", ""]
    marked = stage(batch(texts, ["de", "deu_Latn", "fr", "fr", "de", None]))
    dropped = [reason is not None for reason in marked["dropped_by"].to_pylist()]
    assert dropped == [True, False, True, False, True, True]
    assert marked["bound"].to_pylist() == [2, None, 1, None, 3, 1]


def test_bounds_that_the_recipe_gives_hold_for_all_languages(bounds):
    steps = recipe.parse(RECIPE.format(table=bounds, words="space"), "r.yaml").steps
    count, length, stop = steps[1].stage.signals
    assert count.by_language.pairs["de"] == (2, 3)
    assert length.by_language is None
    assert (length.low, length.high) == (1, 2)
    assert stop.by_language is None  # the table has no column for it


def test_without_a_language_the_table_cannot_be_used(bounds):
    signal = recipe.replace(gopher.word_count, by_language=table(str(bounds))["gopher.word_count"])
    texts = pa.RecordBatch.from_pydict({"text": ["one"]})
    with pytest.raises(RecipeError, match="no stage before tells it"):
        Filter((signal,))(texts)


def test_what_is_no_pair_of_bounds_is_told_with_its_place(tmp_path):
    path = tmp_path / "bad.tsv"
    path.write_text("language\tgopher.word_count\nde\t3:2\n")
    with pytest.raises(RecipeError, match=r"line 2: gopher.word_count: '3:2'.*low first"):
        table(str(path))


def test_a_language_that_is_there_twice_is_told(tmp_path):
    for rows in ("en\t5:\nde\t1:\nen\t400:\n", "de\t1:\n\nen,en\t5:\n"):
        path = tmp_path / f"{len(rows)}.tsv"
        path.write_text(f"language\tgopher.word_count\n{rows}")
        with pytest.raises(RecipeError, match="line 4: en is there twice; give it once"):
            table(str(path))


def test_an_empty_table_is_told(tmp_path):
    (tmp_path / "empty.tsv").write_text("# nothing\n")
    with pytest.raises(RecipeError, match="an empty table"):
        table(str(tmp_path / "empty.tsv"))


def test_a_missing_table_is_told():
    with pytest.raises(RecipeError, match="no such table of bounds"):
        table("nowhere.tsv")


def test_a_digest_of_the_table_is_in_the_resolved_recipe(bounds):
    found = recipe.parse(RECIPE.format(table=bounds, words="space"), "r.yaml").resolved()
    (first, *_) = found["stages"][1]["signals"]
    assert len(first["by_language"]["sha256"]) == 64


def test_words_may_be_chosen_by_language():
    stage = Filter((gopher.word_count.over(Words("space", (("zh", "space"),))),))
    marked = stage(batch(["a b", "c d e", ""], ["en", "zh", "zh"]))
    assert marked["gopher.word_count.space"].to_pylist() == [2, 3, 0]


def test_signals_over_other_words_have_names_of_their_own():
    assert gopher.word_count.over(Words()).name == "gopher.word_count"
    over = gopher.word_count.over(Words("space", (("zh", "space"),)))
    assert over.name == "gopher.word_count.space"


def test_words_for_a_whole_filter_leave_alone_what_has_none():
    text = RECIPE.format(table="fineweb2", words="unicode") + "        - fineweb2.language_score\n"
    names = [signal.name for signal in recipe.parse(text, "r.yaml").steps[1].stage.signals]
    assert names[0] == "gopher.word_count.unicode"
    assert names[-1] == "fineweb2.language_score"


def test_a_way_of_cutting_that_is_not_there_is_told(bounds):
    text = RECIPE.format(table=bounds, words="spaces")
    with pytest.raises(RecipeError, match="no way 'spaces'; there are space"):
        recipe.parse(text, "r.yaml")


def test_bounds_by_language_are_arrays(bounds):
    low, high = gopher.word_count.within(low=1).bounds(None, 2)
    assert np.array_equal(low, [1, 1])
    assert np.array_equal(high, [math.inf, math.inf])
