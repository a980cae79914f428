"""From text to normalised words, n-grams of them, and the sketch of a document's set of n-grams.

Words: letters are lower-cased one to one, punctuation, symbols, controls and bytes that are no
UTF-8 are removed, the rest is cut at white space. Han, kana, Thai, Lao, Tibetan, Myanmar, Khmer
and Yi write no spaces: there each character is a word. Not folded: digits, diacritics, composed
against decomposed letters, half against full width, sharp s, final sigma.

Characters, where n-grams are of these: the same letters, with one space between words.

The slots of the bands are Dahlgaard, Knudsen and Thorup's (Fast Similarity Sketching, FOCS 2017):
in each round a shingle is thrown into one slot, where the smallest hash stays, until no slot is
empty. A slot of two sets is equal with the probability of their Jaccard similarity J, as under a
permutation, but n shingles and k slots cost n + k ln k steps and not n k.

The checks, by which candidates are confirmed, are Li, Owen and Zhang's (One Permutation Hashing,
NIPS 2012): one throw, empty ones stay empty. Equal ones among those that are not empty in both
estimate J without bias, with a standard deviation of at most sqrt(J (1 - J) / k).
"""

import unicodedata
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Mask, Offsets, View, frozen
from curate.kernel import helper

Characters = NDArray[np.uint32]
Unit = Literal["words", "characters"]

# A character's entry: its lower-case code point and what it does to words.
CODE = np.uint32(0xFFFFFF)
SPACE = np.uint32(1 << 24)
SOLO = np.uint32(1 << 25)
PUNCTUATION = np.uint32(1 << 26)
NOTHING = np.uint32(0)

_PLANES = 0x20000  # what lies beyond is Han
# Emoji, dingbats' selectors and punctuation that are younger than Unicode 3.2.
_YOUNG_SYMBOLS = ((0x1F000, 0x1FAFF), (0x2E00, 0x2E7F), (0xFE00, 0xFE0F))
_WHITE_CONTROLS = ((9, 13), (28, 31), (0x85, 0x85))
_REMOVED = ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cc", "Cf", "Cs")
_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x312F),  # kana, Bopomofo
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0xA4CF),  # Han, Yi
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
)

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
_ZERO = np.uint64(0)
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)

# With 64 shingles per slot the chance of an empty slot after the first round is e**-64: later
# rounds need no more shingles than these, and a document of any size costs this much memory.
_STORED_PER_SLOT = 64


class Workspace(NamedTuple):
    """What the sketching kernel reads besides text, and what it writes in on its way."""

    characters: Characters
    seeds: Hashes  # one per round, two rounds per slot
    slots: Hashes  # round and smallest hash
    checks: Hashes  # smallest hash
    stored: Hashes  # the document's shingles for the rounds after the first
    words: Hashes  # the last `ngram` words
    power: np.uint64  # _BASE ** ngram, which takes a word out of the polynomial
    by_character: bool  # n-grams are of characters, each of which is its own word


def _within(codes: Characters, ranges: tuple[tuple[int, int], ...]) -> Mask:
    inside = np.zeros(len(codes), np.bool_)
    for low, high in ranges:
        inside |= (low <= codes) & (codes <= high)
    return inside


def _lower(code: int) -> int:
    # One to one, and never longer as UTF-8: the kernel's output must not outgrow its input.
    upper, lower = chr(code), chr(code).lower()
    return ord(lower) if len(lower) == 1 and len(lower.encode()) <= len(upper.encode()) else code


@cache
def characters() -> Characters:
    """The entry of every code point of the first two planes; 0.05 s, once per process."""
    codes = np.arange(_PLANES, dtype=np.uint32)
    # Unicode 3.2 is in every Python, so that no signature changes with the interpreter.
    category = np.array([*map(unicodedata.ucd_3_2_0.category, map(chr, range(_PLANES)))])
    space = np.isin(category, ("Zs", "Zl", "Zp")) | _within(codes, _WHITE_CONTROLS)
    removed = np.isin(category, _REMOVED) | _within(codes, _YOUNG_SYMBOLS)
    entries = codes.copy()
    for code in np.flatnonzero(np.isin(category, ("Lu", "Lt"))).tolist():
        entries[code] = _lower(code)
    flags = np.where(_within(codes, _UNSPACED), SOLO, NOTHING)
    flags = np.where(space, SPACE, np.where(removed, PUNCTUATION, flags))
    return frozen(entries | flags)


