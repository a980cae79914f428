"""The merge loop of BPE training as a kernel: exact, incremental, over one row of cells.

All distinct pieces lie in one row, the frequent ones first, one cell for each byte. A token's first
and last cell hold its number, so that both neighbours are found without links. A pair has a list
of places, in order. A merge walks one list and sums what it takes and gives by neighbour, so that
the table of pairs is asked once for each neighbour, not for each place. Pairs too rare to come up
soon are left out of the table; when the most frequent one left is as rare, all pairs are counted
anew. `tokenizer/reference.py` says the rule in plain Python.
"""

from typing import Any, NamedTuple

import numpy as np

from curate.kernel import borrowing, helper
from curate.vectors import prefetch
from tokenizer.pairs import (
    State,
    ask,
    best_pair,
    enter_pair,
    find,
    key_of,
    pop,
    state_of,
    with_room,
)
from tokenizer.spelling import longer, token_spelled

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
HALF = np.uint64(32)
LOWER_HALF = np.uint64(0xFFFFFFFF)
INSIDE, EDGE = -1, -2  # a cell within a token, and one between two pieces
# As in `pairs`: kernels read constants of their own file only.
COUNT, BEGIN, PLACES = range(3)
USED, LEAST = 2, 3
# The least count is divided by this when no pair has it any more.
LOWERED = 16
AHEAD = 16


class Row(NamedTuple):
    """All pieces: cells with an edge around each piece; from begins[r] on a piece's weight."""

    cells: Any
    begins: Any
    weights: Any


class Side(NamedTuple):
    """The neighbours on one side of the places that are merged, summed by token."""

    sums: Any  # by token: weight, and places
    seen: Any
    ends: Any  # by token: where its places are written
    tokens: Any  # those that have any
    sizes: Any  # how many these are, and how many places
    neighbours: Any  # by place: the token, and where the pair begins
    places: Any


@borrowing
def lay(data: Any, offsets: Any, begins: Any, numbers: Any, cells: Any) -> None:
    """Write each piece to its place, and an edge behind it."""
    for k in range(len(begins)):
        at = begins[k]
        for i in range(offsets[k], offsets[k + 1]):
            cells[at] = numbers[data[i]]
            at += 1
        cells[at] = EDGE


@borrowing
def weight_from(row: Any, r: Any, p: Any) -> Any:
    """In which stretch of equal weights a place lies, if it is not before stretch r."""
    begins = row.begins
    if begins[r + 1] > p:
        return r
    step = np.int64(1)
    while r + step < len(begins) and begins[r + step] <= p:
        r += step
        step *= 2
    while step > 1:
        step //= 2
        if r + step < len(begins) and begins[r + step] <= p:
            r += step
    return r


@borrowing
def note(side: Any, neighbour: Any, place: Any, weight: Any) -> None:
    """Add one place to the sums of a neighbour."""
    if side.seen[neighbour] == 0:
        side.tokens[side.sizes[0]] = neighbour
        side.sizes[0] += 1
    side.seen[neighbour] += 1
    side.sums[neighbour] += weight
    side.neighbours[side.sizes[1]] = neighbour
    side.places[side.sizes[1]] = place
    side.sizes[1] += 1


@helper
def side_of(scratch: Any, room: Any) -> Any:
    """A side with nothing noted and room for so many places."""
    sums, seen, ends, tokens = scratch
    buffers = np.empty(room, np.int32), np.empty(room, np.uint32)
    return Side(sums, seen, ends, tokens, np.zeros(2, np.int64), *buffers)


@borrowing
def clear(side: Any) -> None:
    """Forget what was noted."""
    for k in range(side.sizes[0]):
        side.seen[side.tokens[k]] = 0
        side.sums[side.tokens[k]] = 0
    side.sizes[0] = side.sizes[1] = 0


