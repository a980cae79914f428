"""64-bit hashes of bytes, and tables of them: fast, deterministic, not for secrets."""

import numpy as np

from curate.column import Bytes, Hashes, Offsets
from curate.kernel import borrowing

SEED = np.uint64(0xCBF29CE484222325)
_STEP = np.uint64(0x100000001B3)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_33 = np.uint64(33)
_1, _2, _3, _4, _5, _6, _7 = (np.uint64(place) for place in range(1, 8))


@borrowing
def mix(hashed: np.uint64) -> np.uint64:
    """A permutation of the 64-bit numbers whose low bits depend on all (murmur3's last step)."""
    hashed = np.uint64((hashed ^ (hashed >> _33)) * _MIX_1)
    hashed = np.uint64((hashed ^ (hashed >> _33)) * _MIX_2)
    return np.uint64(hashed ^ (hashed >> _33))


@borrowing
def join(hashed: np.uint64, following: np.uint64) -> np.uint64:
    """The hash of a sequence of hashes, followed by one more; start from SEED."""
    return mix(np.uint64(hashed * _STEP + following))


@borrowing
def hash_bytes(text: Bytes, start: int, end: int) -> np.uint64:
    """The hash of a stretch of bytes, eight at a time: twice as fast as one at a time."""
    # Multiplied, for a bare length would meet the first byte: one 3 and three 0 hashed alike.
    hashed = np.uint64((SEED ^ np.uint64(end - start)) * _MIX_2)
    at = start
    while at < end:
        eight = np.uint64(0)
        if at + 8 <= len(text):
            # One load, once compiled, for the places are unsigned: others could count from the end
            # and would be tested. What lies behind the end is shifted out.
            place = np.uint64(at)
            eight = (
                np.uint64(text[place])
                | np.uint64(text[place + _1]) << np.uint64(8)
                | np.uint64(text[place + _2]) << np.uint64(16)
                | np.uint64(text[place + _3]) << np.uint64(24)
                | np.uint64(text[place + _4]) << np.uint64(32)
                | np.uint64(text[place + _5]) << np.uint64(40)
                | np.uint64(text[place + _6]) << np.uint64(48)
                | np.uint64(text[place + _7]) << np.uint64(56)
            )
            beyond = np.uint64(8 * max(at + 8 - end, 0))
            eight = np.uint64(eight << beyond) >> beyond
        else:
            for more in range(end - at):
                eight |= np.uint64(text[at + more]) << np.uint64(8 * more)
        hashed = np.uint64((hashed ^ eight) * _MIX_1)
        hashed ^= hashed >> _33
        at += 8
    return mix(hashed)


def hash_word(word: bytes) -> np.uint64:
    """The hash that the index gives to this word."""
    hashed = (int(SEED) ^ len(word)) * int(_MIX_2) % 2**64
    for at in range(0, len(word), 8):
        hashed = (hashed ^ int.from_bytes(word[at : at + 8], "little")) * int(_MIX_1) % 2**64
        hashed ^= hashed >> 33
    for factor in (int(_MIX_1), int(_MIX_2)):
        hashed = (hashed ^ hashed >> 33) * factor % 2**64
    return np.uint64(hashed ^ hashed >> 33)


@borrowing
def clear(slots: Offsets, count: int) -> int:
    """Empty a table with room for `count` entries, at most half full; its size less one."""
    size = 4
    while size < 2 * count:
        size *= 2
    for slot in range(size):
        slots[slot] = 0
    return size - 1


@borrowing
def first_seen(keys: Hashes, item: int, slots: Offsets, mask: int) -> int:
    """The first item with the key of this one, which is entered if it is the first itself."""
    key, last = keys[item], np.uint64(mask)
    slot = key & last
    while slots[slot] != 0:
        earlier = slots[slot] - 1
        if keys[np.uint64(earlier)] == key:
            return int(earlier)
        slot = np.uint64(slot + _1) & last
    slots[slot] = item + 1
    return item
