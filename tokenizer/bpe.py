"""The kernels of encoding: pieces to tokens, through a cache of words that is bounded.

Most pieces of real text have been seen before. The cache holds the tokens of recent ones, two
slots for each hash. The first 64 bytes of a slot, all that is read of most, have the two words of
the piece, the number of its tokens and eleven of them; 16 more follow. What the cache does not know
is merged: short pieces by looking for the best pair again and again, long ones with a heap, so that
a megabyte of one letter costs little more than a megabyte of words.
"""

from typing import Any

import numpy as np

from curate.kernel import borrowing, helper

# As `pretokenize` writes a piece: kernels read constants of their own file only.
LOW, HIGH, BEGIN, HASHED = range(4)
LENGTH = np.uint64((1 << 56) - 1)
LONG = np.uint64(0xFF << 56)
NONE = np.uint64(0xFFFFFFFFFFFFFFFF)
HALF = np.uint64(32)
LOWER_HALF = np.uint64(0xFFFFFFFF)

KEPT_BYTES = 64  # longer pieces are not kept in the cache
KEPT_TOKENS = 27  # nor are pieces of more tokens
SHORT = 48  # bytes of a piece up to which looking for the best pair beats keeping a heap


@borrowing
def length_of(high: Any) -> Any:
    """How many bytes a piece has."""
    return np.int64(high & LENGTH) if high >= LONG else np.int64(high >> np.uint64(56))


@borrowing
def merge_of(merges: Any, left: Any, right: Any) -> Any:
    """Rank (upper half, lower is better) and token of a pair, or NONE."""
    # Most pairs are no merge, and a byte of their hash tells: the tags of 100,000 merges fit a
    # core's own cache, the entries do not.
    tags, entries = merges
    key = np.uint64(left) << HALF | np.uint64(right)
    mask = np.uint64(len(tags) - 1)
    at = key * np.uint64(0x9E3779B97F4A7C15)
    at ^= at >> HALF
    tag = np.uint8(at >> np.uint64(56)) | np.uint8(1)
    at &= mask
    while tags[at]:
        if tags[at] == tag and entries[at, 0] == key:
            return entries[at, 1]
        at = (at + np.uint64(1)) & mask
    return NONE


@helper
def enter_merge(tags: Any, entries: Any, merge: Any, rank: int) -> None:
    """Enter a merge into the table, unless its pair is there already."""
    left, right, token = merge
    if merge_of((tags, entries), left, right) != NONE:
        return
    key = np.uint64(left) << HALF | np.uint64(right)
    at = key * np.uint64(0x9E3779B97F4A7C15)
    at ^= at >> HALF
    tag = np.uint8(at >> np.uint64(56)) | np.uint8(1)
    at &= np.uint64(len(tags) - 1)
    while tags[at]:
        at = (at + np.uint64(1)) & np.uint64(len(tags) - 1)
    tags[at] = tag
    entries[at, 0] = key
    entries[at, 1] = np.uint64(rank) << HALF | np.uint64(token)


@helper
def enter_merges(merges: Any, tags: Any, entries: Any) -> None:
    """Fill the empty table of merges; of two merges of one pair the first counts."""
    for k in range(len(merges)):
        merge = (np.int64(merges[k, 0]), np.int64(merges[k, 1]), np.int64(merges[k, 2]))
        enter_merge(tags, entries, merge, k)


@helper
def enter_tokens(pieces: Any, numbers: Any, slots: Any) -> None:
    """Fill the table in which a piece that is a token is found."""
    mask = np.uint64(len(slots) - 1)
    for k in range(len(pieces)):
        at = pieces[k, HASHED] & mask
        while slots[at, HIGH]:
            at = (at + np.uint64(1)) & mask
        slots[at, LOW] = pieces[k, LOW]
        slots[at, HIGH] = pieces[k, HIGH]
        slots[at, BEGIN] = pieces[k, BEGIN]
        slots[at, HASHED] = np.uint64(numbers[k])


@borrowing
def whole_token(text: Any, piece: Any, whole: Any) -> Any:
    """The token that is this piece, or -1."""
    spelling, slots = whole
    low, high, begin, hashed = piece
    mask = np.uint64(len(slots) - 1)
    at = hashed & mask
    while slots[at, HIGH]:
        if slots[at, LOW] == low and slots[at, HIGH] == high:
            known = np.int64(slots[at, BEGIN])
            same = np.int64(0)
            length = np.int64(high & LENGTH) if high >= LONG else np.int64(0)
            while same < length and spelling[known + same] == text[np.int64(begin) + same]:
                same += 1
            if same == length:
                return np.int64(slots[at, HASHED])
        at = (at + np.uint64(1)) & mask
    return np.int64(-1)


