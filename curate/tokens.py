"""Words as spaCy's English tokenizer cuts them, signs included: those that datatrove counts.

What white space separates is cut by itself: exceptions ("don't", "U.S.", ":-)") are looked up,
then signs are taken from both ends, then what is left is an exception, a URL, or parted by infixes.
Last, pieces that lie side by side and spell an exception become it, unless pieces of a neighbour
one space away would spell a longer one with them.
"""

from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from curate.column import Bytes, Offsets, View, view
from curate.hashing import hash_bytes, hash_word
from curate.index import WordPlaces, index
from curate.joined import with_joined_grams
from curate.kernel import Index, borrowing
from curate.schema import Batch
from curate.token_rules import (
    ONE_BYTE,
    code_at,
    infix_size,
    last_character,
    may_have_infix,
    may_have_prefix,
    may_have_suffix,
    next_character,
    prefix_size,
    suffix_size,
)
from curate.token_url import is_url
from curate.utf8 import may_be_space, skip_space, space_size


def _exceptions() -> list[tuple[list[str], list[str]]]:
    """The tokens of each exception, and the pieces that it can come together from, if any."""
    path = files("filters") / "lists" / "tokens_exceptions.txt"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.partition("\t") for line in lines]
    return [(tokens.split(" "), pieces.split(" ") if pieces else []) for tokens, _, pieces in pairs]


def _hashes(words: list[str]) -> Any:
    return np.array([hash_word(word.encode()) for word in words], np.uint64)


def _lengths(words: list[str], place: int) -> Any:
    """For each first (0) or last (-1) byte the lengths that these words have, as bits."""
    table = np.zeros(256, np.uint32)
    for word in words:
        table[word.encode()[place]] |= 1 << len(word.encode())
    return table


def _places(parts: list[list[str]]) -> Any:
    return np.cumsum([0] + [len(part) for part in parts], dtype=np.int32)


# Exceptions by hash; the ends of the tokens of exception i are _ENDS[_TOKENS[i]:_TOKENS[i + 1]].
_KNOWN = sorted(_exceptions(), key=lambda pair: int(hash_word("".join(pair[0]).encode())))
_WORDS = ["".join(tokens) for tokens, _ in _KNOWN]
_WORD_HASHES = _hashes(_WORDS)
_WORD_FIRST, _WORD_LAST = _lengths(_WORDS, 0), _lengths(_WORDS, -1)
_LONGEST = max(len(word.encode()) for word in _WORDS)  # bytes; below 32
_TOKENS = _places([tokens for tokens, _ in _KNOWN])
_ENDS = np.concatenate(
    [np.cumsum([len(token.encode()) for token in tokens]) for tokens, _ in _KNOWN]
).astype(np.int32)

# Patterns of pieces, by the hash of the first and longest first; pattern i spells _SPELLS[i].
_PATTERNS = sorted(
    ((pieces, word) for word, (_, pieces) in enumerate(_KNOWN) if pieces),
    key=lambda pattern: (int(hash_word(pattern[0][0].encode())), -len(pattern[0])),
)
_FIRSTS = _hashes([pieces[0] for pieces, _ in _PATTERNS])
_PIECE_FIRST, _PIECE_LAST = (
    _lengths([pieces[0] for pieces, _ in _PATTERNS], place) for place in (0, -1)
)
_PIECES = _places([pieces for pieces, _ in _PATTERNS])
_PIECE_HASHES = _hashes([piece for pieces, _ in _PATTERNS for piece in pieces])
_SPELLS = np.array([word for _, word in _PATTERNS], np.int64)
_MOST_PIECES = max(len(pieces) for pieces, _ in _PATTERNS)


def _byte_kinds() -> Any:
    table = np.full(256, 8, np.uint8)
    table[:128] = 4
    table[48:58] = 2
    table[65:91] = table[97:123] = 1
    return table


_LETTERS, _DIGITS, _SIGNS, _WIDE = 1, 2, 4, 8  # what bytes are, as bits
_BYTES = _byte_kinds()


