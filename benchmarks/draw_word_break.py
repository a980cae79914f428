"""Draws curate/word_break.txt, what Unicode 16 says of words.

    pip install uniseg==0.10.1
    python -m benchmarks.draw_word_break

Unicode 16, because so do `uniseg`, with which DCLM cuts words, and Rust's unicode-segmentation,
with which OLMo 3 does. What a letter or digit is to Python's strings is asked of Python 3.11.
"""

import unicodedata
from pathlib import Path

import numpy as np
import regex
import uniseg
from numpy.typing import NDArray
from uniseg.derived import alphabetic, grapheme_base, grapheme_extend
from uniseg.emoji import extended_pictographic
from uniseg.wordbreak import word_break

import curate
from curate.word_break import ALPHABETIC, ALPHANUMERIC, DIGIT, KINDS, NUMERIC, PICTOGRAPHIC, WORD

POINTS = 0x110000
NUMBER, MARK_OR_JOINER = regex.compile(r"\p{N}"), regex.compile(r"[\p{M}\p{Nd}\p{Pc}\u200C\u200D]")


def _entry(character: str) -> int:
    known = grapheme_base(character) or grapheme_extend(character)
    joins = (known or character in "\u200c\u200d") and MARK_OR_JOINER.match(character) is not None
    properties = (
        character.isalnum() * ALPHANUMERIC
        | character.isdigit() * DIGIT
        | extended_pictographic(character) * PICTOGRAPHIC
        | alphabetic(character) * ALPHABETIC
        | (known and NUMBER.match(character) is not None) * NUMERIC
        | (joins or alphabetic(character)) * WORD
    )
    return KINDS.index(word_break(character).value) << 8 | properties


def _entries() -> NDArray[np.int64]:
    """Kind << 8 | properties of every code point; surrogates are private to their systems."""
    surrogates = range(0xD800, 0xE000)
    return np.array([_entry(chr(c if c not in surrogates else 0xE000)) for c in range(POINTS)])


def drawn() -> str:
    """The table: a line says where it is from, the others give ranges, kinds and properties."""
    entries = _entries()
    starts = np.flatnonzero(np.diff(entries, prepend=-1))
    ends = np.append(starts[1:], POINTS)
    lines = [
        f"# Kind and properties of characters, as curate/word_break.py: Unicode Character Database "
        f"{uniseg.unidata_version}, isalnum and isdigit {unicodedata.unidata_version}; "
        "Unicode licence V3, www.unicode.org; drawn by benchmarks/draw_word_break.py"
    ]
    lines += [
        f"{start:X}-{end - 1:X} {KINDS[entries[start] >> 8]} {entries[start] & 0xFF:02X}"
        for start, end in zip(starts, ends, strict=True)
        if entries[start] != 0
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    table = Path(curate.__file__).with_name("word_break.txt")
    table.write_text(drawn(), encoding="utf-8")
