"""The set of a document's n-grams itself: sorted 64-bit hashes, for what sketches estimate."""

import numpy as np

from curate.column import Hashes, Positions, View
from curate.dedup.characters import Characters, characters
from curate.dedup.distinct import sort_distinct
from curate.dedup.shingles import Ngram, Unit, ngram_of, shingled
from curate.kernel import helper


def shingle_sets(texts: View, ngram: int, unit: Unit = "words") -> tuple[Hashes, Positions]:
    """The distinct n-grams of every text: row i has hashes[offsets[i]:offsets[i + 1]], sorted.

    The hashes are even over all 64-bit numbers, so that those below 2**64 / s are one of s.
    """
    sets: tuple[Hashes, Positions] = _sets(texts, characters(), ngram_of(ngram, unit))
    return sets


def intersection(left: Hashes, right: Hashes) -> int:
    """How many numbers two sorted arrays of distinct numbers have in common."""
    return int(common(left, right))


@helper
def common(left: Hashes, right: Hashes) -> int:
    """The same, for kernels."""
    # Without branches, which nothing could predict: 2.6 ns a number of either.
    i, j, both = 0, 0, 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        both += a == b
        i += a <= b
        j += b <= a
    return both


@helper
def _sets(texts: View, table: Characters, ngram: Ngram) -> tuple[Hashes, Positions]:
    data, ends = texts
    longest = 0
    for row in range(len(ends) - 1):
        longest = max(longest, ends[row + 1] - ends[row])
    # A word takes a letter and a space, or three bytes where it is one character.
    most = np.int64(ends[-1]) - np.int64(ends[0])
    most = most if ngram.by_character else most // 2
    hashes, units = np.empty(most + len(ends), np.uint64), np.empty(longest + 1, np.uint64)
    offsets = np.zeros(len(ends), np.int64)
    room = np.empty(16, np.uint64)
    total = 0
    for row in range(len(ends) - 1):
        text = data[ends[row] : ends[row + 1]]
        count = shingled(text, table, ngram, units, hashes[total:])
        if len(room) < 5 * count + 3:
            room = np.empty(6 * count + 3, np.uint64)
        total += sort_distinct(hashes[total : total + count], room)
        offsets[row + 1] = total
    return hashes[:total].copy(), offsets
