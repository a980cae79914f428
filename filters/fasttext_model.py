"""How a fastText model is laid out in its file, and how it answers: labels and probabilities.

Follows fastText 0.9 (dictionary.cc, productquantizer.cc, loss.cc). The library takes Python strings
and answers at 4 to 7 MB of text a second; this reads Arrow's buffers, and remembers the sum of the
rows of every frequent word.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Bytes, Offsets, Positions, view
from curate.errors import ModelError
from curate.kernel import helper

MAGIC = 793712314
VERSIONS = (11, 12)
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
CENTROIDS = 256
LABEL = b"__label__"
END = b"</s>"

Floats = NDArray[np.float32]
Bits = NDArray[np.uint32]
Ranks = NDArray[np.int32]

# FNV-1a over signed bytes, as fastText hashes.
_BASIS = 2166136261
_PRIME = 16777619
_MASK = 0xFFFFFFFF
_SIGN = 0xFFFFFF00
_WORD_NGRAM = np.uint64(116049371)
# Words up to this length are remembered, so many at most: of real pages in 15 languages, 130,000
# slots were as good as more, and twice as fast as 30,000.
CACHED_BYTES = 48
CACHE_SLOTS = 1 << 17


class Vocabulary(NamedTuple):
    """What kernels need to find the rows of a word."""

    letters: Bytes  # all words and labels, one after another
    starts: Positions
    slots: Positions  # open addressing by hash: entry, or -1
    bits: Bits  # which buckets were not pruned, 32 to a number; empty if all are there
    ranks: Ranks  # how many of them come before each 32
    rows: Floats  # of words, then of buckets, in their order
    numbers: Positions  # WORDS to END_ENTRY


# Words in the dictionary, n-grams of letters from and to, buckets, n-grams of words up to, and the
# entry of END or -1.
WORDS, MIN_N, MAX_N, BUCKETS, WORD_N, END_ENTRY = range(6)


class Cache(NamedTuple):
    """The sum of the rows of words that came before, by two hashes of the word."""

    keys: Positions
    counts: Positions
    sums: Floats


@helper
def fnv(total: int, byte: int) -> int:
    """One step of the hash."""
    signed = byte if byte < 128 else byte | _SIGN
    return ((total ^ signed) * _PRIME) & _MASK


@helper
def is_separator(byte: int) -> bool:
    """What parts words: space, tab, line ends, and NUL."""
    return byte == 32 or 9 <= byte <= 13 or byte == 0


@helper
def entry_of(word: Bytes, hashed: int, vocabulary: Vocabulary) -> int:
    """The dictionary's entry for this word, or -1."""
    slots = vocabulary.slots
    slot = hashed % len(slots)
    while slots[slot] >= 0:
        entry = slots[slot]
        start = vocabulary.starts[entry]
        if vocabulary.starts[entry + 1] - start == len(word):
            equal = 0
            while equal < len(word) and vocabulary.letters[start + equal] == word[equal]:
                equal += 1
            if equal == len(word):
                return int(entry)
        slot = (slot + 1) % len(slots)
    return -1


@helper
def is_label(word: Bytes, entry: int, vocabulary: Vocabulary) -> bool:
    """Whether the text says `__label__...`, which is no word."""
    if entry >= 0:
        known: bool = entry >= vocabulary.numbers[WORDS]
        return known
    if len(word) < len(LABEL):
        return False
    equal = 0
    for place in range(len(LABEL)):
        equal += word[place] == LABEL[place]
    return equal == len(LABEL)


@helper
def bucket_of(hashed: int, buckets: int) -> int:
    """The remainder of a 32-bit number, by multiplication, as a division takes far longer."""
    bucket = hashed - int(hashed * (1.0 / buckets)) * buckets
    if bucket < 0:
        return bucket + buckets
    return bucket if bucket < buckets else bucket - buckets


