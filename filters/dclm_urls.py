"""DCLM's removal of URLs from texts: Li et al. 2024, arXiv:2406.11794, dclm-baseline.

Dialect: github.com/mlfoundations/dclm, url_removal_modifier and newline_removal_modifier of
baselines/mappers/modifiers.py: what its regular expressions match, in one pass each. There, a slip
(`match` for `search`) leaves URLs in all texts that do not begin with the name of a top-level
domain ("The", "In"); addresses of digits go from all. `always` removes both from all.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, Mask, View, strings, view
from curate.errors import RecipeError
from curate.hashing import hash_bytes, hash_word
from curate.kernel import borrowing, helper
from curate.properties import is_word
from curate.schema import TEXT, Batch
from curate.stage import mark, with_column
from curate.utf8 import code_point, last_code_point, space_size


def _domains() -> list[bytes]:
    lines = (files("filters") / "lists" / "iana_tlds.txt").read_text(encoding="utf-8").splitlines()
    return [line.encode() for line in lines[1:]]


def _table(words: list[bytes]) -> Any:
    """The hashes of words in a table that is at most a quarter full; 0 is an empty place."""
    size = 1
    while size < 4 * len(words):
        size *= 2
    table = np.zeros(size, np.uint64)
    for hashed in map(hash_word, words):
        slot = int(hashed) % size
        while table[slot] != 0:
            slot = (slot + 1) % size
        table[slot] = hashed
    return table


_DOMAINS = _table(_domains())
_LONGEST = max(map(len, _domains()))
_PLAIN = [*range(48, 58), *range(65, 91), *range(97, 123), *b"-@:%._+~#="]
_OF_HOST = np.isin(np.arange(256), _PLAIN)
_OF_TAIL = np.isin(np.arange(256), [*_PLAIN, *b"()?&/"])
_SCHEMES = tuple(int.from_bytes(name, "big") for name in (b"http:", b"ttps:", b"ftp:"))
_MOST_HOST, _MOST_SPACE = 256, 10  # characters


@borrowing
def _is_domain(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch is the name of a top-level domain, in small letters."""
    hashed, last = hash_bytes(text, start, end), np.uint64(len(_DOMAINS) - 1)
    slot = hashed & last
    while _DOMAINS[slot] != 0 and _DOMAINS[slot] != hashed:
        slot = np.uint64(slot + np.uint64(1)) & last
    return bool(_DOMAINS[slot] == hashed)


@borrowing
def _domain_end(text: Bytes, start: int) -> int:
    """Where the top-level domain ends that begins here, at a boundary of words; else -1."""
    at, end, before = start, min(len(text), start + _LONGEST + 4), False
    while at < end:
        code = code_point(text, at, len(text))
        inside = is_word(code)
        if at > start and inside != before and _is_domain(text, start, at):
            return at
        if code < 0x80 and not inside:  # no such name has an ASCII sign in it
            return -1
        before = inside
        at += 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    return at if at == len(text) and before and _is_domain(text, start, at) else -1


@borrowing
def _host_end(text: Bytes, start: int, last: int) -> int:
    """Where the last domain ends whose host begins here and is not too long; -1 without any."""
    found = -1
    for dot in range(start + 1, min(last, start + _MOST_HOST + 1)):
        if text[dot] == 46:
            found = max(found, _domain_end(text, dot + 1))
    return found


@borrowing
def _host(text: Bytes, start: int, last: int) -> tuple[int, int]:
    """The first place in a run of host characters where a host begins, and its end; or -1."""
    for dot in range(start + 1, last):
        if text[dot] == 46 and _domain_end(text, dot + 1) >= 0:
            first = max(start, dot - _MOST_HOST)
            return first, _host_end(text, first, last)
    return -1, -1


@borrowing
def _scheme_before(text: Bytes, first: int, at: int) -> int:
    """Where "http:", "https:" or "ftp:" begins that ends here, not before `first`; else -1."""
    five = 0
    for place in range(max(first, at - 5), at):
        five = five << 8 | int(text[place])
    if five == _SCHEMES[0]:
        return at - 5
    if five == _SCHEMES[1] and at - 6 >= first and text[at - 6] == 104:
        return at - 6
    return at - 4 if five & 0xFFFFFFFF == _SCHEMES[2] else -1


@borrowing
def _run_end(text: Bytes, at: int) -> int:
    """Where the run of host characters ends that begins here."""
    while at < len(text) and _OF_HOST[text[np.uint64(at)]]:
        at += 1
    return at


@borrowing
def _url(text: Bytes, start: int, last: int) -> tuple[int, int]:
    """The URL that begins in this run of host characters: where, and where its domain ends.

    Without a domain in it, the run may end in a scheme, before the slashes and the host.
    """
    first, stop = _host(text, start, last)
    host = last + 2
    if stop < 0 and host < len(text) and text[last] == 47 and text[last + 1] == 47:
        first = _scheme_before(text, start, last)
        stop = _host_end(text, host, _run_end(text, host)) if first >= 0 else -1
    return first, stop


@borrowing
def _tail_end(text: Bytes, at: int) -> int:
    while at < len(text) and _OF_TAIL[text[np.uint64(at)]]:
        at += 1
    return at


@borrowing
def _space_start(text: Bytes, first: int, at: int) -> int:
    """Where the white space before this place begins: at most ten characters, none before first."""
    for _ in range(_MOST_SPACE):
        found = 0
        for size in range(1, 4):
            if at - size >= first and space_size(text, at - size, at) == size:
                found = size
        at -= found
    return at


