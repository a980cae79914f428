"""White space, line breaks and letters agree with Python's own strings."""

import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import utf8

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=20 if PLAIN else 200, deadline=None)
ALL = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
SAMPLE = ALL[:0x3100] + ALL[0x3100 :: 997 if PLAIN else 7]


def raw(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def test_white_space_is_that_of_str_isspace():
    for character in SAMPLE:
        data = raw(character)
        expected = len(data) if character.isspace() else 0
        assert utf8.space_size(data, 0, len(data)) == expected, hex(ord(character))
        assert not character.isspace() or utf8.may_be_space(data[0])


def test_line_breaks_are_those_of_str_splitlines():
    for character in SAMPLE:
        data = raw(character)
        expected = len(data) if len(f"a{character}b".splitlines()) == 2 else 0
        assert utf8.break_size(data, 0, len(data)) == expected, hex(ord(character))
        assert expected == 0 or utf8.may_break(data[0])


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the table is Unicode 14, Python 3.11's")
def test_letters_are_those_of_str_isalpha():
    for character in SAMPLE:
        assert utf8.is_letter(ord(character)) == character.isalpha(), hex(ord(character))


def test_code_points_are_read_from_either_end():
    for character in SAMPLE:
        data = raw("x" + character)
        assert utf8.code_point(data, 1, len(data)) == ord(character)
        assert utf8.last_code_point(data, 0, len(data)) == ord(character)


SPACED = st.text(
    st.sampled_from("ab \t\n\r\v\x1c\x1f\x85\xa0\u2028\u2003\u3000\u00e9\u4e00\U0001f600")
)


@few
@given(SPACED)
def test_skipping_space_from_both_ends_strips(text):
    data = raw(text)
    start = utf8.skip_space(data, 0, len(data))
    end = utf8.skip_space_back(data, start, len(data))
    assert bytes(data[start:end]).decode() == text.strip()


RUNS = st.lists(st.sampled_from(["a", "\n", "\u2028", "\x85", "\u2019", "\t", "a run"])).map(
    "".join
)


@few
@given(SPACED | RUNS)
def test_breaks_and_line_ends_cut_like_splitlines(text):
    data = raw(text)
    lines = text.splitlines()
    unfinished = len(text) > 0 and not utf8.ends_with_break(data)
    assert utf8.breaks(data, 0, len(data)) + unfinished == len(lines)
    if lines:
        assert bytes(data[: utf8.line_end(data, 0, len(data))]).decode() == lines[0]


@few
@given(st.binary())
def test_no_bytes_fail_and_no_size_leaves_the_text(data):
    text = np.frombuffer(data, np.uint8)
    for at in range(len(text)):
        assert at + utf8.space_size(text, at, len(text)) <= len(text)
        assert at + utf8.break_size(text, at, len(text)) <= len(text)
        assert -1 <= utf8.code_point(text, at, len(text)) <= 0x1FFFFF
    start = utf8.skip_space(text, 0, len(text))
    assert start <= utf8.skip_space_back(text, start, len(text)) <= len(text)
    assert utf8.characters(text, 0, len(text)) == sum(byte & 0xC0 != 0x80 for byte in data)


def test_a_cut_character_is_no_space():
    cut = raw("\u3000")[:2]
    assert utf8.space_size(cut, 0, 2) == 0
    assert utf8.last_code_point(cut, 0, 2) == -1
