"""Remote files read as a stream that is taken up again where it broke off, never silently short."""

import base64
import io
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from http.client import HTTPException
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError

import fsspec
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped] # it has no types

from curate.errors import InputError

ATTEMPTS = 5
PAUSE_SECONDS = 0.1  # before the second attempt; doubled before each that follows
MAX_PAUSE_SECONDS = 30  # also where a server asks for more
IDLE_SECONDS = 60
MIN_BYTES_PER_SECOND = 1024  # after IDLE_SECONDS: a drip of one byte a second would never end
FSSPEC_BLOCK_BYTES = 8 << 20
MAX_REDIRECTS = 3

# What a connection or a store may answer with; fsspec wraps most of it in OSError.
FAILURES = (OSError, HTTPException, BotoCoreError, ValueError)


class Facts(NamedTuple):
    """What a server says about a file."""

    size: int
    identity: str


class ChangedError(InputError):
    """The file is not the one that was listed as an input."""


def is_http(url: str) -> bool:
    """Whether this is read by HTTP itself rather than through fsspec."""
    return url.lower().startswith(("http://", "https://"))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A few hops, never from https to http nor to another scheme."""

    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, *rest: Any
    ) -> urllib.request.Request | None:
        schemes = [urllib.parse.urlsplit(url).scheme for url in (req.full_url, rest[-1])]
        if schemes[1] != "https" and schemes != ["http", "http"]:
            raise urllib.error.URLError(f"redirected from {schemes[0]} to {schemes[1]}")
        request = super().redirect_request(req, *rest)
        if request is not None:
            request.method = req.get_method()  # Python 3.11 turns HEAD into GET
        return request


def _request(url: str, method: str, headers: dict[str, str]) -> Any:
    parts = urllib.parse.urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    # Identity: an encoded body that stops early looks complete to every client library.
    request = urllib.request.Request(
        bare, headers={"Accept-Encoding": "identity", **headers}, method=method
    )
    if parts.username is not None:
        secret = (
            f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        )
        token = base64.b64encode(secret.encode()).decode()
        # Not sent on to where a redirect leads.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    opener = urllib.request.build_opener(_Redirects())
    return opener.open(request, timeout=IDLE_SECONDS)


def _identity(url: str, size: int, headers: Message) -> str:
    """From validators and place: servers make an ETag of size and time, unique to a path only."""
    parts = urllib.parse.urlsplit(url)
    place = f"{parts.hostname}{parts.path}"
    if etag := headers.get("ETag"):
        return f"etag:{etag}:{size}:{place}"
    return f"modified:{headers.get('Last-Modified', '')}:{size}:{place}"


def http_facts(url: str) -> Facts:
    """Size and identity by a HEAD request, or by a GET of one byte where HEAD is refused."""
    try:
        with _request(url, "HEAD", {}) as response:
            headers, length = response.headers, response.headers.get("Content-Length")
    except HTTPError as error:
        error.close()  # it holds the connection
        if error.code not in (403, 405, 501):
            raise
        with _request(url, "GET", {"Range": "bytes=0-0"}) as response:
            headers = response.headers
            length = headers.get("Content-Range", "").rpartition("/")[2]
    if not (length or "").isdigit():
        raise InputError("the server does not tell the file's size; download it first")
    return Facts(int(length), _identity(url, int(length), headers))


def store_facts(url: str, info: dict[str, Any]) -> Facts:
    """Size and identity from what a store's listing says of an object."""
    size = int(info["size"])
    if etag := info.get("ETag") or info.get("etag"):
        return Facts(size, f"etag:{str(etag).strip(chr(34))}:{size}")
    stamp = next((info[key] for key in ("LastModified", "mtime", "created") if key in info), "")
    return Facts(size, f"modified:{stamp}:{size}:{url.partition('?')[0]}")


