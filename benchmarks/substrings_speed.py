"""Repeated substrings on real text: seconds of each beat, bytes on disk, and what is cut."""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.minhash_speed import texts
from curate.dedup.substrings import Substrings
from curate.survey import Means

MEGA = 1e6


def main() -> None:
    """Print a row of figures for 50 words and for 100 bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jsonl", type=Path, nargs="+", help="documents with a `text`")
    parser.add_argument("--memory", type=int, default=1 << 26, help="bytes of a task's arrays")
    parser.add_argument("--tokenizer", default="", help="a tokenizer.json: 50 tokens, too")
    arguments = parser.parse_args()
    documents = [text for path in arguments.jsonl for text in texts(path)]
    ids = pa.array([i.to_bytes(16, "big") for i in range(len(documents))], pa.binary(16))
    batch = pa.RecordBatch.from_arrays([ids, pa.array(documents)], ["id", "text"])
    size = int(pc.sum(pc.binary_length(batch.column("text"))).as_py())
    print(f"{len(documents)} documents, {size / MEGA:.1f} MB of text")
    print(
        f"{'':26}{'survey MB/s':>12}{'decide MB/s':>12}{'table B/B':>11}{'spill B/B':>11}"
        f"{'cut':>8}{'peak MB':>9}"
    )
    stages = [Substrings(), Substrings(length=100, unit="bytes")]
    stages.append(Substrings(length=100, unit="bytes", keep="first"))
    if arguments.tokenizer:
        stages.append(Substrings(unit="tokens", tokenizer=arguments.tokenizer))
    for stage in stages:
        _row(stage, batch, size, arguments.memory)


def _row(stage: Substrings, batch: pa.RecordBatch, size: int, memory: int) -> None:
    stage.survey(batch.slice(0, 1))  # compiles
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        survey, text, spill = folder / "survey.parquet", folder / "text.parquet", folder / "spill"
        spill.mkdir()
        pq.write_table(pa.Table.from_batches([batch]), text, row_group_size=1024)
        spent = []
        for _ in range(3):
            started = time.process_time()
            table = stage.survey(batch)
            spent.append(time.process_time() - started)
        pq.write_table(table, survey)
        gone = [np.zeros(batch.num_rows, np.bool_)]
        decided = []
        for i in range(2):  # the first compiles
            (spill / str(i)).mkdir()
            started = time.process_time()
            (table,) = stage.decide([survey], gone, Means([text], spill / str(i), memory))
            decided.append(time.process_time() - started)
        spilled = sum(path.stat().st_size for path in (spill / "1").rglob("*.npy"))
        cut = pc.sum(table.column("bytes_cut")).as_py()
        lost = pc.sum(
            pc.filter(
                pc.binary_length(batch.column("text")),
                pc.is_valid(table.column("dropped_by")).combine_chunks(),
            )
        )
        share = (cut + (lost.as_py() or 0)) / size
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{stage.length:>4} {stage.unit:8}{stage.keep:13}{size / min(spent) / MEGA:>12.1f}"
            f"{size / decided[1] / MEGA:>12.1f}{survey.stat().st_size / size:>11.3f}"
            f"{spilled / size:>11.2f}{share:>8.3f}{peak:>9.0f}"
        )


if __name__ == "__main__":
    main()
