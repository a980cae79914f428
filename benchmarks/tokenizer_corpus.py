"""Real text for the tokenizer's benchmarks, in three parts: english, multilingual and code.

    python -m benchmarks.tokenizer_corpus [--megabytes 100] [--output FOLDER]

builds ~/.cache/crawl-to-model/benchmarks/tokenizer/SOURCE.parquet once, with the columns `text`,
`language` and `source`: the shared data and Debian's packages of HTML, through our own extraction,
and the source of Linux. Each file is complete when it is there, so that several processes may
build at once and what was cut off goes on. With --output it writes a sample of each part, too.
"""

import argparse
import hashlib
import json
import os
import random
import re
import sys
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.agreement_corpus import (
    HELP,
    SHARED,
    declarations,
    english,
    grouped,
    rows,
    text_of,
    unpacked,
    web,
)
from benchmarks.neardup_corpus import CACHE

FOLDER = CACHE / "tokenizer"
SCHEMA = pa.schema([("text", pa.string()), ("language", pa.string()), ("source", pa.string())])
PARTS = ("english", "multilingual", "code")
MIXED = "multilingual"

# Families of packages whose names end in a language.
FAMILIES = {
    "libreoffice-help-": (*HELP, "dz", "en-gb", "pt", "sk", "zh-tw"),
    "gimp-help-": (
        *("ca", "da", "de", "el", "en", "es", "fi", "fr", "hr", "hu", "it", "ja", "ko", "lt", "nl"),
        *("nn", "pt", "pt-br", "ro", "ru", "sl", "sv", "uk", "zh-cn"),
    ),
    "kicad-doc-": ("de", "en", "es", "fr", "it", "ja", "ru", "zh"),
    "aptitude-doc-": ("en", "es", "fi", "fr", "it", "ja", "nl", "ru"),
    "linuxcnc-doc-": ("de", "en", "es", "fr", "zh-cn"),
    "debian-edu-doc-": ("de", "en", "es", "fr", "it", "ja", "nl", "zh-cn"),
    "debian-reference-": (
        *("de", "en", "es", "fr", "id", "it", "ja", "pt", "pt-br", "zh-cn", "zh-tw"),
    ),
}
LANGUAGES = {
    *("ar", "be", "bg", "bn", "en", "fa", "gu", "he", "kn", "lv", "mk", "ml", "mr", "nb", "ne"),
    *("or", "pa", "sr", "ta", "te", "th"),
    *(language[:2] for family in FAMILIES.values() for language in family),
}
# Packages whose paths tell the language, and those that are English.
MANY = ("debian-handbook", "installation-guide-amd64", "gnome-user-docs", "developers-reference")
ENGLISH = (
    *("linux-doc-6.1", "openjdk-17-doc", "postgresql-doc-15", "python3.11-doc", "llvm-14-doc"),
    *("libboost1.74-doc", "debian-policy", "apache2-doc", "rust-doc", "qtbase5-doc-html"),
    *("sagemath-doc", "python-scipy-doc", "python-pandas-doc", "octave-doc"),
    *("python-django-doc", "python-sympy-doc", "nodejs-doc"),
    *("libgtk-3-doc", "libglib2.0-doc", "python-sklearn-doc", "python-astropy-doc", "racket-doc"),
    *("lilypond-doc", "sumo-doc", "grass-doc", "python-statsmodels-doc", "regina-normal-doc"),
)
MESSAGES = ("mediawiki",)  # what programs say, in JSON, a file for each language
CODE = ("linux-source-6.1",)
CODE_SUFFIXES = (".c", ".h", ".S", ".rs", ".py", ".sh", ".pl", ".dts", ".dtsi", ".rst", ".json")
CODE_BYTES = 400_000_000
LARGEST_BYTES = 1_000_000

_PLACE = re.compile(r"[a-z]{2,3}(?:[-_@]\w+)?")
_SENTENCE = re.compile(r"(?<=[.!?。।])\s+|\n+")
_WORD = re.compile(r"[^\W\d_]{3,}")
# One word in so many is a new one in a copy with edits: about as many as in real text, where
# distinct words grow as the .6th power of all and 100 MB of English have half a million.
NEW_WORDS = 100


