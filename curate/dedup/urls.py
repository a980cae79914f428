"""URLs in one form, so that those which lead to the same page are the same bytes.

After RFC 3986, section 6, and what web archives do beyond it (SURT keys):

    scheme     http, https and none are the same; others stay, lower-cased
    user       dropped
    host       lower-case, without a dot behind it, without `www.`; other scripts by IDNA (UTS 46)
    port       80, 443 and an empty one dropped
    path       `.` and `..` resolved, slashes at its end dropped
    query      parameters in the order of their bytes, without empty and ignored ones
    fragment   dropped
    escapes    letters, digits and -._~ are written plainly; what may not stand in a URL is escaped

Our own rules and not a library's: those that canonicalise (w3lib, url-normalize) build on urllib,
which took 7.7 us to split a URL where all of this took 1.1, on one loaded core.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import idna
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, Mask, Positions, View, frozen, view
from curate.kernel import borrowing, helper

# Parameters behind these stay where they are: sorting is for people's URLs.
MOST_PARAMETERS = 128

_HASH, _PERCENT, _AND, _STAR = (np.uint8(ord(c)) for c in "#%&*")
_DOT, _SLASH, _COLON, _QUESTION, _AT = (np.uint8(ord(c)) for c in "./:?@")
_SPACE = np.uint8(32)

# What a byte is in a path or a query: to be escaped, or to be plain where it is escaped.
_ESCAPED, _PLAIN = 1, 2
_NOT_IN_URLS = bytes(range(33)) + b'"<>\\^`{|}' + bytes(range(127, 256))
_UNRESERVED = b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = b"0123456789ABCDEF"
_HOST = re.compile(r"(\s*(?:[A-Za-z0-9+.-]*:)?(?://)?(?:[^/?#]*@)?)([^/?#:]+)(.*)", re.DOTALL)


class Tables(NamedTuple):
    """What every byte is, and the digits of escapes."""

    kinds: Bytes
    values: Bytes  # a hexadecimal digit's value and 16, else 0
    digits: Bytes


class Room(NamedTuple):
    """The parameters of a query before they are sorted: spans of bytes."""

    data: Bytes
    starts: Positions
    ends: Positions


def _table(*classes: tuple[bytes, int]) -> Bytes:
    table = np.zeros(256, np.uint8)
    for characters, kind in classes:
        table[[*characters]] = kind
    return frozen(table)


_TABLES = Tables(
    _table((_NOT_IN_URLS, _ESCAPED), (_UNRESERVED, _PLAIN)),
    _table(*((bytes([c, ord(chr(c).lower())]), 16 + i) for i, c in enumerate(_DIGITS))),
    frozen(np.frombuffer(_DIGITS, np.uint8)),
)


def normalised(urls: pa.Array, ignored: Sequence[str]) -> View:
    """Every URL in its one form, without the ignored parameters; a null is empty.

    A name with a star behind it stands for all that begin so, and case makes no difference.
    """
    texts = view(urls)
    wide = wide_hosts(texts)
    if wide.any():
        mask = pa.array(wide)
        texts = view(pc.replace_with_mask(urls, mask, _ascii_hosts(urls.filter(mask))))
    names = view(pa.array([name.lower() for name in ignored], pa.string()))
    data, offsets = _normalised(texts, names, _TABLES)
    return View(data, offsets)


def _ascii_hosts(urls: pa.Array) -> pa.Array:
    """The same URLs with their hosts as name servers know them, where they have such a form."""
    return pa.array([_HOST.sub(_ascii, url, count=1) for url in urls.to_pylist()], urls.type)


def _ascii(url: re.Match[str]) -> str:
    before, host, after = url.groups()
    return f"{before}{_known_host(host)}{after}"


@lru_cache(maxsize=10_000)  # 0.1 ms each, and a crawl has many pages of one host
def _known_host(host: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return host.lower()


@helper
def wide_hosts(urls: View) -> Mask:
    """Which URLs have bytes beyond ASCII in front of their path."""
    out = np.zeros(len(urls.offsets) - 1, np.bool_)
    for row in range(len(out)):
        url = urls.data[urls.offsets[row] : urls.offsets[row + 1]]
        start = trimmed(url)[0]
        host = authority(url, start, len(url))[1]
        for place in range(host, until(url, host, len(url))):
            out[row] |= url[place] >= 0x80
    return out


@borrowing
def lower(byte: np.uint8) -> np.uint8:
    """An ASCII letter's lower case."""
    return np.uint8(byte | 32) if 65 <= byte <= 90 else byte


@borrowing
def trimmed(url: Bytes) -> tuple[int, int]:
    """Where the URL begins and ends without blanks, controls and its fragment."""
    start, end = 0, 0
    while start < len(url) and url[start] <= _SPACE:
        start += 1
    while end < len(url) and url[end] != _HASH:
        end += 1
    while end > start and url[end - 1] <= _SPACE:
        end -= 1
    return start, max(start, end)


