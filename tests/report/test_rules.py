"""What each rule does: alone, as the first reason, as the only one; counted from the files."""

import json
import math

import pyarrow.parquet as pq
import pytest

from curate import bounds, recipe
from curate.decide import decide
from curate.report import page
from curate.report.collect import collect
from curate.run import Job
from curate.run import run as run_job
from curate.stored import stored
from tests.chaos.zygote import Quiet
from tests.crawl import write_crawl
from tests.report.conftest import SIGNALS


def broken(row: dict, stage: str) -> list[str]:
    """The rules of a filter that a document broke."""
    return [
        name
        for where, name, low, high, _ in SIGNALS
        if where == stage and row.get(name) is not None and not low <= row[name] <= high
    ]


def test_the_effects_of_a_rule_are_those_of_counting_one_by_one(run):
    rows = pq.read_table(run / "dropped").to_pylist()
    found = collect(run).signals
    for signal in found[:-1]:
        here = [row for row in rows if row["stage"] == signal.stage]
        for effect, mine in (
            (signal.charged, [row for row in here if row["dropped_by"] == signal.name]),
            (signal.alone, [row for row in here if signal.name in broken(row, signal.stage)]),
            (signal.only, [row for row in here if broken(row, signal.stage) == [signal.name]]),
        ):
            assert effect.documents == len(mine)
            assert effect.bytes == sum(row["bytes"] for row in mine)
        assert signal.only.documents <= signal.charged.documents <= signal.alone.documents
    assert sum(signal.only.documents for signal in found) > 0
    assert found[-1].alone.documents == 0


def test_every_document_dropped_by_a_filter_is_charged_once(run):
    report = collect(run)
    for group in page.rules(report):
        assert sum(signal.charged.documents for signal in group["signals"]) == group["dropped"]
        assert 0 < group["once"] <= group["dropped"]


RECIPE = """
name: rules
stages:
  - html.Extract
  - filter:
      - gopher.word_count: {low: 515}
      - gopher.mean_word_length: {low: 5.5, high: 5.7}
      - gopher.stop_words: {low: 7}
      - gopher.hash_ratio: {low: null, high: null}
  - exact.Exact
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    write_crawl(folder / "crawl", files=2, pages=30)
    run_job(Job(RECIPE, "r.yaml", [str(folder / "crawl")], folder / "o", workers=0), Quiet())
    return folder / "o"


def test_so_many_documents_more_pass_when_a_rule_is_taken_away(real):
    before = stored(real)
    for signal in collect(real).signals[:-1]:
        line = next(line for line in RECIPE.splitlines() if signal.name in line)
        without = decide(before, recipe.parse(RECIPE.replace(line + "\n", ""), "w.yaml"))
        passed = without.funnel()[2].left - before_left(real)
        assert passed == signal.only.documents
    assert sum(signal.only.documents for signal in collect(real).signals) > 5


def before_left(folder) -> int:
    ledger = json.loads((folder / "ledger.json").read_text())
    return ledger["stages"][2]["kept"]["documents"]


def test_what_only_measures_is_no_rule_and_drops_nothing(real):
    report = collect(real)
    hash_ratio = report.signals[-1]
    assert not hash_ratio.is_rule
    assert (hash_ratio.alone.documents, hash_ratio.broken) == (0, 0)
    (group,) = page.rules(report)
    assert [signal.name for signal in group["signals"]] == [
        "gopher.word_count",
        "gopher.mean_word_length",
        "gopher.stop_words",
    ]


def test_the_share_that_stays_in_the_filter_is_the_ledger_s(real):
    report = collect(real)
    stage = dict(report.stages)["filter gopher"]
    for signal in report.signals[:3]:
        card = page.signal_card(signal)
        labels = {mark.label for mark in card["chart"].curves.marks}
        share = stage.kept.documents / stage.entered.documents
        assert f"{100 * share:.1f} %" in labels
        assert card["within"] == pytest.approx(1 - signal.broken / signal.measured)


def test_bounds_by_language_are_those_of_the_table_or_unknown(tmp_path):
    table = tmp_path / "bounds.tsv"
    table.write_text("language\tgopher.word_count\nen\t500:\nde\t3:9\n")
    text = (
        "name: t\nstages:\n  - html.Extract\n  - language.Identify: {low: 0.0}\n"
        f"  - filter: {{by_language: {table}, signals: [gopher.word_count]}}\n"
    )
    write_crawl(tmp_path / "crawl", files=1, pages=20)
    run_job(Job(text, "t.yaml", [str(tmp_path / "crawl")], tmp_path / "o", workers=0), Quiet())
    (signal,) = collect(tmp_path / "o").signals
    assert page.keeps(signal) == "by language"
    assert signal.is_known
    assert 0 < signal.only.documents == signal.alone.documents == signal.charged.documents
    table.write_text("language\tgopher.word_count\nen\t1:\n")
    bounds.table.cache_clear()
    (signal,) = collect(tmp_path / "o").signals
    assert not signal.is_known
    assert "not the one of the run" in page.page(collect(tmp_path / "o"), 1)


def test_bounds_in_words():
    def keeps(low, high):
        return page.keeps(page.SignalFacts("a.b", "f", "", "", low, high))

    assert keeps(3, 10) == "3 to 10"
    assert keeps(-math.inf, 0.2) == "≤ 0.2"
    assert keeps(50, math.inf) == "≥ 50"
