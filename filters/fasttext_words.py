"""The sum of the rows of a text's words, as fastText finds them (dictionary.cc).

The library adds the rows of every n-gram of letters of every word; this remembers the sum of every
frequent word. A word's rows are summed by themselves and in one order, then added to its text's, so
that what was remembered, or forgotten, changes nothing.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Positions, View
from curate.eight import eight
from curate.kernel import borrowing, helper, inlined
from filters.fasttext_file import LABEL, Floats, Ranks

END = b"</s>"

Bits = NDArray[np.uint32]
Int = Any  # of Python or of NumPy: to a kernel they are the same

# FNV-1a over signed bytes, as fastText hashes.
_BASIS = 2166136261
_PRIME = 16777619
_MASK = 0xFFFFFFFF
_SIGN = 0xFFFFFF00
_WORD_NGRAM = np.uint64(116049371)
_STEP = np.uint64(0xFF51AFD7ED558CCD)
_0, _1, _32, _LOW = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(_MASK)
_UNDERSCORE = 95

# Words up to this length are remembered.
CACHED_BYTES = 48
# A slot's numbers: the word, eight bytes to each, its size, and its rows and hash (32 bits each).
SIZE, FOUND, SLOT_NUMBERS = 6, 7, 8
# Buckets that are looked up together; more are looked up in turns.
TOGETHER = 1024


class Vocabulary(NamedTuple):
    """What kernels need to find the rows of a word."""

    letters: Bytes  # all words and labels, one after another
    starts: Positions
    slots: Hashes  # open addressing by hash: the hash, and below 32 bits the entry + 1; 0: free
    bits: Bits  # which buckets were not pruned, 32 to a number; empty if all are there
    ranks: Ranks  # how many of them come before each 32
    rows: Floats  # of words, then of buckets, in their order
    numbers: Positions  # WORDS to END_ENTRY


# Words in the dictionary, n-grams of letters from and to, buckets, n-grams of words up to, and the
# entry of END or -1.
WORDS, MIN_N, MAX_N, BUCKETS, WORD_N, END_ENTRY = range(6)


class Cache(NamedTuple):
    """The sums of the rows of words that came before; in the last slot, of the word at hand."""

    words: Hashes
    sums: Floats


class Room(NamedTuple):
    """Where a kernel keeps the word at hand, and writes what it finds."""

    word: Bytes  # in brackets
    key: Hashes  # the same without, eight bytes to a number
    buckets: Positions
    heard: Hashes  # the hashes of words whose n-grams are not yet summed
    hidden: Floats  # a row for each text: the mean of its rows
    counts: Positions  # how many rows there were


@inlined
def fnv(total: Int, byte: Int) -> Int:
    """One step of the hash."""
    signed = byte if byte < 128 else byte | _SIGN
    return ((total ^ signed) * _PRIME) & _MASK


@inlined
def is_separator(byte: Int) -> Any:
    """What parts words: space, tab, line ends, and NUL."""
    return (byte == 32) | ((byte >= 9) & (byte <= 13)) | (byte == 0)


@inlined
def word_end(data: Bytes, at: Int, end: Int) -> Int:
    """Where the word that begins here ends."""
    while at < end:
        byte = data[np.uint64(at)]
        if byte <= 32 and is_separator(byte):
            break
        at += 1
    return at


@inlined
def slot_of(data: Bytes, at: Int, end: Int, key: Hashes, slots: Int) -> Int:
    """Where a word is remembered; its bytes go into `key`, eight to a number."""
    hashed = np.uint64(end - at)
    block: Int = 0
    while at < end:
        found = _0
        if at + 8 <= len(data):  # one load; what lies behind the word is shifted out
            beyond = np.uint64(8 * max(at + 8 - end, 0))
            found = np.uint64(eight(data, at) << beyond) >> beyond
        else:
            for place in range(min(8, end - at)):
                found |= np.uint64(data[np.uint64(at + place)]) << np.uint64(8 * place)
        key[block] = found
        hashed = np.uint64((hashed ^ found) * _STEP)
        hashed ^= hashed >> _32
        block += 1
        at += 8
    return np.int64(hashed & np.uint64(slots - 1))


@inlined
def is_known(words: Hashes, slot: Int, key: Hashes, size: Int) -> Any:
    """Whether the slot remembers this word, byte for byte."""
    if words[slot, SIZE] != np.uint64(size):
        return False
    block: Int = 0
    while block < (size + 7) >> 3 and words[slot, block] == key[block]:
        block += 1
    return block == (size + 7) >> 3


@inlined
def begins(word: Bytes, size: Int, letters: bytes) -> Any:
    """Whether the word in its brackets begins so."""
    if size < len(letters):
        return False
    equal: Int = 0
    for place in range(len(letters)):
        equal += word[place + 1] == letters[place]
    return equal == len(letters)


@inlined
def spells(word: Bytes, size: Int, entry: Int, vocabulary: Vocabulary) -> Any:
    """Whether the dictionary's entry is this word in its brackets."""
    start = vocabulary.starts[entry]
    if vocabulary.starts[entry + 1] - start != size:
        return False
    equal: Int = 0
    while equal < size and vocabulary.letters[start + equal] == word[equal + 1]:
        equal += 1
    return equal == size


