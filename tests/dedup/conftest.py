"""The plain twin of the kernel that cuts texts into words."""

import unicodedata
from functools import cache

import pytest

YOUNG = [(0x1F000, 0x1FAFF), (0x2E00, 0x2E7F), (0xFE00, 0xFE0F)]
UNSPACED = [
    *((0xE00, 0x109F), (0x1780, 0x17FF), (0x3040, 0x312F), (0x31F0, 0x31FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0xA4CF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F)),
    (0x20000, 0x10FFFF),
]


def within(character, ranges):
    return any(low <= ord(character) <= high for low, high in ranges)


class Plain:
    """What the kernel should do, one character after another."""

    @staticmethod
    @cache
    def kind(character):
        if ord(character) >= 0x20000:
            return "alone"
        category = unicodedata.ucd_3_2_0.category(character)
        if category.startswith("Z") or character in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85":
            return "space"
        if within(character, YOUNG) or category in ("Cc", "Cf", "Cs") or category[0] in "PS":
            return "punctuation"
        return "alone" if within(character, UNSPACED) else "letter"

    @staticmethod
    @cache
    def lower(character):
        upper = unicodedata.ucd_3_2_0.category(character) in ("Lu", "Lt")
        small = character.lower()
        return small if upper and len(small) == 1 else character

    def words(self, text):
        words = [""]
        for character in text:
            kind = self.kind(character)
            if kind == "alone":
                words += [self.lower(character), ""]
            elif kind == "letter":
                words[-1] += self.lower(character)
            elif kind == "space":
                words.append("")
        return [word for word in words if word]

    def shingles(self, text, ngram=5):
        words = self.words(text)
        return [tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)]


@pytest.fixture(scope="session")
def plain():
    return Plain()
