"""64-bit hashes of bytes, and tables of them: fast, deterministic, not for secrets."""

import numpy as np

from curate.column import Bytes, Hashes, Offsets
from curate.kernel import inlined

SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)  # with SEED, Fowler-Noll-Vo 1a
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_33 = np.uint64(33)


@inlined
def step(hashed: np.uint64, byte: int) -> np.uint64:
    """The hash of the bytes so far, followed by this one; start from SEED."""
    return np.uint64((hashed ^ np.uint64(byte)) * PRIME)


@inlined
def mix(hashed: np.uint64) -> np.uint64:
    """A permutation of the 64-bit numbers whose low bits depend on all (murmur3's last step)."""
    hashed = np.uint64((hashed ^ (hashed >> _33)) * _MIX_1)
    hashed = np.uint64((hashed ^ (hashed >> _33)) * _MIX_2)
    return np.uint64(hashed ^ (hashed >> _33))


@inlined
def join(hashed: np.uint64, following: np.uint64) -> np.uint64:
    """The hash of a sequence of hashes, followed by one more; start from SEED."""
    return mix(np.uint64(hashed * PRIME + following))


def hash_word(word: bytes) -> np.uint64:
    """The hash that the index gives to this word."""
    hashed = int(SEED)
    for byte in word:
        hashed = (hashed ^ byte) * int(PRIME) % 2**64
    for factor in (int(_MIX_1), int(_MIX_2)):
        hashed = (hashed ^ hashed >> 33) * factor % 2**64
    return np.uint64(hashed ^ hashed >> 33)


@inlined
def hash_bytes(text: Bytes, start: int, end: int) -> np.uint64:
    """The hash of a stretch of bytes, eight at a time: about 4 GB/s, where `step` does 0.7."""
    hashed = SEED ^ np.uint64(end - start)
    at = start
    while at + 8 <= end:
        # The compiler makes one load of this.
        eight = np.uint64(text[at])
        for place in range(1, 8):
            eight |= np.uint64(text[at + place]) << np.uint64(8 * place)
        hashed = np.uint64((hashed ^ eight) * _MIX_1)
        hashed ^= hashed >> _33
        at += 8
    while at < end:
        hashed = step(hashed, text[at])
        at += 1
    return mix(hashed)


@inlined
def clear(slots: Offsets, count: int) -> int:
    """Empty a table with room for `count` entries, at most half full; its size less one."""
    size = 4
    while size < 2 * count:
        size *= 2
    for slot in range(size):
        slots[slot] = 0
    return size - 1


@inlined
def first_seen(keys: Hashes, item: int, slots: Offsets, mask: int) -> int:
    """The first item with the key of this one, which is entered if it is the first itself."""
    key = keys[item]
    slot = np.int64(key & np.uint64(mask))
    while slots[slot] != 0:
        earlier = int(slots[slot] - 1)
        if keys[earlier] == key:
            return earlier
        slot = (slot + 1) & mask
    slots[slot] = item + 1
    return item
