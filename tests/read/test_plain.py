"""Texts that need nothing are those that cleaning leaves as they are."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.column import View, frozen
from curate.read import charset
from curate.read.plain import clean_as_it_is


def ready(*texts: bytes) -> list[bool]:
    data = frozen(np.frombuffer(b"".join(texts) or b"\0", np.uint8))
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    return clean_as_it_is(View(data, frozen(ends))).tolist()


def plain(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return not text.startswith(b"\xef\xbb\xbf") and charset.clean(text) == text


LETTERS = st.sampled_from(
    "a \t\n\r\x0b\x7f\x80\x9f\xa0\xadäß\u0800\ufdd0\ufeff\ufffd\ufffe\uffff😀"
)
PIECES = st.one_of(st.text(LETTERS).map(str.encode), st.binary(max_size=12), st.just(b"plain text"))


@settings(deadline=None, max_examples=400)
@given(st.lists(st.lists(PIECES, max_size=5).map(b"".join), max_size=5))
@example([b"", b"\xef\xbb\xbfmarked", b"\xed\xa0\x80 surrogate", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_a_text_is_ready_if_it_is_utf8_that_cleaning_leaves_alone(texts):
    for text, found in zip(texts, ready(*texts), strict=True):
        # What begins like a mark and is none is looked at again, at no loss.
        assert found == plain(text) or (text.startswith(b"\xef\xbb") and not found)


@pytest.mark.parametrize("place", range(10))
def test_every_place_of_eight_bytes_is_looked_at(place):
    text = b"a" * 16
    assert ready(text) == [True]
    for bad in (b"\r", b"\x00", b"\x7f", b"\xff"):
        assert ready(text[:place] + bad + text[place + 1 :]) == [False]
