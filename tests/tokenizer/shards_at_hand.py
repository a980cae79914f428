"""Shards of random ids, written by the same functions as a run's."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.store import sealed
from tokenizer.shards import TokenBatch, manifest, token_type
from tokenizer.shuffle import Shards, gather, lay_out, write_runs

END = 0


def identity(number: int) -> bytes:
    """The id of a document: a hash, as in a run."""
    return blake2b(number.to_bytes(8, "little"), digest_size=16).digest()


def batch_of(documents: list[list[int]], first: int = 0, **columns: pa.Array) -> TokenBatch:
    """Documents of these ids of tokens, numbered from `first` on; their text is their number."""
    numbers = range(first, first + len(documents))
    rows = {
        "id": pa.array([identity(i) for i in numbers], pa.binary(16)),
        "url": pa.array([f"http://a/{i}" for i in numbers], pa.string()),
        "source": pa.array([f"{i % 2}.warc" for i in numbers], pa.string()),
        "offset": pa.array(list(numbers), pa.int64()),
        "text": pa.array([str(i) for i in numbers], pa.string()),
        **columns,
    }
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    ids = np.array([i for document in documents for i in document], np.uint32)
    return pa.record_batch(rows), ids, offsets


def written(
    folder: Path,
    pieces: list[list[TokenBatch]],
    settings: Shards,
    vocab_size: int = 1000,
) -> Path:
    """Finished shards of pieces, each of which is encoded by a task of its own."""
    names = []
    for number, batches in enumerate(pieces):
        piece = folder / "work" / str(number)
        piece.mkdir(parents=True)
        runs = write_runs(piece, iter(batches), (vocab_size, END), settings)
        names += [f"{number}/{run}" for run in runs]
    layout = folder / "layout"
    layout.mkdir(parents=True)
    kind = token_type(vocab_size)
    width = np.dtype(kind).itemsize
    documents = lay_out(folder / "work", names, layout, max(settings.shard_bytes // width, 1))
    shards = folder / "shards"
    shards.mkdir()
    parts = [gather(layout, folder / "work", part, shards, kind) for part in range(len(documents))]
    assert [part.documents for part in parts] == documents
    told = settings.told({"text": "", "ids": []})
    whole = manifest(parts, "words", vocab_size, END, told)
    (shards / "manifest.json").write_bytes(sealed(whole))
    return shards


def split(documents: list[list[int]], sizes: list[int]) -> Iterator[list[TokenBatch]]:
    """The same documents in pieces of these sizes."""
    first = 0
    for size in [*sizes, len(documents)]:
        yield [batch_of(documents[first : first + size], first)]
        first += size
