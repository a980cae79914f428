"""Two runs on the same input: their verdicts joined by identity, counted and sampled."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import decided, recipe
from curate.compare import Comparison, Pair, compare
from curate.decide import decide
from curate.errors import InputError, ShardError
from curate.run import Job, run
from curate.stored import stored
from tests.chaos.zygote import Quiet
from tests.crawl import write_crawl

FIRST = """
name: first
stages:
  - html.Extract
  - filter:
      - gopher.word_count: {low: 515}
      - gopher.mean_word_length
  - exact.Exact
"""
SECOND = FIRST.replace("name: first", "name: second").replace("low: 515", "low: 50")
SECOND = SECOND.replace("mean_word_length", "mean_word_length: {low: 5.6}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    write_crawl(folder / "crawl", files=2, pages=30)
    for name, text in (("a", FIRST), ("b", SECOND)):
        run(Job(text, f"{name}.yaml", [str(folder / "crawl")], folder / name, workers=0), Quiet())
    return folder / "a", folder / "b"


def outcomes(folder: Path) -> dict[bytes, str]:
    kept = dict.fromkeys(pq.read_table(folder / "documents")["id"].to_pylist(), "kept")
    for path in (folder / "dropped").iterdir():
        kept |= {row["id"]: row["dropped_by"] for row in pq.read_table(path).to_pylist()}
    return kept


def test_the_matrix_is_that_of_joining_one_by_one(runs):
    found = compare(*runs)
    first, second = map(outcomes, runs)
    expected = Counter((first[i], second[i]) for i in first)
    assert {(pair.first, pair.second): pair.documents for pair in found.pairs} == expected
    assert found.documents == len(first) == 60
    assert found.alone == (0, 0)
    same = sum(n for (a, b), n in expected.items() if (a == "kept") == (b == "kept"))
    assert found.agreement == pytest.approx(same / 60)
    assert found.count("dropped", "kept") == sum(n for _, n in found.disputed(True)) > 3
    assert found.count("kept", "dropped") == sum(n for _, n in found.disputed(False)) > 3
    assert -1 <= found.kappa <= 1


def test_kappa_is_cohen_s():
    # Cohen 1960 as every textbook has it: 20 and 15 agreed, 5 and 10 not.
    pairs = [Pair("kept", "kept", 20), Pair("kept", "x", 5), Pair("y", "kept", 10)]
    found = Comparison(("a", "b"), 50, (0, 0), [*pairs, Pair("y", "x", 15)])
    assert found.agreement == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    undecided = Comparison(("a", "b"), 60, (0, 0), [*found.pairs, Pair("undecided", "kept", 10)])
    assert undecided.kappa == pytest.approx(0.4)
    alike = Comparison(("a", "b"), 5, (0, 0), [Pair("kept", "kept", 5)])
    assert alike.agreement == 1
    assert np.isnan(alike.kappa)
    assert np.isnan(Comparison(("a", "b"), 1, (0, 0), [Pair("undecided", "kept", 1)]).agreement)


def test_samples_are_the_smallest_ids_with_value_bound_and_scrubbed_text(runs):
    found = compare(*runs, samples=4)
    first, second = map(outcomes, runs)
    assert set(found.samples) == {"first", "second"}
    for name, mine, its in (("first", first, second), ("second", second, first)):
        for reason in {mine[i] for i in mine if mine[i] != "kept" and its[i] == "kept"}:
            ids = sorted(i.hex() for i in mine if mine[i] == reason and its[i] == "kept")
            assert [s.id for s in found.samples[name] if s.reason == reason] == ids[:4]
    for sample in [*found.samples["first"], *found.samples["second"]]:
        assert sample.place.startswith("site")
        assert len(sample.text) > 100
        assert "@example.org" not in sample.text
        assert not sample.bound <= sample.value or sample.reason == "exact.duplicate"
    assert compare(*runs, samples=0).samples == {}


def test_a_run_and_a_decision_compare_like_two_runs(runs, tmp_path):
    decision = decide(stored(runs[0]), recipe.parse(SECOND, "b.yaml"))
    decided.write(decision, tmp_path / "d")
    found = compare(tmp_path / "d", runs[1])
    assert found.names == ("second (d)", "second (b)")
    assert found.agreement == 1
    assert found.count("undecided", "kept") > 0
    open_ = found.count("undecided", "kept") + found.count("undecided", "dropped")
    assert found.decided + open_ == 60
    # The text of what the first run dropped is there as far as it has an excerpt.
    quoted = compare(runs[0], tmp_path / "d")
    assert quoted.names == ("first", "second")
    assert all(sample.text for sample in quoted.samples["second"])
    both = compare(tmp_path / "d", tmp_path / "d")
    assert both.names == ("second (first)", "second (second)")
    assert both.samples == {"second (first)": [], "second (second)": []}


def test_a_run_agrees_with_itself(runs):
    found = compare(runs[0], runs[0])
    assert found.agreement == found.kappa == 1
    assert all(pair.first == pair.second for pair in found.pairs)


def test_other_inputs_and_files_that_are_none_are_told(runs, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=3, damage=False)
    (tmp_path / "x.jsonl").write_text('{"text": "other"}\n')
    job = Job(FIRST, "a.yaml", [str(tmp_path / "x.jsonl")], tmp_path / "o", workers=0)
    run(job, Quiet())
    with pytest.raises(InputError, match="no document in common"):
        compare(runs[0], tmp_path / "o")
    with pytest.raises(ShardError, match="not there"):
        compare(runs[0], tmp_path)
    (tmp_path / "d").mkdir()
    for text in ("{", "[]", '{"recipe": 5}'):
        (tmp_path / "d" / "decision.json").write_text(text)
        with pytest.raises(ShardError, match="not as `curate decide` writes it"):
            compare(runs[0], tmp_path / "d")
    (tmp_path / "d" / "decision.json").write_text(json.dumps({"recipe": "x"}))
    with pytest.raises(ShardError, match="cannot be read"):
        compare(runs[0], tmp_path / "d")
    pq.write_table(pa.table({"id": pa.array([], pa.binary(16))}), tmp_path / "d/verdicts.parquet")
    with pytest.raises(ShardError, match="columns missing"):
        compare(runs[0], tmp_path / "d")


def test_what_only_one_side_has_is_counted_and_left_out(runs, tmp_path):
    decision = decide(stored(runs[0]), recipe.parse(SECOND, "b.yaml"))
    decided.write(decision, tmp_path / "d")
    path = tmp_path / "d" / "verdicts.parquet"
    pq.write_table(pq.read_table(path).slice(7), path)
    found = compare(runs[0], tmp_path / "d")
    assert found.alone == (7, 0)
    assert found.documents == 53 == sum(pair.documents for pair in found.pairs)
    shutil.rmtree(tmp_path / "d")
