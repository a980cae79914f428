"""datatrove's answers for the agreement: what its filters keep, why not, and what they measure.

Runs under datatrove's own interpreter; agreement.py starts it. The filters tell only the first rule
that a text breaks; every number is therefore computed too, by the filters' own expressions and
functions.
"""

import argparse
import gzip
import hashlib
import json
import math
import multiprocessing
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4ParagraphFilter,
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.gopher_quality_filter import STOP_WORDS
from datatrove.pipeline.filters.gopher_repetition_filter import (
    find_all_duplicate,
    find_duplicates,
    find_top_duplicate,
    get_n_grams,
)
from datatrove.utils.text import (
    PUNCTUATION_SET,
    TERMINAL_PUNCTUATION,
    split_into_sentences,
    split_into_words,
)
from datatrove.utils.word_tokenizers import SpaCyTokenizer

# The filters and the expressions below cut the same text again and again, and spaCy's time grows
# with the square of a word: minutes, each time, for one of 60,000 signs.
for cut in ("word_tokenize", "sent_tokenize"):
    setattr(SpaCyTokenizer, cut, lru_cache(maxsize=8)(getattr(SpaCyTokenizer, cut)))

FILTERS = {
    "gopher quality": GopherQualityFilter(),
    "gopher repetition": GopherRepetitionFilter(),
    "fineweb": FineWebQualityFilter(),
    "c4 paragraphs": C4ParagraphFilter(),
}
REWRITERS = {
    "c4": C4QualityFilter(),
    "c4 unpunctuated": C4QualityFilter(filter_no_terminal_punct=False),  # as FineWeb has it
}
REPETITION, FINEWEB = FILTERS["gopher repetition"], FILTERS["fineweb"]


def digest(text: str) -> str:
    """What stands for a text in the answers."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def gopher_quality(text: str) -> dict[str, Callable[[], Any]]:
    """The numbers of GopherQualityFilter."""
    words = split_into_words(text)
    count = len(words)
    good = [word for word in words if any(sign not in PUNCTUATION_SET for sign in word)]
    lines = text.splitlines()

    def bullets() -> float:
        marks = (line.lstrip().startswith("•") or line.lstrip().startswith("-") for line in lines)
        return sum(marks) / len(lines)

    def ellipses() -> float:
        ends = (line.rstrip().endswith("...") or line.rstrip().endswith("…") for line in lines)
        return sum(ends) / len(lines)

    return {
        "tokens": lambda: digest("\n".join(words)),
        "word_count": lambda: float(len(good)),
        "mean_word_length": lambda: float(np.mean([len(word) for word in good])),
        "hash_ratio": lambda: text.count("#") / count,
        "ellipsis_ratio": lambda: (text.count("...") + text.count("…")) / count,
        "bullet_lines": bullets,
        "ellipsis_lines": ellipses,
        "alphabetic_words": lambda: (
            sum(any(sign.isalpha() for sign in word) for word in words) / count
        ),
        "stop_words": lambda: float(len(set(STOP_WORDS).intersection(set(words)))),
    }


def gopher_repetition(text: str) -> dict[str, Callable[[], Any]]:
    """The numbers of GopherRepetitionFilter."""
    words, size = split_into_words(text), len(text)
    paragraphs = REPETITION.paragraph_exp.split(text.strip())
    lines = REPETITION._line_splitter.split(text)

    def top(n: int) -> float:
        grams = get_n_grams(words, n)
        return find_top_duplicate(grams) / size if grams else 0 / size

    measures: dict[str, Callable[[], Any]] = {
        "dup_para_frac": lambda: find_duplicates(paragraphs)[0] / len(paragraphs) + 0 / size,
        "dup_para_char_frac": lambda: find_duplicates(paragraphs)[1] / size,
        "dup_line_frac": lambda: find_duplicates(lines)[0] / len(lines) + 0 / size,
        "dup_line_char_frac": lambda: find_duplicates(lines)[1] / size,
    }
    for n in (2, 3, 4):
        measures[f"top_{n}_gram"] = lambda n=n: top(n)
    for n in range(5, 11):
        measures[f"duplicated_{n}_n_grams"] = lambda n=n: find_all_duplicate(words, n) / size
    return measures


def fineweb(text: str) -> dict[str, Callable[[], Any]]:
    """The numbers of FineWebQualityFilter."""
    lines = [line for line in text.split("\n") if line.strip() != ""]
    stops = tuple(TERMINAL_PUNCTUATION)
    limit = FINEWEB.short_line_length
    count = len(lines)
    return {
        "line_punct_ratio": lambda: sum(1 for line in lines if line.endswith(stops)) / count,
        "short_line_ratio": lambda: sum(1 for line in lines if len(line) <= limit) / count,
        "char_dup_ratio": lambda: (
            find_duplicates(lines)[1] / len(text.replace("\n", "")) + 0 / count
        ),
        "list_ratio": lambda: text.count("\n") / len(split_into_words(text)),
    }


def tried(measure: Callable[[], Any]) -> Any:
    """A number; undefined where the filter's own expression divides by nothing."""
    try:
        return measure()
    except ZeroDivisionError:
        return math.nan


def verdict(answer: Any) -> str:
    """A filter's answer as one word."""
    return "kept" if answer is True else answer[1]


def answers(text: str) -> dict[str, Any]:
    """What the filters say of a text."""
    found: dict[str, Any] = {}
    for name, one in FILTERS.items():
        try:
            found[name] = verdict(one.filter(Document(text=text, id="0")))
        except (ZeroDivisionError, ValueError) as error:
            found[name] = {"error": type(error).__name__}
    for name, one in REWRITERS.items():
        document = Document(text=text, id="0")
        found[name] = verdict(one.filter(document))
        found[f"{name}, text"] = digest(document.text)
    for measures in (gopher_quality(text), gopher_repetition(text), fineweb(text)):
        found |= {name: tried(measure) for name, measure in measures.items()}
    found["sentences"] = float(len(split_into_sentences(text)))
    return found


def main() -> None:
    """Read the corpus and write the answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of the mean of nothing
    with gzip.open(given.texts, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    with (
        multiprocessing.Pool(2) as pool,
        gzip.open(given.result, "wt", encoding="utf-8") as result,
    ):
        for found in pool.imap(answers, texts, chunksize=20):
            result.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
