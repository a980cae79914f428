"""The same text twice: which one goes, which one stays, and what is written about it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.dedup.exact import Exact, digests
from curate.survey import Survey


def identity(number):
    return number.to_bytes(16, "big")


def decide(stage, folder, *shards, gone=()):
    """What is decided about shards of (id, text)."""
    surveys = []
    for i, rows in enumerate(shards):
        ids = pa.array([identity(number) for number, _ in rows], pa.binary(16))
        texts = pa.array([text for _, text in rows], pa.string())
        table = stage.survey(pa.RecordBatch.from_arrays([ids, texts], ["id", "text"]))
        surveys.append(folder / f"{i}.parquet")
        pq.write_table(table, surveys[-1])
    masks = [np.array([number in gone for number, _ in rows], np.bool_) for rows in shards]
    return [table.to_pylist() for table in stage.decide(surveys, masks)]


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
)
def test_order_and_sharding_change_nothing(tmp_path, texts, order, cut, keep):
    rows = list(enumerate(texts))
    stage = Exact("spaces-case", keep)
    (whole,) = decide(stage, tmp_path, rows)
    moved = [rows[i] for i in order if i < len(rows)]
    parts = decide(stage, tmp_path, moved[:cut], moved[cut:])
    found = dict(zip([number for number, _ in moved], parts[0] + parts[1], strict=True))
    assert [found[number] for number, _ in rows] == whole
    # One of each text stays.
    stays = [text for (_, text), row in zip(rows, whole, strict=True) if not row["dropped_by"]]
    assert len(stays) == len({text.lower().strip() for text in texts})
