"""ROOTS' filtering of OSCAR: Laurençon et al. 2022, arXiv:2303.03915, section 3.2.

Dialect: bigscience-workshop/data-preparation, 01b_oscar_cleaning_and_filtering, commit 91702cd.
Words are what spaces, newlines and tabs separate, in lower case (but to be counted) and without
special characters around them (curate/special.py). Bounds are ROOTS' defaults, and inclusive;
`by_language: roots` has those of 13 languages. Differs: Chinese words are Unicode's, so mostly one
character; in ROOTS they are pieces of a SentencePiece model.
"""

import math
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from curate.column import Bytes, Hashes, Numbers, Offsets, View, view
from curate.hashing import clear, first_seen, hash_bytes
from curate.kernel import Index, helper
from curate.schema import TEXT, Batch
from curate.signal import column_signal, index_signal
from curate.special import is_separator, is_special
from curate.utf8 import code_point, starts_character
from filters.stopwords import Phrases, languages_of, listed, occurrences, phrases

# Characters and words in the n-grams of repetitions; in all other languages 10 and 5.
CHARACTER_NGRAMS = {"zh": 3}
WORD_NGRAMS = {"ur": 7}
# Languages in which pairs of words count as words too, and what joins them.
PAIRS = {"vi": " ", "zh": ""}
STOP_WORDS, FLAGGED_WORDS = "roots_stop_words.txt", "roots_flagged_words.txt"


