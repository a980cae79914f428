"""Documents on which every dialect must agree with its original: real ones and hostile ones.

    python -m benchmarks.agreement_corpus

builds .venv-peers/cache/agreement.jsonl.gz once: a line a document with `id`, `language` (empty
where nobody said) and `text`. Real ones come from the shared data and from Debian's packages of
HTML, through our own extraction; hostile ones are made here.
"""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from resiliparse.parse.encoding import detect_encoding

from benchmarks import agreement_hostile
from benchmarks.inputs import ROOT, bodies
from curate.read.charset import Utf8Count, clean, to_utf8
from curate.read.child import everything, main_content

SHARED = Path(os.environ.get("CURATE_SHARED", ROOT.parent / "shared" / "data"))
CACHE = ROOT / ".venv-peers" / "cache"
CORPUS = CACHE / "agreement.jsonl.gz"
REAL = 10_000  # documents at least, of
LANGUAGES = 20  # at least

HELP = (
    *("ca", "cs", "da", "de", "el", "en-us", "es", "et", "eu", "fi", "fr", "gl", "hi", "hu", "id"),
    *("it", "ja", "km", "ko", "nl", "om", "pl", "pt-br", "ru", "sl", "sv", "tr", "vi", "zh-cn"),
)
PAGES = 130  # of each language of LibreOffice's help
# Debian's packages by languages; the guides hold many, named in the paths of their pages.
PACKAGES = {f"libreoffice-help-{language}": language for language in HELP} | {
    "debian-handbook": "",
    "installation-guide-amd64": "",
}


class Text(NamedTuple):
    """One document, by an identity that stays the same from build to build."""

    id: str
    language: str
    text: str


def text_of(page: bytes, *, main: bool = True) -> str:
    """The text of a page, as our own extraction finds it."""
    codec = detect_encoding(page)
    html = to_utf8(page, codec if codec.isascii() else "utf-8", Utf8Count(1, 0))
    return clean((main_content if main else everything)(html).encode()).decode()


def web() -> Iterator[Text]:
    """The main content of real pages, and of every third one all that is visible."""
    for number, body in enumerate(bodies(SHARED / "crawl" / "realweb.warc.gz")):
        yield Text(f"web/{number}", "", text_of(body))
        if number % 3 == 0:
            yield Text(f"web-all/{number}", "", text_of(body, main=False))


def rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a JSONL file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def english() -> Iterator[Text]:
    """Documents that the shared data hold as JSONL."""
    for path, key, limit in (
        ("neardup/web.docs.jsonl.gz", "text", 1100),
        ("neardup/docver.docs.jsonl.gz", "text", 250),
        ("quality/dclm_agreement_data.jsonl", "text", 1000),
        ("quality/dclm_majority_data.jsonl", "text", 1000),
        ("sources/data-juicer_process_code_data__stack_exchange.jsonl", "text", 100),
        ("sources/llama-factory_c4_demo.jsonl", "text", 300),
        ("sources/dsir_toy_pile_data.jsonl", "contents", 1000),
    ):
        for number, row in enumerate(islice(rows(SHARED / path), limit)):
            yield Text(f"{path}/{number}", "en", row[key])


def grouped(path: Path, size: int) -> Iterator[Text]:
    """Sentences of a table of languages, so many to a document; every other one is in lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        sentences: dict[str, list[str]] = {}
        for line in lines:
            language, kind, sentence = line.rstrip("\n").split("\t", 2)
            if kind.isdigit() or kind == "sentences":
                sentences.setdefault(language, []).append(sentence)
    for language, every in sentences.items():
        code = language.rpartition(".")[2][:3]
        for number, first in enumerate(range(0, len(every), size)):
            joined = "\n "[number % 2].join(every[first : first + size])
            yield Text(f"{path.name}/{language}/{number}", code, joined)


def declarations() -> Iterator[Text]:
    """The Universal Declaration of Human Rights in its languages."""
    with zipfile.ZipFile(SHARED / "multilingual" / "nltk_udhr2.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".txt"):
                text = archive.read(name).decode("utf-8", "replace")
                yield Text(name, Path(name).stem.partition("_")[0], text[:8000])


def unpacked(package: str, cache: Path = CACHE) -> Path:
    """The folder of a Debian package, downloaded and unpacked if it is not there; may be empty."""
    folder = cache / "debian" / package
    if not folder.is_dir():
        temporary = folder.with_suffix(".part")
        temporary.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["apt-get", "download", "-q", package], cwd=temporary, capture_output=True, check=False
        )
        for archive in sorted(temporary.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", archive, temporary], check=True)
            archive.unlink()
        temporary.rename(folder)
    return folder


def debian() -> Iterator[Text]:
    """Pages of Debian's packages, spread evenly; what cannot be had is left out and named."""
    for package, language in PACKAGES.items():
        folder = unpacked(package)
        pages = sorted(path for path in folder.rglob("*.html") if path.is_file())
        if not pages:
            print(f"{package}: no pages; left out", file=sys.stderr)
        limit = PAGES if language else 3 * PAGES
        for page in pages[:: max(len(pages) // limit, 1)][:limit]:
            name = str(page.relative_to(folder))
            code = language or next(iter(part for part in page.parts[::-1] if part[2:3] == "-"), "")
            yield Text(f"{package}/{name}", code[:2], text_of(page.read_bytes()))


def real() -> Iterator[Text]:
    """All real documents."""
    yield from web()
    yield from english()
    yield from grouped(SHARED / "multilingual" / "ntrex.tsv.gz", 10)
    yield from grouped(SHARED / "multilingual" / "lingua.tsv.gz", 20)
    yield from declarations()
    yield from debian()


def build(target: Path = CORPUS) -> Path:
    """Write the corpus, unless it is there."""
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    languages: dict[str, int] = {}
    found, size = 0, 0
    temporary = target.with_suffix(".part")
    with gzip.open(temporary, "wt", encoding="utf-8", compresslevel=6) as lines:
        for one in real():
            if not one.text.strip() or one.text in seen:
                continue
            seen.add(one.text)
            found, size = found + 1, size + len(one.text.encode())
            languages[one.language] = languages.get(one.language, 0) + 1
            lines.write(json.dumps(one._asdict(), ensure_ascii=False) + "\n")
        hostile = list(agreement_hostile.texts())
        for name, text in hostile:
            made = Text(f"{agreement_hostile.MARK}/{name}", "", text)
            lines.write(json.dumps(made._asdict()) + "\n")
    languages.pop("", None)
    print(
        f"{found} real documents in {len(languages)} languages ({size / 1e6:.1f} MB) and "
        f"{len(hostile)} hostile ones in {target}",
        file=sys.stderr,
    )
    if found < REAL or len(languages) < LANGUAGES:
        sys.exit(f"too few: {REAL} documents in {LANGUAGES} languages are wanted")
    temporary.rename(target)
    return target


def corpus() -> list[Text]:
    """All documents, built if need be."""
    with gzip.open(build(), "rt", encoding="utf-8") as lines:
        return [Text(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    build()