@borrowing
def beside(side: Any, k: Any, token: Any, is_left: Any) -> Any:
    """The pair of a token with its k-th neighbour."""
    other = side.tokens[k]
    return key_of(other, token) if is_left else key_of(token, other)


@borrowing
def enter(state: Any, side: Any, token: Any, is_left: Any, spare: Any) -> None:
    """Enter the pairs of a token with its neighbours, as counted anew, unless they are rare.

    `spare` is by token: whether it is short enough to be a neighbour of this one.
    """
    sizes = state.sizes
    for k in range(side.sizes[0]):
        ask(state, beside(side, min(k + AHEAD, side.sizes[0] - 1), token, is_left))
        other = side.tokens[k]
        side.ends[other] = -1
        key = beside(side, k, token, is_left)
        at = find(state.keys, key)
        is_new = state.keys[at] == EMPTY
        if (is_new and side.sums[other] < sizes[LEAST]) or spare[0][other] > spare[1]:
            continue
        side.ends[other] = sizes[USED]
        enter_pair(state, (key, at), side.sums[other], side.seen[other])
    for k in range(side.sizes[1]):
        end = side.ends[side.neighbours[k]]
        if end >= 0:
            state.places[end] = side.places[k]
            side.ends[side.neighbours[k]] = end + 1


@borrowing
def lose(state: Any, side: Any, token: Any, is_left: Any) -> None:
    """Subtract the pairs that a token had with its neighbours; rare ones were never entered."""
    for k in range(side.sizes[0]):
        ask(state, beside(side, min(k + AHEAD, side.sizes[0] - 1), token, is_left))
        other = side.tokens[k]
        key = beside(side, k, token, is_left)
        at = find(state.keys, key)
        if state.keys[at] == key:
            state.known[at, COUNT] -= side.sums[other]


@borrowing
def around(row: Any, lengths: Any, place: Any, sides: Any) -> None:
    """Note the neighbours of the token that begins here."""
    begin, length, r = place
    left, right = sides
    neighbour = row.cells[begin - 1]
    if neighbour >= 0:
        note(left, neighbour, begin - lengths[neighbour], row.weights[r])
    neighbour = row.cells[begin + length]
    if neighbour >= 0:
        note(right, neighbour, begin, row.weights[r])


@borrowing
def merge_places(row: Any, lengths: Any, places: Any, pair: Any, sides: Any) -> None:
    """Make one token of the pair at all its places, and note the neighbours."""
    a, b, token = pair
    cells = row.cells
    first, length = np.int64(lengths[a]), np.int64(lengths[a]) + np.int64(lengths[b])
    r = np.int64(0)
    for k in range(len(places)):
        prefetch(cells, np.int64(places[min(k + AHEAD, len(places) - 1)]))
        p = np.int64(places[k])
        q = p + first
        # What was entered here may have become another token: then its cells tell.
        if cells[p] != a or cells[q] != b:
            continue
        r = weight_from(row, r, p)
        cells[q - 1] = INSIDE
        cells[q] = INSIDE
        cells[p] = token
        cells[p + length - 1] = token
        around(row, lengths, (p, length, r), sides)


@helper
def enter_again(row: Any, lengths: Any, token: Any, state: Any, side: Any) -> Any:
    """Count the pairs of a token anew that another pair has made as well; the state."""
    cells, spare = row.cells, side[2]
    found = 0
    for k in range(len(cells)):
        found += cells[k] == token
    left, right = side_of(side[0], found), side_of(side[1], found)
    state = with_room(state, 2 * found)
    while len(state.places) < state.sizes[USED] + 2 * found:
        keys, known, places, counts, heap, sizes = state
        state = State(keys, known, longer(places), counts, heap, sizes)
    length = np.int64(lengths[token])
    r: Any = np.int64(0)
    p: Any = np.int64(0)
    while p < len(cells):
        if cells[p] == token:
            r = weight_from(row, r, p)
            around(row, lengths, (p, length, r), (left, right))
            p += length
        else:
            p += 1
    enter(state, left, token, True, spare)
    enter(state, right, token, False, spare)
    clear(left)
    clear(right)
    return state


