import gzip
import random
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.read.encodings import dechunked, decoded
from curate.read.http import Response, content_type, response
from curate.read.settings import Read

PAGE = b"<html><body>hello</body></html>" * 50
HTML = b"Content-Type: text/html; charset=UTF-8\r\n"


def parsed(head: bytes, body: bytes = PAGE, **settings: int) -> Response:
    block = b"HTTP/1.1 200 OK\r\n" + HTML + head + b"\r\n" + body
    return response(memoryview(block), Read(**settings))


def verdict(found: Response) -> str:
    return found.verdict.reason if found.verdict else ""


def chunked(body: bytes, size: int = 100, extension: bytes = b"") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in [*parts, b""])


def bare_deflate(body: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(body) + deflate.flush()


ENCODERS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"GZip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
    b"identity": bytes,
}


def test_a_plain_response_gives_type_charset_and_body():
    assert parsed(b"") == Response("text/html", "utf-8", PAGE)


@pytest.mark.parametrize("name", ENCODERS)
def test_each_content_encoding_is_taken_off(name: bytes):
    assert parsed(b"Content-Encoding: %s\r\n" % name, ENCODERS[name](PAGE)).payload == PAGE


def test_deflate_without_its_wrapper_is_read_too():
    assert parsed(b"Content-Encoding: deflate\r\n", bare_deflate(PAGE)).payload == PAGE


def test_two_gzip_members_are_one_body():
    body = gzip.compress(PAGE[:99]) + gzip.compress(PAGE[99:])
    assert parsed(b"Content-Encoding: gzip\r\n", body).payload == PAGE


def test_two_layers_come_off_in_the_reverse_order():
    body = brotli.compress(gzip.compress(PAGE))
    assert parsed(b"Content-Encoding: gzip, br\r\n", body).payload == PAGE


def test_three_layers_are_refused():
    found = parsed(b"Content-Encoding: gzip, br, gzip\r\n")
    assert verdict(found) == "http.too_many_encodings"
    assert found.verdict.quarantined


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"br", b"zstd", b"x-foo"])
def test_a_page_that_is_not_encoded_as_it_says_is_kept(name: bytes):
    found = parsed(b"Content-Encoding: %s\r\n" % name)
    assert (found.payload, found.notice) == (PAGE, "http.not_encoded")


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"br", b"zstd"])
def test_a_broken_encoding_is_quarantined(name: bytes):
    chance = random.Random(0)
    page = b"".join(b"<p>%d</p>" % chance.randrange(10**6) for _ in range(500))
    whole = ENCODERS[name](page)
    for body in (whole[: len(whole) // 2], whole[:-1], chance.randbytes(300)):
        found = parsed(b"Content-Encoding: %s\r\n" % name, body)
        assert verdict(found) == "http.bad_encoding"
        assert found.verdict.quarantined
        assert found.payload == b""


def test_an_unknown_encoding_of_what_is_no_page_is_quarantined():
    assert verdict(parsed(b"Content-Encoding: x-foo\r\n", b"\x01\x02")) == "http.unknown_encoding"


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"br", b"zstd"])
def test_a_bomb_in_the_body_is_capped(name: bytes):
    body = ENCODERS[name](bytes(5_000_000))
    found = parsed(b"Content-Encoding: %s\r\n" % name, body, max_payload_bytes=1_000_000)
    assert verdict(found) == "http.payload_too_large"


def test_a_bomb_within_a_bomb_is_capped():
    body = gzip.compress(gzip.compress(bytes(5_000_000)))
    head = b"Content-Encoding: gzip, gzip\r\n"
    assert verdict(parsed(head, body, max_payload_bytes=1_000_000)) == "http.payload_too_large"


def test_a_body_over_the_limit_is_quarantined():
    assert verdict(parsed(b"", b"x" * 101, max_payload_bytes=100)) == "http.payload_too_large"
    assert verdict(parsed(b"", b"x" * 100, max_payload_bytes=100)) == ""
    head = b"Transfer-Encoding: chunked\r\n"
    assert verdict(parsed(head, chunked(b"x" * 101), max_payload_bytes=100)) != ""


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_chunks_are_joined(line_end: bytes):
    body = chunked(PAGE).replace(b"\r\n", line_end)
    assert parsed(b"Transfer-Encoding: chunked\r\n", body).payload == PAGE


def test_chunk_extensions_and_trailers_are_left_out():
    body = chunked(PAGE, extension=b";name=value")[:-2] + b"Trailer: x\r\n\r\n"
    assert parsed(b"Transfer-Encoding: chunked\r\n", body).payload == PAGE


def test_a_body_that_is_not_chunked_is_kept_as_it_is():
    found = parsed(b"Transfer-Encoding: chunked\r\n")
    assert (found.payload, found.notice) == (PAGE, "http.not_chunked")


