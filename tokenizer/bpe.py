"""How one piece becomes tokens by merging, and the merges as tables that kernels look into.

Short pieces are merged by looking for the best pair again and again, long ones with a heap, so that
a megabyte of one letter costs little more than a megabyte of words.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Hashes, Positions, view
from curate.errors import ModelError
from curate.kernel import borrowing, helper
from curate.vectors import alike_of_8, least_of_32, trailing_zeros
from tokenizer.pretokenize import pieces_within

Merges = NDArray[np.int32]
Tables = tuple[NDArray[Any], ...]

# As `pretokenize` writes a piece: kernels read constants of their own file only.
HIGH, BEGIN = 1, 2
LENGTH = np.uint64((1 << 56) - 1)
LONG = np.uint64(0xFF << 56)
NONE = np.uint32(0xFFFFFFFF)
HALF = np.uint64(32)
LOWER_HALF = np.uint64(0xFFFFFFFF)

# A merge in one number: left and right symbol, 20 bits each, and rank: so there may be a million.
RIGHT, PAIR, RANK = np.uint64(20), np.uint64(24), np.uint64((1 << 24) - 1)
MOST_SYMBOLS = (1 << 20) - 1
NO_ENTRY = np.uint64(0xFFFFFFFFFFFFFFFF)

SHORT = 255  # bytes of a piece up to which looking for the best pair beats keeping a heap


@borrowing
def length_of(high: Any) -> Any:
    """How many bytes a piece has."""
    return np.int64(high & LENGTH) if high >= LONG else np.int64(high >> np.uint64(56))


@borrowing
def bucket_of(entries: Any, key: Any) -> Any:
    """Where the eight entries begin that may hold a pair."""
    hashed = key * np.uint64(0x9E3779B97F4A7C15)
    hashed ^= hashed >> HALF
    return (hashed & np.uint64(len(entries) // 8 - 1)) * np.uint64(8)


@borrowing
def rank_of(merges: Any, left: Any, right: Any) -> Any:
    """Rank of the merge of a pair, lower is better, or NONE."""
    # Eight entries are one line of memory, and compared without a jump; a full line goes on in the
    # next one. With 100,000 merges it is a sixth faster than to go from entry to entry.
    entries = merges[0]
    key = np.uint64(left) << RIGHT | np.uint64(right)
    at = bucket_of(entries, key)
    while True:
        alike = alike_of_8(entries, at, key << PAIR, ~RANK)
        # One line in eighty is full: no jump depends on whether the pair was found.
        if (alike != np.uint64(0)) | (entries[at + np.uint64(7)] == NO_ENTRY):
            place = np.uint64(trailing_zeros(alike | np.uint64(128)))
            found = entries[at + place] & RANK
            return np.uint32(found) if alike != np.uint64(0) else NONE
        at = (at + np.uint64(8)) & np.uint64(len(entries) - 1)


@borrowing
def enter_merge(merges: Any, left: Any, right: Any, rank: Any) -> None:
    """Enter a merge into the tables, unless its pair is there already."""
    entries, byte_pairs, _, _ = merges
    if rank_of(merges, left, right) != NONE:
        return
    key = np.uint64(left) << RIGHT | np.uint64(right)
    at = bucket_of(entries, key)
    while entries[at] != NO_ENTRY:
        at = (at + np.uint64(1)) & np.uint64(len(entries) - 1)
    entries[at] = key << PAIR | np.uint64(rank)
    if left < 256 and right < 256:
        byte_pairs[left << 8 | right] = rank


@borrowing
def made_by(merges: Any, rank: Any) -> Any:
    """The symbol that a merge makes: its own, but for tokens that several merges make."""
    again = merges[3]
    return again[rank] if len(again) else rank + np.uint32(256)


@helper
def enter_merges(rows: Any, merges: Any) -> None:
    """Fill empty tables with rows of left and right symbol; the first of one pair counts."""
    for k in range(len(rows)):
        if rows[k, 0] >= 0 and rows[k, 1] >= 0:
            enter_merge(merges, np.int64(rows[k, 0]), np.int64(rows[k, 1]), np.int64(k))


def aligned(words: Hashes) -> Hashes:
    """The same memory from the first multiple of 64 bytes on, less 8 words in all."""
    skip = -words.ctypes.data % 64 // 8
    return words[skip : len(words) - 8 + skip]


def empty_tables(numbers: NDArray[np.uint32], again: NDArray[np.uint32]) -> Tables:
    """Room for merges: pairs with their ranks, pairs of bytes.

    Within, a byte is its own symbol, and what the merge of rank r makes is 256 + r: `numbers` says
    which token that is. `again` names the symbol for each rank where tokens are made by several
    merges, and is empty where none is.
    """
    size = 1 << max(4, (2 * len(numbers)).bit_length())
    return (
        aligned(np.full(size + 8, NO_ENTRY, np.uint64)),
        np.full(1 << 16, NONE, np.uint32),
        numbers,
        again,
    )


def letters_of(tokens: Sequence[bytes]) -> Merges:
    """The token of each byte."""
    letters = np.zeros(256, np.int32)
    for token, spelled in enumerate(tokens):
        if len(spelled) == 1:
            letters[spelled[0]] = token
    return letters


def merge_tables(merges: Merges, letters: Merges) -> Tables:
    """The tables of these merges (rows of left, right and resulting token).

    A merge of what neither is a byte nor comes from a merge can never happen, and is left out.
    """
    if 256 + len(merges) > MOST_SYMBOLS:
        raise ModelError(f"{len(merges)} merges; at most {MOST_SYMBOLS - 256} can be encoded with")
    symbols = np.full(1 + max(int(letters.max()), int(merges.max(initial=0))), -1, np.int64)
    made = merges[:, 2]
    symbols[made[::-1]] = 256 + np.arange(len(made))[::-1]  # the first merge names the symbol
    symbols[letters] = np.arange(256)
    again = symbols[made].astype(np.uint32)
    if np.array_equal(again, 256 + np.arange(len(made))):
        again = again[:0]
    numbers = np.concatenate([letters, made]).astype(np.uint32)
    tables = empty_tables(numbers, again)
    enter_merges(symbols[merges[:, :2]], tables)
    return tables


@borrowing
def best_of(values: Any, count: Any) -> Any:
    """The smallest of so many values, rounded up to 32."""
    best = NONE
    for k in range(np.uint64(0), count, np.uint64(32)):
        best = min(best, least_of_32(values, k))
    return best


@borrowing
def value_of(merges: Any, symbols: Any, left: Any, right: Any) -> Any:
    """Rank of the pair at these places above the left place, as one number, or NONE."""
    rank = rank_of(merges, symbols[left], symbols[right])
    return rank << np.uint32(8) | np.uint32(left) if rank != NONE else NONE


@borrowing
def merge_short(text: Any, merges: Any, out: Any, span: Any) -> Any:
    """Write the tokens of a piece of up to SHORT bytes; how many they are.

    Symbols stay where their first byte was. Rank and place are one number, so that one look over
    all of them, 32 at a time, finds the best pair and of equal ones the leftmost.
    """
    begin, count, position, scratch = span
    values, symbols, behind, before = scratch
    start_short(text, merges[1], (begin, np.uint64(count)), scratch)
    best = best_of(values, np.uint64(count))
    while best != NONE:
        left = np.uint64(best & np.uint32(0xFF))
        right = np.uint64(behind[left])
        after = np.uint64(behind[right])
        symbols[left] = made_by(merges, best >> np.uint32(8))
        values[right] = NONE
        behind[left] = after
        values[left] = NONE
        if after < np.uint64(count):
            before[after] = left
            values[left] = value_of(merges, symbols, left, after)
        if left > np.uint64(0):
            first = np.uint64(before[left])
            values[first] = value_of(merges, symbols, first, left)
        best = best_of(values, np.uint64(count))
    tokens = np.uint64(position)
    k = np.uint64(0)
    while k < np.uint64(count):
        out[tokens] = merges[2][symbols[k]]
        tokens += np.uint64(1)
        k = np.uint64(behind[k])
    return np.int64(tokens) - np.int64(position)


@borrowing
def start_short(text: Any, byte_pairs: Any, span: Any, scratch: Any) -> None:
    """Every byte is a symbol, and every pair of them has its value."""
    begin, count = span
    values, symbols, behind, before = scratch
    for k in range(count):
        symbols[k] = text[begin + k]
        behind[k] = k + np.uint64(1)
        before[k] = k - np.uint64(1)
    for k in range(count - np.uint64(1)):
        two = np.uint64(text[begin + k]) << np.uint64(8) | np.uint64(text[begin + k + np.uint64(1)])
        rank = byte_pairs[two]
        values[k] = rank << np.uint32(8) | np.uint32(k) if rank != NONE else NONE
    for k in range(count - np.uint64(1), count + np.uint64(31)):
        values[k] = NONE


@borrowing
def push(heap: Any, size: Any, value: Any) -> Any:
    """Enter a number into a heap; its size."""
    i = size
    while i > 0 and heap[(i - 1) >> 1] > value:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = value
    return size + 1


@borrowing
def pop(heap: Any, size: Any) -> Any:
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


@borrowing
def offer(heap: Any, size: Any, merges: Any, chain: Any, p: Any) -> Any:
    """Enter the pair that begins at a place, if it is a merge; the heap's size."""
    symbols, _, right_of = chain
    q = np.int64(right_of[p])
    if q >= len(symbols):
        return size
    rank = rank_of(merges, symbols[p], symbols[q])
    if rank == NONE:
        return size
    # Best rank first, then the leftmost place: one number, as both are below 2^32.
    return push(heap, size, np.uint64(rank) << HALF | np.uint64(p))


