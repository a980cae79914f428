"""Zstandard files frame by frame, walked by block: small outputs, and ends known exactly."""

from collections.abc import Iterator

import zstandard

from curate.ledger import Spans
from curate.read.gzip_members import PART_BYTES, Begins, Gap
from curate.read.source import Window

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"  # preceded by one byte, 0x50 to 0x5f
DICTIONARY = b"\x5d\x2a\x4d\x18"  # the first frame of a .warc.zst may hold its dictionary
MAX_DICTIONARY_BYTES = 1 << 24
MAX_WINDOW_BYTES = 1 << 26
PADDING = b"\0\r\n"
HEAD_BYTES = 1 << 18  # more than a block can be

_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE = 1


def header_size(head: bytes) -> int:
    """The length of a frame's header, magic included (RFC 8878, 3.1.1.1); 0 if it is cut short."""
    if len(head) < 5:
        return 0
    descriptor = head[4]
    single_segment = descriptor >> 5 & 1
    content_size = _CONTENT_SIZE_BYTES[descriptor >> 6] or single_segment
    size = 5 + (1 - single_segment) + _DICTIONARY_ID_BYTES[descriptor & 3] + content_size
    return size if size <= len(head) else 0


def block_size(head: bytes) -> int:
    """The length of a block, its header of three bytes included."""
    header = int.from_bytes(head, "little")
    return 3 + (1 if header >> 1 & 3 == _RLE else header >> 3)


class ZstdFrame:
    """One frame, decompressed on demand: the counterpart of GzipMember."""

    def __init__(
        self, window: Window, begins: Begins, dictionary: zstandard.ZstdCompressionDict | None
    ) -> None:
        self.start = self.end = self.sound = window.position
        self.fault = ""
        self.done = False
        self._window = window
        self._begins = begins
        self._dictionary = dictionary
        self._open()

    def read(self) -> bytes:
        """The next decompressed bytes, some MiB at most; empty when there are no more."""
        parts, size = [], 0
        while not self.done and size < PART_BYTES:
            part = self._next_block()
            parts.append(part)
            size += len(part)
        if not self.fault:
            self.sound = self._window.position
        return b"".join(parts)

    def drain(self) -> None:
        """Go on to the frame's end without keeping anything."""
        while not self.done:
            self._next_block()

    def join(self) -> bool:
        """Carry on with the next frame if its content begins nothing; gives whether it does so."""
        if self.fault or not self.done:
            return False
        head = decompressed_head(bytes(self._window.peek(HEAD_BYTES)), self._dictionary)
        if not head or self._begins(head):
            return False
        self.done = False
        self._open()
        return True

    def _open(self) -> None:
        self._opened = self._window.position
        self._inflater = _decompressor(self._dictionary).decompressobj()
        self._has_checksum = False
        head = bytes(self._window.peek(18))
        size = header_size(head)
        if not size:
            self._fail("truncated")
            return
        self._has_checksum = bool(head[4] & 4)
        self._feed(size)

    def _next_block(self) -> bytes:
        head = bytes(self._window.peek(3))
        if len(head) < 3:
            return self._fail("truncated")
        last = head[0] & 1
        size = block_size(head) + (4 if last and self._has_checksum else 0)
        if len(self._window.peek(size)) < size:
            return self._fail("truncated")
        part = self._feed(size)
        if last and not self.done:
            self.done = True
            self.end = self._window.position
        return part

    def _feed(self, size: int) -> bytes:
        try:
            part: bytes = self._inflater.decompress(self._window.peek(size))
        except zstandard.ZstdError as error:
            return self._fail("bad_crc" if "checksum" in str(error) else "bad_zstd")
        self._window.advance(size)
        return part

    def _fail(self, fault: str) -> bytes:
        self.fault = fault
        self.done = True
        self._window.rewind(self._opened + 1)
        resync(self._window, self._begins, self._dictionary)
        self.end = self._window.position
        return b""


def _decompressor(
    dictionary: zstandard.ZstdCompressionDict | None,
) -> zstandard.ZstdDecompressor:
    if dictionary is None:
        return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES, dict_data=dictionary)


def decompressed_head(
    data: bytes, dictionary: zstandard.ZstdCompressionDict | None = None
) -> bytes:
    """The first bytes of what these bytes decompress to; empty if they do not."""
    size = header_size(data)
    if not size:
        return b""
    try:
        reader = _decompressor(dictionary).stream_reader(data)
        head: bytes = reader.read(16)
    except (zstandard.ZstdError, MemoryError):
        return b""
    return head


def resync(
    window: Window, begins: Begins, dictionary: zstandard.ZstdCompressionDict | None
) -> None:
    """Move to the next frame whose content begins as it should, or to the end."""
    while window.find(MAGIC):
        if begins(decompressed_head(bytes(window.peek(HEAD_BYTES)), dictionary)):
            return
        window.advance(1)


def zstd_frames(window: Window, begins: Begins, spans: Spans) -> Iterator[ZstdFrame | Gap]:
    """All frames of a span and the gaps between them, in order and without overlap."""
    dictionary = None
    while True:
        spans.padding += window.skip(PADDING)
        head = bytes(window.peek(8))
        if not head:
            return
        start = window.position
        if head.startswith(MAGIC):
            frame = ZstdFrame(window, begins, dictionary)
            yield frame
            frame.drain()
        elif head[1:4] == SKIPPABLE and head[0] >> 4 == 5 and len(head) == 8:
            size = 8 + int.from_bytes(head[4:8], "little")
            if head.startswith(DICTIONARY) and start == 0 and size <= MAX_DICTIONARY_BYTES:
                dictionary = _dictionary(bytes(window.peek(size))[8:])
            window.forward(size)
            spans.padding += window.position - start
        else:
            resync(window, begins, dictionary)
            yield Gap(start, window.position, "garbage")


def _dictionary(data: bytes) -> zstandard.ZstdCompressionDict | None:
    """The dictionary that a .warc.zst file begins with, itself compressed or not."""
    if data.startswith(MAGIC):
        try:
            data = _decompressor(None).stream_reader(data).read(MAX_DICTIONARY_BYTES)
        except zstandard.ZstdError:
            return None
    return zstandard.ZstdCompressionDict(data)
