"""n-grams of words that are joined with nothing between, as datatrove looks for those said twice.

To it "ab c" is "a bc". So n-grams are compared as stretches of the words written side by side.
"""

from typing import Any, NamedTuple

import numpy as np

from curate.column import Bytes, Mask, Offsets, frozen
from curate.hashing import clear, first_seen, hash_bytes
from curate.index import LONGEST_REPEAT
from curate.kernel import Grams, Index, borrowing

FEWEST = 5  # words of the n-grams that datatrove joins
# n-grams that are equal begin with the same bytes. Of the words of real pages 23 in a hundred begin
# 12 bytes that are there elsewhere too, 8 begin 24 and 5 begin 40.
_LEVELS = np.array([12, 24, 40])


class _Joined(NamedTuple):
    """The words of one text side by side, and which may begin an n-gram that is said twice."""

    text: Bytes
    starts: Offsets  # of words in it; one more than there are words
    some: Offsets  # the words that may
    levels: Bytes  # of each word, how many levels of its first bytes are there elsewhere


@borrowing
def _write(text: Bytes, index: Index, row: int, joined: _Joined) -> int:
    """Write the words of a text side by side, and where each begins; returns how many there are."""
    starts, ends = index.words.starts, index.words.ends
    out, places = joined.text, joined.starts
    first, last = index.word_offsets[row], index.word_offsets[row + 1]
    at = 0
    for word in range(first, last):
        places[word - first] = at
        for place in range(starts[word], ends[word]):
            out[at] = text[place]
            at += 1
    places[last - first] = at
    return int(last - first)


@borrowing
def _repeated(joined: _Joined, count: int, words: int, level: int, scratch: Index) -> int:
    """Raise the words that begin bytes of a level as others do, and keep them; how many are kept.

    On the lowest level those are kept, too, whose n-grams may be shorter than it is.
    """
    out, starts, some, levels = joined
    keys, slots = scratch.keys, scratch.slots
    end, size = starts[words], _LEVELS[level]
    mask = clear(slots, count)
    for entry in range(count):
        word = some[entry]
        start = starts[word]
        keys[word] = hash_bytes(out, start, min(start + size, end))
        first = first_seen(keys, word, slots, mask)
        if first != word:
            levels[first] = level + 1
            levels[word] = level + 1
    kept = 0
    for entry in range(count):
        word = some[entry]
        short = word + FEWEST <= words and starts[word + FEWEST] - starts[word] < size
        if levels[word] > level or (level == 0 and short):
            some[kept] = word
            kept += 1
    return kept


@borrowing
def _candidates(joined: _Joined, words: int, scratch: Index) -> int:
    """Find the words that may begin an n-gram said twice, and their levels; how many they are."""
    for word in range(words):
        joined.some[word] = word
        joined.levels[word] = 0
    count = _repeated(joined, words, words, 0, scratch)
    # The words that are raised further are gathered behind those that are kept.
    higher = _Joined(joined.text, joined.starts, joined.some[words:], joined.levels)
    rest = 0
    for entry in range(count):
        if joined.levels[joined.some[entry]] > 0:
            higher.some[rest] = joined.some[entry]
            rest += 1
    for level in range(1, len(_LEVELS)):
        rest = _repeated(higher, rest, words, level, scratch)
    return int(count)


@borrowing
def _enter(joined: _Joined, count: int, words: int, size: int, into: tuple[Index, Grams]) -> int:
    """Write the n-grams of a size that are said twice behind those of smaller ones; their end."""
    out, starts, some, levels = joined
    scratch, grams = into
    slots, firsts, keys = scratch.slots, scratch.counts, scratch.keys
    mask = clear(slots, count)
    for entry in range(count):
        word = some[entry]
        firsts[word] = word
        if word + size > words:
            continue
        length = starts[word + size] - starts[word]
        if levels[word] >= (length >= _LEVELS[1]) + (length >= _LEVELS[2]) + (length >= _LEVELS[0]):
            keys[word] = hash_bytes(out, starts[word], starts[word + size])
            first = first_seen(keys, word, slots, mask)
            firsts[word] = first
            if first != word:
                firsts[first] = -1  # not said once
    end = grams.ends[size - 1]
    for entry in range(count):
        word = some[entry]
        if firsts[word] != word:
            grams.places[end] = word
            grams.firsts[end] = word if firsts[word] < 0 else firsts[word]
            end += 1
    return int(end)


@borrowing
def _copy(old: Grams, grams: Grams, sizes: int, last: int) -> int:
    """Copy the n-grams of a text of fewer words than this, and return where they end."""
    grams.ends[0] = last
    for size in range(1, sizes):
        for entry in range(old.ends[size - 1], old.ends[size]):
            grams.places[last] = old.places[entry]
            grams.firsts[last] = old.firsts[entry]
            last += 1
        grams.ends[size] = last
    return last


@borrowing
def _join(index: Index, chosen: Mask, grams: Grams, joined: _Joined) -> None:
    data, offsets = index.text
    step = LONGEST_REPEAT + 1
    last: Any = np.int64(0)  # one type, so that its callees are compiled once
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        old = index.grams.ends[step * row : step * row + step]
        ends = grams.ends[step * row : step * row + step]
        own = Grams(grams.places, grams.firsts, ends)
        sizes = FEWEST if chosen[row] else step
        last = _copy(Grams(index.grams.places, index.grams.firsts, old), own, sizes, last)
        if not chosen[row]:
            continue
        words = _write(text, index, row, joined)
        count = _candidates(joined, words, index)
        for size in range(FEWEST, step):
            if count > 0:
                last = _enter(joined, count, words, size, (index, own))
            ends[size] = last


def with_joined_grams(made: Index, chosen: Mask | None = None) -> Index:
    """The same index, with n-grams of five words and more that are equal where they are joined.

    Of texts that are not chosen they are left as they are.
    """
    if chosen is None:
        chosen = np.ones(len(made.word_offsets) - 1, np.bool_)
    words = len(made.repeats)
    longest = int(np.max(np.diff(made.word_offsets), initial=0))
    grams = Grams(
        np.empty(9 * words, np.int32),
        np.empty(9 * words, np.int32),
        np.zeros(len(made.grams.ends), np.int32),
    )
    joined = _Joined(
        text=np.empty(int(np.max(np.diff(made.text.offsets), initial=0)), np.uint8),
        starts=np.empty(longest + 1, np.int32),
        some=np.empty(2 * longest, np.int32),
        levels=np.empty(longest, np.uint8),
    )
    _join(made, chosen, grams, joined)
    return made._replace(grams=Grams(*(frozen(array) for array in grams)))
