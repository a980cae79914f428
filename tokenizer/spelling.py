"""The bytes of tokens while a vocabulary is learned: which token is spelled like a pair."""

from typing import Any

import numpy as np

from curate.kernel import helper


@helper
def longer(array: Any) -> Any:
    """The same array with as much room again."""
    more = np.empty(2 * len(array), array.dtype)
    # One by one: assigning a stretch would compile three seconds of error messages.
    for k in range(len(array)):
        more[k] = array[k]
    return more


@helper
def token_spelled(spelling: Any, starts: Any, slots: Any, pair: Any, tokens: Any) -> Any:
    """The token that is spelled like this pair: one that exists, or the next number."""
    mask = np.uint64(len(slots) - 1)
    begin = starts[tokens]
    end = begin
    mixed = np.uint64(0xCBF29CE484222325)
    for part in pair:
        for k in range(starts[part], starts[part + 1]):
            spelling[end] = spelling[k]
            mixed = (mixed ^ np.uint64(spelling[k])) * np.uint64(0x100000001B3)
            end += 1
    at = (mixed ^ (mixed >> np.uint64(29))) & mask
    while slots[at] >= 0:
        known = np.int64(slots[at])
        if starts[known + 1] - starts[known] == end - begin:
            same = 0
            while same < end - begin and spelling[starts[known] + same] == spelling[begin + same]:
                same += 1
            if same == end - begin:
                return known
        at = (at + np.uint64(1)) & mask
    slots[at] = tokens
    starts[tokens + 1] = end
    return tokens
