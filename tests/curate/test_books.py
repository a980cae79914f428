"""The JSON files of a run: whatever is in them, a clear error or a value that a page can show."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.books import read_ledger, read_recipe, read_times
from curate.errors import ShardError
from curate.ledger import StageLedger

COUNT = {"documents": 2, "bytes": 30, "identity": "0" * 32}
STAGE = {"name": "read", "entered": COUNT, "kept": COUNT, "dropped": {}, "quarantined": {}}
SPANS = {"size": 9, "records": 9, "faults": 0, "padding": 0, "skipped": {}, "noticed": {}}
LEDGER = {
    "format": 1,
    "recipe": "r",
    "inputs": [{"source": "a", "size": 9, "identity": "x", "spans": SPANS, "stages": [STAGE]}],
    "stages": [STAGE],
    "tokens": None,
}


def written(folder, value) -> str:
    path = folder / "ledger.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_ledger_as_a_run_writes_it_is_read(tmp_path):
    assert read_ledger(written(tmp_path, LEDGER)) == LEDGER


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[]", "the whole"),
        ("null", "the whole"),
        ("{}", "inputs: Field required"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5_000, "not JSON"),
        (json.dumps({**LEDGER, "stages": 5}), "stages: "),
        (json.dumps(LEDGER).replace("30", '"30"'), "bytes: "),
        (json.dumps(LEDGER).replace("30", "-1"), "bytes: "),
        (json.dumps(LEDGER).replace("30", "1e400"), "bytes: "),
        (json.dumps(LEDGER).replace("0" * 32, "zz"), "identity: "),
    ],
)
def test_a_garbled_ledger_is_told_with_its_place(tmp_path, text, told):
    with pytest.raises(ShardError, match=told) as error:
        read_ledger(written(tmp_path, text))
    assert "ledger.json" in str(error.value)


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.sampled_from([path for path in places(LEDGER) if path]), JSON)
def test_any_value_in_any_place_is_an_error_of_ours_or_adds_up(tmp_path_factory, path, value):
    garbled = copy.deepcopy(LEDGER)
    inner = garbled
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        found = read_ledger(written(tmp_path_factory.getbasetemp(), garbled))
    except ShardError:
        return
    for stage in found["stages"]:
        StageLedger.from_json(stage).add(StageLedger())


def test_recipe_and_times_are_checked_too(tmp_path):
    with pytest.raises(ShardError, match="stages"):
        read_recipe(written(tmp_path, {"name": "a", "about": "", "source": "", "stages": [1]}))
    with pytest.raises(ShardError, match="wall_seconds"):
        read_times(written(tmp_path, {"wall_seconds": "long"}))
    with pytest.raises(ShardError, match="not there"):
        read_times(tmp_path / "other.json")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ShardError, match="the output of a run"):
        read_recipe(tmp_path / "file" / "recipe.json")
