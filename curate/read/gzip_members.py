"""Gzip files member by member: a damaged one costs only itself, the next good one is found."""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from curate.ledger import Spans
from curate.read.source import Span, Window

MAGIC = b"\x1f\x8b\x08"
PADDING = b"\0\r\n"

# Fed in 64 KiB, inflated at most 4 MiB at a time: 64 KiB of zeros could be 66 MB of output.
CHUNK_BYTES = 1 << 16
PART_BYTES = 1 << 22
SALVAGE_BYTES = 256

_COMMENT, _NAME, _EXTRA, _HEADER_CHECKSUM = 16, 8, 4, 2
_RESERVED_FLAGS = b"\x20"  # and all above

# Whether inflated bytes are how a document file begins.
Begins = Callable[[bytes], bool]


class Gap(NamedTuple):
    """A span between members in which there is none."""

    start: int
    end: int
    fault: str


def header_size(head: bytes) -> int:
    """The length of a gzip header; 0 if it is cut short, -1 if it is none."""
    if not head.startswith(MAGIC[: len(head)]) or head[3:4] >= _RESERVED_FLAGS:
        return -1
    if len(head) < 10:
        return 0
    flags, size = head[3], 10
    if flags & _EXTRA:
        size += 2 + int.from_bytes(head[10:12], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            size = head.find(b"\0", size) + 1
            if size == 0:
                return 0
    if flags & _HEADER_CHECKSUM:
        size += 2
    return size if size <= len(head) else 0


def inflated_head(data: bytes, size: int = 16) -> bytes:
    """The first bytes of what these bytes inflate to; empty if they do not."""
    start = header_size(data)
    if start <= 0:
        return b""
    try:
        return zlib.decompressobj(-15).decompress(data[start:], size)
    except zlib.error:
        return b""


def resync(window: Window, begins: Begins) -> None:
    """Move to the next member whose content begins as it should, or to the end."""
    while window.find(MAGIC):
        if begins(inflated_head(bytes(window.peek(CHUNK_BYTES)))):
            return
        window.advance(1)


class GzipMember:
    """One member, inflated on demand; once `done`, its end is known, and its fault if it has one.

    Its checksum is computed here rather than by zlib, whose gzip mode cannot tell where an error
    was, nor give what was inflated before it.
    """

    def __init__(self, window: Window, begins: Begins) -> None:
        self.start = self.end = self.sound = window.position
        self.fault = ""
        self.done = False
        self._window = window
        self._begins = begins
        self._open()

    def read(self) -> bytes:
        """The next inflated bytes, some MiB at most; empty when there are no more."""
        parts, size = [], 0
        while not self.done and size < PART_BYTES:
            part = self._inflate()
            parts.append(part)
            size += len(part)
        if not self.fault:
            self.sound = self._window.position
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def drain(self) -> None:
        """Go on to the member's end without keeping anything."""
        while not self.done:
            self._inflate()

    def join(self) -> bool:
        """Carry on with the next member if its content begins nothing; gives whether it does so.

        Some writers end a member within a record: bgzip does, and tools that flush.
        """
        if self.fault or not self.done:
            return False
        head = inflated_head(bytes(self._window.peek(CHUNK_BYTES)))
        if not head or self._begins(head):
            return False
        self.done = False
        self._open()
        return True

    def _open(self) -> None:
        self._opened = self._window.position
        self._inflater = zlib.decompressobj(-15)
        self._fed = False
        self._checksum = 0
        self._inflated = 0
        head = self._window.peek(10)
        size = 10 if len(head) == 10 and head[3] == 0 else 0
        if not size:
            size = header_size(bytes(self._window.peek(CHUNK_BYTES)))
        if size > 0:
            self._window.advance(size)
        else:
            self._fail("truncated" if size == 0 else "bad_gzip_header")

    def _inflate(self) -> bytes:
        chunk = self._window.peek(CHUNK_BYTES)
        # 64 KiB of state: 1 % of the time that inflating the next chunk takes.
        before = self._inflater.copy() if self._fed else None
        self._fed = True
        try:
            part = self._inflater.decompress(chunk, PART_BYTES)
        except zlib.error:
            part = _salvaged(before or zlib.decompressobj(-15), chunk)
            self._fail("bad_deflate")
            return part
        self._checksum = zlib.crc32(part, self._checksum)
        self._inflated += len(part)
        if self._inflater.eof:
            self._window.advance(len(chunk) - len(self._inflater.unused_data))
            self._close()
        elif not chunk and not part:
            self._fail("truncated")
        else:
            self._window.advance(len(chunk) - len(self._inflater.unconsumed_tail))
        return part

    def _close(self) -> None:
        trailer = bytes(self._window.peek(8))
        if len(trailer) < 8:
            self._fail("truncated")
            return
        self._window.advance(8)
        expected = (self._checksum | (self._inflated & 0xFFFFFFFF) << 32).to_bytes(8, "little")
        if trailer != expected:
            self._fail("bad_crc")
        else:
            self.done = True
            self.end = self._window.position

    def _fail(self, fault: str) -> None:
        self.fault = fault
        self.done = True
        if fault != "bad_crc" or not self.next_is_good():
            self._window.rewind(self._opened + 1)
            resync(self._window, self._begins)
        self.end = self._window.position

    def next_is_good(self) -> bool:
        """Whether another member, or the end, is where this one stops."""
        ahead = bytes(self._window.peek(CHUNK_BYTES))
        return not ahead or self._begins(inflated_head(ahead))


def _salvaged(inflater: "zlib._Decompress", chunk: memoryview) -> bytes:
    """What can be inflated of a chunk before the error in it."""
    parts = []
    for start in range(0, len(chunk), SALVAGE_BYTES):
        try:
            parts.append(inflater.decompress(chunk[start : start + SALVAGE_BYTES]))
        except zlib.error:
            break
    return b"".join(parts)


def gzip_members(window: Window, begins: Begins, spans: Spans) -> Iterator[GzipMember | Gap]:
    """All members of a span and the gaps between them, in order and without overlap."""
    while True:
        spans.padding += window.skip(PADDING)
        head = bytes(window.peek(3))
        if not head:
            return
        if head == MAGIC:
            member = GzipMember(window, begins)
            yield member
            member.drain()
        else:
            start = window.position
            resync(window, begins)
            fault = "bad_gzip_header" if head.startswith(MAGIC[:2]) else "garbage"
            yield Gap(start, window.position, fault)


def cut(window: Window, begins: Begins, split_bytes: int) -> list[Span]:
    """The span in parts of about this size, each beginning at a member that is surely one."""
    size, source = window.span.end, window.source
    starts = [window.span.start]
    for target in range(split_bytes, size, split_bytes):
        if target <= starts[-1]:
            continue
        # Looked for in two parts at most, so that a file of one member is not read for each.
        ahead = Window(source, Span(target, min(target + 2 * split_bytes, size)))
        resync(ahead, begins)
        while (start := ahead.position) < min(target + split_bytes, size):
            if _chains(ahead, begins):
                starts.append(start)
                break
            ahead.rewind(start + 1)
            resync(ahead, begins)
    return [Span(*pair) for pair in zip(starts, [*starts[1:], size], strict=True)]


def _chains(window: Window, begins: Begins) -> bool:
    """Whether the member here is whole, and followed by another or by the end."""
    member = GzipMember(window, begins)
    member.drain()
    return not member.fault and member.next_is_good()
