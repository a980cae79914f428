"""From sentences to numbers, one for each word, and from these to counts of n-grams.

Words are numbered in the order in which they first appear, in each unit of input and then in all
units one after another, so that numbers depend on the input alone.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curate.column import Bytes, Hashes, Offsets, Positions, View, view
from curate.hashing import hash_bytes, hash_word
from curate.kernel import borrowing, helper
from curate.lm.adjust import BEGIN, END, UNKNOWN
from curate.lm.rows import PAYLOAD, Rows, Sorter

# KenLM takes both spellings for the unknown word. In a text all of them are as good as space.
SPECIAL = {b"<unk>": UNKNOWN, b"<UNK>": UNKNOWN, b"<s>": BEGIN, b"</s>": END}
NAMES = (b"<unk>", b"<s>", b"</s>")
STEP_BYTES = 1 << 20


class Table(NamedTuple):
    """Words by number: their hashes, where each one's letters end, and slots to find them."""

    slots: Offsets  # number + 1, or 0
    hashes: Hashes
    ends: Positions
    letters: Bytes
    counts: Positions  # words, and how often a special one was met


@borrowing
def parts(byte: int) -> bool:
    """Whether KenLM parts words here."""
    return byte == 32 or 9 <= byte <= 13 or byte == 0


@helper
def slot_of(hashed: np.uint64, table: Table) -> int:
    """Where a word is, or would be: two words of one hash are one, as in KenLM."""
    mask = np.uint64(len(table.slots) - 1)
    slot = hashed & mask
    while table.slots[slot] != 0 and table.hashes[table.slots[slot] - 1] != hashed:
        slot = np.uint64(slot + np.uint64(1)) & mask
    return int(slot)


@helper
def enter_all(table: Table) -> None:
    """Fill empty slots from the hashes."""
    for number in range(table.counts[0]):
        table.slots[slot_of(table.hashes[number], table)] = number + 1


@helper
def number_words(sentences: View, special: Hashes, table: Table, numbers: Rows) -> int:
    """Write the numbers of all words, END behind each sentence; new words are entered."""
    data, offsets = sentences
    filled = 0
    for row in range(len(offsets) - 1):
        at, end = int(offsets[row]), int(offsets[row + 1])
        while at < end:
            start = at
            while at < end and not parts(data[at]):
                at += 1
            if at > start:
                hashed = hash_bytes(data, start, at)
                is_special = False
                for one in special:
                    is_special |= one == hashed
                if is_special:
                    table.counts[1] += 1
                else:
                    numbers[filled, 0] = number_of(hashed, data[start:at], table)
                    filled += 1
            at += 1
        numbers[filled, 0] = END
        filled += 1
    return filled


@helper
def number_of(hashed: np.uint64, word: Bytes, table: Table) -> int:
    """The number of a word, which is entered if it is new."""
    slot = slot_of(hashed, table)
    if table.slots[slot] == 0:
        number = table.counts[0]
        begin = table.ends[number - 1]
        for place in range(len(word)):
            table.letters[begin + place] = word[place]
        table.ends[number] = begin + len(word)
        table.hashes[number] = hashed
        table.counts[0] = number + 1
        table.slots[slot] = number + 1
    return int(table.slots[slot]) - 1


@helper
def fill_ngrams(numbers: Rows, state: Positions, last: Rows, rows: Rows) -> int:
    """Write the n-grams of numbers from state[0] on, with a count of 1 each, while there is room.

    `last` is the end of what was read so far; a sentence begins with as many BEGIN as fit.
    """
    order = last.shape[1]
    filled, at = 0, state[0]
    while at < len(numbers) and filled < len(rows):
        number = numbers[at, 0]
        for column in range(order - 1):
            rows[filled, column] = last[0, column + 1]
            last[0, column] = last[0, column + 1]
        rows[filled, order - 1] = number
        last[0, order - 1] = number
        rows[filled, order] = 1
        rows[filled, order + 1] = 0
        if number == END:
            last[0, :] = BEGIN
        filled += 1
        at += 1
    state[0] = at
    return filled