@inlined
def entry_of(word: Bytes, size: Int, hashed: Int, vocabulary: Vocabulary) -> Int:
    """The dictionary's entry for this word in its brackets, or -1."""
    slots = vocabulary.slots
    mask = np.uint64(len(slots) - 1)
    slot = np.uint64(hashed) & mask
    while slots[slot] != _0:
        entry = np.int64(slots[slot] & _LOW) - 1
        if slots[slot] >> _32 == np.uint64(hashed) and spells(word, size, entry, vocabulary):
            return entry
        slot = np.uint64(slot + _1) & mask
    return -1


@inlined
def remainder(hashed: Int, buckets: Int, inverse: Int) -> Int:
    """The remainder of a 32-bit number; the division by `2**32 // buckets` is at most one short."""
    bucket = hashed - ((hashed * inverse) >> 32) * buckets
    return bucket - buckets if bucket >= buckets else bucket


@inlined
def hash_letters(word: Bytes, first: Int, end: Int, numbers: Any, room: Room) -> Int:
    """Add the buckets of the n-grams of letters that begin here; how many there are then."""
    low, high, buckets, inverse, count = numbers
    hashed = np.int64(_BASIS)
    at = first
    length = 0
    while at < end and length < high:
        hashed = fnv(hashed, np.int64(word[np.uint64(at)]))
        at += 1
        if at < end and (word[np.uint64(at)] & 0xC0) == 0x80:
            continue
        length += 1
        if length < low or (length == 1 and (first == 0 or at == end)):
            continue
        room.buckets[np.uint64(count)] = remainder(hashed, buckets, inverse)
        count += 1
    return count


@inlined
def keep_rows(room: Room, count: Int, bits: Bits, ranks: Ranks) -> Int:
    """Keep the buckets that were not pruned, as the places of their rows; how many.

    In two loops, for seven of eight n-grams have no row and nobody guesses which. Counting bits
    keeps the tables in 0.5 MB; a plain one of 8 MB missed the processor's cache.
    """
    kept = 0
    for place in range(count):
        bucket = room.buckets[np.uint64(place)]
        room.buckets[np.uint64(kept)] = bucket
        kept += (np.int64(bits[np.uint64(bucket >> 5)]) >> (bucket & 31)) & 1
    for place in range(kept):
        bucket = room.buckets[np.uint64(place)]
        below = np.int64(bits[np.uint64(bucket >> 5)]) & ((1 << (bucket & 31)) - 1)
        below = below - ((below >> 1) & 0x55555555)
        below = (below & 0x33333333) + ((below >> 2) & 0x33333333)
        below = (((below + (below >> 4)) & 0x0F0F0F0F) * 0x01010101) >> 24 & 0xFF
        room.buckets[np.uint64(place)] = np.int64(ranks[np.uint64(bucket >> 5)]) + below
    return kept


@inlined
def add(total: Floats, place: Int, rows: Floats, row: Int) -> None:
    """Add one row to another."""
    for column in range(np.uint64(rows.shape[1])):
        total[np.uint64(place), column] += rows[np.uint64(row), column]


