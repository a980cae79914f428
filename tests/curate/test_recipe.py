"""A recipe's typos: the place, and the nearest right name."""

import pytest

from curate.errors import RecipeError
from curate.recipe import catalogue, load, parse, recipes

GOOD = """
name: small
stages:
  - html.Extract
  - filter:
      - gopher.word_count: {low: 10}
      - gopher.mean_word_length
  - exact.Exact
"""


@pytest.mark.parametrize("path", recipes(), ids=lambda path: path.stem)
def test_our_own_recipes_load_and_name_their_source(path):
    recipe = load(path)
    assert recipe.steps
    assert recipe.about


def test_bounds_are_the_sources_unless_the_recipe_gives_its_own():
    recipe = parse(GOOD, "small.yaml")
    word_count, mean_word_length = recipe.steps[1].stage.signals
    assert (word_count.low, word_count.high) == (10.0, 100_000.0)
    assert (mean_word_length.low, mean_word_length.high) == (3.0, 10.0)


def test_a_bound_of_null_takes_the_sources_bound_away():
    recipe = parse(GOOD.replace("{low: 10}", "{high: null}"), "small.yaml")
    assert recipe.steps[1].stage.signals[0].high == float("inf")


def test_labels_tell_two_filters_of_the_same_family_apart():
    twice = GOOD + "  - filter: [gopher.word_count, gopher.mean_word_length]\n"
    labels = [step.label for step in parse(twice, "x").steps]
    assert labels == ["html.Extract", "filter gopher", "exact.Exact", "filter gopher #2"]


def test_the_catalogue_has_signals_and_stages_by_the_names_that_recipes_write():
    names = catalogue()
    assert {"gopher.word_count", "html.Extract", "minhash.MinHash", "pii.Scrub"} <= names.keys()


ERRORS = [
    ("stages: [html.Extrct]", r"bad.yaml: stages\[0\]: no stage 'html.Extrct'; did you mean"),
    ("stages: [{filter: [gopher.word_cuont]}]", "did you mean gopher.word_count?"),
    ("stages: [{filter: [nowhere.at_all]}]", r"stages\[0\]: filter\[0\]: no signal"),
    ("stages: [gopher.word_count]", "is a signal; write `filter:`"),
    ("stages: [{filter: [html.Extract]}]", "is a stage, not a signal"),
    ("stages: [{filter: []}]", "at least one signal"),
    ("stages: [{filter: [gopher.word_count, gopher.word_count]}]", "listed twice"),
    ("stages: [{filter: [gopher.word_count: {lo: 5}]}]", "no setting 'lo'; did you mean low?"),
    ("stages: [{filter: [gopher.word_count: {low: 9, high: 5}]}]", "nothing can pass"),
    ("stages: [{filter: [gopher.word_count: {low: '5'}]}]", "expected a number"),
    ("stages: [{filter: [gopher.word_count: {low: 1e3}]}]", "write 1000, not 1e3"),
    ("stages: [{filter: [gopher.word_count: {low: .inf}]}]", "expected a number"),
    ("stages: [{filter: [gopher.word_count: {low: .nan}]}]", "expected a number"),
    ("stages: [{filter: [gopher.word_count: {low: yes}]}]", "expected a number"),
    ("stages: [{filter: [gopher.word_count: {low: 1%s}]}]" % ("0" * 400), "low: .* too large"),
    ("stages: [html.Extract, c4.Lines: {min_words: 99999999999999999999}]", "min_words: .* too l"),
    ("stages: [html.Extract, perplexity.Perplexity]", "Perplexity: model is missing"),
    ("stages: [html.Extract, olmo_lines.Newlines: {most: 1001}]", "most: 1001; write 0 or more"),
    ("stages: [html.Extract, dclm_urls.Urls: {max_newlines: -1}]", "max_newlines: -1; write 0"),
    (
        "stages: [html.Extract, redpajama_annotation.Annotate: {column: text}]",
        "column: 'text' is taken",
    ),
    ("max_fault_share: -0.1", "max_fault_share: -0.1; write 0 to 1"),
    ("stages: [{html.Extract: {extracter: x}}]", "did you mean extractor?"),
    ("stages: [{html.Extract: {extractor: 5}}]", "extractor: .*string"),
    ("stages: [{html.Extract: {}, exact.Exact: {}}]", "write one name"),
    ("stages: html.Extract", "expected a list"),
    ("stage: []", "no setting 'stage'; did you mean stages?"),
    ("read: {type: [response]}", "did you mean types?"),
    ("- a", "expected `key: value` lines"),
    ("", "expected `key: value` lines"),
    ("a: [", "line 1|line 2"),
    ("name: a\nname: b", "line 2: 'name' is given twice"),
    ("no: NO", "put it in quotes"),
    ("name: 1.10", "put it in quotes"),
    ("a: &x [1]\nb: *x", "aliases"),
    ("x: " + "[" * 30 + "]" * 30, "nested deeper"),
    ("x: !!python/object/apply:os.system [ls]", "not YAML|could not determine"),
    ("train: {steps: 1}", "needs token shards"),
    ("stages: [exact.Exact, html.Extract]", r"stages\[0\]: exact.Exact needs text; put html"),
    ("stages: [html.Extract, html.Extract]", "the text is there already"),
    (
        "stages: [html.Extract, filter: {words: {de: normalised}, signals: [gopher.word_count]}]",
        "words: normalised are those of a copy of the text, so not by language; choose it for all",
    ),
    ("tokenizer: {}", "tokenizer needs text"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=[text[:40] for text, _ in ERRORS])
def test_a_mistake_is_told_with_its_place_and_what_to_write(text, message):
    with pytest.raises(RecipeError, match=message):
        parse(text, "bad.yaml")


def test_a_recipe_that_is_not_there_names_the_nearest_of_ours():
    with pytest.raises(RecipeError, match="did you mean fineweb"):
        load("finweb")


def test_a_huge_recipe_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"[" * 300_000)
    with pytest.raises(RecipeError, match="at most"):
        load(path)
