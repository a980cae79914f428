"""Real documents for near-duplicates, and copies of some of them with edits of known kinds.

    python -m benchmarks.neardup_corpus

builds ~/.cache/crawl-to-model/benchmarks/neardup.parquet once: `source` and `text` of real pages
(crawl, documentation, news in 128 languages), of the shared data and of Debian's packages, through
our own extraction. The edits are made anew each time, from a fixed seed.
"""

import argparse
import hashlib
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.agreement_corpus import (
    SHARED,
    declarations,
    english,
    grouped,
    rows,
    text_of,
    unpacked,
    web,
)
from benchmarks.inputs import bodies, default_warcs

CACHE = Path.home() / ".cache" / "crawl-to-model" / "benchmarks"
CORPUS = CACHE / "neardup.parquet"
REAL = 20_000  # documents at least
AS_FOUND = "as found"  # near-duplicates that nobody here made

# Spread evenly over a package's pages. Two versions of LLVM's are near-duplicates by nature, and
# so are the many small pages of Boost's and OpenJDK's references.
PACKAGES = {
    "libreoffice-help-en-us": 2000,
    "libreoffice-help-de": 1500,
    "debian-handbook": 3300,
    "llvm-14-doc": 850,
    "llvm-15-doc": 1050,
    "python3.11-doc": 550,
    "libboost1.74-doc": 3000,
    "linux-doc-6.1": 3200,
    "postgresql-doc-15": 1200,
    "openjdk-17-doc": 3000,
}
SHARED_NAMES = {
    "web": "crawl/realweb.warc.gz",
    "web-all": "crawl/realweb.warc.gz",
    "udhr2": "multilingual/nltk_udhr2.zip",
}
FEWEST_WORDS, LARGEST_BYTES = 20, 200_000
EDITS_OF_A_KIND = 1000

_TOKEN = re.compile(r"\s*\S+")
_SENTENCE = re.compile(r"(?<=[.!?。])\s+")


class Document(NamedTuple):
    """A text, what was done to it, and the number of the document it was made of."""

    id: bytes
    text: str
    kind: str = AS_FOUND
    of: int = -1


