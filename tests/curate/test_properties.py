"""What a character is agrees with Python's own strings."""

import re
import sys
import unicodedata

import pytest

from curate import properties
from curate.kernel import helper

ALL = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
SAMPLE = ALL[:0x3100] + ALL[0x3100::7]

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="the table is Unicode 14, Python 3.11's"
)


@helper
def found(code: int) -> int:
    return properties.properties(code)


@helper
def found_word(code: int) -> bool:
    return properties.is_word(code)


def expected(character: str) -> int:
    upper, category = character.isupper(), unicodedata.category(character)
    return (
        properties.UPPER * upper
        | properties.OTHER_CASE * (not upper and (character.islower() or character.istitle()))
        | properties.ALPHANUMERIC * character.isalnum()
        | properties.NUMERIC * character.isnumeric()
        | properties.DIGIT * (category == "Nd")
        | properties.MARK * (category[0] == "M")
        | properties.LETTER * (category[0] == "L")
    )


def test_properties_are_those_of_str_and_unicodedata():
    for character in SAMPLE:
        assert found(ord(character)) == expected(character), hex(ord(character))


def test_a_character_of_words_is_one_that_w_matches():
    word = re.compile(r"\w")
    for character in SAMPLE:
        assert found_word(ord(character)) == bool(word.match(character)), hex(ord(character))


def test_what_is_no_code_point_has_no_properties():
    assert found(-1) == 0
    assert not found_word(-1)
