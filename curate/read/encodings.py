"""Transfer and content encodings taken off a body, never to more than a given size."""

import io
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

import brotli

from curate.ledger import Spans
from curate.read.gzip_members import Gap
from curate.read.source import Span, Window
from curate.read.zstd_frames import zstd_frames

MAX_LAYERS = 2
MAX_CHUNKS = 500_000  # a body of one-byte chunks would otherwise take seconds
MAX_CHUNK_LINE_BYTES = 4096

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]*)?\r?\n")
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!|\?xml|/?[a-z])", re.IGNORECASE)

GZIP = b"\x1f\x8b"


class Decoded(NamedTuple):
    """A body, and what was noticed on the way; with a fault there is no body to trust."""

    body: bytes
    notice: str = ""
    fault: str = ""


def is_markup(body: bytes) -> bool:
    """Whether this begins as HTML or XML does."""
    return _MARKUP.match(body, 0, 4096) is not None


def dechunked(body: bytes) -> Decoded:
    """The chunks' contents; a body that never was chunked as it is (Common Crawl has these)."""
    parts: list[bytes] = []
    at = 0
    while len(parts) < MAX_CHUNKS:
        line = _CHUNK_SIZE.match(body, at, at + MAX_CHUNK_LINE_BYTES)
        if line is None:
            if not parts:
                return Decoded(body, "http.not_chunked")
            return Decoded(b"".join(parts), "http.bad_chunk")
        size = int(line[1], 16)
        start = line.end()
        if size == 0:
            return Decoded(b"".join(parts))
        parts.append(body[start : start + size])
        at = start + size
        if start + size > len(body):
            return Decoded(b"".join(parts), "http.bad_chunk")
        at += 2 if body.startswith(b"\r\n", at) else body.startswith(b"\n", at)
    return Decoded(b"", fault="http.too_many_chunks")


def decoded(body: bytes, encodings: list[str], max_bytes: int) -> Decoded:
    """The body without its content encodings, the last of which was applied last."""
    layers = [name for name in encodings if name not in ("", "identity")]
    if len(layers) > MAX_LAYERS:
        return Decoded(b"", fault="http.too_many_encodings")
    for name in reversed(layers):
        result = DECODERS.get(name, _unknown)(body, max_bytes)
        if result.fault in ("http.bad_encoding", "http.unknown_encoding") and is_markup(body):
            return Decoded(body, "http.not_encoded")
        if result.fault:
            return result
        body = result.body
    return Decoded(body)


def _unknown(_body: bytes, _max_bytes: int) -> Decoded:
    return Decoded(b"", fault="http.unknown_encoding")


def _capped(body: bytes, max_bytes: int, whole: bool) -> Decoded:
    if len(body) > max_bytes:
        return Decoded(b"", fault="http.payload_too_large")
    return Decoded(body) if whole else Decoded(b"", fault="http.bad_encoding")


def _inflated(body: bytes, wbits: int, max_bytes: int) -> tuple[bytes, bool, bytes]:
    """What zlib makes of a body, whether it came to an end, and what follows that end."""
    inflater = zlib.decompressobj(wbits)
    try:
        content = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        return b"", False, b""
    return content, inflater.eof, inflater.unused_data


def _gunzip(body: bytes, max_bytes: int) -> Decoded:
    parts: list[bytes] = []
    size, whole = 0, False
    while size <= max_bytes:
        part, whole, body = _inflated(body, 31, max_bytes - size)
        parts.append(part)
        size += len(part)
        if not whole or not body.startswith(GZIP):
            break
    return _capped(b"".join(parts), max_bytes, whole)


def _inflate(body: bytes, max_bytes: int) -> Decoded:
    """Deflate means zlib (RFC 9110), but some servers send it bare."""
    for wbits in (15, -15):
        content, whole, _ = _inflated(body, wbits, max_bytes)
        if whole or len(content) > max_bytes:
            return _capped(content, max_bytes, whole)
        if wbits == 15 and is_markup(body):
            break
    return Decoded(b"", fault="http.bad_encoding")


def _unbrotli(body: bytes, max_bytes: int) -> Decoded:
    inflater = brotli.Decompressor()
    try:
        content = inflater.process(body, output_buffer_limit=max_bytes + 1)
    except brotli.error:
        return Decoded(b"", fault="http.bad_encoding")
    return _capped(content, max_bytes, inflater.is_finished())


def _unzstd(body: bytes, max_bytes: int) -> Decoded:
    window = Window(io.BytesIO(body), Span(0, len(body)))  # type: ignore[arg-type] # as good as raw
    parts: list[bytes] = []
    size = 0
    for frame in zstd_frames(window, lambda _: False, Spans()):
        if isinstance(frame, Gap):
            return Decoded(b"", fault="http.bad_encoding")
        while size <= max_bytes and (part := frame.read()):
            parts.append(part)
            size += len(part)
        if size > max_bytes or frame.fault:
            break
    else:
        return _capped(b"".join(parts), max_bytes, bool(parts))
    return _capped(b"".join(parts), max_bytes, whole=False)


DECODERS: dict[str, Callable[[bytes, int], Decoded]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
