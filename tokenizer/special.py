"""Names of tokens in text: found as `tokenizers` and tiktoken do, and cut out before the split.

Leftmost first, then longest, as a walk down a trie at every byte with which a name begins. Texts
without a name, nearly all, cost one look at each byte.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import regex
from numpy.typing import NDArray

from curate.column import Bytes, Mask, Positions, View, frozen, view
from curate.errors import ModelError
from curate.kernel import helper
from tokenizer.normalize import normalized, with_space
from tokenizer.unicode_table import as_known

Names = dict[str, int]
Manners = dict[str, frozenset[str]]  # some of `normalized`, `lstrip`, `rstrip`, `single_word`

_SPACE_BEFORE = regex.compile(r"\s*\Z")
_SPACE_BEHIND = regex.compile(r"\A\s*")
_WORD_BEFORE = regex.compile(r"\w\Z")
_WORD_BEHIND = regex.compile(r"\A\w")


class Trie(NamedTuple):
    """Names, byte after byte: `table[state + class]`, where state 0 is the root and none at all."""

    classes: Bytes  # by byte
    table: NDArray[np.int32]
    accepts: NDArray[np.int32]  # by state over width: number of the name that ends here, or -1
    width: int


class Found(NamedTuple):
    """Names in the order of their places: where each begins and ends, and which it is."""

    starts: Positions
    ends: Positions
    names: Positions


def trie(names: Iterable[bytes]) -> Trie:
    """The trie of these names, numbered in their order."""
    listed = list(names)
    letters = sorted({byte for name in listed for byte in name})
    classes = np.zeros(256, np.uint8)
    classes[letters] = np.arange(1, len(letters) + 1)
    states: list[dict[int, int]] = [{}]
    accepts = [-1]
    for number, name in enumerate(listed):
        state = 0
        for byte in name:
            if byte not in states[state]:
                states[state][byte] = len(states)
                states.append({})
                accepts.append(-1)
            state = states[state][byte]
        accepts[state] = number
    width = len(letters) + 1
    table = np.zeros((len(states), width), np.int32)
    for state, behind in enumerate(states):
        for byte, target in behind.items():
            table[state, classes[byte]] = target * width
    ends = frozen(np.array(accepts, np.int32))
    return Trie(frozen(classes), frozen(table.reshape(-1)), ends, width)


@helper
def find(data: Any, offsets: Any, names: Any, out: Any) -> Any:
    """Write start, end and number of the names in all rows, while there is room; their count."""
    classes, table, accepts, width = names
    count = np.int64(0)
    for row in range(len(offsets) - 1):
        i, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while i < end:
            state = np.int64(table[classes[data[i]]])
            if state == 0:
                i += 1
                continue
            last, name = i, np.int64(-1)
            at = i + 1
            while state:
                if accepts[state // width] >= 0:
                    last, name = at, np.int64(accepts[state // width])
                state = np.int64(table[state + classes[data[at]]]) if at < end else np.int64(0)
                at += 1
            if name >= 0:
                if count < len(out):
                    out[count, 0] = i
                    out[count, 1] = last
                    out[count, 2] = name
                count += 1
            i = max(last, i + 1)
    return count


def found_in(rows: View, names: Trie) -> Found:
    """All names in all rows."""
    out = np.empty((256, 3), np.int64)
    count = find(*rows, tuple(names), out)
    if count > len(out):
        out = np.empty((count, 3), np.int64)
        find(*rows, tuple(names), out)
    return Found(out[:count, 0], out[:count, 1], out[:count, 2])


class Items(NamedTuple):
    """Rows as a sequence of texts and tokens: where `tokens` is -1 stands the next of `texts`."""

    texts: pa.Array
    tokens: Positions
    rows: Positions  # the row of each


@dataclass(frozen=True)
class Cutter:
    """Names to look for in one go, the token of each (-1: it is text), and how each is found."""

    names: tuple[str, ...]
    tokens: Positions
    manners: tuple[frozenset[str], ...]
    trie: Trie

    def __call__(self, texts: pa.Array) -> Items | None:
        """Texts and tokens, or None if no name that is a token stands anywhere."""
        rows = view(texts)
        found = found_in(rows, self.trie)
        counts = self.tokens[found.names] >= 0
        found = Found(*(column[counts] for column in found))
        if len(found.names) and any(self.manners):
            found = self.mannered(rows, found)
        return cut(rows, found, self.tokens[found.names]) if len(found.names) else None

    def mannered(self, rows: View, found: Found) -> Found:
        """Names with the white space that they take along, less those that are part of a word."""
        owners = np.searchsorted(rows.offsets, found.starts, "right") - 1
        kept: list[tuple[int, int, int]] = []
        for start, end, name, row in zip(*map(list, found), owners.tolist(), strict=True):
            manners = self.manners[name]
            begin, stop = int(rows.offsets[row]), int(rows.offsets[row + 1])
            if "single_word" in manners and is_within_word(rows, (begin, start), (end, stop)):
                continue
            if "lstrip" in manners:
                free = max(begin, kept[-1][1] if kept else 0)
                start -= span(_SPACE_BEFORE, rows.data[free:start])
            if "rstrip" in manners:
                end += span(_SPACE_BEHIND, rows.data[end:stop])
            kept.append((start, end, name))
        columns = np.array(kept, np.int64).reshape(-1, 3)
        return Found(columns[:, 0], columns[:, 1], columns[:, 2])


def span(pattern: Any, data: Bytes) -> int:
    """How many bytes a pattern takes of some bytes; one that is no character stops it."""
    match = pattern.search(as_known(data.tobytes().decode("utf-8", "surrogateescape")))
    return len(match[0].encode("utf-8", "surrogateescape")) if match else 0


def is_within_word(rows: View, before: tuple[int, int], behind: tuple[int, int]) -> bool:
    """Whether a letter, number or underscore touches what stands between these stretches."""
    left, right = rows.data[slice(*before)], rows.data[slice(*behind)]
    return span(_WORD_BEFORE, left[-4:]) > 0 or span(_WORD_BEHIND, right[:4]) > 0


def cut(rows: View, found: Found, tokens: Positions) -> Items:
    """The rows around what was found in them; empty texts are left out."""
    # Twice as many edges as names, and the edges of rows between them, in order.
    edges = np.concatenate([rows.offsets.astype(np.int64), found.starts, found.ends])
    marks = np.concatenate([np.full(len(rows.offsets), -1), tokens, np.full(len(tokens), -1)])
    # At one place: the end of a name before the edge of a row before the beginning of a name.
    kinds = np.repeat([1, 2, 0], [len(rows.offsets), len(tokens), len(tokens)])
    order = np.lexsort((kinds, edges))
    edges, marks = edges[order], marks[order]
    owners = np.cumsum(kinds[order] == 1) - 1
    lengths = np.diff(edges)
    parts = pa.Array.from_buffers(
        pa.binary(),
        len(lengths),
        [None, pa.py_buffer(edges.astype(np.int32)), pa.py_buffer(rows.data)],
    )
    kept = lengths > 0
    is_text: Mask = kept & (marks[:-1] < 0)
    return Items(parts.filter(pa.array(is_text)), marks[:-1][kept], owners[:-1][kept])


def again(items: Items, cutter: Cutter) -> Items:
    """What a second cutter finds in the texts that a first one left."""
    inner = cutter(items.texts)
    if inner is None:
        return items
    is_text = items.tokens < 0
    counts = np.ones(len(is_text), np.int64)
    counts[is_text] = np.bincount(inner.rows, minlength=int(is_text.sum()))
    tokens = np.repeat(items.tokens, counts)
    tokens[np.repeat(is_text, counts)] = inner.tokens
    return Items(inner.texts, tokens, np.repeat(items.rows, counts))


@dataclass(frozen=True)
class Preparation:
    """What is done to texts before they are split: cut at names, normalised, cut again, a space."""

    first: Cutter | None
    form: str
    second: Cutter | None
    prefix_space: bool

    def __call__(self, texts: pa.Array) -> tuple[pa.Array, Items | None]:
        """The texts to encode, and how tokens stand between them, if any do."""
        items = self.first(texts) if self.first else None
        texts = items.texts if items else texts
        texts = normalized(texts, self.form)
        if self.second:
            items = again(items._replace(texts=texts), self.second) if items else self.second(texts)
            texts = items.texts if items else texts
        texts = with_space(texts) if self.prefix_space else texts
        return texts, items


def cutter(names: Names, wanted: Iterable[str], manners: Manners, form: str) -> Cutter | None:
    """What finds these names, of which those not wanted hide what they overlap and are text."""
    if not names:
        return None
    listed = sorted(names)
    tokens = np.array([names[name] if name in set(wanted) else -1 for name in listed], np.int64)
    spelled = pa.array([name.encode() for name in listed], pa.binary())
    spelled = normalized(spelled, form).cast(pa.binary())
    ways = tuple(manners.get(name, frozenset()) - {"normalized"} for name in listed)
    if any("rstrip" in way for way in ways) and any(name[0].isspace() for name in listed):
        raise ModelError("a token that takes the space behind it, and another that begins with one")
    return Cutter(tuple(listed), tokens, ways if any(ways) else (), trie(spelled.to_pylist()))


def joined(tokens: NDArray[np.uint32], ends: Positions, items: Items, rows: int) -> Any:
    """The tokens of texts and those between them, and the ends of rows."""
    is_text = items.tokens < 0
    counts = np.ones(len(is_text), np.int64)
    counts[is_text] = np.diff(ends)
    out = np.repeat(items.tokens, counts).astype(np.uint32)
    out[np.repeat(is_text, counts)] = tokens
    row_ends = np.zeros(rows + 1, np.int64)
    np.add.at(row_ends, items.rows + 1, counts)
    return out, np.cumsum(row_ends)
