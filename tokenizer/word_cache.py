"""The cache of words, bounded, through which pieces become tokens a block at a time.

Most pieces of real text have been seen before. The cache holds the tokens of recent ones, two
slots for each hash. A slot of 32 bytes has the two words of a piece, six tokens and how many there
are; further tokens, and the bytes of long pieces, lie elsewhere. What the cache does not know is
looked for among tokens that merges do not make, or merged: short pieces side by side ahead of their
turn (`tokenizer/side_by_side.py`), others when it comes (`tokenizer/bpe.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Positions, view
from curate.kernel import borrowing, helper
from curate.vectors import prefetch
from tokenizer.bpe import (
    HALF,
    LENGTH,
    LONG,
    LOWER_HALF,
    SHORT,
    aligned,
    length_of,
    merge_long,
    merge_short,
)
from tokenizer.pretokenize import described, pieces_within, word_at
from tokenizer.side_by_side import LANE, LANES, NARROW, merge_best, start, tokens_in

LOW, HIGH, BEGIN, HASHED = range(4)  # as `pretokenize` writes a piece
NEW = 4  # whether a piece ahead has just been merged
# Pieces whose slots are asked for before they are needed; new ones among them are merged at once.
AHEAD = 256
KEPT_BYTES = 64  # longer pieces are not kept in the cache
KEPT_TOKENS = 16  # nor are pieces of more tokens
# A slot has three tokens of 20 bits in a word, and above those of its first how many less one.
COUNT, TOKEN = np.uint64(60), np.uint64((1 << 20) - 1)


@borrowing
def is_kept(text: Any, kept: Any, first: Any, begin: Any, length: Any) -> Any:
    """Whether a piece of more than 15 bytes, or of none, is what is kept from this place on."""
    differing = np.uint64(0)
    left = length
    while left > np.uint64(0):
        # The last eight bytes overlap those before.
        left = left - np.uint64(8) if left > np.uint64(8) else np.uint64(0)
        differing |= word_at(kept, first + left) ^ word_at(text, begin + left)
    return differing == np.uint64(0)


@helper
def enter_tokens(pieces: Any, slots: Any) -> None:
    """Fill the table in which a piece that is a token is found: a part of its hash, and which."""
    mask = np.uint64(len(slots) - 1)
    for k in range(len(pieces)):
        at = pieces[k, HASHED] & mask
        while slots[at]:
            at = (at + np.uint64(1)) & mask
        slots[at] = pieces[k, HASHED] & ~LOWER_HALF | np.uint64(k + 1)


@borrowing
def whole_token(text: Any, piece: Any, whole: Any) -> Any:
    """The token that is this piece, or -1."""
    spelling, pieces, numbers, slots = whole
    low, high, begin, hashed = piece
    mask = np.uint64(len(slots) - 1)
    at = hashed & mask
    while slots[at]:
        k = (slots[at] & LOWER_HALF) - np.uint64(1)
        alike = (slots[at] ^ hashed) >> HALF == np.uint64(0)
        if alike and pieces[k, LOW] == low and pieces[k, HIGH] == high:
            length = high & LENGTH if high >= LONG else np.uint64(0)
            if is_kept(text, spelling, pieces[k, BEGIN], np.uint64(begin), length):
                return np.int64(numbers[k])
        at = (at + np.uint64(1)) & mask
    return np.int64(-1)


@borrowing
def first_slot(slots: Any, hashed: Any) -> Any:
    """Where the first slot of a hash begins; the second one is four words behind it."""
    return (hashed & np.uint64(len(slots) // 8 - 1)) * np.uint64(8)


@borrowing
def exchange(cache: Any, first: Any) -> None:
    """Exchange the two slots of a hash: the piece that came again is looked at first."""
    slots, more, spellings = cache
    for k in range(4 * first, 4 * first + 4):
        slots[k], slots[k + 4] = slots[k + 4], slots[k]
    tokens = max(slots[4 * first + 2] >> COUNT, slots[4 * first + 6] >> COUNT) + np.uint64(1)
    for k in range(np.int64(tokens) - 6):
        more[first, k], more[first + 1, k] = more[first + 1, k], more[first, k]
    if max(slots[4 * first + 1], slots[4 * first + 5]) >= LONG:
        for k in range(first * KEPT_BYTES, (first + 1) * KEPT_BYTES):
            spelled = spellings[k]
            spellings[k] = spellings[k + KEPT_BYTES]
            spellings[k + KEPT_BYTES] = spelled


@borrowing
def three_of(out: Any, position: Any, count: Any) -> Any:
    """Up to three tokens in one word."""
    word = np.uint64(0)
    for k in range(count):
        word |= np.uint64(out[position + k]) << np.uint64(20 * k)
    return word


@borrowing
def keep(text: Any, piece: Any, cache: Any, out: Any, span: Any) -> None:
    """Put a piece into its second slot, from which it comes into the first when it comes again.

    So words that come once do not drive out common ones: of English pages 4.6 % of the pieces are
    missed and 1.3 % found in the second slot, 23 % where the new piece takes the first.
    """
    slots, more, spellings = cache
    low, high, begin, hashed = piece
    position, count = span
    for k in range(count):
        if np.uint64(out[position + k]) > TOKEN:
            return
    slot = np.int64(first_slot(slots, hashed) >> np.uint64(2))
    slot += slots[4 * slot + 1] != np.uint64(0)
    slots[4 * slot], slots[4 * slot + 1] = low, high
    slots[4 * slot + 2] = three_of(out, position, min(count, 3)) | np.uint64(count - 1) << COUNT
    slots[4 * slot + 3] = three_of(out, position + 3, min(count - 3, 3))
    for k in range(6, count):
        more[slot, k - 6] = out[position + k]
    if high >= LONG:
        for k in range(np.int64(high & LENGTH)):
            spellings[slot * KEPT_BYTES + k] = text[np.int64(begin) + k]


@borrowing
def differs(text: Any, piece: Any, cache: Any, at: Any) -> Any:
    """Whether the slot at this place holds another piece."""
    slots, _, spellings = cache
    low, high, begin, _ = piece
    if (slots[at] ^ low) | (slots[at + np.uint64(1)] ^ high):
        return True
    if high < LONG:
        return False
    kept = (at >> np.uint64(2)) * np.uint64(KEPT_BYTES)
    return not is_kept(text, spellings, kept, np.uint64(begin), high & LENGTH)


@borrowing
def write_kept(cache: Any, at: Any, out: Any, position: Any) -> Any:
    """Write the tokens that a slot holds: how many they are."""
    slots, more, _ = cache
    # Six tokens are written where one is wanted: cheaper than asking.
    first, second = slots[at + np.uint64(2)], slots[at + np.uint64(3)]
    out[position] = np.uint32(first & TOKEN)
    out[position + np.uint64(1)] = np.uint32(first >> np.uint64(20) & TOKEN)
    out[position + np.uint64(2)] = np.uint32(first >> np.uint64(40) & TOKEN)
    out[position + np.uint64(3)] = np.uint32(second & TOKEN)
    out[position + np.uint64(4)] = np.uint32(second >> np.uint64(20) & TOKEN)
    out[position + np.uint64(5)] = np.uint32(second >> np.uint64(40))
    count = (first >> COUNT) + np.uint64(1)
    for k in range(np.uint64(6), count):
        out[position + k] = more[at >> np.uint64(2), k - np.uint64(6)]
    return count


@borrowing
def find_or_merge(text: Any, piece: Any, model: Any, cache: Any, state: Any) -> Any:
    """Write the tokens of a piece that its first slot may not hold; 0 if it is too long."""
    merges, whole = model
    out, position, scratch, is_new = state
    _, high, begin, hashed = piece
    at = first_slot(cache[0], hashed)
    if not differs(text, piece, cache, at):
        return np.int64(write_kept(cache, at, out, np.uint64(position)))
    if not differs(text, piece, cache, at + np.uint64(4)):
        if is_new:
            return np.int64(write_kept(cache, at + np.uint64(4), out, np.uint64(position)))
        exchange(cache, np.int64(at >> np.uint64(2)))
        return np.int64(write_kept(cache, at, out, np.uint64(position)))
    token = whole_token(text, piece, whole) if len(whole[3]) else np.int64(-1)
    count = np.int64(1)
    if token >= 0:
        out[position] = np.uint32(token)
    elif length_of(high) <= SHORT:
        span = (np.uint64(begin), length_of(high), position, scratch)
        count = merge_short(text, merges, out, span)
    else:
        return np.int64(0)
    if count <= KEPT_TOKENS and length_of(high) <= KEPT_BYTES:
        keep(text, piece, cache, out, (position, count))
    return count


@borrowing
def look_ahead(text: Any, begin: Any, ends: Any, cache: Any, ahead: Any) -> None:
    """Describe pieces, and ask for their slots before they are looked at."""
    slots, _, spellings = cache
    for k in range(np.uint64(len(ends))):
        end = np.int64(ends[k])
        low, high, hashed = described(text, begin, end - begin)
        ahead[k, np.uint64(LOW)] = low
        ahead[k, np.uint64(HIGH)] = high
        ahead[k, np.uint64(BEGIN)] = np.uint64(begin)
        ahead[k, np.uint64(HASHED)] = hashed
        ahead[k, np.uint64(NEW)] = np.uint64(0)
        at = first_slot(slots, hashed)
        prefetch(slots, np.int64(at))
        if high >= LONG:
            prefetch(spellings, np.int64(at >> np.uint64(2)) * KEPT_BYTES)
        begin = end


@borrowing
def piece_at(ahead: Any, k: Any) -> tuple[Any, Any, Any, Any]:
    """LOW, HIGH, BEGIN and HASHED of a piece."""
    low, high = ahead[k, np.uint64(LOW)], ahead[k, np.uint64(HIGH)]
    return low, high, ahead[k, np.uint64(BEGIN)], ahead[k, np.uint64(HASHED)]


@borrowing
def not_first(size: Any, slots: Any, ahead: Any, found: Any) -> Any:
    """Which of the pieces ahead are not in the first slot of their hash: how many."""
    count = np.uint64(0)
    for k in range(np.uint64(size)):
        low, high, _, hashed = piece_at(ahead, k)
        at = first_slot(slots, hashed)
        found[count] = k
        count += np.uint64((slots[at] ^ low) | (slots[at + np.uint64(1)] ^ high) != np.uint64(0))
    return count


@borrowing
def next_new(text: Any, queue: Any, model: Any, cache: Any, ahead: Any) -> Any:
    """Where in a queue of pieces the next one stands that a lane has to merge, or its length."""
    found, at, count = queue
    while at < count:
        piece = piece_at(ahead, np.uint64(found[at]))
        slot = first_slot(cache[0], piece[HASHED])
        if (
            length_of(piece[HIGH]) <= NARROW
            and differs(text, piece, cache, slot)
            and differs(text, piece, cache, slot + np.uint64(4))
            and (not len(model[1][3]) or whole_token(text, piece, model[1]) < 0)
        ):
            return at
        at += np.uint64(1)
    return count


@borrowing
def merge_ahead(text: Any, queue: Any, model: Any, cache: Any, work: Any) -> None:
    """Put those of the pieces in a queue into the cache that are new, merged several at once."""
    found, count = queue
    ahead, lanes, at_work, made = work
    at_work[:] = count
    following, active = np.uint64(0), True
    while active:
        active = False
        for k in range(np.uint64(LANES)):
            lane = k * LANE
            if merge_best(model[0], lanes, lane):
                active = True
                continue
            if at_work[k] < count:
                place = np.uint64(found[at_work[k]])
                piece = piece_at(ahead, place)
                size = np.uint64(length_of(piece[HIGH]))
                tokens = tokens_in(model[0], lanes, lane, size, made)
                if tokens <= KEPT_TOKENS:
                    keep(text, piece, cache, made, (np.int64(0), tokens))
                    ahead[place, np.uint64(NEW)] = np.uint64(1)
            following = next_new(text, (found, following, count), model, cache, ahead)
            at_work[k] = following
            if following < count:
                piece = piece_at(ahead, np.uint64(found[following]))
                span = (piece[BEGIN], np.uint64(length_of(piece[HIGH])))
                start(text, span, model[0][1], lanes, lane)
                following += np.uint64(1)
                active = True


@helper
def encode_block(rows: Any, place: Any, ends: Any, model: Any, work: Any) -> tuple[Any, Any]:
    """Write the tokens of the pieces that end here and the ends of rows: next position and row.

    `place` is the row, the byte and the position in the output to begin with.
    """
    text, offsets = rows
    cache, out, row_ends, scratch, lanes = work
    row, begin, position = place
    slots = cache[0]
    ahead = np.empty((AHEAD, 5), np.uint64)
    found = np.empty(AHEAD + 1, np.uint16)
    ahead_work = (ahead, lanes, np.empty(LANES, np.uint64), np.empty(NARROW + 1, np.uint32))
    for first in range(0, len(ends), AHEAD):
        size = min(AHEAD, len(ends) - first)
        look_ahead(text, begin, ends[first : first + size], cache, ahead)
        count = not_first(size, slots, ahead, found)
        if count:
            merge_ahead(text, (found, count), model, cache, ahead_work)
        for k in range(np.uint64(size)):
            while offsets[row + 1] <= begin:
                row_ends[row + 1] = position
                row += 1
            low, high, _, hashed = piece_at(ahead, k)
            at = first_slot(slots, hashed)
            # Nine in ten pieces: this much is made a part of the loop.
            if high < LONG and (slots[at] ^ low) | (slots[at + np.uint64(1)] ^ high) == 0:
                written = np.int64(write_kept(cache, at, out, np.uint64(position)))
            else:
                state = (out, position, scratch, ahead[k, np.uint64(NEW)] != 0)
                written = np.int64(find_or_merge(text, piece_at(ahead, k), model, cache, state))
            end = np.int64(ends[np.uint64(first) + k])
            if not written:
                written = merge_long(text, model[0], out, (begin, end - begin, position))
            position += written
            begin = end
    return position, row


def empty_cache(slots: int) -> tuple[Hashes, NDArray[np.uint32], Bytes]:
    """Slots, further tokens of pieces that have more than six, and the bytes of long pieces.

    What no piece needs is not touched, and takes no memory.
    """
    return (
        aligned(np.zeros(4 * slots + 8, np.uint64)),
        np.zeros((slots, KEPT_TOKENS - 6), np.uint32),
        aligned(np.zeros(8 * slots + 8, np.uint64)).view(np.uint8),
    )


def token_table(tokens: Mapping[int, bytes]) -> tuple[Bytes, Hashes, Positions, Hashes]:
    """Tokens by their bytes, hashed."""
    numbers = np.array([*tokens], np.int64)
    rows = view(pa.array(tokens.values(), pa.binary()))
    pieces = pieces_within(rows)
    slots = np.zeros(2 << len(tokens).bit_length() if tokens else 0, np.uint64)
    if tokens:
        enter_tokens(pieces, slots)
    return rows.data, pieces, numbers, slots