@helper
def row_of(bucket: int, bits: Bits, ranks: Ranks) -> int:
    """Which of the rows of buckets is this one's, or -1 where it was pruned.

    Counting bits keeps the table in 0.4 MB; a plain one of 16 MB missed the processor's cache.
    """
    block = np.int64(bits[bucket >> 5])
    shift = bucket & 31
    if not (block >> shift) & 1:
        return -1
    below = block & ((1 << shift) - 1)
    below = below - ((below >> 1) & 0x55555555)
    below = (below & 0x33333333) + ((below >> 2) & 0x33333333)
    below = (below + (below >> 4)) & 0x0F0F0F0F
    row: int = np.int64(ranks[bucket >> 5]) + (((below * 0x01010101) >> 24) & 0xFF)  # type: ignore[assignment]  # an int64 is an int to kernels
    return row


@helper
def add(total: Floats, rows: Floats, row: int) -> None:
    """Add one row."""
    for place in range(len(total)):
        total[place] += rows[row, place]


@helper
def add_letters(word: Bytes, size: int, vocabulary: Vocabulary, total: Floats) -> int:
    """Add the rows of the n-grams of letters of `<word>`; how many."""
    # Taken out of the tuple here: inside the loops each took as long as the hash.
    bits, ranks, rows = vocabulary.bits, vocabulary.ranks, vocabulary.rows
    words, low, high, buckets = vocabulary.numbers[:4]
    added = 0
    for first in range(size):
        if (word[first] & 0xC0) == 0x80:
            continue
        hashed: Any = np.int64(_BASIS)
        after = first
        length = 0
        while after < size and length < high:
            hashed = fnv(hashed, np.int64(word[after]))
            after += 1
            if after < size and (word[after] & 0xC0) == 0x80:
                continue
            length += 1
            if length < low or (length == 1 and (first == 0 or after == size)):
                continue
            row = bucket_of(hashed, buckets)
            if len(bits) > 0:
                row = row_of(row, bits, ranks)
            if row >= 0:
                add(total, rows, words + row)
                added += 1
    return added


@helper
def is_word(letters: Bytes, hashed: int, vocabulary: Vocabulary, cache: Cache, slot: int) -> bool:
    """Sum the rows of `<word>` into a slot of the cache; False for a label, which has none."""
    entry = entry_of(letters[1:-1], hashed, vocabulary)
    if is_label(letters[1:-1], entry, vocabulary):
        return False
    total = cache.sums[slot]
    total[:] = 0
    added = 0
    if entry >= 0:
        add(total, vocabulary.rows, entry)
        added = 1
    if vocabulary.numbers[MAX_N] > 0:
        added += add_letters(letters, len(letters), vocabulary, total)
    cache.counts[slot] = added
    return True


@helper
def word_end(text: Bytes, here: int, letters: Bytes) -> tuple[int, int, int]:
    """Copy the word that begins here as `<word>`; where it ends, and two hashes of it."""
    size = 1
    first: Any = np.int64(_BASIS)
    second: Any = np.int64(0)
    while here < len(text) and not is_separator(text[here]):
        letters[size] = text[here]
        byte = np.int64(text[here])
        first = fnv(first, byte)
        second = (second * 131 + byte + 1) & _MASK
        size += 1
        here += 1
    letters[size] = 62
    return here, first, second


@helper
def slot_of(key: int, size: int) -> int:
    """Where the cache keeps a word; longer words share a slot that never matches."""
    return key % CACHE_SLOTS if size <= CACHED_BYTES else CACHE_SLOTS


