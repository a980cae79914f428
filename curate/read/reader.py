"""The seam between inputs of any kind and the pipeline: find, cut, read."""

import io
import re
from collections.abc import Callable, Iterator
from itertools import islice

from curate.ledger import Spans
from curate.read import gzip_members, zstd_frames
from curate.read.find import find_inputs
from curate.read.gzip_members import Gap, GzipMember, cut
from curate.read.jsonl import JsonLines, begins_json, cut_lines
from curate.read.parquet import Parquet, cut_row_groups
from curate.read.rows import Rows
from curate.read.settings import Document, Read, damaged
from curate.read.source import Input, Span, Window, opened
from curate.read.warc import Warc, begins_warc
from curate.read.zstd_frames import ZstdFrame
from curate.schema import Batch

__all__ = ["Input", "Read", "Span", "find_inputs", "kind_of", "read", "spans"]

# What is looked at to tell the kind of an input: the first members may be empty.
HEAD_BYTES = 1 << 20
HEAD_MEMBERS = 8

# How the content of a file begins. ARC is known, so that it is refused rather than searched.
MAGICS = {
    b"WARC/": "warc",
    b"PAR1": "parquet",
    b"filedesc:": "arc",
    gzip_members.MAGIC: "double_gzip",
}

READERS: dict[str, Callable[[Read, Spans], Callable[[Window], Iterator[Document]]]] = {
    "warc": lambda settings, spans: Warc(settings, spans).plain,
    "warc.gz": lambda settings, spans: Warc(settings, spans).gzipped,
    "warc.zst": lambda settings, spans: Warc(settings, spans).zstandard,
    "jsonl": lambda settings, spans: JsonLines(settings, spans).plain,
    "jsonl.gz": lambda settings, spans: JsonLines(settings, spans).gzipped,
    "jsonl.zst": lambda settings, spans: JsonLines(settings, spans).zstandard,
    "parquet": lambda settings, spans: Parquet(settings, spans).plain,
}

CUTTERS: dict[str, Callable[[Window, int], list[Span]]] = {
    "warc.gz": lambda window, size: cut(window, begins_warc, size),
    "jsonl": cut_lines,
    "parquet": cut_row_groups,
}

SUFFIXES = {
    ".warc": "warc",
    ".wet": "warc",
    ".wat": "warc",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}


def kind_of(item: Input) -> str:
    """What an input is: by its first bytes, by its name where these are damaged or say nothing."""
    with opened(item) as source:
        return _kind(source, item)


def spans(item: Input, settings: Read) -> list[Span]:
    """The input in parts that can be read apart from each other; decided by its content alone."""
    whole = Span(0, item.size)
    if item.size <= settings.split_bytes:
        return [whole]
    with opened(item) as source:
        cutter = CUTTERS.get(_kind(source, item))
        return cutter(Window(source, whole), settings.split_bytes) if cutter else [whole]


def read(item: Input, span: Span, settings: Read, spans: Spans) -> Iterator[Batch]:
    """The documents of a part, also those that are refused or damaged; bytes go into `spans`."""
    rows = Rows(item, settings)
    spans.size += span.end - span.start
    with opened(item) as source:
        for document in _documents(source, item, span, settings, spans):
            rows.add(document)
            if rows.full:
                yield rows.batch()
    last = rows.batch()
    if last.num_rows:
        yield last


def _documents(
    source: io.RawIOBase, item: Input, span: Span, settings: Read, spans: Spans
) -> Iterator[Document]:
    kind = _kind(source, item)
    reader = READERS.get(kind)
    if reader is None:
        spans.faults += span.end - span.start
        yield damaged(span.start, f"input.{kind}")
        return
    window = Window(source, span)
    yield from reader(settings, spans)(window)
    if window.end < span.end:
        # The server sent less than it had announced, and kept doing so.
        spans.faults += span.end - window.end
        yield damaged(window.end, "input.truncated")


def _kind(source: io.RawIOBase, item: Input) -> str:
    if item.size == 0:
        return "empty"
    window = Window(source, Span(0, min(item.size, HEAD_BYTES)))
    packing, content = _unpacked(window)
    if content == b"" and item.size <= HEAD_BYTES:
        return "empty"
    base, packing_of_name = _kind_of_name(item.name)
    found = _kind_of_content(content)
    if found == "double_gzip":
        return found
    kind = (found or base) + (packing or ("" if found else packing_of_name))
    return kind if kind in READERS else "unsupported"


def _unpacked(window: Window) -> tuple[str, bytes | None]:
    """How the file is packed, and its first content; None where that cannot be told."""
    head = bytes(window.peek(1 << 16))
    if head.startswith(gzip_members.MAGIC):
        content = gzip_members.inflated_head(head)
        return ".gz", content or _first_content(gzip_members.gzip_members(window, _never, Spans()))
    if head.startswith(zstd_frames.MAGIC) or head[1:4] == zstd_frames.SKIPPABLE:
        return ".zst", _first_content(zstd_frames.zstd_frames(window, _never, Spans()))
    return "", head


def _first_content(members: Iterator[GzipMember | ZstdFrame | Gap]) -> bytes | None:
    for member in islice(members, HEAD_MEMBERS):
        if isinstance(member, Gap):
            return None
        content = member.read()
        if content or member.fault:
            return content or None
    return b"" if next(members, None) is None else None


def _never(_content: bytes) -> bool:
    """No member is looked for behind a damaged one: the name must do."""
    return False


def _kind_of_content(content: bytes | None) -> str:
    if content is None:
        return ""
    for magic, kind in MAGICS.items():
        if content.startswith(magic):
            return kind
    return "jsonl" if begins_json(content) else ""


def _kind_of_name(name: str) -> tuple[str, str]:
    """Kind and packing by suffix; ~2 and the like were added to tell inputs apart."""
    stem = re.sub(r"~\d+$", "", name.lower())
    packing = next((suffix for suffix in (".gz", ".zst") if stem.endswith(suffix)), "")
    stem = stem.removesuffix(packing)
    return next((kind for suffix, kind in SUFFIXES.items() if stem.endswith(suffix)), ""), packing