@inlined
def add_letters(room: Room, size: Int, vocabulary: Vocabulary, sums: Floats, slot: Int) -> Int:
    """Add the rows of the n-grams of letters of `<word>`; how many."""
    words, low, high, buckets = vocabulary.numbers[:4]
    inverse = (1 << 32) // buckets
    added = 0
    count = 0
    for first in range(size):
        if (room.word[np.uint64(first)] & 0xC0) != 0x80:
            numbers = (low, high, buckets, inverse, count)
            count = hash_letters(room.word, first, size, numbers, room)
        if count + high > TOGETHER or first + 1 == size:
            if len(vocabulary.bits) > 0:
                count = keep_rows(room, count, vocabulary.bits, vocabulary.ranks)
            for place in range(count):
                add(sums, slot, vocabulary.rows, words + room.buckets[np.uint64(place)])
            added += count
            count = 0
    return added


@borrowing
def sum_word(room: Room, size: Int, vocabulary: Vocabulary, sums: Floats, slot: Int) -> Int:
    """Sum the rows of `<word>` into a slot; its hash and above how many, or -1 for a label."""
    hashed = np.int64(_BASIS)
    for place in range(1, size + 1):
        hashed = fnv(hashed, np.int64(room.word[np.uint64(place)]))
    entry = entry_of(room.word, size, hashed, vocabulary)
    if entry >= vocabulary.numbers[WORDS]:
        return -1
    if entry < 0 and room.word[1] == _UNDERSCORE and begins(room.word, size, LABEL):
        return -1
    for column in range(np.uint64(sums.shape[1])):
        sums[np.uint64(slot), column] = 0
    added = 0
    if entry >= 0:
        add(sums, slot, vocabulary.rows, entry)
        added = 1
    if vocabulary.numbers[MAX_N] > 0:
        added += add_letters(room, size + 2, vocabulary, sums, slot)
    return added << 32 | hashed


@inlined
def remember(cache: Cache, slot: Int, size: Int, key: Hashes) -> None:
    """Move the word at hand, and its sum, to a slot of its own."""
    cache.words[slot, SIZE] = np.uint64(size)
    for block in range((size + 7) >> 3):
        cache.words[slot, block] = key[block]
    last = len(cache.words) - 1
    for column in range(np.uint64(cache.sums.shape[1])):
        cache.sums[np.uint64(slot), column] = cache.sums[np.uint64(last), column]


@inlined
def remembered(data: Bytes, word: Any, vocabulary: Vocabulary, cache: Cache, room: Room) -> Int:
    """The slot with the sum of a word's rows; -1 for a label, -2 for END.

    A word is compared byte for byte, and its sum taken in one order: what else was remembered, or
    forgotten, changes nothing.
    """
    at, end = word
    size = end - at
    last = len(cache.words) - 1
    slot = last
    if size <= CACHED_BYTES:
        slot = slot_of(data, at, end, room.key, last)
        if is_known(cache.words, slot, room.key, size):
            return slot
    for place in range(size):
        room.word[np.uint64(place + 1)] = data[np.uint64(at + place)]
    room.word[size + 1] = 62
    if size == len(END) and begins(room.word, size, END):
        return -2
    # Summed where the processor has it at hand: in the slot itself it took up to a quarter longer.
    found = sum_word(room, size, vocabulary, cache.sums, last)
    if found < 0:
        return -1
    cache.words[slot, FOUND] = np.uint64(found)
    if slot != last:
        remember(cache, slot, size, room.key)
    return slot


@borrowing
def add_grams(text: Int, waiting: Int, firsts: Int, vocabulary: Vocabulary, room: Room) -> Int:
    """Add the rows of the n-grams that begin with the first of the waiting words; how many.

    Many rows are looked up together, for each is far away: nobody waits for one before the next.
    """
    count = 0
    for first in range(firsts):
        joined = room.heard[first]
        for after in range(first + 1, min(first + vocabulary.numbers[WORD_N], waiting)):
            joined = np.uint64(joined * _WORD_NGRAM + room.heard[after])
            room.buckets[count] = np.int64(joined % np.uint64(vocabulary.numbers[BUCKETS]))
            count += 1
    if len(vocabulary.bits) > 0:
        count = keep_rows(room, count, vocabulary.bits, vocabulary.ranks)
    for place in range(count):
        row = vocabulary.numbers[WORDS] + room.buckets[np.uint64(place)]
        add(room.hidden, text, vocabulary.rows, row)
    for place in range(waiting - firsts):
        room.heard[place] = room.heard[firsts + place]
    return count