class Text(NamedTuple):
    """A document and its language, as its source names it."""

    text: str
    language: str


def shared_english() -> Iterator[Text]:
    """English web text, papers and questions of the shared data."""
    for name in ("web", "docver"):
        for row in rows(SHARED / f"neardup/{name}.docs.jsonl.gz"):
            yield Text(row["text"], "en")
    for one in english():
        yield Text(one.text, "en")


def shared_multilingual() -> Iterator[Text]:
    """Web pages, sentences and declarations of the shared data; pages say no language."""
    tables = SHARED / "multilingual"
    groups = (grouped(tables / "ntrex.tsv.gz", 10), grouped(tables / "lingua.tsv.gz", 20))
    for one in chain(web(), *groups, declarations()):
        yield Text(one.text, one.language or "und")


def language_of(page: Path) -> str:
    """The language that the folders of a page name, the innermost first."""
    named = (part for part in page.parts[:0:-1] if _PLACE.fullmatch(part) and part != "doc")
    known = (part for part in named if part[:2] in LANGUAGES)
    return next(known, "en")[:2]


def pages(package: str, language: str = "") -> Iterator[Text]:
    """Texts of a Debian package's pages."""
    folder = unpacked(package, CACHE)
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".html", ".htm", ".xhtml", ".page") and path.is_file()
    )
    for page in found:
        yield Text(text_of(page.read_bytes()), language or language_of(page.relative_to(folder)))


def messages(package: str) -> Iterator[Text]:
    """The messages of a package in its languages, those of a file one to a line."""
    for path in sorted(unpacked(package, CACHE).rglob("i18n/**/*.json")):
        said = json.loads(path.read_bytes())
        lines = [line for name, line in said.items() if name[:1] != "@" and isinstance(line, str)]
        if path.stem != "qqq":  # notes for translators
            yield Text("\n".join(lines), path.stem)


def code(package: str) -> Iterator[Text]:
    """Files of a package that holds an archive of source, up to a bound."""
    size = 0
    for archive in sorted(unpacked(package, CACHE).rglob("*.tar.*")):
        with tarfile.open(archive, "r|*") as members:
            for member in members:
                if member.isfile() and member.name.endswith(CODE_SUFFIXES):
                    content = members.extractfile(member)
                    text = content.read().decode("utf-8", "replace") if content else ""
                    size += len(text)
                    yield Text(text, "code")
                if size > CODE_BYTES:
                    return


def sources() -> dict[str, Callable[[], Iterator[Text]]]:
    """What the corpus is made of, by name."""
    return {
        "shared-english": shared_english,
        "shared-multilingual": shared_multilingual,
        **{
            family + language: partial(pages, family + language, language[:2])
            for family, languages in FAMILIES.items()
            for language in languages
        },
        **{package: partial(pages, package) for package in MANY},
        **{package: partial(pages, package, "en") for package in ENGLISH},
        **{package: partial(messages, package) for package in MESSAGES},
        **{package: partial(code, package) for package in CODE},
    }


def build(folder: Path = FOLDER) -> list[Path]:
    """Write what is not there yet; the files of all sources that could be had."""
    if not SHARED.is_dir():
        sys.exit(f"{SHARED}: no real documents there; name their folder with CURATE_SHARED")
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in sources().items():
        if not (folder / f"{name}.parquet").is_file():
            write(texts(), name, folder)
    return sorted(folder.glob("*.parquet"))


def write(texts: Iterator[Text], name: str, folder: Path) -> None:
    """Write the documents of a source that are not blank, none of them twice."""
    seen = {
        one.text: one.language
        for one in texts
        if one.text.strip() and len(one.text) <= LARGEST_BYTES
    }
    if not seen:
        print(f"{name}: nothing there; left out", file=sys.stderr)
    columns = [list(seen), list(seen.values()), [name] * len(seen)]
    # Named by the process: two that build the same source do not meet.
    temporary = folder / f"{name}.{os.getpid()}.part"
    pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
    temporary.rename(folder / f"{name}.parquet")


