"""Our side of the agreement with NeMo Curator 1.4, and what the two may disagree on."""

import functools
from collections import Counter
from typing import Any

import numpy as np

from benchmarks.peers import environments
from curate.schema import Batch
from curate.signal import measured
from filters import nemo, nemo_code, nemo_repetition

PEER = environments.NEMO

ENGLISH = {
    "NonAlphaNumericFilter": nemo.non_alpha_numeric,
    "SymbolsToWordsFilter": nemo.symbols_to_words,
    "NumbersFilter": nemo.numbers,
    "UrlsFilter": nemo.urls,
    "WhiteSpaceFilter": nemo.white_space,
    "ParenthesesFilter": nemo.parentheses,
    "BoilerPlateStringFilter": nemo.boilerplate,
    "RepeatedLinesFilter": nemo_repetition.repeated_lines,
    "RepeatedParagraphsFilter": nemo_repetition.repeated_paragraphs,
    "RepeatedLinesByCharFilter": nemo_repetition.repeated_line_characters,
    "RepeatedParagraphsByCharFilter": nemo_repetition.repeated_paragraph_characters,
    "WordCountFilter": nemo.word_count,
    "PunctuationFilter": nemo.punctuation,
    "WordsWithoutAlphabetsFilter": nemo.words_without_alphabets,
    "CommonEnglishWordsFilter": nemo.common_english_words,
    "MeanWordLengthFilter": nemo.mean_word_length,
    "LongWordFilter": nemo.long_word,
    "EllipsisFilter": nemo.ellipsis,
    "RepeatingTopNGramsFilter n=2": nemo_repetition.top_2gram,
    "RepeatingTopNGramsFilter n=3": nemo_repetition.top_3gram,
    "RepeatingTopNGramsFilter n=4": nemo_repetition.top_4gram,
    "RepeatingDuplicateNGramsFilter n=5": nemo_repetition.duplicate_5grams,
    "RepeatingDuplicateNGramsFilter n=6": nemo_repetition.duplicate_6grams,
    "RepeatingDuplicateNGramsFilter n=7": nemo_repetition.duplicate_7grams,
    "RepeatingDuplicateNGramsFilter n=8": nemo_repetition.duplicate_8grams,
    "RepeatingDuplicateNGramsFilter n=9": nemo_repetition.duplicate_9grams,
    "RepeatingDuplicateNGramsFilter n=10": nemo_repetition.duplicate_10grams,
    "BulletsFilter": nemo.bullets,
}
OTHERS = {
    "PornographicUrlsFilter": nemo.pornographic_urls,
    "NumberOfLinesOfCodeFilter": nemo_code.line_count,
    "XMLHeaderFilter": nemo_code.xml_header,
    "AlphaFilter": nemo_code.letters,
}
TOP = {name: signal for name, signal in ENGLISH.items() if "TopNGrams" in name}
FIRST = " (first of ties)"


def ours(batch: Batch) -> dict[str, list[Any]]:
    """What our signals measure, and whether a text passes all of the English configuration."""
    signals = ENGLISH | OTHERS
    numbers = measured(tuple(signals.values()), batch)
    answers: dict[str, list[Any]] = {
        name: found.tolist() for name, found in zip(signals, numbers, strict=True)
    }
    kept = [
        signal.keeps(found)
        for signal, found in zip(ENGLISH.values(), numbers[: len(ENGLISH)], strict=True)
    ]
    answers["keeps"] = np.logical_and.reduce(kept).tolist()
    return answers | {name + FIRST: answers[name] for name in (*TOP, "keeps")}


@functools.lru_cache(maxsize=8)
def possible(text: str, size: int) -> tuple[float, ...]:
    """The scores that NeMo may give, one for each n-gram that is the most frequent."""
    words = text.split()
    counts = Counter(zip(*(words[at:] for at in range(size)), strict=False))
    most = max(counts.values())
    tops = {" ".join(gram) for gram, count in counts.items() if count == most}
    return tuple((len(text) - len(text.replace(top, ""))) / len(text) for top in tops)


def excuse(rule: str, text: str, theirs: Any, mine: Any) -> str:
    """Of several most frequent n-grams NeMo takes one by the seed of Python's hashes."""
    if rule in TOP:
        scores = possible(text, int(rule[-1]))
        if len(scores) > 1 and theirs in scores and mine in scores:
            return "several n-grams are the most frequent; NeMo's choice changes from run to run"
    if rule == "keeps":
        for name, signal in TOP.items():
            verdicts = {score <= signal.high for score in possible(text, int(name[-1]))}
            if len(verdicts) == 2:
                return "one of several most frequent n-grams is too long, another is not"
    return ""