@borrowing
def until(url: Bytes, start: int, end: int) -> int:
    """Where user, host and port end."""
    place = start
    while place < end and url[place] != _SLASH and url[place] != _QUESTION and url[place] != _HASH:
        place += 1
    return place


@borrowing
def in_scheme(byte: np.uint8) -> bool:
    """Whether a byte may stand in a scheme."""
    letter = 97 <= lower(byte) <= 122
    return bool(letter or 48 <= byte <= 57 or byte == 43 or byte == 45 or byte == 46)


@borrowing
def authority(url: Bytes, start: int, end: int) -> tuple[int, int]:
    """Where the scheme ends, which is the start where there is none, and where the host begins.

    Both are the end where there is no host, as in `mailto:` and `data:`.
    """
    place = start
    while place < end and in_scheme(url[place]):
        place += 1
    has_colon = place > start and place < end and url[place] == _COLON
    behind = place + has_colon
    slashes = behind + 1 < end and url[behind] == _SLASH and url[behind + 1] == _SLASH
    if slashes and (has_colon or place == start):
        return place, behind + 2
    if has_colon and behind < end and not 48 <= url[behind] <= 57:
        return end, end
    return start, start


@borrowing
def is_web(url: Bytes, start: int, end: int) -> bool:
    """Whether a scheme is http, https or none."""
    length = end - start
    if length == 0:
        return True
    if not 4 <= length <= 5 or (length == 5 and lower(url[start + 4]) != 115):
        return False
    ends = lower(url[start]) == 104 and lower(url[start + 3]) == 112
    return bool(ends and lower(url[start + 1]) == 116 and lower(url[start + 2]) == 116)


@borrowing
def port_at(url: Bytes, host: int, end: int) -> int:
    """Where the colon of the port is, or the end."""
    place = end
    while place > host and 48 <= url[place - 1] <= 57:
        place -= 1
    return place - 1 if place > host and url[place - 1] == _COLON else end


@borrowing
def is_usual(url: Bytes, port: int, end: int) -> bool:
    """Whether a port is 80 or 443."""
    if end - port == 3:
        return bool(url[port + 1] == 56 and url[port + 2] == 48)
    fours = end - port == 4 and url[port + 1] == 52 and url[port + 2] == 52
    return bool(fours and url[port + 3] == 51)


@borrowing
def write_host(url: Bytes, start: int, end: int, out: Bytes) -> int:
    """Write the host; how long it is."""
    if end > start and url[end - 1] == _DOT:
        end -= 1
    www = end - start > 4 and url[start + 3] == _DOT
    for place in range(start, min(start + 3, end)):
        www &= lower(url[place]) == 119
    dots = 0
    for place in range(start + 4, end):
        dots += url[place] == _DOT
    if www and dots > 0:  # www.com itself is a site
        start += 4
    for place in range(start, end):
        out[place - start] = lower(url[place])
    return end - start


@borrowing
def write_authority(url: Bytes, start: int, end: int, out: Bytes) -> tuple[int, int]:
    """Write scheme, host and port; where the path begins, and how much was written."""
    scheme, host = authority(url, start, end)
    if scheme == end:
        return start, 0
    web, at = is_web(url, start, scheme), 0
    if not web:
        for place in range(start, host):
            out[place - start] = lower(url[place])
        at = host - start
    path = until(url, host, end)
    for place in range(host, path):
        if url[place] == _AT:
            host = place + 1
    port = port_at(url, host, path)
    at += write_host(url, host, port, out[at:])
    if path - port > 1 and not (web and is_usual(url, port, path)):
        for place in range(port, path):
            out[at] = url[place]
            at += 1
    return path, at


@borrowing
def write(url: Bytes, place: int, out: Bytes, at: int, tables: Tables) -> tuple[int, int]:
    """Write a byte, or an escape, as it should be; the places behind both."""
    byte = url[place]
    place += 1
    escaped = tables.kinds[byte] == _ESCAPED
    if byte == _PERCENT:
        escaped = True
        if place + 1 < len(url):
            high, low = tables.values[url[place]], tables.values[url[place + 1]]
            if high > 0 and low > 0:
                byte = np.uint8((high & 15) << 4 | (low & 15))
                place += 2
                escaped = tables.kinds[byte] != _PLAIN
    if not escaped:
        out[at] = byte
        return place, at + 1
    out[at] = _PERCENT
    out[at + 1] = tables.digits[byte >> 4]
    out[at + 2] = tables.digits[byte & 15]
    return place, at + 3


