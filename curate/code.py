"""A digest of the code that made a piece of work, so that other code does not use it again."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

# Libraries whose version can change what is written.
LIBRARIES = (
    "numpy",
    "numba",
    "pyarrow",
    "regex",
    "resiliparse",
    "fasttext-community",
    "kenlm-ex",
    "scipy",
    "sentencepiece",
    "zstandard",
)
PACKAGES = ("curate", "filters", "tokenizer")
TRAINER = ("trainer",)


@cache
def code(packages: tuple[str, ...] = PACKAGES) -> str:
    """A digest of our sources and of the versions of the libraries that shape the output."""
    key = hashlib.sha256()
    root = Path(__file__).parent.parent
    for package in packages:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".txt", ".tsv"):
                key.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    for library in LIBRARIES:
        key.update(f"{library}={version(library)}\n".encode())
    return key.hexdigest()
