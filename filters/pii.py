"""Personal data in text: found by shape, replaced by a constant that names its kind.

datatrove's formatter replaces e-mail and IPv4 by made-up ones in rotation, without boundaries
(`1.2.3.4567` becomes `126.96.36.19967`) and in 11 s for 20 kB of `a.`; here the replacement is a
constant, every pattern is bounded, and a text is scrubbed until nothing more is found in it.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Mask, View, frozen, strings, view
from curate.errors import RecipeError
from curate.schema import TEXT, Batch
from curate.stage import mark, with_column
from filters.pii_patterns import (
    BEHIND_NUMBER,
    CARD,
    CARD_ISSUER,
    DATE,
    DOMAIN,
    DOTTED_CONTEXT,
    FILE_ENDINGS,
    HOST,
    IPV4,
    LAST_LABEL,
    LOCAL,
    PHONE,
    PHONE_CONTEXT,
    PHONE_IN_CONTEXT,
    SECRET,
    TOKEN,
    URL_PARTS,
)
from filters.pii_scan import AT, COLON, DOTTED, IPV6_BYTES, LONG, SHORT, windows

KINDS = ("email", "ipv4", "ipv6", "phone", "card")
SPANS = "pii_spans"
UNSETTLED = "pii.unsettled"

# Each replacement can uncover a neighbour; on 914 real pages the second round found nothing.
ROUNDS = 16
CONTEXT_BYTES = 48

_NO_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte <= 57)


class Span(NamedTuple):
    """text[start:end], in bytes, is personal data of this kind."""

    start: int
    end: int
    kind: str


Window = tuple[int, int]
Places = NDArray[np.int32]  # row, start, end, classes
Finder = Callable[[bytes, list[Window]], Iterator[Window]]


def _networks(*blocks: str) -> list[tuple[int, int]]:
    networks = [ipaddress.ip_network(block) for block in blocks]
    return [(int(block.network_address), int(block.broadcast_address)) for block in networks]


# Listed rather than asked of `ipaddress`, whose `is_global` differs between Python versions.
_SPECIAL4 = _networks(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
)
_SPECIAL6 = _networks("::/127", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "3fff::/20")
_SPECIAL6 += _networks("fc00::/7", "fe80::/10", "ff00::/8")


def names_nobody(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Private, loopback, documentation, multicast: the same address on a million machines."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    special = _SPECIAL4 if address.version == 4 else _SPECIAL6
    number = int(address)
    return any(low <= number <= high for low, high in special)


def emails(row: bytes, places: list[Window]) -> Iterator[Window]:
    """E-mail addresses in these windows, addresses in other scripts among them."""
    for start, end in places:
        at = row.index(b"@", start, end)
        local = LOCAL.search(row, start, at)
        domain = DOMAIN.match(row, at + 1, end)
        if local and domain and domain["tld"].lower() not in FILE_ENDINGS:
            yield local.start(), domain.end()


def ipv4s(row: bytes, places: list[Window]) -> Iterator[Window]:
    """Dotted quads with nothing numeric on either side, unless they are called a version."""
    for start, end in places:
        for match in IPV4.finditer(row, start, min(len(row), end + 2)):
            before = row[max(0, match.start() - CONTEXT_BYTES) : match.start()]
            if not DOTTED_CONTEXT.search(before):
                yield match.span()


def ipv6s(row: bytes, places: list[Window]) -> Iterator[Window]:
    """IPv6 addresses: what `ipaddress` accepts and is neither code (`a::b`) nor a time."""
    for start, end in places:
        run = row[start:end]
        run = run[: -len(run) + len(run.rstrip(b".")) or None]
        if run.endswith(b":") and not run.endswith(b"::"):
            run = run[:-1]
        lead = run.startswith(b":") and not run.startswith(b"::")
        run = run[lead:]
        if len(run) <= IPV6_BYTES and _is_ipv6(run):
            yield start + lead, start + lead + len(run)


def _is_ipv6(run: bytes) -> bool:
    groups = [group for group in run.split(b":") if group]
    if len(groups) < 8:
        # `abc::def` is C++, `a1::b` is Haskell: a short form needs a digit, and three groups or
        # a first group that is as long as those of real networks.
        digit = any(48 <= byte <= 57 for byte in run)
        known = run[:1] != b":" and len(groups[0]) >= 3 and groups[0][:1] in b"23fF"
        if b"::" not in run or not digit or not (len(groups) >= 3 or known or b"." in run):
            return False
    try:
        ipaddress.IPv6Address(run.decode("ascii"))
    except ipaddress.AddressValueError:
        return False
    return True


def cards(row: bytes, places: list[Window]) -> Iterator[Window]:
    """Payment cards: 12 to 19 digits, a known issuer, and the Luhn check digit."""
    for start, end in places:
        for match in CARD.finditer(row, start, min(len(row), end + 2)):
            for stop in (match.end(), match.end("sixteen")):
                number = _digits(row[match.start() : stop])
                if stop >= 0 and CARD_ISSUER.fullmatch(number) and luhn(number):
                    yield match.start(), stop
                    break


def luhn(number: bytes) -> bool:
    """Whether these ASCII digits end with the right check digit."""
    digits = [byte - 48 for byte in number]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def phones(row: bytes, places: list[Window]) -> Iterator[Window]:
    """Telephone numbers: E.164, common national forms, and shorter ones behind a word for one."""
    for start, end in places:
        start, stop = max(0, start - 2), min(len(row), end + 8)
        yield from _plain_phones(row, start, stop)
        yield from _announced_phones(row, start, stop)


def _plain_phones(row: bytes, start: int, stop: int) -> Iterator[Window]:
    last = -9
    while match := PHONE.search(row, start, stop):
        start = match.start() + 1
        # Two telephone numbers in a row are none the less telephone numbers.
        alone = match["shy"] is None or match.start() <= last + 2
        if not alone:
            alone = not BEHIND_NUMBER.search(row, max(0, start - 4), start - 1)
        if alone and 8 <= len(_digits(match["number"])) <= 16:
            start = last = match.end()
            yield match.span()


def _announced_phones(row: bytes, start: int, stop: int) -> Iterator[Window]:
    for match in PHONE_IN_CONTEXT.finditer(row, start, stop):
        before = row[max(0, match.start() - CONTEXT_BYTES) : match.start()]
        number = match["number"]
        length = len(_digits(number))
        if 7 <= length <= 15 and not DATE.fullmatch(number) and PHONE_CONTEXT.search(before):
            yield match.span()


def _digits(number: bytes) -> bytes:
    return number.translate(None, _NO_DIGITS)


# In this order: what an earlier finder has taken, a later one no longer sees.
_FINDERS: dict[str, tuple[Finder, int]] = {
    "email": (emails, AT),
    "ipv6": (ipv6s, COLON),
    "ipv4": (ipv4s, DOTTED),
    "card": (cards, LONG),
    "phone": (phones, SHORT),
}


class UnsettledError(Exception):
    """A text in which every replacement uncovers another: it is refused, not passed on."""


def spans(
    row: bytes,
    kinds: tuple[str, ...] = KINDS,
    private_addresses: bool = False,
    places: Places | None = None,
) -> list[Span]:
    """Personal data in a text, in order and disjoint; raises UnsettledError after too many rounds.

    `places` are the windows of this row where the caller has them already.
    """
    masked = bytearray(row)
    found: list[Span] = []
    for _ in range(ROUNDS):
        fresh = _round(masked, _places(masked) if places is None else places, kinds)
        if not private_addresses:
            fresh = [span for span in fresh if not _special(row[span.start : span.end], span.kind)]
        if not fresh:
            return sorted(found)
        found += fresh
        for start, end, _kind in fresh:
            masked[start:end] = b"[" * (end - start)
        places = None
    raise UnsettledError


def _places(row: bytearray) -> Places:
    data = frozen(np.frombuffer(bytes(row), np.uint8))
    found: Places = windows(data, frozen(np.array([0, len(row)], np.int32)))
    return found


def _round(row: bytearray, places: Places, kinds: tuple[str, ...]) -> list[Span]:
    """What the finders see in this round: where two overlap, the earlier finder is right.

    The caller masks what was found by brackets, through which no pattern reaches. So the masked
    text and the rewritten one look the same to every finder, and a second scrub finds nothing.
    """
    seen = bytes(row)
    taken = bytearray(len(row))
    fresh = []
    windows_of_row = places.tolist()
    for kind, (finder, wanted) in _FINDERS.items():
        mine = [(start, end) for _, start, end, classes in windows_of_row if classes & wanted]
        if kind not in kinds or not mine:
            continue
        for start, end in finder(seen, mine):
            if not any(taken[start:end]):
                taken[start:end] = b"\x01" * (end - start)
                fresh.append(Span(start, end, kind))
    return fresh


def _special(value: bytes, kind: str) -> bool:
    return kind.startswith("ip") and names_nobody(ipaddress.ip_address(value.decode("ascii")))


def rewritten(row: bytes, found: list[Span]) -> bytes:
    """The text with each span replaced by the constant of its kind."""
    parts = []
    last = 0
    for start, end, kind in found:
        parts += [row[last:start], b"[", kind.upper().encode(), b"]"]
        last = end
    return b"".join([*parts, row[last:]])


def scrub_text(text: str) -> str:
    """A text fit to be shown: no secret, no personal data, no address of any kind."""
    row = without_secrets(text.encode("utf-8", "replace"))
    try:
        return rewritten(row, spans(row, KINDS, private_addresses=True)).decode()
    except UnsettledError:
        return "[UNSETTLED]"


def without_secrets(row: bytes) -> bytes:
    """The text without keys, passwords, tokens, and user and query of its addresses."""
    row = SECRET.sub(b"[SECRET]", row)
    parts = []
    last = 0
    for url in URL_PARTS.finditer(row):
        parts += [_without_tokens(row[last : url.start()]), _plain_url(url)]
        last = url.end()
    return b"".join([*parts, _without_tokens(row[last:])])


def _plain_url(url: re.Match[bytes]) -> bytes:
    user = b"[SECRET]@" if url["user"] else b""
    query = url["query"][:1] + b"[SECRET]" if url["query"] else b""
    host = HOST.match(url["place"])
    end = host.end() if host else 0
    place = url["place"][:end] + _without_tokens(url["place"][end:])
    return url["scheme"] + user + place + query


def _without_tokens(row: bytes) -> bytes:
    return TOKEN.sub(_guarded_token, row)


def _guarded_token(token: re.Match[bytes]) -> bytes:
    value = token[0]
    behind_dot = token.string[token.start() - 1 : token.start()] == b"."
    if behind_dot and (label := LAST_LABEL.match(value)):  # of a host without `http://`
        end = label.end()
        return value[:end] + _without_tokens(value[end:])
    classes = sum(bool(re.search(group, value)) for group in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
    words = re.fullmatch(rb"(?:[A-Za-z]+|[0-9]+)(?:[/_=+\-](?:[A-Za-z]+|[0-9]+|))*", value)
    hexadecimal = re.search(rb"[0-9a-fA-F]{32}", value)
    # Words and numbers joined by hyphens or slashes are a path or a slug.
    return b"[SECRET]" if hexadecimal or (classes == 3 and not words) else value


@dataclass(frozen=True)
class Scrub:
    """Replace personal data by `[EMAIL]`, `[IPV4]`, `[IPV6]`, `[PHONE]` and `[CARD]`.

    Adds how many of each kind there were, and where in the text as it came in. Addresses that
    name nobody (private, loopback, documentation) stay unless `private_addresses` is set. A text
    that cannot be settled is quarantined and emptied, never passed on.
    """

    kinds: tuple[str, ...] = KINDS
    private_addresses: bool = False

    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                near = get_close_matches(kind, KINDS, 1, 0)[0]
                raise RecipeError(f"pii.Scrub: no kind {kind!r}; did you mean {near}?")

    def __call__(self, batch: Batch) -> Batch:
        text = view(batch.column(TEXT))
        found, unsettled = self._found(text)
        if any(found) or unsettled.any():
            batch = with_column(batch, TEXT, _text(text, found, unsettled))
        for kind in self.kinds:
            counts = [sum(span.kind == kind for span in row) for row in found]
            batch = with_column(batch, f"pii_{kind}", pa.array(counts, pa.int32()))
        batch = with_column(batch, SPANS, _spans_column(found))
        return mark(batch, unsettled, UNSETTLED, quarantined=True)

    def _found(self, text: View) -> tuple[list[list[Span]], Mask]:
        """Per row its spans, and whether it could not be settled."""
        rows = len(text.offsets) - 1
        found: list[list[Span]] = [[] for _ in range(rows)]
        unsettled = np.zeros(rows, np.bool_)
        places = windows(text.data, text.offsets)
        here, first = np.unique(places[:, 0], return_index=True)
        for row, mine in zip(here.tolist(), np.split(places, first[1:]), strict=False):
            start, end = text.offsets[row : row + 2]
            content = text.data[start:end].tobytes()
            try:
                found[row] = spans(content, self.kinds, self.private_addresses, mine)
            except UnsettledError:
                unsettled[row] = True
        return found, unsettled


def _text(text: View, found: list[list[Span]], unsettled: Mask) -> pa.StringArray:
    """The column with its spans replaced; a text that could not be settled becomes empty."""
    data = text.data.data
    parts: list[bytes | memoryview] = []
    growth = np.zeros(len(text.offsets), np.int64)
    last = text.offsets[0]
    for row, spans_of_row in enumerate(found):
        begin, end = text.offsets[row : row + 2].tolist()
        if unsettled[row]:
            parts.append(data[last:begin])
            last = end
            growth[row + 1] = begin - end
        for start, stop, kind in spans_of_row:
            token = b"[%b]" % kind.upper().encode()
            parts += [data[last : begin + start], token]
            last = begin + stop
            growth[row + 1] += len(token) - (stop - start)
    parts.append(data[last : text.offsets[-1]])
    offsets = text.offsets - text.offsets[0] + np.cumsum(growth)
    return strings(np.frombuffer(b"".join(parts), np.uint8), offsets.astype(np.int32))


def _spans_column(found: list[list[Span]]) -> pa.ListArray:
    flat = [span for row in found for span in row]
    offsets = np.cumsum([0, *(len(row) for row in found)], dtype=np.int32)
    columns = [
        pa.array([span.kind for span in flat], pa.string()),
        pa.array([span.start for span in flat], pa.int32()),
        pa.array([span.end for span in flat], pa.int32()),
    ]
    structs = pa.StructArray.from_arrays(columns, names=["kind", "start", "end"])
    return pa.ListArray.from_arrays(pa.array(offsets), structs)
