"""WARC records in content of any packing: lengths that lie are mended, damage costs one record."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from curate.ledger import Spans
from curate.read.gzip_members import Gap, GzipMember, gzip_members
from curate.read.http import Response, content_type, response, sniffed
from curate.read.settings import DOCUMENT_TYPES, OTHER_TYPES, Document, Read, Verdict, damaged
from curate.read.source import BLOCK_BYTES, Window
from curate.read.stream import CRLF2, HEADER_BYTES, LINE_ENDS, Stream
from curate.read.zstd_frames import ZstdFrame, zstd_frames

MAX_HEADER_BYTES = 1 << 16
MAX_URL_BYTES = 2048
MAX_FIELD_BYTES = 256

# Fields whose presence is worth a count.
NOTICED_FIELDS = {
    b"warc-truncated": "warc.marked_truncated",
    b"warc-segment-number": "warc.segmented",
}

_VERSION = re.compile(rb"WARC/\d+\.\d+[ \t]*\r?\n")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]")

_TYPES = frozenset(DOCUMENT_TYPES + OTHER_TYPES)


class Record(NamedTuple):
    """One record, or with a fault what could be made out of one."""

    start: int  # in the content
    end: int
    fields: dict[bytes, bytes]
    block: memoryview
    notices: tuple[str, ...] = ()
    fault: str = ""
    followed: bool = False  # by another record: then it is whole even if the member is not


def begins_warc(content: bytes) -> bool:
    """Whether content begins as a WARC file's member must."""
    return content.startswith(b"WARC/")


def warc_records(stream: Stream, max_bytes: int) -> Iterator[Record]:
    """All records of the content; what is none comes as a record with a fault."""
    while True:
        stream.skip_blank()
        if not stream.need(MAX_HEADER_BYTES):
            return
        size = _header_size(stream)
        if size == 0 and stream.ended and b"WARC/".startswith(stream.data[stream.at :][:5]):
            stream.need_joined(MAX_HEADER_BYTES)
            size = _header_size(stream)
        if size <= 0:
            yield _junk(stream, "bad_header" if size == 0 else "header_too_large", max_bytes)
        else:
            yield _record(stream, size, max_bytes)


def _junk(stream: Stream, fault: str, max_bytes: int) -> Record:
    """Content up to where the next record begins."""
    start = stream.position
    began = begins_warc(stream.data[stream.at : stream.at + 5])
    stream.at += 1
    stream.forward_to_header()
    if stream.position - start > max_bytes:
        fault = "member_too_large"
    elif began and stream.at == len(stream.data) and fault == "bad_header":
        fault = "truncated"
    return Record(start, stream.position, {}, memoryview(b""), (), fault)


def _header_size(stream: Stream) -> int:
    """The length of the header that begins here; 0 if there is none, -1 if it is too long."""
    data, at = stream.data, stream.at
    if _VERSION.match(data, at) is None:
        return 0
    # "\n\r\n" ends a header of CRLF lines too, so two searches find the first blank line of any.
    cap = at + MAX_HEADER_BYTES
    end = data.find(b"\n\r\n", at, cap)
    bare = data.find(b"\n\n", at, end if end >= 0 else cap)
    if bare >= 0:
        return bare + 2 - at
    if end >= 0:
        return end + 3 - at
    return -1 if len(data) >= cap else 0


def _record(stream: Stream, size: int, max_bytes: int) -> Record:
    start = stream.position
    fields = _fields(stream.data[stream.at : stream.at + size])
    stream.at += size
    value = fields.get(b"content-length", b"")
    # Digits only, and few: no number from a file is ever trusted with an allocation.
    length = int(value) if value.isdigit() and len(value) <= 18 else None
    block_bytes, whole_bytes, notice, fault = _extent(stream, length, max_bytes)
    block = memoryview(stream.data)[stream.at : stream.at + block_bytes]
    stream.at += whole_bytes
    if fault == "member_too_large":
        stream.forward_to_header()
    followed = stream.need(HEADER_BYTES) > 0 and stream.data.startswith(b"WARC/", stream.at)
    notices = (notice,) if notice else ()
    return Record(start, stream.position, fields, block, notices, fault, followed)