@cache
def round_seeds(rounds: int, seed: int) -> Hashes:
    """A number for every round (SplitMix64's sequence, with MurmurHash3's finisher)."""
    first = seed * 0x2545F4914F6CDD1D
    values = [(first + int(_BASE) * (i + 1)) % 2**64 for i in range(rounds)]
    return frozen(np.array([mixed(np.uint64(value)) for value in values], np.uint64))


def workspace(slots: int, ngram: int, seed: int, unit: Unit = "words") -> Workspace:
    """Room for sketches of this many slots over n-grams of these."""
    return Workspace(
        characters(),
        round_seeds(2 * slots, seed),
        np.empty(slots, np.uint64),
        np.empty(CHECKS, np.uint64),
        np.empty(_STORED_PER_SLOT * slots, np.uint64),
        np.empty(ngram, np.uint64),
        np.uint64(pow(int(_BASE), ngram, 2**64)),
        unit == "characters",
    )


@helper
def mixed(value: np.uint64) -> np.uint64:
    """MurmurHash3's finisher: every bit of the value reaches every bit of the result."""
    value = (value ^ (value >> _SHIFT)) * _MIX_1
    value = (value ^ (value >> _SHIFT)) * _MIX_2
    return value ^ (value >> _SHIFT)


@helper
def wide_character(
    data: Bytes, position: int, end: int, table: Characters
) -> tuple[np.uint32, int]:
    """The entry and the bytes of a character beyond ASCII; a byte that is no UTF-8 is removed."""
    lead = np.int64(data[position])
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if lead < 0xC2 or lead > 0xF4 or position + width > end:
        return PUNCTUATION, 1
    code = lead & (0x7F >> width)
    for place in range(position + 1, position + width):
        byte = np.int64(data[place])
        if byte & 0xC0 != 0x80:
            return PUNCTUATION, 1
        code = (code << 6) | (byte & 0x3F)
    # Overlong forms and what lies beyond Unicode; surrogates are in the table, as removed.
    if code < (0x80, 0x800, 0x10000)[width - 2] or code > 0x10FFFF:
        return PUNCTUATION, 1
    if code < len(table):
        return table[code], width
    return SOLO | np.uint32(code), width


@helper
def character_at(data: Bytes, position: int, end: int, table: Characters) -> tuple[np.uint32, int]:
    """The entry and the bytes of a character."""
    if data[position] < 0x80:
        return table[data[position]], 1
    wide: tuple[np.uint32, int] = wide_character(data, position, end, table)
    return wide


@helper
def next_word(data: Bytes, position: int, end: int, table: Characters) -> tuple[np.uint64, int]:
    """The hash of the first word from here, 0 if there is none, and the place behind it."""
    word = _BASIS
    while position < end:
        entry, width = character_at(data, position, end, table)
        if entry < SPACE:
            word = (word ^ np.uint64(entry)) * _PRIME
        elif (entry & PUNCTUATION) == NOTHING:
            if word != _BASIS:
                break
            if entry & SOLO:
                return mixed(np.uint64(entry)), position + width
        position += width
    return (mixed(word) if word != _BASIS else _ZERO), position


@helper
def next_character(
    data: Bytes, position: int, end: int, table: Characters
) -> tuple[np.uint64, int]:
    """The hash of the next character, of a space for white space before one, 0 at the end."""
    blank = False
    while position < end:
        entry, width = character_at(data, position, end, table)
        if entry & PUNCTUATION == NOTHING:
            if entry & SPACE == NOTHING:
                # The space comes first; the character is read again.
                return (_BLANK, position) if blank else (mixed(np.uint64(entry)), position + width)
            blank = True
        position += width
    return _ZERO, position


