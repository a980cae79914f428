"""Our side of the tokenizer's figures, one process each; tokenizer_speed.py starts it.

python -m benchmarks.tokenizer_ours encode ours VOCABULARY TEXTS --result FILE
python -m benchmarks.tokenizer_ours shards VOCABULARY TEXTS.parquet --result FILE
"""

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.tokenizer_clock import Side
from benchmarks.peers.tokenizer_encoders import about, answer, arguments
from tokenizer.encode import Encoder
from tokenizer.vocabulary import Vocabulary, load
from tokenizer.writing import write_shards

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


def shards(folder: Path, texts: Path) -> dict[str, Any]:
    """Seconds of `curate shards write` from Parquet, and of the encoder alone on the same batches.

    The first is everything between the command's arguments and its manifest: loading the
    tokenizer, the digest of the input, runs, the global order, parts, their digests.
    """
    named = folder / "tokenizer.json"
    vocabulary = load(named)
    Encoder(vocabulary).encode(pa.array(["warm up"]))
    best = {"shards": [np.inf, np.inf], "encoder": [np.inf, np.inf]}
    tokens = 0
    for _ in range(4):  # the first compiles the kernels of the order
        with tempfile.TemporaryDirectory() as output:
            wall, cpu = time.perf_counter(), time.process_time()
            tokens = write_shards([str(texts)], named, Path(output) / "shards")["tokens"]
            spent = [time.process_time() - cpu, time.perf_counter() - wall]
        best["shards"] = np.minimum(best["shards"], spent).tolist()
        every = [
            one.column("text")
            for one in pq.ParquetFile(texts).iter_batches(BATCH, columns=["text"])
        ]
        encoder = Encoder(vocabulary)
        wall, cpu = time.perf_counter(), time.process_time()
        for column in every:
            encoder.encode(column)
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
