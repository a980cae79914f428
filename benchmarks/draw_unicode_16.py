r"""Draws tokenizer/unicode_16.txt, the code points that Unicode 16.0 assigns to nothing.

    pip install unicodedata2==16.0.0
    python -m benchmarks.draw_unicode_16

Unicode 16.0, because so do tiktoken 0.14 and tokenizers 0.23: tiktoken takes `\p{Age:16.0}` and
refuses `\p{Age:17.0}`, and both say of every code point what this table says.
"""

from pathlib import Path

import numpy as np
import unicodedata2

import tokenizer.unicode_table

HEAD = (
    "First and last code points, hexadecimal: what Unicode 16.0 assigns to nothing (category"
    " Cn), of PyPI's unicodedata2 16.0.0 by benchmarks/draw_unicode_16.py. tiktoken 0.14.0 and"
    " tokenizers 0.23.3 say the same."
)


def main() -> None:
    """Write the table beside the module that reads it."""
    nothing = [unicodedata2.category(chr(point)) == "Cn" for point in range(0x110000)]
    edges = np.flatnonzero(np.diff([0, *nothing, 0]))
    lines = [f"{first:04X}-{end - 1:04X}" for first, end in edges.reshape(-1, 2).tolist()]
    path = Path(tokenizer.unicode_table.__file__).with_name("unicode_16.txt")
    path.write_text("\n".join([HEAD, *lines]) + "\n")


if __name__ == "__main__":
    main()
