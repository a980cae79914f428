"""Strings that tokenizers disagree about, from a seed: scripts, spaces, contractions, edits."""

import random
from collections.abc import Callable, Sequence

# Ranges of code points: scripts with and without cases, marks, digits, symbols, and what is next to
# surrogates, to the end of planes or assigned to nothing.
RANGES = (
    *((0x20, 0x7E), (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x2B0, 0x2FF)),
    *((0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF)),
    *((0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE7F)),
    *((0x10A0, 0x10FF), (0x1100, 0x11FF), (0x13A0, 0x13FF), (0x1780, 0x17FF), (0x1C80, 0x1CBF)),
    *((0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20CF), (0x2100, 0x218F)),
    *((0x2190, 0x2BFF), (0x3000, 0x30FF), (0x3130, 0x318F), (0x4E00, 0x9FFF), (0xA640, 0xA69F)),
    *((0xAB70, 0xABBF), (0xAC00, 0xD7FF), (0xE000, 0xE010), (0xF900, 0xFAFF), (0xFB00, 0xFDFF)),
    *((0xFE00, 0xFE2F), (0xFF00, 0xFFFF), (0x10400, 0x1044F), (0x104B0, 0x104FF)),
    *((0x11000, 0x1107F), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F1E6, 0x1F1FF)),
    *((0x1F300, 0x1FAFF), (0x20000, 0x200FF), (0x2FFFE, 0x2FFFF), (0xE0000, 0xE01EF)),
    *((0x10FFF0, 0x10FFFF), (0x0, 0x1F), (0x7F, 0x9F), (0xD7F0, 0xD7FF)),
)
SPACES = (
    " " * 12
    + "\n" * 6
    + "\r\t\t\v\f\x1c\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff"
)
DIGITS = "0123456789" * 3 + "٣५৭๙０𝟘²½Ⅳ㊿〇"
ENDINGS = ("s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "M", "lL", "D", "ſ", "x", "")
APOSTROPHES = "''''’`ʼ"
MARKS = "\u0301\u0308\u094d\u200d\ufe0f\u20e3\u0e31\U0001f3fd\u1ab0"
SIGNS = ".,;:!?/\\|-_=+*#@$%^&()[]{}<>\"'~…。、！？«»“”€№\n/"
NAMES = (
    "<|endoftext|>",
    "<|im_start|>",
    "</s>",
    "http://",
    "...",
    "----",
    "\r\n\r\n",
    "def f(x):\n    ",
)

Fragment = Callable[[random.Random], str]


def letters(draw: random.Random) -> str:
    """Characters of one range."""
    low, high = draw.choice(RANGES)
    return "".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 8)))


def spaces(draw: random.Random) -> str:
    """White space, mostly short."""
    return "".join(draw.choices(SPACES, k=min(draw.randint(1, 4), draw.randint(1, 9))))


def digits(draw: random.Random) -> str:
    """Digits and other numbers."""
    return "".join(draw.choices(DIGITS, k=draw.randint(1, 9)))


def contraction(draw: random.Random) -> str:
    """What may be one."""
    return draw.choice(APOSTROPHES) + draw.choice(ENDINGS)


def marks(draw: random.Random) -> str:
    """Combining marks, joiners and the like."""
    return "".join(draw.choices(MARKS, k=draw.randint(1, 3)))


def signs(draw: random.Random) -> str:
    """Punctuation and symbols."""
    return "".join(draw.choices(SIGNS, k=draw.randint(1, 5)))


def name(draw: random.Random) -> str:
    """Names of special tokens, which are text, and other known stretches."""
    return draw.choice(NAMES)


def mutated(draw: random.Random, real: Sequence[str]) -> str:
    """A few characters of real text, one of them perhaps changed, or all in capitals."""
    text = draw.choice(real)
    begin = draw.randrange(len(text))
    part = text[begin : begin + draw.randint(1, 40)]
    how = draw.randrange(4)
    if how == 0:
        at = draw.randrange(len(part))
        part = part[:at] + draw.choice(FRAGMENTS)(draw) + part[at + 1 :]
    return part.upper() if how == 1 else part


FRAGMENTS: tuple[Fragment, ...] = (
    *(letters, letters, letters, spaces, spaces, digits, contraction, marks, signs, name),
)


def strings(seed: str, count: int, real: Sequence[str]) -> list[str]:
    """So many strings, of up to ten fragments each; the same for the same seed and text."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        parts = []
        for _ in range(draw.randint(1, 10)):
            if draw.random() < 0.3:
                parts.append(mutated(draw, real))
            else:
                parts.append(draw.choice(FRAGMENTS)(draw))
        # No UTF-8 can hold half of a surrogate pair; the ranges have none.
        made.append("".join(parts))
    return made


def damaged(texts: Sequence[str], seed: str) -> list[bytes]:
    """The bytes of each string, one of them changed, taken out or doubled."""
    draw = random.Random(seed)
    made = []
    for text in texts:
        content = bytearray(text.encode())
        at = draw.randrange(len(content))
        content[at : at + 1] = bytes(draw.choices(range(256), k=draw.randint(0, 2)))
        made.append(bytes(content))
    return made
