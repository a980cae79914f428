"""How a fastText model is asked: the labels and probabilities of texts in Arrow's buffers.

The library takes Python strings and answers at 2 to 5 MB of text a second. A text is answered
alone, so that its numbers are the same in every batch.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from curate.column import Positions, View
from curate.errors import ModelError
from filters.fasttext_file import LABEL, Contents, Entries, Floats, Ranks, huffman, read_model
from filters.fasttext_output import best_leaves, best_of, leaves, scores_of
from filters.fasttext_words import (
    CACHED_BYTES,
    END,
    END_ENTRY,
    SLOT_NUMBERS,
    TOGETHER,
    Bits,
    Cache,
    Room,
    Vocabulary,
    add_texts,
    enter,
    find,
)

HIERARCHICAL = 1
# Of real pages in 15 languages, 130,000 slots were as good as more.
CACHE_SLOTS = 1 << 17
CACHE_BYTES = 1 << 26


@dataclass(frozen=True)
class FastText:
    """A supervised fastText model that can be asked."""

    labels: tuple[str, ...]
    vocabulary: Vocabulary
    cache: Cache
    output: Floats  # a row for each label, or for each inner node of the tree
    loss: int
    tree: Ranks  # of HIERARCHICAL: the children of inner nodes, root last

    @classmethod
    def load(cls, path: Path) -> "FastText":
        """Read a `.bin` or `.ftz` file."""
        contents = read_model(path)
        entries, output = contents.entries, contents.output
        vocabulary = indexed(contents)
        check_sizes(path, vocabulary, output, len(entries.counts) - entries.words)
        counts = entries.counts[entries.words :].tolist()
        return cls(
            labels=tuple(
                entries.name(entry).removeprefix(LABEL).decode("utf-8", "replace")
                for entry in range(entries.words, len(entries.counts))
            ),
            vocabulary=vocabulary,
            cache=new_cache(output.shape[1]),
            output=np.array(output),
            loss=contents.settings.loss,
            tree=huffman(counts if contents.settings.loss == HIERARCHICAL else []),
        )

    def probabilities(self, texts: View) -> Floats:
        """One row per text, one column per label; NaN for a text without words."""
        hidden, counts = self.hidden(texts)
        found = np.empty((len(hidden), len(self.labels)), np.float32)
        if self.loss == HIERARCHICAL:
            leaves(hidden, self.output, self.tree, found)
        else:
            scores_of(hidden, self.columns, self.loss, found)
        found[counts == 0] = np.nan
        return found

    def best(self, texts: View, count: int = 1) -> tuple[Ranks, Floats]:
        """The first labels of every text and their probabilities; -1 and NaN without words."""
        shape = (len(texts.offsets) - 1, min(count, len(self.labels)))
        labels, scores = np.full(shape, -1, np.int32), np.full(shape, np.nan, np.float32)
        if self.loss == HIERARCHICAL:
            hidden, counts = self.hidden(texts)
            best_leaves(hidden, self.output, self.tree, labels, scores)
            labels[counts == 0], scores[counts == 0] = -1, np.nan
        else:
            best_of(self.probabilities(texts), labels, scores)
        return labels, scores

    def hidden(self, texts: View) -> tuple[Floats, Positions]:
        """The mean of the rows of every text, and how many rows there were."""
        rows = len(texts.offsets) - 1
        room = Room(
            word=np.empty(int(np.diff(texts.offsets).max(initial=0)) + 2, np.uint8),
            key=np.zeros(CACHED_BYTES // 8, np.uint64),
            buckets=np.empty(TOGETHER, np.int64),
            heard=np.zeros(TOGETHER + 1, np.uint64),
            hidden=np.zeros((rows, self.output.shape[1]), np.float32),
            counts=np.zeros(rows, np.int64),
        )
        add_texts(texts, self.vocabulary, self.cache, room)
        return room.hidden, room.counts

    @cached_property
    def columns(self) -> Floats:
        """The output turned, so that all labels are scored together."""
        return np.ascontiguousarray(self.output[: len(self.labels)].T)


def indexed(contents: Contents) -> Vocabulary:
    """The dictionary as kernels read it."""
    settings, entries = contents.settings, contents.entries
    size = 16
    while size < 2 * len(entries.counts):
        size *= 2
    slots = np.zeros(size, np.uint64)
    enter(entries.letters, entries.starts, slots)
    buckets = max(settings.buckets, 1)
    vocabulary = Vocabulary(
        entries.letters,
        entries.starts,
        slots,
        *unpruned(entries, buckets, contents.rows),
        np.array([entries.words, settings.min_n, settings.max_n, buckets, settings.word_n, -1]),
    )
    end = find(np.frombuffer(b"<" + END + b">", np.uint8), vocabulary)
    vocabulary.numbers[END_ENTRY] = end if end < entries.words else -1
    return vocabulary


def unpruned(entries: Entries, buckets: int, rows: Floats) -> tuple[Bits, Ranks, Floats]:
    """Which buckets have a row, how many before each 32, and the rows in the order of buckets."""
    if not entries.is_pruned:
        return np.empty(0, np.uint32), np.empty(0, np.int32), np.array(rows)
    order = entries.pruned[np.argsort(entries.pruned[:, 0])]
    places = np.zeros(-(-buckets // 32) * 32, np.uint8)
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
    fits = fits and max(longest, word_n**2) < TOGETHER // 2 and buckets < 1 << 32
    if not fits or len(output) < labels:
        raise ModelError(f"{path}: not a whole fastText model; its parts do not fit together")


def new_cache(dim: int) -> Cache:
    """An empty cache: 16 MB at 16 dimensions, 64 MB where there are many."""
    slots = CACHE_SLOTS
    while slots * dim * 4 > CACHE_BYTES:
        slots //= 2
    return Cache(
        np.zeros((slots + 1, SLOT_NUMBERS), np.uint64), np.zeros((slots + 1, dim), np.float32)
    )
