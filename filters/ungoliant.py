"""OSCAR's filter and annotations: Abadji et al. 2022, arXiv:2201.06642, sections 3.2 and 3.3.

Dialect: oscar-project/ungoliant, src/filtering/record.rs and src/transformers. Lines are those of
Rust's `lines`: a newline ends one, a carriage return before it belongs to it. The filter drops, the
annotations only mark a document; their bounds here are those at which they do, and inclusive.
Not in here: adult content by UT1's domains (`url.Blocked`) or by perplexity.
"""

import math

from curate.column import Bytes
from curate.kernel import Document, borrowing
from curate.properties import LETTER, MARK, properties
from curate.signal import signal
from curate.utf8 import characters, code_point, starts_character

LONG = 100  # characters of a line, or bytes where the source counts those


@borrowing
def _line_count(document: Document) -> int:
    count = len(document.lines.starts)
    return count - int(document.lines.starts[count - 1] == document.lines.ends[count - 1])


@borrowing
def _line_end(text: Bytes, start: int, end: int) -> int:
    """Where a line ends without the carriage return before its newline."""
    broken = start < end < len(text) and text[end - 1] == 13
    return end - 1 if broken else end


@signal(low=0.6)
def long_lines(document: Document) -> float:
    """Share of characters in lines of at least 100; 1 in a text without any."""
    text, lines = document.text, document.lines
    long, total = 0, 0
    for line in range(_line_count(document)):
        start = lines.starts[line]
        size = characters(text, start, _line_end(text, start, lines.ends[line]))
        total += size
        long += size if size >= LONG else 0
    return long / total if total > 0 else 1.0


@signal(low=5)
def line_count(document: Document) -> float:
    """Lines; a document with fewer is annotated as tiny."""
    return float(_line_count(document))


@signal(high=0.5)
def short_lines(document: Document) -> float:
    """Share of lines of at most 100 characters, above which it has short sentences; 0 without."""
    text, lines, short = document.text, document.lines, 0
    count = _line_count(document)
    for line in range(count):
        start = lines.starts[line]
        short += characters(text, start, _line_end(text, start, lines.ends[line])) <= LONG
    return short / count if count > 0 else 0.0


@borrowing
def _short_share(document: Document, first: int, count: int) -> float:
    """Share of so many lines that have less than 100 bytes."""
    lines, short = document.lines, 0
    for line in range(first, first + count):
        start = lines.starts[line]
        short += _line_end(document.text, start, lines.ends[line]) - start < LONG
    return short / count if count > 0 else 0.0


@signal(high=0.5)
def header(document: Document) -> float:
    """Share of the first fifth of lines that is short, above which the document has a header."""
    return _short_share(document, 0, math.floor(_line_count(document) * 0.2))


@signal(high=0.5)
def footer(document: Document) -> float:
    """Share of the last fifth of lines that is short, above which the document has a footer."""
    count = _line_count(document)
    fifth = math.floor(count * 0.2)
    return _short_share(document, count - fifth, fifth)


@signal(high=0.5)
def noise(document: Document) -> float:
    """Share of characters that are neither letters nor marks, above which a document is noisy."""
    text, found, total = document.text, 0, 0
    for at in range(len(text)):
        byte = text[at]
        if starts_character(byte):
            total += 1
            code = int(byte) if byte < 0x80 else code_point(text, at, len(text))
            found += properties(code) & (LETTER | MARK) == 0
    return found / total if total > 0 else 0.0
