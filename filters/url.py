"""FineWeb's URL rules: datatrove 0.10.1 filters/url_filter.py, after RefinedWeb, arXiv:2306.01116.

A document without a URL has no banned words in it, and is kept. The lists hold offensive words;
they are text files in `filters/lists`. Parts of a URL are its runs of ASCII letters and digits.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np

from curate.column import Numbers
from curate.errors import RecipeError
from curate.schema import URL, Batch
from curate.signal import column_signal
from curate.stage import mark

_SEPARATORS = re.compile("[^a-zA-Z0-9]+")


def _entries(path: Traversable) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@cache
def _words(name: str) -> frozenset[str]:
    """A list as datatrove reads it: letters and digits only, lower-cased, comments left out."""
    entries = _entries(files("filters") / "lists" / name)
    return frozenset(_SEPARATORS.sub("", entry).lower() for entry in entries)


@cache
def _banned_subwords() -> re.Pattern[str]:
    # A look-ahead finds overlapping subwords too.
    return re.compile(f"(?=({'|'.join(sorted(_words('url_banned_subwords.txt')))}))")


def _each_url(batch: Batch, measure: Callable[[str], float]) -> Numbers:
    """One call for each URL: URLs are short, a page has one, and the sets make it quick."""
    urls = batch.column(URL).to_pylist()
    return np.fromiter((measure(url or "") for url in urls), np.float64, len(urls))


@column_signal(high=0)
def banned_words(batch: Batch) -> Numbers:
    """How many different parts of the URL are banned words, as they are written (lower case)."""
    words = _words("url_banned_words.txt")
    return _each_url(batch, lambda url: len(words.intersection(_SEPARATORS.split(url))))


@column_signal(high=1)
def soft_words(batch: Batch) -> Numbers:
    """How many different parts of the URL are words that only together make it suspicious."""
    words = _words("url_soft_words.txt")
    return _each_url(batch, lambda url: len(words.intersection(_SEPARATORS.split(url))))


@column_signal(high=0)
def banned_subwords(batch: Batch) -> Numbers:
    """At how many places a banned subword begins in the URL's letters and digits, lower-cased."""
    found = _banned_subwords()
    return _each_url(batch, lambda url: len(found.findall(_SEPARATORS.sub("", url).lower())))


@cache
def _listed(path: Path) -> frozenset[str]:
    try:
        return frozenset(_entries(path))
    except OSError as error:
        raise RecipeError(f"url.Blocked: cannot read the list {path}: {error.strerror}") from error


@dataclass(frozen=True)
class Blocked:
    """Marks documents whose host or whole URL is in the user's lists, one entry a line.

    A listed domain blocks its subdomains too. (datatrove looks up the registered domain and the
    full host only; this blocks the domains between as well, and needs no list of public suffixes.)
    """

    domains: str | None = None
    urls: str | None = None

    def files(self) -> dict[str, Path]:
        """The lists on which the result depends, by name."""
        found = {path: Path(path) for path in (self.domains, self.urls) if path is not None}
        for path in found.values():
            if not path.is_file():
                raise RecipeError(f"url.Blocked: cannot read the list {path}: no such file")
        return found

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True

    def __call__(self, batch: Batch) -> Batch:
        urls = batch.column(URL).to_pylist()
        for reason, path, is_listed in (
            ("url.blocked_domain", self.domains, _in_domains),
            ("url.blocked_url", self.urls, _in_urls),
        ):
            if path is not None:
                listed = _listed(Path(path))
                broken = np.fromiter((is_listed(url or "", listed) for url in urls), np.bool_)
                batch = mark(batch, broken, reason)
        return batch


def _in_urls(url: str, listed: frozenset[str]) -> bool:
    return url in listed


def _in_domains(url: str, listed: frozenset[str]) -> bool:
    labels = host(url).split(".")
    return any(".".join(labels[first:]) in listed for first in range(len(labels)))


def host(url: str) -> str:
    """The host of a URL, lower-cased, without a final dot; "" for what has none."""
    try:
        name = urlsplit(url).hostname
    except ValueError:  # unbalanced brackets
        return ""
    return (name or "").rstrip(".")
