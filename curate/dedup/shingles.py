"""From text to normalised words, n-grams of them, and the sketch of a document's set of n-grams.

Characters, where n-grams are of these: the same letters, with one space between words.

The slots of the bands are Dahlgaard, Knudsen and Thorup's (Fast Similarity Sketching, FOCS 2017):
in each round a shingle is thrown into one slot, where the smallest hash stays, until no slot is
empty. A slot of two sets is equal with the probability of their Jaccard similarity J, as under a
permutation, but n shingles and k slots cost n + k ln k steps and not n k.

The checks, by which candidates are confirmed, are Li, Owen and Zhang's (One Permutation Hashing,
NIPS 2012): one throw, empty ones stay empty. Equal ones among those that are not empty in both
estimate J without bias, with a standard deviation of at most sqrt(J (1 - J) / k).
"""

from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from curate.column import Bytes, Hashes, Offsets, View, frozen
from curate.dedup.characters import (
    NOTHING,
    PUNCTUATION,
    SOLO,
    SPACE,
    Characters,
    character_at,
    characters,
)
from curate.dedup.distinct import sort_distinct
from curate.eight import HIGH, digits, eight, first, letters
from curate.kernel import borrowing, helper

Unit = Literal["words", "characters"]

_BASIS = np.uint64(0xCBF29CE484222325)  # FNV-1a, finished with MurmurHash3's last steps
_PRIME = np.uint64(0x100000001B3)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # of the rolling polynomial over word hashes
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(33)
# 256 bytes a document; the deviation is .02 at J = .7, and less for short documents.
CHECKS = 512
_CHECK_SHIFT = np.uint64(64 - 9)
_FOUR = np.uint64(4)
_BLANK = np.uint64(0x20)  # of no character's hash, for these are mixed
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_ASCII, _WIDE = np.uint32(0x80), np.uint32(0x800000)
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)

_ROUNDS_OF_ALL = 3  # hardly a document without repetitions needs more


class Ngram(NamedTuple):
    """How text is cut into n-grams."""

    size: int
    power: np.uint64  # _BASE ** size, which takes a unit out of the polynomial
    by_character: bool  # each character is a unit, else each word


class Workspace(NamedTuple):
    """What the sketching kernel reads besides text, and what it writes in on its way."""

    characters: Characters
    seeds: Hashes  # one per round, two rounds per slot
    slots: Hashes  # round and smallest hash
    checks: Hashes  # smallest hash
    ngram: Ngram


@cache
def round_seeds(rounds: int, seed: int) -> Hashes:
    """A number for every round (SplitMix64's sequence, with MurmurHash3's finisher)."""
    first = seed * 0x2545F4914F6CDD1D
    values = [(first + int(_BASE) * (i + 1)) % 2**64 for i in range(rounds)]
    return frozen(np.array([mixed(np.uint64(value)) for value in values], np.uint64))


def ngram_of(size: int, unit: Unit) -> Ngram:
    """N-grams of so many words or characters."""
    return Ngram(size, np.uint64(pow(int(_BASE), size, 2**64)), unit == "characters")


def workspace(slots: int, ngram: int, seed: int, unit: Unit = "words") -> Workspace:
    """Room for sketches of this many slots over n-grams of these."""
    return Workspace(
        characters(),
        round_seeds(2 * slots, seed),
        np.empty(slots, np.uint64),
        np.empty(CHECKS, np.uint64),
        ngram_of(ngram, unit),
    )


@helper
def mixed(value: np.uint64) -> np.uint64:
    """MurmurHash3's finisher: every bit of the value reaches every bit of the result."""
    value = (value ^ (value >> _SHIFT)) * _MIX_1
    value = (value ^ (value >> _SHIFT)) * _MIX_2
    return value ^ (value >> _SHIFT)


@borrowing
def absorbed(chain: np.uint64, packed: np.uint64) -> np.uint64:
    """The hash of a word so far with eight more of its bytes."""
    chain = np.uint64((chain ^ packed) * _PRIME)
    return np.uint64(chain ^ (chain >> _HALF))


class _Word(NamedTuple):
    """A word so far: what was absorbed, what was not, how many bytes that is, and how many all."""

    chain: np.uint64
    packed: np.uint64
    filled: int
    size: int


_NO_WORD = _Word(_BASIS, _ZERO, 0, 0)


@borrowing
def _longer(word: _Word, part: np.uint64, taken: int) -> _Word:
    """The word with so many bytes more, eight at most."""
    chain, packed, filled, size = word
    packed = np.uint64(packed | part << np.uint64(8 * filled))
    filled += taken
    if filled >= 8:
        chain = absorbed(chain, packed)
        filled -= 8
        packed = np.uint64(part >> np.uint64(8 * (taken - filled))) if filled > 0 else _ZERO
    return _Word(chain, packed, filled, size + taken)


@borrowing
def _told(word: _Word, out: Hashes, count: int) -> int:
    """Write the hash of a word, if there is one; how many there are then."""
    if word.size == 0:
        return count
    out[count] = mixed((word.chain ^ word.packed) + np.uint64(word.size) * _BASE)
    return count + 1


@borrowing
def _run(text: Bytes, at: int) -> tuple[np.uint64, int]:
    """ASCII letters and digits from here on, eight at most, in lower case; and how many."""
    found = eight(text, at)
    cased = letters(found)
    outside = np.uint64(~(cased | digits(found)) & HIGH)
    lower = np.uint64(found | (cased >> _TWO))
    if outside == _ZERO:
        return lower, 8
    taken = first(outside)
    return np.uint64(lower & ((_ONE << np.uint64(8 * taken)) - _ONE)), taken