class _Tokens(NamedTuple):
    """Tokens of one text after another, and scratch space."""

    starts: Offsets
    ends: Offsets
    stack: Offsets  # where suffixes begin, the outermost first; tokens before they are merged


@borrowing
def _slot(hashes: Any, hashed: np.uint64) -> int:
    """The first place in sorted hashes that holds this one, or -1."""
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high) >> 1
        if hashes[middle] < hashed:
            low = middle + 1
        else:
            high = middle
    return low if low < len(hashes) and hashes[low] == hashed else -1


@borrowing
def _find_word(text: Bytes, start: int, end: int) -> int:
    return int(_slot(_WORD_HASHES, hash_bytes(text, start, end)))


@borrowing
def _exception(text: Bytes, start: int, end: int) -> int:
    """Which exception this stretch is, or -1."""
    size = end - start
    if not 0 < size <= _LONGEST:
        return -1
    if ((_WORD_FIRST[text[start]] & _WORD_LAST[text[end - 1]]) >> size) & 1 == 0:
        return -1
    return int(_find_word(text, start, end))


@borrowing
def _add(tokens: _Tokens, count: int, start: int, end: int) -> int:
    tokens.starts[count] = start
    tokens.ends[count] = end
    return count + 1


@borrowing
def _add_exception(tokens: _Tokens, count: int, start: int, which: int) -> int:
    first = start
    for place in range(_TOKENS[which], _TOKENS[which + 1]):
        count = _add(tokens, count, first, start + _ENDS[place])
        first = start + _ENDS[place]
    return count


@borrowing
def _add_parts(text: Bytes, start: int, end: int, tokens: _Tokens, count: int) -> int:
    """Add what infixes part; an infix at the very start parts nothing, and stays with the rest."""
    first, at = start, start
    while at < end:
        if not may_have_infix(text, at, end):
            at += 1
            continue
        before = code_at(text, last_character(text, start, at), at) if at > start else -1
        size = infix_size(text, at, end, before)
        if size > 0 and at > start:
            if first < at:
                count = _add(tokens, count, first, at)
            count = _add(tokens, count, at, at + size)
            first = at + size
        at = at + size if size > 0 else next_character(text, at, end)
    return _add(tokens, count, first, end) if first < end else count


class _Core(NamedTuple):
    """What is left between prefixes and suffixes."""

    start: int
    end: int
    tokens: int  # there are with the prefixes
    suffixes: int


@borrowing
def _prefix(text: Bytes, start: int, end: int) -> int:
    says = may_have_prefix(text, start, end)
    return int(prefix_size(text, start, end)) if says > ONE_BYTE else says


@borrowing
def _suffix(text: Bytes, start: int, end: int, with_digits: bool) -> int:
    if start == end:
        return 0
    says = may_have_suffix(text, start, end, with_digits)
    return int(suffix_size(text, start, end, with_digits)) if says > ONE_BYTE else says


@borrowing
def _without_affixes(text: Bytes, start: int, end: int, tokens: _Tokens, begun: Any) -> _Core:
    """Take prefixes and suffixes off in turn; what is left may be an exception at any time."""
    count, with_digits = begun
    suffixes, more = 0, True
    while more and start < end:
        prefix = _prefix(text, start, end)
        rest, last = start + prefix, end
        if prefix > 0:
            count = _add(tokens, count, start, rest)
            more = _exception(text, rest, end) < 0
        if more:
            suffix = _suffix(text, rest, end, with_digits)
            last = end - suffix
            if suffix > 0:
                tokens.stack[suffixes] = last
                suffixes += 1
                if _exception(text, start, last) >= 0:
                    count -= prefix > 0  # the exception has it
                    rest, more = start, False
            more = more and prefix + suffix > 0 and _exception(text, rest, last) < 0
        start, end = rest, last
    return _Core(start, end, count, suffixes)


@borrowing
def _has_dot(text: Bytes, start: int, end: int) -> bool:
    found = False
    for at in range(start + 1, end - 1):
        found |= text[at] == 46
    return found


