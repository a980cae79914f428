"""The pairs of tokens while merges are learned: a table with counts and places, and a heap."""

from typing import Any, NamedTuple

import numpy as np

from curate.kernel import borrowing, helper
from curate.vectors import prefetch
from tokenizer.spelling import longer

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
HALF = np.uint64(32)
# What is known of a pair.
COUNT, BEGIN, PLACES = range(3)
# What is known of all: pairs in the table, entries in the heap, places in use, least count.
PAIRS, HEAP, USED, LEAST = range(4)


class State(NamedTuple):
    """Pairs in a table, their places, and a heap of those that were the most frequent."""

    keys: Any
    known: Any
    places: Any
    counts: Any  # the heap: counts, and pairs as keys
    heap: Any
    sizes: Any


@borrowing
def key_of(left: Any, right: Any) -> Any:
    """A pair as one number that sorts like the pair."""
    return np.uint64(left) << HALF | np.uint64(right)


@borrowing
def home(keys: Any, key: Any) -> Any:
    """The slot where a pair belongs if no other one lies there."""
    at = key * np.uint64(0x9E3779B97F4A7C15)
    return (at ^ (at >> HALF)) & np.uint64(len(keys) - 1)


@borrowing
def ask(state: Any, key: Any) -> None:
    """Have what is known of a pair brought near before it is looked for."""
    at = home(state.keys, key)
    prefetch(state.keys, at)
    prefetch(state.known, at * np.uint64(3))


@borrowing
def find(keys: Any, key: Any) -> Any:
    """The slot of a pair, or the empty one where it belongs."""
    mask = np.uint64(len(keys) - 1)
    at = home(keys, key)
    while keys[at] != key and keys[at] != EMPTY:
        at = (at + np.uint64(1)) & mask
    return at


@helper
def state_of(places: Any, least: Any) -> Any:
    """No pairs yet, with these places to be written."""
    keys = np.full(1 << 17, EMPTY)
    sizes = np.zeros(4, np.int64)
    sizes[LEAST] = least
    known = np.zeros((1 << 17, 3), np.int64)
    return State(keys, known, places, np.empty(1, np.int64), np.empty(1, np.uint64), sizes)


@helper
def with_room(state: Any, more: Any) -> Any:
    """The same state with room for so many more pairs."""
    keys, known, places, counts, heap, sizes = state
    while len(heap) < sizes[HEAP] + more:
        counts, heap = longer(counts), longer(heap)
    size = len(keys)
    while size < 2 * (sizes[PAIRS] + more):
        size *= 2
    if size > len(keys):
        larger, moved = np.empty(size, np.uint64), np.zeros((size, 3), np.int64)
        larger[:] = EMPTY
        for k in range(len(keys)):
            if keys[k] != EMPTY:
                at = find(larger, keys[k])
                larger[at] = keys[k]
                # Column by column: assigning a row would compile four seconds of error messages.
                for column in range(3):
                    moved[at, column] = known[k, column]
        keys, known = larger, moved
    return State(keys, known, places, counts, heap, sizes)


@borrowing
def before(state: Any, i: Any, j: Any) -> Any:
    """Whether entry i comes before entry j: the larger count, then the older pair."""
    counts, heap = state.counts, state.heap
    return counts[i] > counts[j] or (counts[i] == counts[j] and heap[i] < heap[j])


@borrowing
def swap(state: Any, i: Any, j: Any) -> None:
    """Exchange two entries."""
    counts, heap = state.counts, state.heap
    counts[i], counts[j] = counts[j], counts[i]
    heap[i], heap[j] = heap[j], heap[i]


@borrowing
def push(state: Any, count: Any, key: Any) -> None:
    """Enter a pair into the heap."""
    i = state.sizes[HEAP]
    state.sizes[HEAP] += 1
    state.counts[i] = count
    state.heap[i] = key
    while i > 0 and before(state, i, (i - 1) >> 1):
        swap(state, i, (i - 1) >> 1)
        i = (i - 1) >> 1


@borrowing
def pop(state: Any) -> None:
    """Take the first entry out of the heap."""
    state.sizes[HEAP] -= 1
    size = state.sizes[HEAP]
    swap(state, 0, size)
    i = 0
    while True:
        child = 2 * i + 1
        if child + 1 < size and before(state, child + 1, child):
            child += 1
        if child >= size or not before(state, child, i):
            return
        swap(state, i, child)
        i = child


@borrowing
def best_pair(state: Any) -> Any:
    """The slot of the most frequent pair, which stays in the heap, or -1 if there is none."""
    while state.sizes[HEAP] > 0:
        count, key = state.counts[0], state.heap[0]
        at = find(state.keys, key)
        now = state.known[at, COUNT]
        if count == now:
            return np.int64(at)
        pop(state)
        if now >= state.sizes[LEAST]:
            push(state, now, key)
    return np.int64(-1)


@borrowing
def enter_pair(state: Any, where: Any, count: Any, places: Any) -> None:
    """Enter a pair (its key and slot) with its count and so many places, the next ones."""
    key, at = where
    sizes = state.sizes
    sizes[PAIRS] += state.keys[at] == EMPTY
    state.keys[at] = key
    state.known[at, COUNT] = count
    state.known[at, BEGIN] = sizes[USED]
    state.known[at, PLACES] = places
    sizes[USED] += places
    if count >= sizes[LEAST]:
        push(state, count, key)