class _HttpStream:
    """The body of one GET, from a position on."""

    def __init__(self, url: str, position: int, planned: Facts) -> None:
        self._response = _request(url, "GET", {"Range": f"bytes={position}-"} if position else {})
        try:
            self._place(url, position, planned)
        except BaseException:
            self._response.close()
            raise

    def _place(self, url: str, position: int, planned: Facts) -> None:
        headers = self._response.headers
        if self._response.status == 206:
            unit = headers.get("Content-Range", "")
            total = unit.rpartition("/")[2]
            if not unit.startswith(f"bytes {position}-"):
                raise OSError(f"asked for bytes from {position}, got {unit!r}")
            _check(url, total, headers, planned)
        else:
            _check(url, headers.get("Content-Length", ""), headers, planned)
            # The server does not know ranges: what comes before is read past.
            while position > 0:
                skipped = len(self._response.read(min(position, 1 << 20)))
                if not skipped:
                    raise OSError("the body ended early")
                position -= skipped

    def read(self, size: int) -> bytes:
        # What has arrived, rather than all: so a drip is seen to be one.
        data: bytes = self._response.read1(size)
        return data

    def close(self) -> None:
        self._response.close()


def _check(url: str, total: str, headers: Message, planned: Facts) -> None:
    if total.isdigit() and Facts(int(total), _identity(url, int(total), headers)) != planned:
        raise ChangedError("changed")


def _store_stream(url: str, position: int, planned: Facts) -> IO[bytes]:
    filesystem, path = fsspec.core.url_to_fs(url)
    if store_facts(url, filesystem.info(path, refresh=True)) != planned:
        raise ChangedError("changed")
    # Each block asks for the ETag that the file was opened with: s3fs sends If-Match.
    stream: IO[bytes] = filesystem.open(
        path, "rb", block_size=FSSPEC_BLOCK_BYTES, cache_type="readahead"
    )
    stream.seek(position)
    return stream


def _pause(attempt: int, failure: BaseException | None) -> float:
    """Seconds before the next attempt: doubling, spread, and as long as the server asks for."""
    asked = failure.headers.get("Retry-After", "") if isinstance(failure, HTTPError) else ""
    pause: float = PAUSE_SECONDS * 2**attempt * (1 + random.random())
    return min(max(pause, int(asked) if asked.isdigit() else 0), MAX_PAUSE_SECONDS)


class Remote(io.RawIOBase):
    """A remote file of known size; it breaks off only where the server has no more bytes."""

    def __init__(self, url: str, name: str, size: int, identity: str) -> None:
        self._open: Callable[[str, int, Facts], Any] = (
            _HttpStream if is_http(url) else _store_stream
        )
        self._url = url
        self._name = name
        self._planned = Facts(size, identity)
        self._position = 0
        self._stream: Any = None
        self._waited = 0.0  # seconds, for `_got` bytes of this stream
        self._got = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._planned.size}
        position = start[whence] + offset
        if position != self._position:
            self._position = position
            self._drop()
        return position

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; empty at the end, planned or not."""
        left = self._planned.size - self._position
        size = left if size < 0 else min(size, left)
        failure: BaseException | None = None
        for attempt in range(ATTEMPTS if size > 0 else 0):
            try:
                data = self._arrived(size)
            except InputError as error:
                raise InputError(
                    f"{self._name}: changed since it was listed as an input; run again"
                ) from error
            except FAILURES as error:
                data, failure = b"", error
                if isinstance(error, HTTPError):
                    error.close()  # it holds the connection
            if data:
                self._position += len(data)
                return bytes(data)
            self._drop()
            time.sleep(_pause(attempt, failure))
        if failure is not None:
            raise InputError(
                f"{self._name}: {type(failure).__name__} at byte {self._position} of "
                f"{self._planned.size}, {ATTEMPTS} times; run again when the server answers"
            ) from failure
        return b""

    def close(self) -> None:
        self._drop()
        super().close()

    def _arrived(self, size: int) -> bytes:
        started = time.monotonic()
        if self._stream is None:
            self._stream = self._open(self._url, self._position, self._planned)
            self._waited, self._got = 0.0, 0
        data: bytes = self._stream.read(size)
        self._waited += time.monotonic() - started
        self._got += len(data)
        if self._waited > IDLE_SECONDS and self._got < self._waited * MIN_BYTES_PER_SECOND:
            raise TimeoutError(f"{self._got} bytes in {self._waited:.0f} seconds")
        return data

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