@helper
def by_left_token(row: Any, lengths: Any, tokens: Any, room: Any) -> tuple[Any, Any]:
    """Where pairs begin, sorted by their left token, with so much room behind; and the ends."""
    cells = row.cells
    ends = np.zeros(tokens + 1, np.int64)
    p = np.int64(1)
    while p < len(cells) - 1:
        token = cells[p]
        p += lengths[token] if token >= 0 else 1
        ends[token + 1] += token >= 0 and cells[p] >= 0
    for token in range(tokens):
        ends[token + 1] += ends[token]
    total = ends[tokens]
    places = np.empty(total + max(total, room), np.uint32)
    p = np.int64(1)
    while p < len(cells) - 1:
        token, place = cells[p], p
        p += lengths[token] if token >= 0 else 1
        if token >= 0 and cells[p] >= 0:
            places[ends[token]] = place
            ends[token] += 1
    return places, ends


@helper
def all_pairs(row: Any, lengths: Any, tokens: Any, least: Any, room: Any) -> Any:
    """The state with all pairs that are as frequent as `least`, counted anew.

    `room` is how many places have to fit behind those that there are, the scratch of a side, and
    by token what makes it too long.
    """
    more, scratch, longest = room
    places, ends = by_left_token(row, lengths, tokens, more)
    state = state_of(places, least)
    begin = np.int64(0)
    for token in range(tokens):
        # The places are sorted once more in the same array: those entered end where these begin.
        side = side_of(scratch, ends[token] - begin)
        r = np.int64(0)
        for k in range(begin, ends[token]):
            p = np.int64(places[k])
            r = weight_from(row, r, p)
            note(side, row.cells[p + lengths[token]], p, row.weights[r])
        begin = ends[token]
        state = with_room(state, side.sizes[0])
        enter(state, side, token, False, (lengths, longest - np.int64(lengths[token])))
        clear(side)
    return state


@borrowing
def pair_of_bytes(cells: Any, p: Any) -> Any:
    """The number of the pair of bytes that begins here, or -1 if none does."""
    if cells[p] < 0 or cells[p + 1] < 0:
        return np.int64(-1)
    return np.int64(cells[p]) << 8 | np.int64(cells[p + 1])


@helper
def bytes_counted(row: Any) -> tuple[Any, Any]:
    """By pair of bytes: how much it counts, and at how many places."""
    sums, numbers = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
    r = np.int64(0)
    for p in range(1, len(row.cells) - 1):
        pair = pair_of_bytes(row.cells, p)
        if pair >= 0:
            while row.begins[r + 1] <= p:
                r += 1
            sums[pair] += row.weights[r]
            numbers[pair] += 1
    return sums, numbers


@helper
def byte_pairs(row: Any, least: Any) -> Any:
    """The state with all pairs of bytes that are as frequent as `least`, in two walks over cells.

    With `all_pairs`, which walks once for each token, it took eight times as long.
    """
    sums, numbers = bytes_counted(row)
    total = number = np.int64(0)
    for pair in range(1 << 16):
        total += numbers[pair]
        number += sums[pair] >= least
    state = with_room(state_of(np.empty(2 * total, np.uint32), least), number)
    for pair in range(1 << 16):
        begin = state.sizes[USED]
        if numbers[pair] and sums[pair] >= least:
            key = key_of(pair >> 8, pair & 255)
            enter_pair(state, (key, find(state.keys, key)), sums[pair], numbers[pair])
        numbers[pair] = begin if state.sizes[USED] > begin else np.int64(-1)
    for p in range(1, len(row.cells) - 1):
        pair = pair_of_bytes(row.cells, p)
        if pair >= 0 and numbers[pair] >= 0:
            state.places[numbers[pair]] = p
            numbers[pair] += 1
    return state


