"""How a character breaks words (UAX #29), and what Rust and Python take for a letter or digit.

The table word_break.txt is drawn by benchmarks/draw_word_break.py.
"""

from pathlib import Path
from typing import Any

import numpy as np

from curate.kernel import borrowing

KINDS = (
    *("Other", "CR", "LF", "Newline", "Extend", "ZWJ", "Format", "Regional_Indicator"),
    *("Katakana", "Hebrew_Letter", "ALetter", "Single_Quote", "Double_Quote", "MidNumLet"),
    *("MidLetter", "MidNum", "Numeric", "ExtendNumLet", "WSegSpace"),
)

ALPHANUMERIC = 0x01  # str.isalnum
DIGIT = 0x02  # str.isdigit: superscripts too
PICTOGRAPHIC = 0x04  # Extended_Pictographic
ALPHABETIC = 0x08  # char::is_alphabetic of Rust: vowel signs too
NUMERIC = 0x10  # char::is_numeric of Rust
WORD = 0x20  # \w of Rust's regex: marks and connectors too

_BLOCK = 128  # code points; with 64 or 256 both tables together are larger
_LAST = 0x10FFFF


def _tables(path: Path) -> tuple[Any, Any]:
    """Where the block of each 128 code points begins, and the blocks: kind << 8 | properties."""
    entries = np.zeros(_LAST + 1, np.uint16)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        places, kind, properties = line.split()
        first, last = (int(place, 16) for place in places.split("-"))
        entries[first : last + 1] = KINDS.index(kind) << 8 | int(properties, 16)
    known: dict[bytes, int] = {}
    blocks = entries.reshape(-1, _BLOCK)
    starts = [_BLOCK * known.setdefault(block.tobytes(), len(known)) for block in blocks]
    return np.array(starts, np.uint16), np.frombuffer(b"".join(known), np.uint16)


_STARTS, _ENTRIES = _tables(Path(__file__).with_name("word_break.txt"))


@borrowing
def entry(code: int) -> int:
    """Kind (of KINDS) << 8 | properties of a code point; 0 for what is none."""
    if code < 0 or code > _LAST:
        return 0
    return int(_ENTRIES[int(_STARTS[code >> 7]) + (code & 127)])
