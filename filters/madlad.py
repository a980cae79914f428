"""MADLAD-400's questionable sentences: Kudugunta et al. 2023, arXiv:2309.04662, section 2.3.

Dialect: OLMo 3's (allenai/datamap-rs, madlad400_sentence_annotator and madlad400_rule_filter) with
its rules 2 and 5: a sentence is questionable if it is a list in capitals, or has a "cursed" string.
Sentences are what [.!?] and white space separate. A document with a fifth of such sentences goes
(the paper's goes with more than a fifth), and so does one with less than five sentences.
"""

import math
from importlib.resources import files
from typing import Any

import numpy as np

from curate.column import Bytes
from curate.kernel import Document, borrowing
from curate.properties import UPPER, properties
from curate.signal import signal
from curate.utf8 import code_point, may_be_space, space_size, starts_character


def _entries() -> list[str]:
    return (files("filters") / "lists" / "madlad_cursed.txt").read_text("utf-8").split("\n")[1:-1]


# datamap-rs compiles the last four lines only; its other backslashes stand for themselves.
_STRINGS, _PATTERNS = [entry.encode() for entry in _entries()[:-4]], _entries()[-4:]
_LETTERS = np.frombuffer(b"".join(_STRINGS), np.uint8).copy()
_ENDS = np.cumsum([0] + [len(string) for string in _STRINGS])
_COMMON = b" etaoinsrhldcumfpgwybvkxjqz"  # the commonest first


def _rarest_pair(string: bytes) -> int:
    """Where the pair of bytes begins that is least to be expected in a text."""
    rarity = [_COMMON.find(byte) if byte in _COMMON else 40 for byte in string]
    return max(range(len(string) - 1), key=lambda at: rarity[at] + rarity[at + 1])


_PAIRS = np.array([_rarest_pair(string) for string in _STRINGS])


def _strings_with(second: int) -> Any:
    """For each byte, as bits, the strings whose rarest pair has it first or second."""
    table = np.zeros(256, np.uint32)
    for bit, (string, pair) in enumerate(zip(_STRINGS, _PAIRS, strict=True)):
        table[string[pair + second]] |= np.uint32(1 << bit)
    return table


_FIRST, _SECOND = _strings_with(0), _strings_with(1)

_OTHER, _SPACE, _COMMA, _NEWLINE = range(4)
_MATCHING = {" ": (_SPACE,), ",": (_COMMA,), ".": (0, 1, 2), "[^ ]": (0, 2, 3)}


def _tokens(pattern: str) -> list[tuple[str, bool]]:
    """The characters of a pattern, and whether each may be left out; not those at its end."""
    tokens: list[tuple[str, bool]] = []
    while pattern:
        size = 4 if pattern.startswith("[^ ]") else 1
        one, pattern = pattern[:size], pattern[size:]
        tokens.append((one, pattern.startswith("?")))
        pattern = pattern.removeprefix("?")
    while tokens[-1][1]:
        tokens.pop()
    return tokens


def _automaton(patterns: list[str]) -> Any:
    """Patterns as bits, one for each character: masks of the four classes, starts, optional, ends.

    A bit is set while its character and those before it have just been read.
    """
    numbers = [0] * 7
    bit = 1
    for pattern in patterns:
        numbers[4] |= bit
        for token, optional in _tokens(pattern):
            for kind in _MATCHING[token]:
                numbers[kind] |= bit
            numbers[5] |= bit * optional
            bit <<= 1
        numbers[6] |= bit >> 1
    return np.array(numbers, np.uint64)


_LISTS, _COMMAS = _automaton([_PATTERNS[1], _PATTERNS[2]]), _automaton([_PATTERNS[0], _PATTERNS[3]])
_KINDS = np.zeros(256, np.int64)
_KINDS[list(b" ,\n")] = _SPACE, _COMMA, _NEWLINE


