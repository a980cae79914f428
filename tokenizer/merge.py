"""The merge loop of BPE training as a kernel: exact, incremental, with a heap.

Every occurrence of a pair is a node in the pair's list. A merge walks one list, and each
occurrence takes two pairs away and brings two new ones, so the whole training costs a few steps
for each byte of the pieces, whatever the size of the vocabulary. Lists and heap are lazy: what no
longer holds is noticed when it comes up. `tokenizer/reference.py` says the rule in plain Python.
"""

from typing import Any

import numpy as np

from curate.kernel import helper

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
# What is known of a pair.
COUNT, HEAD, TAIL, NODES, TOUCHED, ROUND, MERGED = range(7)
# What is known of all: nodes used, pairs known, entries in the heap, the round, the pair that was
# touched last in it.
USED, PAIRS, HEAP, NOW, LAST = range(5)


@helper
def key_of(left: Any, right: Any) -> Any:
    """A pair as one number that sorts like the pair."""
    return np.uint64(left) << np.uint64(32) | np.uint64(right)


@helper
def find(keys: Any, key: Any) -> Any:
    """The slot of a pair, or the empty one where it belongs."""
    mask = np.uint64(len(keys) - 1)
    at = key * np.uint64(0x9E3779B97F4A7C15)
    at = (at ^ (at >> np.uint64(32))) & mask
    while keys[at] != key and keys[at] != EMPTY:
        at = (at + np.uint64(1)) & mask
    return at


@helper
def empty_keys(size: int) -> Any:
    """Slots that hold no pair."""
    keys = np.empty(size, np.uint64)
    for k in range(size):
        keys[k] = EMPTY
    return keys


@helper
def with_room(pairs: Any, room: Any) -> Any:
    """The same pairs in a table that stays half empty with so many."""
    keys, known = pairs
    size = len(keys)
    while size < 2 * room:
        size *= 2
    if size == len(keys):
        return pairs
    larger = empty_keys(size)
    moved = np.zeros((size, 7), np.int64)
    for k in range(len(keys)):
        if keys[k] != EMPTY:
            at = find(larger, keys[k])
            larger[at] = keys[k]
            # Column by column: assigning a row would compile four seconds of error messages.
            for column in range(7):
                moved[at, column] = known[k, column]
    return larger, moved


@helper
def add(pairs: Any, nodes: Any, sizes: Any, key: Any, where: Any) -> None:
    """One more occurrence of a pair: `where` is its place and the weight of its piece."""
    keys, known = pairs
    place, weight = where
    at = find(keys, key)
    if keys[at] == EMPTY:
        keys[at] = key
        known[at, HEAD] = -1
        known[at, ROUND] = -1
        sizes[PAIRS] += 1
    # A pair that this round has made more frequent goes into the heap once, at the round's end.
    if known[at, ROUND] != sizes[NOW]:
        known[at, ROUND] = sizes[NOW]
        known[at, TOUCHED] = sizes[LAST]
        sizes[LAST] = at
    node = sizes[USED]
    sizes[USED] += 1
    nodes[node, 0] = place
    nodes[node, 1] = -1
    if known[at, HEAD] < 0:
        known[at, HEAD] = node
    else:
        nodes[known[at, TAIL], 1] = node
    known[at, TAIL] = node
    known[at, NODES] += 1
    known[at, COUNT] += weight


@helper
def take(pairs: Any, key: Any, weight: Any) -> None:
    """One occurrence of a pair less; pairs that would be too long were never entered."""
    keys, known = pairs
    at = find(keys, key)
    if keys[at] == key:
        known[at, COUNT] -= weight


@helper
def before(heap: Any, i: Any, j: Any) -> Any:
    """Whether entry i comes before entry j: the larger count, then the older pair."""
    counts, keys = heap
    return counts[i] > counts[j] or (counts[i] == counts[j] and keys[i] < keys[j])


@helper
def swap(heap: Any, i: Any, j: Any) -> None:
    """Exchange two entries."""
    counts, keys = heap
    counts[i], counts[j] = counts[j], counts[i]
    keys[i], keys[j] = keys[j], keys[i]


@helper
def push(heap: Any, sizes: Any, count: Any, key: Any) -> None:
    """Enter a pair into the heap."""
    i = sizes[HEAP]
    sizes[HEAP] += 1
    heap[0][i] = count
    heap[1][i] = key
    while i > 0 and before(heap, i, (i - 1) >> 1):
        swap(heap, i, (i - 1) >> 1)
        i = (i - 1) >> 1


@helper
def pop(heap: Any, sizes: Any) -> tuple[Any, Any]:
    """Take the first entry out of the heap."""
    count, key = heap[0][0], heap[1][0]
    sizes[HEAP] -= 1
    swap(heap, 0, sizes[HEAP])
    i = 0
    while True:
        child = 2 * i + 1
        if child + 1 < sizes[HEAP] and before(heap, child + 1, child):
            child += 1
        if child >= sizes[HEAP] or not before(heap, child, i):
            return count, key
        swap(heap, i, child)
        i = child


@helper
def push_touched(pairs: Any, heap: Any, sizes: Any) -> Any:
    """Enter all pairs that became more frequent in this round; the heap, enlarged if needed."""
    _, known = pairs
    touched = 0
    at = sizes[LAST]
    while at >= 0:
        touched += 1
        at = known[at, TOUCHED]
    if sizes[HEAP] + touched >= len(heap[0]):
        more = len(heap[0]) + 2 * touched
        counts, keys = np.empty(more, np.int64), np.empty(more, np.uint64)
        for k in range(sizes[HEAP]):
            counts[k] = heap[0][k]
            keys[k] = heap[1][k]
        heap = counts, keys
    at = sizes[LAST]
    while at >= 0:
        if known[at, COUNT] > 0:
            push(heap, sizes, known[at, COUNT], pairs[0][at])
        at = known[at, TOUCHED]
    sizes[LAST] = -1
    return heap