@helper
def _count_words(text: View, counts: Numbers) -> None:
    """Pieces between spaces, newlines and tabs that have a character which is not special."""
    for row in range(len(counts)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        at, end, count, word = 0, len(own), 0, False
        while at < end:
            code = code_point(own, at, end)
            inside = not is_separator(own[at])
            count += inside and not word and not is_special(code)
            word = inside and (word or not is_special(code))
            at += 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
        counts[row] = count


def counted_words(batch: Batch, index: Index) -> Numbers:
    """Words of texts as they are: in lower case, what is special may be so no more."""
    counts = np.zeros(batch.num_rows)
    _count_words(view(batch.column(TEXT)), counts)
    chinese = np.array([language == "zh" for language in languages_of(batch)], np.bool_)
    return np.where(chinese, np.diff(index.word_offsets), counts)


@index_signal(low=10, high=100_000, words="stripped")
def word_count(batch: Batch, index: Index) -> Numbers:
    """Words that are not made of special characters alone."""
    return counted_words(batch, index)


class _Scratch(NamedTuple):
    """Room for the characters of the longest text."""

    places: Offsets  # where characters begin, and where the last one ends
    keys: Hashes
    slots: Offsets
    counts: Offsets  # how often an n-gram occurs, where it is first
    frequencies: Offsets  # how many n-grams occur so often


def _scratch(text: View) -> _Scratch:
    room = int(np.max(np.diff(text.offsets), initial=0)) + 2
    places, counts, frequencies = (np.empty(room, np.int32) for _ in range(3))
    slots = np.empty(4 * room, np.int32)
    return _Scratch(places, np.empty(room, np.uint64), slots, counts, frequencies)


@helper
def _count_grams(text: Bytes, size: int, room: _Scratch) -> int:
    """Write how often each n-gram of characters occurs; return how many places have one."""
    places, keys, counts = room.places, room.keys, room.counts
    length = 0
    for at in range(len(text)):
        places[length] = at
        length += starts_character(text[at])
    places[length] = len(text)
    total = max(length - size + 1, 0)
    mask = clear(room.slots, total)
    for item in range(total):
        keys[item] = hash_bytes(text, places[item], places[item + size])
        counts[item] = 0
        counts[first_seen(keys, item, room.slots, mask)] += 1
    return total


@helper
def _top_share(total: int, room: _Scratch) -> float:
    """Share of the most frequent n-grams: as many as the root of their number, none that is single.

    The number of n-grams that occur so often is counted, so that nothing has to be sorted.
    """
    counts, frequencies = room.counts, room.frequencies
    most, distinct = 0, 0
    for item in range(total):
        most = max(most, counts[item])
        distinct += counts[item] > 0
    for count in range(most + 1):
        frequencies[count] = 0
    for item in range(total):
        frequencies[counts[item]] += 1
    left = min(int(math.sqrt(distinct)), distinct - frequencies[1])
    found, count = 0, most
    while left > 0:
        taken = min(left, frequencies[count])
        found += taken * count
        left -= taken
        count -= 1
    return found / total


@helper
def _repeated_characters(text: View, sizes: Offsets, room: _Scratch, shares: Numbers) -> None:
    for row in range(len(shares)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        total = _count_grams(own, sizes[row], room)
        shares[row] = _top_share(total, room) if total > 0 else 0.0


def _of_language(table: dict[str, int], default: int, batch: Batch) -> Offsets:
    return np.array([table.get(code, default) for code in languages_of(batch)], np.int32)


def repeated_characters(batch: Batch, sizes: Offsets) -> Numbers:
    """Share of the most frequent n-grams of characters in every text; n by row."""
    text, shares = view(batch.column(TEXT)), np.zeros(batch.num_rows)
    _repeated_characters(text, sizes, _scratch(text), shares)
    return shares


@column_signal(high=0.2)
def character_repetition(batch: Batch) -> Numbers:
    """Share of the most frequent ten characters (Chinese: three), among all such n-grams."""
    return repeated_characters(batch, _of_language(CHARACTER_NGRAMS, 10, batch))


@helper
def _repeated_words(index: Index, sizes: Offsets, shares: Numbers) -> None:
    for row in range(len(shares)):
        size, found = sizes[row], 0
        first, last = index.word_offsets[row], index.word_offsets[row + 1]
        for longest in index.repeats[first:last]:
            found += longest >= size
        shares[row] = found / max(last - first - size + 1, 1)


def repeated_words(index: Index, sizes: Offsets) -> Numbers:
    """Share of the n-grams of words that occur more than once in a text; n by row, at most 10."""
    shares = np.zeros(len(sizes))
    _repeated_words(index, sizes, shares)
    return shares


@index_signal(high=0.3, words="stripped")
def word_repetition(batch: Batch, index: Index) -> Numbers:
    """Share of five words (Urdu: seven) that occur more than once, every occurrence counted."""
    return repeated_words(index, _of_language(WORD_NGRAMS, 5, batch))


@helper
def _count_special(text: View, shares: Numbers) -> None:
    for row in range(len(shares)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        length, found = 0, 0
        for at in range(len(own)):
            if starts_character(own[at]):
                length += 1
                found += is_special(code_point(own, at, len(own)))
        shares[row] = found / max(length, 1)


def special_share(batch: Batch) -> Numbers:
    """Share of special characters in every text."""
    shares = np.zeros(batch.num_rows)
    _count_special(view(batch.column(TEXT)), shares)
    return shares


@column_signal(high=0.4)
def special_characters(batch: Batch) -> Numbers:
    """Share of characters that are digits, punctuation, white space, emoji and the like."""
    return special_share(batch)


def _places(entry: str, joint: str | None) -> list[tuple[str, ...]]:
    """An entry as sequences of words: itself, and the pairs of words that are joined to it."""
    found: list[tuple[str, ...]] = [] if " " in entry else [(entry,)]
    if joint == "":
        found += [(entry[:at], entry[at:]) for at in range(1, len(entry))]
    elif joint is not None and entry.count(joint) == 1:
        first, _, second = entry.partition(joint)
        found.append((first, second))
    return found


@cache
def _listed(name: str, pairs: bool, language: str) -> Phrases | None:
    entries = listed(name, language)
    if entries is None:
        return None
    joint = PAIRS.get(language) if pairs else None
    return phrases(place for entry in entries for place in _places(entry, joint))


def listed_share(batch: Batch, index: Index, name: str, *, pairs: bool) -> Numbers:
    """Share of words that are in a list of their language, at most 1; NaN without a list."""
    found = occurrences(index, languages_of(batch), partial(_listed, name, pairs))[:, 0]
    return np.minimum(found / np.maximum(np.diff(index.word_offsets), 1), 1.0)


@index_signal(low=0.1, words="stripped")
def stop_words(batch: Batch, index: Index) -> Numbers:
    """Share of words that are stop words of the document's language.

    In Vietnamese and Chinese, pairs of words count too. English is assumed where no stage before
    told the language; undefined in a language without a list.
    """
    return listed_share(batch, index, STOP_WORDS, pairs=True)


@index_signal(high=0.1, words="stripped")
def flagged_words(batch: Batch, index: Index) -> Numbers:
    """Share of words that are flagged in the document's language; as for stop words."""
    return listed_share(batch, index, FLAGGED_WORDS, pairs=True)