@inlined
def hear(hashed: Int, waiting: Int, room: Room) -> Int:
    """Let one more word wait, by its hash as fastText keeps it: a signed number of 32 bits."""
    room.heard[waiting] = np.uint64(hashed if hashed < 0x80000000 else hashed - 0x100000000)
    return waiting + 1


@inlined
def add_end(text: Int, waiting: Int, vocabulary: Vocabulary, room: Room) -> Int:
    """Add the rows with which fastText ends a text; how many."""
    added: Int = 0
    if vocabulary.numbers[END_ENTRY] >= 0:
        add(room.hidden, text, vocabulary.rows, vocabulary.numbers[END_ENTRY])
        added = 1
    if vocabulary.numbers[WORD_N] > 1:
        hashed: Int = np.int64(_BASIS)
        for place in range(len(END)):
            hashed = fnv(hashed, np.int64(END[place]))
        waiting = hear(hashed, waiting, room)
        added += add_grams(text, waiting, waiting, vocabulary, room)
    return added


@inlined
def add_words(view: View, text: Int, vocabulary: Vocabulary, cache: Cache, room: Room) -> Int:
    """Add the rows of a text's words and n-grams of words; how many, 0 without words."""
    at, end = np.int64(view.offsets[text]), np.int64(view.offsets[text + 1])
    longest = vocabulary.numbers[WORD_N]
    added: Int = 0
    words = 0
    waiting: Int = 0
    while at < end:
        if is_separator(view.data[np.uint64(at)]):
            at += 1
            continue
        begin = at
        at = word_end(view.data, at, end)
        slot = remembered(view.data, (begin, at), vocabulary, cache, room)
        if slot == -2:
            break
        if slot == -1:
            continue
        add(room.hidden, text, cache.sums, slot)
        found = cache.words[np.uint64(slot), FOUND]
        added += np.int64(found >> _32)
        words += 1
        if longest > 1:
            waiting = hear(np.int64(found & _LOW), waiting, room)
            if waiting * longest >= TOGETHER:
                added += add_grams(text, waiting, waiting - longest + 1, vocabulary, room)
                waiting = longest - 1
    return added + add_end(text, waiting, vocabulary, room) if words else 0


@borrowing
def add_texts(view: View, vocabulary: Vocabulary, cache: Cache, room: Room) -> None:
    """Fill `room` with the mean of the rows of every text, and how many rows there were."""
    room.word[0] = 60
    for text in range(len(view.offsets) - 1):
        count = add_words(view, text, vocabulary, cache, room)
        room.counts[text] = count
        for column in range(room.hidden.shape[1] if count else 0):
            room.hidden[text, column] /= np.float32(count)


@helper
def enter(letters: Bytes, starts: Positions, slots: Hashes) -> None:
    """Enter all words into the table by their hashes."""
    mask = np.uint64(len(slots) - 1)
    for entry in range(len(starts) - 1):
        hashed = np.int64(_BASIS)
        for place in range(starts[entry], starts[entry + 1]):
            hashed = fnv(hashed, np.int64(letters[place]))
        slot = np.uint64(hashed) & mask
        while slots[slot] != _0:
            slot = np.uint64(slot + _1) & mask
        slots[slot] = np.uint64(hashed) << _32 | np.uint64(entry + 1)


@helper
def find(word: Bytes, vocabulary: Vocabulary) -> Int:
    """The dictionary's entry for a word in its brackets, or -1."""
    hashed = np.int64(_BASIS)
    for place in range(1, len(word) - 1):
        hashed = fnv(hashed, np.int64(word[place]))
    return entry_of(word, len(word) - 2, hashed, vocabulary)