@borrowing
def _add_core(text: Bytes, core: _Core, tokens: _Tokens, kinds: int) -> int:
    """Add what is left between prefixes and suffixes: an exception, a URL or parts."""
    start, end, count = core.start, core.end, core.tokens
    which = _exception(text, start, end)
    if which >= 0:
        return int(_add_exception(tokens, count, start, which))
    if kinds & _SIGNS > 0 and _has_dot(text, start, end) and is_url(text, start, end):
        return _add(tokens, count, start, end)
    return int(_add_parts(text, start, end, tokens, count))


@borrowing
def _add_run(text: Bytes, start: int, end: int, tokens: _Tokens, begun: Any) -> int:
    """Add the tokens of a run between white space; `begun` is their count and what bytes it has."""
    count, kinds = begun
    core = _without_affixes(text, start, end, tokens, (count, kinds & _DIGITS > 0))
    count = core.tokens
    if core.start < core.end:
        count = int(_add_core(text, core, tokens, kinds))
    for place in range(core.suffixes - 1, -1, -1):
        last = tokens.stack[place - 1] if place > 0 else end
        count = _add(tokens, count, tokens.stack[place], last)
    return int(count)


@borrowing
def _is_next(text: Bytes, tokens: _Tokens, token: int) -> bool:
    """Whether nothing or one space separates this token from the one before it."""
    gap = tokens.starts[token] - tokens.ends[token - 1]
    return bool(gap == 0 or (gap == 1 and text[tokens.ends[token - 1]] == 32))


@borrowing
def _may_begin(text: Bytes, tokens: _Tokens, token: int) -> bool:
    """Whether a token may be the first piece of an exception."""
    start, end = tokens.starts[token], tokens.ends[token]
    size = end - start
    if size > _LONGEST:
        return False
    lengths = int(_PIECE_FIRST[text[start]] & _PIECE_LAST[text[end - 1]])
    return bool((lengths >> size) & 1)


@borrowing
def _hash(text: Bytes, tokens: _Tokens, token: int) -> np.uint64:
    return hash_bytes(text, tokens.starts[token], tokens.ends[token])


@borrowing
def _reach(text: Bytes, tokens: _Tokens, token: int, end: int, pattern: int) -> int:
    """How many pieces of a pattern the tokens from here on are, if its first two are."""
    size, place = _size(pattern), 2
    while place < size and token + place < end and _is_next(text, tokens, token + place):
        if _hash(text, tokens, token + place) != _PIECE_HASHES[_PIECES[pattern] + place]:
            break
        place += 1
    return place


@borrowing
def _spelled(text: Bytes, tokens: _Tokens, token: int, end: int) -> int:
    """The pattern with the most pieces that this token begins, or -1; there are `end` tokens."""
    if token + 1 >= end or not _may_begin(text, tokens, token):
        return -1
    if not _is_next(text, tokens, token + 1):
        return -1
    hashed, second = _hash(text, tokens, token), _hash(text, tokens, token + 1)
    pattern = int(_slot(_FIRSTS, hashed))
    while 0 <= pattern < len(_FIRSTS) and _FIRSTS[pattern] == hashed:
        alike = _PIECE_HASHES[_PIECES[pattern] + 1] == second
        if alike and _reach(text, tokens, token, end, pattern) == _size(pattern):
            return pattern
        pattern += 1
    return -1


@borrowing
def _is_whole(tokens: _Tokens, token: int, size: int) -> bool:
    """Whether no space separates these tokens."""
    for place in range(token + 1, token + size):
        if tokens.starts[place] != tokens.ends[place - 1]:
            return False
    return True


@borrowing
def _size(pattern: int) -> int:
    return int(_PIECES[pattern + 1] - _PIECES[pattern]) if pattern >= 0 else 0


@borrowing
def _spells(text: Bytes, tokens: _Tokens, first: int, end: int) -> bool:
    """Whether any of the tokens of a run begins an exception in pieces."""
    token = first
    while token < end - 1 and _spelled(text, tokens, token, end) < 0:
        token += 1
    return token < end - 1