@borrowing
def _space(text: Bytes, at: int, end: int) -> int:
    """How many bytes the white space character has that begins here, as Rust sees it; or 0."""
    byte = text[at]
    return space_size(text, at, end) if may_be_space(byte) and not 28 <= byte <= 31 else 0


@borrowing
def _skip_space(text: Bytes, at: int, end: int) -> int:
    while at < end and _space(text, at, end) > 0:
        at += _space(text, at, end)
    return at


@borrowing
def _sentence(text: Bytes, at: int) -> tuple[int, int]:
    """Where the sentence ends that begins here, and where the next one begins."""
    end = len(text)
    while at < end:
        stop = at
        while stop < end and (text[stop] == 46 or text[stop] == 33 or text[stop] == 63):
            stop += 1
        behind = _skip_space(text, stop, end) if stop > at else stop
        if behind > stop:
            return at, behind
        at = max(stop, at + 1)
    return end, end


@signal(low=5, words="unicode")
def sentences(document: Document) -> float:
    """Sentences that are not blank."""
    text, start, count = document.text, 0, 0
    while start < len(text):
        end, following = _sentence(text, start)
        count += _skip_space(text, start, end) < end
        start = following
    return float(count)


@borrowing
def _has_string(text: Bytes, start: int, end: int) -> bool:
    """Whether one of the strings is in this stretch."""
    for at in range(start, end - 1):
        possible, string = int(_FIRST[text[at]] & _SECOND[text[at + 1]]), 0
        while possible > 0:
            first = at - _PAIRS[string]
            size = _ENDS[string + 1] - _ENDS[string]
            found = possible & 1 == 1 and first >= start and first + size <= end
            place = 0
            while found and place < size:
                found = text[first + place] == _LETTERS[_ENDS[string] + place]
                place += 1
            if found:
                return True
            possible >>= 1
            string += 1
    return False


@borrowing
def _step(states: np.uint64, automaton: Any, kind: int) -> np.uint64:
    """The states after one more character."""
    one = np.uint64(1)
    states = np.uint64((states << one) | automaton[4]) & automaton[kind]
    return np.uint64(states | (np.uint64(states << one) & automaton[5]))


@borrowing
def _has_pattern(text: Bytes, start: int, end: int) -> bool:
    """Whether one of the patterns is in this stretch."""
    lists, commas, found = np.uint64(0), np.uint64(0), np.uint64(0)
    for at in range(start, end):
        byte = text[at]
        if starts_character(byte):
            lists = _step(lists, _LISTS, _KINDS[byte])
            commas = _step(commas, _COMMAS, _KINDS[byte])
            found |= (lists & _LISTS[6]) | (commas & _COMMAS[6])
    return bool(found != 0)


@borrowing
def _words_of(document: Document, word: int, start: int, end: int) -> tuple[int, int, int]:
    """How many words a sentence has, how many begin with a capital, and the next word after it."""
    text, starts, ends = document.text, document.words.starts, document.words.ends
    count, capitals = 0, 0
    while word < len(starts) and starts[word] < end:
        if ends[word] > start:
            first = max(start, starts[word])
            count += 1
            capitals += properties(code_point(text, first, end)) & UPPER != 0
        word += 1
    return count, capitals, word


# Inclusive bounds: the share that there is too much is the first that is not kept.
_A_FIFTH = math.nextafter(0.2, 0)


@signal(high=_A_FIFTH, words="unicode")
def questionable_sentences(document: Document) -> float:
    """Share of sentences with a cursed string, or of twelve words and more, most with a capital."""
    text, start, word = document.text, 0, 0
    count, found = 0, 0
    while start < len(text):
        end, following = _sentence(text, start)
        words, capitals, word = _words_of(document, word, start, end)
        if _skip_space(text, start, end) < end:
            count += 1
            listed = words >= 12 and 2 * capitals > words
            found += listed or _has_string(text, start, end) or _has_pattern(text, start, end)
        start = following
    return found / count if count > 0 else math.nan