def _fields(header: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    name = b""
    for line in header.split(b"\n")[1:]:
        before, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t") and name:
            fields[name] += b" " + line.strip()
        elif colon:
            name = before.strip().lower()
            value = value.strip()
            if name == b"content-length" and fields.get(name, value) != value:
                value = b"?"  # two that differ: neither is believed
            fields[name] = value
    return fields


def _extent(stream: Stream, length: int | None, max_bytes: int) -> tuple[int, int, str, str]:
    """The block's bytes, those with the line ends after it, a notice and a fault."""
    if length is None:
        return _extent_by_next(stream, None, max_bytes)
    held = stream.need(min(length, max_bytes) + HEADER_BYTES)
    if held < length <= max_bytes:
        held = stream.need_joined(length)
    if held < length:
        return _extent_by_next(stream, length, max_bytes)
    data, at = stream.data, stream.at
    end = at + length
    if data.startswith(CRLF2, end) and (end + 4 == len(data) or data.startswith(b"WARC/", end + 4)):
        return length, length + 4, "", ""
    tail = LINE_ENDS.match(data, end).end()  # type: ignore[union-attr] # it matches anything
    if tail == len(data) or data.startswith(b"WARC/", tail):
        return length, tail - at, "warc.line_ends", ""
    for blank in (CRLF2, b"\n\n"):
        if data.startswith(blank, end):
            return length, length + len(blank), "", ""
    return _extent_by_next(stream, length, max_bytes)


def _extent_by_next(
    stream: Stream, length: int | None, max_bytes: int
) -> tuple[int, int, str, str]:
    """Where the length is of no use, a record goes on to where the next one begins."""
    held = stream.need(max_bytes + HEADER_BYTES)
    notice = "warc.bad_length" if length is None else "warc.length_mismatch"
    after = stream.next_header()
    if after < 0 and not stream.ended:
        return 0, held, "", "member_too_large"
    whole = after - stream.at if after >= 0 else held
    block = stream.data[max(stream.at, stream.at + whole - 4) : stream.at + whole]
    trailing = next((len(end) for end in (CRLF2, b"\n\n") if block.endswith(end)), 0)
    cut = after < 0 and length is not None and length > held
    return whole - trailing, whole, notice, "truncated" if cut else ""


@dataclass(frozen=True)
class Warc:
    """Reads the documents out of WARC, WET and WAT, packed or not."""

    settings: Read
    spans: Spans

    def gzipped(self, window: Window) -> Iterator[Document]:
        """The documents of a span of a .warc.gz."""
        return self._packed(gzip_members(window, begins_warc, self.spans))

    def zstandard(self, window: Window) -> Iterator[Document]:
        """The documents of a .warc.zst."""
        return self._packed(zstd_frames(window, begins_warc, self.spans))

    def plain(self, window: Window) -> Iterator[Document]:
        """The documents of an uncompressed WARC."""
        stream = Stream(lambda: window.take(BLOCK_BYTES), window.position)
        for record in warc_records(stream, self.settings.max_member_bytes):
            if record.fault:
                self.spans.faults += record.end - record.start
            else:
                self.spans.records += record.end - record.start
            yield from self._documents(record, record.start, 0, record.fault)
        self.spans.padding += stream.blank

    def _packed(self, members: Iterable[GzipMember | ZstdFrame | Gap]) -> Iterator[Document]:
        for member in members:
            if isinstance(member, Gap):
                self.spans.faults += member.end - member.start
                yield damaged(member.start, f"warc.{member.fault}")
            else:
                yield from self._member(member)

    def _member(self, member: GzipMember | ZstdFrame) -> Iterator[Document]:
        stream = Stream(member.read, join=member.join)
        sound = damage = 0
        for index, record in enumerate(warc_records(stream, self.settings.max_member_bytes)):
            fault = _fault(record, member)
            # A record that is too large is known for one all the same.
            sound += not fault or (bool(record.fields) and fault != member.fault)
            damage += bool(fault)
            yield from self._documents(record, member.start, index, fault)
        self._account(member, sound, stream.position)
        if member.fault and not damage:
            yield damaged(member.start, f"warc.{member.fault}")

    def _account(self, member: GzipMember | ZstdFrame, sound: int, content_bytes: int) -> None:
        size = member.end - member.start
        if member.fault:
            records = member.sound - member.start if sound else 0
            self.spans.records += records
            self.spans.faults += size - records
        elif sound:
            self.spans.records += size
        elif content_bytes:
            self.spans.faults += size
        else:
            self.spans.padding += size
            self.spans.notice("warc.empty_member")

    def _documents(self, record: Record, offset: int, index: int, fault: str) -> Iterator[Document]:
        """The row for a record, unless it is sound and no document."""
        for notice in record.notices:
            self.spans.notice(notice)
        kind = _kind(record)
        if not fault and kind not in self.settings.types:
            self.spans.skip(f"record.{kind if kind in _TYPES else 'other'}")
            return
        found = (
            Response(verdict=Verdict(f"warc.{fault}", quarantined=True))
            if fault
            else self._found(kind, record)
        )
        yield Document(
            offset,
            index,
            url(record.fields.get(b"warc-target-uri", b"")),
            text(record.fields.get(b"warc-date", b"")),
            text(record.fields.get(b"warc-record-id", b"")),
            found.content_type,
            found.charset,
            found.payload,
            found.verdict,
        )

    def _found(self, kind: str, record: Record) -> Response:
        for name, notice in NOTICED_FIELDS.items():
            if name in record.fields:
                self.spans.notice(notice)
        media = record.fields.get(b"content-type", b"").lower()
        if kind != "response":
            found = _block(record.block, media.decode("latin-1"), kind, self.settings)
        elif (
            media
            and not media.startswith(b"application/http")
            and bytes(record.block[:5]) != b"HTTP/"
        ):
            found = Response(verdict=Verdict("http.type"))  # such as text/dns
        else:
            found = response(record.block, self.settings)
        if found.notice:
            self.spans.notice(found.notice)
        return found


def _fault(record: Record, member: GzipMember | ZstdFrame) -> str:
    """What is wrong with a record, in the light of what is by now known of its member."""
    if member.fault == "bad_crc":
        return "bad_crc"
    if member.fault and not (record.followed and record.fields):
        return member.fault
    if record.fault != "truncated":
        return record.fault
    # The member is whole, so it is the length that is wrong.
    return "" if record.fields else "bad_header"


def _kind(record: Record) -> str:
    kind = record.fields.get(b"warc-type", b"").strip().lower().decode("latin-1")
    return kind or ("response" if _is_http(record) else "other")


def _is_http(record: Record) -> bool:
    return bytes(record.block[:5]) == b"HTTP/"


def _block(block: memoryview, declared: str, kind: str, settings: Read) -> Response:
    """The block itself as the document: WET, and resources stored without HTTP."""
    media, charset = content_type(declared)
    if kind == "conversion":
        media, charset = media or "text/plain", charset or "utf-8"
    if len(block) > settings.max_payload_bytes:
        return Response(media, charset, b"", Verdict("warc.payload_too_large", quarantined=True))
    payload = bytes(block)
    media = sniffed(payload, media)
    if not payload:
        return Response(media, charset, b"", Verdict("warc.empty"))
    if media not in settings.content_types:
        return Response(media, charset, b"", Verdict("warc.type"))
    return Response(media, charset, payload)


def text(value: bytes) -> str | None:
    """A header's value as it may be kept: valid, without control characters, not too long."""
    if not value:
        return None
    return _CONTROL.sub("", value[:MAX_FIELD_BYTES].decode("utf-8", "replace")) or None


def url(value: bytes) -> str | None:
    """A URL as it may be kept; some writers put it between angle brackets."""
    if not value:
        return None
    kept = _CONTROL.sub("", value[:MAX_URL_BYTES].decode("utf-8", "replace"))
    return kept.removeprefix("<").removesuffix(">") or None
