"""What a character is: upper case, alphanumeric, numeric, a digit, a mark, a letter.

As Python's strings say with Unicode 14, from two small tables instead of one of a million entries.
"""

from pathlib import Path
from typing import Any

import numpy as np

from curate.column import Bytes
from curate.kernel import borrowing

# As `str.isupper` of one character; as `islower` or `istitle` and not `isupper`; as `isalnum`;
# as `isnumeric`; of category Nd, M and L.
UPPER, OTHER_CASE, ALPHANUMERIC, NUMERIC, DIGIT, MARK, LETTER = 1, 2, 4, 8, 16, 32, 64
CASED = UPPER | OTHER_CASE
_SIGNS = dict(zip("UCANDML", (1, 2, 4, 8, 16, 32, 64), strict=True))
_PAGE = 128  # characters; with 64 or 256 both tables together are larger


def _tables(path: Path) -> tuple[Any, Any]:
    """The properties of all characters, as two tables."""
    every = np.zeros(0x110000, np.uint8)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        span, signs = line.split(" ")
        first, _, last = span.partition("-")
        every[int(first, 16) : int(last or first, 16) + 1] = sum(_SIGNS[sign] for sign in signs)
    return paged(every)


def paged(every: Bytes) -> tuple[Any, Any]:
    """A table of all 0x110000 code points as two: where a page is, and the pages that differ."""
    pages = [every[at : at + _PAGE].tobytes() for at in range(0, len(every), _PAGE)]
    different = {page: number for number, page in enumerate(dict.fromkeys(pages))}
    where = np.array([different[page] * _PAGE for page in pages], np.uint16)
    return where, np.frombuffer(b"".join(different), np.uint8)


_WHERE, _PROPERTIES = _tables(Path(__file__).with_name("properties.txt"))


@borrowing
def properties(code: int) -> int:
    """The properties of a character as bits; none for what is no code point (-1)."""
    if code < 0 or code > 0x10FFFF:  # F4 90 and up spell such numbers
        return 0
    return int(_PROPERTIES[int(_WHERE[code >> 7]) + (code & 127)])


@borrowing
def is_word(code: int) -> bool:
    """Whether regular expressions take it for part of a word: alphanumeric, or an underscore."""
    return code == 95 or properties(code) & ALPHANUMERIC != 0
