"""The near-duplicate stage as the benchmarks ask for it, and what it decides about documents."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Hashes, Mask, Positions
from curate.dedup.leaders import similarity
from curate.dedup.minhash import PRESETS, MinHash
from curate.schema import DROPPED_BY, ID, TEXT
from curate.survey import decided

__all__ = ["CHECKS_COLUMN", "CODES", "similarity"]

Verify = Literal["text", "sketch", "none"]
CHECKS_COLUMN = "checks"  # of a survey: four bits each
CODES = 15  # values of a check that is not empty
BATCH = 1000  # documents


def preset(name: str) -> tuple[int, int]:
    """Bands and rows of a preset of word 5-grams."""
    bands, rows = tuple(PRESETS[name])[:2]
    return bands, rows


def settings(
    bands: int, rows: int, verify: Verify, similarity: float = 0.7, ngram: int = 5
) -> dict[str, Any]:
    """The stage's keys in a recipe."""
    banding = {"bands": bands, "rows": rows, "ngram": ngram}
    return {**banding, "verify": verify, "similarity": similarity}


class Shards(NamedTuple):
    """Documents in files: their texts, and what a stage surveyed of them."""

    texts: list[Path]
    surveys: list[Path]
    rows: list[int]
    seconds: float  # that the survey took


class Verdict(NamedTuple):
    """For every document whether it goes, and the number of the one that stays in its place."""

    gone: Mask
    of: Positions
    seconds: float


def batches(ids: Sequence[bytes], texts: Sequence[str]) -> list[pa.RecordBatch]:
    """The documents in batches of a size that runs have."""
    return [
        pa.RecordBatch.from_arrays(
            [
                pa.array(ids[start : start + BATCH], pa.binary(16)),
                pa.array(texts[start : start + BATCH], pa.string()),
            ],
            [ID, TEXT],
        )
        for start in range(0, len(ids), BATCH)
    ]


def surveyed(stage: MinHash, documents: list[pa.RecordBatch], folder: Path) -> Shards:
    """The documents in a few shards, and their surveys beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    stage.survey(documents[0].slice(0, 1))  # compiles
    texts: list[Path] = []
    surveys: list[Path] = []
    rows, spent = [], 0.0
    for first in range(0, len(documents), 10):
        mine = documents[first : first + 10]
        started = time.process_time()
        tables = [stage.survey(batch) for batch in mine]
        spent += time.process_time() - started
        texts.append(folder / f"texts-{len(texts)}.parquet")
        surveys.append(folder / f"survey-{len(surveys)}.parquet")
        pq.write_table(pa.Table.from_batches(mine), texts[-1])
        pq.write_table(pa.concat_tables(tables), surveys[-1])
        rows.append(sum(batch.num_rows for batch in mine))
    return Shards(texts, surveys, rows, spent)


def verdict(stage: MinHash, shards: Shards, ids: Sequence[bytes]) -> Verdict:
    """What the stage decides about all documents."""
    gone = [np.zeros(rows, np.bool_) for rows in shards.rows]
    started = time.process_time()
    tables = decided(stage, shards.surveys, gone, shards.texts)
    spent = time.process_time() - started
    table = pa.concat_tables([one.select([DROPPED_BY, "duplicate_of"]) for one in tables])
    dropped = table.column(DROPPED_BY).is_valid().to_numpy()
    places = {identity: place for place, identity in enumerate(ids)}
    of = np.arange(len(ids))
    named = table.column("duplicate_of").to_pylist()
    for place in np.flatnonzero(dropped).tolist():
        of[place] = places[named[place]]
    return Verdict(dropped, of, spent)


def checks(shards: Shards) -> tuple[Hashes, Mask]:
    """The checks of all documents as the stage stores them, and which have any."""
    tables = [pq.read_table(path, columns=[CHECKS_COLUMN]) for path in shards.surveys]
    column = pa.concat_tables(tables).column(0).combine_chunks()
    raw: NDArray[np.uint8] = np.frombuffer(column.buffers()[1], np.uint8)
    rows = raw.view(np.uint64).reshape(len(column), -1)
    return rows, column.is_valid().to_numpy(zero_copy_only=False)
