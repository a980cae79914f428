"""From counted pieces to a vocabulary: exact byte-level BPE, the same whatever the order of input.

Merges are those of Hugging Face's BpeTrainer over the byte alphabet. The tie rule: of equally
frequent pairs, the one whose left token is older, then the one whose right token is; bytes are
ordered as in GPT-2. See `tokenizer/reference.py`, which says the same in plain Python.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet

from curate.column import view
from curate.errors import CurateError, InputError, RecipeError
from tokenizer.merge import merges_of
from tokenizer.pretokenize import COUNTS, count_pieces, splitter
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary

# Text is read in blocks of this size, whatever the size of the file.
BLOCK_BYTES = 16 << 20
# Counts of blocks are summed when they have so many rows: memory follows the distinct pieces.
PENDING_ROWS = 4_000_000


@dataclass(frozen=True)
class Train:
    """How a tokenizer is trained, or which one is loaded instead."""

    pattern: str = "gpt2"  # a name in pretokenize.PATTERNS, or a pattern of one's own
    vocab_size: int = 8192  # bytes and special tokens included
    special_tokens: tuple[str, ...] = ("<|endoftext|>",)  # the first one ends a document
    min_frequency: int = 2  # a pair must occur so often to be merged
    max_token_length: int = 0  # bytes; 0 is without bound
    load: str | None = None  # a tokenizer.json, vocab.json or *.tiktoken to use as it is

    def __post_init__(self) -> None:
        splitter(self.pattern)
        smallest = 256 + len(self.special_tokens)
        if not smallest <= self.vocab_size < 1 << 24:
            raise RecipeError(
                f"tokenizer.vocab_size: {self.vocab_size}; write {smallest} (256 bytes and "
                f"{len(self.special_tokens)} special tokens) to {(1 << 24) - 1}"
            )
        if len(set(self.special_tokens)) < len(self.special_tokens) or "" in self.special_tokens:
            raise RecipeError("tokenizer.special_tokens: each must be different, and none empty")
        if self.min_frequency < 1:
            raise RecipeError(f"tokenizer.min_frequency: {self.min_frequency}; write 1 or more")
        if self.max_token_length < 0 or self.max_token_length == 1:
            raise RecipeError(
                "tokenizer.max_token_length: write 2 or more bytes, or 0 for no bound"
            )


def merge_counts(tables: Iterable[pa.Table]) -> pa.Table:
    """The sum of counts by piece, sorted by piece: the same for any order and split of the tables."""
    every = pa.concat_tables([COUNTS.empty_table(), *tables])
    summed = every.group_by("piece").aggregate([("count", "sum")])
    table = pa.table([summed["piece"], summed["count_sum"]], schema=COUNTS)
    return table.take(pc.sort_indices(table, [("piece", "ascending")]))


def train(pieces: pa.Table, settings: Train) -> Vocabulary:
    """The vocabulary that BPE learns from counted pieces; special tokens come last."""
    column = pieces["piece"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        raise CurateError("more than 2 GB of distinct pieces; raise the count that a piece needs")
    weights = pieces["count"].to_numpy()
    data, offsets = view(column)
    total = int(offsets[-1]) - int(offsets[0])
    if total > (2**31 - 2) // 3:
        raise CurateError(f"{total} bytes of distinct pieces; at most 715 million are merged")
    alphabet = np.frombuffer(b"".join(BYTES), np.uint8)
    number = np.empty(256, np.int32)
    number[alphabet] = np.arange(256)
    lengths = np.diff(offsets)
    places = np.arange(total, dtype=np.int32)
    left_of, right_of = places - 1, places + 1
    filled = offsets[:-1][lengths > 0] - offsets[0]
    left_of[filled] = -1
    right_of[filled - 1] = -1  # the first piece's neighbour to the left is the end
    chain = (
        number[data[offsets[0] : offsets[-1]]],
        left_of,
        right_of,
        np.repeat(weights, lengths),
    )
    goal = settings.vocab_size - len(settings.special_tokens)
    longest = settings.max_token_length or 1 << 40
    merges, spelling, starts = merges_of(chain, alphabet, goal, settings.min_frequency, longest)
    spelled = spelling.tobytes()
    tokens = tuple(spelled[i:j] for i, j in zip(starts[:-1], starts[1:], strict=True))
    specials = {name: len(tokens) + i for i, name in enumerate(settings.special_tokens)}
    return Vocabulary(tokens, merges, settings.pattern, specials)


def text_blocks(path: Path) -> Iterator[pa.Array]:
    """The texts of a file, block by block: a Parquet or JSONL column `text`, or lines of text.

    A line of plain text keeps its line end, as in the training of `tokenizers`. Packed files
    (.gz, .zst, .bz2) are unpacked on the way.
    """
    name = path.name.removesuffix(path.suffix) if path.suffix in PACKED else path.name
    try:
        if name.endswith(".parquet"):
            yield from column_blocks(pyarrow.parquet.ParquetFile(path).iter_batches(1 << 14))
        elif name.endswith((".jsonl", ".ndjson", ".json")):
            with pa.input_stream(path) as stream:
                options = pyarrow.json.ReadOptions(block_size=BLOCK_BYTES)
                yield from column_blocks(pyarrow.json.open_json(stream, options, JSON_TEXT))
        else:
            yield from line_blocks(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


PACKED = (".gz", ".zst", ".bz2")
JSON_TEXT = pyarrow.json.ParseOptions(
    explicit_schema=pa.schema([("text", pa.string())]), unexpected_field_behavior="ignore"
)


def column_blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Array]:
    """The column `text` of each batch."""
    for batch in batches:
        if "text" not in batch.schema.names:
            there = ", ".join(batch.schema.names)
            raise InputError(f"no column 'text'; there are: {there}")
        yield batch.column("text")


def line_blocks(path: Path) -> Iterator[pa.Array]:
    """The lines of a text file, as bytes, their line ends kept."""
    rest = b""
    with pa.input_stream(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            data = rest + block
            end = data.rfind(b"\\n") + 1
            rest = data[end:]
            yield lines_of(data[:end])
    yield lines_of(rest)


def lines_of(data: bytes) -> pa.Array:
    """Lines as rows of an Arrow column."""
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == 10) + 1
    inner = ends if len(ends) and ends[-1] == len(data) else np.append(ends, len(data))
    offsets = np.concatenate([[0], inner]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(inner), buffers)


def count_files(paths: Iterable[Path], pattern: str) -> tuple[pa.Table, dict[str, int]]:
    """Counted pieces of all files, and how many documents and bytes they came from."""
    total = {"documents": 0, "bytes": 0}
    pending: list[pa.Table] = []
    rows = 0
    for path in paths:
        for texts in text_blocks(path):
            total["documents"] += len(texts)
            total["bytes"] += int(pc.sum(pc.binary_length(texts)).as_py() or 0)
            pending.append(count_pieces(texts, pattern))
            rows += pending[-1].num_rows
            if rows > PENDING_ROWS:
                pending = [merge_counts(pending)]
                rows = 0
    return merge_counts(pending), total


def train_on_files(paths: list[Path], settings: Train, folder: Path) -> dict[str, Any]:
    """Train on the text of these files, write the tokenizer, and say what it was made from."""
    if not paths:
        raise InputError("no input: name Parquet, JSONL or text files to train on")
    pieces, total = count_files(paths, settings.pattern)
    vocabulary = train(pieces, settings)
    vocabulary.save(folder)
    return {
        "files": len(paths),
        **total,
        "pieces": int(pc.sum(pieces["count"]).as_py() or 0),
        "distinct_pieces": pieces.num_rows,
        "vocab_size": vocabulary.size,
        "merges": len(vocabulary.merges),
        "longest_token": max(len(token) for token in vocabulary.tokens),
        "fingerprint": vocabulary.fingerprint(),
    }