@helper
def add_words(text: Bytes, vocabulary: Vocabulary, cache: Cache, room: Any, total: Floats) -> int:
    """Sum the rows of a text's words and word n-grams into `total`; how many, 0 without words."""
    letters, hashes = room
    keys, counts, sums = cache.keys, cache.counts, cache.sums
    letters[0] = 60
    added = 0
    words = 0
    here = 0
    while here < len(text):
        if is_separator(text[here]):
            here += 1
            continue
        begin = here
        here, first, second = word_end(text, here, letters)
        # Two hashes of 32 bits: nobody has met two words that agree in both.
        key = ((first << 30) ^ second) + 1
        slot = slot_of(key, here - begin)
        if keys[slot] != key or slot == CACHE_SLOTS:
            whole = letters[: here - begin + 2]
            if is_end(whole):
                break
            keys[slot] = 0  # the word that was here is overwritten
            if not is_word(whole, first, vocabulary, cache, slot):
                continue
            keys[slot] = key
        add(total, sums, slot)
        added += counts[slot]
        hashes[words] = signed(first)
        words += 1
    return added + add_end(vocabulary, (hashes, words), total) if words else 0


@helper
def signed(hashed: int) -> int:
    """A hash as fastText keeps it: as a signed number of 32 bits."""
    return hashed if hashed < 0x80000000 else hashed - 0x100000000


@helper
def is_end(word: Bytes) -> bool:
    """Whether the text says `</s>`, here in its brackets, which ends it."""
    if len(word) != len(END) + 2:
        return False
    equal = 0
    for place in range(len(END)):
        equal += word[place + 1] == END[place]
    return equal == len(END)


@helper
def add_end(vocabulary: Vocabulary, heard: Any, total: Floats) -> int:
    """Add the row of END and those of the word n-grams; how many."""
    hashes, words = heard
    added = 0
    if vocabulary.numbers[END_ENTRY] >= 0:
        add(total, vocabulary.rows, vocabulary.numbers[END_ENTRY])
        added += 1
    if vocabulary.numbers[WORD_N] < 2:
        return added
    end = _BASIS
    for byte in END:
        end = fnv(end, byte)
    hashes[words] = signed(end)
    unsigned = hashes.view(np.uint64)
    buckets = np.uint64(vocabulary.numbers[BUCKETS])
    for first in range(words + 1):
        hashed = unsigned[first]
        for after in range(first + 1, min(first + vocabulary.numbers[WORD_N], words + 1)):
            hashed = hashed * _WORD_NGRAM + unsigned[after]
            row: Any = np.int64(hashed % buckets)
            if len(vocabulary.bits) > 0:
                row = row_of(row, vocabulary.bits, vocabulary.ranks)
            if row >= 0:
                add(total, vocabulary.rows, vocabulary.numbers[WORDS] + row)
                added += 1
    return added