@cache
def part(name: str, folder: Path = FOLDER) -> pa.Table:
    """All documents of a part, in the order of their hashes, with their `bytes`."""
    tables, digests, sizes = [], [], []
    for path in build(folder):
        table = pq.read_table(path)
        mask = [part_of(row) == name for row in table.select(["language", "source"]).to_pylist()]
        tables.append(table.filter(pa.array(mask, pa.bool_())))
        for text in tables[-1]["text"]:
            encoded = text.as_buffer()
            digests.append(hashlib.blake2b(encoded, digest_size=16).digest())
            sizes.append(encoded.size)
    first = dict(zip(reversed(digests), range(len(digests) - 1, -1, -1), strict=True))
    table = pa.concat_tables(tables).append_column("bytes", pa.array(sizes, pa.int64()))
    return table.take(pa.array([row for _, row in sorted(first.items())], pa.int64()))


def part_of(row: dict[str, str]) -> str:
    """The part to which a document belongs."""
    if row["source"] in CODE:
        return "code"
    return "english" if row["language"] == "en" else MIXED


def sample(name: str, megabytes: float) -> pa.Table:
    """So much of a part, of each language (else source) as much, as far as there is.

    Where the part is smaller, copies with edits follow, in `source` called "edited".
    """
    table = part(name)
    wanted = int(megabytes * 1e6)
    sizes = table["bytes"].to_pylist()
    if wanted >= sum(sizes):
        real = table.drop(["bytes"])
        return pa.concat_tables([real, *edited(real, wanted - sum(sizes))])
    kinds = table["language" if name == MIXED else "source"].to_pylist()
    left = shares(kinds, sizes, wanted)
    chosen = []
    for row, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        if left[kind] > 0:
            left[kind] -= size
            chosen.append(row)
    return table.take(pa.array(chosen, pa.int64())).drop(["bytes"])


def shares(kinds: list[str], sizes: list[int], wanted: int) -> dict[str, int]:
    """Bytes of each kind: the same of all, but no more than there are."""
    total: dict[str, int] = defaultdict(int)
    for kind, size in zip(kinds, sizes, strict=True):
        total[kind] += size
    left, given = wanted, {}
    for done, kind in enumerate(sorted(total, key=lambda kind: (total[kind], kind))):
        given[kind] = min(total[kind], left // (len(total) - done))
        left -= given[kind]
    return given


def edited(real: pa.Table, wanted: int) -> Iterator[pa.Table]:
    """Copies of the documents, sentences in another order and some words new."""
    copy = 0
    while wanted > 0 and len(real):
        copy += 1
        texts, languages = [], []
        for row, one in enumerate(real.select(["text", "language"]).to_pylist()):
            if wanted <= 0:
                break
            texts.append(with_edits(one["text"], random.Random(f"{copy}/{row}")))
            languages.append(one["language"])
            wanted -= len(texts[-1].encode())
        yield pa.table([texts, languages, ["edited"] * len(texts)], schema=SCHEMA)


def with_edits(text: str, draw: random.Random) -> str:
    """The sentences in another order; of some words the ends are exchanged for those of others."""
    sentences = _SENTENCE.split(text)
    draw.shuffle(sentences)
    words: list[str] = _WORD.findall(text)

    def changed(found: re.Match[str]) -> str:
        word: str = found[0]
        if draw.randrange(NEW_WORDS):
            return word
        other = draw.choice(words)
        return word[: len(word) // 2 + 1] + other[len(other) // 2 :]

    return _WORD.sub(changed, "\n".join(sentences))


def main() -> None:
    """Build the corpus, say what is in it, and write samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100, help="of each sample")
    parser.add_argument("--output", type=Path, help="a folder for PART.parquet")
    arguments = parser.parse_args()
    for name in PARTS:
        table = part(name)
        size = sum(table["bytes"].to_pylist())
        languages = len(set(table["language"].to_pylist()))
        print(f"{name}: {len(table):,} documents, {size / 1e6:.1f} MB, {languages} languages")
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            pq.write_table(sample(name, arguments.megabytes), arguments.output / f"{name}.parquet")


if __name__ == "__main__":
    main()