@borrowing
def _is_covered(spelled: Offsets, token: int) -> bool:
    """Whether pieces of a longer exception, or of as long a one before, cover an end of this one.

    What they spell with spaces between is no exception, but the original looks only later.
    """
    size = _size(spelled[token])
    for other in range(max(0, token - _MOST_PIECES), token):
        found = _size(spelled[other])
        if found >= size and other + found > token:
            return True
    for other in range(token + 1, token + size):
        found = _size(spelled[other])
        if found > size and other + found >= token + size:
            return True
    return False


@borrowing
def _merged(text: Bytes, tokens: _Tokens, first: int, end: int) -> int:
    """Make exceptions of the pieces that spell them; returns where the tokens end then."""
    last = end - first
    spelled = tokens.stack[2 * last : 3 * last]
    pieces = _Tokens(tokens.stack[:last], tokens.stack[last : 2 * last], tokens.stack)
    for place in range(last):
        pieces.starts[place] = tokens.starts[first + place]
        pieces.ends[place] = tokens.ends[first + place]
    for place in range(last):
        here: Any = np.int64(place)  # one type, so that its callees are compiled once
        spelled[place] = _spelled(text, pieces, here, last)
    token: Any = np.int64(0)
    count = first
    while token < last:
        size, pattern = _size(spelled[token]), np.int64(spelled[token])
        if pattern >= 0 and _is_whole(pieces, token, size) and not _is_covered(spelled, token):
            start: Any = np.int64(pieces.starts[token])
            count = _add_exception(tokens, count, start, _SPELLS[pattern])
            token += size
        else:
            count = _add(tokens, count, pieces.starts[token], pieces.ends[token])
            token += 1
    return count


@borrowing
def cut_text(text: Bytes, tokens: _Tokens, first: int) -> int:
    """Write the tokens of a text behind those there are, and return how many there are then."""
    at, end, count, in_pieces = skip_space(text, 0, len(text)), len(text), first, False
    while at < end:
        start, kinds = at, 0
        while at < end:
            byte = text[np.uint64(at)]  # an unsigned place is not tested for being negative
            if may_be_space(byte) and space_size(text, at, end) > 0:
                break
            kinds |= _BYTES[byte]
            at += 1
        which = _exception(text, start, at)
        if which >= 0:
            count = _add_exception(tokens, count, start, which)
        elif kinds == _LETTERS:
            count = _add(tokens, count, start, at)
        else:
            before = count
            count = _add_run(text, start, at, tokens, (count, kinds))
            if not in_pieces and count > before + 1:
                in_pieces = _spells(text, tokens, before, count)
        at = skip_space(text, at, end)
    return int(_merged(text, tokens, first, count)) if in_pieces else count


@borrowing
def _cut(texts: View, tokens: _Tokens, offsets: Offsets) -> None:
    for row in range(len(offsets) - 1):
        text = texts.data[texts.offsets[row] : texts.offsets[row + 1]]
        first: Any = np.int64(offsets[row])
        offsets[row + 1] = cut_text(text, tokens, first)


def token_places(texts: View) -> WordPlaces:
    """Where the tokens of a column of texts lie."""
    size = int(texts.offsets[-1]) - int(texts.offsets[0])
    longest = int(np.max(np.diff(texts.offsets), initial=0))
    # A token has a byte at least. What is not written to takes no memory.
    tokens = _Tokens(
        np.empty(size, np.int32), np.empty(size, np.int32), np.empty(3 * longest + 1, np.int32)
    )
    offsets = np.zeros(len(texts.offsets), np.int32)
    _cut(texts, tokens, offsets)
    return WordPlaces(tokens.starts[: offsets[-1]], tokens.ends[: offsets[-1]], offsets)


def tokens(batch: Batch, column: str) -> Index:
    """Words are what datatrove 0.10.1 counts in English: spaCy's tokens, signs included.

    As there, n-grams of five words and more are equal where they are when nothing is between words.
    """
    texts = view(batch.column(column))
    return with_joined_grams(index(texts, token_places(texts)))
