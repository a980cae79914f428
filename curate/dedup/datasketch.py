"""Signatures as the library datasketch makes them, bit for bit, so that its indexes can be used.

The n-grams are those of curate/dedup/shingles.py as text: words joined by one space, in UTF-8. Each
is hashed by SHA-1, of which the first four bytes count, lowest first, and goes through every
permutation: `affine32` of version 2, or `(a h + b) mod (2**61 - 1)`, cut to 32 bits, as before it.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Positions, View, frozen
from curate.dedup.characters import (
    CODE,
    NOTHING,
    PUNCTUATION,
    SOLO,
    SPACE,
    Characters,
    character_at,
    characters,
    encode,
)
from curate.kernel import helper

Words32 = NDArray[np.uint32]

LEGACY = "datasketch-legacy"
_PRIME = np.uint64((1 << 61) - 1)
_LOW = np.uint64(0xFFFFFFFF)
_BLOCK = 64
_K = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_FMIX_1, _FMIX_2 = np.uint64(0x85EBCA6B), np.uint64(0xC2B2AE35)


class Permutations(NamedTuple):
    """What hashes go through."""

    a: Hashes
    b: Hashes
    legacy: bool


class Room(NamedTuple):
    """What a text is cut and hashed in."""

    characters: Characters
    buffer: Bytes  # its words
    words: Positions  # where each begins and ends in it
    block: Words32  # of SHA-1


@cache
def permutations(count: int, seed: int, scheme: str) -> Permutations:
    """Those that the library draws for this seed."""
    generator = np.random.RandomState(seed)
    if scheme == LEGACY:
        drawn = [
            (
                generator.randint(1, _PRIME, dtype=np.uint64),
                generator.randint(0, _PRIME, dtype=np.uint64),
            )
            for _ in range(count)
        ]
        a, b = np.array(drawn, np.uint64).reshape(-1, 2).T
    else:
        odd = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        a = odd.astype(np.uint64)
        b = generator.randint(0, 1 << 32, count, dtype=np.uint32).astype(np.uint64)
    return Permutations(frozen(a), frozen(b), scheme == LEGACY)


def signatures(texts: View, ngram: int, hashes: int, seed: int, scheme: str) -> Words32:
    """The smallest of all hashes under each permutation, a row for each text."""
    out = np.full((len(texts.offsets) - 1, hashes), _LOW, np.uint32)
    longest = int(np.diff(texts.offsets).max(initial=0))
    room = Room(
        characters(),
        np.empty(2 * longest + 2 * _BLOCK, np.uint8),
        np.empty((longest + 1, 2), np.int64),
        np.empty(80, np.uint32),
    )
    _sign(texts, ngram, permutations(hashes, seed, scheme), room, out)
    return out


@helper
def _spaced(data: Bytes, table: Characters, out: Bytes, words: Positions) -> int:
    """Write the words of a text joined by one space; where each begins and ends, and how many."""
    count, to, inside = 0, 0, False
    position, end = 0, len(data)
    while position < end:
        entry, width = character_at(data, position, end, table)
        position += width
        if entry & PUNCTUATION:
            continue
        alone = entry & SOLO != NOTHING
        if inside and (alone or entry & SPACE != NOTHING):
            words[count, 1] = to
            out[to] = 0x20
            to += 1
            count += 1
            inside = False
        if entry & SPACE:
            continue
        if not inside:
            words[count, 0] = to
        to = encode(np.int64(entry & CODE), out, to)
        inside = not alone
        if alone:
            words[count, 1] = to
            out[to] = 0x20
            to += 1
            count += 1
    if inside:
        words[count, 1] = to
        count += 1
    return count


@helper
def _rotated(word: np.uint32, by: int) -> np.uint32:
    return np.uint32((word << np.uint32(by)) | (word >> np.uint32(32 - by)))


@helper
def _mix_block(state: Words32, block: Words32) -> None:
    """One round of SHA-1 (FIPS 180-4, 6.1.2)."""
    for t in range(16, 80):
        block[t] = _rotated(block[t - 3] ^ block[t - 8] ^ block[t - 14] ^ block[t - 16], 1)
    a, b, c, d, e = state[0], state[1], state[2], state[3], state[4]
    for t in range(80):
        if t < 20:
            f = (b & c) | (~b & d)
        elif 40 <= t < 60:
            f = (b & c) | (b & d) | (c & d)
        else:
            f = b ^ c ^ d
        new = np.uint32(_rotated(a, 5) + f + e + block[t] + np.uint32(_K[t // 20]))
        e, d, c, b, a = d, c, _rotated(b, 30), a, new
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e


@helper
def sha1_32(data: Bytes, start: int, end: int, block: Words32) -> np.uint64:
    """The first four bytes of the SHA-1 of a stretch, as a number with the lowest first."""
    state = np.array(_START, np.uint32)
    size = end - start
    for first in range(0, size + 9, _BLOCK):
        for t in range(16):
            word = np.uint32(0)
            for k in range(4):
                at = first + 4 * t + k
                byte = np.uint32(data[start + at]) if at < size else np.uint32(0x80 * (at == size))
                word = np.uint32((word << np.uint32(8)) | byte)
            block[t] = word
        if first + _BLOCK >= size + 9:
            bits = np.uint64(8 * size)
            block[14] = np.uint32(bits >> np.uint64(32))
            block[15] = np.uint32(bits & _LOW)
        _mix_block(state, block)
    top = np.uint64(state[0])
    swapped: np.uint64 = (
        (top >> np.uint64(24))
        | ((top >> np.uint64(8)) & np.uint64(0xFF00))
        | ((top << np.uint64(8)) & np.uint64(0xFF0000))
        | ((top << np.uint64(24)) & np.uint64(0xFF000000))
    )
    return swapped


@helper
def _premixed(value: np.uint64) -> np.uint64:
    """MurmurHash3's 32-bit finisher."""
    value ^= value >> np.uint64(16)
    value = (value * _FMIX_1) & _LOW
    value ^= value >> np.uint64(13)
    value = (value * _FMIX_2) & _LOW
    return np.uint64(value ^ (value >> np.uint64(16)))


@helper
def _sign(texts: View, ngram: int, through: Permutations, room: Room, out: Words32) -> None:
    table, buffer, words, block = room
    a, b, legacy = through
    for row in range(len(out)):
        start, end = np.int64(texts.offsets[row]), np.int64(texts.offsets[row + 1])
        count = _spaced(texts.data[start:end], table, buffer, words)
        own = out[row]
        for first in range(count - ngram + 1):
            value = sha1_32(buffer, words[first, 0], words[first + ngram - 1, 1], block)
            if legacy:
                for k in range(len(own)):
                    hashed = (value * a[k] + b[k]) % _PRIME & _LOW
                    own[k] = min(own[k], np.uint32(hashed))
            else:
                value = _premixed(value)
                for k in range(len(own)):
                    own[k] = min(own[k], np.uint32((value * a[k] + b[k]) & _LOW))
