"""Gopher and FineWeb rules as datatrove 0.10.1 has them, to the bit: pipeline/filters, Apache-2.0.

Dialect: words are spaCy's English tokens, signs included (curate/tokens.py), whatever the language.
Numbers come from the same divisions as there. Bounds are inclusive: datatrove drops what is
strictly beyond them. It drops empty texts, as undefined numbers do here. Names are those of its
reasons where they tell what is measured. datatrove's C4 filter is c4.Lines with its sentences.
"""

import math
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np

from curate.column import Bytes
from curate.kernel import Document, borrowing
from curate.properties import paged
from curate.signal import Signal, signal
from curate.token_sentences import sentences_of
from curate.utf8 import code_point, starts_character
from curate.words import Words
from filters import fineweb, gopher, repetition


def _tables() -> tuple[Any, Any]:
    every = np.zeros(0x110000, np.uint8)
    path = files("filters") / "lists" / "datatrove_punctuation.txt"
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        first, _, last = line.partition("-")
        every[int(first, 16) : int(last or first, 16) + 1] = 1
    return paged(every)


_WHERE, _SYMBOLS = _tables()


@borrowing
def _is_symbol(text: Bytes, start: int, end: int) -> bool:
    """Whether a word has no character but punctuation and control characters."""
    for at in range(start, end):
        if starts_character(text[at]):
            code = code_point(text, at, end)
            if code < 0 or _SYMBOLS[int(_WHERE[code >> 7]) + (code & 127)] == 0:
                return False
    return True


@borrowing
def _counted(document: Document) -> tuple[int, int]:
    """How many words are more than symbols, and how many characters these have."""
    words, text = document.words, document.text
    count, characters = 0, 0
    for word in range(len(words.starts)):
        start = words.starts[word]
        first = text[start] | 32
        if (97 <= first <= 122) or not _is_symbol(text, start, words.ends[word]):
            count += 1
            characters += words.characters[word]
    return count, characters


@signal(low=50, high=100_000, words="tokens")
def word_count(document: Document) -> float:
    """Words, but for those of symbols alone."""
    count, _ = _counted(document)
    return float(count)


@signal(low=3, high=10, words="tokens")
def mean_word_length(document: Document) -> float:
    """Characters per word, but for words of symbols alone; undefined without any other."""
    count, characters = _counted(document)
    return characters / count if count > 0 else math.nan


def _of_tokens(one: Signal, name: str) -> Signal:
    """A signal that differs from another only in what a word is."""
    source = (__doc__ or "").partition("\n")[0]
    return replace(one, name=f"datatrove.{name}", words=Words("tokens"), source=source)


hash_ratio = _of_tokens(gopher.hash_ratio, "hash_ratio")
ellipsis_ratio = _of_tokens(gopher.ellipsis_ratio, "ellipsis_ratio")
bullet_lines = _of_tokens(gopher.bullet_lines, "bullet_lines")
ellipsis_lines = _of_tokens(gopher.ellipsis_lines, "ellipsis_lines")
alphabetic_words = _of_tokens(gopher.alphabetic_words, "alphabetic_words")
stop_words = _of_tokens(gopher.stop_words, "stop_words")

dup_para_frac = _of_tokens(repetition.duplicate_paragraphs, "dup_para_frac")
dup_para_char_frac = _of_tokens(repetition.duplicate_paragraph_characters, "dup_para_char_frac")
dup_line_frac = _of_tokens(repetition.duplicate_lines, "dup_line_frac")
dup_line_char_frac = _of_tokens(repetition.duplicate_line_characters, "dup_line_char_frac")
top_2_gram = _of_tokens(repetition.top_2gram, "top_2_gram")
top_3_gram = _of_tokens(repetition.top_3gram, "top_3_gram")
top_4_gram = _of_tokens(repetition.top_4gram, "top_4_gram")


# The words of these are joined with nothing between: curate/joined.py.
duplicated_5_n_grams = _of_tokens(repetition.duplicate_5grams, "duplicated_5_n_grams")
duplicated_6_n_grams = _of_tokens(repetition.duplicate_6grams, "duplicated_6_n_grams")
duplicated_7_n_grams = _of_tokens(repetition.duplicate_7grams, "duplicated_7_n_grams")
duplicated_8_n_grams = _of_tokens(repetition.duplicate_8grams, "duplicated_8_n_grams")
duplicated_9_n_grams = _of_tokens(repetition.duplicate_9grams, "duplicated_9_n_grams")
duplicated_10_n_grams = _of_tokens(repetition.duplicate_10grams, "duplicated_10_n_grams")

line_punct_ratio = _of_tokens(fineweb.line_punct_ratio, "line_punct_ratio")
short_line_ratio = _of_tokens(fineweb.short_line_ratio, "short_line_ratio")
char_dup_ratio = _of_tokens(fineweb.char_dup_ratio, "char_dup_ratio")
list_ratio = _of_tokens(fineweb.list_ratio, "list_ratio")


@signal(words="tokens")
def sentences(document: Document) -> float:
    """Sentences of the text as it is; datatrove's C4 filter counts those of the lines it keeps."""
    words = document.words
    line, every = (0, len(document.text)), (0, len(words.starts))
    return float(sentences_of(document.text, words.starts, words.ends, line, every))
