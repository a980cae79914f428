"""The best share: equal to sorting everything, whatever the shards, the ties and what is gone."""

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.survey import Survey, decided
from curate.unit import Worker
from filters.best import Best, places

NAN = math.nan


def identity(number: int) -> bytes:
    # The second half decides too: ids that differ in their last bits only.
    return (number % 3).to_bytes(8, "big") + number.to_bytes(8, "big")


def decide(stage: Best, folder, *shards, gone=()) -> list[list[dict]]:
    """What is decided about shards of (number, score, group)."""
    surveys = []
    for i, rows in enumerate(shards):
        numbers, scores, groups = zip(*rows, strict=True) if rows else ((), (), ())
        columns = {
            "id": pa.array(map(identity, numbers), pa.binary(16)),
            "x.score": pa.array(scores, pa.float64()),
            "language": pa.array(groups, pa.string()),
        }
        table = stage.survey(pa.RecordBatch.from_pydict(columns))
        surveys.append(folder / f"{i}.parquet")
        pq.write_table(table, surveys[-1])
    masks = [np.array([number in gone for number, *_ in rows], np.bool_) for rows in shards]
    return [table.to_pylist() for table in decided(stage, surveys, masks)]


def kept_by_sorting(stage: Best, rows: list[tuple], gone: set[int]) -> set[int]:
    """The twin: every group sorted as a whole."""
    ranked: dict[str | None, list[tuple]] = {}
    for number, score, group in rows:
        if number not in gone and score is not None and not math.isnan(score):
            turned = score if stage.best == "lowest" else -score
            key = group if stage.by else None
            ranked.setdefault(key, []).append((turned, identity(number), number))
    kept = set()
    for entries in ranked.values():
        first, last = (
            math.ceil(Fraction(share).limit_denominator(1000) * len(entries))
            for share in (stage.low, stage.low + stage.share)
        )
        kept |= {number for *_, number in sorted(entries)[first:last]}
    return kept


def test_best_is_a_survey():
    assert isinstance(Best("x.score"), Survey)


def test_the_top_is_kept_with_the_number_and_the_bound_of_all_others(tmp_path):
    rows = [(i, float(score), "en") for i, score in enumerate([5, 9, 7, 1])]
    one, two = decide(Best("x.score", 0.5), tmp_path, rows[:1], rows[1:])
    kept = {"dropped_by": None, "value": None, "bound": None}
    below = {"dropped_by": "best.below", "bound": 7.0}
    assert one == [{**below, "value": 5.0}]
    assert two == [kept, kept, {**below, "value": 1.0}]


def test_head_middle_and_tail_take_every_document_once(tmp_path):
    rows = [(i, float(i * i % 7), "en") for i in range(11)]
    cuts = [Best("x.score", 0.33), Best("x.score", 0.33, low=0.33), Best("x.score", 0.34, low=0.66)]
    kept = [
        i
        for stage in cuts
        for i, row in enumerate(decide(stage, tmp_path, rows)[0])
        if row["dropped_by"] is None
    ]
    assert sorted(kept) == list(range(11))
    (middle,) = decide(cuts[1], tmp_path, rows)
    assert {row["dropped_by"] for row in middle} == {None, "best.above", "best.below"}


def test_a_perplexity_is_best_where_it_is_lowest(tmp_path):
    rows = [(1, 250.0, "en"), (2, 90.0, "en"), (3, 4000.0, "en")]
    (table,) = decide(Best("x.score", 0.34, best="lowest"), tmp_path, rows)
    assert [row["dropped_by"] for row in table] == [None, None, "best.below"]
    assert (table[2]["value"], table[2]["bound"]) == (4000.0, 250.0)


def test_each_language_has_a_best_of_its_own(tmp_path):
    rows = [(1, 1.0, "en"), (2, 2.0, "en"), (3, 100.0, "de"), (4, 200.0, "de"), (5, 0.0, None)]
    (table,) = decide(Best("x.score", 0.5, by="language"), tmp_path, rows)
    assert [row["dropped_by"] is None for row in table] == [False, True, False, True, True]


def test_what_has_no_number_is_dropped_and_not_counted(tmp_path):
    rows = [(1, NAN, "en"), (2, None, "en"), (3, 1.0, "en"), (4, 2.0, "en")]
    (table,) = decide(Best("x.score", 0.5), tmp_path, rows)
    assert [row["dropped_by"] for row in table] == [
        "best.undefined",
        "best.undefined",
        "best.below",
        None,
    ]
    assert math.isnan(table[0]["value"])
    (nothing,) = decide(Best("x.score", 0.5), tmp_path, rows[:2])
    assert [row["bound"] for row in nothing] == [None, None]


