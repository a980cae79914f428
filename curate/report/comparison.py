"""The comparison of two runs as one self-contained page, in the style of the report."""

import math
from pathlib import Path
from typing import Any

from curate.compare import KEPT, UNDECIDED, Comparison
from curate.errors import InputError
from curate.report.page import MOST_ROWS, rendered
from curate.store import write_atomic

MOST_REASONS = 14  # rows and columns of the matrix; the others are added up
OTHERS = "others"
SHADES = 5


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the page to this file; into a folder it goes under its own name."""
    if path.is_dir():
        path = path / "comparison.html"
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it, or choose another --output")
    write_atomic(path, page(comparison).encode())
    return path


def page(comparison: Comparison) -> str:
    """The page."""
    outcomes = [KEPT, "dropped"]
    if any(UNDECIDED in (pair.first, pair.second) for pair in comparison.pairs):
        outcomes.append(UNDECIDED)
    first, second = comparison.names
    return rendered(
        "comparison.html",
        comparison=comparison,
        first=first,
        second=second,
        outcomes=outcomes,
        totals={mine: sum(comparison.count(mine, its) for its in outcomes) for mine in outcomes},
        matrix=matrix(comparison),
        most_rows=MOST_ROWS,
        quantiles=(),
    )


def matrix(comparison: Comparison) -> dict[str, Any]:
    """How often each outcome of the first meets each of the second, the most frequent alone."""
    rows = _frequent([(pair.first, pair.documents) for pair in comparison.pairs])
    columns = _frequent([(pair.second, pair.documents) for pair in comparison.pairs])
    table = {name: dict.fromkeys(columns, 0) for name in rows}
    for pair in comparison.pairs:
        row = pair.first if pair.first in table else OTHERS
        column = pair.second if pair.second in columns else OTHERS
        table[row][column] += pair.documents
    return {
        "columns": columns,
        "rows": [
            {
                "name": name,
                "total": sum(cells.values()),
                "cells": [
                    {"number": number, "heat": _shade(number, sum(cells.values()))}
                    for number in cells.values()
                ],
            }
            for name, cells in table.items()
        ],
    }


def _frequent(outcomes: list[tuple[str, int]]) -> list[str]:
    totals: dict[str, int] = {}
    for name, documents in outcomes:
        totals[name] = totals.get(name, 0) + documents
    # Kept first, whatever its number: it is what the others are held against.
    ranked = sorted(totals, key=lambda name: (name != KEPT, -totals[name], name))
    return ranked if len(ranked) <= MOST_REASONS else [*ranked[: MOST_REASONS - 1], OTHERS]


def _shade(number: int, total: int) -> int:
    return math.ceil(SHADES * number / total) if total else 0
