"""Documents with the same text: one of them stays."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate.column import Mask, View, view
from curate.dedup import clusters
from curate.dedup.clusters import Keep, Kept, Rows
from curate.dedup.shingles import NOTHING, PUNCTUATION, characters, folded
from curate.schema import BOUND, ID, TEXT, VALUE, Batch

REASON = "exact.duplicate"
COPIES = "exact_copies"
HASH = "text_hash"

Normalise = Literal["none", "spaces-case", "words"]


@dataclass(frozen=True)
class Exact:
    """One document of each text, by a 128-bit cryptographic hash of the (normalised) text.

    `normalise`: "none" compares bytes; "spaces-case" ignores case and how much white space there
    is; "words" ignores punctuation and symbols too. Empty texts equal each other. `keep` is the
    longest text, or the first, which is the one with the smallest id; ids decide between equals.

    Columns: `duplicate_of`, the id of the text that stays, for those that go, and `exact_copies`,
    how often the text occurs, for those that stay.
    """

    normalise: Normalise = "none"
    keep: Keep = "longest"

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True

    def survey(self, batch: Batch) -> pa.Table:
        """The hash and the size of every text."""
        texts = view(batch.column(TEXT))
        sizes = np.diff(texts.offsets)
        hashes = pa.array(digests(self._normal(texts)), pa.binary(16))
        return pa.table({ID: batch.column(ID), clusters.SIZE: sizes, HASH: hashes})

    def _normal(self, texts: View) -> View:
        if self.normalise == "none":
            return texts
        removed = PUNCTUATION if self.normalise == "words" else NOTHING
        return View(*folded(texts, characters(), removed))

    def decide(self, surveys: list[Path], gone: list[Mask]) -> list[pa.Table]:
        """All but one of the documents with the same hash go."""
        rows = Rows.alive(surveys, gone)
        order = clusters.priority(rows, self.keep)
        texts = clusters.groups(rows.numbers(HASH, "<u8", 2))
        kept = Kept(clusters.first_of_each(texts, order), np.ones(len(order)))
        copies = kept.copies()[kept.of]
        dropped = kept.dropped()
        columns = {
            VALUE: clusters.only(copies, dropped, pa.float64()),
            BOUND: clusters.only(np.ones(len(order)), dropped, pa.float64()),
            COPIES: clusters.only(copies, ~dropped, pa.int32()),
        }
        return clusters.verdicts(rows, kept, REASON, columns)


def digests(texts: View) -> list[bytes]:
    """A hash of every row, by which nobody can make two texts meet on purpose."""
    data = texts.data.data
    ends = texts.offsets.tolist()
    return [
        hashlib.blake2b(data[start:end], digest_size=16).digest() for start, end in pairwise(ends)
    ]
