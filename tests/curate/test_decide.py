"""Other bounds on a finished run: the same funnel, the verdicts of a real run, or undecided."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import decided, recipe
from curate.decide import decide
from curate.errors import InputError, ShardError
from curate.fates import Decision
from curate.run import Job, run
from curate.stored import stage_facts, stored
from filters.classifier_data import Labelled
from filters.classifier_training import preset, train
from tests.chaos.zygote import Quiet
from tests.crawl import member, page, response, write_crawl
from tests.verdicts import verdicts

HEAD = "name: first\nstages:\n  - html.Extract\n"
QUALITY = """
  - filter:
      - gopher.word_count: {low: 50}
      - gopher.mean_word_length: {low: 5.5, high: 5.7}
      - gopher.stop_words: {low: 7}
"""
LINES = "  - c4.Lines: {min_sentences: 3}\n"
FINEWEB = """
  - filter:
      - fineweb.line_punct_ratio: {low: 0.5}
      - fineweb.char_dup_ratio: {high: 0.2}
"""
COPIES = "  - exact.Exact\n"
NEAR = "  - minhash.MinHash\n"
SCRUB = "  - pii.Scrub\n"
FULL = HEAD + QUALITY + LINES + FINEWEB + COPIES + NEAR + SCRUB
FILTERS = HEAD + QUALITY + LINES + FINEWEB


@pytest.fixture(scope="module")
def crawl(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("crawl")
    write_crawl(folder, files=2, pages=20)
    members = [member(response(f"https://v.example/{i}", varied(i))) for i in range(32)]
    (folder / "varied.warc.gz").write_bytes(b"".join(members))
    return folder


def varied(seed: int) -> str:
    """A page of another length each, with lines that end in no point, and lines that repeat."""
    html = page(seed + 1000, paragraphs=seed % 9)
    if seed % 4 == 1:
        html = html.replace(".</p>", "</p>", seed % 7)
    if seed % 5 == 2:
        html = html.replace("</article>", html[html.find("<p>") : html.find("</p>") + 4] * 3)
    if seed % 8 == 3:
        html = html.replace("</p>", " Lorem ipsum.</p>", 1)
    return html


@pytest.fixture(scope="module")
def ran(crawl, tmp_path_factory):
    """A real run of a recipe over the small crawl; each recipe once."""
    done: dict[str, Path] = {}

    def go(text: str) -> Path:
        if text not in done:
            done[text] = tmp_path_factory.mktemp("run") / "o"
            run(Job(text, "t.yaml", [str(crawl)], done[text], workers=0), Quiet())
        return done[text]

    return go


def other(folder: Path, text: str) -> Decision:
    return decide(stored(folder), recipe.parse(text, "other.yaml"))


def told(decision: Decision, output: Path) -> list[dict]:
    decided.write(decision, output)
    return pq.read_table(output / "verdicts.parquet").to_pylist()


def agree(decision: Decision, real: Path, output: Path) -> int:
    """Assert that all that is decided is what a real run did; return how much is undecided."""
    truth = verdicts(real)
    rows = told(decision, output)
    assert {row["id"] for row in rows} == set(truth)
    for row in rows:
        reason, value, bound = truth[row["id"]]
        if row["after"] is None and row["missing"] is None:
            assert reason is None
        elif row["after"] is not None and row["missing"] is None:
            assert (row["after"], row["value"], row["bound"]) == (reason, value, bound)
        elif row["after"] is not None:  # dropped for certain, by this or an earlier reason
            assert reason is not None
    return sum(row["after"] is None and row["missing"] is not None for row in rows)


def test_the_same_recipe_gives_the_first_funnel_exactly(ran):
    decision = other(ran(FULL), FULL)
    for row in decision.funnel():
        assert row.entered == row.first.entered.documents
        assert row.left == row.first.kept.documents
        assert row.reasons == row.first_reasons
        assert row.undecided == 0
    assert len(decision.funnel()) == 8
    assert sum(bool(row.reasons) for row in decision.funnel()) >= 4
    assert decision.notes == []
    assert not decision.fates.missing


def test_a_tighter_bound_is_decided_as_a_real_run_decides(ran, tmp_path):
    tight = FILTERS.replace("low: 50", "low: 300").replace("high: 0.2", "high: 0.01")
    decision = other(ran(FILTERS), tight)
    assert agree(decision, ran(tight), tmp_path) == 0
    assert 0 < decision.fates.kept.sum() < decision.run.kept.sum()


def test_a_looser_bound_is_decided_where_the_numbers_are_there(ran, tmp_path):
    loose = FILTERS.replace("low: 5.5", "low: 0")
    decision = other(ran(FILTERS), loose)
    # What the filter had dropped was never seen by c4.Lines, nor by the filter behind it.
    undecided = agree(decision, ran(loose), tmp_path)
    assert undecided > 0
    assert {missing.what for missing, _ in decision.missing()} == {"c4.Lines"}
    assert "dropped these before, at filter gopher" in decision.missing()[0][0].why


def test_within_one_filter_everything_is_decided(ran, tmp_path):
    strict = HEAD + QUALITY.replace("low: 50", "low: 500")
    for text in (HEAD + QUALITY, HEAD + QUALITY.replace("high: 5.7", "high: null")):
        assert agree(other(ran(strict), text), ran(text), tmp_path) == 0


BOUNDS = st.tuples(
    st.sampled_from([0, 50, 400, 500, 540]),
    st.sampled_from([0, 5.4, 5.5, 5.6]),
    st.sampled_from([0, 0.5, 0.89, 1.0]),
    st.sampled_from([0, 3, 16, 31, 41]),
)


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(BOUNDS, BOUNDS)
def test_whatever_is_decided_is_what_a_real_run_does(ran, tmp_path, first, second):
    texts = [
        FILTERS.replace("low: 50", f"low: {words}")
        .replace("low: 5.5", f"low: {length}")
        .replace("low: 0.5", f"low: {lines}")
        .replace("min_sentences: 3", f"min_sentences: {sentences}")
        for words, length, lines, sentences in (first, second)
    ]
    agree(other(ran(texts[0]), texts[1]), ran(texts[1]), tmp_path)


def test_a_signal_that_was_not_measured_leaves_open_what_nothing_else_drops(ran, tmp_path):
    more = HEAD + QUALITY.replace(
        "- gopher.word_count", "- gopher.hash_ratio\n      - gopher.word_count"
    )
    decision = other(ran(HEAD + QUALITY), more)
    ((missing, count),) = decision.missing()
    assert missing.what == "gopher.hash_ratio"
    assert missing.why == "the first run did not measure it"
    assert "list gopher.hash_ratio in a filter" in missing.advice
    assert count == decision.run.kept.sum() == agree(decision, ran(more), tmp_path)
    # What the word count drops is dropped, whatever the hash ratio says.
    assert decision.uncertain_reasons() > 0


def test_numbers_of_another_text_are_not_taken_for_these(ran):
    decision = other(ran(FILTERS), HEAD + QUALITY + FINEWEB)
    whats = {missing.what: missing.why for missing, _ in decision.missing()}
    assert whats == {
        "fineweb.line_punct_ratio": "the first run measured it at filter fineweb: another text, "
        "or in another way"
    }
    assert decision.fates.kept.sum() == 0


def test_a_signal_measured_twice_is_taken_from_where_it_fits(ran, tmp_path):
    words = "  - filter: [gopher.word_count: {low: LOW}]\n"
    twice = HEAD + words.replace("LOW", "50") + LINES + words.replace("LOW", "60")
    only_before = HEAD + words.replace("LOW", "300") + LINES
    decision = other(ran(twice), only_before)
    # Of those that went on the number is that of the second text.
    undecided = agree(decision, ran(only_before), tmp_path)
    assert undecided == sum(decision.run.reached >= 4)
    same = other(ran(twice), twice)
    assert all(row.reasons == row.first_reasons for row in same.funnel())


def test_another_setting_of_a_stage_that_rewrites_text_needs_a_run(ran, tmp_path):
    lines = FILTERS.replace("min_sentences: 3", "min_sentences: 3, min_words: 4")
    decision = other(ran(FILTERS), lines)
    assert {missing.why for missing, _ in decision.missing()} == {
        "the first run had other settings here"
    }
    agree(decision, ran(lines), tmp_path)


def test_more_sentences_are_asked_for_and_the_numbers_behind_are_of_the_same_text(ran, tmp_path):
    more = FILTERS.replace("min_sentences: 3", "min_sentences: 31").replace("low: 0.5", "low: 0.9")
    decision = other(ran(FILTERS), more)
    assert agree(decision, ran(more), tmp_path / "a") == 0
    reasons = decision.funnel()[3].reasons
    assert reasons["c4.sentences"] > 5
    assert reasons["c4.lorem_ipsum"] == 1  # as in the first run, which did not count these
    decided.write(decision, tmp_path / "o", documents=True)
    mine, real = (pq.read_table(folder / "documents") for folder in (tmp_path / "o", ran(more)))
    assert 0 < mine.num_rows < decision.run.kept.sum()
    assert mine.to_pylist() == real.to_pylist()


def test_fewer_sentences_leave_open_only_what_was_not_measured_behind(ran, tmp_path):
    more = FILTERS.replace("min_sentences: 3", "min_sentences: 31")
    decision = other(ran(more), FILTERS)
    undecided = agree(decision, ran(FILTERS), tmp_path / "a")
    sentences = [stage.name for stage in decision.run.stages].index("c4.Lines")
    by_phrase = decision.run.reasons.index("c4.lorem_ipsum")
    dropped = (decision.run.reached == sentences) & (decision.run.reason != by_phrase)
    fewer = verdicts(ran(FILTERS)).values()
    assert undecided == dropped.sum() - sum(reason == "c4.sentences" for reason, *_ in fewer)
    assert undecided > 5
    assert {missing.why for missing, _ in decision.missing()} == {
        "the first run dropped these before, at c4.Lines"
    }
    # With nothing behind it, every verdict is known; the text of what it dropped is not.
    last = HEAD + QUALITY + LINES
    decision = other(ran(last.replace("min_sentences: 3", "min_sentences: 31")), last)
    assert agree(decision, ran(last), tmp_path / "b") == 0
    with pytest.raises(InputError, match="was dropped in the first run"):
        decided.write(decision, tmp_path / "o", documents=True)


def test_copies_behind_the_lines_are_those_of_the_same_text(ran, tmp_path):
    first = HEAD + QUALITY + LINES + COPIES
    more = first.replace("min_sentences: 3", "min_sentences: 31")
    decision = other(ran(first), more)
    rows = told(decision, tmp_path)
    truth = verdicts(ran(more))
    assert all(row["after"] == truth[row["id"]][0] for row in rows if row["missing"] is None)
    assert any(row["after"] == "exact.duplicate" for row in rows)
    assert decision.fates.kept.sum() > 5


def test_sentences_that_a_later_stage_counted_again_are_not_taken_for_these(ran, tmp_path):
    twice = HEAD + LINES + QUALITY + "  - c4.Lines: {min_words: 12, min_sentences: 2}\n"
    more = twice.replace("min_sentences: 3", "min_sentences: 31")
    decision = other(ran(twice), more)
    assert agree(decision, ran(more), tmp_path / "a") > 5
    assert "a later stage of the first run wrote over its numbers" in {
        missing.why for missing, _ in decision.missing()
    }
    last = twice.replace("min_sentences: 2", "min_sentences: 20")
    assert agree(other(ran(twice), last), ran(last), tmp_path / "b") == 0


def test_a_run_of_a_version_that_kept_no_sentences_is_not_judged_by_them(ran, tmp_path):
    folder = tmp_path / "o"
    shutil.copytree(ran(FILTERS), folder, ignore=lambda *_: {"work"})
    for path in [*(folder / "documents").iterdir(), *(folder / "dropped").iterdir()]:
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["c4_sentences"]), path)
    decision = other(folder, FILTERS.replace("min_sentences: 3", "min_sentences: 31"))
    assert {(missing.what, missing.why) for missing, _ in decision.missing()} == {
        ("c4.Lines", "the first run had other settings here")
    }
    assert all(row.undecided == 0 for row in other(folder, FILTERS).funnel())


LEAVE_TEXT = [
    *("exact.Exact", "minhash.MinHash", "badwords.Drop", "redpajama_annotation.Annotate"),
    *("language.Identify", "url.Blocked", "best.Best: {column: gopher.word_count}"),
    *("classifier.Score: {model: m.bin}", "perplexity.Perplexity: {model: m.arpa}"),
]
REWRITE = ["c4.Lines", "dolma_c4.Lines", "pii.Scrub", "dclm_urls.Urls"]


@pytest.mark.parametrize("entry", [*LEAVE_TEXT, *REWRITE])
def test_a_stage_says_whether_it_leaves_the_text_as_it_was(entry):
    resolved = recipe.parse(f"{HEAD}  - {entry}\n", "t.yaml").resolved()
    stage = stage_facts(resolved, {})[-1]
    assert (stage.text == stage.text_after) == (entry in LEAVE_TEXT)
    # One that this version does not know may have rewritten it.
    for kind in ("filters.gone.Stage", "filters.c4.Gone", "elsewhere.Stage", "Stage"):
        resolved["stages"][-1]["kind"] = kind
        stage = stage_facts(resolved, {})[-1]
        assert stage.text != stage.text_after


def test_only_what_a_stage_judges_by_makes_no_other_text():
    def text_after(settings: str) -> str:
        parsed = recipe.parse(f"{HEAD}  - c4.Lines: {settings}\n", "t.yaml")
        return stage_facts(parsed.resolved(), {})[-1].text_after

    assert text_after("{min_sentences: 3}") == text_after("{min_sentences: 9}")
    for other_text in ("{min_words: 9}", "{policy: false}", "{sentences: datatrove}"):
        assert text_after(other_text) != text_after("{}")


def test_other_settings_of_reading_leave_everything_open(ran):
    decision = other(ran(FILTERS), FILTERS + "read: {types: [response]}\n")
    assert decision.fates.undecided.all()
    # How much is held at a time changes no document.
    assert not other(ran(FILTERS), FILTERS + "read: {batch_rows: 7}\n").fates.undecided.any()


def test_a_copy_stays_open_once_the_document_that_it_copies_is_gone(ran, tmp_path):
    first = HEAD + QUALITY + COPIES
    tight = first.replace("low: 50", "low: 500")
    decision = other(ran(first), tight)
    whole = told(decision, tmp_path)
    truth = verdicts(ran(tight))
    sure = [row for row in whole if row["missing"] is None]
    assert all(row["after"] == truth[row["id"]][0] for row in sure)
    assert any(row["after"] == "exact.duplicate" for row in sure)


def test_a_copy_stays_open_once_one_that_linked_it_is_gone(tmp_path):
    rng = random.Random(0)

    def edited(words: list[str]) -> list[str]:
        return [str(rng.random()) if rng.random() < 0.06 else word for word in words]

    texts = []
    for _ in range(20):
        first = [str(rng.random()) for _ in range(300)]
        link = edited(first)[:290]
        texts += [first, link, edited(link) + ["end"] * 10]
    lines = [json.dumps({"text": " ".join(words)}) for words in texts]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    linked = "  - minhash.MinHash: {bands: 20, rows: 4, verify: none}\n"
    loose = HEAD + "  - filter: [gopher.word_count: {low: 10}]\n" + linked
    tight = loose.replace("low: 10", "low: 295")
    for name, text in (("a", loose), ("b", tight)):
        job = Job(text, "t.yaml", [str(tmp_path / "in.jsonl")], tmp_path / name, workers=0)
        run(job, Quiet())
    before, after = verdicts(tmp_path / "a"), verdicts(tmp_path / "b")
    copies = [{k for k, v in one.items() if v[0] == "minhash.duplicate"} for one in (before, after)]
    assert copies[0] - copies[1]
    assert agree(other(tmp_path / "a", tight), tmp_path / "b", tmp_path / "d") == 0
    shutil.rmtree(tmp_path / "a" / "work")
    assert agree(other(tmp_path / "a", tight), tmp_path / "b", tmp_path / "d") > 0


def test_a_survey_says_how_many_it_never_compared(ran):
    first = HEAD + QUALITY + COPIES
    decision = other(ran(first), first.replace("low: 5.5", "low: 0"))
    newcomers = (decision.run.reached < 3) & (decision.run.reached > 1) & ~decision.run.kept
    assert any("did not compare" in missing.why for missing, _ in decision.missing())
    assert 0 < newcomers.sum() < decision.fates.undecided.sum()


BEST = "  - best.Best: {column: gopher.word_count, share: 0.5}\n"


def test_the_best_share_is_ranked_again_by_the_stored_numbers(ran, tmp_path):
    first = HEAD + QUALITY + BEST
    for text in (
        first.replace("share: 0.5", "share: 0.25"),
        first.replace("low: 50", "low: 300"),
        HEAD + QUALITY + BEST.replace("word_count", "mean_word_length"),
        HEAD + QUALITY,
    ):
        assert agree(other(ran(first), text), ran(text), tmp_path) == 0
    same = other(ran(first), first)
    assert all(row.reasons == row.first_reasons for row in same.funnel())
    assert same.funnel()[-1].reasons["best.below"] > 5


def test_the_best_share_of_unknown_documents_is_unknown(ran, tmp_path):
    first = HEAD + QUALITY + LINES + BEST
    text = first.replace("low: 5.5", "low: 0")
    decision = other(ran(first), text)
    assert agree(decision, ran(text), tmp_path) > 0
    assert decision.fates.kept.sum() == 0
    hash_ratio = HEAD + QUALITY + BEST.replace("word_count", "hash_ratio")
    assert other(ran(HEAD + QUALITY), hash_ratio).fates.kept.sum() == 0


def test_the_best_share_is_not_ranked_by_what_a_later_stage_wrote_over(ran, tmp_path):
    loose = "  - c4.Lines: {min_sentences: 0}\n"
    best = "  - best.Best: {column: c4_sentences, share: 0.5}\n"
    again = loose.replace("}", ", min_words: 9}")
    first, text = HEAD + loose + again + best, HEAD + loose + best
    assert agree(other(ran(first), text), ran(text), tmp_path) > 0
    assert agree(other(ran(HEAD + loose), text), ran(text), tmp_path) == 0
    left_over = HEAD + loose + BEST  # a real run has no such column
    assert other(ran(HEAD + loose + QUALITY), left_over).fates.kept.sum() == 0


def test_bounds_by_language_are_those_of_each_document(ran, tmp_path):
    table = tmp_path / "bounds.tsv"
    table.write_text("language\tgopher.word_count\tgopher.stop_words\nen\t400:\t\nde\t3:9\t1:\n")
    language = "  - language.Identify: {low: 0.0}\n"
    first = HEAD + language + QUALITY
    names = "[gopher.word_count, gopher.stop_words]"
    by = f"  - filter:\n      by_language: {table}\n      signals: {names}"
    text = HEAD + language + by
    decision = other(ran(first), text)
    assert agree(decision, ran(text), tmp_path / "d") == 0
    assert decision.funnel()[3].reasons["gopher.word_count"] > 5
    without = other(ran(HEAD + QUALITY), HEAD + by)
    assert {m.what for m, _ in without.missing()} == {"gopher.word_count"}


def test_a_signal_without_bounds_is_no_reason_to_be_undecided(ran, tmp_path):
    measured = HEAD + QUALITY + "      - gopher.hash_ratio: {low: null, high: null}\n"
    assert agree(other(ran(HEAD + QUALITY), measured), ran(measured), tmp_path / "a") == 0
    # Measured in one run, it can be a rule in the next, also of what the others dropped.
    rule = HEAD + "  - filter: [gopher.hash_ratio: {high: 0.0}]\n"
    assert agree(other(ran(measured), rule), ran(rule), tmp_path / "b") == 0


def test_languages_are_judged_again_by_the_stored_scores(ran, tmp_path):
    language = "  - language.Identify: {keep: [en], low: 0.9}\n"
    first = HEAD + language + QUALITY
    text = first.replace("low: 0.9", "low: 0.95")
    decision = other(ran(first), text)
    assert agree(decision, ran(text), tmp_path) == 0
    loose = first.replace("low: 0.9", "low: 0.2")
    assert agree(other(ran(first), loose), ran(loose), tmp_path) >= 0
    german = first.replace("[en]", "[de]")
    decision = other(ran(first), german)
    assert agree(decision, ran(german), tmp_path) == 0
    assert decision.funnel()[2].reasons["language.unwanted"] > 0


def test_languages_told_twice_of_the_same_text_are_the_same_numbers(ran, tmp_path):
    low = "  - language.Identify: {low: 0.2}\n"
    twice = HEAD + low + QUALITY + "  - language.Identify: {low: 0.3}\n"
    more = twice.replace("low: 0.2", "low: 0.93")
    decision = other(ran(twice), more)
    assert agree(decision, ran(more), tmp_path) == 0
    assert decision.funnel()[2].reasons["language.score"] > 0
    assert decision.fates.kept.sum() > 0


def test_numbers_that_hang_on_the_language_are_not_taken_where_another_stage_told_it(ran, tmp_path):
    language = "  - language.Identify: {low: 0.0}\n"
    for judged in (
        "  - filter: [badwords.count: {high: 0}]\n",
        "  - filter: [roots.word_count: {low: 100}]\n",
        "  - filter: [gopher.word_count: {low: 90, words: {en: unicode}}]\n",
        "  - badwords.Drop\n",
    ):
        first = HEAD + language + judged
        decision = other(ran(first), HEAD + judged + language)
        assert decision.fates.kept.sum() == 0
        text = first.replace("low: 0.0}", "low: 0.95}")
        assert agree(other(ran(first), text), ran(text), tmp_path) == 0
    alike = "  - filter: [gopher.word_count: {low: 90}]\n  - url.Blocked\n"
    first, text = HEAD + language + alike, HEAD + alike + language
    assert agree(other(ran(first), text), ran(text), tmp_path) == 0


def test_a_list_is_compared_by_what_is_in_it(crawl, tmp_path):
    domains = tmp_path / "domains.txt"
    domains.write_text("bad.example\n")
    text = HEAD + f"  - url.Blocked: {{domains: {domains}}}\n" + QUALITY
    run(Job(text, "t.yaml", [str(crawl)], tmp_path / "o", workers=0), Quiet())
    tight = text.replace("low: 50", "low: 300")
    assert not other(tmp_path / "o", tight).fates.missing
    domains.write_text("v.example\n")
    decision = other(tmp_path / "o", tight)
    (missing,) = decision.fates.missing
    assert (missing.what, missing.why) == (
        "url.Blocked",
        f"{domains} has changed since the first run",
    )
    assert decision.fates.kept.sum() == 0
    domains.unlink()
    assert not other(tmp_path / "o", tight).fates.missing


def trained(folder: Path, good: str, bad: str) -> Path:
    """A small classifier of documents with these words."""
    rng = random.Random(0)
    for name, words in (("hq", good), ("cc", bad)):
        texts = [" ".join(rng.choices(words.split(), k=12)) for _ in range(60)]
        lines = [json.dumps({"text": text}) for text in texts]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    small = preset("dclm", dim=4, buckets=200, epochs=20, rate=0.5, held_out=0.3)
    train([Labelled((folder / f"{n}.jsonl",), n) for n in ("hq", "cc")], small, folder / "m")
    return folder / "m"


def test_a_model_that_was_trained_again_judges_nothing(tmp_path):
    rng = random.Random(1)
    rows = [" ".join(rng.choices(["proof", "lemma", "buy", "cheap"], k=20)) for _ in range(40)]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": row}) for row in rows))
    model = trained(tmp_path, "proof lemma", "buy cheap")
    score = HEAD + f"  - classifier.Score: {{model: {model}, low: LOW}}\n"
    texts = [score.replace("LOW", low) for low in ("0.4", "0.6")]
    for name, text in zip("ab", texts, strict=True):
        job = Job(text, "t.yaml", [str(tmp_path / "in.jsonl")], tmp_path / name, workers=0)
        run(job, Quiet())
    assert agree(other(tmp_path / "a", texts[1]), tmp_path / "b", tmp_path / "d") == 0
    trained(tmp_path, "buy cheap", "proof lemma")
    for text in texts:
        decision = other(tmp_path / "a", text)
        assert decision.fates.undecided.all()
        assert {"has changed since" in missing.why for missing in decision.fates.missing} == {True}
    best = texts[0] + "  - best.Best: {column: quality, share: 0.5}\n"
    assert other(tmp_path / "a", best).fates.undecided.all()
    shutil.rmtree(model)
    assert agree(other(tmp_path / "a", texts[1]), tmp_path / "b", tmp_path / "d") == 0


def test_bounds_by_language_are_not_those_of_a_language_that_was_told_otherwise(ran, tmp_path):
    table = tmp_path / "bounds.tsv"
    table.write_text("language\tgopher.word_count\nen\t400:\n")
    by = f"  - filter:\n      by_language: {table}\n      signals: [gopher.word_count]\n"
    language = "  - language.Identify: {low: 0.0}\n"
    first = HEAD + language + "  - filter: [gopher.word_count]\n" + LINES + language
    decision = other(ran(first), HEAD + language + by)
    assert decision.fates.kept.sum() == 0
    assert "language" in {missing.what for missing in decision.fates.missing}


def test_the_documents_are_those_of_a_real_run(ran, tmp_path):
    strict = HEAD + QUALITY.replace("low: 50", "low: 300")
    decision = other(ran(HEAD + QUALITY), strict)
    decided.write(decision, tmp_path / "o", documents=True)
    mine, real = (pq.read_table(folder / "documents") for folder in (tmp_path / "o", ran(strict)))
    assert 0 < mine.num_rows < decision.run.kept.sum()
    assert mine.to_pylist() == real.to_pylist()
    with pytest.raises(InputError, match="undecided"):
        decided.write(
            other(ran(FULL), FULL.replace("low: 5.5", "low: 0")), tmp_path / "p", documents=True
        )
    with pytest.raises(InputError, match="rewrites the text otherwise"):
        decided.write(other(ran(HEAD + QUALITY + SCRUB), strict), tmp_path / "p", documents=True)
    with pytest.raises(InputError, match="was dropped in the first run"):
        decided.write(other(ran(strict), HEAD + QUALITY), tmp_path / "p", documents=True)


def test_an_output_is_written_again_and_what_is_not_ours_is_never_touched(ran, tmp_path):
    decision = other(ran(HEAD + QUALITY), HEAD + QUALITY)
    decided.write(decision, tmp_path / "o", documents=True)
    first = {path.name: path.read_bytes() for path in (tmp_path / "o").glob("*.*")}
    decided.write(decision, tmp_path / "o")
    assert {path.name: path.read_bytes() for path in (tmp_path / "o").glob("*.*")} == first
    assert list((tmp_path / "o" / "documents").iterdir()) == []
    (tmp_path / "o" / "thesis.txt").write_text("keep")
    with pytest.raises(InputError, match="none of a decision"):
        decided.write(decision, tmp_path / "o")
    with pytest.raises(InputError, match="the first run itself"):
        decided.write(decision, decision.run.folder)


def test_the_summary_adds_up(ran, tmp_path):
    decision = other(ran(FULL), FULL.replace("low: 5.5", "low: 0").replace("high: 0.2", "high: 0"))
    decided.write(decision, tmp_path / "o")
    summary = json.loads((tmp_path / "o" / "decision.json").read_text())
    dropped = sum(sum(stage["reasons"].values()) for stage in summary["stages"])
    assert summary["documents"] == summary["kept"] + summary["undecided"] + dropped == 72
    assert summary["stages"][-1]["left"] == summary["kept"]
    assert sum(missing["documents"] for missing in summary["missing"]) == summary["undecided"]


def test_a_run_with_files_missing_or_garbled_is_told(ran, tmp_path):

    folder = tmp_path / "o"
    shutil.copytree(ran(HEAD + QUALITY), folder, ignore=lambda *_: {"work"})
    path = sorted((folder / "dropped").iterdir())[0]
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    with pytest.raises(ShardError, match="hold 71 documents, but the ledger 72"):
        stored(folder)
    renamed = pa.array(["gone"] * table.num_rows)
    pq.write_table(table.set_column(table.column_names.index("stage"), "stage", renamed), path)
    with pytest.raises(ShardError, match="a stage 'gone' that"):
        stored(folder)
    path.write_bytes(b"PAR1")
    with pytest.raises(ShardError, match="cannot be read"):
        stored(folder)


def test_no_documents_at_all_are_decided_too(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    output = tmp_path / "o"
    run(Job(HEAD + QUALITY, "t.yaml", [str(tmp_path / "empty.jsonl")], output, workers=0), Quiet())
    decision = other(output, HEAD + QUALITY + BEST)
    assert decision.run.count == np.sum([row.undecided for row in decision.funnel()]) == 0
    decided.write(decision, tmp_path / "d", documents=True)
