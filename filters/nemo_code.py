"""NeMo Curator's filters of code that count signs: version 1.4, stages/text/filters/heuristic/code.

Dialect: numbers are those of `score_document`, bounds the defaults of its filters. Not reproduced
are those that parse (comments to code in Python and other languages, HTML boilerplate) and those
that ask another file: limits by file extension, tokenizer fertility, and beside this folder token
counts and character histograms.
"""

import math

import numpy as np

from curate.kernel import Document
from curate.signal import signal
from curate.utf8 import code_point, starts_character
from curate.word_break import ALPHABETIC, entry


@signal(low=10, high=20_000)
def line_count(document: Document) -> float:
    """Lines, blank ones too (NumberOfLinesOfCodeFilter)."""
    return float(len(document.lines.starts))


_XML = np.frombuffer(b"<?xml version=", np.uint8).copy()


@signal(high=0)
def xml_header(document: Document) -> float:
    """1 if "<?xml version=" lies in the first 100 characters, else 0 (XMLHeaderFilter)."""
    text, characters, at = document.text, 0, 0
    while at < len(text) and characters + len(_XML) <= 100:
        place = 0
        while place < len(_XML) and at + place < len(text) and text[at + place] == _XML[place]:
            place += 1
        if place == len(_XML):
            return 1.0
        characters += starts_character(text[at])
        at += 1
    return 0.0


@signal(low=0.25)
def letters(document: Document) -> float:
    """Share of characters that are alphabetic; undefined without any (AlphaFilter)."""
    text, found = document.text, 0
    for at in range(len(text)):
        if starts_character(text[at]):
            found += entry(code_point(text, at, len(text))) & ALPHABETIC != 0
    return found / document.characters if document.characters > 0 else math.nan
