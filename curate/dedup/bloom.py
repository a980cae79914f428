"""Lines and documents whose n-grams were seen before, told by a Bloom filter in fixed memory.

Dialect: bff of DCLM (arXiv:2406.11794, dedup/bff) and of Dolma. A paragraph there is what newlines
part, a line here. It goes if at least `threshold` of its n-grams are in the filter; if not, they
are put in. bff asks for more than the threshold except in its newer mode "both", and cuts at all
word boundaries of Unicode, so that signs are words as well.

An n-gram sets `hashes` bits of a filter of `bits`. What was never put in is found all the same with
the probability `share of bits that are set ** hashes`. With n n-grams in it that is at most

    p = (1 - e ** (-hashes n / bits)) ** hashes,

so there are `bits = hashes n / -ln(1 - p ** (1 / hashes))`, by the number of hashes for which they
are fewest, near log2(1 / p): 9.6 bits an n-gram and 7 hashes for p = .01.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Mask, Numbers, Offsets, View, frozen, view
from curate.dedup.columns import fixed_width
from curate.dedup.repeats import Taken, Units, taken_out
from curate.dedup.segments import UNITS, Rules, segments
from curate.errors import RecipeError
from curate.hashing import hash_bytes, mix
from curate.index import WordPlaces
from curate.kernel import borrowing, helper
from curate.schema import BOUND, CUT_BY, CUTS, DROPPED_BY, ID, TEXT, VALUE, Batch
from curate.survey import Means
from curate.unicode_words import word_places
from curate.utf8 import may_be_space, skip_space, space_size

REASON = "bloom.seen"
NOTHING_LEFT = "bloom.nothing_left"
CUT_COUNT = "bloom_cut"
SEEN = "bloom_seen"
RATE = "bloom_false_positives"
NGRAMS = "ngrams"  # in a survey

_1, _6, _63 = np.uint64(1), np.uint64(6), np.uint64(63)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_LN2 = math.log(2)
_MOST_HASHES = 64
_ROWS = 1024  # documents in memory at a time

_DECIDED = pa.schema(
    [
        (DROPPED_BY, pa.string()),
        (VALUE, pa.float64()),
        (BOUND, pa.float64()),
        (CUTS, pa.list_(pa.int32())),
        (CUT_BY, pa.string()),
        (CUT_COUNT, pa.int32()),
        (SEEN, pa.float64()),
        (RATE, pa.float64()),
    ]
)


class Filter(NamedTuple):
    """A Bloom filter: bit b is bit b & 63 of words[b >> 6]."""

    words: Hashes
    hashes: int
    filled: NDArray[np.int64]  # one number: how many bits are set


class Shape(NamedTuple):
    """How large a filter is."""

    bits: int
    hashes: int

    def rate(self, ngrams: int) -> float:
        """The probability of a false positive with so many n-grams in it."""
        return float((1 - math.exp(-self.hashes * ngrams / self.bits)) ** self.hashes)


class Shingling(NamedTuple):
    """What an n-gram is, and what is done with a document, as the kernel takes it."""

    ngram: int
    min_ngram: int
    threshold: float
    lines: bool  # may go
    documents: bool  # may go
    power: np.uint64  # of _BASE, which takes a word out of the polynomial


def shape_for(ngrams: int, rate: float) -> Shape:
    """The smallest filter with at most this rate of false positives."""
    ngrams, near = max(ngrams, 1), -math.log2(rate)
    shapes = []
    for hashes in {max(1, math.floor(near)), max(1, math.ceil(near))}:
        bits = hashes * ngrams / -math.log1p(-(rate ** (1 / hashes)))
        shapes.append(Shape(64 * math.ceil(bits / 64), hashes))
    return min(shapes)


def shape_of(size_bytes: int, ngrams: int) -> Shape:
    """The filter of this size with the fewest false positives."""
    bits = 64 * (size_bytes // 8)
    return Shape(bits, min(_MOST_HASHES, max(1, round(bits / max(ngrams, 1) * _LN2))))


def empty_filter(shape: Shape) -> Filter:
    """A filter with nothing in it."""
    words = np.zeros(shape.bits // 64, np.uint64)
    return Filter(words, shape.hashes, np.zeros(1, np.int64))


def false_positive_rate(filter: Filter) -> float:
    """How probably an n-gram is found that was never put in, as full as the filter is."""
    share: float = filter.filled[0] / (64 * len(filter.words))
    return share**filter.hashes


@borrowing
def contains(filter: Filter, ngram: np.uint64) -> bool:
    """Whether all bits of an n-gram are set."""
    words = filter.words
    # Modulo the number of bits: by `hash & size` some filters reached 2 of their bits.
    size = np.uint64(len(words)) << _6
    step, at = mix(np.uint64(~ngram)) | _1, ngram
    for _ in range(filter.hashes):
        bit = at % size
        if (words[bit >> _6] >> (bit & _63)) & _1 == 0:
            return False
        at = np.uint64(at + step)
    return True


@borrowing
def insert(filter: Filter, ngram: np.uint64) -> None:
    """Set all bits of an n-gram."""
    words = filter.words
    size = np.uint64(len(words)) << _6
    step, at = mix(np.uint64(~ngram)) | _1, ngram
    for _ in range(filter.hashes):
        bit = at % size
        word = words[bit >> _6]
        filter.filled[0] += (word >> (bit & _63)) & _1 == 0
        words[bit >> _6] = word | (_1 << (bit & _63))
        at = np.uint64(at + step)


@helper
def _space_words(texts: View, places: tuple[Offsets, Offsets], offsets: Offsets) -> None:
    count = 0
    for row in range(len(offsets) - 1):
        text = texts.data[texts.offsets[row] : texts.offsets[row + 1]]
        at = skip_space(text, 0, len(text))
        while at < len(text):
            places[0][count] = at
            while at < len(text) and not (
                may_be_space(text[at]) and space_size(text, at, len(text)) > 0
            ):
                at += 1
            places[1][count] = at
            count += 1
            at = skip_space(text, at, len(text))
        offsets[row + 1] = count


def space_words(texts: View) -> WordPlaces:
    """Where the words of texts are that white space parts."""
    most = (int(texts.offsets[-1]) - int(texts.offsets[0])) // 2 + len(texts.offsets)
    places = np.empty(most, np.int32), np.empty(most, np.int32)
    offsets = np.zeros(len(texts.offsets), np.int32)
    _space_words(texts, places, offsets)
    return WordPlaces(places[0][: offsets[-1]], places[1][: offsets[-1]], offsets)


@borrowing
def _gram_count(words: int, shingling: Shingling) -> int:
    """How many n-grams so many words have: all of them are one if they are few, none if fewer."""
    if words >= shingling.ngram:
        return words - shingling.ngram + 1
    return int(words >= shingling.min_ngram)


@borrowing
def _last_word(words: WordPlaces, word: int, row: int, end: int) -> int:
    """The first word of a document from this one on that begins at a place or behind it."""
    while word < words.offsets[row + 1] and words.starts[word] < end:
        word += 1
    return word


@helper
def count_grams(units: Units, words: WordPlaces, shingling: Shingling, counts: Offsets) -> None:
    """How many n-grams each document has."""
    for row in range(len(counts)):
        word = words.offsets[row]
        for unit in range(units.offsets[row], units.offsets[row + 1]):
            last = _last_word(words, word, row, units.ends[unit])
            counts[row] += _gram_count(last - word, shingling)
            word = last


class Space(NamedTuple):
    """Scratch space for one document."""

    words: Hashes
    grams: Hashes
    seen: Bytes  # of each n-gram, whether it was in the filter
    ends: Offsets  # of each unit's n-grams


class Found(NamedTuple):
    """What was found of each document."""

    grams: Offsets
    seen: Offsets  # of them, before the document came
    drops: Bytes
    rates: Numbers  # of false positives, when the document came


class Sieve(NamedTuple):
    """What documents are looked for in, and how."""

    filter: Filter
    shingling: Shingling
    space: Space


class Pieces(NamedTuple):
    """Documents, the units of which n-grams are made, and their words."""

    texts: View
    units: Units
    words: WordPlaces


@borrowing
def _write_grams(
    text: Bytes, words: WordPlaces, place: tuple[int, int], sieve: Sieve, at: int
) -> int:
    """Write the hashes of the n-grams from one word to another; return where they end."""
    first, count = place[0], place[1] - place[0]
    hashes, shingling = sieve.space.words, sieve.shingling
    size = min(shingling.ngram, count) if count >= shingling.min_ngram else count + 1
    rolled = np.uint64(0)  # a polynomial of the hashes of the last `size` words
    for word in range(count):
        hashed = hash_bytes(text, words.starts[first + word], words.ends[first + word])
        hashes[word] = hashed
        rolled = np.uint64(rolled * _BASE + hashed)
        if word >= size:
            rolled = np.uint64(rolled - hashes[word - size] * shingling.power)
        if word >= size - 1:
            sieve.space.grams[at] = mix(rolled)
            at += 1
    return at


@borrowing
def _write_all_grams(pieces: Pieces, row: int, sieve: Sieve) -> int:
    """Write the hashes of a document's n-grams, none across two units; return how many."""
    texts, units, words = pieces
    text = texts.data[texts.offsets[row] : texts.offsets[row + 1]]
    word, count, first = words.offsets[row], 0, units.offsets[row]
    for unit in range(first, units.offsets[row + 1]):
        last = _last_word(words, word, row, units.ends[unit])
        count = _write_grams(text, words, (word, last), sieve, count)
        sieve.space.ends[unit - first] = count
        word = last
    return count


