"""How an importance model is made: two corpora, counted batch by batch into buckets.

Sums do not depend on order, so that the same documents give the same bytes.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from curate.column import Positions
from curate.errors import InputError, RecipeError
from curate.schema import TEXT
from curate.store import describe, write_atomic
from filters.classifier_data import column, record_batches
from filters.importance import CARD, COUNTS, counted, weights

SIDES = ("target", "source")
MOST_BUCKETS = 1 << 28
Advance = Callable[[dict[str, int]], None]


@dataclass(frozen=True)
class Settings:
    """How corpora are counted; RedPajama's buckets are the default."""

    buckets: int = 10_000
    language: str = ""  # of both corpora: en; only noted, and checked for models by language
    text_column: str = TEXT

    def __post_init__(self) -> None:
        if not 1 < self.buckets <= MOST_BUCKETS:
            raise RecipeError(f"buckets: {self.buckets}; write 2 to {MOST_BUCKETS}")


@dataclass(frozen=True)
class Corpus:
    """A corpus, counted."""

    counts: Positions  # by bucket
    files: list[dict[str, Any]]  # what each gave

    def total(self, what: str) -> int:
        """How many documents, or words, all files have."""
        return sum(file[what] for file in self.files)


def count(paths: list[Path], settings: Settings, advance: Advance) -> Corpus:
    """Count files of documents; those without text (null, not empty) are left out."""
    counts = np.zeros(settings.buckets, np.int64)
    files = []
    for path in paths:
        documents, words = 0, 0
        for batch in record_batches(path):
            texts = column(batch, settings.text_column, path)
            texts = texts.filter(texts.is_valid())
            words += counted(texts, counts)
            documents += len(texts)
            size = int(pc.sum(pc.binary_length(texts)).as_py() or 0)
            advance({"documents": len(texts), "kept": len(texts), "bytes": size})
        files.append({"file": path.name, **describe(path), "documents": documents, "words": words})
    return Corpus(counts, sorted(files, key=lambda file: (file["file"], file["sha256"])))


def write(corpora: dict[str, Corpus], settings: Settings, output: Path) -> dict[str, Any]:
    """Write the counts and the card of both SIDES to a folder, and return the card."""
    for side, corpus in corpora.items():
        if not corpus.total("words"):
            raise InputError(
                f"--{side}: no words in its {corpus.total('documents')} documents; give others, "
                "or name their --text-column"
            )
    target, source = ({file["sha256"] for file in corpora[side].files} for side in SIDES)
    if target == source:
        raise InputError("--target and --source are the same files: nothing would weigh anything")
    counts = np.stack([corpora[side].counts for side in SIDES])
    output.mkdir(parents=True, exist_ok=True)
    (output / CARD).unlink(missing_ok=True)  # it is about the counts before
    file = io.BytesIO()
    np.save(file, counts, allow_pickle=False)
    write_atomic(output / COUNTS, file.getvalue())
    card = {
        "model": {"file": COUNTS, **describe(output / COUNTS)},
        "features": "words and pairs of words, cut as by NLTK's WordPunctTokenizer",
        "buckets": settings.buckets,
        "language": settings.language,
        **{side: _described(corpora[side], counts) for side in SIDES},
    }
    text = json.dumps(card, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomic(output / CARD, text.encode())
    return card


def _described(corpus: Corpus, counts: Positions) -> dict[str, Any]:
    # Rounded, for logarithms differ in the last place from one processor to the next.
    mean = round(float(np.inner(corpus.counts, weights(counts)) / corpus.counts.sum()), 6)
    return {
        "documents": corpus.total("documents"),
        "words": corpus.total("words"),
        "mean_weight": mean,  # of a word or pair: above 0 for the target, below for the source
        "files": corpus.files,
    }
