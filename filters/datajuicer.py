"""Data-Juicer's filters of text with their defaults: Chen et al. 2023, arXiv:2309.02033.

Dialect: py-data-juicer 1.6.1, data_juicer/ops/filter, without its SentencePiece tokenizer. Words
are ROOTS' (curate/special.py), which knows the emoji of 2021 only. Bounds are its defaults, and
inclusive. Its lists are files that it downloads; these are ROOTS', from which they came, in the
language of the document. Texts without characters or words have shares of 0, as there.
"""

import numpy as np

from curate.column import Numbers
from curate.kernel import Document, Index
from curate.properties import ALPHANUMERIC, properties
from curate.schema import Batch
from curate.signal import column_signal, index_signal, signal
from curate.utf8 import code_point, starts_character
from filters import roots


@signal(low=0.25)
def alphanumeric(document: Document) -> float:
    """Share of characters that are letters or digits, as `str.isalnum` says."""
    text, found = document.text, 0
    for at in range(len(text)):
        byte = text[at]
        if starts_character(byte):
            code = int(byte) if byte < 0x80 else code_point(text, at, len(text))
            found += properties(code) & ALPHANUMERIC != 0
    return found / document.characters if document.characters > 0 else 0.0


@signal(low=10)
def average_line_length(document: Document) -> float:
    """Characters of the text, line ends counted, per line of `str.splitlines`."""
    return document.characters / document.rows if document.rows > 0 else 0.0


@index_signal(low=10, words="stripped")
def word_count(batch: Batch, index: Index) -> Numbers:
    """Words that are not made of special characters alone."""
    return roots.counted_words(batch, index)


@column_signal(high=0.5)
def character_repetition(batch: Batch) -> Numbers:
    """Share of the most frequent ten characters among all such n-grams."""
    return roots.repeated_characters(batch, np.full(batch.num_rows, 10, np.int32))


@index_signal(high=0.5, words="stripped")
def word_repetition(batch: Batch, index: Index) -> Numbers:
    """Share of ten words that occur more than once, every occurrence counted."""
    return roots.repeated_words(index, np.full(batch.num_rows, 10, np.int32))


@column_signal(high=0.25)
def special_characters(batch: Batch) -> Numbers:
    """Share of characters that are digits, punctuation, white space, emoji and the like."""
    return roots.special_share(batch)


@index_signal(low=0.3, high=1.0, words="stripped")
def stop_words(batch: Batch, index: Index) -> Numbers:
    """Share of words that are stop words of the document's language; undefined without a list."""
    return roots.listed_share(batch, index, roots.STOP_WORDS, pairs=False)


@index_signal(high=0.045, words="stripped")
def flagged_words(batch: Batch, index: Index) -> Numbers:
    """Share of words that are flagged in the document's language; undefined without a list."""
    return roots.listed_share(batch, index, roots.FLAGGED_WORDS, pairs=False)
