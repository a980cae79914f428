"""Which of several copies stays: one setting of every survey, and one number per document.

    keep: longest | first | newest | oldest
    keep: {highest: gopher.word_count}      # any numeric column; or lowest
    keep: {sources: ["wikipedia*", "books*"]}     # or urls: the first pattern that fits counts

Of two documents the one with the higher number would rather stay, and among equals that with the
smaller id. `first` is the smallest id, and so has the same number for all.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Numbers
from curate.errors import RecipeError
from curate.schema import DATE, SOURCE, TEXT, URL, Batch

Keep = Literal["longest", "first", "newest", "oldest"] | dict[str, str | tuple[str, ...]]

PREFERENCE = "preference"

# How a document without a date, without a number or of no listed source compares: it loses.
LOSES = -np.inf

_SIGNS = {"newest": 1.0, "oldest": -1.0, "highest": 1.0, "lowest": -1.0}
_COLUMNS = {"sources": SOURCE, "urls": URL}
_CHOICES = (
    "write longest, first, newest, oldest, {highest: COLUMN}, {lowest: COLUMN}, "
    "{sources: [PATTERN, ...]} or {urls: [PATTERN, ...]}"
)

_CRAWL_INDEX = re.compile(r"(\d{8})(\d{6})")  # 20240131235959, as in CDX files
_YEAR, _MONTH = re.compile(r"\d{4}"), re.compile(r"\d{4}-\d{2}")


def check(keep: Keep) -> None:
    """Refuse a setting that cannot be followed."""
    if isinstance(keep, str):
        if keep not in ("longest", "first", *_SIGNS) or keep in ("highest", "lowest"):
            raise RecipeError(f"keep is {keep!r}; {_CHOICES}")
        return
    if len(keep) != 1 or not {*keep} & {"highest", "lowest", *_COLUMNS}:
        raise RecipeError(f"keep is {keep!r}; {_CHOICES}")
    ((name, given),) = keep.items()
    if name in _COLUMNS and (isinstance(given, str) or not all(given) or not given):
        raise RecipeError(f"keep: {name}: {given!r}; write a list of patterns such as ['*.gov/*']")
    if name not in _COLUMNS and not (given and isinstance(given, str)):
        raise RecipeError(f"keep: {name}: {given!r}; write the name of one numeric column")


def preference(batch: Batch, keep: Keep) -> pa.Array:
    """A number for every document, never null: among copies the highest stays."""
    return pa.array(_numbers(batch, keep), pa.float64())


def _numbers(batch: Batch, keep: Keep) -> Numbers:
    if keep == "first":
        return np.zeros(batch.num_rows)
    if keep == "longest":
        return _filled(pc.binary_length(_column(batch, TEXT)).fill_null(0))
    if isinstance(keep, str):
        return _losing(_SIGNS[keep] * instants(_column(batch, DATE)))
    ((name, given),) = keep.items()
    if name in _COLUMNS:
        return ranks(_column(batch, _COLUMNS[name]), tuple(given))
    column = _column(batch, str(given))
    kind = column.type
    if not (pa.types.is_primitive(kind) or pa.types.is_decimal(kind)) or pa.types.is_temporal(kind):
        raise RecipeError(f"keep: {name}: the column {given} holds {kind}; choose one of numbers")
    return _losing(_SIGNS[name] * _filled(column))


def _column(batch: Batch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        there = ", ".join(batch.schema.names)
        raise RecipeError(f"keep: no column {name!r} at this stage; there are {there}")
    return batch.column(name)


def _filled(column: pa.Array) -> Numbers:
    """Numbers as floats, nan where there is none."""
    # Whole numbers beyond 2**53 are rounded, so that neighbours may become equals.
    values: Numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _losing(values: Numbers) -> Numbers:
    return np.where(np.isnan(values), LOSES, values)


def instants(column: pa.Array) -> Numbers:
    """Seconds since 1970 of dates as they were found, nan for what is none; no zone means UTC."""
    coded = pc.dictionary_encode(column)
    # Each once: 2 s for a million different ISO dates, 8 s for those of HTTP.
    seconds = np.array([*map(_seconds, coded.dictionary.to_pylist()), np.nan])
    places: Numbers = coded.indices.fill_null(len(seconds) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(seconds[places])


def _seconds(date: str) -> float:
    """ISO 8601 as in WARC, the three forms of HTTP, and a crawl index's fourteen digits."""
    date = date.strip()
    if found := _CRAWL_INDEX.fullmatch(date):
        date = "T".join(found.groups())
    elif _YEAR.fullmatch(date):
        date += "-01-01"
    elif _MONTH.fullmatch(date):
        date += "-01"
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = parse(date)
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return float("nan")


def ranks(column: pa.Array, patterns: Sequence[str]) -> Numbers:
    """Minus the place of the first pattern that fits the whole of a name; none fits: it loses."""
    out = np.full(len(column), LOSES)
    for place in reversed(range(len(patterns))):
        fits = pc.match_substring_regex(column, expression(patterns[place]))
        out[fits.fill_null(False).to_numpy(zero_copy_only=False)] = -float(place)
    return out


def expression(pattern: str) -> str:
    """A regular expression for `*`, any characters, and `?`, any one; all else is itself."""
    wild = {"*": ".*", "?": "."}
    return rf"(?s)\A{''.join(wild.get(c) or re.escape(c) for c in pattern)}\z"
