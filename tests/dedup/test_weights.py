"""How often documents should be seen."""

import pyarrow as pa
import pytest

from curate.dedup.weights import ByClusterSize
from curate.errors import RecipeError
from curate.recipe import parse


def repeats(stage, counts, column="cluster_size"):
    batch = pa.RecordBatch.from_arrays([pa.array(counts, pa.int32())], [column])
    return stage(batch).column("repeats").to_pylist()


def test_a_size_has_the_repeats_of_the_largest_that_is_not_above_it():
    stage = ByClusterSize(((1, 1), (2, 2), (5, 3), (100, 2), (1000, 1)))
    found = repeats(stage, [1, 2, 4, 5, 99, 100, 999, 1000, 10**9])
    assert found == [1, 2, 2, 3, 3, 2, 2, 1, 1]


def test_without_a_count_a_document_is_alone():
    assert repeats(ByClusterSize(((1, 4), (2, 1))), [None, 0, 2]) == [4, 4, 1]
    assert repeats(ByClusterSize(), []) == []


def test_any_column_of_counts_will_do_and_others_say_so():
    assert repeats(ByClusterSize(column="exact_copies"), [3], "exact_copies") == [2]
    with pytest.raises(RecipeError, match=r"no column 'cluster_size' .* there are exact_copies"):
        repeats(ByClusterSize(), [3], "exact_copies")
    with pytest.raises(RecipeError, match="holds string"):
        ByClusterSize()(pa.RecordBatch.from_pydict({"cluster_size": ["a"]}))


@pytest.mark.parametrize(
    "wrong", [(), ((2, 1),), ((1, 1), (1, 2)), ((1, 1), (5, 2), (3, 2)), ((1, 0),), ((1, 1 << 31),)]
)
def test_repeats_that_cannot_be_say_what_would(wrong):
    with pytest.raises(RecipeError, match="repeats: "):
        ByClusterSize(wrong)


def test_a_recipe_writes_pairs():
    text = """
stages:
  - html.Extract
  - minhash.MinHash
  - weights.ByClusterSize: {repeats: [[1, 1], [3, 2]]}
"""
    assert parse(text, "r.yaml").steps[-1].stage == ByClusterSize(((1, 1), (3, 2)))