@helper
def means(data: Bytes, offsets: Offsets, vocabulary: Vocabulary, cache: Cache) -> Any:
    """The mean of the rows of every text, and how many rows there were."""
    texts = len(offsets) - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    room = (np.zeros(longest + 2, np.uint8), np.zeros(longest // 2 + 2, np.int64))
    hidden = np.zeros((texts, vocabulary.rows.shape[1]), np.float32)
    counts = np.zeros(texts, np.int64)
    for text in range(texts):
        content = data[offsets[text] : offsets[text + 1]]
        counts[text] = add_words(content, vocabulary, cache, room, hidden[text])
        if counts[text] > 0:
            hidden[text] /= np.float32(counts[text])
    return hidden, counts


class Reader:
    """The bytes of a model file, taken from front to back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = path.read_bytes()
        self._at = 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """Little-endian numbers, as `struct` describes them."""
        size = struct.calcsize("<" + layout)
        return struct.unpack("<" + layout, self._take(size))

    def number(self, layout: str) -> int:
        """One number."""
        return int(self.numbers(layout)[0])

    def array(self, kind: type, count: int) -> NDArray[Any]:
        """So many numbers of a NumPy type."""
        if count < 0:
            raise ModelError(f"{self._path}: not a whole fastText model (a count of {count})")
        dtype = np.dtype(kind)
        return np.frombuffer(self._take(count * dtype.itemsize), dtype)

    def string(self) -> bytes:
        """Bytes up to a NUL."""
        end = self._data.find(b"\0", self._at)
        found = self._take(max(end, self._at) + 1 - self._at)
        return found[:-1]

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise ModelError(f"{self._path}: not a whole fastText model; it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]


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
    """A model's dictionary."""

    names: list[bytes]
    counts: list[int]
    words: int
    pruned: NDArray[np.int32]  # pairs of bucket and row
    is_pruned: bool


@dataclass(frozen=True)
class FastText:
    """A supervised fastText model that can be asked."""

    labels: tuple[str, ...]
    vocabulary: Vocabulary
    cache: Cache
    output: Floats
    loss: int
    tree: tuple[tuple[int, int], ...]  # of HIERARCHICAL: the children of inner nodes, root last

    @classmethod
    def load(cls, path: Path) -> "FastText":
        """Read a `.bin` or `.ftz` file."""
        reader = Reader(path)
        magic, version = reader.numbers("ii")
        if magic != MAGIC or version not in VERSIONS:
            raise ModelError(f"{path}: not a fastText model (of version 11 or 12)")
        settings = Settings(*reader.numbers("12id"))
        entries = read_entries(reader)
        if not len(entries.names) > entries.words:
            raise ModelError(f"{path}: the model has no labels; train it with `supervised`")
        # Before version 12, supervised models had no n-grams of letters whatever they say.
        if version == 11 and settings.kind == 3:
            settings = settings._replace(max_n=0)
        is_quantised = bool(reader.number("?"))
        rows = read_quantised(reader) if is_quantised else read_dense(reader)
        output = (
            read_quantised(reader) if reader.number("?") and is_quantised else read_dense(reader)
        )
        vocabulary = indexed(entries, settings, rows)
        check_sizes(path, vocabulary, output, len(entries.names) - entries.words)
        counts = entries.counts[entries.words :]
        return cls(
            tuple(
                name.removeprefix(LABEL).decode("utf-8", "replace")
                for name in entries.names[entries.words :]
            ),
            vocabulary,
            new_cache(rows.shape[1]),
            output,
            settings.loss,
            huffman(counts) if settings.loss == HIERARCHICAL else (),
        )

    def probabilities(self, texts: pa.Array) -> Floats:
        """One row per text, one column per label; NaN for a text without words."""
        if len(texts) == 0:
            return np.zeros((0, len(self.labels)), np.float32)
        data, offsets = view(texts)
        hidden, counts = means(data, offsets, self.vocabulary, self.cache)
        scores = hidden @ self.output.T
        result = self._normalised(scores)
        result[counts == 0] = np.nan
        return result

    def _normalised(self, scores: Floats) -> Floats:
        if self.loss == SOFTMAX:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares: Floats = powers / powers.sum(axis=1, keepdims=True)
            return shares
        if self.loss != HIERARCHICAL:
            # The library reads these from a table of 512 steps between -8 and 8.
            steps = np.floor((np.clip(scores, -8, 8) + 8) * 32) / 32 - 8
            rough: Floats = np.float32(1) / (np.float32(1) + np.exp(-steps))
            return rough
        # Beyond 80 nothing changes but that the power overflows.
        powers = np.exp(-np.clip(scores, -80, 80))
        return self._leaves(np.float32(1) / (np.float32(1) + powers))

    def _leaves(self, right: Floats) -> Floats:
        """The product of the decisions on the way to each label, as fastText adds their logs."""
        labels = len(self.labels)
        scores = np.zeros((len(right), labels + len(self.tree)), np.float32)
        for node in range(len(self.tree) - 1, -1, -1):
            left_child, right_child = self.tree[node]
            before = scores[:, labels + node]
            # The library adds 1e-5 before every logarithm.
            scores[:, left_child] = before + np.log(1 - right[:, node] + np.float32(1e-5))
            scores[:, right_child] = before + np.log(right[:, node] + np.float32(1e-5))
        leaves: Floats = np.exp(scores[:, :labels])
        return leaves


def read_entries(reader: Reader) -> Entries:
    """The dictionary: words, then labels."""
    size, words, _, _, pruned = reader.numbers("3i2q")
    names, counts = [], []
    for _ in range(size):
        names.append(reader.string())
        count, _ = reader.numbers("qb")
        counts.append(count)
    pairs = reader.array(np.int32, 2 * max(pruned, 0)).reshape(-1, 2)
    return Entries(names, counts, words, pairs, pruned >= 0)


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
        raise ModelError("not a whole fastText model; its codebook does not fit")
    codes = codes.reshape(rows, parts)
    matrix = np.empty((rows, columns), np.float32)
    for part in range(parts):
        start = part * width
        size = last_width if part == parts - 1 else width
        block = book[part * CENTROIDS * width :][: CENTROIDS * size].reshape(CENTROIDS, size)
        matrix[:, start : start + size] = block[codes[:, part]]
    return matrix


def indexed(entries: Entries, settings: Settings, rows: Floats) -> Vocabulary:
    """The dictionary as kernels read it."""
    starts = np.zeros(len(entries.names) + 1, np.int64)
    np.cumsum([len(name) for name in entries.names], out=starts[1:])
    slots = np.full(2 * len(entries.names) + 1, -1, np.int64)
    for entry, name in enumerate(entries.names):
        hashed = _BASIS
        for byte in name:
            hashed = ((hashed ^ (byte if byte < 128 else byte | _SIGN)) * _PRIME) & _MASK
        slot = hashed % len(slots)
        while slots[slot] >= 0:
            slot = (slot + 1) % len(slots)
        slots[slot] = entry
    end = entries.names.index(END) if END in entries.names[: entries.words] else -1
    numbers = (settings.min_n, settings.max_n, max(settings.buckets, 1), settings.word_n, end)
    return Vocabulary(
        np.frombuffer(b"".join(entries.names), np.uint8).copy(),
        starts,
        slots,
        *unpruned(entries, settings.buckets, rows),
        np.array([entries.words, *numbers], np.int64),
    )


def unpruned(entries: Entries, buckets: int, rows: Floats) -> tuple[Bits, Ranks, Floats]:
    """Which buckets have a row, how many before each 32, and the rows in the order of buckets."""
    if not entries.is_pruned:
        return np.empty(0, np.uint32), np.empty(0, np.int32), rows.copy()
    order = entries.pruned[np.argsort(entries.pruned[:, 0])]
    places = np.zeros(-(-max(buckets, 1) // 32) * 32, np.uint8)
    places[order[:, 0]] = 1
    bits = np.packbits(places, bitorder="little").view("<u4").astype(np.uint32)
    ranks = np.zeros(len(bits), np.int32)
    np.cumsum(places.reshape(-1, 32).sum(axis=1, dtype=np.int32)[:-1], out=ranks[1:])
    return bits, ranks, np.concatenate([rows[: entries.words], rows[entries.words + order[:, 1]]])


def check_sizes(path: Path, vocabulary: Vocabulary, output: Floats, labels: int) -> None:
    """Refuse a model whose parts do not fit: kernels do not check."""
    words, _, longest, buckets, word_n, _ = vocabulary.numbers.tolist()
    needed = words
    if (longest > 0 or word_n > 1) and len(vocabulary.bits) == 0:
        needed += buckets
    fits = len(vocabulary.rows) >= needed and vocabulary.rows.shape[1] == output.shape[1]
    if not fits or len(output) < labels:
        raise ModelError(f"{path}: not a whole fastText model; its parts do not fit together")


def new_cache(dim: int) -> Cache:
    """An empty cache: 10 MB at 16 dimensions."""
    return Cache(
        np.zeros(CACHE_SLOTS + 1, np.int64),
        np.zeros(CACHE_SLOTS + 1, np.int64),
        np.zeros((CACHE_SLOTS + 1, dim), np.float32),
    )


def huffman(counts: list[int]) -> tuple[tuple[int, int], ...]:
    """The children of every inner node; labels come first, sorted by falling count."""
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
    return tuple(children)