@borrowing
def merge_best(merges: Any, out: Any, span: Any, best: Any) -> None:
    """Make one token of the best pair, move the others up, and look at the two new pairs."""
    _, count, position, values = span
    out[position + best] = np.uint32(values[best] & LOWER_HALF)
    for k in range(best + 1, count - 1):
        out[position + k] = out[position + k + 1]
        values[k - 1] = values[k]
    if best > 0:
        left, right = out[position + best - 1], out[position + best]
        values[best - 1] = merge_of(merges, left, right)
    if best < count - 2:
        left, right = out[position + best], out[position + best + 1]
        values[best] = merge_of(merges, left, right)


@helper
def merge_short(text: Any, letters: Any, merges: Any, out: Any, span: Any) -> Any:
    """Write the tokens of a short piece; how many they are."""
    begin, count, position, values = span
    for k in range(count):
        out[position + k] = letters[text[begin + k]]
    for k in range(count - 1):
        values[k] = merge_of(merges, out[position + k], out[position + k + 1])
    while count > 1:
        best = 0
        for k in range(1, count - 1):
            if values[k] < values[best]:
                best = k
        if values[best] == NONE:
            break
        merge_best(merges, out, (begin, count, position, values), best)
        count -= 1
    return count


@helper
def push(heap: Any, size: int, value: Any) -> Any:
    """Enter a number into a heap; its size."""
    i = size
    while i > 0 and heap[(i - 1) >> 1] > value:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = value
    return size + 1


@helper
def pop(heap: Any, size: int) -> Any:
    """Drop the smallest number of a heap; its size."""
    size -= 1
    value = heap[size]
    i = 0
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = value
    return size


@helper
def offer(heap: Any, size: Any, merges: Any, chain: Any, p: Any) -> Any:
    """Enter the pair that begins at a place, if it is a merge; the heap's size."""
    symbols, _, right_of = chain
    q = np.int64(right_of[p])
    if q >= len(symbols):
        return size
    value = merge_of(merges, symbols[p], symbols[q])
    if value == NONE:
        return size
    # Best rank first, then the leftmost place: one number, as both are below 2^32.
    return push(heap, size, (value >> HALF) << HALF | np.uint64(p))


@helper
def merge_at(chain: Any, p: Any, token: Any) -> None:
    """Make one token of the pair that begins at a place."""
    symbols, left_of, right_of = chain
    q = right_of[p]
    symbols[p] = token
    symbols[q] = -1
    right_of[p] = right_of[q]
    if right_of[q] < len(symbols):
        left_of[right_of[q]] = p


@helper
def merge_long(text: Any, letters: Any, merges: Any, out: Any, span: Any) -> Any:
    """Write the tokens of a long piece; how many they are. O(n log n)."""
    begin, count, position, _ = span
    chain = np.empty(count, np.int64), np.empty(count, np.int32), np.empty(count, np.int32)
    symbols, left_of, right_of = chain
    heap = np.empty(3 * count, np.uint64)
    size = np.int64(0)
    for k in range(count):
        symbols[k] = letters[text[begin + k]]
        left_of[k] = k - 1
        right_of[k] = k + 1
    for k in range(count - 1):
        size = offer(heap, size, merges, chain, np.int64(k))
    while size > 0:
        top = heap[0]
        size = pop(heap, size)
        p = np.int64(top & LOWER_HALF)
        if symbols[p] < 0 or right_of[p] >= count:
            continue
        value = merge_of(merges, symbols[p], symbols[right_of[p]])
        if value >> HALF != top >> HALF:  # it was merged otherwise meanwhile
            continue
        merge_at(chain, p, np.int64(value & LOWER_HALF))
        size = offer(heap, size, merges, chain, p)
        if left_of[p] >= 0:
            size = offer(heap, size, merges, chain, np.int64(left_of[p]))
    tokens = 0
    p = np.int64(0)
    while p < count:
        out[position + tokens] = np.uint32(symbols[p])
        tokens += 1
        p = np.int64(right_of[p])
    return tokens


@helper
def merged(text: Any, piece: Any, model: Any, out: Any, place: Any) -> Any:
    """Write the tokens of a piece, as the vocabulary's merges make them; how many they are."""
    letters, table, whole = model
    position, values = place
    begin, high = np.int64(piece[2]), piece[1]
    length = length_of(high)
    token = whole_token(text, piece, whole)
    if token >= 0:
        out[position] = np.uint32(token)
        return 1
    if length <= SHORT:
        return merge_short(text, letters, table, out, (begin, length, position, values))
    return merge_long(text, letters, table, out, (begin, length, position, values))


