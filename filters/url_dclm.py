"""RefinedWeb's URL word lists as DCLM and OLMo 3 apply them: arXiv:2306.01116, arXiv:2406.11794.

Dialects: DCLM's url_substring_filter (baselines/mappers/filters/metadata_filters.py), and that of
allenai/datamap-rs for signals that begin with `olmo`. The lists are DCLM's reverse engineering of
RefinedWeb's; they hold offensive words and are text files in `filters/lists`. A document without a
URL has no banned words in it. Lists of domains are the user's: url.Blocked.

datamap-rs finds words that do not overlap, the one that ends first before others ("sex" hides
"sexual"), and only then asks for their boundaries; in its lists capitals, spaces and comments never
match.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np

from curate.column import Numbers
from curate.schema import URL, Batch
from curate.signal import column_signal

_PARTS = re.compile("[^a-zA-Z0-9]+")


@cache
def _entries(name: str) -> tuple[str, ...]:
    """The lines of a list as they are, but for the first, which names its source."""
    text = (files("filters") / "lists" / name).read_text(encoding="utf-8")
    return tuple(dict.fromkeys(text.removesuffix("\n").split("\n")[1:]))


def _each_url(batch: Batch, measure: Callable[[str], float]) -> Numbers:
    urls = batch.column(URL).to_pylist()
    return np.fromiter((measure((url or "").lower()) for url in urls), np.float64, len(urls))


@cache
def _any_of(name: str, boundary: str) -> re.Pattern[str]:
    """Any entry of a list, of those that begin alike the longest; small letters."""
    entries = sorted((entry.lower() for entry in _entries(name)), key=len, reverse=True)
    words = "|".join(map(re.escape, entries))
    return re.compile(f"{boundary}(?:{words}){boundary}", re.IGNORECASE)


def _without_signs(url: str) -> str:
    return url.replace("-", "").replace(".", "")


@column_signal(high=0)
def strict_words(batch: Batch) -> Numbers:
    """How many different strictly banned words are anywhere in the URL without its "-" and "."."""
    found = _any_of("refinedweb_strict.txt", "")
    return _each_url(batch, lambda url: len(set(found.findall(_without_signs(url)))))


@column_signal(high=0)
def hard_words(batch: Batch) -> Numbers:
    """How many different banned words are whole words of the URL; an underscore parts none."""
    found = _any_of("refinedweb_hard.txt", r"\b")
    return _each_url(batch, lambda url: len(set(found.findall(url))))


@column_signal(high=1)
def soft_words(batch: Batch) -> Numbers:
    """How many different words are in the URL that only together make it suspicious."""
    found = _any_of("refinedweb_soft.txt", r"\b")
    return _each_url(batch, lambda url: len(set(found.findall(url))))


@cache
def _words_and_sizes(name: str) -> tuple[frozenset[str], tuple[int, ...]]:
    entries = frozenset(_entries(name))
    return entries, tuple(sorted({len(entry) for entry in entries}, reverse=True))


def _matches(name: str, url: str) -> list[tuple[int, int]]:
    """Where words of the list are: as they end, none before the last has ended, the longest first.

    Aho and Corasick's automaton with the standard semantics of Rust's aho-corasick.
    """
    words, sizes = _words_and_sizes(name)
    if not any(word in url for word in words):
        return []
    matches: list[tuple[int, int]] = []
    free = 0
    for end in range(1, len(url) + 1):
        starts = (end - size for size in sizes if size <= end - free)
        start = next((start for start in starts if url[start:end] in words), None)
        if start is not None:
            matches.append((start, end))
            free = end
    return matches


def _whole(name: str, url: str) -> int:
    """How many of the matches have no letter or digit beside them."""
    return sum(
        not url[start - 1 : start].isalnum() and not url[end : end + 1].isalnum()
        for start, end in _matches(name, url)
    )


@column_signal(high=0)
def olmo_strict_words(batch: Batch) -> Numbers:
    """Strictly banned words anywhere in the URL without its "-" and "."."""
    name = "refinedweb_strict.txt"
    return _each_url(batch, lambda url: len(_matches(name, _without_signs(url))))


@column_signal(high=0)
def olmo_hard_words(batch: Batch) -> Numbers:
    """Banned words with no letter or digit beside them."""
    return _each_url(batch, lambda url: _whole("refinedweb_hard.txt", url))


@column_signal(high=1)
def olmo_soft_words(batch: Batch) -> Numbers:
    """Words that only together make the URL suspicious; the same one twice counts twice."""
    return _each_url(batch, lambda url: _whole("refinedweb_soft.txt", url))


@column_signal(high=0)
def olmo_fineweb_words(batch: Batch) -> Numbers:
    """How many of FineWeb's banned words are parts of the URL, runs of ASCII letters and digits."""
    words = frozenset(_entries("url_banned_words.txt"))
    return _each_url(batch, lambda url: sum(part in words for part in _PARTS.split(url) if part))


@column_signal(high=1)
def olmo_fineweb_soft_words(batch: Batch) -> Numbers:
    """FineWeb's suspicious words with no letter or digit beside them; each occurrence counts."""
    return _each_url(batch, lambda url: _whole("url_soft_words.txt", url))


@column_signal(high=0)
def olmo_fineweb_subwords(batch: Batch) -> Numbers:
    """FineWeb's banned parts of words, anywhere in the URL as it is."""
    return _each_url(batch, lambda url: len(_matches("url_banned_subwords.txt", url)))
