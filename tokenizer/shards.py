"""Token shards: headerless tokens, a Megatron index, document offsets, and where each came from.

A part is four files. `NAME.bin` holds little-endian tokens, every document followed by the
end-of-text token. `NAME.idx` is Megatron's index of the same bytes. `NAME.offsets.npy` holds
where documents begin, in tokens, and the end. `NAME.docs.parquet` has one row per document.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Positions, view
from curate.errors import ShardError
from curate.kernel import borrowing
from curate.schema import ID, LANGUAGE, OFFSET, SOURCE, TEXT, URL, Batch
from curate.store import describe, disk_errors, sync_file, unsealed

Tokens = NDArray[np.uint32]
TokenBatch = tuple[Batch, Tokens, Positions]

FORMAT = "token-shards"
VERSION = 1
MANIFEST = "manifest.json"
SUFFIXES = (".bin", ".idx", ".offsets.npy", ".docs.parquet")
MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
# Megatron has no code for uint32; below 2**31 the same bytes are int32, its code 4.
MEGATRON_CODES = {"uint16": 8, "uint32": 4}
DOCUMENTS = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("source", pa.string()),
        ("url", pa.string()),
        ("language", pa.string()),
        ("n_tokens", pa.int64()),  # with the end-of-text token, so that they sum to the part
        ("n_bytes", pa.int64()),  # of the UTF-8 text that was tokenised
        ("content_hash", pa.binary(16)),  # BLAKE2b-128 of that text
        ("origin", pa.string()),  # source@offset: the record in the dump
    ]
)
COLUMNS = (ID, SOURCE, OFFSET, URL, LANGUAGE, TEXT)  # what docs.parquet is made from
# Rows are regrouped, so that the file does not depend on how they came in batches.
ROW_GROUP = 16_384


@dataclass(frozen=True)
class PartSummary:
    """What was written as one part; `files` has size and SHA-256 by file name."""

    name: str
    documents: int
    tokens: int
    bytes: int
    files: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The part as the manifest holds it."""
        return {
            "name": self.name,
            "documents": self.documents,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "files": self.files,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "PartSummary":
        """The part that `to_json` described."""
        return cls(**value)


def token_type(vocab_size: int) -> str:
    """The NumPy name of the narrowest type that every reader of shards knows."""
    if not 0 < vocab_size < 1 << 31:
        raise ShardError(f"a vocabulary of {vocab_size}; shards hold 1 to {(1 << 31) - 1} ids")
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def write_part(
    folder: Path,
    name: str,
    batches: Iterable[TokenBatch],
    vocab_size: int,
    end_of_text: int,
) -> PartSummary:
    """Write the four files of a part into `folder`, documents as they come: no order, no copies.

    A document costs four bytes of memory. Commands write parts through tokenizer/shuffle.py.
    """
    if not 0 <= end_of_text < vocab_size:
        raise ShardError(f"{name}: end of text {end_of_text} is not among {vocab_size} ids")
    paths = [folder / (name + suffix) for suffix in SUFFIXES]
    lengths: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    size = 0
    with disk_errors(folder):
        with (
            paths[0].open("wb") as tokens_file,
            pq.ParquetWriter(paths[3], DOCUMENTS, compression="zstd") as documents_file,
        ):
            rows = _Rows(documents_file)
            for batch, tokens, offsets in batches:
                if len(offsets) != batch.num_rows + 1:
                    raise ShardError(f"{name}: offsets do not fit {batch.num_rows} documents")
                tokens_file.write(ended(name, tokens, offsets, (vocab_size, end_of_text)).data)
                lengths.append((np.diff(offsets) + 1).astype(np.int32))
                described = documents_of(batch, lengths[-1])
                size += pc.sum(described.column("n_bytes"), min_count=0).as_py()
                rows.add(described)
            rows.flush()
        return closed_part(folder, name, np.concatenate(lengths), size, token_type(vocab_size))


def closed_part(
    folder: Path, name: str, lengths: NDArray[Any], size: int, kind: str
) -> PartSummary:
    """Write index and offsets beside tokens and rows that are there; all of it is on the disk.

    `size` is the bytes of the text of all its documents.
    """
    paths = [folder / (name + suffix) for suffix in SUFFIXES]
    starts = running_sums(lengths)
    with paths[1].open("wb") as index_file:
        index_file.writelines(index_of(starts, np.dtype(kind)))
    save_array(paths[2], starts)
    for path in paths:
        sync_file(path)
    return PartSummary(
        name, len(starts) - 1, int(starts[-1]), size, {path.name: describe(path) for path in paths}
    )


def manifest(
    parts: Sequence[PartSummary],
    vocabulary_fingerprint: str,
    vocab_size: int,
    end_of_text: int,
    told: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a reader must know of the folder; to be sealed and written after every part is there.

    `told` is what else is known of them, such as the `probe`, a text and its ids, by which a reader
    sees that another tokenizer is the same.
    """
    parts = sorted(parts, key=lambda part: part.name)
    return {
        "format": FORMAT,
        "version": VERSION,
        "vocabulary": vocabulary_fingerprint,
        "vocab_size": vocab_size,
        "dtype": token_type(vocab_size),
        "end_of_text": end_of_text,
        "layout": "tokens, then end_of_text; nothing before the first token; names of special "
        "tokens are text",
        "documents": sum(part.documents for part in parts),
        "tokens": sum(part.tokens for part in parts),
        "bytes": sum(part.bytes for part in parts),
        "parts": [part.to_json() for part in parts],
        "complete": True,
        **(told or {}),
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of finished shards, or ShardError with what is wrong."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ShardError(f"{path}: missing; these shards are not finished, run the command again")
    shards = unsealed(path)
    if shards is None:
        raise ShardError(f"{path}: torn or edited; write the shards again")
    if (shards.get("format"), shards.get("version")) != (FORMAT, VERSION):
        raise ShardError(f"{path}: not {FORMAT} of version {VERSION}")
    if shards.get("complete") is not True:
        raise ShardError(f"{path}: not complete; run the command again")
    return shards


class _Rows:
    """Rows on their way into a Parquet file, in groups of one size whatever the batches were."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file
        self._waiting = DOCUMENTS.empty_table()

    def add(self, batch: Batch) -> None:
        """Take rows, and write every full group."""
        # A copy: rows that wait must not hold the buffers of a batch, and with them its text.
        rows = pa.Table.from_batches([batch.take(pa.array(np.arange(batch.num_rows)))])
        self._waiting = pa.concat_tables([self._waiting, rows])
        while len(self._waiting) >= ROW_GROUP:
            self._write(self._waiting.slice(0, ROW_GROUP))
            self._waiting = self._waiting.slice(ROW_GROUP)

    def flush(self) -> None:
        """Write the rows that are left."""
        if len(self._waiting):
            self._write(self._waiting)

    def _write(self, table: pa.Table) -> None:
        self._file.write_table(table.combine_chunks(), row_group_size=ROW_GROUP)


@borrowing
def end_documents(tokens: Any, offsets: Any, end: Any, out: Any) -> Any:
    """Write the tokens of each document and the end behind them; the largest, and ends within."""
    most, within = np.int64(0), np.int64(0)
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            token = tokens[i]
            out[i + row] = token
            most = max(most, np.int64(token))
            within += token == end
        out[offsets[row + 1] + row] = end
    return most, within


def ended(name: str, tokens: Tokens, offsets: Positions, ids: tuple[int, int]) -> NDArray[Any]:
    """The tokens as a part holds them; `ids` are the vocabulary's size and its end of text.

    Tokens that do not fit the documents or the vocabulary are refused.
    """
    vocab_size, end_of_text = ids
    if offsets[0] != 0 or offsets[-1] != len(tokens) or (np.diff(offsets) < 0).any():
        raise ShardError(f"{name}: offsets do not fit {len(tokens)} tokens")
    kind = np.dtype(token_type(vocab_size))
    out = np.empty(len(tokens) + len(offsets) - 1, kind)
    # Checks, the narrower type and the ends in one go: 5 ns a token less than by NumPy.
    most, within = end_documents(tokens, offsets, np.uint32(end_of_text), out)
    if most >= vocab_size:
        raise ShardError(f"{name}: id {most} in a vocabulary of {vocab_size}")
    if within:
        raise ShardError(f"{name}: end of text {end_of_text} within a document")
    return out.astype(kind.newbyteorder("<"), copy=False)


def documents_of(batch: Batch, lengths: NDArray[np.int32], columns: Sequence[str] = ()) -> Batch:
    """The rows of docs.parquet for these documents, with these columns of theirs behind."""
    text = view(batch.column(TEXT))
    data, ends = text.data.data, text.offsets.tolist()
    hashes = [
        hashlib.blake2b(data[start:end], digest_size=16).digest() for start, end in pairwise(ends)
    ]
    made = {
        "doc_id": batch.column(ID),
        "source": _strings(batch, SOURCE),
        "url": _strings(batch, URL),
        "language": _strings(batch, LANGUAGE),
        "n_tokens": pa.array(lengths, pa.int64()),
        "n_bytes": pa.array(np.diff(text.offsets), pa.int64()),
        "content_hash": pa.array(hashes, pa.binary(16)),
        "origin": pc.binary_join_element_wise(
            _strings(batch, SOURCE), _strings(batch, OFFSET), "@"
        ),
    }
    rows = [made[field.name].cast(field.type) for field in DOCUMENTS]
    others = {name: batch.column(name) for name in columns}
    return pa.record_batch([*rows, *others.values()], [*DOCUMENTS.names, *others])


def _strings(batch: Batch, name: str) -> pa.Array:
    """A column as text; nulls where the recipe has no such stage."""
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.string())
    return batch.column(name).cast(pa.string())


def running_sums(lengths: NDArray[Any]) -> Positions:
    """0 and the running sums."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def index_of(starts: Positions, kind: np.dtype[Any]) -> Iterator[bytes]:
    """Megatron's index, version 1: every document is one sequence."""
    documents = len(starts) - 1
    code = MEGATRON_CODES[kind.name]
    yield struct.pack("<9sQBQQ", MEGATRON_MAGIC, 1, code, documents, documents + 1)
    yield np.diff(starts).astype("<i4").tobytes()
    yield (starts[:-1] * kind.itemsize).astype("<i8").tobytes()
    yield np.arange(documents + 1, dtype="<i8").tobytes()


def save_array(path: Path, array: NDArray[Any]) -> None:
    """What np.save writes, whose error on a full disk does not say that it is one."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)


def load_tokens(path: Path, kind: str) -> NDArray[Any]:
    """The tokens of a part, read in place; `kind` is the manifest's `dtype`."""
    return np.asarray(np.memmap(path, np.dtype(kind).newbyteorder("<"), "r"))


def load_offsets(path: Path) -> Positions:
    """Where the documents of a part begin, and where the last one ends; read in place."""
    try:
        starts: Positions = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ShardError(f"{path}: not a NumPy array of offsets") from error
    if starts.dtype != np.int64 or starts.ndim != 1 or len(starts) < 1:
        raise ShardError(f"{path}: not a NumPy array of offsets")
    return starts
