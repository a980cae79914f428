"""How stages fall into passes: a survey sees no text that another is about to cut."""

import pytest

from curate.passes import passes
from curate.recipe import parse


def groups(*stages: str) -> list[tuple[list[str], list[str]]]:
    recipe = parse("stages:\n" + "".join(f"  - {stage}\n" for stage in stages), "t.yaml")
    return [
        ([step.label for step in one.steps], [step.label for step in one.surveys])
        for one in passes(recipe)
    ]


def test_surveys_that_stand_together_share_a_pass():
    assert groups("html.Extract", "exact.Exact", "minhash.MinHash", "pii.Scrub") == [
        (["html.Extract"], ["exact.Exact", "minhash.MinHash"]),
        (["pii.Scrub"], []),
    ]


@pytest.mark.parametrize(
    "cutting",
    ["lines.Lines", "substrings.Substrings", "bloom.Bloom", "sentence_lsh.Sentences"],
)
def test_a_survey_that_cuts_ends_its_group(cutting):
    assert groups("html.Extract", "exact.Exact", cutting, "minhash.MinHash", cutting) == [
        (["html.Extract"], ["exact.Exact", cutting]),
        ([], ["minhash.MinHash", f"{cutting} #2"]),
        ([], []),
    ]


@pytest.mark.parametrize(
    ("before", "survey"),
    [
        ("minhash.MinHash", "best.Best: {column: cluster_size}"),
        ("exact.Url", "contained.Contained: {keep: {lowest: url_copies}}"),
        ("exact.Exact", "minhash.MinHash: {keep: {highest: exact_copies}}"),
    ],
)
def test_a_survey_that_ranks_by_what_another_one_counts_waits_for_it(before, survey):
    assert groups("html.Extract", before, survey) == [
        (["html.Extract"], [before]),
        ([], [survey.split(":")[0]]),
        ([], []),
    ]
