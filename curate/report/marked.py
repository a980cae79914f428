"""Two texts side by side, with the words marked that only one of them has."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

# Comparing takes the product of both lengths at worst; two texts of so many words took up to .02 s.
MOST_WORDS = 2_000
# Of a longer stretch that both have, only so many words at each end are shown.
AROUND = 24
SAME, ONLY, GAP = "same", "only", "gap"

# A character of a script that puts no spaces between words is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)\s*|\s+")


@dataclass(frozen=True)
class Piece:
    """A stretch of a text: both have it (`same`), or this one only; a `gap` says what is left out."""

    kind: str
    text: str


@dataclass(frozen=True)
class Marked:
    """Two texts in pieces, and how many words only one of them has."""

    left: list[Piece]
    right: list[Piece]
    only_left: int
    only_right: int


def marked(left: str, right: str, left_is_cut: bool = False, right_is_cut: bool = False) -> Marked:
    """What differs between two texts, word by word; white space alone makes no difference.

    Words are compared up to MOST_WORDS of each text. Where one goes on when the other was cut,
    nobody knows whether they differ: that end is left out.
    """
    words, others = (_WORD.findall(text.lstrip())[: MOST_WORDS + 1] for text in (left, right))
    left_is_cut, right_is_cut = left_is_cut or _cut(words), right_is_cut or _cut(others)
    steps = SequenceMatcher(None, _bare(words), _bare(others)).get_opcodes()
    if steps and (steps[-1][0], left_is_cut, right_is_cut) in _OPEN:
        steps.pop()
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    only = [0, 0]
    for step, start, end, first, last in steps:
        for side, mine in enumerate((words[start:end], others[first:last])):
            if step == "equal":
                sides[side].extend(_shortened(mine))
            elif mine:
                sides[side].append(Piece(ONLY, "".join(mine)))
                only[side] += len(mine)
    return Marked(*sides, *only)


_OPEN = {("insert", True, False), ("insert", True, True), ("delete", False, True)}
_OPEN |= {("delete", True, True)}


def _cut(words: list[str]) -> bool:
    if len(words) > MOST_WORDS:
        words.pop()
        return True
    return False


def _bare(words: list[str]) -> list[str]:
    return [word.strip() for word in words]


def _shortened(words: list[str]) -> list[Piece]:
    """A stretch that both have, without its middle where it is long."""
    left_out = len(words) - 2 * AROUND
    if left_out < AROUND:
        return [Piece(SAME, "".join(words))]
    return [
        Piece(SAME, "".join(words[:AROUND])),
        Piece(GAP, f"{left_out:,} words"),
        Piece(SAME, "".join(words[-AROUND:])),
    ]
