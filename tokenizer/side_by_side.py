"""Short pieces merged side by side.

A merge has to wait for the one before it, some 100 cycles for look-ups that another piece could use:
four pieces, each in a lane of its own, take turns, and a core works on all of them at once. Within a
lane nothing depends on where in its piece a merge is: behind the last place and before the first one
stands a symbol that is never merged.
"""

from typing import Any

import numpy as np

from curate.kernel import borrowing, least_of_32
from tokenizer.bpe import NONE, Tables, made_by, rank_of

LANES = 4
LANE = np.uint64(40)  # places of a lane
WIDTH = np.uint64(32)  # of those, with a value
MOST_BYTES = 31  # of a piece: place 0 and the one behind are taken
NEVER = np.uint32((1 << 20) - 1)  # the symbol that is never merged
EIGHT, LOWEST = np.uint32(8), np.uint32(0xFF)


@borrowing
def best_in(values: Any, lane: Any) -> Any:
    """The smallest value of a lane."""
    return least_of_32(values, lane)


@borrowing
def pair_value(merges: Any, symbols: Any, lane: Any, left: Any, right: Any) -> Any:
    """Rank of the pair at these places above the left place, as one number, or NONE."""
    rank = rank_of(merges, symbols[lane + left], symbols[lane + right])
    return rank << EIGHT | np.uint32(left) if rank != NONE else NONE


@borrowing
def start(text: Any, begin: Any, count: Any, merges: Any, lanes: Any, lane: Any) -> None:
    """Put a piece into a lane: every byte is a symbol, and every pair of them has its value."""
    values, symbols, behind, before = lanes
    pairs = merges[1]
    for k in range(WIDTH):
        values[lane + k] = NONE
        behind[lane + k] = k + np.uint64(1)
        before[lane + k] = k - np.uint64(1)
    last = np.uint64(text[begin])
    symbols[lane] = NEVER
    symbols[lane + np.uint64(1)] = last
    for k in range(np.uint64(1), count):
        byte = np.uint64(text[begin + k])
        symbols[lane + k + np.uint64(1)] = byte
        rank = pairs[last << np.uint64(8) | byte]
        values[lane + k] = rank << EIGHT | np.uint32(k) if rank != NONE else NONE
        last = byte
    symbols[lane + count + np.uint64(1)] = NEVER
    before[lane + count + np.uint64(1)] = count


@borrowing
def merge_once(merges: Any, lanes: Any, lane: Any, best: Any) -> None:
    """Merge the best pair of a lane."""
    values, symbols, behind, before = lanes
    left = np.uint64(best & LOWEST)
    right = np.uint64(behind[lane + left])
    after = np.uint64(behind[lane + right])
    first = np.uint64(before[lane + left])
    symbols[lane + left] = made_by(merges, best >> EIGHT)
    behind[lane + left] = after
    before[lane + after] = left
    values[lane + right] = NONE
    values[lane + left] = pair_value(merges, symbols, lane, left, after)
    values[lane + first] = pair_value(merges, symbols, lane, first, left)


@borrowing
def tokens_of(merges: Any, lanes: Any, lane: Any, count: Any, out: Any) -> Any:
    """Write the tokens of a lane in which all is merged; how many they are."""
    _, symbols, behind, _ = lanes
    k, tokens = np.uint64(1), np.uint64(0)
    while k <= count:
        out[tokens] = merges[2][symbols[lane + k]]
        tokens += np.uint64(1)
        k = np.uint64(behind[lane + k])
    return np.int64(tokens)


def empty_lanes() -> Tables:
    """Values, symbols, places behind and before, of all lanes."""
    size = LANES * int(LANE)
    return (
        np.full(size, NONE, np.uint32),
        np.zeros(size, np.uint32),
        np.zeros(size, np.uint16),
        np.zeros(size, np.uint16),
    )
