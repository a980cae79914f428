"""n-grams of a document's words: their hashes and sizes, and the most frequent ones.

The index tells which words begin an n-gram that occurs elsewhere too, so only these are hashed.
"""

import numpy as np

from curate.column import Hashes, Offsets
from curate.hashing import SEED, clear, first_seen, join
from curate.kernel import Document, inlined


@inlined
def gram(hashes: Hashes, word: int, size: int) -> np.uint64:
    """The hash of the n-gram that begins with this word."""
    hashed = SEED
    for place in range(word, word + size):
        hashed = join(hashed, hashes[place])
    return hashed


@inlined
def gram_characters(sizes: Offsets, word: int, size: int) -> int:
    """The characters of the n-gram that begins with this word, nothing between its words."""
    characters = 0
    for place in range(word, word + size):
        characters += sizes[place]
    return characters


@inlined
def room_for_repeated(document: Document, size: int) -> int:
    """An emptied table for the n-grams that occur twice; its size less one, or -1 without any."""
    repeated = 0
    for longest in document.repeats:
        repeated += longest >= size
    return clear(document.slots, repeated) if repeated > 0 else -1


@inlined
def top_gram(document: Document, size: int) -> tuple[int, int]:
    """Where the most frequent n-gram begins (of several the first), and how often it occurs."""
    mask = room_for_repeated(document, size)
    if mask < 0:
        return 0, 1
    keys, counts, repeats = document.keys, document.counts, document.repeats
    for word in range(len(repeats)):
        if repeats[word] >= size:
            keys[word] = gram(document.words.hashes, word, size)
            counts[word] = 0
            counts[first_seen(keys, word, document.slots, mask)] += 1
    top, most = 0, 0
    for word in range(len(repeats)):
        if repeats[word] >= size and counts[word] > most:
            top, most = word, counts[word]
    return top, most
