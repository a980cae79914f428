"""From pages to text: limits first, then a parser in a process that may die."""

import contextlib
import difflib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Mask, Numbers, Positions, view
from curate.errors import CurateError, RecipeError
from curate.read import caps, charset
from curate.read.child import EXTRACTORS, OUT_OF_MEMORY, READY, REPLY, REQUEST
from curate.read.plain import clean_as_it_is
from curate.schema import CHARSET, CONTENT_TYPE, PAYLOAD, TEXT, Batch
from curate.stage import Stage, kept, mark, with_column, without

# A parser that opens formatting again makes an element each time; a page of 500,000 took
# seconds and hundreds of megabytes, and of 912 real pages the highest count was 9.
MAX_REOPENED = 100_000
# From this much visible text on, an empty extraction is the extractor's doing.
VISIBLE_BYTES = 2048
# The process takes 40 MB before its first page.
MIN_MEMORY_BYTES = 128 * 1024 * 1024
# A page that dies is tried again alone, with this many times the limits.
RETRY_FACTOR = 3
# Deaths that are nobody's limit (an operator, the kernel's memory killer) are retried as often.
RETRIES_OF_THE_INNOCENT = 10
# The child may be stopped, or the machine asleep: this is when waiting ends, limits or not.
PATIENCE_SECONDS = 60.0
PATIENCE_FACTOR = 20
PIPE_BYTES = 1024 * 1024
PLAIN_TYPES = ("text/plain", "text/markdown", "text/csv", "text/tab-separated-values")


