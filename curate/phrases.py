"""Phrases of small ASCII letters in a text, whatever their case there: as in `text.lower()`.

Besides the capitals A to Z, `str.lower` makes one character such a letter: the Kelvin sign, a k.
("İ" becomes an i and a dot, which makes no phrase that does not end with an i.)
"""

from curate.column import Bytes
from curate.kernel import inlined

_K = 107  # also the three bytes of the Kelvin sign, U+212A


@inlined
def letter_end(text: Bytes, at: int, end: int, letter: int) -> int:
    """Where this letter ends if it begins here; else -1."""
    if at >= end:
        return -1
    byte = int(text[at])
    if (byte | 32 if 65 <= byte <= 90 else byte) == letter:
        return at + 1
    if letter == _K and byte == 0xE2 and at + 3 <= end:
        return at + 3 if text[at + 1] == 0x84 and text[at + 2] == 0xAA else -1
    return -1


@inlined
def letter_start(text: Bytes, start: int, at: int, letter: int) -> int:
    """Where this letter begins if it ends here; else -1."""
    if at <= start:
        return -1
    byte = int(text[at - 1])
    if (byte | 32 if 65 <= byte <= 90 else byte) == letter:
        return at - 1
    if letter == _K and byte == 0xAA and at - 3 >= start:
        return at - 3 if text[at - 2] == 0x84 and text[at - 3] == 0xE2 else -1
    return -1


@inlined
def phrase_end(text: Bytes, at: int, end: int, phrase: Bytes) -> int:
    """Where this phrase ends if it begins here; else -1."""
    place = 0
    while at >= 0 and place < len(phrase):
        at = letter_end(text, at, end, int(phrase[place]))
        place += 1
    return at


@inlined
def phrase_start(text: Bytes, start: int, at: int, phrase: Bytes) -> int:
    """Where this phrase begins if it ends here; else -1."""
    place = len(phrase)
    while at >= 0 and place > 0:
        place -= 1
        at = letter_start(text, start, at, int(phrase[place]))
    return at
