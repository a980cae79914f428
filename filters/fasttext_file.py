"""How a fastText model is laid out in its file, whole (`.bin`) or compressed (`.ftz`).

Follows fastText 0.9 (dictionary.cc, productquantizer.cc, quantmatrix.cc, loss.cc).
"""

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Positions
from curate.errors import ModelError
from curate.kernel import helper

MAGIC = 793712314
VERSIONS = (11, 12)
SUPERVISED = 3
CENTROIDS = 256
LABEL = b"__label__"
ENTRY_TAIL = 9  # bytes behind an entry's name: how often it was seen, and whether it is a label

Floats = NDArray[np.float32]
Ranks = NDArray[np.int32]


class Settings(NamedTuple):
    """The settings in a model's file, in its order."""

    dim: int
    window: int
    epochs: int
    min_count: int
    negatives: int
    word_n: int
    loss: int
    kind: int
    buckets: int
    min_n: int
    max_n: int
    rate_update: int
    threshold: float


class Entries(NamedTuple):
    """A model's dictionary: words first, then labels."""

    letters: Bytes  # all names, one after another
    starts: Positions
    counts: Positions  # how often each was seen in training
    words: int
    pruned: NDArray[np.int32]  # pairs of bucket and row
    is_pruned: bool

    def name(self, entry: int) -> bytes:
        """A word or a label."""
        return self.letters[self.starts[entry] : self.starts[entry + 1]].tobytes()


class Contents(NamedTuple):
    """Everything in a model's file that is needed to ask it."""

    settings: Settings
    entries: Entries
    rows: Floats  # of words, then of buckets
    output: Floats


class Reader:
    """The bytes of a model file, taken from front to back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        # Mapped, for models of gigabytes would otherwise be in memory twice.
        whole = np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)
        self._data: Bytes = np.asarray(whole)
        self._at = 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """Little-endian numbers, as `struct` describes them."""
        size = struct.calcsize("<" + layout)
        return struct.unpack("<" + layout, self._take(size).tobytes())

    def number(self, layout: str) -> int:
        """One number."""
        return int(self.numbers(layout)[0])

    def array(self, kind: type, count: int) -> NDArray[Any]:
        """So many numbers of a NumPy type."""
        if count < 0:
            raise self.broken(f"a count of {count}")
        return self._take(count * np.dtype(kind).itemsize).view(kind)

    def entries(self, count: int) -> tuple[Bytes, Positions, Positions]:
        """So many names that end in a NUL, where each begins, and how often it was seen."""
        if not 0 <= count * (ENTRY_TAIL + 1) <= len(self._data) - self._at:
            raise self.broken(f"a dictionary of {count}")
        starts, counts = np.zeros(count + 1, np.int64), np.zeros(count, np.int64)
        data = self._data[self._at :]
        letters = cut_entries(data, starts, counts)
        if len(letters) != starts[-1]:
            raise self.broken("it ends too early")
        self._at += len(letters) + count * (ENTRY_TAIL + 1)
        return letters, starts, counts

    def broken(self, why: str) -> ModelError:
        """An error that names the file."""
        return ModelError(f"{self.path}: not a whole fastText model; {why}")

    def _take(self, size: int) -> Bytes:
        if self._at + size > len(self._data):
            raise self.broken("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]


@helper
def cut_entries(data: Bytes, starts: Positions, counts: Positions) -> Bytes:
    """The names of a dictionary, one after another; fills where each begins and how often it was.

    Where the data end too early there are fewer letters than `starts` says.
    """
    at = 0
    for entry in range(len(counts)):
        start = at
        while at < len(data) and data[at] != 0:
            at += 1
        starts[entry + 1] = starts[entry] + at - start
        if at + 1 + ENTRY_TAIL > len(data):
            starts[-1] = -1
            return np.empty(0, np.uint8)
        for place in range(8):
            counts[entry] |= np.int64(data[at + 1 + place]) << (8 * place)
        at += 1 + ENTRY_TAIL
    letters = np.empty(starts[-1], np.uint8)
    for entry in range(len(counts)):
        behind = entry * (1 + ENTRY_TAIL)
        for place in range(starts[entry], starts[entry + 1]):
            letters[place] = data[place + behind]
    return letters


def read_model(path: Path) -> Contents:
    """Read a supervised `.bin` or `.ftz` file."""
    reader = Reader(path)
    magic, version = reader.numbers("ii")
    if magic != MAGIC or version not in VERSIONS:
        raise ModelError(f"{path}: not a fastText model (of version 11 or 12)")
    settings = Settings(*reader.numbers("12id"))
    entries = read_entries(reader)
    if not len(entries.counts) > entries.words:
        raise ModelError(f"{path}: the model has no labels; train it with `supervised`")
    # Before version 12, supervised models had no n-grams of letters whatever they say.
    if version == 11 and settings.kind == SUPERVISED:
        settings = settings._replace(max_n=0)
    is_quantised = bool(reader.number("?"))
    rows = read_quantised(reader) if is_quantised else read_dense(reader)
    output = read_quantised(reader) if reader.number("?") and is_quantised else read_dense(reader)
    return Contents(settings, entries, rows, output)


def read_entries(reader: Reader) -> Entries:
    """The dictionary."""
    size, words, _, _, pruned = reader.numbers("3i2q")
    letters, starts, counts = reader.entries(size)
    pairs = reader.array(np.int32, 2 * max(pruned, 0)).reshape(-1, 2)
    return Entries(letters, starts, counts, words, pairs, pruned >= 0)


def read_dense(reader: Reader) -> Floats:
    """A matrix of plain numbers."""
    rows, columns = reader.numbers("2q")
    return reader.array(np.float32, rows * columns).reshape(rows, columns)


def read_quantised(reader: Reader) -> Floats:
    """A product-quantised matrix, written out: a hundredth of the time of looking up each part."""
    has_norms = reader.number("?")
    rows, columns = reader.numbers("2q")
    codes = reader.array(np.uint8, reader.number("i"))
    matrix = centroids(reader, codes, rows, columns)
    if has_norms:
        matrix *= centroids(reader, reader.array(np.uint8, rows), rows, 1)
    return matrix


def centroids(reader: Reader, codes: Bytes, rows: int, columns: int) -> Floats:
    """The vectors that codes stand for, by the codebook that comes next in the file."""
    dim, parts, width, last_width = reader.numbers("4i")
    book = reader.array(np.float32, dim * CENTROIDS)
    if dim != columns or len(codes) != rows * parts or width * (parts - 1) + last_width != dim:
        raise reader.broken("its codebook does not fit")
    codes = codes.reshape(rows, parts)
    matrix = np.empty((rows, columns), np.float32)
    for part in range(parts):
        start = part * width
        size = last_width if part == parts - 1 else width
        block = book[part * CENTROIDS * width :][: CENTROIDS * size].reshape(CENTROIDS, size)
        matrix[:, start : start + size] = block[codes[:, part]]
    return matrix


def huffman(counts: list[int]) -> NDArray[np.int32]:
    """The children of every inner node, root last; labels come first, by falling count."""
    size = len(counts)
    weight = [*counts, *[10**15] * (size - 1)]
    leaf, inner = size - 1, size
    children = []
    for node in range(size, 2 * size - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and weight[leaf] < weight[inner]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(inner)
                inner += 1
        weight[node] = weight[pair[0]] + weight[pair[1]]
        children.append((pair[0], pair[1]))
    return np.array(children, np.int32).reshape(-1, 2)