@pytest.mark.parametrize(
    "body",
    [
        chunked(PAGE)[:-5],
        chunked(PAGE)[:550],
        chunked(PAGE)[:530] + b"zz\r\n",
        chunked(PAGE[:500])[:-5] + b"5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_of_broken_chunks_the_good_ones_are_kept(body: bytes):
    found = parsed(b"Transfer-Encoding: chunked\r\n", body)
    assert found.notice == "http.bad_chunk"
    assert found.payload.startswith(PAGE[:500])
    assert PAGE.startswith(found.payload)


def test_chunked_and_compressed_is_both_undone():
    head = b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"
    assert parsed(head, chunked(gzip.compress(PAGE), 7)).payload == PAGE
    assert parsed(b"Transfer-Encoding: gzip, chunked\r\n", chunked(gzip.compress(PAGE))).payload


def test_half_a_million_chunks_are_too_many():
    assert dechunked(b"1\r\nx\r\n" * 500_001).fault == "http.too_many_chunks"


@pytest.mark.parametrize("status", [404, 500, 301, 204, 206, 999])
def test_other_statuses_are_dropped_with_their_number(status: int):
    block = b"HTTP/1.1 %d Nope\r\n" % status + HTML + b"\r\n" + PAGE
    found = response(memoryview(block), Read())
    assert found.verdict == ("http.status", False, float(status), 200.0)


@pytest.mark.parametrize(
    "block",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + HTML + b"\r\n" + PAGE,
        b"HTTP/2 200\r\n" + HTML + b"\r\n" + PAGE,
        b"HTTP/1.0 200\n" + HTML.replace(b"\r", b"") + b"\n" + PAGE,
        b"HTTP/1.0 200 OK\r\n" + HTML + b"\n" + PAGE,
        b"HTTP/1.1 200 OK\r\ncontent-type:text/html;\r\n\tcharset=utf-8\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\nCONTENT-TYPE : Text/HTML ; charset='UTF-8'\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\n" + b"Set-Cookie: a=b\r\n" * 500 + HTML + b"\r\n" + PAGE,
        HTML + b"Server: x\r\n\r\n" + PAGE,
    ],
)
def test_odd_heads_are_understood(block: bytes):
    found = response(memoryview(block), Read())
    assert (found.content_type, found.charset, found.payload) == ("text/html", "utf-8", PAGE)


def test_a_page_without_any_head_is_kept():
    found = response(memoryview(PAGE), Read())
    assert (found.content_type, found.payload, found.notice) == (
        "text/html",
        PAGE,
        "http.no_status",
    )


def test_what_is_no_response_is_quarantined():
    assert verdict(response(memoryview(b"lorem ipsum"), Read())) == "http.bad_status_line"


def test_a_head_without_end_is_quarantined():
    block = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000
    assert verdict(response(memoryview(block), Read())) == "http.header_too_large"


@pytest.mark.parametrize("block", [b"", b"HTTP/1.1 200 OK\r\n" + HTML, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_empty_body_is_dropped(block: bytes):
    found = response(memoryview(block), Read())
    assert found.verdict == ("http.empty", False, None, None)


@pytest.mark.parametrize(
    "media", [b"image/png", b"application/json", b"multipart/related; boundary=x", b"nonsense"]
)
def test_other_types_are_dropped(media: bytes):
    block = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n" % media + PAGE
    assert response(memoryview(block), Read()).verdict == ("http.type", False, None, None)


@pytest.mark.parametrize(
    "body",
    [b"%PDF-1.4 <html>", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"GIF89a/*<html>", b"\xff\xd8\xff"],
)
def test_a_type_that_lies_is_seen_through(body: bytes):
    found = parsed(b"", body + PAGE)
    assert (verdict(found), found.payload) == ("http.type", b"")


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (PAGE, "text/html"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "text/html"),
        (b"hello", "text/plain"),
    ],
)
def test_a_missing_type_is_told_from_the_body(body: bytes, media: str):
    found = response(memoryview(b"HTTP/1.1 200 OK\r\n\r\n" + body), Read())
    assert (found.content_type, found.payload) == (media, body)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ("", "")),
        ("text/html", ("text/html", "")),
        ("Text/HTML; Charset=ISO-8859-1", ("text/html", "iso-8859-1")),
        ('text/html;charset="utf-8"; x=y', ("text/html", "utf-8")),
        ("text/html; charset=", ("text/html", "")),
        ("charset=utf-8", ("charset=utf-8", "")),
        ("text/html; x=1; charset = windows-1252", ("text/html", "windows-1252")),
    ],
)
def test_content_types_are_taken_apart(value: str, expected: tuple[str, str]):
    assert content_type(value) == expected


@given(st.binary(max_size=300), st.integers(1, 50))
def test_dechunking_undoes_chunking(body: bytes, size: int):
    assert dechunked(chunked(body, size)).body == body


@given(st.binary(), st.sampled_from(["gzip", "deflate", "br", "zstd", "x"]), st.integers(0, 500))
def test_no_body_makes_a_decoder_raise_or_exceed_its_limit(body: bytes, name: str, limit: int):
    found = decoded(body, [name], limit)
    assert found.body == body or len(found.body) <= limit


@given(st.binary(max_size=500))
def test_no_block_makes_the_parser_raise(block: bytes):
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n" + HTML + b"\r\n"):
        found = response(memoryview(prefix + block), Read())
        assert (found.verdict is None) == bool(found.payload)
