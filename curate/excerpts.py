"""What a report shows of documents that are gone, or cut: a few of each reason, scrubbed."""

from collections import Counter

import numpy as np
import pyarrow as pa

from curate import schema
from curate.cuts import stretches
from curate.dedup.columns import DUPLICATE_OF
from curate.entered import floats
from curate.schema import Batch
from filters.pii import scrub_text

EXCERPTS = 2  # kept per reason and unit, for the report
EXCERPT_CHARACTERS = 400
# More of duplicates, which are shown beside the document that stays: of a batch so many nearest to
# the bound, of the largest groups and by identity, until the unit has enough.
TELLING, DUPLICATE_EXCERPTS = 4, 12
DUPLICATE_CHARACTERS = 6_000


class Excerpts:
    """The excerpts of one unit: how many each stage and reason has already."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], int] = {}

    def of_dropped(self, label: str, out: Batch) -> pa.Array:
        """The beginning of a few documents of each reason, scrubbed; null for the rest."""
        excerpts: list[str | None] = [None] * out.num_rows
        if schema.TEXT not in out.schema.names:
            return pa.array(excerpts, pa.string())
        most = duplicate_characters(out)
        for row, reason in enumerate(out.column(schema.DROPPED_BY).to_pylist()):
            taken = self._taken.get((label, reason), 0)
            characters = most.get(row, EXCERPT_CHARACTERS)
            if characters and taken < (DUPLICATE_EXCERPTS if row in most else EXCERPTS):
                self._taken[label, reason] = taken + 1
                # Scrubbed before it is cut: a cut could hide what makes an address an address.
                # However much the scrubbing shortens, the end of what was scrubbed is not shown.
                read = 2 * characters if row in most else 100 * characters
                text = out.column(schema.TEXT)[row].as_py()
                scrubbed = scrub_text(text[:read])
                end = len(scrubbed) if len(text) <= read else len(scrubbed) // 2
                excerpts[row] = scrubbed[: min(characters, end)]
        return pa.array(excerpts, pa.string())

    def of_cuts(self, label: str, texts: pa.Array, cuts: pa.Array, reasons: pa.Array) -> pa.Array:
        """What was cut out of the first few documents of each reason, scrubbed; null for others."""
        excerpts: list[str | None] = [None] * len(texts)
        for row, reason in enumerate(reasons.to_pylist()):
            if reason is not None and self._shown(label, reason):
                places = cuts[row].as_py() or []
                cut = stretches(texts[row].as_py(), places, 100 * EXCERPT_CHARACTERS)
                excerpts[row] = scrub_text(cut)[:EXCERPT_CHARACTERS]
        return pa.array(excerpts, pa.string())

    def _shown(self, label: str, reason: str) -> bool:
        """Whether a document of this reason is among the first few, which are shown."""
        taken = self._taken.get((label, reason), 0)
        self._taken[label, reason] = taken + 1
        return taken < EXCERPTS


def duplicate_characters(out: Batch) -> dict[int, int]:
    """How much to keep of duplicates: much of the doubtful, of large groups and of a few others."""
    if DUPLICATE_OF not in out.schema.names:
        return {}
    others, ids = (out.column(name).to_pylist() for name in (DUPLICATE_OF, schema.ID))
    rows = sorted((row for row, other in enumerate(others) if other), key=ids.__getitem__)
    value, bound = (floats(out.column(name)) for name in (schema.VALUE, schema.BOUND))
    distance = np.nan_to_num(np.abs(value - bound), nan=np.inf)
    nearest = sorted(rows, key=distance.__getitem__)[:TELLING]
    groups = Counter(others[row] for row in rows)
    largest = sorted(groups, key=lambda other: (-groups[other], other))[:TELLING]
    first = {others[row]: row for row in reversed(rows)}
    telling = {*nearest, *(first[other] for other in largest), *rows[:TELLING]}
    return {row: DUPLICATE_CHARACTERS if row in telling else 0 for row in rows}
