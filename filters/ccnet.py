"""CCNet's rules for one document: Wenzek et al. 2019, arXiv:1911.00359, sections 3.1 and 3.2.

Dialect: facebookresearch/cc_net at commit bda555b, dedup.py and text_normalizer.py. A line is what
newlines separate; two are the same if their normalised forms are. That a line seen in another
document goes from all of them is for a step over the corpus; `line_keys` is what it compares. The
source also leaves out a page's first line as its title, and strips lines: it reads WET files.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from curate.kernel import Document
from curate.schema import TEXT, Batch
from curate.signal import signal
from curate.stage import with_column

_PUNCTUATION = "，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％►"
_CONTROLS = "".join(map(chr, (*range(32), *range(127, 160))))
_REMOVED = re.compile(f"[{_PUNCTUATION}{_CONTROLS}]")
_DIGIT = re.compile(r"\d")


@signal(low=300)
def length(document: Document) -> float:
    """Characters."""
    return float(document.characters)


def normalised_line(line: str) -> str:
    """The form in which lines are compared: lower case, digits 0, no wide punctuation, no controls.

    Accents and ASCII punctuation stay.
    """
    return _REMOVED.sub("", _DIGIT.sub("0", line.strip().lower()))


def line_key(line: str) -> int:
    """The first 64 bits of the SHA-1 of a normalised line, as CCNet's hash files hold them."""
    digest = hashlib.sha1(normalised_line(line).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little")


def line_keys(text: str) -> list[int]:
    """The keys of all lines of a text, blank ones too."""
    return [line_key(line) for line in text.split("\n")]


def without_repeated_lines(text: str) -> str:
    """The text with the first of its lines that are the same."""
    first: dict[str, str] = {}
    for line in text.split("\n"):
        first.setdefault(normalised_line(line), line)
    return "\n".join(first.values())


@dataclass(frozen=True)
class Lines:
    """Rewrites the text to the first of each of its lines."""

    ignores_language: ClassVar = True

    def __call__(self, batch: Batch) -> Batch:
        texts = batch.column(TEXT).to_pylist()
        written = [None if text is None else without_repeated_lines(text) for text in texts]
        return with_column(batch, TEXT, pa.array(written, pa.string()))
