"""DCLM's removal of URLs against its regular expressions."""

import os
import re
from importlib.resources import files

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.dclm_urls import Urls

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=30 if PLAIN else 400, deadline=None)

TABLE = files("filters") / "lists" / "iana_tlds.txt"
NAMES = TABLE.read_text(encoding="utf-8").splitlines()[1:]
# The longest first, as the trie of DCLM prefers it.
DOMAIN = "|".join(map(re.escape, sorted(NAMES, key=len, reverse=True)))
BEGINS = re.compile(DOMAIN, re.IGNORECASE)
URL = re.compile(
    rf"\s{{0,10}}(?:(?:https?|ftp)://)?[-a-zA-Z0-9@:%._+~#=]{{1,256}}\.(?:{DOMAIN})\b"
    r"[-a-zA-Z0-9()@:%_+.~#?&/=]*"
)
ADDRESS = re.compile(
    r"\s{0,10}\b(?:(?:https?|ftp)://)?(?:[0-2]?[0-9]{1,2}\.){3}[0-2]?[0-9]{1,2}"
    r"[-a-zA-Z0-9()@:%_+.~#?&/=]*"
)


def removed(text: str, always: bool) -> str:
    text = URL.sub("", text) if always or BEGINS.match(text) else text
    return re.sub("\n{3,}", "\n\n", ADDRESS.sub("", text))


def urls(texts: list[str | None], always: bool = True) -> pa.RecordBatch:
    return Urls(always)(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))


PARTS = [
    *("http://", "https://", "ftp://", "httphttp://", "://", "//", "/", ".", ".com", ".co", ".uk"),
    *("com", "www", "a", "é", ".भारतम्", ".भारत", ".测试", ".موقع\u200e", ".COM", ".museum", "ि"),
    *("1", "12", "256", "300", "192.168.1.1", "1.2.3.", ".4", "x" * 255, "y" * 257, "z." * 9),
    *(" ", "\n", "\n\n\n", "\u3000", "\t" * 9, " " * 12, "(", ")", "?", "&", "=", "-", "@", ","),
]
PAGE = st.lists(st.sampled_from(PARTS), max_size=14).map("".join)
STARTS = ["The ", "Москва ", "МОСКВА ", "İn ", "ſe ", "中国", "x ", "", "\u212aim "]


@few
@given(PAGE | st.text(max_size=20))
def test_urls_go_as_the_regular_expressions_say(text):
    assert urls([text])["text"].to_pylist() == [removed(text, True)]


@few
@given(st.sampled_from(STARTS), PAGE)
def test_and_only_from_texts_that_begin_with_a_domain_unless_told_otherwise(start, text):
    assert urls([start + text], False)["text"].to_pylist() == [removed(start + text, False)]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("See http://example.com/a?b=c#d now.", "See now."),
        ("See www.example.com.", "See"),
        ("Mail me@example.org, please", "Mail, please"),
        ("at 192.168.0.1:8080/x today", "at today"),
        ("version 1.2.3 of 2.0", "version 1.2.3 of 2.0"),
        ("a\n\n\n\nb", "a\n\nb"),
        ("end.Then", "end.Then"),
    ],
)
def test_texts_by_hand(text, left):
    assert urls([text])["text"].to_pylist() == [left]


def test_what_is_nothing_but_a_url_is_dropped():
    marked = urls(["example.com", "a"])
    assert marked["dropped_by"].to_pylist() == ["dclm_urls.empty", None]


def test_nulls_and_empty_batches_pass():
    assert urls([None], False)["text"].to_pylist() == [None]
    assert urls([], False).num_rows == 0


def test_long_runs_are_read_in_linear_time():
    size = 300 if PLAIN else 50_000
    for text in (".a" * size, "http:" * size, "1." * size, "a.comx" * size, " " * size, "a" * size):
        assert len(urls([text])["text"].to_pylist()[0]) <= len(text)


def test_real_pages_lose_what_the_regular_expressions_match(pages):
    some = pages[:2] if PLAIN else pages[:20]
    assert urls(some)["text"].to_pylist() == [removed(text, True) for text in some]
