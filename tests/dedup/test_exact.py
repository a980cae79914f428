"""The same text twice: which one goes, which one stays, and what is written about it."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.dedup.equal import Entries, entries, find, gather, ranges
from curate.dedup.exact import TRACKING, Exact, Url, digests
from curate.errors import RecipeError
from curate.recipe import parse
from curate.run import Job, run
from curate.survey import MEMORY, Survey, decided
from tests.chaos.zygote import Quiet


def identity(number):
    return number.to_bytes(16, "big")


def decide(stage, folder, *shards, gone=(), memory=MEMORY):
    """What is decided about shards of (id, text), or of (id, URL)."""
    surveys = []
    for i, rows in enumerate(shards):
        ids = pa.array([identity(number) for number, _ in rows], pa.binary(16))
        values = pa.array([value for _, value in rows], pa.string())
        column = "url" if isinstance(stage, Url) else "text"
        table = stage.survey(pa.RecordBatch.from_arrays([ids, values], ["id", column]))
        surveys.append(folder / f"{i}.parquet")
        pq.write_table(table, surveys[-1])
    masks = [np.array([number in gone for number, _ in rows], np.bool_) for rows in shards]
    return [table.to_pylist() for table in decided(stage, surveys, masks, memory=memory)]


def test_exact_is_a_survey():
    assert isinstance(Exact(), Survey)


def test_the_smallest_id_stays_among_equal_texts_of_all_shards(tmp_path):
    one, two = decide(Exact(), tmp_path, [(7, "a"), (3, "b")], [(2, "a"), (9, "a")])
    gone = {"dropped_by": "exact.duplicate", "value": 3.0, "bound": 1.0, "exact_copies": None}
    stays = {"dropped_by": None, "value": None, "bound": None, "duplicate_of": None}
    assert one == [{**gone, "duplicate_of": identity(2)}, {**stays, "exact_copies": 1}]
    assert two == [{**stays, "exact_copies": 3}, {**gone, "duplicate_of": identity(2)}]


@pytest.mark.parametrize(
    ("normalise", "dropped"),
    [("none", []), ("spaces-case", [1]), ("words", [1, 2])],
)
def test_normalisation_decides_what_is_the_same(normalise, dropped, tmp_path):
    rows = [(0, "Hello,  World\n"), (1, "hello, world"), (2, "hello world"), (3, "helloworld")]
    (table,) = decide(Exact(normalise), tmp_path, rows)
    assert [i for i, row in enumerate(table) if row["dropped_by"]] == dropped


def test_the_longest_text_stays_or_the_first(tmp_path):
    rows = [(1, "a b"), (2, "a    b"), (3, "A   b ")]
    (longest,) = decide(Exact("spaces-case", "longest"), tmp_path, rows)
    (first,) = decide(Exact("spaces-case", "first"), tmp_path, rows)
    assert [row["duplicate_of"] for row in longest] == [identity(2), None, identity(2)]
    assert [row["duplicate_of"] for row in first] == [None, identity(1), identity(1)]


def test_documents_that_are_gone_neither_stay_nor_count(tmp_path):
    (table,) = decide(Exact(), tmp_path, [(1, "a"), (2, "a"), (3, "a")], gone={1})
    assert [row["duplicate_of"] for row in table] == [None, None, identity(2)]
    assert [row["exact_copies"] for row in table] == [None, 2, None]


def test_empty_texts_equal_each_other_and_null_is_empty(tmp_path):
    (table,) = decide(Exact(), tmp_path, [(1, ""), (2, None), (3, " ")])
    assert [row["duplicate_of"] for row in table] == [None, identity(1), None]


def test_no_shards_and_empty_shards_have_empty_decisions(tmp_path):
    assert decide(Exact(), tmp_path) == []
    assert decide(Exact(), tmp_path, [], [(1, "a")])[0] == []


def test_the_hash_is_that_of_the_row_in_a_sliced_column():
    column = pa.array(["abc", "", "déf"])
    assert digests(view(column))[1:] == digests(view(column[1:]))
    assert len(set(digests(view(column)))) == 3


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None
)
@given(
    st.lists(st.sampled_from(["", "a", "A", "a ", "b"]), min_size=1, max_size=12),
    st.permutations(range(12)),
    st.integers(0, 12),
    st.sampled_from(["longest", "first"]),
    st.sampled_from([800, MEMORY]),
)
def test_order_and_sharding_and_memory_change_nothing(  # noqa: PLR0913  # as many as may differ
    tmp_path, texts, order, cut, keep, memory
):
    rows = list(enumerate(texts))
    stage = Exact("spaces-case", keep)
    (whole,) = decide(stage, tmp_path, rows)
    moved = [rows[i] for i in order if i < len(rows)]
    parts = decide(stage, tmp_path, moved[:cut], moved[cut:], memory=memory)
    found = dict(zip([number for number, _ in moved], parts[0] + parts[1], strict=True))
    assert [found[number] for number, _ in rows] == whole
    # One of each text stays.
    stays = [text for (_, text), row in zip(rows, whole, strict=True) if not row["dropped_by"]]
    assert len(stays) == len({text.lower().strip() for text in texts})
    # And of those nothing is anybody's duplicate.
    left = [(i, text) for (i, text), row in zip(rows, whole, strict=True) if not row["dropped_by"]]
    assert not any(row["dropped_by"] for row in decide(stage, tmp_path, left)[0])


# URLs


def test_one_document_of_each_url_stays(tmp_path):
    one, two = decide(
        Url(keep="first"),
        tmp_path,
        [(7, "http://www.a.b/?utm_source=x"), (3, "http://c.d/")],
        [(2, "https://a.b"), (9, "http://A.b/#top"), (4, None), (5, None), (6, " ")],
    )
    gone = {"dropped_by": "exact.url", "value": 3.0, "bound": 1.0, "url_copies": None}
    stays = {"dropped_by": None, "value": None, "bound": None, "duplicate_of": None}
    assert one == [{**gone, "duplicate_of": identity(2)}, {**stays, "url_copies": 1}]
    assert two[0] == {**stays, "url_copies": 3}
    assert two[1] == {**gone, "duplicate_of": identity(2)}
    assert two[2:] == [{**stays, "url_copies": 1}] * 3


def test_the_newest_of_a_url_stays(tmp_path):
    dates = ["2023-01-01T00:00:00Z", "Mon, 01 Jan 2024 00:00:00 GMT", None, "20230601000000"]
    batch = pa.RecordBatch.from_pydict(
        {
            "id": pa.array([identity(i) for i in range(4)], pa.binary(16)),
            "url": ["http://a.b"] * 4,
            "date": dates,
        }
    )
    stays = {}
    for keep in ("newest", "oldest"):
        path = tmp_path / f"{keep}.parquet"
        pq.write_table(Url(keep=keep).survey(batch), path)
        (table,) = decided(Url(keep=keep), [path], [np.zeros(4, np.bool_)])
        stays[keep] = [i for i, row in enumerate(table.to_pylist()) if not row["dropped_by"]]
    assert stays == {"newest": [1], "oldest": [0]}


@pytest.mark.parametrize("name", ["", "*", "a*b", "**"])
def test_a_parameter_that_cannot_be_ignored_is_refused(name):
    with pytest.raises(RecipeError, match=r"ignore: .*; write a name"):
        Url(ignore=(name,))


def test_the_parameters_that_are_ignored_are_a_setting(tmp_path):
    rows = [(1, "http://a.b?x=1"), (2, "http://a.b?utm_source=1"), (3, "http://a.b")]
    (ours,) = decide(Url(keep="first"), tmp_path, rows)
    assert [row["duplicate_of"] for row in ours] == [None, None, identity(2)]
    (other,) = decide(Url(ignore=("x",), keep="first"), tmp_path, rows)
    assert [row["duplicate_of"] for row in other] == [None, None, identity(1)]
    assert len({*TRACKING}) == len(TRACKING)


def test_urls_are_compared_before_there_is_text_unless_text_decides():
    recipe = "stages:\n  - exact.Url: {keep: %s}\n  - html.Extract\n"
    assert parse(recipe % "newest", "r.yaml").steps[0].stage == Url()
    with pytest.raises(RecipeError, match=r"exact\.Url needs text"):
        parse(recipe % "longest", "r.yaml")
    with pytest.raises(RecipeError, match=r"exact\.Exact needs text"):
        parse("stages: [exact.Exact, html.Extract]", "r.yaml")


# Keys in fixed memory


def documents(keys, ids, preferences):
    pairs = [np.array([(0, number) for number in numbers], np.uint64) for numbers in (keys, ids)]
    counts = np.ones(len(keys), np.int64)
    return Entries(*(pair.reshape(-1, 2) for pair in pairs), np.array(preferences, float), counts)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 8, 9, 2**64 - 1]), st.integers(0, 3)), max_size=20),
    st.integers(0, 20),
)
def test_keys_that_meet_in_a_slot_are_still_told_apart(rows, cut):
    table, used = entries(16), 0
    numbered = [(key, place, preference) for place, (key, preference) in enumerate(rows)]
    for part in (numbered[:cut], numbered[cut:]):
        used += gather(
            documents(*zip(*part, strict=True)) if part else documents([], [], []), table
        )
    expected = {}
    for key, place, preference in numbered:
        before = expected.get(key, (place, preference, 0))
        best = min(before[:2], (place, preference), key=lambda pair: (-pair[1], pair[0]))
        expected[key] = (*best, before[2] + 1)
    found = {
        int(table.keys[slot, 1]): (
            int(table.ids[slot, 1]),
            int(table.preferences[slot]),
            int(table.counts[slot]),
        )
        for slot in np.flatnonzero(table.counts)
    }
    assert found == expected and used == len(expected)


def test_keys_are_found_among_sorted_ones():
    among = np.array([[0, 5], [1, 0], [1, 7], [2, 0]], np.uint64)
    wanted = np.array([[1, 7], [0, 5], [2, 0], [1, 3], [9, 9], [0, 0]], np.uint64)
    assert find(wanted, among).tolist() == [2, 0, 3, -1, -1, -1]


def test_ranges_are_as_many_as_the_memory_needs():
    assert ranges(0, 1 << 30) == ranges(1000, 1 << 30) == 0
    assert ranges(10**7, 1 << 30) == 2
    assert ranges(10**9, 1 << 30) == 9
    assert ranges(10**9, 1) == 16


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="a million documents need compiled code"
)
def test_a_million_documents_of_one_text_need_no_memory_of_their_own(tmp_path):
    count = 10**6
    ids = np.zeros((count, 16), np.uint8)
    ids[:, 12:] = np.arange(count, 0, -1).astype(">u4").view(np.uint8).reshape(-1, 4)
    table = pa.table(
        {
            "id": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), count, [None, pa.py_buffer(ids)]
            ),
            "key": pa.array(digests(view(pa.array([""])))[0:1], pa.binary(16)).take(
                pa.array(np.zeros(count, np.int32))
            ),
            "preference": np.zeros(count),
        }
    )
    pq.write_table(table, tmp_path / "one.parquet", use_dictionary=False)
    (found,) = decided(Exact(), [tmp_path / "one.parquet"], [np.zeros(count, np.bool_)])
    stays = found.filter(pa.compute.is_null(found["dropped_by"]))
    assert stays["exact_copies"].to_pylist() == [count]
    assert set(found["duplicate_of"].drop_null().unique().to_pylist()) == {identity(1)}


def test_of_one_url_only_the_newest_is_extracted(tmp_path):
    recipe = "stages:\n  - exact.Url\n  - html.Extract\n"
    pages = [
        {"url": "http://www.a.b/?utm_source=x", "date": "2023-01-01", "text": "old " * 9},
        {"url": "https://a.b/", "date": "2024-01-01T00:00:00Z", "text": "new " * 9},
        {"url": "https://c.d/", "text": "other " * 9},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, pages)))
    run(Job(recipe, "t.yaml", [str(tmp_path / "in.jsonl")], tmp_path / "out", workers=0), Quiet())
    files = (tmp_path / "out" / "documents").iterdir()
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert sorted((row["text"][:3], row["url_copies"]) for row in rows) == [("new", 2), ("oth", 1)]
