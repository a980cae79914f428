"""JSON Lines: a document per line, and a bad line costs itself."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from curate.ledger import Spans
from curate.read.gzip_members import Gap, GzipMember, gzip_members
from curate.read.settings import Document, Read, Verdict, damaged
from curate.read.source import BLOCK_BYTES, Span, Window
from curate.read.warc import text, url
from curate.read.zstd_frames import ZstdFrame, zstd_frames

BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line with its line end; too long a one has lost its content but not its size."""

    offset: int  # in the content
    size: int
    content: bytes
    ended: bool  # by a line end


def begins_json(content: bytes) -> bool:
    """Whether content begins as a line of JSON with fields does."""
    return content.removeprefix(BOM).lstrip().startswith(b"{")


class Lines:
    """Cuts content that arrives in parts into lines; one line over the limit is held by no one."""

    def __init__(self, start: int, max_bytes: int) -> None:
        self._offset = start
        self._max_bytes = max_bytes
        self._begun: list[bytes] = []  # the parts of a line whose end has not come yet
        self._begun_bytes = 0

    def feed(self, part: bytes) -> Iterator[Line]:
        """The lines that end in this part."""
        at = 0
        while (end := part.find(b"\n", at)) >= 0:
            yield self._line(part[at : end + 1], ended=True)
            at = end + 1
        if at < len(part):
            self._keep(part[at:])

    def close(self) -> Iterator[Line]:
        """The line that nothing ended, if there is one."""
        if self._begun_bytes:
            yield self._line(b"", ended=False)

    def drop_begun(self) -> None:
        """Forget the line whose end has not come."""
        self._offset += self._begun_bytes
        self._begun, self._begun_bytes = [], 0

    def _keep(self, part: bytes) -> None:
        self._begun_bytes += len(part)
        if self._begun_bytes > self._max_bytes:
            self._begun.clear()
        else:
            self._begun.append(part)

    def _line(self, last: bytes, *, ended: bool) -> Line:
        size, start = self._begun_bytes + len(last), self._offset
        content = b"".join([*self._begun, last]) if size <= self._max_bytes else b""
        self._begun, self._begun_bytes, self._offset = [], 0, start + size
        return Line(start, size, content, ended)


@dataclass(frozen=True)
class JsonLines:
    """Reads the documents out of JSON Lines, packed or not."""

    settings: Read
    spans: Spans

    def plain(self, window: Window) -> Iterator[Document]:
        """The documents of a span of uncompressed lines."""
        lines = Lines(window.position, self.settings.max_member_bytes)
        while part := window.take(BLOCK_BYTES):
            for line in lines.feed(part):
                yield from self._counted(line)
        for line in lines.close():
            yield from self._counted(line)

    def gzipped(self, window: Window) -> Iterator[Document]:
        """The documents of a .jsonl.gz."""
        return self._packed(gzip_members(window, begins_json, self.spans))

    def zstandard(self, window: Window) -> Iterator[Document]:
        """The documents of a .jsonl.zst."""
        return self._packed(zstd_frames(window, begins_json, self.spans))

    def _counted(self, line: Line) -> Iterator[Document]:
        documents = list(self._documents(line))
        if not documents:
            self.spans.padding += line.size
        elif documents[0].verdict is not None and documents[0].verdict.quarantined:
            self.spans.faults += line.size
        else:
            self.spans.records += line.size
        yield from documents

    def _packed(self, members: Iterable[GzipMember | ZstdFrame | Gap]) -> Iterator[Document]:
        """Lines may cross members, so compressed bytes are counted by member, not by line."""
        lines = Lines(0, self.settings.max_member_bytes)
        for member in members:
            if isinstance(member, Gap):
                self.spans.faults += member.end - member.start
                yield damaged(member.start, f"jsonl.{member.fault}")
                continue
            while part := member.read():
                for line in lines.feed(part):
                    if member.fault == "bad_crc":  # the lines are there, but not to be trusted
                        yield _refused(line, "jsonl.bad_crc")
                    else:
                        yield from self._documents(line)
            sound = (member.sound if member.fault else member.end) - member.start
            self.spans.records += sound
            self.spans.faults += member.end - member.start - sound
            if member.fault:
                # What was begun before the damage is no line, and would spoil the next one.
                lines.drop_begun()
                yield damaged(member.start, f"jsonl.{member.fault}")
        for line in lines.close():
            yield from self._documents(line)

    def _documents(self, line: Line) -> Iterator[Document]:
        """The row for a line; none for a blank one."""
        if not line.content and line.size:
            yield _refused(line, "jsonl.line_too_large")
            return
        content = line.content.removeprefix(BOM) if line.offset == 0 else line.content
        if content.strip():
            yield self._document(line, content)

    def _document(self, line: Line, content: bytes) -> Document:
        try:
            row = json.loads(content.decode("utf-8"))
        except UnicodeDecodeError:
            return _refused(line, "jsonl.not_utf8")
        except (ValueError, RecursionError):
            return _refused(line, "jsonl.bad_line" if line.ended else "jsonl.truncated")
        if not isinstance(row, dict):
            return _refused(line, "jsonl.bad_line")
        return self._row(line, row)

    def _row(self, line: Line, row: dict[str, Any]) -> Document:
        settings = self.settings
        value = row.get(settings.text_key)
        if not isinstance(value, str):
            return _refused(line, "jsonl.no_text")
        try:
            payload = value.encode("utf-8")
        except UnicodeEncodeError:  # a lone surrogate, written as \ud800
            return _refused(line, "jsonl.not_utf8")
        document = Document(
            line.offset,
            0,
            url(_field(row, settings.url_key)),
            text(_field(row, settings.date_key)),
            text(_field(row, settings.id_key)),
            "text/plain",
            "utf-8",
        )
        if settings.metadata:
            document = document._replace(metadata=others(row, settings))
        return with_payload(document, payload, "jsonl", settings)


def others(row: dict[str, Any], settings: Read) -> str | None:
    """The fields that are no text, URL, date or id, as JSON; None without any."""
    taken = (settings.text_key, settings.url_key, settings.date_key, settings.id_key)
    left = {key: value for key, value in row.items() if key not in taken}
    if not left:
        return None
    written = json.dumps(left, ensure_ascii=False, default=str)
    try:
        written.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can write
        return json.dumps(left, default=str)
    return written


def with_payload(document: Document, payload: bytes, kind: str, settings: Read) -> Document:
    """The document with its text, or with a verdict where that is missing or too large."""
    if not payload:
        return document._replace(verdict=Verdict(f"{kind}.empty"))
    if len(payload) > settings.max_payload_bytes:
        verdict = Verdict(f"{kind}.payload_too_large", quarantined=True)
        return document._replace(verdict=verdict)
    return document._replace(payload=payload)


def _field(row: dict[str, Any], key: str) -> bytes:
    value = row.get(key)
    if value is None or isinstance(value, dict | list):
        return b""
    return str(value).encode("utf-8", "replace")


def _refused(line: Line, reason: str) -> Document:
    return Document(line.offset, verdict=Verdict(reason, quarantined=True))


def cut_lines(window: Window, split_bytes: int) -> list[Span]:
    """The span in parts of about this size, each beginning after a line end."""
    size, starts = window.span.end, [window.span.start]
    for target in range(split_bytes, size, split_bytes):
        if target <= starts[-1]:
            continue
        ahead = Window(window.source, Span(target - 1, size))
        if ahead.find(b"\n") and ahead.position + 1 < size:
            starts.append(ahead.position + 1)
    return [Span(*pair) for pair in zip(starts, [*starts[1:], size], strict=True)]