@helper
def next_pair(row: Any, lengths: Any, state: Any, bounds: Any) -> tuple[Any, Any]:
    """The state with room for what a merge gives, and the slot of the most frequent pair or -1."""
    tokens, least, longest, scratch = bounds
    while True:
        at = best_pair(state)
        found = state.sizes[LEAST]
        if at < 0 and found <= least:
            return state, at
        room = 2 * state.known[at, PLACES] if at >= 0 else np.int64(0)
        if at >= 0 and state.sizes[USED] + room <= len(state.places):
            return state, at
        found = found if at >= 0 else max(least, found // LOWERED)
        state = all_pairs(row, lengths, tokens, found, (room, scratch, longest))


@helper
def merge_everywhere(row: Any, lengths: Any, state: Any, pair: Any, around_it: Any) -> Any:
    """Make one token of a pair wherever it is; the state."""
    a, b, token, is_new = pair
    at, scratch, longest = around_it
    begin, number = state.known[at, BEGIN], state.known[at, PLACES]
    left, right = side_of(scratch[0], number), side_of(scratch[1], number)
    places = state.places[begin : begin + number]
    merge_places(row, lengths, places, (a, b, token), (left, right))
    state = with_room(state, left.sizes[0] + right.sizes[0])
    spare = (lengths, longest - np.int64(lengths[token]))
    if is_new:
        # Before what is lost is subtracted: in a run, pairs are gained and lost again.
        enter(state, left, token, True, spare)
        enter(state, right, token, False, spare)
    lose(state, left, a, True)
    lose(state, right, b, False)
    clear(left)
    clear(right)
    state.known[find(state.keys, key_of(a, b)), COUNT] = 0
    if not is_new:
        state = enter_again(row, lengths, token, state, (*scratch, spare))
    return state


@helper
def merges_of(row: Any, spelled: Any, scratch: Any, bounds: Any, so_far: Any) -> Any:
    """All merges in order (left, right, token) until there are `goal` tokens; see the reference.

    Gives the bytes of all tokens, and what the next call goes on from, as `so_far`: the pairs
    (`byte_pairs` at first), all merges in one row, and how many merges and tokens there are.

    `spelled` has the bytes of the 256 tokens that there are, in the order of the tie rule, their
    beginnings and lengths, and the slots in which tokens are found by their bytes. `bounds` are the
    goal, the least count of a pair, and the bytes of the longest token.
    """
    spelling, starts, lengths, slots, done = spelled
    goal, least, longest = bounds
    state, merges, count, tokens = so_far
    while tokens < goal:
        state, at = next_pair(row, lengths, state, (tokens, least, longest, scratch[0]))
        if at < 0:
            break
        key = state.keys[at]
        pop(state)
        a, b = np.int64(key >> HALF), np.int64(key & LOWER_HALF)
        while starts[tokens] + lengths[a] + lengths[b] > len(spelling):
            spelling = longer(spelling)
        token = np.int64(token_spelled(spelling, starts, slots, (a, b), tokens))
        lengths[token] = lengths[a] + lengths[b]
        pair = (a, b, token, token == tokens)
        tokens += token == tokens
        state = merge_everywhere(row, lengths, state, pair, (at, scratch, longest))
        slot = find(done, key)
        # Two pairs may spell one token, so a pair can come up again: it stays the merge it was.
        if done[slot] == key:
            continue
        done[slot] = key
        if 3 * count + 3 > len(merges):
            merges = longer(merges)
        merges[3 * count], merges[3 * count + 1], merges[3 * count + 2] = a, b, token
        count += 1
    return spelling, (state, merges, count, tokens)


def scratch_of(goal: int) -> Any:
    """What a side needs for each token."""
    numbers = (np.zeros(goal, np.int64) for _ in range(3))
    return (*numbers, np.zeros(goal, np.int32))
