import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from curate.errors import InputError
from curate.ledger import Spans
from curate.read import remote
from curate.read.reader import Input, Read, find_inputs, read, spans
from tests.read import broken
from tests.read.broken import COUNT


def rows_of(item: Input, settings: Read | None = None) -> tuple[list[dict], Spans]:
    settings = settings or Read()
    rows, total = [], Spans()
    for part in spans(item, settings):
        ledger = Spans()
        for batch in read(item, part, settings, ledger):
            rows += batch.to_pylist()
        ledger.check(item.name)
        total.add(ledger)
    assert total.size == item.size
    return rows, total


def kept(rows: list[dict]) -> list[bytes]:
    return [row["payload"] for row in rows if row["dropped_by"] is None]


class Handler(http.server.SimpleHTTPRequestHandler):
    """A plain server of one file in memory, that can be told how to misbehave."""

    body = broken.WHOLE
    ranges = True
    etag = '"one"'
    failures: ClassVar[list[Any]] = []

    def log_message(self, *_args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(200 if "file" in self.path else 404)
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("ETag", self.etag)
        self.end_headers()

    def do_GET(self) -> None:
        fault = self.failures.pop(0) if self.failures else None
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        wanted = self.headers.get("Range")
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            self.send_response(206)
            end = len(self.body) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(self.body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", self.etag)
        if fault != "no length":
            self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        part = self.body[start:]
        self.wfile.write(part[: len(part) // 2] if fault in ("short", "no length") else part)
        self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[Handler], str]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.001)

    class Own(Handler):
        failures: ClassVar[list[Any]] = []

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield Own, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_file_on_a_web_server_is_read(server: tuple[type[Handler], str], tmp_path: Path):
    (tmp_path / "file.warc.gz").write_bytes(broken.WHOLE)
    local, _ = rows_of(find_inputs([str(tmp_path)])[0][0])
    items, notes = find_inputs([f"{server[1]}/some/file.warc.gz"])
    rows, _ = rows_of(items[0])
    assert (items[0].name, notes) == ("file.warc.gz", [])
    assert kept(rows) == kept(local)
    assert len(rows) == COUNT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_is_read_in_parts_with_and_without_ranges(
    ranges: bool, server: tuple[type[Handler], str]
):
    server[0].ranges = ranges
    server[0].body = broken.seeded(2)
    item = find_inputs([f"{server[1]}/file.warc.gz"])[0][0]
    whole, _ = rows_of(item)
    parts, _ = rows_of(item, Read(split_bytes=1000))
    assert kept(parts) == kept(whole)


@pytest.mark.parametrize(
    "failures",
    [["short"], ["no length"], [500, 500], [503, "short", 429], ["short", "short", "short"]],
)
def test_what_breaks_off_is_taken_up_again(failures: list[Any], server: tuple[type[Handler], str]):
    item = find_inputs([f"{server[1]}/file.warc.gz"])[0][0]
    server[0].failures[:] = failures
    rows, ledger = rows_of(item)
    assert len(kept(rows)) == COUNT
    assert ledger.faults == 0


def test_a_body_that_stays_short_is_a_fault(
    server: tuple[type[Handler], str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote, "_check", lambda *_: None)  # as a server without lengths
    item = find_inputs([f"{server[1]}/file.warc.gz"])[0][0]
    server[0].body = broken.WHOLE[: len(broken.WHOLE) // 2]
    rows, ledger = rows_of(item)
    assert rows[-1]["dropped_by"] == "input.truncated"
    assert ledger.faults >= len(broken.WHOLE) // 2


def test_a_server_that_keeps_failing_is_an_error(server: tuple[type[Handler], str]):
    item = find_inputs([f"{server[1]}/file.warc.gz"])[0][0]
    server[0].failures[:] = [500] * 50
    with pytest.raises(InputError, match=r"file\.warc\.gz: HTTPError at byte 0"):
        rows_of(item)


@pytest.mark.parametrize("change", [{"etag": '"two"'}, {"body": broken.PLAIN}])
def test_a_file_that_changed_is_refused(change: dict, server: tuple[type[Handler], str]):
    item = find_inputs([f"{server[1]}/file.warc.gz"])[0][0]
    for name, value in change.items():
        setattr(server[0], name, value)
    with pytest.raises(InputError, match=r"file\.warc\.gz: changed"):
        rows_of(item)


def test_an_error_page_is_not_a_crawl(server: tuple[type[Handler], str]):
    server[0].body = b"<html>Please log in</html>"
    rows, _ = rows_of(find_inputs([f"{server[1]}/file.warc.gz"])[0][0])
    assert [row["dropped_by"] for row in rows] == ["warc.garbage"]


def test_names_and_errors_hold_no_secrets(server: tuple[type[Handler], str]):
    url = server[1].replace("//", "//user:hidden@")
    item = find_inputs([f"{url}/file.warc.gz?token=hidden"])[0][0]
    assert item.name == "file.warc.gz"
    assert "hidden" not in repr(item)
    assert "hidden" not in item.identity
    with pytest.raises(InputError) as caught:
        find_inputs([f"{url}/missing?token=hidden"])
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/file.warc", "nothing://x/y", "http://127.0.0.1/*.warc", "a::b://c"]
)
def test_a_url_that_cannot_be_read_is_refused(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(InputError, match="write"):
        find_inputs([url])


def test_a_redirect_is_followed(server: tuple[type[Handler], str]):
    items, _ = find_inputs([f"{server[1]}/to/{server[1]}/file.warc.gz"])
    assert items[0].size == len(broken.WHOLE)


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/to//to//to//to//x"])
def test_a_redirect_elsewhere_or_without_end_is_refused(
    place: str, server: tuple[type[Handler], str]
):
    with pytest.raises(InputError, match="cannot be read"):
        find_inputs([f"{server[1]}/to/{place}"])


def test_files_of_one_etag_in_two_places_are_two(server: tuple[type[Handler], str]):
    items, _ = find_inputs([f"{server[1]}/file1.warc.gz", f"{server[1]}/file2.warc.gz"])
    assert len(items) == 2


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "no_proxy": "127.0.0.1",
    }.items():
        patch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="crawl")
    for name, body in {
        "a/one.warc.gz": broken.WHOLE,
        "a/two.warc.gz": broken.WHOLE[:-30],
        "a/copy.warc.gz": broken.WHOLE,
        "a/readme.txt": b"hello",
        "b/three.jsonl": b'{"text": "three"}\n' * 100,
    }.items():
        client.put_object(Bucket="crawl", Key=name, Body=body)
    yield client
    client.close()
    fsspec.config.conf.pop("s3", None)
    patch.undo()
    server.stop()


def test_a_glob_in_a_bucket_is_read(store: Any):
    items, notes = find_inputs(["s3://crawl/a/*.warc.gz"])
    assert [item.name for item in items] == ["copy.warc.gz", "two.warc.gz"]
    assert notes == ["one.warc.gz is the same file as copy.warc.gz: read once"]
    rows, _ = rows_of(items[0])
    assert len(kept(rows)) == COUNT
    rows, ledger = rows_of(items[1])
    assert len(kept(rows)) == COUNT - 1
    assert ledger.faults > 0


def test_a_folder_in_a_bucket_gives_its_known_files(store: Any):
    items, _ = find_inputs(["s3://crawl"])
    assert sorted(item.name for item in items) == ["copy.warc.gz", "three.jsonl", "two.warc.gz"]
    rows, _ = rows_of(next(item for item in items if item.name == "three.jsonl"))
    assert len(kept(rows)) == 100


def test_an_object_is_read_in_parts(store: Any):
    item = find_inputs(["s3://crawl/a/one.warc.gz"])[0][0]
    whole, _ = rows_of(item)
    parts, _ = rows_of(item, Read(split_bytes=1000))
    assert kept(parts) == kept(whole)


def test_a_missing_object_is_refused(store: Any):
    for url in ("s3://crawl/none.warc.gz", "s3://crawl/none*", "s3://nowhere/x.warc.gz"):
        with pytest.raises(InputError, match="s3://"):
            find_inputs([url])


def test_an_object_that_changed_is_refused(store: Any):
    store.put_object(Bucket="crawl", Key="c/file.jsonl", Body=b'{"text": "a"}')
    item = find_inputs(["s3://crawl/c/file.jsonl"])[0][0]
    store.put_object(Bucket="crawl", Key="c/file.jsonl", Body=b'{"text": "b"}')
    with pytest.raises(InputError, match=r"file\.jsonl: changed"):
        rows_of(item)
