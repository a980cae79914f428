"""Words by UAX #29, against its rules written out one after another, and against hand-cut texts."""

import gzip
import itertools
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.unicode_words import word_places
from curate.word_break import ALPHABETIC, ALPHANUMERIC, DIGIT, KINDS, NUMERIC, PICTOGRAPHIC, entry

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=30 if PLAIN else 500, deadline=None)

LETTERS = {"ALetter", "Hebrew_Letter"}
QUOTES = {"MidNumLet", "Single_Quote"}
IGNORED = {"Extend", "Format", "ZWJ"}
LINE_ENDS = {"CR", "LF", "Newline"}
WORDS = {*LETTERS, "Numeric", "Katakana", "ExtendNumLet"}


def kind(character: str) -> str:
    return KINDS[entry(ord(character)) >> 8]


def breaks(text: str, at: int) -> bool:  # noqa: C901  # the annex has that many rules
    """Whether there is a boundary before this character: the rules in their order."""
    before, after = kind(text[at - 1]), kind(text[at])
    if before == "CR" and after == "LF":  # WB3
        return False
    if before in LINE_ENDS or after in LINE_ENDS:  # WB3a, WB3b
        return True
    if before == "ZWJ" and entry(ord(text[at])) & PICTOGRAPHIC:  # WB3c
        return False
    if before == after == "WSegSpace":  # WB3d
        return False
    if after in IGNORED:  # WB4
        return False
    left = [kind(one) for one in text[:at]]
    first = max((i + 1 for i, one in enumerate(left) if one in LINE_ENDS), default=0)
    left = [one for i, one in enumerate(left[first:]) if i == 0 or one not in IGNORED]
    right = [one for one in map(kind, text[at:]) if one not in IGNORED]
    before, after = left[-1], right[0]
    earlier = left[-2] if len(left) > 1 else ""
    later = right[1] if len(right) > 1 else ""
    middle = QUOTES | {"MidLetter"}
    if before in LETTERS and after in LETTERS:  # WB5
        return False
    if before in LETTERS and after in middle and later in LETTERS:  # WB6
        return False
    if earlier in LETTERS and before in middle and after in LETTERS:  # WB7
        return False
    if before == "Hebrew_Letter" and after == "Single_Quote":  # WB7a
        return False
    if before == later == "Hebrew_Letter" and after == "Double_Quote":  # WB7b
        return False
    if earlier == after == "Hebrew_Letter" and before == "Double_Quote":  # WB7c
        return False
    if {before, after} <= LETTERS | {"Numeric"}:  # WB8, WB9, WB10
        return False
    number = QUOTES | {"MidNum"}
    if earlier == after == "Numeric" and before in number:  # WB11
        return False
    if before == later == "Numeric" and after in number:  # WB12
        return False
    if before == after == "Katakana":  # WB13
        return False
    if before in WORDS and after == "ExtendNumLet":  # WB13a
        return False
    if before == "ExtendNumLet" and after in WORDS:  # WB13b
        return False
    flags = 0
    while flags < len(left) and left[-1 - flags] == "Regional_Indicator":
        flags += 1
    return not (after == "Regional_Indicator" and flags % 2 == 1)  # WB15, WB16, WB999


