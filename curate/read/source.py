"""One input as bytes: opened once, read forward in blocks, with as much look-ahead as needed."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from curate.errors import InputError
from curate.read.remote import Remote

BLOCK_BYTES = 1 << 20

# How many bytes may be read twice in search of the next good member. Members nested in stored
# blocks could otherwise be made to cost the square of the file's size.
MAX_REREADS = 4
FREE_REREAD_BYTES = 1 << 24


@dataclass(frozen=True)
class Input:
    """A file to read: where it is, what to call it in outputs, and what its bytes are."""

    # A URL may hold credentials: it is for opening only, and shown nowhere.
    uri: str = field(repr=False)
    name: str
    size: int
    identity: str  # sha256:... of a local file; etag:... or modified:... of a remote one
    # Of a local file, in ns: a change behind our back is refused; never part of a key. 0: unknown
    changed: int = 0


class Span(NamedTuple):
    """A part of an input: bytes start to end, end excluded."""

    start: int
    end: int


def is_remote(uri: str) -> bool:
    """Whether this is a URL rather than a local path."""
    return "://" in uri


@contextmanager
def opened(item: Input) -> Iterator[io.RawIOBase]:
    """The input's bytes; an input that changed since it was found is refused."""
    if is_remote(item.uri):
        with Remote(item.uri, item.name, item.size, item.identity) as remote:
            yield remote
        return
    with open_regular(item.uri) as file:
        before = os.fstat(file.fileno())
        if before.st_size != item.size or item.changed not in (0, before.st_ctime_ns):
            raise _changed(item.name)
        yield file
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _changed(item.name)


def _changed(name: str) -> InputError:
    return InputError(
        f"{name}: changed since it was listed as an input; run again when it is complete"
    )


def open_regular(path: str) -> io.FileIO:
    """The file, unbuffered, if it is a regular one: a FIFO would block and a device never end."""
    try:
        # Asked before it is opened, because opening a device may already do something.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise InputError(f"{path!r}: not a regular file; write the path of a file or folder")
        return io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise InputError(
            f"{path!r}: {error.strerror}; write the path of a file that can be read"
        ) from error


class Window:
    """The bytes of one span, from `position` on; it never sees beyond the span's end."""

    def __init__(self, source: io.RawIOBase, span: Span) -> None:
        self.span = span
        self.end = span.end  # drawn in when the source turns out to be shorter
        self.source = source
        self._held = b""
        self._at = 0
        self._next = span.start  # the first byte that is not held yet
        self._rereads_left = MAX_REREADS * (span.end - span.start) + FREE_REREAD_BYTES
        source.seek(span.start)

    @property
    def position(self) -> int:
        """The offset in the input of the next byte."""
        return self._next - len(self._held) + self._at

    def peek(self, size: int) -> memoryview:
        """The next bytes, fewer than `size` only at the end; the position stays."""
        if len(self._held) - self._at < size and self._next < self.end:
            self._fill(size)
        return memoryview(self._held)[self._at : self._at + size]

    def advance(self, size: int) -> None:
        """Move on over bytes that were peeked at."""
        self._at += size

    def forward(self, size: int) -> None:
        """Move on over bytes that need not be looked at, as far as there are any."""
        target = min(self.position + size, self.end)
        if target <= self._next:
            self._at += target - self.position
        else:
            self._held, self._at, self._next = b"", 0, target
            self.source.seek(target)

    def take(self, size: int) -> bytes:
        """The next bytes, moved over; empty at the end."""
        taken = bytes(self.peek(size))
        self._at += len(taken)
        return taken

    def skip(self, kinds: bytes) -> int:
        """Move over all bytes of these kinds; gives how many there were."""
        start = self.position
        while (ahead := self.peek(1)) and ahead[0] in kinds:
            run = self._held[self._at :]
            self._at += len(run) - len(run.lstrip(kinds))
        return self.position - start

    def find(self, needle: bytes) -> bool:
        """Move to where these bytes come next, or to the end; gives whether they come."""
        while True:
            at = self._held.find(needle, self._at)
            if at >= 0:
                self._at = at
                return True
            self._at = max(self._at, len(self._held) - len(needle) + 1)
            if self._next >= self.end:
                self._at = len(self._held)
                return False
            self._fill(BLOCK_BYTES)

    def rewind(self, position: int) -> None:
        """Go back to this position, unless too many bytes were read twice already."""
        back = self.position - position
        if back > self._rereads_left:
            return
        self._rereads_left -= back
        if back <= self._at:
            self._at -= back
        else:
            self._held, self._at, self._next = b"", 0, position
            self.source.seek(position)

    def _fill(self, size: int) -> None:
        parts = [self._held[self._at :]]
        held = len(parts[0])
        while held < size and self._next < self.end:
            wanted = min(max(BLOCK_BYTES, size - held), self.end - self._next)
            part = self.source.read(wanted)
            if not part:
                self.end = self._next
                break
            parts.append(part)
            held += len(part)
            self._next += len(part)
        self._held, self._at = b"".join(parts), 0