@helper
def cut_words(text: Bytes, table: Characters, out: Hashes) -> int:
    """Write the hash of every word; how many there are.

    A word is hashed as its normalised bytes, eight at a time, whatever was removed between them:
    ASCII as it is, any other character as the three bytes of its number, the last one marked. Byte
    by byte this took twice as long.
    """
    at, end, count, word = 0, len(text), 0, _NO_WORD
    while at < end:
        if at + 8 <= end:
            part, taken = _run(text, at)
            if taken > 0:
                word = _longer(word, part, taken)
                at += taken
            if taken == 8:
                continue
        entry, width = character_at(text, at, end, table)
        at += width
        if entry < SPACE:
            wide = entry >= _ASCII
            word = _longer(word, np.uint64(entry | (_WIDE * wide)), 1 + 2 * wide)
        elif (entry & PUNCTUATION) == NOTHING:
            count = _told(word, out, count)
            word = _NO_WORD
            if entry & SOLO:
                out[count] = mixed(np.uint64(entry))
                count += 1
    return _told(word, out, count)


@helper
def cut_characters(text: Bytes, table: Characters, out: Hashes) -> int:
    """Write the hash of every character, and of one space between words; how many there are."""
    at, count, blank = 0, 0, False
    while at < len(text):
        entry, width = character_at(text, at, len(text), table)
        at += width
        if entry & PUNCTUATION:
            continue
        if entry & SPACE:
            blank = count > 0
            continue
        if blank:
            out[count] = _BLANK
            count += 1
            blank = False
        out[count] = mixed(np.uint64(entry))
        count += 1
    return count


@helper
def roll(units: Hashes, ngram: Ngram, out: Hashes) -> int:
    """Write the hash of every n-gram of these units; how many there are."""
    size, power = ngram.size, ngram.power
    rolled = _ZERO
    for i in range(len(units)):
        rolled = rolled * _BASE + units[i]
        if i >= size:
            rolled -= units[i - size] * power
        if i >= size - 1:
            out[i - size + 1] = min(mixed(rolled), EMPTY - _ONE)
    return max(0, len(units) - size + 1)


@helper
def shingled(text: Bytes, table: Characters, ngram: Ngram, units: Hashes, out: Hashes) -> int:
    """Write the hash of every n-gram of a text, in its order; how many there are."""
    if ngram.by_character:
        count = cut_characters(text, table, units)
    else:
        count = cut_words(text, table, units)
    return int(roll(units[:count], ngram, out))


@helper
def throw(shingle: np.uint64, seed: np.uint64, turn: int, slots: Hashes) -> bool:
    """Throw a shingle into its slot of this round; whether the slot was empty."""
    value = mixed(shingle ^ seed)
    # A slot that is still empty after a round per slot gets a round of its own.
    slot = np.int64(turn) - len(slots)
    if slot < 0:
        slot = np.int64(((value >> _HALF) * np.uint64(len(slots))) >> _HALF)
    before: np.uint64 = slots[slot]
    # Without a branch: which slots are empty cannot be predicted.
    slots[slot] = min(before, (np.uint64(turn) << _HALF) | (value & _LOW))
    return bool(before == EMPTY)


@helper
def first_round(shingles: Hashes, seed: np.uint64, slots: Hashes, checks: Hashes) -> None:
    """Throw every shingle once, and keep the smallest of those with the same first bits."""
    slots[:] = EMPTY
    checks[:] = EMPTY
    for shingle in shingles:
        throw(shingle, seed, 0, slots)
        place = shingle >> _CHECK_SHIFT
        checks[place] = min(checks[place], shingle)


@helper
def further_rounds(shingles: Hashes, seeds: Hashes, slots: Hashes) -> None:
    """Throw the shingles again until no slot is empty; they are sorted on the way.

    After two rounds without repeated ones: of a word that is said a million times there would be
    as many rounds as slots, each of a million throws.
    """
    left = np.sum(slots == EMPTY)
    turn = 1
    thrown = shingles
    while left > 0:
        if turn == _ROUNDS_OF_ALL:
            table = np.empty(5 * len(shingles) + 3, np.uint64)
            thrown = shingles[: sort_distinct(shingles, table)]
        seed = seeds[turn]
        for shingle in thrown:
            left -= throw(shingle, seed, turn, slots)
        turn += 1


@helper
def sketches(view: View, keys: Hashes, checks: Bytes, rows: int, space: Workspace) -> Offsets:
    """Write each document's band keys and four bits of each check; its shingle count."""
    data, offsets = view
    slots = space.slots
    counts = np.zeros(len(offsets) - 1, np.int32)
    longest = 0
    for i in range(len(counts)):
        longest = max(longest, offsets[i + 1] - offsets[i])
    units, shingles = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.uint64)
    for i in range(len(counts)):
        text = data[offsets[i] : offsets[i + 1]]
        count = shingled(text, space.characters, space.ngram, units, shingles)
        counts[i] = count
        if count == 0:
            continue
        first_round(shingles[:count], space.seeds[0], slots, space.checks)
        further_rounds(shingles[:count], space.seeds, slots)
        slot = 0
        for band in range(keys.shape[1]):
            key = _ZERO
            for _ in range(rows):
                key = mixed(key ^ slots[slot]) + _BASE
                slot += 1
            keys[i, band] = key
        for k in range(checks.shape[1]):
            high = nibble(space.checks[2 * k])
            checks[i, k] = np.uint8((high << _FOUR) | nibble(space.checks[2 * k + 1]))
    return counts


@helper
def nibble(check: np.uint64) -> np.uint64:
    """Zero for an empty check, else one of fifteen values."""
    if check == EMPTY:
        return _ZERO
    return np.uint64(1) + (((check * _BASE) >> _HALF) * np.uint64(15) >> _HALF)
