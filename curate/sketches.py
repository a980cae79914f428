"""The tables of a survey that a finished run has left in its work folder, and whose rows they are.

A table is taken only if it is surely the one that the run decided from: it lies, whole, in a piece
that the run published from, its stage and all before it had the same settings, and all tables
together hold exactly the documents that reached the survey.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.column import Positions
from curate.passes import lineage
from curate.store import matches, unsealed
from curate.stored import Stored

DROPPED = "dropped.parquet"
KEPT = "kept.parquet"  # beside a survey's table: its documents, row for row


class Sketches(NamedTuple):
    """The survey's tables and, for each, the places of its documents among all of the run."""

    paths: list[Path]
    rows: list[Positions]


def sketches(run: Stored, place: int) -> Sketches | None:
    """What the survey at this place of the run made of the documents; None if it is not there."""
    found = dict(_tables(run, lineage(run.recipe, place)))
    ids = run.ids().combine_chunks()
    taken = np.zeros(run.count, np.bool_)
    rows = []
    for _, path in sorted(found.items()):
        own = pq.read_table(path, columns=[schema.ID]).column(0).cast(pa.binary(16))
        where = pc.index_in(own.combine_chunks(), value_set=ids)
        if where.null_count or taken[where.to_numpy()].any():
            return None  # of two tables of the same documents either may be the one
        rows.append(where.to_numpy().astype(np.int64))
        taken[rows[-1]] = True
    reached = run.reached[taken].min(initial=place)
    if not rows or (taken != (run.reached >= reached)).any():
        return None
    return Sketches([path for _, path in sorted(found.items())], rows)


def _tables(run: Stored, wanted: str) -> Iterator[tuple[str, Path]]:
    """The survey's tables in pieces from which the run published, by digest."""
    manifest = unsealed(run.folder / "manifest.json") or {"files": {}}
    published = {
        entry["sha256"] for name, entry in manifest["files"].items() if name.startswith("dropped/")
    }
    for path in (run.folder / "work" / "pieces").glob("*/piece.json"):
        piece = unsealed(path) or {}
        files, surveys = piece.get("files", {}), piece.get("surveys", [])
        if wanted not in surveys or files[DROPPED]["sha256"] not in published:
            continue
        name = f"survey-{surveys.index(wanted)}.parquet"
        if matches(path.with_name(name), files[name]):
            yield files[name]["sha256"], path.with_name(name)
