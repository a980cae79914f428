"""How many words of a text are in a list of its language: stop words, flagged words.

A list is a text file in filters/lists with a line a language: its code, or codes separated by
commas, and its entries, all separated by tabs. An entry may be a phrase of several words.
"""

from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from curate.column import Hashes, Numbers, Offsets, frozen
from curate.hashing import SEED, hash_word, join
from curate.kernel import Index, borrowing, helper
from curate.schema import LANGUAGE, Batch


class Phrases(NamedTuple):
    """Phrases as a hash table of their beginnings; a slot is empty where its key is 0."""

    keys: Hashes  # of the first words of a phrase, one after another
    entries: Offsets  # number of the phrase that ends here, from 1 on; 0 where none does
    total: int


def phrases(entries: Iterable[tuple[str, ...]]) -> Phrases:
    """The table of these phrases, each a tuple of words."""
    ends: dict[int, int] = {}
    for number, words in enumerate(dict.fromkeys(entries), start=1):
        key = int(SEED)
        for word in words:
            key = _joined(key, int(hash_word(word.encode())))
            ends.setdefault(key, 0)
        ends[key] = number
    size = 4
    while size < 4 * len(ends):
        size *= 2
    keys, numbers = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    for key, number in ends.items():
        slot = key % size
        while keys[slot] != 0:
            slot = (slot + 1) % size
        keys[slot], numbers[slot] = key, number
    return Phrases(frozen(keys), frozen(numbers), max(ends.values(), default=0))


def _joined(hashed: int, following: int) -> int:
    """What `join` gives, without the warnings of NumPy's single numbers."""
    with np.errstate(over="ignore"):
        return int(join(np.uint64(hashed), np.uint64(following)))


@cache
def _lines(name: str) -> dict[str, str]:
    lines = (files("filters") / "lists" / name).read_text(encoding="utf-8").split("\n")[1:]
    found: dict[str, str] = {}
    for line in filter(None, lines):
        codes, _, entries = line.partition("\t")
        found |= dict.fromkeys(codes.split(","), entries)
    return found


def listed(name: str, language: str) -> list[str] | None:
    """The entries of a list in a language; None where it has none."""
    line = _lines(name).get(language)
    return None if line is None else line.split("\t")


def languages_of(batch: Batch, default: str = "en") -> list[str]:
    """The language of every row; the default where no stage before told it."""
    if LANGUAGE not in batch.schema.names:
        return [default] * batch.num_rows
    return [language or default for language in batch.column(LANGUAGE).to_pylist()]


@borrowing
def _slot(keys: Hashes, key: np.uint64) -> np.int64:
    """Where the key is; -1 if it is not there."""
    last = np.uint64(len(keys) - 1)
    slot = key & last
    while keys[slot] != 0:
        if keys[slot] == key:
            return np.int64(slot)
        slot = np.uint64(slot + np.uint64(1)) & last
    return np.int64(-1)


@helper
def _count(words: Hashes, table: Phrases, seen: Offsets, row: int) -> tuple[int, int]:
    """How often phrases begin in these words, and how many different ones do."""
    keys, entries = table.keys, table.entries
    total, different = 0, 0
    for word in range(len(words)):
        key, following = SEED, word
        while following < len(words):
            key = join(key, words[following])
            slot = _slot(keys, key)
            if slot < 0:
                break
            number = entries[slot]
            if number > 0:
                total += 1
                different += seen[number] != row
                seen[number] = row
            following += 1
    return total, different


@helper
def _count_rows(index: Index, rows: Offsets, table: Phrases, found: Numbers) -> None:
    """Write both counts of these rows into the columns of `found`."""
    seen = np.full(table.total + 1, -1, np.int32)
    hashes, offsets = index.words.hashes, index.word_offsets
    for row in rows:
        words = hashes[offsets[row] : offsets[row + 1]]
        found[row, 0], found[row, 1] = _count(words, table, seen, row)


def occurrences(
    index: Index, languages: list[str], table_of: Callable[[str], Phrases | None]
) -> Numbers:
    """For every row how often listed phrases occur and how many different ones, in two columns.

    NaN where there is no list for the language of the row.
    """
    found = np.full((len(languages), 2), np.nan)
    for language in dict.fromkeys(languages):
        table = table_of(language)
        if table is not None:
            rows = [row for row, own in enumerate(languages) if own == language]
            _count_rows(index, np.array(rows, np.int32), table, found)
    return found
