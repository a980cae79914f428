"""What the benchmarks read: one WARC file for all sides, and the texts of its pages."""

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from pipelines import demo_crawl

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Pages:
    """A WARC file of response records, how many, and the bytes of their bodies."""

    warc: Path
    count: int
    bytes: int


def default_warcs() -> list[Path]:
    """Real web pages where the shared data are, else the demo's crawl, built if need be."""
    shared = Path(os.environ.get("CURATE_SHARED", ROOT.parent / "shared" / "data"))
    web = shared / "crawl" / "realweb.warc.gz"
    if web.is_file():
        return [web]
    crawl = ROOT / "demo" / "crawl"
    if not demo_crawl.complete(demo_crawl.ARCHIVES, crawl):
        demo_crawl.build(demo_crawl.ARCHIVES, crawl)
    return sorted(crawl.glob("*.warc.gz"))


def members(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Each gzip member of a file, packed and unpacked."""
    rest = path.read_bytes()
    while rest:
        reader = zlib.decompressobj(31)
        unpacked = reader.decompress(rest)
        yield rest[: len(rest) - len(reader.unused_data)], unpacked
        rest = reader.unused_data


def chosen(warcs: list[Path], limit: int, target: Path) -> Pages:
    """Up to `limit` pages (0: all), spread evenly over the files, as one WARC file."""
    responses = [
        packed
        for warc in warcs
        for packed, unpacked in members(warc)
        if b"\r\nWARC-Type: response\r\n" in unpacked[:400]
    ]
    if 0 < limit < len(responses):
        responses = [responses[row * len(responses) // limit] for row in range(limit)]
    target.write_bytes(b"".join(responses))
    return Pages(target, len(responses), sum(len(body) for body in bodies(target)))


def bodies(warc: Path) -> Iterator[bytes]:
    """The bodies of the responses in a WARC file."""
    with warc.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response):
            yield record.reader.read()


def write_texts(warc: Path, target: Path) -> tuple[int, int]:
    """Write the main text of each page that has one as JSON lines; returns texts and bytes."""
    count = size = 0
    with target.open("w", encoding="utf-8") as lines:
        for body in bodies(warc):
            html = bytes_to_str(body, detect_encoding(body))
            text = extract_plain_text(html, main_content=True)
            # NeMo Curator divides by zero on an empty text.
            if text.strip():
                lines.write(json.dumps({"text": text}) + "\n")
                count, size = count + 1, size + len(text.encode())
    return count, size
