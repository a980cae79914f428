"""CCNet's lines, by hand and against its definitions."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.filter import Filter
from filters import ccnet

TEXTS = st.text(st.sampled_from("aAbB19 \n.,。\t\x85\x01é１"), max_size=40)


def test_lines_are_compared_without_case_digits_and_wide_punctuation():
    assert ccnet.normalised_line("  It’s 12 É, 2。\t") == "its 00 é, 0"
    assert ccnet.normalised_line(" \n") == ""


def test_a_key_is_the_beginning_of_a_sha1():
    digest = hashlib.sha1(b"page 0").digest()
    assert ccnet.line_keys("Page 7\n") == [
        int.from_bytes(digest[:8], "little"),
        int.from_bytes(hashlib.sha1(b"").digest()[:8], "little"),
    ]


def test_the_first_of_equal_lines_stays():
    batch = pa.record_batch({"text": ["Page 1\nx\n\npage 2\n\ny", None, ""]})
    assert ccnet.Lines()(batch)["text"].to_pylist() == ["Page 1\nx\n\ny", None, ""]


@given(TEXTS)
def test_what_is_left_has_each_key_once_and_the_order_stays(text):
    left = ccnet.without_repeated_lines(text)
    assert len(set(ccnet.line_keys(left))) == len(ccnet.line_keys(left))
    assert set(ccnet.line_keys(left)) == set(ccnet.line_keys(text))
    lines = iter(text.split("\n"))
    assert all(line in lines for line in left.split("\n"))


@pytest.mark.parametrize(("size", "is_kept"), [(0, False), (299, False), (300, True)])
def test_short_documents_go(size, is_kept):
    marked = Filter((ccnet.length,))(pa.record_batch({"text": ["é" * size, "a" * 300]}))
    assert "dropped_by" not in marked.schema.names or not is_kept
