"""Short pieces merged side by side.

A merge has to wait for the one before it, a hundred cycles of looking up that another piece could
use. So four pieces, each in a lane of its own, take turns, and a core works on all of them at once:
a new piece of many languages takes 300 ns, one after another 490 (eight lanes: as long as four).
Nothing in a lane depends on where in its piece a merge is: before the first place and behind the
last one stands a symbol that is never merged.
"""

from typing import Any

import numpy as np

from curate.kernel import borrowing
from curate.vectors import least_of_32
from tokenizer.bpe import Tables, made_by, value_of

LANES = 4
LANE = np.uint64(40)  # places of a lane; of all lanes they are below 256, as a value has them
WIDTH = np.uint64(32)  # of these, such as have a value
NARROW = 31  # bytes of a piece that fits a lane: place 0 is taken
NONE = np.uint32(0xFFFFFFFF)
NEVER = np.uint32((1 << 20) - 1)  # the symbol that is never merged
EIGHT, LOWEST = np.uint32(8), np.uint32(0xFF)


@borrowing
def start(text: Any, span: Any, byte_pairs: Any, lanes: Any, lane: Any) -> None:
    """Put a piece into a lane: every byte is a symbol, and every pair of them has its value."""
    values, symbols, behind, before = lanes
    begin, count = span
    for k in range(WIDTH):
        values[lane + k] = NONE
        behind[lane + k] = lane + k + np.uint64(1)
        before[lane + k] = lane + k - np.uint64(1)
    last = np.uint64(text[begin])
    symbols[lane] = NEVER
    symbols[lane + np.uint64(1)] = last
    for k in range(np.uint64(1), count):
        byte = np.uint64(text[begin + k])
        symbols[lane + k + np.uint64(1)] = byte
        rank = byte_pairs[last << np.uint64(8) | byte]
        values[lane + k] = rank << EIGHT | np.uint32(lane + k) if rank != NONE else NONE
        last = byte
    symbols[lane + count + np.uint64(1)] = NEVER


@borrowing
def merge_best(merges: Any, lanes: Any, lane: Any) -> Any:
    """Merge the best pair of a lane; whether there was one."""
    values, symbols, behind, before = lanes
    best = least_of_32(values, lane)
    if best == NONE:
        return False
    left = np.uint64(best & LOWEST)
    right = np.uint64(behind[left])
    after = np.uint64(behind[right])
    first = np.uint64(before[left])
    symbols[left] = made_by(merges, best >> EIGHT)
    behind[left] = after
    before[after] = left
    values[right] = NONE
    values[left] = value_of(merges, symbols, left, after)
    values[first] = value_of(merges, symbols, first, left)
    return True


@borrowing
def tokens_in(merges: Any, lanes: Any, lane: Any, count: Any, out: Any) -> Any:
    """Write the tokens of a lane with so many bytes, in which all is merged; how many they are."""
    _, symbols, behind, _ = lanes
    k, tokens = lane + np.uint64(1), np.uint64(0)
    while k <= lane + count:
        out[tokens] = merges[2][symbols[k]]
        tokens += np.uint64(1)
        k = np.uint64(behind[k])
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
