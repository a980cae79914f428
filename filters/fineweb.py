"""FineWeb quality rules: Penedo et al. 2024, arXiv:2406.17557, as datatrove 0.10.1 computes them.

Dialect: the paper's words, which white space separates (datatrove's are spaCy tokens). Lines are
what newlines separate; blank ones are left out. Bounds are inclusive: datatrove drops what is
strictly beyond them. All signals are undefined in a text without words.
"""

import math
from importlib.resources import files
from typing import Any

import numpy as np

from curate.hashing import clear, first_seen
from curate.kernel import Document, borrowing, helper
from curate.signal import signal
from curate.utf8 import last_code_point, skip_space


def _code_points(name: str) -> Any:
    lines = (files("filters") / "lists" / name).read_text(encoding="utf-8").splitlines()
    return np.array([int(line, 16) for line in lines[1:]], np.int64)


TERMINAL = _code_points("terminal_punctuation.txt")  # sorted


@borrowing
def _is_blank(document: Document, line: int) -> bool:
    end = document.lines.ends[line]
    return bool(skip_space(document.text, document.lines.starts[line], end) == end)


@helper
def _is_terminal(code: int) -> bool:
    low, high = 0, len(TERMINAL)
    while low < high:
        middle = (low + high) // 2
        if TERMINAL[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low < len(TERMINAL) and TERMINAL[low] == code


@signal(low=0.12)
def line_punct_ratio(document: Document) -> float:
    """Share of lines whose last character ends a sentence; a space behind it does not."""
    lines = document.lines
    count, punctuated = 0, 0
    for line in range(len(lines.starts)):
        if _is_blank(document, line):
            continue
        count += 1
        punctuated += _is_terminal(
            last_code_point(document.text, lines.starts[line], lines.ends[line])
        )
    return punctuated / count if count > 0 else math.nan


@signal(high=0.67)
def short_line_ratio(document: Document) -> float:
    """Share of lines of at most 30 characters."""
    count, short = 0, 0
    for line in range(len(document.lines.starts)):
        if _is_blank(document, line):
            continue
        count += 1
        short += document.lines.characters[line] <= 30
    return short / count if count > 0 else math.nan


@signal(high=0.01)
def char_dup_ratio(document: Document) -> float:
    """Share of characters, newlines left out, in lines that occurred before."""
    if len(document.words.starts) == 0:
        return math.nan
    lines, keys = document.lines, document.keys
    mask = clear(document.slots, len(lines.starts))
    found, total = 0, 0
    for line in range(len(lines.starts)):
        total += lines.characters[line]
        keys[line] = lines.hashes[line]
        first = first_seen(keys, line, document.slots, mask)
        if first != line and not _is_blank(document, line):
            found += lines.characters[line]
    return found / total if total > 0 else math.nan


@signal(high=0.3)
def list_ratio(document: Document) -> float:
    """Newlines per word, which is high in lists."""
    words = len(document.words.starts)
    return (len(document.lines.starts) - 1) / words if words > 0 else math.nan
