"""A vocabulary as kernels read it: the token of each byte, and merges by their pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Hashes
from tokenizer.bpe import enter_merges

Merges = NDArray[np.int32]


def letters_of(tokens: Sequence[bytes]) -> Merges:
    """The token of each byte."""
    letters = np.zeros(256, np.int32)
    for token, spelled in enumerate(tokens):
        if len(spelled) == 1:
            letters[spelled[0]] = token
    return letters


def empty_table(merges: int) -> tuple[Bytes, Hashes]:
    """A table with room for so many merges: a byte of each hash, and the entries."""
    size = 1 << max(4, (2 * merges).bit_length())
    return np.zeros(size, np.uint8), np.zeros((size, 2), np.uint64)


def merge_table(merges: Merges) -> tuple[Bytes, Hashes]:
    """Pairs with their rank and token, hashed."""
    tags, entries = empty_table(len(merges))
    enter_merges(merges, tags, entries)
    return tags, entries
