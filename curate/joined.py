"""n-grams of words that are joined with nothing between, as datatrove looks for those said twice.

To it "ab c" is "a bc". So n-grams are compared as stretches of the words written side by side.
"""

import numpy as np

from curate.column import Bytes, Hashes, Offsets, frozen
from curate.hashing import clear, first_seen, hash_bytes
from curate.index import LONGEST_REPEAT
from curate.kernel import Grams, Index, borrowing

FEWEST = 5  # words of the n-grams that datatrove joins
_PREFIX = 16  # bytes; one place in ten of a real page begins as many that it has elsewhere too


@borrowing
def _write(text: Bytes, index: Index, words: tuple[int, int], joined: tuple[Bytes, Offsets]) -> int:
    """Write words side by side, and where each begins; returns where the last one ends."""
    out, starts = joined
    at = 0
    for word in range(words[0], words[1]):
        starts[word - words[0]] = at
        for place in range(index.words.starts[word], index.words.ends[word]):
            out[at] = text[place]
            at += 1
    starts[words[1] - words[0]] = at
    return at


@borrowing
def _candidates(joined: tuple[Bytes, Offsets], count: int, keys: Hashes, slots: Offsets) -> int:
    """Mark in the last bytes of `joined` the words that may begin n-grams said twice; how many.

    Two such begin with the same bytes, unless they are shorter than what is looked at.
    """
    out, starts = joined
    end = starts[count]
    marks = out[len(out) - count :]
    mask = clear(slots, count)
    for word in range(count):
        start = starts[word]
        keys[word] = hash_bytes(out, start, min(start + _PREFIX, end))
        short = word + FEWEST <= count and starts[word + FEWEST] - start < _PREFIX
        marks[word] = short
        first = first_seen(keys, word, slots, mask)
        if first != word:
            marks[first] = 1
            marks[word] = 1
    found = 0
    for word in range(count):
        found += marks[word]
    return found


@borrowing
def _enter(
    joined: tuple[Bytes, Offsets], size: int, room: int, grams: Grams, scratch: Index
) -> int:
    """Write the n-grams of a size that are said twice behind those of smaller ones; their end."""
    out, starts = joined
    count, entry = len(starts) - 1, grams.ends[size - 1]
    marks = out[len(out) - count :]
    slots, firsts, keys = scratch.slots, scratch.counts, scratch.keys
    mask = clear(slots, room)
    for word in range(count - size + 1):
        if marks[word]:
            keys[word] = hash_bytes(out, starts[word], starts[word + size])
            first = first_seen(keys, word, slots, mask)
            # The first is marked as being said twice by a number that is none of a word.
            firsts[word] = first
            if first != word:
                firsts[first] = -1
    for word in range(count - size + 1):
        if marks[word] and firsts[word] != word:
            grams.places[entry] = word
            grams.firsts[entry] = word if firsts[word] < 0 else firsts[word]
            entry += 1
    return int(entry)


@borrowing
def _grams(index: Index, grams: Grams, out: Bytes, starts: Offsets) -> None:
    data, offsets = index.text
    old, last = index.grams, 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        words = index.word_offsets[row], index.word_offsets[row + 1]
        count = words[1] - words[0]
        ends = grams.ends[11 * row : 11 * row + 11]
        old_ends = old.ends[11 * row : 11 * row + 11]
        ends[0] = last
        for size in range(1, FEWEST):
            for entry in range(old_ends[size - 1], old_ends[size]):
                grams.places[last] = old.places[entry]
                grams.firsts[last] = old.firsts[entry]
                last += 1
            ends[size] = last
        size = _write(text, index, words, (out, starts))
        joined = out[: size + count], starts[: count + 1]
        room = _candidates(joined, count, index.keys, index.slots)
        for size in range(FEWEST, LONGEST_REPEAT + 1):
            own = Grams(grams.places, grams.firsts, ends)
            last = _enter(joined, size, room, own, index) if room > 0 else last
            ends[size] = last


def with_joined_grams(made: Index) -> Index:
    """The same index, with n-grams of five words and more that are equal where they are joined."""
    _, offsets = made.text
    longest = int(np.max(np.diff(made.word_offsets), initial=0))
    size = int(np.max(np.diff(offsets), initial=0))
    grams = Grams(
        np.empty(9 * len(made.repeats), np.int32),
        np.empty(9 * len(made.repeats), np.int32),
        np.zeros(len(made.grams.ends), np.int32),
    )
    out, starts = np.empty(size + longest, np.uint8), np.empty(longest + 1, np.int32)
    _grams(made, grams, out, starts)
    return made._replace(grams=Grams(*(frozen(array) for array in grams)))
