"""Words and punctuation apart, as NLTK's WordPunctTokenizer cuts texts."""

import numpy as np

from curate.column import Offsets, View, view
from curate.index import WordPlaces, index
from curate.kernel import Index, helper
from curate.properties import is_word
from curate.schema import Batch
from curate.utf8 import code_point, may_be_space, space_size

_SPACE, _WORD, _SIGN = 0, 1, 2


@helper
def _cut(text: View, starts: Offsets, ends: Offsets, offsets: Offsets) -> None:
    """Write where the runs of characters of words, and of others but white space, lie."""
    count = 0
    for row in range(len(offsets) - 1):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        at, end, before = 0, len(own), _SPACE
        while at < end:
            byte = int(own[at])
            code = byte if byte < 0x80 else code_point(own, at, end)
            size = space_size(own, at, end) if may_be_space(own[at]) else 0
            kind = _SPACE if size > 0 else (_WORD if is_word(code) else _SIGN)
            if kind != before:
                ends[count] = at
                count += before != _SPACE
                starts[count] = at
            before = kind
            at += size if size > 0 else 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
        ends[count] = min(at, end)
        count += before != _SPACE
        offsets[row + 1] = count


def wordpunct(batch: Batch, column: str) -> Index:
    r"""Words are what `\w+|[^\w\s]+` matches: "isn't" is three."""
    text = view(batch.column(column))
    size = int(text.offsets[-1]) - int(text.offsets[0]) + 1
    starts, ends = np.empty(size, np.int32), np.empty(size, np.int32)
    offsets = np.zeros(len(text.offsets), np.int32)
    _cut(text, starts, ends, offsets)
    return index(text, WordPlaces(starts[: offsets[-1]], ends[: offsets[-1]], offsets))