@dataclass(frozen=True)
class Extract:
    """Turn `payload` into `text`; what cannot be read is quarantined with its reason."""

    extractor: str = "resiliparse"
    max_page_bytes: int = 8 * 1024 * 1024
    max_depth: int = 1000
    max_attributes: int = 1000
    max_open_formatting: int = 200
    cpu_seconds: float = 2.0
    memory_bytes: int = 1024 * 1024 * 1024
    max_replacement_share: float = 0.05

    def __post_init__(self) -> None:
        if self.extractor not in EXTRACTORS:
            near = difflib.get_close_matches(self.extractor, EXTRACTORS, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(EXTRACTORS)}"
            raise RecipeError(f"extractor: no {self.extractor!r}; {hint}")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) and not value > 0:
                raise RecipeError(f"{field.name}: {value} is not above 0; nothing could pass")
        if self.memory_bytes < MIN_MEMORY_BYTES:
            raise RecipeError(
                f"memory_bytes: {self.memory_bytes} is too little; write {MIN_MEMORY_BYTES} or more"
            )

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Start the child; it ends with the context."""
        with Parser(self.extractor, self.cpu_seconds, self.memory_bytes) as parser:
            yield lambda batch: self.extract(batch, parser)

    def extract(self, batch: Batch, parser: "Parser") -> Batch:
        """The batch with `text` in place of `payload`, `charset` and `content_type`."""
        batch = self.without_giants(batch)
        ready = _ready(batch)
        pages = _pages(batch, ready)
        measured = self.measures(batch, pages, ready)
        batch = self.within_limits(batch, measured)
        texts, deaths = _texts(pages, kept(batch) & ~ready, measured, parser)
        text = pa.array(texts, pa.binary())
        if ready.any():
            text = pc.if_else(pa.array(ready), batch.column(PAYLOAD), text)
        text = text.cast(pa.string())
        batch = with_column(without(batch, PAYLOAD, CHARSET, CONTENT_TYPE), TEXT, text)
        for reason in sorted(set(deaths.values())):
            died = np.array([deaths.get(row) == reason for row in range(batch.num_rows)], np.bool_)
            batch = mark(batch, died, reason, quarantined=True)
        return self.with_text(batch, pages, measured)

    def without_giants(self, batch: Batch) -> Batch:
        """Refuse pages above the size limit."""
        size = pc.binary_length(batch.column(PAYLOAD)).fill_null(0).to_numpy(zero_copy_only=False)
        return mark(
            batch,
            size > self.max_page_bytes,
            "html.too_large",
            value=size.astype(np.float64),
            bound=float(self.max_page_bytes),
            quarantined=True,
        )

    def measures(self, batch: Batch, pages: "list[Page]", ready: Mask) -> Positions:
        """What the scan tells about the pages that are still wanted, and not ready."""
        kinds = np.array([caps.HTML if page.is_html else caps.PLAIN for page in pages], np.uint8)
        kinds[~kept(batch) | ready] = caps.SKIP
        payload = batch.column(PAYLOAD)
        if any(page.rewritten for page in pages):
            payload = pa.array([bytes(page.payload) for page in pages], pa.binary())
        limits = np.array(
            [self.max_depth, self.max_attributes, self.max_open_formatting, MAX_REOPENED], np.int64
        )
        return caps.scan(view(payload), kinds, limits)

    def within_limits(self, batch: Batch, measured: Positions) -> Batch:
        """Refuse pages that would hold a parser for long."""
        for reason, column, bound in (
            ("html.too_deep", caps.DEPTH, self.max_depth),
            ("html.too_many_attributes", caps.ATTRIBUTES, self.max_attributes),
            ("html.formatting_bomb", caps.FORMATTING, self.max_open_formatting),
            ("html.formatting_bomb", caps.REOPENED, MAX_REOPENED),
        ):
            value = measured[:, column].astype(np.float64)
            batch = mark(
                batch, value > bound, reason, value=value, bound=float(bound), quarantined=True
            )
        return batch

    def with_text(self, batch: Batch, pages: "list[Page]", measured: Positions) -> Batch:
        """Refuse what came out empty or as mojibake."""
        text = batch.column(TEXT)
        share = replacement_share(text)
        # Stops at the first letter, where trimming would copy the text.
        empty = pc.or_(pc.equal(pc.binary_length(text), 0), pc.utf8_is_space(text))
        empty = empty.to_numpy(zero_copy_only=False)
        is_html = np.array([page.is_html for page in pages], np.bool_)
        visible = measured[:, caps.VISIBLE].astype(np.float64)
        seen = visible >= VISIBLE_BYTES
        bound = float(VISIBLE_BYTES)
        batch = mark(
            batch, empty & is_html & seen, "html.extract_empty", value=visible, bound=bound
        )
        batch = mark(batch, empty & is_html, "html.empty", value=visible, bound=bound)
        batch = mark(batch, empty, "text.empty")
        return mark(
            batch,
            share > self.max_replacement_share,
            "text.mojibake",
            value=share,
            bound=self.max_replacement_share,
            quarantined=True,
        )


def replacement_share(text: pa.Array) -> Numbers:
    """U+FFFD by character; 0 for empty text."""
    lost = pc.count_substring(text, charset.REPLACEMENT).to_numpy(zero_copy_only=False)
    if not lost.any():
        return np.zeros(len(lost))
    length = pc.utf8_length(text).to_numpy(zero_copy_only=False)
    share: Numbers = lost / np.maximum(length, 1)
    return share


class Page(NamedTuple):
    """A page before it is parsed."""

    payload: memoryview  # of the batch's own buffer
    codec: str
    is_html: bool
    rewritten: bool  # its bytes hid the markup from an ASCII reader, and are UTF-8 now


def _ready(batch: Batch) -> Mask:
    """Which rows are texts that need nothing: plain ones, said to be UTF-8, and clean."""
    kinds, charsets = batch.column(CONTENT_TYPE), batch.column(CHARSET)
    said = pc.and_(pc.is_in(kinds, pa.array(PLAIN_TYPES)), pc.equal(charsets, charset.UTF_8))
    mask: Mask = said.fill_null(False).to_numpy(zero_copy_only=False) & kept(batch)
    if len(mask) and not mask.any():  # a dump of pages, which are not looked at twice
        return mask
    return mask & clean_as_it_is(view(batch.column(PAYLOAD)))


def _pages(batch: Batch, ready: Mask) -> list[Page]:
    """The rows of a batch; those with a verdict, and those that are ready, are empty."""
    data, offsets = view(batch.column(PAYLOAD))
    content = data.data
    pages = [Page(content[:0], charset.UTF_8, False, False)] * batch.num_rows
    wanted = np.flatnonzero(kept(batch) & ~ready).tolist()
    headers, types = batch.column(CHARSET), batch.column(CONTENT_TYPE)
    for row in wanted:
        header, media_type = headers[row].as_py() or "", types[row].as_py() or ""
        pages[row] = _page(content[offsets[row] : offsets[row + 1]], header, media_type)
    return pages


def _page(payload: memoryview, header: str, media_type: str) -> Page:
    is_html = media_type not in PLAIN_TYPES
    codec = charset.declared(bytes(payload[: charset.PRESCAN_BYTES]), header)
    if codec not in charset.OPAQUE:
        return Page(payload, codec, is_html, False)
    text = charset.to_utf8(bytes(payload), codec, charset.Utf8Count(0, 0))
    return Page(memoryview(text), charset.UTF_8, is_html, True)


def _texts(
    pages: list[Page], wanted: Mask, measured: Positions, parser: "Parser"
) -> tuple[list[bytes], dict[int, str]]:
    """The text of every wanted page, and why some have none."""
    texts = [b""] * len(pages)
    deaths: dict[int, str] = {}
    counts = measured[:, [caps.BROKEN, caps.VALID]].tolist()
    for row in np.flatnonzero(wanted).tolist():
        page = pages[row]
        count = charset.Utf8Count(*counts[row])
        if not page.is_html and charset.is_utf8(page.codec, count):
            texts[row] = charset.clean(charset.to_utf8(bytes(page.payload), page.codec, count))
            continue
        answer = parser.text(page, count)
        if isinstance(answer, bytes):
            texts[row] = answer
        else:
            deaths[row] = answer.reason
    return texts, deaths


class Death(NamedTuple):
    """How a child ended, and whether the page may be to blame."""

    reason: str
    innocent: bool


class Parser:
    """A child that parses page by page, and is replaced when it dies."""

    def __init__(self, extractor: str, cpu_seconds: float, memory_bytes: int) -> None:
        self.extractor = extractor
        self.cpu_seconds = cpu_seconds
        self.memory_bytes = memory_bytes
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self  # a child is started for the first page: plain texts need none

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.close()

    def text(self, page: Page, count: charset.Utf8Count) -> bytes | Death:
        """The page's text, or the reason why every attempt ended in death."""
        if self._child is None:
            self._child = self._start(1)
        answer = self._child.ask(page, count)
        if isinstance(answer, bytes):
            return answer
        self._child.close()
        self._child = None
        for _ in range(RETRIES_OF_THE_INNOCENT):
            # Alone in a fresh process: neither its neighbours nor the machine's mood decide.
            with self._start(RETRY_FACTOR) as child:
                answer = child.ask(page, count)
            if isinstance(answer, bytes) or not answer.innocent:
                break
        return answer

    def _start(self, factor: int) -> "Child":
        return Child(self.extractor, self.cpu_seconds * factor, self.memory_bytes * factor)