@borrowing
def resolved(out: Bytes, segment: int, at: int) -> int:
    """The end of a path whose last segment may be one or two dots, which are taken away."""
    length = at - segment
    dots = segment > 0 and 1 <= length <= 2 and out[segment] == _DOT and out[at - 1] == _DOT
    if not dots:
        return at
    at = segment - 1
    if length == 2:
        while at > 0 and out[at - 1] != _SLASH:
            at -= 1
        at = max(at - 1, 0)
    return at


@borrowing
def write_path(url: Bytes, start: int, out: Bytes, tables: Tables) -> tuple[int, int]:
    """Write the path; where it ends, and how much was written."""
    place, at, segment = start, 0, 0
    while place < len(url) and url[place] != _QUESTION:
        if url[place] == _SLASH:
            at = resolved(out, segment, at)
            out[at] = _SLASH
            place, at = place + 1, at + 1
            segment = at
        else:
            place, at = write(url, place, out, at, tables)
    at = resolved(out, segment, at)
    while at > 0 and out[at - 1] == _SLASH:
        at -= 1
    return place, at


@borrowing
def is_ignored(url: Bytes, start: int, names: View) -> bool:
    """Whether the parameter that begins here has one of these names."""
    for name in range(len(names.offsets) - 1):
        first, last = np.int64(names.offsets[name]), np.int64(names.offsets[name + 1])
        place = start
        while first < last and place < len(url) and names.data[first] == lower(url[place]):
            place += 1
            first += 1
        if first + 1 == last and names.data[first] == _STAR:
            return True
        if first == last and (place == len(url) or url[place] == 61 or url[place] == _AND):
            return True
    return False


@borrowing
def read_query(url: Bytes, start: int, names: View, room: Room, tables: Tables) -> int:
    """Put the parameters into the room, those that are not ignored; how many there are."""
    count, at, place = 0, 0, start
    while place < len(url):
        skip = is_ignored(url, place, names)
        begin = at
        while place < len(url) and url[place] != _AND:
            place, at = write(url, place, room.data, at, tables)
        place += 1
        if skip or at == begin:
            at = begin
        elif count < MOST_PARAMETERS:
            room.starts[count], room.ends[count] = begin, at
            count += 1
        else:
            room.ends[count - 1] = at
        if at > begin and count == MOST_PARAMETERS:
            room.data[at] = _AND
            at += 1
    return count


@borrowing
def precedes(room: Room, left: int, right: int) -> bool:
    """Whether the bytes of one parameter come before those of another."""
    i, j = room.starts[left], room.starts[right]
    while i < room.ends[left] and j < room.ends[right] and room.data[i] == room.data[j]:
        i += 1
        j += 1
    if i == room.ends[left] or j == room.ends[right]:
        return bool(j < room.ends[right])
    return bool(room.data[i] < room.data[j])


@borrowing
def sort(room: Room, count: int) -> None:
    """Sort the parameters by their bytes."""
    for last in range(1, count):
        place = last
        while place > 0 and precedes(room, place, place - 1):
            start, end = room.starts[place], room.ends[place]
            room.starts[place], room.ends[place] = room.starts[place - 1], room.ends[place - 1]
            room.starts[place - 1], room.ends[place - 1] = start, end
            place -= 1


@borrowing
def write_query(room: Room, count: int, out: Bytes) -> int:
    """Write the parameters; how much was written."""
    at = 0
    for parameter in range(count):
        out[at] = _AND if parameter else _QUESTION
        at += 1
        for place in range(room.starts[parameter], room.ends[parameter]):
            out[at] = room.data[place]
            at += 1
    return at


@borrowing
def write_url(url: Bytes, names: View, room: Room, tables: Tables, out: Bytes) -> int:
    """Write a URL in its one form; how long it is."""
    start, end = trimmed(url)
    path, at = write_authority(url, start, end, out)
    url = url[:end]
    query, written = write_path(url, path, out[at:], tables)
    at += written
    count = read_query(url, query + 1, names, room, tables)
    sort(room, count)
    return at + write_query(room, count, out[at:])


@helper
def _normalised(urls: View, names: View, tables: Tables) -> tuple[Bytes, Positions]:
    offsets = np.zeros(len(urls.offsets), np.int64)
    longest = np.int64(0)
    for row in range(len(offsets) - 1):
        longest = max(longest, np.int64(urls.offsets[row + 1]) - np.int64(urls.offsets[row]))
    # An escape takes three bytes.
    room = Room(
        np.empty(3 * longest + 1, np.uint8),
        np.empty(MOST_PARAMETERS, np.int64),
        np.empty(MOST_PARAMETERS, np.int64),
    )
    out = np.empty(3 * (np.int64(urls.offsets[-1]) - np.int64(urls.offsets[0])) + 1, np.uint8)
    at = 0
    for row in range(len(offsets) - 1):
        url = urls.data[urls.offsets[row] : urls.offsets[row + 1]]
        at += write_url(url, names, room, tables, out[at:])
        offsets[row + 1] = at
    return out[:at].copy(), offsets
