"""Documents that are a part of another, against every pair of them in plain Python."""

import gzip
import hashlib
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.dedup.contained import LEADERS, Contained
from curate.errors import RecipeError
from curate.survey import MEMORY, Survey, decided

REAL = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="megabytes of text need compiled code"
)
FOLDER = [HealthCheck.function_scoped_fixture]


def identity(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def decide(stage, folder, *shards, gone=(), memory=MEMORY):
    """What is decided about shards of (number, text)."""
    surveys = [folder / f"survey-{i}.parquet" for i in range(len(shards))]
    files = [folder / f"texts-{i}.parquet" for i in range(len(shards))]
    for survey, file, rows in zip(surveys, files, shards, strict=True):
        ids = pa.array([identity(number) for number, _ in rows], pa.binary(16))
        texts = pa.array([text for _, text in rows], pa.string())
        batch = pa.RecordBatch.from_arrays([ids, texts], ["id", "text"])
        pq.write_table(stage.survey(batch), survey)
        pq.write_table(pa.Table.from_batches([batch]), file)
    masks = [np.array([number in gone for number, _ in rows], np.bool_) for rows in shards]
    tables = decided(stage, surveys, masks, files, memory)
    return [table.to_pylist() for table in tables]


def words(first, count):
    return " ".join(f"w{i}" for i in range(first, first + count))


def brute(rows, sets, share):
    """Who goes, into whom, with which share of its n-grams: every pair, the largest first."""
    order = sorted(
        range(len(rows)),
        key=lambda i: (-len(sets[i]), -len((rows[i][1] or "").encode()), identity(rows[i][0])),
    )
    stays, gone = [], {}
    for i in order:
        found = [
            (len(sets[i] & sets[j]) / len(sets[i]), -k) for k, j in enumerate(stays) if sets[i]
        ]
        best = max(found, default=(0, 0))
        if best[0] >= share:
            gone[rows[i][0]] = (rows[stays[-best[1]]][0], best[0])
        else:
            stays.append(i)
    return gone


def verdicts(rows, table):
    """The same of a decision."""
    numbers = {identity(number): number for number, _ in rows}
    return {
        number: (numbers[row["duplicate_of"]], row["value"])
        for (number, _), row in zip(rows, table, strict=True)
        if row["dropped_by"]
    }


def test_contained_is_a_survey():
    assert isinstance(Contained(), Survey)


@pytest.mark.parametrize(
    "wrong",
    [{"share": 0.0}, {"share": 1.5}, {"ngram": 0}, {"scale": 0}, {"keep": {"highest": ""}}],
)
def test_settings_that_cannot_work_say_what_would(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        Contained(**wrong)


def test_a_part_goes_and_the_whole_says_how_many_it_stands_for(tmp_path):
    one, two = decide(
        Contained(scale=1),
        tmp_path,
        [(1, words(0, 50)), (2, words(0, 500))],
        [(3, words(400, 60) + " " + words(900, 4)), (4, words(600, 60)), (5, "too short")],
    )
    gone = {"dropped_by": "contained.contained", "duplicate_of": identity(2), "bound": 0.9}
    stays = {"dropped_by": None, "duplicate_of": None, "value": None, "bound": None}
    assert one[0] == {**gone, "value": 1.0, "contained_count": None}
    assert one[1] == {**stays, "contained_count": 3}
    assert two[0] == {**gone, "value": 56 / 60, "contained_count": None}
    assert two[1:] == [{**stays, "contained_count": 1}] * 2


def test_a_part_goes_into_a_document_that_stays_itself(tmp_path):
    # The middle one is nearly in the large one; the small one is in both, or in the middle alone.
    rows = [
        (1, words(0, 500)),
        (2, words(0, 196) + " x y z"),
        (3, words(100, 80)),
        (4, words(180, 16) + " x y z"),
    ]
    (table,) = decide(Contained(scale=1), tmp_path, rows)
    assert verdicts(rows, table) == {2: (1, 192 / 195), 3: (1, 1.0)}


def test_documents_that_are_gone_neither_stay_nor_count(tmp_path):
    rows = [(1, words(0, 300)), (2, words(0, 200)), (3, words(0, 100))]
    (table,) = decide(Contained(scale=1), tmp_path, rows, gone={1})
    assert [row["contained_count"] for row in table] == [None, 2, None]
    assert [row["dropped_by"] is not None for row in table] == [False, False, True]


def test_of_equals_the_preferred_stays_then_the_smallest_id(tmp_path):
    rows = [(i, words(0, 60)) for i in range(4)] + [(9, words(0, 60) + "   ")]
    (table,) = decide(Contained(scale=1), tmp_path, rows)
    assert {pair[0] for pair in verdicts(rows, table).values()} == {9}
    (table,) = decide(Contained(scale=1, keep="first"), tmp_path, rows)
    first = min((number for number, _ in rows), key=identity)
    assert {pair[0] for pair in verdicts(rows, table).values()} == {first}


def test_a_page_frame_of_many_pages_costs_no_square_and_hides_no_part(tmp_path):
    frame = words(0, 40)
    count = 3 * LEADERS
    rows = [(i, f"{frame} {words(1000 * (i + 1), 60)}") for i in range(count)]
    rows += [(count + i, words(1000 * (i + 1), 40)) for i in range(count)]
    (table,) = decide(Contained(scale=1), tmp_path, rows)
    assert verdicts(rows, table) == {count + i: (i, 1.0) for i in range(count)}


def test_many_equal_documents_leave_one(tmp_path):
    rows = [(i, words(0, 60)) for i in range(200)]
    (table,) = decide(Contained(), tmp_path, rows)
    assert sorted(row["contained_count"] or 0 for row in table) == [0] * 199 + [200]


def test_no_shards_and_empty_shards_have_empty_decisions(tmp_path):
    assert decide(Contained(), tmp_path) == []
    assert decide(Contained(), tmp_path, [], [(1, None), (2, "a")])[0] == []


letters = st.lists(st.sampled_from("abc"), max_size=14).map(" ".join)


@settings(suppress_health_check=FOLDER, max_examples=30, deadline=None)
@given(
    st.lists(letters, min_size=1, max_size=10),
    st.sampled_from([0.3, 0.5, 0.9, 1.0]),
    st.permutations(range(10)),
    st.lists(st.integers(0, 10), min_size=2, max_size=2),
    st.sampled_from([2000, MEMORY]),
)
def test_what_goes_is_what_every_pair_says_in_any_order_and_memory(  # noqa: PLR0913  # all may vary
    tmp_path, plain, texts, share, order, cuts, memory
):
    rows = [*enumerate(texts)]
    stage = Contained(ngram=2, share=share, scale=1)
    (table,) = decide(stage, tmp_path, rows)
    sets = [frozenset(plain.shingles(text, 2)) for text in texts]
    assert verdicts(rows, table) == brute(rows, sets, share)
    assert sum(row["contained_count"] or 0 for row in table) == len(rows)
    moved = [rows[i] for i in order if i < len(rows)]
    low, high = sorted(cuts)
    shards = decide(stage, tmp_path, moved[:low], moved[low:high], moved[high:], memory=memory)
    found = {n: row for (n, _), row in zip(moved, [r for s in shards for r in s], strict=True)}
    assert [found[number] for number, _ in rows] == table
    # What is left has no parts of others.
    left = [row for row, verdict in zip(rows, table, strict=True) if not verdict["dropped_by"]]
    assert not verdicts(left, decide(stage, tmp_path, left)[0])


@REAL
@pytest.mark.parametrize("name", ["docver", "web"])
def test_of_real_pages_what_goes_is_a_part_and_hardly_a_part_stays(name, shared, plain, tmp_path):
    path = shared / "neardup" / f"{name}.docs.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file][:400]
    rows = [*enumerate(texts)]
    # Parts of every size, and parts with other text around them.
    for i, text in enumerate(texts[:100]):
        cut = text.split(" ")
        size = max(len(cut) // (2 + i % 5), 20)
        rows.append((1000 + i, " ".join(cut[i : i + size])))
        rows.append((2000 + i, " ".join([*cut[i : i + size], *(f"own{i}x{k}" for k in range(9))])))
    sets = [frozenset(plain.shingles(text)) for _, text in rows]
    (table,) = decide(Contained(), tmp_path, rows)
    found, true = verdicts(rows, table), brute(rows, sets, 0.9)
    index = {number: i for i, (number, _) in enumerate(rows)}
    for number, (whole, share) in found.items():
        assert share == len(sets[index[number]] & sets[index[whole]]) / len(sets[index[number]])
        assert share >= 0.9 and whole not in found
    assert len(true) > 100
    assert len({*true} - {*found}) <= 0.02 * len(true)