class Child:
    """One process of `curate.read.child`, from its start to its end."""

    def __init__(self, extractor: str, cpu_seconds: float, memory_bytes: int) -> None:
        self._patience = PATIENCE_SECONDS + PATIENCE_FACTOR * cpu_seconds
        root = Path(__file__).parents[2]
        limits = (f"{cpu_seconds:g}", str(memory_bytes))
        # Never a fork: a worker has threads and secrets. The environment is one path.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "curate.read.child", extractor, *limits],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(root)},
            cwd="/",
        )
        assert self._process.stdin and self._process.stdout  # both are pipes
        self._to = self._process.stdin.fileno()
        self._from = self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        widen(self._to)
        widen(self._from)
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def ask(self, page: Page, count: charset.Utf8Count) -> bytes | Death:
        """The page's text, or how the process ended over it; then it is gone."""
        deadline = time.monotonic() + self._patience
        try:
            if not self._is_ready:
                self._is_ready = self._read(len(READY), deadline) == READY
            name = page.codec.encode()
            self._write(REQUEST.pack(len(page.payload), *count, page.is_html, name), deadline)
            self._write(page.payload, deadline)
            (size,) = REPLY.unpack(self._read(REPLY.size, deadline))
            return self._read(size, deadline)
        except (EOFError, BrokenPipeError):
            return self._death()
        except TimeoutError:
            return Death("html.timeout", innocent=False)

    def _death(self) -> Death:
        """Why the process ended."""
        status = self._process.wait()
        if status > 0 and not self._is_ready:
            command = " ".join(self._process.args)  # type: ignore[arg-type]  # a list of str
            raise CurateError(
                f"the extraction process does not start; try it by hand: {command} < /dev/null"
            )
        if -status == signal.SIGPROF:
            return Death("html.timeout", innocent=False)
        # Rust aborts when it gets no memory; Python raises.
        if status == OUT_OF_MEMORY or -status == signal.SIGABRT:
            return Death("html.memory", innocent=False)
        return Death("html.crash", innocent=-status in (signal.SIGKILL, signal.SIGTERM))

    def _write(self, data: bytes | memoryview, deadline: float) -> None:
        rest = memoryview(data)
        while rest:
            _wait(self._to, select.POLLOUT, deadline)
            rest = rest[os.write(self._to, rest) :]

    def _read(self, size: int, deadline: float) -> bytes:
        pieces: list[bytes] = []
        while size > 0:
            _wait(self._from, select.POLLIN, deadline)
            piece = os.read(self._from, size)
            if not piece:
                raise EOFError
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def widen(pipe: int) -> None:
    """Let a pipe hold most pages at once: with 64 KiB both sides woke each other all the time."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the user's pipes may be used up; it works all the same
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    """Wait for a pipe, but not for ever."""
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(1000 * max(deadline - time.monotonic(), 0)):
        raise TimeoutError
