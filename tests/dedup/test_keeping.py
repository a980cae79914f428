"""Which copy stays, by every way to choose; what has no number loses."""

import fnmatch
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from curate.dedup.keeping import Keep, check, expression, instants, preference, ranks
from curate.errors import RecipeError

NOTHING = -math.inf


def batch(**columns):
    return pa.RecordBatch.from_pydict(columns)


def parsed(value):
    return TypeAdapter(Keep).validate_json(json.dumps(value), strict=True)


@pytest.mark.parametrize(
    "keep",
    [
        *("longest", "first", "newest", "oldest"),
        {"highest": "gopher.word_count"},
        {"lowest": "perplexity"},
        {"sources": ["wikipedia*", "books*"]},
        {"urls": ["*.gov/*"]},
    ],
)
def test_every_way_to_choose_can_be_written_in_a_recipe(keep):
    check(parsed(keep))
    assert json.loads(json.dumps(parsed(keep))) == keep


@pytest.mark.parametrize(
    "keep",
    [
        {},
        {"hihgest": "a"},
        {"highest": "a", "lowest": "b"},
        {"highest": ["a"]},
        {"highest": ""},
        {"sources": "a"},
        {"sources": []},
        {"urls": [""]},
    ],
)
def test_what_cannot_be_followed_is_refused_with_what_can(keep):
    with pytest.raises(RecipeError, match="write"):
        check(parsed(keep))


@pytest.mark.parametrize("keep", ["shortest", 3, None, {"highest": 3}, {"sources": [1]}])
def test_other_types_are_refused_where_the_recipe_is_read(keep):
    with pytest.raises(ValidationError):
        parsed(keep)


def test_a_name_from_python_is_checked_too():
    for keep in ("shortest", "highest"):
        with pytest.raises(RecipeError, match="write longest"):
            check(keep)


def test_the_longest_is_counted_in_bytes_and_null_is_empty():
    rows = batch(text=pa.array(["a", "éé", None, ""]))
    assert preference(rows, "longest").to_pylist() == [1.0, 4.0, 0.0, 0.0]
    assert preference(rows, "first").to_pylist() == [0.0] * 4


def test_dates_of_every_form_are_the_same_instant():
    column = pa.array(
        [
            "2024-01-31T12:00:00Z",
            "2024-01-31T12:00:00.000000000Z",
            "2024-01-31 14:00:00+02:00",
            "20240131120000",
            "Wed, 31 Jan 2024 12:00:00 GMT",
            "Wednesday, 31-Jan-24 12:00:00 GMT",
            " Wed Jan 31 12:00:00 2024 ",
        ]
    )
    assert set(instants(column).tolist()) == {1706702400.0}
    days = instants(pa.array(["2024", "2024-01", "2024-01-01", "20240101"])).tolist()
    assert set(days) == {1704067200.0}


def test_the_newest_and_the_oldest_and_what_has_no_date():
    rows = batch(date=pa.array(["1970-01-01T00:00:01Z", "2", None, "no date", "1969-12-31", ""]))
    newest = [1.0, NOTHING, NOTHING, NOTHING, -86400.0, NOTHING]
    assert preference(rows, "newest").to_pylist() == newest
    oldest = [-1.0, NOTHING, NOTHING, NOTHING, 86400.0, NOTHING]
    assert preference(rows, "oldest").to_pylist() == oldest


@given(st.datetimes(timezones=st.integers(-23, 23).map(lambda h: timezone(timedelta(hours=h)))))
def test_a_date_is_read_as_it_was_written(date):
    assert instants(pa.array([date.isoformat()])).tolist() == [date.timestamp()]
    if date.year > 1900:  # HTTP has no fractions of a second, nor two digits for older years
        written = format_datetime(date.replace(microsecond=0))
        assert instants(pa.array([written])).tolist() == [date.replace(microsecond=0).timestamp()]


@given(st.text() | st.from_regex(r"[0-9TZ:+ -]{1,25}", fullmatch=True))
def test_no_text_is_too_strange_to_be_no_date(text):
    (found,) = instants(pa.array([text])).tolist()
    assert math.isnan(found) or found <= datetime.max.replace(tzinfo=UTC).timestamp() + 86400


def test_the_highest_and_the_lowest_of_any_column_of_numbers():
    rows = batch(score=pa.array([0.5, None, math.nan, -2.0]), count=pa.array([3, None, 7, 0]))
    score = preference(rows, {"highest": "score"}).to_pylist()
    assert score == [0.5, NOTHING, NOTHING, -2.0]
    assert preference(rows, {"lowest": "score"}).to_pylist() == [-0.5, NOTHING, NOTHING, 2.0]
    assert preference(rows, {"highest": "count"}).to_pylist() == [3.0, NOTHING, 7.0, 0.0]
    assert preference(batch(yes=[True, False]), {"highest": "yes"}).to_pylist() == [1.0, 0.0]


def test_sources_stay_in_the_order_of_the_list():
    rows = batch(source=pa.array(["web/1", "wikipedia-en", "books", None, "wikipedia"]))
    keep = {"sources": ("wikipedia", "wikipedia*", "b??ks")}
    assert preference(rows, keep).to_pylist() == [NOTHING, -1.0, -2.0, NOTHING, 0.0]


def test_urls_stay_in_the_order_of_the_list():
    rows = batch(url=pa.array(["https://nasa.gov/a?b=[1]", "https://gov.example/", None]))
    keep = {"urls": ("https://gov*", "*.gov/a?b=[1]")}
    assert preference(rows, keep).to_pylist() == [-1.0, 0.0, NOTHING]


@given(st.text("ab*?.\n\\", max_size=6), st.text("ab.\n\\é", max_size=6))
def test_patterns_are_those_of_fnmatch_without_its_brackets(pattern, name):
    expected = 0.0 if fnmatch.fnmatchcase(name, pattern) else NOTHING
    assert ranks(pa.array([name]), [pattern]).tolist() == [expected]


@given(st.text())
def test_a_pattern_without_wildcards_is_itself(name):
    assert "*" in name or "?" in name or ranks(pa.array([name]), [name]).tolist() == [0.0]
    assert expression("") == r"(?s)\A\z"


@pytest.mark.parametrize(
    ("keep", "missing"),
    [
        ("longest", "text"),
        ("newest", "date"),
        ({"highest": "score"}, "score"),
        ({"sources": ("a",)}, "source"),
        ({"urls": ("a",)}, "url"),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(keep, missing):
    with pytest.raises(RecipeError, match=f"'{missing}'.*there are id, language"):
        preference(batch(id=[b"1"], language=["en"]), keep)
    assert preference(batch(id=[b"1"]), "first").to_pylist() == [0.0]


def test_a_column_of_text_is_no_preference():
    with pytest.raises(RecipeError, match="language holds string"):
        preference(batch(language=["en"]), {"highest": "language"})


def test_a_sliced_batch_prefers_its_own_rows():
    rows = batch(text=["a", "bb", "ccc"], date=["2024", None, "1970"])[1:]
    assert preference(rows, "longest").to_pylist() == [2.0, 3.0]
    assert preference(rows, "newest").to_pylist() == [NOTHING, 0.0]


def test_a_batch_without_rows_has_no_numbers_but_its_columns_are_checked():
    empty = batch(text=["a"], date=["2024"], source=["a"], score=[1])[:0]
    for keep in ("longest", "first", "newest", {"highest": "score"}, {"sources": ("a",)}):
        assert len(preference(empty, keep)) == 0
    with pytest.raises(RecipeError, match="'scroe'"):
        preference(empty, {"highest": "scroe"})