@borrowing
def is_kept(text: Any, spellings: Any, at: Any, begin: Any, high: Any) -> Any:
    """Whether the piece of more than 15 bytes in a slot is this one."""
    for k in range(np.int64(high & LENGTH)):  # noqa: SIM110  # generators are slow in kernels
        if spellings[at, k] != text[begin + k]:
            return False
    return True


@borrowing
def keep(text: Any, piece: Any, cache: Any, out: Any, span: Any) -> None:
    """Put a piece into its first slot; what was there moves to the second, whose piece goes."""
    slots, fields, spellings = cache
    low, high, begin, hashed = piece
    position, count = span
    at = hashed & np.uint64(len(slots) - 1)
    other = at ^ np.uint64(1)
    for k in range(16):
        slots[other, k] = slots[at, k]
    if slots[at, 1] >= LONG:
        for k in range(np.int64(slots[at, 1] & LENGTH)):
            spellings[other, k] = spellings[at, k]
    slots[at, 0], slots[at, 1] = low, high
    fields[at, 4] = np.uint32(count)
    for k in range(count):
        fields[at, 5 + k] = out[position + k]
    if high >= LONG:
        for k in range(np.int64(high & LENGTH)):
            spellings[at, k] = text[np.int64(begin) + k]


@helper
def missed(text: Any, piece: Any, model: Any, cache: Any, state: Any) -> Any:
    """Write and keep the tokens of a piece that the cache does not hold; how many they are."""
    out, position, values = state
    count = merged(text, piece, model, out, (position, values))
    if count <= KEPT_TOKENS and (piece[1] < LONG or piece[1] - LONG <= KEPT_BYTES):
        keep(text, piece, cache, out, (position, count))
    return count


@helper
def encode_block(rows: Any, pieces: Any, model: Any, cache: Any, state: Any) -> tuple[Any, Any]:
    """Write the tokens of these pieces and the ends of rows: the next position and row."""
    text, offsets = rows
    slots, fields, spellings = cache
    out, ends, position, row, values = state
    mask = np.uint64(len(slots) - 1)
    for k in range(len(pieces)):
        low, high, begin = pieces[k, LOW], pieces[k, HIGH], np.int64(pieces[k, BEGIN])
        while offsets[row + 1] <= begin:
            ends[row + 1] = position
            row += 1
        at = pieces[k, HASHED] & mask
        if slots[at, 0] != low or slots[at, 1] != high:
            at ^= np.uint64(1)
        known = slots[at, 0] == low and slots[at, 1] == high
        if known and (high < LONG or is_kept(text, spellings, at, begin, high)):
            # Three tokens are written where one is wanted: cheaper than asking.
            out[position] = fields[at, 5]
            out[position + 1] = fields[at, 6]
            out[position + 2] = fields[at, 7]
            count = np.int64(fields[at, 4])
            for token in range(3, count):
                out[position + token] = fields[at, 5 + token]
        else:
            piece = (low, high, pieces[k, BEGIN], pieces[k, HASHED])
            count = missed(text, piece, model, cache, (out, position, values))
        position += count
    return position, row


@helper
def recovered(text: Any, pieces: Any, numbers: Any, letters: Any, table: Any) -> Any:
    """The merges that make tokens of a rank file, from the tokens in the order of their lengths.

    tiktoken merges whatever pair spells a token. No other pair than the two parts that shorter
    tokens leave of it can ever come up for it: what is merged within a token is shorter, and merged
    in the order of ranks whatever stands around, so that it always leads to these two.
    """
    tags, entries = table
    merges = np.empty((len(pieces), 3), np.int32)
    made = 0
    values = np.empty(SHORT, np.uint64)
    for k in range(len(pieces)):
        length = length_of(pieces[k, HIGH])
        out = np.empty(length + 3, np.uint32)
        span = (np.int64(pieces[k, BEGIN]), length, 0, values)
        if length <= SHORT:
            count = merge_short(text, letters, table, out, span)
        else:
            count = merge_long(text, letters, table, out, span)
        if count == 2:
            merge = (np.int64(out[0]), np.int64(out[1]), numbers[k])
            merges[made] = merge
            enter_merge(tags, entries, merge, numbers[k])
            made += 1
    return merges[:made]
