"""HTTP responses as crawlers store them: from head and body to a payload or a verdict."""

import re
from typing import NamedTuple

from curate.read.encodings import dechunked, decoded, is_markup
from curate.read.settings import Read, Verdict

MAX_HEAD_BYTES = 1 << 18

_STATUS = re.compile(rb"HTTP/\d(?:\.\d+)?[ \t]+(\d{3})(?!\d)")
_FIELD_LINE = re.compile(rb"[!#-'*+.0-9A-Z^-z|~-]+[ \t]*:")
_BLANK = re.compile(rb"\n\r?\n")
# The three that matter, in one pass; folded lines belong to the value before them.
_FIELDS = re.compile(
    rb"^(content-type|content-encoding|transfer-encoding)[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_CHARSET = re.compile(r"charset[ \t]*=[ \t]*[\"']?[ \t]*([^\s\"';,]+)", re.IGNORECASE)

# How files begin that are sent as text/html although they are no text.
NOT_TEXT = (
    b"%PDF-",
    b"PK\x03\x04",
    b"\x89PNG\r\n",
    b"GIF87a",
    b"GIF89a",
    b"\xff\xd8\xff",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"RIFF",
    b"OggS",
    b"ID3\x03",
    b"ID3\x04",
    b"wOFF",
    b"wOF2",
    b"\x7fELF",
    b"Rar!\x1a",
    b"7z\xbc\xaf",
    b"\x00\x00\x01\x00",
    b"\xd0\xcf\x11\xe0",
    b"%!PS-Adobe",
    b"SQLite format 3",
    b"FWS\x09",
    b"CWS",
)


class Response(NamedTuple):
    """What is left of an HTTP response: a body in a media type, or a verdict."""

    content_type: str = ""
    charset: str = ""
    payload: bytes = b""
    verdict: Verdict | None = None
    notice: str = ""


class _Head(NamedTuple):
    status: int
    fields: dict[str, str]
    end: int
    notice: str = ""


def response(block: memoryview, settings: Read) -> Response:
    """The body of a stored response, decoded, or why there is none."""
    head = _head(block)
    if isinstance(head, Verdict):
        return Response(verdict=head)
    media, charset = content_type(head.fields.get("content-type", ""))
    if head.status != 200:
        refused = Verdict("http.status", value=float(head.status), bound=200.0)
        return Response(media, charset, verdict=refused)
    if media and media not in settings.content_types:
        return Response(media, charset, verdict=Verdict("http.type"))
    body, notice, fault = _body(block[head.end :], head.fields, settings.max_payload_bytes)
    if fault:
        return Response(media, charset, verdict=Verdict(fault, quarantined=True))
    if not body:
        return Response(media, charset, verdict=Verdict("http.empty"))
    media = sniffed(body, media)
    refused_type = None if media in settings.content_types else Verdict("http.type")
    return Response(
        media, charset, b"" if refused_type else body, refused_type, notice or head.notice
    )


def content_type(value: str) -> tuple[str, str]:
    """The media type, in lower case, and the charset that a Content-Type field declares."""
    media, _, parameters = value.partition(";")
    charset = _CHARSET.search(parameters)
    return media.strip().lower()[:128], charset[1].lower()[:64] if charset else ""


def sniffed(body: bytes, declared: str) -> str:
    """The declared type, unless the body shows it to be no text, or nothing was declared."""
    if body.startswith(NOT_TEXT):
        return "application/octet-stream"
    if declared:
        return declared
    if is_markup(body):
        return "text/html"
    return "application/octet-stream" if b"\0" in body[:1024] else "text/plain"


def _head(block: memoryview) -> _Head | Verdict:
    start = 0
    while True:
        head, end = _head_bytes(block, start)
        if end < 0:
            return Verdict("http.header_too_large", quarantined=True)
        status = _STATUS.match(head)
        if status is None:
            return _headless(block, start, end, head)
        if not status[1].startswith(b"1") or end == len(block):
            return _Head(int(status[1]), _fields(head), end)
        start = end  # 100 Continue and its like come before the answer itself


def _head_bytes(block: memoryview, start: int) -> tuple[bytes, int]:
    """The head that begins here, and where its body begins: -1 if it has no bounds."""
    for size in (1 << 12, MAX_HEAD_BYTES):
        head = bytes(block[start : start + size])
        blank = _BLANK.search(head)
        if blank is not None:
            return head[: blank.end()], start + blank.end()
    if len(head) < MAX_HEAD_BYTES:
        return head, len(block)
    return head, -1


def _headless(block: memoryview, start: int, end: int, head: bytes) -> _Head | Verdict:
    """A block without a status line: HTTP/0.9, or a head that lost its first line."""
    if is_markup(head):
        return _Head(200, {"content-type": "text/html"}, start, "http.no_status")
    if end < len(block) and _FIELD_LINE.match(head):
        return _Head(200, _fields(b"\n" + head), end, "http.no_status")
    if not head.strip():
        return Verdict("http.empty")
    return Verdict("http.bad_status_line", quarantined=True)


def _fields(head: bytes) -> dict[str, str]:
    return {
        name.lower().decode("ascii"): value.decode("latin-1").strip()
        for name, value in _FIELDS.findall(head)
    }


def _body(block: memoryview, fields: dict[str, str], max_bytes: int) -> tuple[bytes, str, str]:
    """The decoded body, what was noticed, and the fault that leaves no body."""
    encodings = [name.strip().lower() for name in fields.get("content-encoding", "").split(",")]
    transfer = [name.strip().lower() for name in fields.get("transfer-encoding", "").split(",")]
    plain = encodings == [""] and transfer == [""]
    if plain and len(block) > max_bytes:
        return b"", "", "http.payload_too_large"
    body = bytes(block)
    if plain:
        return body, "", ""
    notice = ""
    if "chunked" in transfer:
        body, notice, fault = dechunked(body)
        if fault:
            return b"", "", fault
    layers = encodings + [name for name in transfer if name != "chunked"]
    result = decoded(body, layers, max_bytes)
    if not result.fault and len(result.body) > max_bytes:
        return b"", "", "http.payload_too_large"
    return result.body, result.notice or notice, result.fault
