"""The exact Jaccard similarity of all pairs of documents that are alike, by brute force.

Words are cut by a plain twin of curate/dedup/shingles.py that shares its table of characters and
nothing else. All pairs of at least a given similarity are found, none is estimated or sampled: two
sets of Jaccard similarity t share one of the rarest n - ceil(t n) + 1 shingles of either.
"""

import math
from collections import defaultdict
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Numbers, Positions
from curate.dedup.characters import CODE, PUNCTUATION, SOLO, SPACE, characters
from curate.kernel import helper

NGRAM = 5
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Sets(NamedTuple):
    """Sets of numbers: set i is numbers[ends[i]:ends[i + 1]], rising; the rarest number is 0."""

    numbers: NDArray[np.int32]
    ends: Positions

    def sizes(self) -> Positions:
        """How many numbers each set has."""
        return np.diff(self.ends)


class Pairs(NamedTuple):
    """Documents that are alike, left before right, and how much."""

    left: Positions
    right: Positions
    jaccard: Numbers


class Letters(dict[int, str | None]):
    """What becomes of a character before words are cut at white space."""

    def __missing__(self, code: int) -> str | None:
        table = characters()
        entry = int(table[code]) if code < len(table) else int(SOLO) | code
        if entry & int(PUNCTUATION):
            found = None
        elif entry & int(SPACE):
            found = " "
        else:
            letter = chr(entry & int(CODE))
            found = f" {letter} " if entry & int(SOLO) else letter
        self[code] = found
        return found


@cache
def letters() -> Letters:
    """One table for all texts."""
    return Letters()


def words(text: str) -> list[str]:
    """The normalised words of a text."""
    # Not by split() alone: it also cuts at characters that are no space in the kernel's table.
    return [word for word in text.translate(letters()).split(" ") if word]


def shingle_sets(texts: list[str], ngram: int = NGRAM) -> Sets:
    """The set of word n-grams of every text; texts of fewer words have an empty one."""
    vocabulary: dict[str, int] = defaultdict(lambda: len(vocabulary))
    sets, ends = [], [0]
    for text in texts:
        codes = np.array([vocabulary[word] for word in words(text)], np.uint64)
        sets.append(np.unique(_ngrams(_mixed(codes), ngram)))
        ends.append(ends[-1] + len(sets[-1]))
    hashes = np.concatenate([*sets, np.zeros(0, np.uint64)])
    _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int32)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts), dtype=np.int32)
    numbers = rank[places]
    for start, end in pairwise(ends):
        numbers[start:end].sort()
    return Sets(numbers, np.array(ends, np.int64))


def _ngrams(codes: NDArray[np.uint64], ngram: int) -> NDArray[np.uint64]:
    """A hash of every n-gram; of two among 2**28 the same by chance: once in 500 corpora."""
    count = max(len(codes) - ngram + 1, 0)
    out = np.zeros(count, np.uint64)
    for k in range(ngram):
        out = _mixed(out * _BASE + codes[k : k + count])
    return out


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finisher."""
    values = values + _BASE
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@helper
def shared(numbers: NDArray[np.int32], ends: Positions, left: int, right: int) -> int:
    """How many numbers two sets have in common."""
    i, end_i = ends[left], ends[left + 1]
    j, end_j = ends[right], ends[right + 1]
    count = 0
    while i < end_i and j < end_j:
        a, b = numbers[i], numbers[j]
        count += a == b
        i += a <= b
        j += b <= a
    return count


@helper
def jaccards(
    numbers: NDArray[np.int32], ends: Positions, left: Positions, right: Positions
) -> Numbers:
    """The Jaccard similarity of each pair; 0 for two empty sets."""
    out = np.zeros(len(left))
    for k in range(len(left)):
        a, b = left[k], right[k]
        both = shared(numbers, ends, a, b)
        either = ends[a + 1] - ends[a] + ends[b + 1] - ends[b] - both
        if either > 0:
            out[k] = both / either
    return out


@helper
def candidates(
    sets: tuple[NDArray[np.int32], Positions], order: Positions, prefixes: Positions, least: float
) -> Positions:
    """Pairs whose prefixes share a number, one behind the other: small * documents + large."""
    numbers, ends = sets
    heads = np.full(numbers.max() + 1, -1, np.int64)
    following = np.full(len(numbers), -1, np.int64)
    owner = np.empty(len(numbers), np.int32)
    seen = np.full(len(order), -1, np.int64)
    found, count = np.empty(1 << 16, np.int64), 0
    for document in order:
        smallest = least * (ends[document + 1] - ends[document])
        for place in range(ends[document], ends[document] + prefixes[document]):
            entry = heads[numbers[place]]
            while entry >= 0:
                other = np.int64(owner[entry])
                # Sets come by size: those behind this entry are smaller still.
                if ends[other + 1] - ends[other] < smallest:
                    break
                if seen[other] != document:
                    seen[other] = document
                    if count == len(found):
                        grown = np.empty(2 * count, np.int64)
                        grown[:count] = found
                        found = grown
                    found[count] = other * len(order) + document
                    count += 1
                entry = following[entry]
            following[place] = heads[numbers[place]]
            heads[numbers[place]] = place
            owner[place] = document
    return found[:count]


def similar_pairs(sets: Sets, least: float) -> Pairs:
    """All pairs of at least this Jaccard similarity, which is above 0."""
    sizes = sets.sizes()
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    nothing = np.zeros(0, np.int64)
    if not len(order):
        return Pairs(nothing, nothing, np.zeros(0))
    # Rounded down a little: least * size may come out above a whole number by its last bit.
    needed = np.ceil(least * sizes - 1e-9).astype(np.int64)
    prefixes = np.where(sizes > 0, sizes - needed + 1, 0)
    padded = np.concatenate([order, np.flatnonzero(sizes == 0)])
    packed = candidates((sets.numbers, sets.ends), padded, prefixes, least - 1e-9)
    one, other = packed // len(padded), packed % len(padded)
    left, right = np.minimum(one, other), np.maximum(one, other)
    jaccard = jaccards(sets.numbers, sets.ends, left, right)
    alike = jaccard >= least
    return Pairs(left[alike], right[alike], jaccard[alike])


def curve(jaccard: Numbers, bands: int, rows: int) -> Numbers:
    """How probable it is that two sets of this similarity share a band."""
    # By logarithms: at 450 bands of 20 rows the plain form loses all digits.
    with np.errstate(divide="ignore"):
        probable: Numbers = -np.expm1(bands * np.log1p(-(jaccard**rows)))
    return probable


def estimate_deviation(
    jaccard: Numbers, left: Positions, right: Positions, checks: int, codes: int
) -> Numbers:
    """The standard deviation of an estimate from checks of so many codes, in theory.

    Li, Owen and Zhang (NIPS 2012, theorem 2): J (1 - J) (f - k) / (k (f - 1)) for the f shingles of
    two documents (of `left` and `right` many) in the k checks that are not empty. Of the d checks
    that both have and that differ, one in `codes` looks equal; that adds d / (k**2 (codes - 1)).
    """
    union = (left + right) / (1 + jaccard)
    empty_left, empty_right, empty = (
        np.exp(size * math.log1p(-1 / checks)) for size in (left, right, union)
    )
    filled = checks * (1 - empty)
    sampled = jaccard * (1 - jaccard) * (union - filled) / (filled * np.maximum(union - 1, 1))
    differ = checks * (1 - empty_left - empty_right + empty) - jaccard * filled
    looks_equal = np.maximum(differ, 0) / (filled**2 * (codes - 1))
    deviation: Numbers = np.sqrt(np.maximum(sampled, 0) + looks_equal)
    return deviation
