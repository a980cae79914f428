"""Documents with nearly the same text: MinHash over word n-grams, banded, and then verified."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curate.column import Mask, view
from curate.dedup import clusters
from curate.dedup.clusters import Keep, Kept, Rows
from curate.dedup.shingles import CHECKS, sketches, workspace
from curate.errors import RecipeError
from curate.schema import BOUND, ID, TEXT, VALUE, Batch

REASON = "minhash.duplicate"
CLUSTER = "cluster_size"
BANDS = "bands"
CHECK = "checks"

# Bands and rows as published, all over word 5-grams; hashes and normalisation are our own.
# NeMo Curator's 20 x 13 is over 24 characters, which this file does not cut.
PRESETS = {"fineweb": (14, 8), "dclm": (93, 15), "refinedweb": (450, 20), "olmo3": (26, 11)}

# Every worker holds so many hashes, and so many words; published settings need 9,000 and 5.
MOST_HASHES, LONGEST_NGRAM = 65_536, 1_000


@dataclass(frozen=True)
class MinHash:
    """Of documents with nearly the same set of word n-grams one stays.

    Two documents of Jaccard similarity J become candidates with the probability
    1 - (1 - J**rows)**bands. In the order of `keep` (the longest, or the first, which is the
    smallest id; ids decide between equals), a document goes if it is similar enough to a
    candidate that stays: `verify` is the least Jaccard similarity, estimated from 512 checks
    that the bands do not use, with a standard deviation of at most .022 (at J = .5; .020 at .7 and
    .8). A chain of pairs can therefore not remove what does not resemble a document that stays.
    With `verify: null` one document stays of all that are linked, as other systems do.

    A document of fewer than `ngram` words has no signature and is nobody's duplicate; empty ones
    and short copies are for exact.Exact. Words: see curate/dedup/shingles.py.

    Columns: `duplicate_of`, the id of the document that stays, for those that go, and
    `cluster_size`, how many documents it stands for, for those that stay. VALUE is the estimated
    similarity to the document that stays.
    """

    ngram: int = 5
    bands: int = 14
    rows: int = 8
    seed: int = 1
    verify: float | None = 0.7
    keep: Keep = "longest"

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        for name in ("ngram", "bands", "rows"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; at least 1")
        if self.bands * self.rows > MOST_HASHES:
            raise RecipeError(f"bands * rows is {self.bands * self.rows}; at most {MOST_HASHES}")
        if self.ngram > LONGEST_NGRAM:
            raise RecipeError(f"ngram is {self.ngram}; at most {LONGEST_NGRAM}")
        if self.verify is not None and not 0 <= self.verify <= 1:
            raise RecipeError(f"verify is {self.verify}; from 0 to 1, or null")

    def survey(self, batch: Batch) -> pa.Table:
        """The size, a key per band and the checks of every document; no text."""
        texts = view(batch.column(TEXT))
        keys = np.zeros((batch.num_rows, self.bands), np.uint64)
        checks = np.zeros((batch.num_rows, CHECKS // 2), np.uint8)
        space = workspace(self.bands * self.rows, self.ngram, self.seed)
        signed = sketches(texts, keys, checks, self.rows, space) > 0
        return pa.table(
            {
                ID: batch.column(ID),
                clusters.SIZE: np.diff(texts.offsets),
                BANDS: clusters.binaries(keys, signed),
                CHECK: clusters.binaries(checks, signed),
            }
        )

    def decide(self, surveys: list[Path], gone: list[Mask]) -> list[pa.Table]:
        """Every document that is too much like one that stays goes."""
        rows = Rows.alive(surveys, gone)
        kept = self._kept(rows)
        dropped = kept.dropped()
        bound = np.full(len(dropped), np.nan if self.verify is None else self.verify)
        columns = {
            VALUE: clusters.only(kept.similarity, dropped, pa.float64()),
            BOUND: clusters.only(bound, dropped & ~np.isnan(bound), pa.float64()),
            CLUSTER: clusters.only(kept.copies(), ~dropped, pa.int32()),
        }
        return clusters.verdicts(rows, kept, REASON, columns)

    def _kept(self, rows: Rows) -> Kept:
        signed = rows.valid(BANDS)
        places = clusters.band_buckets(rows.some(signed).numbers(BANDS, "<u8", self.bands))
        linked = (places != clusters.NOWHERE).any(axis=1)
        index = np.flatnonzero(signed)[linked]
        chosen = np.zeros(rows.count(), np.bool_)
        chosen[index] = True
        # Checks are read for candidates only: they are most of a survey.
        candidates = rows.some(chosen)
        checks = candidates.numbers(CHECK, "<u8", CHECKS // 16)
        order = clusters.priority(candidates, self.keep)
        if self.verify is None:
            found = clusters.unverified(order, places[linked], checks)
        else:
            found = clusters.verified(order, places[linked], checks, self.verify)
        of = np.arange(rows.count())
        of[index] = index[found.of]
        similarity = np.ones(rows.count())
        similarity[index] = found.similarity
        return Kept(of, similarity)
