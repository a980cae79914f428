"""One order over a corpus: the same for any split, and every document in it, once or as asked."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.weights import REPEATS as WEIGHTS
from curate.errors import InputError, RecipeError
from tests.chaos.harness import digest
from tests.tokenizer.shards_at_hand import END, batch_of, identity, split, written
from tokenizer import shuffle
from tokenizer.dataset import TokenDataset
from tokenizer.shuffle import REPEATS, Shards, cuts_of
from tokenizer.verify import verify

documents_of_ids = st.lists(st.lists(st.integers(1, 999), max_size=9), max_size=30)


def ids_of(shards: Path) -> list[bytes]:
    paths = sorted(shards.glob("*.docs.parquet"))
    return [one for path in paths for one in pq.read_table(path)["doc_id"].to_pylist()]


def documents_in(shards: Path) -> list[list[int]]:
    dataset = TokenDataset(shards)
    return [dataset.document(i).tolist() for i in range(dataset.documents)]


@settings(deadline=None, max_examples=40)
@given(
    documents_of_ids,
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from([1000, 70_000]),
    st.builds(Shards, st.booleans(), st.integers(0, 3), st.sampled_from([1, 40, 1 << 30])),
)
def test_shards_are_the_same_for_any_split_and_have_every_document(
    tmp_path_factory, documents, sizes, vocab_size, asked
):
    folder = tmp_path_factory.mktemp("split")
    whole = written(folder / "a", [*split(documents, [])], asked, vocab_size)
    parts = written(folder / "b", [*split(documents, sizes)], asked, vocab_size)
    assert digest(whole) == digest(parts)
    assert verify(whole) == []

    by_id = {identity(i): document for i, document in enumerate(documents)}
    order = ids_of(whole)
    assert documents_in(whole) == [by_id[one] for one in order]
    assert sorted(order) == sorted(by_id)
    if not asked.shuffle:
        assert order == [*by_id]
    width = 2 if vocab_size == 1000 else 4
    for path in whole.glob("*.bin"):
        rows = pq.read_metadata(path.with_suffix(".docs.parquet")).num_rows
        assert path.stat().st_size <= asked.shard_bytes or rows == 1
        assert path.stat().st_size % width == 0
    shutil.rmtree(folder)


def test_small_runs_give_the_same_shards_as_one(tmp_path, monkeypatch):
    documents = [[i % 7 + 1] * (i % 5) for i in range(50)]
    batches = [batch_of(documents[i : i + 5], i) for i in range(0, 50, 5)]
    one = written(tmp_path / "one", [batches], Shards())
    monkeypatch.setattr(shuffle, "RUN_BYTES", 20)
    many = written(tmp_path / "many", [batches], Shards())
    assert len([*(tmp_path / "many" / "work").rglob("*.arrow")]) > 4
    assert digest(one) == digest(many)


def test_a_seed_is_an_order_and_no_seed_is_that_of_the_input(tmp_path):
    documents = [[i + 1] for i in range(200)]
    orders = [
        documents_in(written(tmp_path / name, [*split(documents, [70])], asked))
        for name, asked in {
            "0": Shards(),
            "1": Shards(seed=1),
            "no": Shards(shuffle=False),
        }.items()
    ]
    assert orders[2] == documents
    assert all(sorted(order) == documents for order in orders)
    assert orders[0] != orders[1]
    # Of 200 documents in a random order one is in its old place, on average.
    assert sum(a == b for a, b in zip(orders[0], documents, strict=True)) < 10
    # Neighbours in the input are a third of the corpus apart, on average.
    places = {document[0]: at for at, document in enumerate(orders[0])}
    distances = [abs(places[a] - places[b]) for a, b in pairwise(range(1, 201))]
    assert 50 < np.mean(distances) < 85


def test_a_document_is_written_as_often_as_its_column_says_and_elsewhere_each_time(tmp_path):
    times = pa.array([1, 3, 2, None] * 10, pa.int32())
    documents = [[i + 1] for i in range(40)]
    batch = batch_of(documents, **{REPEATS: times})
    shards = written(tmp_path, [[batch]], Shards())
    assert verify(shards) == []
    found = [one for [one] in documents_in(shards)]
    assert [found.count(i + 1) for i in range(40)] == [1, 3, 2, 1] * 10
    by_id = {identity(i): i + 1 for i in range(40)}
    assert [by_id[one] for one in ids_of(shards)] == found
    beside = sum(a == b for a, b in pairwise(found))
    assert beside < 6
    assert REPEATS == WEIGHTS


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([0], "holds 0; write 1 or more"),
        ([1 << 40], "holds 1099511627776; write 1 or more"),
        (np.array([(1 << 63) + 1], np.uint64), "holds 9223372036854775809; write 1 or more"),
        (["2"], "not whole numbers"),
    ],
)
def test_a_column_of_repeats_that_says_nothing_is_refused(tmp_path, column, message):
    batch = batch_of([[1]], **{REPEATS: pa.array(column)})
    with pytest.raises(InputError, match=message):
        written(tmp_path, [[batch]], Shards())


def test_columns_that_are_asked_for_follow_their_documents(tmp_path):
    documents = [[i + 1] for i in range(20)]
    asked = Shards(columns=("score", "kind", "url"))
    pieces = []
    for first, kinds in ((0, pa.array([None] * 10)), (10, pa.array(["a"] * 10))):
        scores = pa.array([first + i for i in range(10)], pa.int64() if first else pa.float64())
        columns = {"score": scores, "kind": kinds}
        pieces.append([batch_of(documents[first : first + 10], first, **columns)])
    shards = written(tmp_path, pieces, asked)
    [path] = shards.glob("*.docs.parquet")
    rows = pq.read_table(path).to_pylist()
    by_id = {identity(i): i for i in range(20)}
    assert [row["score"] for row in rows] == [float(by_id[row["doc_id"]]) for row in rows]
    assert [row["kind"] for row in rows] == [None if row["score"] < 10 else "a" for row in rows]
    assert list(rows[0])[-2:] == ["score", "kind"]  # url is there anyway


def test_parts_are_cut_at_a_size_by_hand():
    ends = np.cumsum([3, 3, 9, 1, 1, 1])
    assert cuts_of(ends, 6) == [0, 2, 3, 6]
    assert cuts_of(ends, 1) == [0, 1, 2, 3, 4, 5, 6]
    assert cuts_of(ends, 100) == [0, 6]
    assert cuts_of(ends[:0], 6) == [0]


def test_a_part_has_a_bounded_number_of_documents(monkeypatch):
    monkeypatch.setattr(shuffle, "PART_ROWS", 2)
    assert cuts_of(np.cumsum([3, 3, 9, 1, 1, 1]), 100) == [0, 2, 4, 6]


def test_settings_that_cannot_be_are_refused():
    for settings_given in ({"seed": -1}, {"shard_bytes": 0}, {"columns": ("a", "a")}):
        with pytest.raises(RecipeError, match=f"shards.{next(iter(settings_given))}"):
            Shards(**settings_given)


def test_no_documents_are_no_parts(tmp_path):
    shards = written(tmp_path, [[batch_of([])], []], Shards())
    assert verify(shards) == []
    assert TokenDataset(shards).documents == 0
    assert END == 0


def test_copies_of_a_batch_go_to_runs_of_a_bounded_size(tmp_path, monkeypatch):
    times = pa.array([1, 1000, 7, 300, 200], pa.int64())
    batch = batch_of([[i + 1] * 10 for i in range(5)], **{REPEATS: times})
    whole = written(tmp_path / "whole", [[batch]], Shards())
    monkeypatch.setattr(shuffle, "RUN_BYTES", 11_000)
    monkeypatch.setattr(shuffle, "RUN_ROWS", 500)
    cut = written(tmp_path / "cut", [[batch]], Shards())
    # 11 tokens of 2 bytes: 22 for each copy. A run ends behind what makes it too large.
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("cut/work/0/run-*.bin"))]
    assert sizes == [22 * 1001, 22 * 507]
    assert digest(cut) == digest(whole)


@pytest.mark.parametrize("name", ["key", "start", "repeats", "text"])
def test_a_column_may_have_any_name(tmp_path, name):
    column = {} if name == "text" else {name: pa.array([1, 2, 3], pa.int64())}
    shards = written(tmp_path, [[batch_of([[1], [2], [3]], **column)]], Shards(columns=(name,)))
    [path] = shards.glob("*.docs.parquet")
    assert set(pq.read_table(path)[name].to_pylist()) == (
        {"0", "1", "2"} if not column else {1, 2, 3}
    )


def test_a_column_of_two_types_is_refused(tmp_path):
    pieces = [[batch_of([[1]], i, kind=pa.array([one]))] for i, one in enumerate((1, "one"))]
    with pytest.raises(InputError, match="kind has incompatible types: int64 vs string"):
        written(tmp_path, pieces, Shards(columns=("kind",)))
