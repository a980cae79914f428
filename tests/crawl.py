"""A small crawl for tests: pages that filters keep, pages that they drop, copies, damage."""

import gzip
import hashlib
import random
from pathlib import Path

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "that",
    "have",
    "with",
    "be",
    "for",
    "is",
    "on",
    "this",
    "are",
    "from",
    "river",
    "morning",
    "engine",
    "letter",
    "garden",
    "history",
    "machine",
    "paper",
    "music",
    "winter",
    "answer",
    "question",
    "kitchen",
    "market",
    "island",
    "journey",
    "doctor",
    "window",
    "village",
    "science",
    "forest",
    "station",
    "theatre",
    "bridge",
    "captain",
    "weather",
    "lesson",
    "picture",
    "harbour",
    "mountain",
    "company",
    "student",
    "memory",
    "silver",
    "summer",
    "evening",
    "building",
    "language",
    "country",
]


def sentence(random_: random.Random) -> str:
    """Words in a random order, with a capital and a full stop."""
    words = random_.choices(WORDS, k=random_.randint(8, 18))
    return " ".join(words).capitalize() + "."


def page(seed: int, paragraphs: int = 8) -> str:
    """An HTML page of a few paragraphs; the same seed gives the same page."""
    random_ = random.Random(seed)
    texts = [" ".join(sentence(random_) for _ in range(5)) for _ in range(paragraphs)]
    if seed % 5 == 0:
        texts.append(f"Write to user{seed}@example.org or call +1 212 555 0{seed % 900 + 100}.")
    body = "".join(f"<p>{text}</p>" for text in texts)
    return (
        f"<html><head><title>Page {seed}</title></head><body><nav><a href='/'>home</a></nav>"
        f"<article><h1>Page {seed}</h1>{body}</article></body></html>"
    )


def record(kind: str, url: str, block: bytes, content_type: str) -> bytes:
    """One WARC record."""
    name = hashlib.sha1(kind.encode() + url.encode()).hexdigest()
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:sha1:{name}>\r\n"
        f"WARC-Date: 2024-05-01T00:00:00Z\r\nWARC-Target-URI: {url}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def response(url: str, html: str, status: str = "200 OK") -> bytes:
    """A response record with HTTP headers."""
    body = html.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return record("response", url, head.encode() + body, "application/http; msgtype=response")


def member(content: bytes) -> bytes:
    """A gzip member, the same for the same content."""
    return gzip.compress(content, mtime=0)


def write_crawl(folder: Path, files: int, pages: int, *, damage: bool = True) -> list[Path]:
    """`files` WARC files of `pages` pages each: unique, copied, nearly copied, short, missing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(files):
        members = [member(record("warcinfo", "", b"software: test\r\n", "application/warc-fields"))]
        for index in range(pages):
            seed = number * pages + index
            url = f"https://site{number}.example/page/{seed}"
            html = page(seed)
            if index % 7 == 3:
                html = page(seed // 2)  # a copy of another page
            if index % 7 == 5:
                html = page(seed - 1).replace("river", "stream", 1)  # nearly a copy
            if index % 11 == 4:
                html = page(seed, paragraphs=0)  # too short
            status = "404 Not Found" if index % 13 == 6 else "200 OK"
            members.append(member(response(url, html, status)))
        if damage and number % 3 == 1:
            middle = bytearray(members[len(members) // 2])
            middle[len(middle) // 2] ^= 0xFF
            members[len(members) // 2] = bytes(middle)
        path = folder / f"crawl-{number:02d}.warc.gz"
        path.write_bytes(b"".join(members))
        paths.append(path)
    return paths