@borrowing
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
def merge_long(text: Any, merges: Any, out: Any, span: Any) -> Any:
    """Write the tokens of a long piece; how many they are. O(n log n)."""
    begin, count, position = span
    chain = np.empty(count, np.int64), np.empty(count, np.int32), np.empty(count, np.int32)
    symbols, left_of, right_of = chain
    heap = np.empty(3 * count, np.uint64)
    size = np.int64(0)
    for k in range(count):
        symbols[k] = text[begin + k]
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
        rank = rank_of(merges, symbols[p], symbols[right_of[p]])
        if np.uint64(rank) != top >> HALF:  # it was merged otherwise meanwhile
            continue
        merge_at(chain, p, np.int64(made_by(merges, rank)))
        size = offer(heap, size, merges, chain, p)
        if left_of[p] >= 0:
            size = offer(heap, size, merges, chain, np.int64(left_of[p]))
    tokens = 0
    p = np.int64(0)
    while p < count:
        out[position + tokens] = merges[2][symbols[p]]
        tokens += 1
        p = np.int64(right_of[p])
    return tokens


@helper
def recovered(text: Any, pieces: Any, numbers: Any, symbols: Any, tables: Any) -> Any:
    """The merges that make tokens of a rank file, from the tokens in the order of their lengths.

    tiktoken merges whatever pair spells a token. No other pair than the two parts that shorter
    tokens leave of it can ever come up for it: what is merged within a token is shorter, and merged
    in the order of ranks whatever stands around, so that it always leads to these two. `symbols`
    has the symbol of each token, as far as it is known.
    """
    merges, scratch = tables
    rows = np.empty((len(pieces), 3), np.int32)
    made = 0
    for k in range(len(pieces)):
        length = length_of(pieces[k, HIGH])
        begin = np.int64(pieces[k, BEGIN])
        out = np.empty(length + 3, np.uint32)
        if length <= SHORT:
            span = (np.uint64(begin), length, np.int64(0), scratch)
            count = merge_short(text, merges, out, span)
        else:
            count = merge_long(text, merges, out, (begin, length, np.int64(0)))
        if count == 2:
            rank = np.int64(numbers[k])
            rows[made, 0], rows[made, 1], rows[made, 2] = out[0], out[1], rank
            merges[2][256 + rank] = rank
            symbols[rank] = 256 + rank
            enter_merge(merges, symbols[out[0]], symbols[out[1]], rank)
            made += 1
    return rows[:made]


def recovered_merges(spelled: Sequence[bytes], numbers: Positions, letters: Merges) -> Merges:
    """Rows of left, right and resulting token, from tokens by length; see `recovered`."""
    rows = view(pa.array(spelled, pa.binary()))
    most = int(numbers.max()) + 1
    symbols = np.full(most, -1, np.int64)
    symbols[letters] = np.arange(256)
    named = np.concatenate([letters, np.zeros(most, np.int32)]).astype(np.uint32)
    tables = (empty_tables(named, named[:0]), scratch_space())
    merges: Merges = recovered(rows.data, pieces_within(rows), numbers, symbols, tables)
    return merges


def scratch_space() -> Tables:
    """What `merge_short` writes to: values, tokens, places behind and before."""
    return (
        np.empty(SHORT + 32, np.uint32),
        np.empty(SHORT, np.uint32),
        np.empty(SHORT, np.uint16),
        np.empty(SHORT, np.uint16),
    )
