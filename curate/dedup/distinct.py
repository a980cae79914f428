"""Sorting 64-bit hashes and leaving out the repeated ones, in linear time."""

import numpy as np

from curate.column import Hashes
from curate.kernel import helper

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_BITS = 64


@helper
def enter(hashes: Hashes, shift: np.uint64, table: Hashes) -> None:
    """Put each distinct number into the table at or behind its leading bits, in order."""
    for value in hashes:
        slot = np.int64(value >> shift)
        while table[slot] < value:
            slot += 1
        # What is larger moves up by one, until there is an empty slot or the number itself.
        while table[slot] != value:
            value, table[slot] = table[slot], value
            slot += 1
            if value == _EMPTY:
                break


@helper
def sort_distinct(hashes: Hashes, table: Hashes) -> int:
    """Sort numbers in place and leave out the repeated ones; how many are left.

    A hash table in order: numbers that are spread evenly are sorted by n steps, and a number that
    occurs a million times takes one place. The table has twice as many slots as there are numbers
    or more, and as many again behind them.
    """
    bits = 1
    while (1 << bits) < 2 * len(hashes):
        bits += 1
    slots = (1 << bits) + len(hashes) + 1
    table[:slots] = _EMPTY
    enter(hashes, np.uint64(_BITS - bits), table)
    count = 0
    for slot in range(slots):
        if table[slot] != _EMPTY:
            hashes[count] = table[slot]
            count += 1
    return count