@helper
def begin(data: Bytes, position: int, end: int, table: Characters) -> int:
    """The place behind the white space and whatever else is no character at a text's beginning."""
    while position < end:
        entry, width = character_at(data, position, end, table)
        if entry & (PUNCTUATION | SPACE) == NOTHING:
            return position
        position += width
    return position


@helper
def next_unit(
    data: Bytes, position: int, end: int, table: Characters, by_character: bool
) -> tuple[np.uint64, int]:
    """The hash of the next word, or of the next character, and the place behind it."""
    if by_character:
        character: tuple[np.uint64, int] = next_character(data, position, end, table)
        return character
    word: tuple[np.uint64, int] = next_word(data, position, end, table)
    return word


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
def first_round(data: Bytes, start: int, end: int, space: Workspace) -> int:
    """Throw every shingle of the text once and store the first of them; how many there are."""
    table, seeds, slots, checks, stored, words, power, by_character = space
    slots[:] = EMPTY
    checks[:] = EMPTY
    words[:] = _ZERO
    seed, ngram = seeds[0], len(words)
    count, place, rolled = -ngram, 0, _ZERO
    position = begin(data, start, end, table) if by_character else start
    while position < end:
        word, position = next_unit(data, position, end, table, by_character)
        if word == _ZERO:
            break
        rolled = rolled * _BASE + word - words[place] * power
        words[place] = word
        place = place + 1 if place + 1 < ngram else 0
        count += 1
        if count >= 0:
            throw(rolled, seed, 0, slots)
            check = mixed(rolled)
            place_of_check = check >> _CHECK_SHIFT
            checks[place_of_check] = min(checks[place_of_check], check)
            if count < len(stored):
                stored[count] = rolled
    return max(count + 1, 0)


@helper
def further_rounds(stored: Hashes, seeds: Hashes, slots: Hashes) -> None:
    """Throw the stored shingles again until no slot is empty."""
    left = np.sum(slots == EMPTY)
    turn = 1
    while left > 0:
        seed = seeds[turn]
        for i in range(len(stored)):
            left -= throw(stored[i], seed, turn, slots)
        turn += 1


@helper
def sketches(view: View, keys: Hashes, checks: Bytes, rows: int, space: Workspace) -> Offsets:
    """Write each document's band keys and four bits of each check; its shingle count."""
    data, offsets = view
    slots = space.slots
    counts = np.zeros(len(offsets) - 1, np.int32)
    for i in range(len(counts)):
        counts[i] = first_round(data, offsets[i], offsets[i + 1], space)
        if counts[i] == 0:
            continue
        further_rounds(space.stored[: counts[i]], space.seeds, slots)
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


@helper
def encode(code: int, out: Bytes, place: int) -> int:
    """Write a code point as UTF-8; the place behind it."""
    width = 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    if width == 1:
        out[place] = code
        return place + 1
    for k in range(width - 1, 0, -1):
        out[place + k] = 0x80 | (code & 0x3F)
        code >>= 6
    out[place] = ((0xF00 >> width) & 0xFF) | code
    return place + width


@helper
def folded(view: View, table: Characters, removed: np.uint32) -> tuple[Bytes, Offsets]:
    """The texts in lower case, white space as one blank, without characters of these entries."""
    first = view.offsets[0]
    out = np.empty(view.offsets[-1] - first, np.uint8)
    offsets = np.zeros(len(view.offsets), np.int32)
    place = 0
    for i in range(len(offsets) - 1):
        position, end = np.int64(view.offsets[i]), np.int64(view.offsets[i + 1])
        start, blank = place, False
        while position < end:
            entry, width = character_at(view.data, position, end, table)
            position += width
            if entry & removed:
                continue
            if entry & SPACE:
                blank = place > start
                continue
            if blank:
                out[place] = 0x20
                place += 1
                blank = False
            place = encode(np.int64(entry & CODE), out, place)
        offsets[i + 1] = place
    return out, offsets