@borrowing
def _moved(buffer: Bytes, first: int, last: int, to: int) -> int:
    """Move a stretch to an earlier place; return where it ends."""
    if to != first:
        for at in range(first, last):
            buffer[to + at - first] = buffer[at]
    return to + last - first


@borrowing
def _remove_urls(text: Bytes) -> int:
    """Remove URLs in place; return how many bytes are left."""
    at, done, to, end = 0, 0, 0, len(text)
    while at < end:
        if not _OF_HOST[text[np.uint64(at)]]:
            at += 1
            continue
        last = _run_end(text, at)
        first, stop = _url(text, at, last)
        if stop >= 0:
            to = _moved(text, done, _space_start(text, done, first), to)
            done = last = _tail_end(text, stop)
        at = last
    return _moved(text, done, end, to)


@borrowing
def _scheme_size(text: Bytes, at: int) -> int:
    """How many bytes "http://", "https://" or "ftp://" has that begins here; or 0."""
    for size in range(4, 7):
        stop = at + size
        if stop + 1 < len(text) and text[stop] == 47 and text[stop + 1] == 47:
            return size + 2 if _scheme_before(text, at, stop) == at else 0
    return 0


@borrowing
def _address_end(text: Bytes, at: int) -> int:
    """Where the fourth number of an IPv4 address begins, if an address begins here; else -1."""
    at += _scheme_size(text, at) if text[at] > 57 else 0
    for _ in range(3):
        start = at
        while at < len(text) and at < start + 4 and 48 <= text[at] <= 57:
            at += 1
        size = at - start
        too_large = size == 3 and text[start] > 50
        if size == 0 or size > 3 or too_large or at == len(text) or text[at] != 46:
            return -1
        at += 1
    return at if at < len(text) and 48 <= text[at] <= 57 else -1


@borrowing
def _remove_addresses(text: Bytes) -> int:
    """Remove IPv4 addresses in place, with what follows them; return how many bytes are left."""
    at, done, to, end = 0, 0, 0, len(text)
    while at < end:
        byte, stop = text[np.uint64(at)], -1
        if 48 <= byte <= 57 or byte == 104 or byte == 102:
            # What is moved goes to places before the last address, of which the end stays.
            before = last_code_point(text, 0, at) if at > 0 else -1
            stop = -1 if is_word(before) else _address_end(text, at)
        if stop >= 0:
            to = _moved(text, done, _space_start(text, done, at), to)
            done = at = _tail_end(text, stop)
        else:
            at += 1
    return _moved(text, done, end, to)


@borrowing
def _shorten_breaks(text: Bytes, most: int) -> int:
    """Leave at most so many newlines in a row; return how many bytes are left."""
    to, newlines = 0, 0
    for at in range(len(text)):
        newlines = newlines + 1 if text[at] == 10 else 0
        if newlines <= most:
            text[to] = text[at]
            to += 1
    return to


@helper
def _rewrite(text: View, out: View, chosen: Mask, most_newlines: int) -> None:
    """Write all texts without their addresses; the chosen ones without URLs too."""
    for row in range(len(text.offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        start = out.offsets[row]
        end = start + len(own)
        out.data[start:end] = own
        if chosen[row]:
            end = start + _remove_urls(out.data[start:end])
        end = start + _remove_addresses(out.data[start:end])
        out.offsets[row + 1] = start + _shorten_breaks(out.data[start:end], most_newlines)


@cache
def _any_domain() -> re.Pattern[str]:
    """Any top-level domain in any case; by first letters, or it would take ten times as long."""
    names = [name.decode() for name in _domains()]
    by_letter = {name[0]: [other for other in names if other[0] == name[0]] for name in names}
    groups = (
        f"{re.escape(letter)}(?:{'|'.join(re.escape(name[1:]) for name in group)})"
        for letter, group in by_letter.items()
    )
    return re.compile("|".join(groups), re.IGNORECASE)


def _begin_with_domain(texts: pa.Array) -> Mask:
    """Which texts begin with the name of a top-level domain."""
    starts = pc.utf8_slice_codeunits(texts, 0, _LONGEST).to_pylist()
    match = _any_domain().match
    return np.fromiter((match(start or "") is not None for start in starts), np.bool_, len(texts))


@dataclass(frozen=True)
class Urls:
    """Removes URLs and IPv4 addresses from the text, with the space before them.

    Marks documents of which nothing is left.
    """

    always: bool = False  # URLs go from all texts, not only from those DCLM takes them from
    max_newlines: int = 2  # in a row; what is more goes

    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        if self.max_newlines < 0:
            raise RecipeError(f"max_newlines: {self.max_newlines}; write 0 or more")

    def __call__(self, batch: Batch) -> Batch:
        column = batch.column(TEXT)
        text = view(column)
        rows = len(column)
        size = int(text.offsets[-1]) - int(text.offsets[0])
        out = View(np.empty(size, np.uint8), np.zeros(rows + 1, np.int32))
        chosen = np.ones(rows, np.bool_) if self.always else _begin_with_domain(column)
        _rewrite(text, out, chosen, self.max_newlines)
        written = strings(out.data[: out.offsets[-1]], out.offsets)
        batch = with_column(batch, TEXT, pc.if_else(column.is_null(), None, written))
        return mark(batch, np.diff(out.offsets) == 0, "dclm_urls.empty")