def test_documents_that_are_gone_are_neither_counted_nor_judged(tmp_path):
    rows = [(i, float(i), "en") for i in range(4)]
    (table,) = decide(Best("x.score", 0.5), tmp_path, rows, gone={3})
    assert [row["dropped_by"] for row in table] == ["best.below", None, None, None]


def test_between_equal_numbers_the_smaller_id_stays(tmp_path):
    rows = [(i, 7.0, "en") for i in (4, 3, 6)]  # ids begin with 1, 0 and 0
    (table,) = decide(Best("x.score", 0.5), tmp_path, rows)
    assert [row["dropped_by"] for row in table] == ["best.below", None, None]
    assert (table[0]["value"], table[0]["bound"]) == (7.0, 7.0)


def test_no_shards_and_empty_shards_have_empty_decisions(tmp_path):
    assert decide(Best("x.score"), tmp_path) == []
    assert decide(Best("x.score"), tmp_path, [], [(1, 1.0, "en")])[0] == []
    assert decide(Best("x.score"), tmp_path, []) == [[]]


def test_a_share_is_never_a_document_more_for_how_floats_add_up():
    assert places(10, 0.1 + 0.2) == 3
    assert places(10**9, 0.1 + 0.2) == 3 * 10**8
    assert places(5, 0.1) == 1
    assert places(7, 0.34 + 0.66) == 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "column: none given"),
        ({"column": "x", "share": 0.0}, "share: 0"),
        ({"column": "x", "share": 1.5}, "share: 1.5"),
        ({"column": "x", "share": 0.5, "low": 0.6}, "low: 0.6"),
        ({"column": "x", "low": -0.1}, "low: -0.1"),
    ],
)
def test_settings_that_make_no_sense_are_told(settings, told):
    with pytest.raises(RecipeError, match=told):
        Best(**settings)


def test_a_column_that_is_not_there_or_holds_no_numbers_is_told():
    batch = pa.RecordBatch.from_pydict({"id": pa.array([], pa.binary(16)), "url": ["a"][:0]})
    with pytest.raises(RecipeError, match=r"no column 'x\.score'.* there are id, url"):
        Best("x.score").survey(batch)
    batch = pa.RecordBatch.from_pydict({"id": pa.array([identity(1)], pa.binary(16)), "url": ["a"]})
    with pytest.raises(RecipeError, match="url holds string, no numbers"):
        Best("url").survey(batch)
    lists = pa.RecordBatch.from_pydict(
        {"id": pa.array([identity(1)], pa.binary(16)), "score": [1.0], "languages": [["en"]]}
    )
    with pytest.raises(RecipeError, match="languages holds list"):
        Best("score", by="languages").survey(lists)


def test_a_column_that_a_survey_before_decides_is_there_when_kernels_are_loaded():
    stages = "html.Extract, exact.Exact, minhash.MinHash, best.Best: {column: cluster_size}"
    text = "name: t\nstages:\n" + "".join(f"  - {stage}\n" for stage in stages.split(", "))
    with Worker(text, "t.yaml") as worker:
        worker.warm()


SCORES = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, NAN, math.inf, -math.inf]) | st.none()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    st.lists(st.tuples(SCORES, st.sampled_from(["en", "de", None])), max_size=14),
    st.data(),
    st.sampled_from([(0.1, 0.0), (0.5, 0.0), (0.25, 0.5), (0.34, 0.33), (1.0, 0.0), (0.3, 0.7)]),
    st.sampled_from(["highest", "lowest"]),
    st.sampled_from([None, "language"]),
)
def test_it_keeps_what_sorting_keeps_in_any_order_and_any_shards(  # noqa: PLR0913  # one each
    tmp_path, entries, data, share, best, by
):
    rows = [(i, *entry) for i, entry in enumerate(entries)]
    gone = data.draw(st.sets(st.integers(0, 13)))
    moved = data.draw(st.permutations(rows))
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
    stage = Best("x.score", *share, best=best, by=by)
    shards = [moved[:first], moved[first:second], moved[second:]]
    decided = [row for table in decide(stage, tmp_path, *shards, gone=gone) for row in table]
    whole = decide(stage, tmp_path, rows, gone=gone)[0]
    by_number = dict(zip([number for number, *_ in moved], decided, strict=True))
    assert repr([by_number[number] for number, *_ in rows]) == repr(whole)
    kept = {i for i, row in enumerate(whole) if row["dropped_by"] is None and i not in gone}
    assert kept == kept_by_sorting(stage, rows, gone)
    assert not any(whole[i]["dropped_by"] for i in gone if i < len(rows))
