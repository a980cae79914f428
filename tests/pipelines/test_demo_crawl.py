import base64
import hashlib
import io
import tarfile
import zlib
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from curate.errors import InputError
from pipelines.demo_crawl import ARCHIVES, Archive, build, complete, download, pack, pages, response

PAGE = b"<html><head><meta charset='UTF-8'></head><body><p>Caf\xc3\xa9</p></body></html>"
SETUP = b"raise SystemExit('build code of the archive was run')"
PKG_INFO = b"Metadata-Version: 2.1\nName: quiet-docs\nVersion: 1.0\n"


def sdist(files: dict[str, bytes], title: str = "quiet_docs-1.0") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, body in files.items():
            member = tarfile.TarInfo(f"{title}/{path}")
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


FILES = {
    "PKG-INFO": PKG_INFO,
    "setup.py": SETUP,
    "docs/b.html": PAGE,
    "docs/a.htm": b"<p>no charset",
    "docs/한글 page.html": PAGE,
    "docs/style.css": b"p {}",
    "other/c.html": PAGE,
}


def archive(files: bytes) -> Archive:
    return Archive("quiet_docs", "1.0", hashlib.sha256(files).hexdigest(), "MIT", ("docs/",))


def packed(files: bytes) -> bytes:
    target = io.BytesIO()
    assert pack(archive(files), io.BytesIO(files), target) == 3
    return target.getvalue()


def test_only_html_below_the_named_folders_is_a_page_in_order_of_path():
    found = pages(archive(b""), io.BytesIO(sdist(FILES)))
    assert [path for path, _ in found] == ["docs/a.htm", "docs/b.html", "docs/한글 page.html"]


def test_the_same_pages_make_the_same_bytes_whatever_their_order_in_the_archive():
    shuffled = dict(reversed(FILES.items()))
    one, other = io.BytesIO(), io.BytesIO()
    pack(archive(b""), io.BytesIO(sdist(FILES)), one)
    pack(archive(b""), io.BytesIO(sdist(shuffled)), other)
    assert one.getvalue() == other.getvalue()


def test_fastwarc_reads_the_records_and_finds_every_digest_right():
    records = [
        (one.record_type, one.verify_block_digest(), one.headers.get("WARC-Target-URI"))
        for one in ArchiveIterator(io.BytesIO(packed(sdist(FILES))), parse_http=False)
    ]
    kinds = [kind for kind, _, _ in records]
    pair = [WarcRecordType.request, WarcRecordType.response]
    assert kinds == [WarcRecordType.warcinfo, *pair * 3]
    assert all(right for _, right, _ in records)
    assert records[-1][2] == ("https://quiet-docs.example/1.0/docs/%ED%95%9C%EA%B8%80%20page.html")


def test_a_response_gives_back_the_page_and_the_digest_of_it():
    responses = [
        (one.headers["WARC-Payload-Digest"], one.http_content_type, one.reader.read())
        for one in ArchiveIterator(
            io.BytesIO(packed(sdist(FILES))), record_types=WarcRecordType.response
        )
    ]
    sha1 = base64.b32encode(hashlib.sha1(PAGE).digest()).decode()
    assert responses[1] == (f"sha1:{sha1}", "text/html", PAGE)


def test_every_record_is_a_gzip_member_of_its_own():
    data, members = packed(sdist(FILES)), 0
    while data:
        reader = zlib.decompressobj(31)
        assert reader.decompress(data).startswith(b"WARC/1.0\r\n")
        data, members = reader.unused_data, members + 1
    assert members == 1 + 2 * 3


def test_the_http_header_names_the_charset_that_the_page_declares_and_no_other():
    assert b"Content-Type: text/html; charset=utf-8\r\n" in response(PAGE)
    assert b"Content-Type: text/html\r\n" in response(b"<p>none declared")
    old = b'<META http-equiv="Content-Type" content="text/html; charset=ISO-8859-1">'
    assert b"charset=iso-8859-1\r\n" in response(old)


def offline(folder: Path) -> tuple[str, ...]:
    return ("--no-index", "--find-links", str(folder))


def test_an_archive_with_another_hash_is_refused(tmp_path, capfd):
    (tmp_path / "quiet_docs-1.0.tar.gz").write_bytes(sdist(FILES))
    with pytest.raises(InputError, match="could not download quiet_docs"):
        download(archive(b"other bytes"), tmp_path / "fetched", offline(tmp_path))
    assert "HASHES" in capfd.readouterr().err


def test_a_crawl_is_built_without_running_build_code_and_complete_until_a_file_changes(tmp_path):
    files = sdist(FILES)
    (tmp_path / "quiet_docs-1.0.tar.gz").write_bytes(files)
    crawl, wanted = tmp_path / "crawl", (archive(files),)
    assert not complete(wanted, crawl)
    assert build(wanted, crawl, offline(tmp_path)) == 3
    assert complete(wanted, crawl)
    (crawl / "quiet_docs-1.0.warc.gz").write_bytes(b"")
    assert not complete(wanted, crawl)


def test_every_archive_of_the_demo_is_pinned_and_has_its_licence():
    assert all(len(bytes.fromhex(one.sha256)) == 32 and one.licence for one in ARCHIVES)
    assert len({one.title for one in ARCHIVES}) == len(ARCHIVES)
