"""RefinedWeb's URL lists, by hand and against the rules written out."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import url_dclm

SIGNALS = [value for value in vars(url_dclm).values() if type(value).__name__ == "Signal"]
COMMENTED = {"url_banned_words.txt", "url_soft_words.txt", "url_banned_subwords.txt"}


def numbers(signal, urls: list[str | None]) -> list[float]:
    return signal.measure(pa.RecordBatch.from_pydict({"url": pa.array(urls, pa.string())})).tolist()


@pytest.mark.parametrize(
    ("signal", "url", "number"),
    [
        (url_dclm.strict_words, "http://Big-Tits.example/", 1),
        (url_dclm.strict_words, "http://example.com/big.tits/bigtits", 1),
        (url_dclm.hard_words, "http://example.com/porn/", 1),
        (url_dclm.hard_words, "http://example.com/pornography/", 0),
        (url_dclm.hard_words, "http://example.com/porn_x", 0),  # an underscore is part of a word
        (url_dclm.soft_words, "http://example.com/sex/nude-sex", 2),
        (url_dclm.soft_words, "http://sussex.example/nude", 1),
        (url_dclm.olmo_strict_words, "http://big-tits.example/bigtits", 2),
        (url_dclm.olmo_hard_words, "http://example.com/porn_x", 1),
        (url_dclm.olmo_soft_words, "http://example.com/sex/sex", 2),
        # "sex" ends first and is no whole word, and so "sexuality" is never seen.
        (url_dclm.olmo_soft_words, "http://example.com/sexuality/nude", 1),
        (url_dclm.soft_words, "http://example.com/sexuality/nude", 2),
    ],
)
def test_urls_by_hand(signal, url, number):
    assert numbers(signal, [url]) == [number]


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_no_url_and_an_empty_one_have_no_banned_words(signal):
    assert numbers(signal, [None, "", "https://example.com/a/b.html?c=d"]) == [0, 0, 0]


WORDS = ["sex", "sexual", "nude", "sexy", "porn", "anus", "tit", "tits", "titty", "cum", "s&m"]
URLS = st.lists(st.sampled_from([*WORDS, "/", "-", "_", ".", "x", "é", "1", "T"])).map("".join)


@given(URLS)
def test_dclm_counts_what_its_expressions_find(url):
    for signal, name in (
        (url_dclm.hard_words, "refinedweb_hard.txt"),
        (url_dclm.soft_words, "refinedweb_soft.txt"),
    ):
        entries = sorted(url_dclm._entries(name), key=len, reverse=True)
        found = re.findall(rf"\b(?:{'|'.join(map(re.escape, entries))})\b", url.lower())
        assert numbers(signal, [url]) == [len(set(found))]


@given(URLS)
def test_matches_do_not_overlap_and_none_ends_earlier_between_them(url):
    words, _ = url_dclm._words_and_sizes("refinedweb_soft.txt")
    matches = url_dclm._matches("refinedweb_soft.txt", url)
    free = 0
    for start, end in [*matches, (len(url), len(url) + 1)]:
        assert free <= start
        between = [url[a:b] for b in range(free, end) for a in range(free, b)]
        assert not words.intersection(between)
        free = end


def test_no_list_has_an_empty_entry():
    names = {"refinedweb_hard.txt", "refinedweb_soft.txt", "refinedweb_strict.txt"} | COMMENTED
    assert all(all(url_dclm._entries(name)) for name in names)
