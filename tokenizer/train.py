"""From counted pieces to a vocabulary: exact byte-level BPE, the same whatever the order of input.

Merges are those of Hugging Face's BpeTrainer over the byte alphabet. The tie rule: of equally
frequent pairs, the one whose left token is older, then the one whose right token is; bytes are
ordered as in GPT-2. See `tokenizer/reference.py`, which says the same in plain Python.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet

from curate.column import view
from curate.errors import CurateError, InputError, RecipeError
from curate.schema import LANGUAGE, TEXT
from tokenizer.counting import COUNTS, count_pieces
from curate.kernel import helper
from tokenizer.merge import EMPTY, Row, merges_of, scratch_of
from tokenizer.pretokenize import splitter
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary

ALPHABET = np.frombuffer(b"".join(BYTES), np.uint8)
# Places are 32-bit numbers, and three nodes are kept for each byte.
EDGE = -2
# Text is read in blocks of this size, whatever the size of the file.
BLOCK_BYTES = 16 << 20
# Counts of blocks are summed when they have so many rows: memory follows the distinct pieces.
PENDING_ROWS = 4_000_000
PACKED = (".gz", ".zst", ".bz2")
JSON_TEXT = pyarrow.json.ParseOptions(
    explicit_schema=pa.schema([(TEXT, pa.string()), (LANGUAGE, pa.string())]),
    unexpected_field_behavior="ignore",
)


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
    """The sum of counts by piece, sorted by piece: the same for any order and split of tables."""
    every = pa.concat_tables([COUNTS.empty_table(), *tables])
    summed = every.group_by("piece").aggregate([("count", "sum")])
    table = pa.table([summed["piece"], summed["count_sum"]], schema=COUNTS)
    return table.take(pc.sort_indices(table, [("piece", "ascending")]))


@helper
def lay(data: Any, offsets: Any, order: Any, numbers: Any, cells: Any) -> None:
    """Write the pieces in this order, an edge before, between and behind them."""
    at = 0
    cells[at] = EDGE
    for k in order:
        for i in range(offsets[k], offsets[k + 1]):
            at += 1
            cells[at] = numbers[data[i]]
        at += 1
        cells[at] = EDGE


def row_of(pieces: pa.Table) -> Row:
    """All pieces in one row, the most frequent ones first."""
    column = pieces["piece"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.binary())
    data, offsets = view(column)
    counts = pieces["count"].to_numpy()
    numbers = np.empty(256, np.int32)
    numbers[ALPHABET] = np.arange(256)
    order = np.argsort(-counts, kind="stable")
    cells = np.empty(int(offsets[-1]) - int(offsets[0]) + len(order) + 1, np.int32)
    lay(data, offsets, order, numbers, cells)
    ordered = counts[order]
    ends = np.cumsum(np.diff(offsets)[order] + 1, dtype=np.int64)
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(order) else []
    begins = np.concatenate([[0], ends[last] + 1])
    begins[-1] = len(cells)
    return Row(cells, begins, ordered[last])


def train(pieces: pa.Table, settings: Train) -> Vocabulary:
    """The vocabulary that BPE learns from counted pieces; special tokens come last."""
    goal = settings.vocab_size - len(settings.special_tokens)
    starts = np.zeros(goal + 2, np.int64)
    starts[:257] = np.arange(257)
    # Tokens of one byte are not in it: what is looked for has two bytes at least.
    slots = np.full(1 << (2 * goal).bit_length(), -1, np.int32)
    done = np.full(1 << (2 * goal + 2).bit_length(), EMPTY, np.uint64)
    spelled = (ALPHABET.copy(), starts, np.ones(goal + 1, np.int32), slots, done)
    least = settings.min_frequency
    first = max(least, int(pc.sum(pieces["count"]).as_py() or 0) // (64 * goal))
    bounds = (goal, least, first, settings.max_token_length or 1 << 40)
    merges, spelling, starts = merges_of(
        row_of(pieces), spelled, (scratch_of(goal), scratch_of(goal)), bounds
    )
    text = spelling.tobytes()
    tokens = tuple(text[i:j] for i, j in pairwise(starts.tolist()))
    for name in settings.special_tokens:
        if name.encode() in tokens:
            raise CurateError(
                f"the text taught {name!r} as a word; name the special token otherwise"
            )
    specials = {name: len(tokens) + i for i, name in enumerate(settings.special_tokens)}
    return Vocabulary(tokens, merges, settings.pattern, specials)


def text_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """A file in batches with a column `text`: Parquet, JSONL, or lines of text.

    A line of plain text keeps its line end, as in the training of `tokenizers`. Packed files
    (.gz, .zst, .bz2) are unpacked on the way.
    """
    name = path.name.removesuffix(path.suffix) if path.suffix in PACKED else path.name
    try:
        if name.endswith(".parquet"):
            yield from checked(parquet(path).iter_batches(1 << 12), path)
        elif name.endswith((".jsonl", ".ndjson", ".json")):
            with pa.input_stream(path) as stream:
                options = pyarrow.json.ReadOptions(block_size=BLOCK_BYTES)
                yield from checked(pyarrow.json.open_json(stream, options, JSON_TEXT), path)
        else:
            yield from line_batches(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """A Parquet file to be read in batches, in memory that does not grow with it."""
    # What is read ahead is held until the file is closed: 450 MB of one of 400 MB, else 80 MB.
    return pyarrow.parquet.ParquetFile(path, pre_buffer=False)


def checked(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """The same batches, all with a column of texts."""
    for batch in batches:
        if TEXT not in batch.schema.names or not is_text(batch.column(TEXT).type):
            there = ", ".join(f"{field.name} ({field.type})" for field in batch.schema)
            raise InputError(f"{path}: no column 'text' of strings; there are: {there}")
        yield batch


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def line_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The lines of a text file, as bytes, their line ends kept."""
    rest: list[bytes] = []
    with pa.input_stream(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            end = block.rfind(b"\n") + 1
            if end:
                yield lines_of(b"".join([*rest, block[:end]]))
                rest = []
            rest.append(block[end:])
    yield lines_of(b"".join(rest))


def lines_of(data: bytes) -> pa.RecordBatch:
    """Lines as rows."""
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == 10) + 1
    rest = [len(data)] if data and not data.endswith(b"\n") else []
    offsets = np.concatenate([[0], ends, rest]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    lines = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    return pa.record_batch([lines], [TEXT])


def count_files(paths: Iterable[Path], pattern: str) -> tuple[pa.Table, dict[str, int]]:
    """Counted pieces of all files, and how many documents and bytes they came from."""
    total = {"documents": 0, "bytes": 0}
    pending: list[pa.Table] = []
    rows = 0
    for path in paths:
        for batch in text_batches(path):
            texts = batch.column(TEXT)
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
