"""Our side of the second table: all heuristic signals over the texts, through the filter stage."""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import pyarrow as pa

import filters
from curate.filter import Filter
from curate.schema import TEXT
from curate.signal import Signal, catalogue

FAMILIES = ("gopher", "repetition", "c4", "fineweb")

# The families of which each peer has its own: the other half of a fair comparison.
SHARED = {
    "datatrove": FAMILIES,
    "dolma": ("gopher", "repetition", "c4"),
    "nemo": ("gopher", "repetition"),
}


def signals(families: tuple[str, ...]) -> tuple[Signal, ...]:
    """The signals of these families that read the text."""
    every = [one for one in catalogue(filters) if one.column == TEXT]
    return tuple(one for one in every if one.name.partition(".")[0] in families)


def seconds(families: tuple[str, ...], batch: pa.RecordBatch) -> float:
    """CPU seconds of the filter stage with all signals of these families; the median of five."""
    stage = Filter(signals(families))
    stage(batch.slice(0, 0))  # loads the kernels
    times = []
    for _ in range(5):
        started = time.process_time()
        stage(batch)
        times.append(time.process_time() - started)
    return median(times)


def main() -> None:
    """Time the signals over every text and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    with given.texts.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.string())], [TEXT])
    figures = {
        "seconds": {"all": seconds(FAMILIES, batch)},
        "parts": {family: seconds((family,), batch) for family in FAMILIES},
        "shared": {peer: seconds(families, batch) for peer, families in SHARED.items()},
        "signals": len(signals(FAMILIES)),
    }
    given.result.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