@borrowing
def _look(filter: Filter, space: Space, first: int, last: int) -> int:
    """How many n-grams are in the filter; what was there is there still."""
    count = 0
    for place in range(first, last):
        if space.seen[place] == 0:
            space.seen[place] = contains(filter, space.grams[place])
        count += int(space.seen[place])
    return count


@borrowing
def _put_in(filter: Filter, space: Space, first: int, last: int) -> None:
    """Put in the n-grams that are not in the filter."""
    for place in range(first, last):
        if space.seen[place] == 0:
            insert(filter, space.grams[place])


@borrowing
def _sift_units(units: Units, row: int, sieve: Sieve, marks: Bytes) -> None:
    """Mark the units of which enough n-grams were seen; put those of the others in."""
    filter, shingling, space = sieve
    begin = 0
    for unit in range(units.offsets[row], units.offsets[row + 1]):
        end = space.ends[unit - units.offsets[row]]
        # All are looked for before one is put in: a unit is no copy of itself.
        seen = _look(filter, space, begin, end) if shingling.lines else 0
        if shingling.lines and end > begin and seen / (end - begin) >= shingling.threshold:
            marks[unit] = 1
        else:
            _put_in(filter, space, begin, end)
        begin = end


@helper
def sift(pieces: Pieces, gone: Mask, sieve: Sieve, marks: Bytes, found: Found) -> None:
    """Look for the n-grams of one document after another, and put in those of what stays."""
    filter, shingling, space = sieve
    bits = 64.0 * len(filter.words)
    for row in range(len(gone)):
        found.rates[row] = (filter.filled[0] / bits) ** filter.hashes
        if gone[row]:
            continue
        count = _write_all_grams(pieces, row, sieve)
        # Before any of its units is put in: a document that repeats itself is no copy.
        space.seen[:count] = 0
        seen = _look(filter, space, 0, count)
        found.grams[row], found.seen[row] = count, seen
        if shingling.documents and count > 0 and seen / count >= shingling.threshold:
            found.drops[row] = 1
        else:
            _sift_units(pieces.units, row, sieve, marks)


