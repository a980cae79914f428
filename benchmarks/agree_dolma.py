"""Our side of the agreement with Dolma 1.2.1."""

import hashlib
from typing import Any

import numpy as np

from benchmarks.peers import environments
from curate.schema import TEXT, Batch
from curate.signal import Signal, measured
from filters import dolma, dolma_c4

PEER = environments.DOLMA

BOTH = {
    "fraction_of_characters_in_most_common_2grams": dolma.top_2gram,
    "fraction_of_characters_in_most_common_3grams": dolma.top_3gram,
    "fraction_of_characters_in_most_common_4grams": dolma.top_4gram,
    "fraction_of_characters_in_duplicate_5grams": dolma.duplicate_5grams,
    "fraction_of_characters_in_duplicate_6grams": dolma.duplicate_6grams,
    "fraction_of_characters_in_duplicate_7grams": dolma.duplicate_7grams,
    "fraction_of_characters_in_duplicate_8grams": dolma.duplicate_8grams,
    "fraction_of_characters_in_duplicate_9grams": dolma.duplicate_9grams,
    "fraction_of_characters_in_duplicate_10grams": dolma.duplicate_10grams,
    "character_count": dolma.character_count,
    "word_count": dolma.word_count,
    "median_word_length": dolma.median_word_length,
    "symbol_to_word_ratio": dolma.symbol_to_word_ratio,
    "fraction_of_words_with_alpha_character": dolma.alphabetic_words,
    "required_word_count": dolma.required_word_count,
    "fraction_of_characters_in_duplicate_lines": dolma.duplicate_line_characters,
}
GOPHER = {
    "gopher_v1": BOTH
    | {
        "fraction_of_lines_starting_with_bullet_point": dolma.bullet_lines,
        "fraction_of_lines_ending_with_ellipsis": dolma.ellipsis_lines,
        "fraction_of_duplicate_lines": dolma.duplicate_lines,
    },
    "gopher_v2": BOTH
    | {
        "fraction_of_lines_starting_with_bullet_point": dolma.bullet_lines_v2,
        "fraction_of_lines_ending_with_ellipsis": dolma.ellipsis_lines_v2,
        "fraction_of_duplicate_lines": dolma.duplicate_lines_v2,
    },
}
LINES = {
    "has_naughty_word": dolma_c4.has_naughty_word,
    "has_lorem_ipsum": dolma_c4.has_lorem_ipsum,
    "has_curly_brace": dolma_c4.has_curly_brace,
    "line_count": dolma_c4.line_count,
    "lines_with_no_ending_punctuation": dolma_c4.lines_with_no_ending_punctuation,
    "lines_with_too_few_words": dolma_c4.lines_with_too_few_words,
}
TAGGERS: dict[str, dict[str, Signal]] = {
    **GOPHER,
    "c4_v1": LINES | {"has_javascript": dolma_c4.has_javascript},
    "c4_v2": LINES | {"has_javascript": dolma_c4.has_javascript_v2},
}


def ours(batch: Batch) -> dict[str, list[Any]]:
    """What our signals measure, and whether a text passes all bounds of a Gopher tagger."""
    signals = list({one.name: one for every in TAGGERS.values() for one in every.values()}.values())
    numbers = dict(zip([one.name for one in signals], measured(tuple(signals), batch), strict=True))
    answers: dict[str, list[Any]] = {
        f"{tagger}.{name}": numbers[one.name].tolist()
        for tagger, every in TAGGERS.items()
        for name, one in every.items()
    }
    for tagger, every in GOPHER.items():
        kept = [one.keeps(numbers[one.name]) for one in every.values()]
        answers[f"{tagger} keeps"] = np.logical_and.reduce(kept).tolist()
    texts = dolma_c4.Lines()(batch).column(TEXT).to_pylist()
    digests = [hashlib.sha1(text.encode()).hexdigest() for text in texts]
    return answers | {"text without lines": digests}


def excuse(*_: Any) -> str:
    """Nothing excuses a disagreement here."""
    return ""
