"""One byte for every code point: which of a pattern's character sets it belongs to.

By Unicode 16.0, as tiktoken 0.14 and tokenizers 0.23 have it, so that tokens are theirs and stay
what they are when `regex` learns newer characters: what Unicode assigns later is unassigned here.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from curate.column import Bytes, Mask, frozen
from curate.errors import RecipeError

POINTS = 0x110000
# Surrogates and bytes that are no character count as this one, neither letter, number nor space.
STRANGER = 0xE000
# No version will ever assign this one: what is said of it is said of all that are unassigned.
UNASSIGNED = 0xEFFFE
# By code point, an older character of the kind that it was in Unicode 16: U+0295 was a lower-case
# letter (Ll) there and is a letter without case (Lo) in `regex` 2026.11, which has Unicode 18.
CHANGED = {0x0295: 0x0138}

# What a set says of kinds of characters, not of single ones; other escapes are to be left alone.
_KIND = regex.compile(
    r"(?P<kind>\\[pP](?:\{[^{}]*\}|\w)|\\[dDsSwW]|\[:\^?\w+:\])|\\.", regex.DOTALL
)

# Code points, their text, and the character whose kinds are theirs, if it is another one.
Group = tuple[NDArray[np.uint32], str, int | None]


@cache
def unassigned() -> Mask:
    """By code point, whether Unicode 16.0 assigns it to nothing."""
    mask = np.zeros(POINTS, np.bool_)
    lines = Path(__file__).with_name("unicode_16.txt").read_text("utf-8").splitlines()[1:]
    for line in lines:
        first, last = (int(end, 16) for end in line.split("-"))
        mask[first : last + 1] = True
    mask.flags.writeable = False
    return mask


def as_known(text: str) -> str:
    """The text with characters for which `regex` says what Unicode 16.0 says of these."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").copy()
    points[unassigned()[points]] = UNASSIGNED
    for point, other in CHANGED.items():
        points[points == point] = other
    return points.tobytes().decode("utf-32-le", "surrogatepass")


def groups() -> list[Group]:
    """All code points, those together of which a set is asked in the same words."""
    points = np.arange(POINTS, dtype="<u4")
    known = ~unassigned()
    known[list(CHANGED)] = False
    spelled = points.copy()
    spelled[0xD800:STRANGER] = STRANGER
    parts = [(known, None), (unassigned(), UNASSIGNED)]
    parts += [(points == point, other) for point, other in CHANGED.items()]
    return [(points[m], spelled[m].tobytes().decode("utf-32-le"), other) for m, other in parts]


def said_of(character_set: str, character: int) -> str:
    """The set with all that it says of kinds replaced by what holds for this character.

    What it names by itself or in a range (`[一-龥]`) it holds in any version of Unicode.
    """

    def answer(found: Any) -> str:
        if not found["kind"]:
            return str(found[0])
        holds = regex.match(f"[{found[0]}]", chr(character), regex.V1)
        # U+0000 is neither unassigned nor changed. (`[^\s\S]` holds everything in regex 2026.11.)
        return r"[^\x00]" if holds else r"\x00"

    said = str(_KIND.sub(answer, character_set))
    # An unassigned character has no other case.
    return f"(?:{said.removeprefix('(?i:')}" if said.startswith("(?i:") else said


def members(character_set: str, every: list[Group]) -> Mask:
    r"""Which code points a set such as `[^\s\p{L}]` holds."""
    mask = np.zeros(POINTS, np.bool_)
    for points, text, other in every:
        said = character_set if other is None else said_of(character_set, other)
        for run in regex.finditer(f"(?:{said})+", text, regex.V1):
            mask[points[run.start() : run.end()]] = True
    return mask


def unicode_classes(character_sets: tuple[str, ...]) -> tuple[Bytes, NDArray[np.bool_]]:
    """Class of each code point, and which set holds which class: `held[character_set, class]`.

    Two code points share a class if no set tells them apart. Takes about 0.05 s: classes are found
    for runs of code points that no set tells apart, some 2,000, where they took 0.1 s for each one.
    """
    every = groups()
    masks = np.array([members(character_set, every) for character_set in character_sets], np.bool_)
    masks = masks.reshape(-1, POINTS)
    begins = np.flatnonzero(np.append(True, (masks[:, 1:] != masks[:, :-1]).any(axis=0)))
    classes = np.zeros(len(begins), np.int64)
    held = np.zeros((0, 1), np.bool_)
    for mask in masks[:, begins]:
        split = classes * 2 + mask
        present = np.flatnonzero(np.bincount(split, minlength=2 * held.shape[1]))
        rank = np.zeros(2 * held.shape[1], np.int64)
        rank[present] = np.arange(len(present))
        classes = rank[split]
        held = np.vstack([held[:, present // 2], present % 2 == 1])
    if held.shape[1] > 255:
        raise RecipeError(f"a pattern of {held.shape[1]} kinds of character; at most 255 will do")
    sizes = np.diff(begins, append=POINTS)
    return frozen(np.repeat(classes.astype(np.uint8), sizes)), held
