"""What a run did with its documents, to compare with what is said of it."""

import math
from pathlib import Path

import pyarrow.parquet as pq


def verdicts(folder: Path) -> dict[bytes, tuple]:
    """What a real run did with every document: reason, value, bound."""
    found = {}
    for path in (folder / "documents").iterdir():
        found |= dict.fromkeys(pq.read_table(path)["id"].to_pylist(), (None, None, None))
    for path in (folder / "dropped").iterdir():
        for row in pq.read_table(path).to_pylist():
            value = row["value"]
            value = None if value is None or math.isnan(value) else value
            found[row["id"]] = (row["dropped_by"], value, row["bound"])
    return found