@dataclass(frozen=True)
class Bloom:
    """Cuts out lines, or drops documents, that share n-grams of words with what came before.

    `remove`: "paragraph" cuts out lines, "document" drops documents, "both" drops a document of
    whose lines' n-grams together enough were seen, and else cuts out lines. A line, or with
    "document" a text, goes if at least `threshold` of its n-grams of `ngram` words were seen.
    If it has fewer words, all of them are one n-gram, and with fewer than `min_ngram` it stays.

    The filter takes `size_bytes`, or as many as `false_positives` needs for so many `ngrams`: as
    many as the documents have, unless said otherwise. It is one for the whole corpus, and what
    comes first stays: shards in the order of the smallest id in each, documents as they are in a
    shard. Other shards of the same documents may thus keep other copies.

    Columns: `bloom_cut`, how many lines went; `bloom_seen`, the share of n-grams that were seen;
    `bloom_false_positives`, how probable one was when the document came.
    """

    remove: Literal["paragraph", "document", "both"] = "paragraph"
    ngram: int = 13
    min_ngram: int = 13
    threshold: float = 0.8
    words: Literal["unicode", "space"] = "unicode"
    ngrams: int | None = None
    false_positives: float = 0.01
    size_bytes: int | None = None

    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        if not 1 <= self.min_ngram <= self.ngram:
            raise RecipeError(f"min_ngram: {self.min_ngram}; write 1 to ngram, {self.ngram}")
        if not 0 < self.threshold <= 1:
            raise RecipeError(f"threshold: {self.threshold:g}; write more than 0 and at most 1")
        if not 0 < self.false_positives < 1:
            raise RecipeError(f"false_positives: {self.false_positives:g}; write a share, like .01")
        if self.size_bytes is not None and self.size_bytes < 8:
            raise RecipeError(f"size_bytes: {self.size_bytes}; write 8 or more")
        if self.ngrams is not None and self.ngrams < 1:
            raise RecipeError(f"ngrams: {self.ngrams}; write 1 or more, or null to count them")

    def survey(self, batch: Batch) -> pa.Table:
        """How many n-grams each document has."""
        pieces = self._pieces(view(batch.column(TEXT)))
        counts = np.zeros(batch.num_rows, np.int32)
        count_grams(pieces.units, pieces.words, self._shingling(), counts)
        return pa.table({ID: batch.column(ID), NGRAMS: counts})

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
        """What goes, as the documents come one after another."""
        filter = self._filter(surveys, gone, means.memory)
        for shard in _in_order(surveys):
            with pq.ParquetWriter(means.folder / f"bloom-{shard}.parquet", _DECIDED) as writer:
                if len(gone[shard]):
                    for decided in self._sifted(means.texts[shard], gone[shard], filter):
                        writer.write_batch(decided)
        for shard in range(len(surveys)):
            yield pq.read_table(means.folder / f"bloom-{shard}.parquet", use_threads=False)

    def shape(self, ngrams: int) -> Shape:
        """The size of the filter, for a corpus of so many n-grams where nothing is said of them."""
        ngrams = self.ngrams or ngrams
        if self.size_bytes is not None:
            return shape_of(self.size_bytes, ngrams)
        return shape_for(ngrams, self.false_positives)

    def _filter(self, surveys: list[Path], gone: list[Mask], memory: int) -> Filter:
        ngrams = 0
        for survey, mask in zip(surveys, gone, strict=True):
            counts = pq.read_table(survey, columns=[NGRAMS]).column(0).to_numpy()
            ngrams += int(counts[~mask].sum(dtype=np.int64))
        shape = self.shape(ngrams)
        if shape.bits // 8 > memory:
            raise RecipeError(
                f"bloom.Bloom: a filter for {self.ngrams or ngrams:,} n-grams takes "
                f"{shape.bits // 8:,} bytes, and a decision has {memory:,}; "
                "write more false_positives or a smaller size_bytes, or allow more memory"
            )
        return empty_filter(shape)

    def _shingling(self) -> Shingling:
        lines, documents = self.remove != "document", self.remove != "paragraph"
        power = np.uint64(pow(int(_BASE), self.ngram, 2**64))
        return Shingling(self.ngram, self.min_ngram, self.threshold, lines, documents, power)

    def _pieces(self, texts: View) -> Pieces:
        rows = len(texts.offsets) - 1
        sizes = np.diff(texts.offsets)
        if self.remove == "document":
            whole = np.zeros(rows, np.int32), sizes, np.arange(rows + 1, dtype=np.int32)
            starts, ends, offsets = whole
        else:
            rules = Rules(UNITS["lines"], 1, 1, False)
            cut = segments(texts, np.zeros(rows, np.uint64), rules, "none")
            starts, ends, offsets = cut.starts, cut.ends, cut.offsets
        words = word_places(texts) if self.words == "unicode" else space_words(texts)
        nothing = frozen(np.empty(0, np.int32))
        starts, ends, offsets, sizes = map(frozen, (starts, ends, offsets, sizes))
        return Pieces(texts, Units(0, starts, ends, nothing, offsets, sizes), words)

    def _sifted(self, path: Path, gone: Mask, filter: Filter) -> Iterator[pa.RecordBatch]:
        first = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS, columns=[TEXT], use_threads=False):
                own = frozen(gone[first : first + batch.num_rows])
                yield self._decided(self._pieces(view(batch.column(0))), own, filter)
                first += batch.num_rows

    def _decided(self, pieces: Pieces, gone: Mask, filter: Filter) -> pa.RecordBatch:
        rows, units = len(gone), pieces.units
        longest = int(np.diff(pieces.words.offsets).max(initial=0))
        lines = int(np.diff(units.offsets).max(initial=0))
        space = Space(
            np.empty(longest, np.uint64),
            np.empty(longest, np.uint64),
            np.empty(longest, np.uint8),
            np.empty(lines, np.int32),
        )
        found = Found(
            np.zeros(rows, np.int32),
            np.zeros(rows, np.int32),
            np.zeros(rows, np.uint8),
            np.zeros(rows, np.float64),
        )
        marks = np.zeros(len(units.starts), np.uint8)
        sift(pieces, gone, Sieve(filter, self._shingling(), space), marks, found)
        return self._table(found, taken_out(units, marks, 1), gone)

    def _table(self, found: Found, taken: Taken, gone: Mask) -> pa.RecordBatch:
        seen, empty = found.drops == 1, (taken.units > 0) & (taken.words == 0)
        nothing = pa.scalar(None, pa.string())
        with np.errstate(invalid="ignore"):
            share = found.seen / found.grams
        kept = pa.array(~(seen | empty))
        return pa.RecordBatch.from_arrays(
            [
                pc.if_else(kept, nothing, pc.if_else(pa.array(seen), REASON, NOTHING_LEFT)),
                pa.array(np.where(seen, share, 0.0), mask=~(seen | empty)),
                pa.array(np.where(seen, self.threshold, 1.0), mask=~(seen | empty)),
                pa.ListArray.from_arrays(pa.array(taken.offsets), pa.array(taken.cuts)),
                pc.if_else(pa.array((taken.units > 0) & ~empty), REASON, nothing),
                pa.array(taken.units, mask=gone),
                pa.array(share, mask=gone | (found.grams == 0)),
                pa.array(found.rates, mask=gone),
            ],
            schema=_DECIDED,
        )


def _in_order(surveys: list[Path]) -> list[int]:
    """The shards in the order of the smallest id in each; those without documents at the end."""
    smallest = []
    for survey in surveys:
        ids = fixed_width(
            pq.read_table(survey, columns=[ID]).column(0).combine_chunks(), ">u8", 2
        ).astype(np.uint64)
        first = np.lexsort((ids[:, 1], ids[:, 0]))[:1]
        smallest.append((len(first) == 0, *ids[first].ravel().tolist()))
    return sorted(range(len(surveys)), key=smallest.__getitem__)