class Numbering:
    """Numbers for words in the order in which they are first met; memory follows the words."""

    def __init__(self) -> None:
        self._special = np.array([hash_word(word) for word in SPECIAL], np.uint64)
        hashes = np.zeros(1 << 10, np.uint64)
        hashes[: len(NAMES)] = [hash_word(word) for word in NAMES]
        ends = np.zeros(1 << 10, np.int64)
        ends[: len(NAMES)] = np.cumsum([len(word) for word in NAMES])
        letters = np.zeros(1 << 14, np.uint8)
        letters[: ends[len(NAMES) - 1]] = np.frombuffer(b"".join(NAMES), np.uint8)
        slots = np.zeros(1 << 11, np.int32)
        self._table = Table(slots, hashes, ends, letters, np.array([len(NAMES), 0], np.int64))
        enter_all(self._table)

    @property
    def size(self) -> int:
        """How many words there are, <unk>, <s> and </s> among them."""
        return int(self._table.counts[0])

    @property
    def special(self) -> int:
        """How often a text held a word that is none."""
        return int(self._table.counts[1])

    def numbers(self, sentences: pa.Array) -> Rows:
        """The numbers of the words of all sentences, END behind each."""
        found = [np.empty((0, 1), np.uint32)]
        lengths = np.diff(view(sentences).offsets.astype(np.int64))
        # In steps, for room is made for as many new words as a step might hold.
        steps = np.cumsum(lengths) // STEP_BYTES
        cuts = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(sentences)]
        for first, last in pairwise(cuts):
            size = int(lengths[first:last].sum())
            self._make_room(size // 2 + last - first, size)
            out = np.empty((size // 2 + 2 * (last - first) + 1, 1), np.uint32)
            part = view(sentences.slice(first, last - first))
            found.append(out[: number_words(part, self._special, self._table, out)].copy())
        return np.concatenate(found)

    def words(self) -> pa.Array:
        """All words by number."""
        size = self.size
        ends = self._table.ends[:size]
        offsets = np.concatenate([[0], ends])
        letters = self._table.letters[: ends[-1]].tobytes()
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(letters)]
        return pa.Array.from_buffers(pa.large_binary(), size, buffers)

    def _make_room(self, words: int, letters: int) -> None:
        slots, hashes, ends, spelled, counts = self._table
        count = int(counts[0])
        if count + words > len(hashes):
            hashes, ends = (grown(array, count + words) for array in (hashes, ends))
        if ends[count - 1] + letters > len(spelled):
            spelled = grown(spelled, int(ends[count - 1]) + letters)
        is_full = 2 * (count + words) > len(slots)
        if is_full:
            slots = np.zeros(1 << (2 * (count + words)).bit_length(), np.int32)
        self._table = Table(slots, hashes, ends, spelled, counts)
        if is_full:
            enter_all(self._table)


def grown(array: np.ndarray, least: int) -> np.ndarray:
    """The array with more room behind it."""
    result = np.zeros(max(least, 2 * len(array)), array.dtype)
    result[: len(array)] = array
    return result


def count_ngrams(numbers: Path, mapping: Rows, sorter: Sorter) -> None:
    """Count the n-grams of a file of numbers, which `mapping` turns into those of all units."""
    order = len(sorter.keys)
    last = np.full((1, order), BEGIN, np.uint32)
    rows = np.empty((1 << 16, order + PAYLOAD), np.uint32)
    with numbers.open("rb") as file:
        while len(block := np.fromfile(file, np.uint32, 1 << 18)):
            given = mapping[block].reshape(-1, 1)
            state = np.zeros(1, np.int64)
            while state[0] < len(given):
                sorter.add(rows[: fill_ngrams(given, state, last, rows)])
