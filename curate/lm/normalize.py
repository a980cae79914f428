"""How text is evened out before a language model sees it: CCNet's way and ROOTS's way.

Both act on one character at a time, but for three things: white space around the text, the sigma
that ends a word, and the order of combining marks. A table says what becomes of every character;
the few words that need more go the slow way.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Bytes, Offsets, Positions, View, frozen, view
from curate.errors import RecipeError
from curate.kernel import borrowing, helper
from curate.utf8 import skip_space, skip_space_back

Numbers32 = NDArray[np.int32]

DIGIT = re.compile(r"\d")
NON_PRINTING = re.compile("[\x00-\x1f\x7f-\x9f]")
# What ROOTS takes for a space, before it removes control characters.
SPACES = set("\u2009\u200a\u202f\u2005\u3000\u2002\u2008\u2003\ufffc\x84 \t\n\r\x0b\x0c")
# Characters beyond these are written as they are: none has a lower case, a digit or a mark.
CHANGED = (range(0x20000), range(0x2F800, 0x2FA20), range(0xE0100, 0xE01F0))
SIGMA = "\u03a3"  # its lower case depends on its neighbours
BLOCK = 256
SLOW = -1
# A separator that no rule touches but one that removes it: characters are rewritten all at once.
MARK = "\ue000"


@cache
def punctuation() -> dict[int, str]:
    """CCNet's plain spellings of punctuation."""
    text = (files("filters") / "lists" / "ccnet_punctuation.tsv").read_text(encoding="utf-8")
    pairs = (line.split("\t") for line in text.splitlines()[1:])
    return {ord(character): plain for character, plain in pairs}


def ccnet(text: str) -> str:
    """As cc_net's `normalize`: lower case, no accents, digits 0, plain punctuation.

    Line ends are control characters and go, too: CCNet scores a document as one line.
    """
    return _ccnet(text.strip())


def _ccnet(text: str) -> str:
    parted = unicodedata.normalize("NFD", text.lower())
    plain = "".join(letter for letter in parted if unicodedata.category(letter) != "Mn")
    return NON_PRINTING.sub("", DIGIT.sub("0", plain).translate(punctuation()))


def roots(text: str) -> str:
    """As ROOTS before it measures perplexity: digits 0, plain punctuation, spaces for white space.

    Source: 01b_oscar_cleaning_and_filtering of bigscience-workshop/data-preparation (Apache-2.0).
    """
    return _roots(text.strip())


def _roots(text: str) -> str:
    spaced = "".join(" " if letter in SPACES else letter for letter in text)
    return DIGIT.sub("0", NON_PRINTING.sub("", spaced)).translate(punctuation())


# Each way: of a text, and of its characters once the white space around it is gone.
WAYS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "ccnet": (ccnet, _ccnet),
    "roots": (roots, _roots),
}
NAMES = ("none", *WAYS)


class Table(NamedTuple):
    """Character c becomes the spelling entries[blocks[c >> 8] * 256 + (c & 255)]; 0: itself."""

    blocks: Numbers32
    entries: Numbers32
    starts: Numbers32
    letters: Bytes


def known(way: str) -> str:
    """The name of a way, or an error that lists them."""
    if way not in NAMES:
        raise RecipeError(f"normalize: no way called {way!r}; write one of {', '.join(NAMES)}")
    return way


