"""n-grams of a document's words: their hashes and sizes, and the most frequent ones.

The index tells which words begin an n-gram that occurs elsewhere too, so only these are hashed.
"""

import numpy as np

from curate.column import Hashes, Offsets
from curate.hashing import SEED, clear, join
from curate.kernel import Document, borrowing


@borrowing
def gram(hashes: Hashes, word: int, size: int) -> np.uint64:
    """The hash of the n-gram that begins with this word."""
    hashed = SEED
    for place in range(word, word + size):
        hashed = join(hashed, hashes[place])
    return hashed


@borrowing
def gram_characters(sizes: Offsets, word: int, size: int) -> int:
    """The characters of the n-gram that begins with this word, nothing between its words."""
    characters = 0
    for place in range(word, word + size):
        characters += sizes[place]
    return characters


@borrowing
def room_for_repeated(document: Document, size: int) -> int:
    """An emptied table for the n-grams that occur twice; its size less one, or -1 without any."""
    repeated = 0
    for longest in document.repeats:
        repeated += longest >= size
    return clear(document.slots, repeated) if repeated > 0 else -1


@borrowing
def top_gram(document: Document, size: int) -> tuple[int, int]:
    """Where the most frequent n-gram begins (of several the first), and how often it occurs."""
    grams, counts = document.grams, document.counts
    start, end = grams.ends[size - 1], grams.ends[size]
    for entry in range(start, end):
        counts[grams.firsts[entry]] = 0
    top, most = 0, 1
    for entry in range(start, end):
        counts[grams.firsts[entry]] += 1
    for entry in range(start, end):
        first = grams.firsts[entry]
        if counts[first] > most:
            top, most = first, counts[first]
    return top, most


@borrowing
def characters_said_again(document: Document, size: int) -> int:
    """The characters in n-grams that occurred before, each word counted once.

    Reading goes on behind an n-gram that occurred before, and what begins inside it is not
    remembered.
    """
    grams, said = document.grams, document.counts
    start, end = grams.ends[size - 1], grams.ends[size]
    for entry in range(start, end):
        said[grams.firsts[entry]] = 0
    found, free = 0, 0
    for entry in range(start, end):
        first, place = grams.firsts[entry], grams.places[entry]
        if place < free:
            continue
        if said[first] == 1:
            found += gram_characters(document.words.characters, place, size)
            free = place + size
        said[first] = 1
    return found