def segments(text: str) -> list[str]:
    cuts = [0, *(at for at in range(1, len(text)) if breaks(text, at)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(cuts) if b > a]


def words(texts: list[str], *, by_first: bool = False) -> list[list[str]]:
    places = word_places(view(pa.array(texts, pa.string())), by_first)
    found = [list[str]() for _ in texts]
    for row, text in enumerate(texts):
        for word in range(places.offsets[row], places.offsets[row + 1]):
            found[row].append(text.encode()[places.starts[word] : places.ends[word]].decode())
    return found


def has_letter_or_digit(segment: str) -> bool:
    return any(entry(ord(character)) & (ALPHABETIC | NUMERIC) for character in segment)


SAMPLES = [
    list("aéZ19_.,':;\"’·‿/-#²½אב״゛アｱあ一가กิเക്က្ລℹⓂ😀❤"),
    ["\u200d", "\u00ad", "\u0301", "\u0345", "\ufe0f", "🏽", "🇫", "🇷", "🇩", "\u20dd", "\u2060"],
    [" ", "  ", "\t", "\n", "\r", "\r\n", "\u2028", "\x85", "\u3000", "\u00a0", "\u200b", "\0"],
]
CHARACTERS = [one for sample in SAMPLES for one in sample]
TEXT = st.lists(st.sampled_from(CHARACTERS), max_size=14).map("".join)


@few
@given(TEXT | st.text(max_size=12))
def test_words_are_the_segments_with_a_letter_or_digit(text):
    assert words([text]) == [[one for one in segments(text) if has_letter_or_digit(one)]]


@few
@given(TEXT | st.text(max_size=12))
def test_or_the_segments_that_begin_with_one(text):
    expected = [one for one in segments(text) if entry(ord(one[0])) & ALPHANUMERIC]
    assert words([text], by_first=True) == [expected]


@few
@given(st.lists(TEXT, max_size=5))
def test_a_text_is_cut_as_if_it_were_alone(texts):
    assert words(texts) == [words([text])[0] for text in texts]


@few
@given(st.binary(max_size=40))
def test_bytes_that_are_not_utf8_are_cut_too(data):
    places = word_places(view(pa.array([data], pa.binary())))
    assert all(0 <= s < e <= len(data) for s, e in zip(places.starts, places.ends, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The example of the annex itself.
        (
            "The quick (“brown”) fox can’t jump 32.3 feet, right?",
            "The quick brown fox can’t jump 32.3 feet right",
        ),
        ("don't O'Neill's 'quoted'", "don't O'Neill's quoted"),
        ("e.g. U.S.A. 3,141.59 1.2.3 a.1 a:b", "e.g U.S.A 3,141.59 1.2.3 a 1 a:b"),
        ("snake_case __init__ x_1 __", "snake_case __init__ x_1"),
        ("well-known and/or", "well known and or"),
        ("我们 喜欢自然语言。", "我 们 喜 欢 自 然 语 言"),
        ("コーヒーとケーキ", "コーヒー と ケーキ"),
        ("안녕하세요 세계", "안녕하세요 세계"),
        ("สวัสดี", "ส วั ส ดี"),  # "hello": a word is a letter with its marks
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("צה״ל ג'ירפה", "צה״ל ג'ירפה"),
        ("naïve café", "naïve café"),
        ("", ""),
        ("…?!", ""),
    ],
)
def test_texts_cut_by_hand(text, expected):
    assert words([text]) == [expected.split()]


def test_a_family_is_no_word_but_a_letter_behind_a_joiner_belongs_to_it():
    assert words(["👨\u200d👩\u200d👧 🇫🇷🇩", "😀\u200dℹ"]) == [[], ["😀\u200dℹ"]]


def test_marks_without_end_are_read_once():
    marks = "\u0301" * (1_000 if PLAIN else 300_000)
    assert words(["a." + marks + "b", "a." + marks]) == [["a." + marks + "b"], ["a"]]


def test_real_sentences_of_many_languages_are_cut_as_the_rules_say(shared: Path):
    with gzip.open(shared / "multilingual" / "ntrex.tsv.gz", "rt", encoding="utf-8") as lines:
        texts = [line.rstrip("\n").split("\t")[-1] for line in lines]
    some = texts[:: 4000 if PLAIN else 97]
    expected = [[one for one in segments(text) if has_letter_or_digit(one)] for text in some]
    assert words(some) == expected


def test_the_table_says_what_python_says():
    for character in "aZ09_²½一あアกิ\u0301\u0660Ⅷ🇫😀":
        assert bool(entry(ord(character)) & ALPHANUMERIC) == character.isalnum(), character
        assert bool(entry(ord(character)) & DIGIT) == character.isdigit(), character
