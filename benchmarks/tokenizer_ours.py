"""Our side of the tokenizer's figures, one process each; tokenizer_speed.py starts it.

python -m benchmarks.tokenizer_ours encode ours VOCABULARY TEXTS --result FILE
python -m benchmarks.tokenizer_ours shards VOCABULARY TEXTS.parquet --result FILE
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.tokenizer_clock import Side
from benchmarks.peers.tokenizer_encoders import about, answer, arguments
from curate.schema import ID, TEXT
from tokenizer.encode import Encoder
from tokenizer.shards import TokenBatch, write_part
from tokenizer.vocabulary import Vocabulary, load

BATCH = 4096  # documents


def vocabulary_of(folder: Path) -> Vocabulary:
    """The vocabulary of a folder that `tokenizer_vocabularies` wrote."""
    said = about(folder)
    if said["ranks"]:
        path = folder / "tokenizer.tiktoken"
        return load(path, said["pattern"], said["special_tokens"])
    return load(folder / "tokenizer.json")


def ours(folder: Path) -> Side:
    """All documents as one Arrow array."""
    encoder = Encoder(vocabulary_of(folder))
    return Side(
        encoder.encode, lambda texts: pa.array(texts, pa.large_string()), lambda given: given[0]
    )


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The documents of a Parquet file, as the pipeline has them, with ids."""
    row = 0
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["text"]):
        ids = np.zeros((batch.num_rows, 2), np.int64)
        ids[:, 0] = np.arange(row, row + batch.num_rows)
        row += batch.num_rows
        buffer = pa.py_buffer(ids.tobytes())
        column = pa.Array.from_buffers(pa.binary(16), batch.num_rows, [None, buffer])
        yield pa.record_batch([column, batch.column("text")], [ID, TEXT])


def encoded(path: Path, encoder: Encoder) -> Iterator[TokenBatch]:
    """Each batch with its tokens."""
    for batch in batches(path):
        yield batch, *encoder.encode(batch.column(TEXT))


def shards(folder: Path, texts: Path) -> dict[str, Any]:
    """Seconds from Parquet to token shards, and of the encoder alone on the same batches."""
    vocabulary = vocabulary_of(folder)
    Encoder(vocabulary).encode(pa.array(["warm up"]))
    best = {"shards": [np.inf, np.inf], "encoder": [np.inf, np.inf]}
    tokens = 0
    for _ in range(3):
        with tempfile.TemporaryDirectory() as output:
            encoder = Encoder(vocabulary)
            wall, cpu = time.perf_counter(), time.process_time()
            part = write_part(
                Path(output),
                "part",
                encoded(texts, encoder),
                vocabulary.size,
                vocabulary.end_of_text,
            )
            spent = [time.process_time() - cpu, time.perf_counter() - wall]
            tokens = part.tokens
        best["shards"] = np.minimum(best["shards"], spent).tolist()
        encoder, every = Encoder(vocabulary), list(batches(texts))
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in every:
            encoder.encode(batch.column(TEXT))
        spent = [time.process_time() - cpu, time.perf_counter() - wall]
        best["encoder"] = np.minimum(best["encoder"], spent).tolist()
    return {**best, "tokens": tokens}


def main() -> None:
    """Do what the driver asks for."""
    if sys.argv[1:2] != ["shards"]:
        given = arguments().parse_args()
        answer(partial(ours, given.folder), given)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what")
    parser.add_argument("folder", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    given.result.write_text(json.dumps(shards(given.folder, given.texts)))


if __name__ == "__main__":
    main()
