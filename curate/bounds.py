"""Bounds that depend on a document's language, from a table: a line a language, a column a signal.

A cell is `low:high`; either may be left out, and an empty cell leaves the signal its own bounds.
The first column holds language codes, joined by a comma where a language has more than one.
"""

import difflib
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Numbers
from curate.errors import RecipeError

Pair = tuple[float, float]


@dataclass(frozen=True)
class Bounds:
    """The bounds of one signal by language."""

    table: str  # the name by which a recipe calls the table
    digest: str  # of the table: part of the key under which work is kept
    pairs: Mapping[str, Pair]

    def enter(self, languages: pa.Array, low: Numbers, high: Numbers) -> None:
        """Write the bounds of the rows whose language has any."""
        codes = pc.dictionary_encode(languages)
        where = codes.indices.to_numpy(zero_copy_only=False)
        for code, language in enumerate(codes.dictionary.to_pylist()):
            if language in self.pairs:
                rows = where == code
                low[rows], high[rows] = self.pairs[language]


@cache
def table(name: str) -> dict[str, Bounds]:
    """The bounds of every signal in a table: one of ours by its name, or a user's by its path.

    Raises RecipeError where there is no such table, or a cell is none.
    """
    folder = files("filters") / "lists"
    ours = [entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".tsv")]
    source = Path(str(folder / f"{name}.tsv")) if name in ours else Path(name)
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        near = difflib.get_close_matches(name, ours, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else "give one of ours or a .tsv file"
        raise RecipeError(f"{name}: no such table of bounds; {hint}") from error
    digest = hashlib.sha256(text.encode()).hexdigest()
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    if not rows:
        raise RecipeError(f"{name}: an empty table; its first line names language and signals")
    signals: list[dict[str, Pair]] = [{} for _ in rows[0][1:]]
    seen: set[str] = set()
    for number, row in enumerate(rows[1:], start=2):
        for language in filter(None, row[0].split(",")):
            if language in seen:
                raise RecipeError(f"{name}: line {number}: {language} is there twice; give it once")
            seen.add(language)
        for column, cell in enumerate(row[1:]):
            if cell:
                pair = _pair(cell, f"{name}: line {number}: {rows[0][column + 1]}")
                signals[column] |= dict.fromkeys(row[0].split(","), pair)
    return {
        signal: Bounds(name, digest, pairs)
        for signal, pairs in zip(rows[0][1:], signals, strict=True)
    }


def _pair(cell: str, where: str) -> Pair:
    low, colon, high = cell.partition(":")
    try:
        pair = float(low or -math.inf), float(high or math.inf)
    except ValueError as error:
        raise RecipeError(f"{where}: {cell!r} is no pair of bounds; write low:high") from error
    if not colon or not pair[0] <= pair[1]:
        raise RecipeError(f"{where}: {cell!r} is no pair of bounds; write low:high, low first")
    return pair