@cache
def table(way: str) -> Table:
    """What becomes of every character, asked of the plain functions above.

    The marks that are left after CCNet's way change places with others, so they go the slow way.
    """
    points = [point for some in CHANGED for point in some if not 0xD800 <= point < 0xE001]
    apart = MARK.join(map(chr, points))
    rewritten = WAYS[way][1](apart).split(MARK)
    entries = np.zeros((0x110000 // BLOCK, BLOCK), np.int32)
    spellings: dict[str, int] = {"": 1}
    for point, plain in zip(points, rewritten, strict=True):
        if way == "ccnet" and (chr(point) == SIGMA or any(map(unicodedata.combining, plain))):
            entries[point // BLOCK, point % BLOCK] = SLOW
        elif plain != chr(point):
            place = spellings.setdefault(plain, len(spellings) + 1)
            entries[point // BLOCK, point % BLOCK] = place
    same: dict[bytes, int] = {}
    blocks = np.array([same.setdefault(block.tobytes(), len(same)) for block in entries], np.int32)
    used = np.frombuffer(b"".join(same), np.int32)
    spelled = [plain.encode() for plain in spellings]
    starts = np.cumsum([0, 0, *map(len, spelled)], dtype=np.int32)
    letters = np.frombuffer(b"".join(spelled), np.uint8)
    return Table(frozen(blocks), frozen(used), frozen(starts), frozen(letters))


@borrowing
def _size(first: int, second: int) -> int:
    """How many bytes a character has that begins so; 1 for a byte that begins none."""
    if first < 0xC2 or first > 0xF4:
        return 1
    if first < 0xE0:
        return 2
    # Overlong forms, surrogates and code points past the last are no characters.
    if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
        return 1
    if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return 1
    return 3 if first < 0xF0 else 4


@borrowing
def _character(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """The code point that begins here and its size; -1 and 1 for a byte that is no UTF-8."""
    first = int(text[at])
    if first < 0x80:
        return first, 1
    size = _size(first, int(text[at + 1]) if at + 1 < end else 0)
    if size == 1 or at + size > end:
        return -1, 1
    code = first & (0x7F >> size)
    for place in range(at + 1, at + size):
        following = int(text[place])
        if following & 0xC0 != 0x80:
            return -1, 1
        code = code << 6 | following & 0x3F
    return code, size


@borrowing
def _copied(source: Bytes, start: int, end: int, out: Bytes, filled: int) -> int:
    """Copy a stretch of bytes; where its copy ends."""
    for place in range(start, end):
        out[filled] = source[place]
        filled += 1
    return filled


@helper
def _rewrite(texts: View, table: Table, out: Bytes, ends: Offsets, words: Positions) -> int:
    """Write every text as the table says; how many words need the slow way, which no space parts.

    Four numbers tell of each: where it begins and ends in the texts, and in what was written.
    """
    data, offsets = texts
    filled, found = 0, 0
    for row in range(len(offsets) - 1):
        start, end = int(offsets[row]), int(offsets[row + 1])
        at = skip_space(data, start, end)
        end = skip_space_back(data, at, end)
        begin, written, is_slow = at, filled, False
        while at < end:
            code, size = _character(data, at, end)
            entry = 0
            if code >= 0:
                entry = int(table.entries[table.blocks[code >> 8] * BLOCK + (code & 255)])
            if entry > 0:
                first, last = table.starts[entry], table.starts[entry + 1]
                filled = _copied(table.letters, first, last, out, filled)
            else:
                is_slow |= entry == SLOW
                filled = _copied(data, at, at + size, out, filled)
            at += size
            if code == 32 or at == end:
                if is_slow:
                    words[found : found + 4] = begin, at, written, filled
                    found += 4
                begin, written, is_slow = at, filled, False
        ends[row + 1] = filled
    return found


def normalized(texts: pa.Array, way: str) -> pa.Array:
    """A column of texts, evened out in this way; bytes that are no UTF-8 stay as they are."""
    if way == "none":
        return texts
    rows = view(texts)
    size = int(rows.offsets[-1] - rows.offsets[0])
    # No character grows to more than three times its bytes; slow words have two and a space.
    out, words = np.empty(3 * size + 1, np.uint8), np.empty(4 * (size // 3 + 1), np.int64)
    ends = np.zeros(len(rows.offsets), np.int32)
    found = _rewrite(rows, table(way), out, ends, words)
    written = out[: ends[-1]]
    if found:
        written, ends = _mended((rows.data, written), ends, words[:found].reshape(-1, 4), way)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(written.tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(ends) - 1, buffers)


def _mended(
    texts: tuple[Bytes, Bytes], ends: Offsets, words: Positions, way: str
) -> tuple[Bytes, Offsets]:
    """What was written, with the words in which neighbours matter written the slow way."""
    before, after = texts
    plain = WAYS[way][1]
    parts: list[bytes] = []
    done = 0
    grown = np.zeros(len(words), np.int64)
    for number, (begin, end, start, stop) in enumerate(words.tolist()):
        text = before[begin:end].tobytes().decode("utf-8", "surrogateescape")
        written = plain(text).encode("utf-8", "surrogateescape")
        parts += [after[done:start].tobytes(), written]
        grown[number] = len(written) - (stop - start)
        done = stop
    parts.append(after[done:].tobytes())
    moved = np.concatenate([[0], np.cumsum(grown)])
    moved = moved[np.searchsorted(words[:, 3], ends, side="right")]
    return np.frombuffer(b"".join(parts), np.uint8), (ends + moved).astype(np.int32)
