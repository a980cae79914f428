"""Words of the normalised text: the way RedPajama-v2 and what follows it look at documents.

A copy in which ASCII punctuation is removed, letters are lower case and decomposed (NFD), and white
space is one space between words. RedPajama also turns newlines into spaces; here they stay, so that
the lines of the copy are its normalised lines. Its words are the same either way.
"""

import string
import unicodedata
from functools import cache

from curate.column import View, view
from curate.index import index
from curate.kernel import Index
from curate.rewrite import Mapping, mapping, rewritten
from curate.schema import Batch

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _replaced(text: str) -> str:
    return unicodedata.normalize("NFD", text.translate(_WITHOUT_PUNCTUATION).lower())


def normalised_text(text: str) -> str:
    """The normalised copy of one text, as the kernel writes it."""
    return "\n".join(" ".join(_replaced(line).split()) for line in text.split("\n"))


@cache
def _mapping() -> Mapping:
    return mapping(_replaced, collapses=True, ordered=True)


def normalised_view(text: View) -> View:
    """The normalised copy of a column of texts."""
    return rewritten(text, _mapping(), normalised_text)


def normalised(batch: Batch, column: str) -> Index:
    """Words are those of the normalised copy, and so are the lines and the text."""
    return index(normalised_view(view(batch.column(column))))
