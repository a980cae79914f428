"""What an evaluation found, as JSON; the table and the page show nothing else.

A document of format `tokenizer.evaluation/1` has

    format       its name and version
    settings     alpha (of the Renyi efficiency), rare_below, pivot (a language or null)
    documents    judged, without_text and not_utf8: rows that were judged, and those that were not
    languages    in alphabetical order: language, documents, bytes, characters, words, spaceless
                 (its script puts no spaces between words: see tokens per character)
    tokenizers   in the order given: name, fingerprint, pattern, normalization, vocab_size,
                 special_tokens, ordinary_tokens, unreachable_tokens (valid UTF-8 that does not
                 encode to them), all (measures), languages (measures of each, by its name), gini,
                 lengths (bytes; tokens in the vocabulary and in the text that have so many),
                 ranks (the r-th most frequent token, and how often it occurs), longest, rarest and
                 never_used (id, text, bytes, count)
    criterion    see `tokenizer/criterion.py`, or null

Measures are tokens, bytes_per_token, characters_per_token, tokens_per_character, fertility,
word_fertility, kept_whole, used_tokens, unused_tokens, rare_tokens, renyi_efficiency,
changed_documents (that decoding does not give back), round_trip (whether there are none), and
premium; `tokenizer/measures.py` defines them. What is undefined is null. Keys are not taken away
or given another meaning within a version.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.column import Positions
from curate.errors import InputError
from tokenizer.evaluate import Evaluation, Facts, Judged, Tally
from tokenizer.inputs import is_utf8
from tokenizer.measures import ALPHA, gini, ratio, renyi_efficiency

FORMAT = "tokenizer.evaluation/1"
SAMPLES = 20  # tokens shown of each kind
POINTS = 60  # of the curve of ranks


@dataclass(frozen=True)
class Settings:
    """What of an evaluation can be set."""

    rare_below: int = 10
    pivot: str = ""  # the language that others are held against, where all texts say the same


def as_json(evaluation: Evaluation, settings: Settings) -> dict[str, Any]:
    """The evaluation in the format above."""
    facts = {language: evaluation.facts[language] for language in sorted(evaluation.facts)}
    check_pivot(facts, settings.pivot)
    said: dict[str, Any] = finite(
        {
            "format": FORMAT,
            "settings": {
                "alpha": ALPHA,
                "rare_below": settings.rare_below,
                "pivot": settings.pivot or None,
            },
            "documents": {
                "judged": sum(one.documents for one in facts.values()),
                "without_text": sum(one.nulls for one in facts.values()),
                "not_utf8": sum(one.invalid for one in facts.values()),
            },
            "languages": [
                {
                    "language": language,
                    "documents": one.documents,
                    "bytes": one.size,
                    "characters": one.characters,
                    "words": one.words,
                    "spaceless": one.is_spaceless,
                }
                for language, one in facts.items()
            ],
            "tokenizers": [tokenizer(judged, facts, settings) for judged in evaluation.judged],
            "criterion": None,
        }
    )
    return said


def check_pivot(facts: dict[str, Facts], pivot: str) -> None:
    """Fail unless all languages have as many documents as the pivot."""
    if not pivot:
        return
    if pivot not in facts:
        raise InputError(f"no texts in {pivot!r}, the pivot; there are: {', '.join(facts)}")
    for language, one in facts.items():
        if one.documents != facts[pivot].documents:
            raise InputError(
                f"{language} has {one.documents:,} documents and {pivot} has "
                f"{facts[pivot].documents:,}; a pivot needs the same texts in all languages"
            )


def tokenizer(judged: Judged, facts: dict[str, Facts], settings: Settings) -> dict[str, Any]:
    """One tokenizer and its measures."""
    said = judged.vocabulary
    ordinary = np.array([bool(token) for token in said.tokens])
    everything = judged.total()
    whole = int(ordinary.sum())
    rare = settings.rare_below
    tokens = judged.tallies[settings.pivot].tokens if settings.pivot else 0
    languages = {
        language: {
            **measures(judged.tallies[language], one, whole, rare),
            "premium": ratio(judged.tallies[language].tokens, tokens),
        }
        for language, one in facts.items()
    }
    costs = [tally.tokens for tally in judged.tallies.values()] if settings.pivot else []
    return {
        "name": judged.name,
        "fingerprint": said.fingerprint(),
        "pattern": said.pattern,
        "normalization": said.normalization or None,
        "vocab_size": said.size,
        "special_tokens": len(said.special_tokens),
        "ordinary_tokens": whole,
        "unreachable_tokens": unreachable(judged),
        "all": {**measures(everything, summed(facts.values()), whole, rare), "premium": None},
        "languages": languages,
        "gini": gini(costs),
        **profile(said.tokens, everything),
    }


def summed(facts: Iterable[Facts]) -> Facts:
    """The counts of all languages together."""
    total = Facts()
    for one in facts:
        for name in ("documents", "size", "characters", "words", "spaceless_words"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
    return total


def measures(tally: Tally, facts: Facts, vocabulary: int, rare_below: int) -> dict[str, Any]:
    """All measures of a language, or of all of them together."""
    return {
        "tokens": tally.tokens,
        "bytes_per_token": ratio(facts.size, tally.tokens),
        "characters_per_token": ratio(facts.characters, tally.tokens),
        "tokens_per_character": ratio(tally.tokens, facts.characters),
        "fertility": ratio(tally.tokens, facts.words),
        "word_fertility": ratio(tally.word_tokens, facts.words),
        "kept_whole": ratio(tally.whole, facts.words),
        "used_tokens": len(tally.used),
        "unused_tokens": vocabulary - len(tally.used),
        "rare_tokens": int((tally.counts < rare_below).sum()),
        "renyi_efficiency": renyi_efficiency(tally.counts, vocabulary),
        "changed_documents": tally.changed,
        "round_trip": tally.changed == 0,
    }


def unreachable(judged: Judged) -> int:
    """How many tokens are text that encodes to something else (Land and Bartolo 2024)."""
    spelled = [(i, token) for i, token in enumerate(judged.vocabulary.tokens) if is_utf8(token)]
    spelled = [(i, token) for i, token in spelled if token]
    texts = pa.array([token for _, token in spelled], pa.binary()).cast(pa.string())
    tokens, ends = judged.encoder.encode(texts)
    alone = np.diff(ends) == 1
    numbers = np.array([i for i, _ in spelled])
    return len(spelled) - int((tokens[ends[:-1][alone]] == numbers[alone]).sum())


def profile(spelled: tuple[bytes, ...], total: Tally) -> dict[str, Any]:
    """How long tokens are, how often they occur, and some at the ends of both."""
    used = np.zeros(len(spelled), np.int64)
    used[total.used] = total.counts
    lengths = np.array([len(token) for token in spelled], np.int64)
    there = np.flatnonzero(lengths)
    most = int(lengths.max()) + 1
    kinds = np.bincount(lengths[there], minlength=most)
    texts = np.bincount(lengths, weights=used, minlength=most).astype(np.int64)
    ranked = np.sort(used[used > 0])[::-1]
    places = np.unique(np.geomspace(1, max(1, len(ranked)), POINTS).astype(np.int64))

    def samples(numbers: Positions) -> list[dict[str, Any]]:
        return [
            {
                "id": int(i),
                "text": spelled[i].decode(errors="backslashreplace"),
                "bytes": len(spelled[i]),
                "count": int(used[i]),
            }
            for i in numbers[:SAMPLES]
        ]

    occur, never = np.flatnonzero(used), there[used[there] == 0]
    return {
        "lengths": [
            {"bytes": size, "vocabulary": int(kinds[size]), "text": int(texts[size])}
            for size in range(1, most)
            if kinds[size]
        ],
        "ranks": [{"rank": int(r), "count": int(ranked[r - 1])} for r in places if len(ranked)],
        "longest": samples(there[np.lexsort((there, -lengths[there]))]),
        "rarest": samples(occur[np.lexsort((occur, -lengths[occur], used[occur]))]),
        "never_used": samples(never[np.lexsort((never, -lengths[never]))]),
    }


def finite(said: Any) -> Any:
    """The same with null for what is not a number: JSON has no NaN."""
    if isinstance(said, dict):
        return {key: finite(value) for key, value in said.items()}
    if isinstance(said, list):
        return [finite(value) for value in said]
    return None if isinstance(said, float) and not math.isfinite(said) else said