def pages(package: str, limit: int) -> Iterator[str]:
    """Texts of a Debian package's pages; one that cannot be had is left out and named."""
    found = sorted(path for path in unpacked(package, CACHE).rglob("*.html") if path.is_file())
    if not found:
        print(f"{package}: no pages; left out", file=sys.stderr)
    for page in found[:: max(len(found) // limit, 1)][:limit]:
        yield text_of(page.read_bytes())


def shared() -> Iterator[tuple[str, str]]:
    """Where a text of the shared data comes from, and the text."""
    for one in chain(web(), english(), declarations()):
        yield SHARED_NAMES.get(one.id.partition("/")[0], one.id.rpartition("/")[0]), one.text
    for name in ("web", "docver"):
        for row in rows(SHARED / f"neardup/{name}.docs.jsonl.gz"):
            yield f"neardup/{name}.docs.jsonl.gz", row["text"]
    for name, size in (("ntrex.tsv.gz", 10), ("lingua.tsv.gz", 20)):
        for one in grouped(SHARED / "multilingual" / name, size):
            yield f"multilingual/{name}", one.text


def sources() -> Iterator[tuple[str, str]]:
    """Where a text comes from, and the text."""
    yield from shared()
    for package, limit in PACKAGES.items():
        for text in pages(package, limit):
            yield f"Debian's {package}", text


def build(target: Path = CORPUS) -> Path:
    """Write the real documents, unless they are there."""
    if target.is_file():
        return target
    if not SHARED.is_dir():
        sys.exit(f"{SHARED}: no real documents there; name their folder with CURATE_SHARED")
    target.parent.mkdir(parents=True, exist_ok=True)
    names, texts, seen = [], [], set()
    for source, text in sources():
        long_enough = len(text.split(None, FEWEST_WORDS)) >= FEWEST_WORDS
        if text in seen or not long_enough or len(text.encode()) > LARGEST_BYTES:
            continue
        seen.add(text)
        names.append(source)
        texts.append(text)
    if len(texts) < REAL:
        sys.exit(f"only {len(texts):,} real documents were found; {REAL:,} are wanted")
    temporary = target.with_suffix(".part")
    pq.write_table(pa.table({"source": names, "text": texts}), temporary, compression="zstd")
    temporary.rename(target)
    return target


def identity(name: str) -> bytes:
    """The id of a document of this name."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def without_tokens(text: str, rate: float, draw: random.Random) -> str:
    """The text without some of its tokens, each of which goes with this probability."""
    return "".join(token for token in _TOKEN.findall(text) if draw.random() >= rate)


def shuffled(text: str, draw: random.Random) -> str:
    """The paragraphs in another order; the sentences of a text of less than three."""
    parts, glue = [part for part in text.split("\n") if part.strip()], "\n"
    if len(parts) < 3:
        parts, glue = _SENTENCE.split(text), " "
    draw.shuffle(parts)
    return glue.join(parts)


def one_word_changed(text: str, draw: random.Random) -> str:
    """Another word in the place of one."""
    tokens = _TOKEN.findall(text)
    tokens[draw.randrange(len(tokens))] = " exchanged"
    return "".join(tokens)


def cut(text: str, share: float) -> str:
    """The first so many of the tokens."""
    tokens = _TOKEN.findall(text)
    return "".join(tokens[: max(round(share * len(tokens)), 1)])


def framed(text: str, frames: Sequence[list[str]], draw: random.Random) -> str:
    """The text between the first and the last tokens of what a real page shows: its menus."""
    frame = draw.choice(frames)
    head, foot = frame[: draw.randint(5, 50)], frame[-draw.randint(5, 50) :]
    return "".join([*head, "\n", text, "\n", *foot])


def frames() -> list[list[str]]:
    """The visible tokens of real pages, menus and footers included."""
    shown = (text_of(body, main=False) for body in chain(*map(bodies, default_warcs())))
    return [tokens for tokens in map(_TOKEN.findall, shown) if len(tokens) >= 100]


Edit = Callable[[str, random.Random], str]


def edits() -> dict[str, Edit]:
    """What is done to documents, by name."""
    menus = frames()
    drops = {
        f"{rate:.0%} of tokens dropped": lambda text, draw, rate=rate: without_tokens(
            text, rate, draw
        )
        for rate in (0.01, 0.02, 0.05, 0.1)
    }
    cuts = {
        f"cut to {share:.0%}": lambda text, _, share=share: cut(text, share)
        for share in (0.95, 0.85, 0.75)
    }
    return {
        **drops,
        "header and footer": lambda text, draw: framed(text, menus, draw),
        "paragraphs shuffled": shuffled,
        "one word changed": one_word_changed,
        **cuts,
    }


def with_edits(real: list[str], of_a_kind: int, seed: int = 1) -> list[Document]:
    """The real documents, and behind them edited copies of some, of each kind so many."""
    documents = [Document(identity(f"real/{i}"), text) for i, text in enumerate(real)]
    chosen = random.Random(seed).sample(range(len(real)), len(real))
    for kind, edit in edits().items():
        for number in [chosen.pop() for _ in range(min(of_a_kind, len(chosen)))]:
            text = edit(real[number], random.Random(f"{seed}/{kind}/{number}"))
            documents.append(Document(identity(f"{kind}/{number}"), text, kind, number))
    return documents


def real_texts(limit: int = 0) -> tuple[list[str], pa.Table]:
    """Texts of real documents (0: all), and of which source how many and how many bytes."""
    table = pq.read_table(build())
    if 0 < limit < len(table):
        table = table.take([i * len(table) // limit for i in range(limit)])
    texts = table.column("text").to_pylist()
    sizes = pa.array([len(text.encode()) for text in texts])
    by_source = table.append_column("bytes", sizes).group_by("source", use_threads=False)
    return texts, by_source.aggregate([("bytes", "count"), ("bytes", "sum")])


def main() -> None:
    """Build the corpus and say what is in it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for row in real_texts()[1].to_pylist():
        print(f"{row['bytes_count']:>8,} {row['bytes_sum'] / 1e6:>8.1f} MB  {row['source']}")


if __name__ == "__main__":
    main()
