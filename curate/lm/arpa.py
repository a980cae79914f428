"""The ARPA file of a model, which KenLM reads."""

from typing import IO, Self

import numpy as np
import pyarrow as pa

from curate.column import Bytes, Positions, View, view
from curate.kernel import borrowing, helper
from curate.lm.rows import PAYLOAD, Floats, Rows


@borrowing
def copied(source: Bytes, start: int, end: int, out: Bytes, at: int) -> int:
    """Copy a stretch of bytes; where its copy ends."""
    for place in range(start, end):
        out[at] = source[place]
        at += 1
    return at


@helper
def spell(rows: Rows, words: tuple[Bytes, Positions], before: View, after: View, out: Bytes) -> int:
    """Write a line for each row: its first number, its words, its second number if there is one."""
    letters, ends = words
    at = 0
    for row in range(len(rows)):
        at = copied(before.data, before.offsets[row], before.offsets[row + 1], out, at)
        for column in range(rows.shape[1] - PAYLOAD):
            out[at] = 9 if column == 0 else 32
            word = rows[row, column]
            at = copied(letters, ends[word], ends[word + 1], out, at + 1)
        if after.offsets[row + 1] > after.offsets[row]:
            out[at] = 9
            at = copied(after.data, after.offsets[row], after.offsets[row + 1], out, at + 1)
        out[at] = 10
        at += 1
    return at


class Arpa:
    """An ARPA file that is being written."""

    def __init__(self, file: IO[bytes], words: pa.Array, counts: list[int]) -> None:
        self._file = file
        offsets = np.frombuffer(words.buffers()[1], np.int64)[: len(words) + 1]
        self._words = (np.frombuffer(words.buffers()[2], np.uint8), offsets)
        self._lengths = np.diff(offsets)
        head = "".join(f"ngram {order}={count}\n" for order, count in enumerate(counts, start=1))
        file.write(f"\\data\\\n{head}".encode())

    def begin(self, order: int) -> Self:
        """The n-grams of an order follow."""
        self._file.write(f"\n\\{order}-grams:\n".encode())
        return self

    def write(self, rows: Rows, probabilities: Floats, backoffs: Floats | None) -> None:
        """N-grams with the logarithms of their probabilities, and of their backoffs."""
        before, after = _spelled(probabilities), _spelled(backoffs, len(rows))
        numbers = rows[:, :-PAYLOAD]
        size = int(self._lengths[numbers].sum()) + numbers.size + 2 * len(rows)
        size += sum(int(column.offsets[-1] - column.offsets[0]) for column in (before, after))
        out = np.empty(size, np.uint8)
        out[: spell(rows, self._words, before, after, out)].tofile(self._file)

    def end(self) -> None:
        """The file is whole."""
        self._file.write(b"\n\\end\\\n")


def _spelled(numbers: Floats | None, rows: int = 0) -> View:
    """Numbers in as few digits as tell 32-bit floats apart."""
    if numbers is None:
        return View(np.empty(0, np.uint8), np.zeros(rows + 1, np.int32))
    # + 0 makes a zero of -0.
    return view(pa.array(numbers + np.float32(0)).cast(pa.string()))
