"""Two texts side by side, with the words marked that only one of them has."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

# Comparing takes the product of both lengths at worst; two texts of so many words took up to .02 s.
MOST_WORDS = 2_000
# Of a longer stretch only so many words at each end are shown, and no more stretches behind so
# many characters.
AROUND = 24
MOST_SHOWN = 2_000
SAME, ONLY, GAP = "same", "only", "gap"

# A character of a script that puts no spaces between words is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)\s*|\s+")


@dataclass(frozen=True)
class Piece:
    """A stretch of a text that both have, or this one only; a gap says how much is left out."""

    kind: str
    text: str


@dataclass(frozen=True)
class Marked:
    """Two texts in pieces, how many words only one of them has, and what is not shown."""

    left: list[Piece]
    right: list[Piece]
    only_left: int
    only_right: int
    more: int  # differences that are not shown


def marked(left: str, right: str, left_is_cut: bool = False, right_is_cut: bool = False) -> Marked:
    """What differs between two texts, word by word; white space alone makes no difference.

    Words are compared up to MOST_WORDS of each text. Where one goes on when the other was cut,
    nobody knows whether they differ: that end is left out.
    """
    words, left_is_cut = _words(left, left_is_cut)
    others, right_is_cut = _words(right, right_is_cut)
    steps = SequenceMatcher(None, _bare(words), _bare(others)).get_opcodes()
    if steps and (steps[-1][0], left_is_cut, right_is_cut) in _OPEN:
        steps.pop()
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    only_left, only_right, more, shown = 0, 0, 0, 0
    for step, start, end, first, last in steps:
        here = [_shortened(side, step) for side in (words[start:end], others[first:last])]
        if step != "equal":
            only_left, only_right = only_left + end - start, only_right + last - first
            more += shown >= MOST_SHOWN
        if shown < MOST_SHOWN:
            shown += max(sum(len(piece.text) for piece in pieces) for pieces in here)
            for side, pieces in zip(sides, here, strict=True):
                side.extend(pieces)
    return Marked(*sides, only_left, only_right, more)


_OPEN = {("insert", True, False), ("insert", True, True), ("delete", False, True)}
_OPEN |= {("delete", True, True)}


def _words(text: str, is_cut: bool) -> tuple[list[str], bool]:
    """The first words, and whether there are more; a word that may be cut is none."""
    words = _WORD.findall(text.strip())
    is_cut = is_cut or len(words) > MOST_WORDS
    return words[: min(MOST_WORDS, len(words) - 1)] if is_cut else words, is_cut


def _bare(words: list[str]) -> list[str]:
    return [word.strip() for word in words]


def _shortened(words: list[str], step: str) -> list[Piece]:
    """A stretch of words without its middle where it is long."""
    kind = SAME if step == "equal" else ONLY
    left_out = len(words) - 2 * AROUND
    if left_out < AROUND:
        return [Piece(kind, "".join(words))] if words else []
    return [
        Piece(kind, "".join(words[:AROUND])),
        Piece(GAP, f"{left_out:,} {'of the same words' if kind == SAME else 'words'}"),
        Piece(kind, "".join(words[-AROUND:])),
    ]
