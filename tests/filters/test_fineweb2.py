"""FineWeb2's stop words and bounds by language."""

import math

import pyarrow as pa
import pytest

from curate import recipe
from curate.bounds import table
from curate.errors import RecipeError
from curate.signal import measured
from filters import fineweb2


def batch(**columns: list[object]) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array(values) for name, values in columns.items()})


def test_different_stop_words_of_the_language_are_counted():
    texts = ["der der und die", "Der und, die", "o de e", "o de e", ""]
    languages = ["de", "deu_Latn", "por_Latn", "pt", "de"]
    numbers = measured((fineweb2.stop_words,), batch(text=texts, language=languages))[0]
    assert numbers.tolist() == [3, 1, 3, 3, 0]


def test_a_language_without_stop_words_is_undefined():
    assert math.isnan(measured((fineweb2.stop_words,), batch(text=["the"]))[0][0])


def test_the_score_is_the_one_that_language_identification_gave():
    scores = fineweb2.language_score.measure(batch(text=["a"], language_score=[0.7]))
    assert scores.tolist() == [0.7]
    with pytest.raises(RecipeError, match="no stage before"):
        fineweb2.language_score.measure(batch(text=["a"]))


def test_bounds_are_those_of_the_configs():
    bounds = table("fineweb2")
    codes = {code for code in bounds["fineweb2.language_score"].pairs if "_" in code}
    assert len(codes) == 1929
    # configs/por_Latn.yml
    for code in ("por_Latn", "pt"):
        assert bounds["fineweb2.language_score"].pairs[code] == (0.799, math.inf)
        assert bounds["gopher.mean_word_length"].pairs[code] == (3, 13)
        assert bounds["repetition.duplicate_10grams"].pairs[code] == (-math.inf, 0.108)
    # configs/aai_Latn.yml: line_punct_thr: -1
    assert bounds["fineweb.line_punct_ratio"].pairs["aai_Latn"] == (-math.inf, math.inf)


def test_the_recipe_has_a_bound_for_every_column():
    steps = recipe.load("fineweb2").steps
    signals = [one for step in steps for one in getattr(step.stage, "signals", ())]
    names = {one.name.removesuffix(".space_unicode") for one in signals if one.by_language}
    assert names == set(table("fineweb2"))


@pytest.mark.parametrize("name", ["redpajama2", "roots", "ccnet", "fineweb2", "baichuan"])
def test_our_recipes_are_read(name):
    assert recipe.load(name).resolved()["name"] == name
