"""Content that arrives in parts, held only as far as someone needs to look."""

import re
from collections.abc import Callable

CRLF2 = b"\r\n\r\n"
LINE_ENDS = re.compile(rb"[\r\n]*")

# How a record begins, told from a page that merely speaks of WARC: version, line end, a field.
HEADER = re.compile(rb"WARC/\d\.\d{1,3}[ \t]*\r?\n[!-9;-~]{1,64}[ \t]*:")
HEADER_BYTES = 256


class Stream:
    """The content of a gzip member, a zstd frame or a plain file, from `at` on."""

    def __init__(
        self, read: Callable[[], bytes], start: int = 0, join: Callable[[], bool] | None = None
    ) -> None:
        self._read = read
        self._join = join  # carries on beyond the end, if what follows begins nothing
        self._start = start  # the content's offset of data[0]
        self.data = read()
        self.at = 0
        self.ended = not self.data
        self.blank = 0  # bytes of blank lines between records

    @property
    def position(self) -> int:
        """The content's offset of the next byte."""
        return self._start + self.at

    def need(self, size: int) -> int:
        """Hold this many bytes ahead, or all there are; gives how many are held."""
        held = len(self.data) - self.at
        if held >= size or self.ended:
            return held
        parts = [self.data[self.at :]]
        while held < size and not self.ended:
            part = self._read()
            self.ended = not part
            parts.append(part)
            held += len(part)
        self._start += self.at
        self.data, self.at = b"".join(parts), 0
        return held

    def need_joined(self, size: int) -> int:
        """As `need`, but beyond the end of the member if the next one carries it on."""
        while (held := self.need(size)) < size and self._join is not None and self._join():
            self.ended = False
        return held

    def skip_blank(self) -> None:
        """Move over line ends."""
        while self.need(1) and self.data[self.at] in b"\r\n":
            end = LINE_ENDS.match(self.data, self.at).end()  # type: ignore[union-attr] # matches all
            self.blank += end - self.at
            self.at = end

    def next_header(self) -> int:
        """Where in the held data the next record begins; -1 if none does."""
        at = self.data.find(b"WARC/", self.at)
        while at >= 0 and HEADER.match(self.data, at) is None:
            at = self.data.find(b"WARC/", at + 1)
        return at

    def forward_to_header(self) -> None:
        """Move on to where the next record begins, or to the end, holding little."""
        while True:
            at = self.next_header()
            if at >= 0:
                self.at = at
                return
            if self.ended:
                self.at = len(self.data)
                return
            self.at = max(self.at, len(self.data) - HEADER_BYTES)
            self.need(len(self.data) - self.at + 1)