@helper
def best_pair(pairs: Any, heap: Any, sizes: Any) -> tuple[Any, Any]:
    """The most frequent pair and its count; 0 if there is none."""
    while sizes[HEAP] > 0:
        count, key = pop(heap, sizes)
        now = pairs[1][find(pairs[0], key), COUNT]
        if count == now:
            return count, key
        if now > 0:
            push(heap, sizes, now, key)
    return np.int64(0), EMPTY


@helper
def places_of(pairs: Any, nodes: Any, key: Any) -> Any:
    """Where the pair was entered; its list is emptied. Left to right, where that matters."""
    at = find(pairs[0], key)
    known = pairs[1]
    places = np.empty(known[at, NODES], np.int64)
    node = known[at, HEAD]
    for k in range(len(places)):
        places[k] = nodes[node, 0]
        node = nodes[node, 1]
    known[at, HEAD] = -1
    known[at, NODES] = 0
    # Of a run of equal tokens the left ones are merged first.
    if key >> np.uint64(32) == key & np.uint64(0xFFFFFFFF):
        places.sort()
    return places


@helper
def merge_at(chain: Any, p: Any, pair: Any, pairs: Any, state: Any) -> None:
    """Make one token of the pair at a place, and change the pairs around it."""
    symbols, left_of, right_of, weights = chain
    a, b, token, longest, starts = pair
    nodes, sizes = state
    q = right_of[p]
    if symbols[p] != a or q < 0 or symbols[q] != b:
        return
    before_, behind, weight = left_of[p], right_of[q], weights[p]
    symbols[p] = token
    symbols[q] = -1
    spare = longest - (starts[token + 1] - starts[token])
    right_of[p] = behind
    if before_ >= 0:
        other = symbols[before_]
        take(pairs, key_of(other, a), weight)
        if starts[other + 1] - starts[other] <= spare:
            add(pairs, nodes, sizes, key_of(other, token), (before_, weight))
    if behind >= 0:
        other = symbols[behind]
        left_of[behind] = p
        take(pairs, key_of(b, other), weight)
        if starts[other + 1] - starts[other] <= spare:
            add(pairs, nodes, sizes, key_of(token, other), (p, weight))


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


@helper
def all_pairs(chain: Any) -> Any:
    """Pairs, nodes, sizes and heap before the first merge."""
    symbols, _, right_of, weights = chain
    # Each merge takes one token away and adds two nodes at most.
    nodes = np.empty((3 * len(symbols) + 1, 2), np.int32)
    sizes = np.zeros(5, np.int64)
    sizes[LAST] = -1
    # There are 65,536 pairs of bytes: this table does not grow while they are entered.
    pairs = empty_keys(1 << 17), np.zeros((1 << 17, 7), np.int64)
    heap = np.zeros(1, np.int64), np.zeros(1, np.uint64)
    for p in range(len(symbols)):
        if right_of[p] >= 0:
            key = key_of(symbols[p], symbols[right_of[p]])
            add(pairs, nodes, sizes, key, (p, weights[p]))
    heap = push_touched(pairs, heap, sizes)
    return pairs, nodes, sizes, heap


@helper
def longer(array: Any) -> Any:
    """The same array with as much room again."""
    more = np.empty(2 * len(array), array.dtype)
    for k in range(len(array)):
        more[k] = array[k]
    return more


@helper
def merges_of(chain: Any, spelled: Any, goal: int, least: int, longest: int) -> Any:
    """All merges in order (left, right, token) until there are `goal` tokens; see the reference.

    `spelled` has the bytes of the 256 tokens that there are, in the order of the tie rule, their
    beginnings, and the slots in which tokens are found by their bytes.
    """
    spelling, starts, slots = spelled
    pairs, nodes, sizes, heap = all_pairs(chain)
    merges = np.empty(1 << 12, np.int32)
    tokens, count = 256, 0
    while tokens < goal:
        weight, key = best_pair(pairs, heap, sizes)
        if weight < least or weight < 1:
            break
        a, b = np.int64(key >> np.uint64(32)), np.int64(key & np.uint64(0xFFFFFFFF))
        length = starts[a + 1] - starts[a] + starts[b + 1] - starts[b]
        while starts[tokens] + length > len(spelling):
            spelling = longer(spelling)
        token = token_spelled(spelling, starts, slots, (a, b), tokens)
        tokens += token == tokens
        places = places_of(pairs, nodes, key)
        pairs = with_room(pairs, sizes[PAIRS] + 2 * min(len(places), tokens) + 1)
        sizes[NOW] += 1
        for p in places:
            merge_at(chain, p, (a, b, token, longest, starts), pairs, (nodes, sizes))
        at = find(pairs[0], key)
        pairs[1][at, COUNT] = 0
        heap = push_touched(pairs, heap, sizes)
        # Two pairs may spell one token, so a pair can come up again: it stays the merge it was.
        if pairs[1][at, MERGED]:
            continue
        pairs[1][at, MERGED] = 1
        if 3 * count + 3 > len(merges):
            merges = longer(merges)
        merges[3 * count], merges[3 * count + 1], merges[3 * count + 2] = a, b, token
        count += 1
    return merges[: 3 * count].reshape(-1, 3), spelling[: starts[tokens]], starts[: tokens + 1]
