"""RedPajama-v2's own annotation of a document: every signal with the places that it speaks of.

Dialect as in filters/redpajama.py. The layout is that of the published quality_signals.
"""

import difflib
import json
import math
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.column import Numbers
from curate.errors import RecipeError
from curate.kernel import Index, each
from curate.normalised import normalised
from curate.schema import TEXT, Batch
from curate.signal import Signal
from curate.stage import free_column, with_column
from curate.wordpunct import wordpunct
from filters import redpajama
from filters.redpajama_lines import Lines, measured_lines, shares

DECIMALS = 8
# What is measured here, by RedPajama's names.
_OWN = {f"rps_doc_{name}": one for name, one in vars(redpajama).items() if isinstance(one, Signal)}


@dataclass(frozen=True)
class Annotate:
    """Adds RedPajama's annotation as JSON: {signal: [[start, end, score], ...]}.

    Places are characters of the text, scores are rounded to 8 decimals, undefined ones are null.
    Those that need models or lists of domains (ccnet_*, rps_doc_ml_*, rps_doc_*_importance,
    rps_doc_ut1_blacklist) are taken from `columns`, by the names that they shall have: numbers
    about the whole document, which stages before this one wrote.
    """

    column: str = "quality_signals"
    columns: dict[str, str] = field(default_factory=dict)  # rps_doc_ut1_blacklist: ut1_id

    def __post_init__(self) -> None:
        free_column(self.column)
        for name in self.columns:
            if name in _OWN or name.startswith("rps_lines_"):
                raise RecipeError(f"columns: {name} is measured here; leave it out")

    leaves_text: ClassVar = True

    def __call__(self, batch: Batch) -> Batch:
        raw, copy = wordpunct(batch, TEXT), normalised(batch, TEXT)
        documents = _documents(batch, {"wordpunct": raw, "normalised": copy})
        documents |= {name: _taken(batch, column) for name, column in self.columns.items()}
        lines = measured_lines(raw, copy)
        scores = _lines(lines)
        written = [
            _annotation(size, {name: values[row] for name, values in documents.items()}, own)
            for row, (size, own) in enumerate(
                zip(raw.characters.tolist(), _by_row(raw, lines, scores), strict=True)
            )
        ]
        return with_column(batch, self.column, pa.array(written, pa.string()))


def _rounded(numbers: Numbers) -> list[float | None]:
    return [None if math.isnan(one) else round(one, DECIMALS) for one in numbers.tolist()]


def _documents(batch: Batch, indices: dict[str, Index]) -> dict[str, list[Any]]:
    """The scores of all documents, by RedPajama's names."""
    found: dict[str, list[Any]] = {}
    for name, one in _OWN.items():
        cut = indices[one.words.default]
        numbers = each(one.measure, cut) if one.is_kernel else one.measure(batch, cut)
        found[name] = _rounded(numbers)
    counts = found["rps_doc_word_count"]  # the only one that is no float there
    found["rps_doc_word_count"] = [int(count) for count in counts]
    return found


def _taken(batch: Batch, name: str) -> list[Any]:
    """The numbers of a column, rounded if they are no whole ones."""
    there = batch.schema.names
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean {near[0]}?" if near else "put the stage that writes it before"
        raise RecipeError(f"redpajama_annotation.Annotate: columns: no column {name!r}; {hint}")
    column = batch.column(name)
    if pa.types.is_integer(column.type):
        whole: list[Any] = column.to_pylist()
        return whole
    if not pa.types.is_floating(column.type):
        raise RecipeError(
            f"redpajama_annotation.Annotate: columns: {name!r} holds {column.type}, no numbers"
        )
    return _rounded(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _lines(lines: Lines) -> dict[str, list[Any]]:
    """The scores of all lines, by RedPajama's names (with its spelling)."""
    return {
        "rps_lines_javascript_counts": lines.javascript.astype(np.float64).tolist(),
        "rps_lines_ending_with_terminal_punctution_mark": (
            lines.terminated.astype(np.float64).tolist()
        ),
        "rps_lines_num_words": lines.words.tolist(),
        "rps_lines_uppercase_letter_fraction": _rounded(shares(lines.upper, lines.characters)),
        "rps_lines_numerical_chars_fraction": _rounded(shares(lines.numeric, lines.normalised)),
        "rps_lines_start_with_bulletpoint": lines.bullet.astype(np.float64).tolist(),
    }


def _by_row(raw: Index, lines: Lines, scores: dict[str, list[Any]]) -> Any:
    """For every row its spans of lines by signal; none follows the last newline."""
    for row in range(len(raw.word_offsets) - 1):
        first, last = int(lines.offsets[row]), int(lines.offsets[row + 1])
        last -= int(lines.characters[last - 1] == 0)
        ends = list(accumulate(lines.characters[first:last].tolist()))
        starts = chain([0], ends)
        places = list(zip(starts, ends, strict=False))
        yield {
            name: [[start, end, score] for (start, end), score in zip(places, own, strict=True)]
            for name, own in ((name, values[first:last]) for name, values in scores.items())
        }


def _annotation(size: int, document: dict[str, Any], lines: dict[str, Any]) -> str:
    spans = {name: [[0, size, score]] for name, score in document.items()}
    if not lines["rps_lines_start_with_bulletpoint"]:
        lines["rps_lines_start_with_bulletpoint"] = [[0, size, None]]
    return json.dumps(spans | lines, separators=(",", ":"))
