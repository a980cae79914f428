"""From counted pieces to a vocabulary: exact byte-level BPE, the same whatever the order of input.

Merges are those of Hugging Face's BpeTrainer over the byte alphabet. The tie rule: of equally
frequent pairs, the one whose left token is older, then the one whose right token is; bytes are
ordered as in GPT-2. See `tokenizer/reference.py`, which says the same in plain Python.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.column import view
from curate.errors import CurateError, InputError, RecipeError
from curate.room import free_memory
from curate.schema import TEXT, Batch
from curate.settings import given
from curate.sizes import shown
from tokenizer import balance
from tokenizer.counting import COUNTS
from tokenizer.counts import Counter, summed, totals_of
from tokenizer.letters import BYTE_OF, LETTERS, MOST_TOKENS, letters
from tokenizer.merge import EDGE, Row, byte_pairs, lay, merges_of, scratch_of
from tokenizer.normalize import normalized
from tokenizer.pairs import EMPTY
from tokenizer.pretokenize import Pattern, splitter
from tokenizer.vocabulary import Vocabulary

ALPHABET = np.array([*LETTERS], np.uint8)
DEFAULT_PATTERN = "gpt2"
COUNTS_FILE = "pieces.parquet"
# Places are unsigned numbers of 32 bits.
MOST_CELLS = (1 << 32) - 1
# Pairs that are rarer than one in so many for each token are not kept track of at first. Of 140 MB
# of English, 32,000 tokens take pairs down to a third of that.
RARE = 16
# Tokens that are learned between two words of progress.
STEP = 256
# Memory of the merges for each byte and each piece that is learned from (measured).
BYTE_MEMORY, PIECE_MEMORY = 16, 48


@dataclass(frozen=True)
class Train:
    """How a tokenizer is trained, or which one is loaded instead."""

    pattern: Pattern = (
        DEFAULT_PATTERN  # names in pretokenize.PATTERNS or patterns of one's own, in turn
    )
    vocab_size: int = 8192  # bytes, special and reserved tokens included
    special_tokens: tuple[str, ...] = ("<|endoftext|>",)  # the first one ends a document
    reserved_tokens: int = 0  # special tokens without a meaning yet, the last ones (BLOOM: 200)
    multiple_of: int = 1  # vocab_size is rounded up to a multiple, by more merges (BLOOM: 128)
    min_frequency: int = 2  # a pair must occur so often to be merged
    max_token_length: int = 0  # bytes; 0 is without bound
    min_count: int = 1  # pieces that occur less often are left out; 2 saves most of the memory
    normalization: Literal["", "NFC", "NFKC"] = ""  # decode no longer gives the text back
    balance: str = ""  # a column of names, such as language: each counts as said below
    alpha: float = 0.3  # a share of the text becomes share^alpha; 1 leaves it, 0 makes all equal
    ratios: dict[str, float] = field(default_factory=dict)  # or these; who is not named is left out
    load: str | None = (
        None  # a tokenizer.json, vocab.json or *.tiktoken (pattern completes it) to use as it is
    )

    def __post_init__(self) -> None:
        splitter(self.pattern)
        unused = given(self).keys() - {"load", "pattern"} if self.load else ()
        if unused:
            raise RecipeError(
                f"tokenizer.{min(unused)}: says how to train, but load: {self.load} uses a "
                "tokenizer as it is; leave one of them out"
            )
        self._check_bounds()
        smallest = 256 + len(self.specials)
        if not smallest <= self.vocab_size or not self.size <= MOST_TOKENS:
            raise RecipeError(
                f"tokenizer.vocab_size: {self.vocab_size}; write {smallest} (256 bytes and "
                f"{len(self.specials)} special tokens) to {MOST_TOKENS}"
            )
        if len(set(self.specials)) < len(self.specials) or "" in self.specials:
            raise RecipeError("tokenizer.special_tokens: each must be different, and none empty")
        if self.max_token_length == 1:
            raise RecipeError(
                "tokenizer.max_token_length: write 2 or more bytes, or 0 for no bound"
            )
        if self.normalization not in ("", "NFC", "NFKC"):
            raise RecipeError(f"tokenizer.normalization: {self.normalization}; write NFC or NFKC")

    def _check_bounds(self) -> None:
        for name, low, high in (
            ("min_frequency", 1, 1 << 62),
            ("min_count", 1, 1 << 40),
            ("multiple_of", 1, MOST_TOKENS),
            ("reserved_tokens", 0, MOST_TOKENS),
            ("max_token_length", 0, 1 << 30),
        ):
            if not low <= getattr(self, name) <= high:
                raise RecipeError(f"tokenizer.{name}: {getattr(self, name)}; write {low} to {high}")
        for name in self.special_tokens:
            if name in BYTE_OF or any(0xD800 <= ord(letter) < 0xE000 for letter in name):
                raise RecipeError(
                    f"tokenizer.special_tokens: {name!r} is what a byte is written as, or no text; "
                    "write a name such as <|endoftext|>"
                )
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"tokenizer.alpha: {self.alpha:g}; write 0 to 1")
        if self.ratios and not self.balance:
            raise RecipeError("tokenizer.ratios: name the column they are about, as `balance:`")
        if any(not ratio >= 0 or ratio == float("inf") for ratio in self.ratios.values()):
            raise RecipeError("tokenizer.ratios: write numbers of 0 or more")

    @property
    def specials(self) -> tuple[str, ...]:
        """All special tokens, those in reserve last."""
        return self.special_tokens + tuple(f"<|reserved_{i}|>" for i in range(self.reserved_tokens))

    @property
    def size(self) -> int:
        """The size of the vocabulary, a multiple of what was asked for."""
        return -(-self.vocab_size // self.multiple_of) * self.multiple_of


def counting_facts(settings: Train) -> dict[str, Any]:
    """The settings on which counts depend: others may change without counting again."""
    return {name: getattr(settings, name) for name in ("pattern", "normalization", "balance")}


def row_of(pieces: pa.Table) -> Row:
    """All pieces in one row, the most frequent ones first."""
    counts = pieces["count"].to_numpy()
    lengths = pc.binary_length(pieces["piece"]).to_numpy()
    order = np.argsort(-counts, kind="stable")
    ends = np.cumsum(lengths[order] + 1, dtype=np.int64)
    begins = np.empty(len(order), np.int64)
    begins[order] = ends - lengths[order]
    numbers = np.empty(256, np.int32)
    numbers[ALPHABET] = np.arange(256)
    cells = np.empty(int(ends[-1]) + 1 if len(ends) else 1, np.int32)
    cells[0] = EDGE
    row = 0
    for chunk in pieces["piece"].chunks:
        lay(*view(chunk), begins[row : row + len(chunk)], numbers, cells)
        row += len(chunk)
    ordered = counts[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], [True] * (len(order) > 0)))
    stretches = np.concatenate([[0], ends[last] + 1])
    return Row(cells, stretches, ordered[last])


def train(
    pieces: pa.Table,
    settings: Train,
    unit: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Vocabulary:
    """The vocabulary that BPE learns from counted pieces; special tokens come last.

    `unit` is what one occurrence counts; `progress` is told of new tokens. All
    occurrences of a piece must be in one row.
    """
    size = int(pc.sum(pc.binary_length(pieces["piece"])).as_py() or 0) + pieces.num_rows + 1
    if size > MOST_CELLS:
        raise CurateError(
            f"{size} bytes of distinct pieces; at most {MOST_CELLS} can be learned from: "
            "leave rare ones out with min_count"
        )
    goal = settings.size - len(settings.specials)
    starts = np.zeros(goal + 2, np.int64)
    starts[:257] = np.arange(257)
    # Tokens of one byte are not in it: what is looked for has two bytes at least.
    slots = np.full(1 << (2 * goal).bit_length(), -1, np.int32)
    done = np.full(1 << (2 * goal + 2).bit_length(), EMPTY, np.uint64)
    spelled = (ALPHABET.copy(), starts, np.ones(goal + 1, np.int32), slots, done)
    least = settings.min_frequency * unit
    first = max(least, int((pc.sum(pieces["count"]).as_py() or 0) / (RARE * goal)))
    longest = settings.max_token_length or 1 << 40
    scratch, row = (scratch_of(goal), scratch_of(goal)), row_of(pieces)
    so_far = byte_pairs(row, np.int64(first)), np.empty(3 << 12, np.int32), 0, 256
    before = until = 0
    while before == until < goal:
        until = min(max(until, 256) + STEP, goal)
        spelling, so_far = merges_of(row, spelled, scratch, (until, least, longest), so_far)
        progress(so_far[3] - before)
        spelled, before = (spelling, *spelled[1:]), so_far[3]
    progress(len(settings.specials))
    _, merges, count, number = so_far
    spelling = spelled[0]
    text = spelling.tobytes()
    tokens = tuple(text[i:j] for i, j in pairwise(starts[: number + 1].tolist()))
    written = set(map(letters, tokens))
    for name in settings.specials:
        # As bytes, or as byte-level files write them: there it would take the token's place.
        if name.encode() in tokens or name in written:
            raise CurateError(
                f"the text taught {name!r} as a word; name the special token otherwise"
            )
    specials = {name: len(tokens) + i for i, name in enumerate(settings.specials)}
    pattern: Any = settings.pattern
    rows = merges[: 3 * count].reshape(-1, 3)
    return Vocabulary(tokens, rows, pattern, specials, normalization=settings.normalization)


def add_batch(counter: Counter, batch: Batch, settings: Train) -> None:
    """Count the texts of a batch, by group where groups are to be in balance."""
    groups = None
    if settings.balance:
        if settings.balance not in batch.schema.names:
            there = ", ".join(batch.schema.names)
            raise InputError(f"no column {settings.balance!r} to balance by; there are: {there}")
        groups = batch.column(settings.balance)
        if pa.types.is_nested(groups.type):
            raise InputError(f"column {settings.balance!r} holds {groups.type}, not names")
    counter.add(normalized(batch.column(TEXT), settings.normalization), groups)


def learn(
    paths: Sequence[Path],
    settings: Train,
    memory: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Vocabulary, dict[str, Any]]:
    """The vocabulary learned from files of counts, and what was counted.

    `memory` is what may be taken; where it is not given, what is free.
    """
    memory = memory or free_memory()
    totals = totals_of(paths)
    weights, unit = None, 1
    if settings.balance:
        weights, unit = balance.weights_of(totals, settings.alpha, settings.ratios), balance.ONE
    weights = weights or dict.fromkeys(totals, 1)
    pieces, said = kept_pieces(summed(paths, memory // 3, weights), settings.min_count, unit)
    refuse_large(pieces, memory)
    vocabulary = train(pieces, settings, unit, progress)
    return vocabulary, {
        "documents": sum(documents for documents, _ in totals.values()),
        "bytes": sum(size for _, size in totals.values()),
        **said,
        "vocab_size": vocabulary.size,
        "missing": settings.size - vocabulary.size,
        "merges": len(vocabulary.merges),
        "longest_token": max(len(token) for token in vocabulary.tokens),
        "normalization": settings.normalization,
        "groups": balance.shares_of(totals, weights) if settings.balance else {},
        "fingerprint": vocabulary.fingerprint(),
    }


def kept_pieces(
    parts: Iterator[pa.Table], least: int, unit: int
) -> tuple[pa.Table, dict[str, int]]:
    """All pieces that occur so often, and how many there were and are left out."""
    tables = [COUNTS.empty_table()]
    sums = np.zeros(4, np.int64)
    for part in parts:
        table = kept = part.cast(COUNTS)
        if least > 1:  # what is weighted may count less than one, and stays
            kept = table.filter(pc.greater_equal(table["count"], least * unit))
        tables.append(kept)
        counts = (int(pc.sum(one["count"]).as_py() or 0) for one in (table, kept))
        sums += [table.num_rows, kept.num_rows, *counts]
    rows, kept_rows, every, kept = sums.tolist()
    return pa.concat_tables(tables), {
        "pieces": every // unit,
        "distinct_pieces": rows,
        "left_out": (every - kept) // unit,
        "distinct_left_out": rows - kept_rows,
    }


def refuse_part(path: Path, settings: Train, memory: int | None) -> None:
    """Refuse to go on once the pieces of one part alone are too many to learn from."""
    if settings.min_count > 1 or settings.balance:
        return
    memory = memory or free_memory()
    with pq.ParquetFile(path) as file:
        said = file.metadata
        size = sum(said.row_group(k).total_byte_size for k in range(said.num_row_groups))
        if memory_for(size, said.num_rows) > memory:  # it may be: numbers and names are in it too
            refuse_large(file.read(["piece", "count"]), memory, "at least ")


def memory_for(size: int, pieces: int) -> int:
    """The memory in which so many pieces of so many bytes are learned from."""
    return size * BYTE_MEMORY + pieces * PIECE_MEMORY


def refuse_large(pieces: pa.Table, memory: int, about: str = "") -> None:
    """Refuse pieces that cannot be learned from in so much memory."""
    size = int(pc.sum(pc.binary_length(pieces["piece"])).as_py() or 0)
    needs = memory_for(size, pieces.num_rows)
    if needs > memory:
        once = int(pc.sum(pc.less(pieces["count"], 2)).as_py() or 0)
        raise InputError(
            f"learning from {about}{pieces.num_rows} distinct pieces needs {shown(needs)} of "
            f"memory, and there are {shown(memory)}: give --memory {-(-needs >> 20)}M, or leave "
            f"out rare ones with min_count ({once} occur once)"
        )


def remarks(said: dict[str, Any]) -> list[str]:
    """What of a training its user should know, in lines."""
    lines = []
    if said["missing"]:
        lines.append(
            f"{said['vocab_size']} tokens, {said['missing']} less than asked for: no other pair is "
            "frequent enough in this text; train on more, or lower vocab_size or min_frequency"
        )
    if said["distinct_left_out"]:
        lines.append(
            f"{said['distinct_left_out']} rare pieces left out, "
            f"{said['left_out'] / max(said['pieces'], 1):.2%} of all occurrences"
        )
    if said["normalization"]:
        lines.append(
            f"text is changed to {said['normalization']} before it is encoded: decoding gives the "
            "changed text back"
        )
    for group, shares in said["groups"].items():
        if not shares["weight"]:
            lines.append(f"{group!r} has no ratio: its {shares['bytes']} bytes are left out")
    return lines
