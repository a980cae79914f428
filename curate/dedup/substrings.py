"""Stretches of text that occur twice or more in the corpus: they are cut out wherever they stand.

Lee et al. (Deduplicating Training Data Makes Language Models Better, ACL 2022, arXiv:2107.06499)
find them by a suffix array of the whole corpus, some nine bytes of memory for each of its bytes.
Here hashes are compared on disk, in parts that fit in memory, and of few places:

1. The survey lists anchors (see `windows`). What occurs twice has an anchor that is listed twice.
2. The text is read again where it has such anchors, and of each the stretch of windows that have it
   is hashed as one. Most stretches with one anchor are equal, and so are then their windows.
3. Where they are not, as at the edges of what was copied, every window of one stretch of each kind
   is hashed.

On 16 MB of pages and manuals of which 64 % is repeated (`benchmarks/substrings_speed.py`, one busy
core): 50 words are surveyed at 134 MB/s and decided at 25 MB/s, 100 bytes at 116 and 9; on disk the
tables had .07 and .28 bytes for each byte of text, and what was spilled .44 and 2.9. Every window
of all stretches, without the second step, was .97 and 8.5.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.column import Hashes, Mask, Offsets, Positions, frozen, view
from curate.dedup import runs
from curate.dedup.columns import fixed_width
from curate.dedup.runs import LATER, MIXED, REPEATED, Answers, Chunks, Keys
from curate.dedup.windows import (
    NO_STRETCHES,
    Shape,
    Stretches,
    Units,
    anchors,
    byte_units,
    bytes_of,
    concatenated,
    marked_stretches,
    ordered,
    places,
    shape,
    stretch_hashes,
    taken,
    union,
    whole_characters,
    window_hashes,
    within,
    word_units,
)
from curate.errors import ModelError, RecipeError, ShardError
from curate.schema import BOUND, CUT_BY, CUTS, DROPPED_BY, ID, TEXT, VALUE, Batch
from curate.survey import Means, Task
from tokenizer import vocabulary
from tokenizer.encode import Encoder

REASON = "substrings.repeated"
LITTLE_LEFT = "substrings.little_left"
BYTES_CUT = "bytes_cut"
UNITS = "units"
ANCHORS = "anchors"

Unit = Literal["words", "bytes", "tokens"]
Keep = Literal["none", "first"]

# At fewer bytes a span can vanish where it is shrunk to whole characters.
FEWEST_BYTES = 7
LONGEST = 1_000_000
# Rows whose units are made at once: those of pages then stay in a core's own memory.
_ROWS = 256
# Rows that are read at once, and how often their bytes are held then, as units of words or tokens.
_ROWS_READ, _COPIES = 1024, 32


@dataclass(frozen=True)
class Substrings:
    """What occurs twice in the corpus, `length` units or more in a row, is cut out.

    A unit is a word (what white space separates), a byte, or a token of `tokenizer`, a byte-level
    BPE that does not normalise. Lee et al.'s tool takes 50 tokens, or 100 bytes. A unit is cut if
    it lies in a window of `length` units that occurs twice or more, within one document and without
    regard to overlaps. With `keep: none` every copy of the window goes, with `keep: first` all but
    the one in the document of the smallest id, there the first. What is left of a copy that stays
    can still be cut, as a part of another window: of a letter written a million times the first
    one stays, and of "abcabcabc..." the first "abc". Every unit that goes has an equal one, further
    ahead, that stays, but in another context perhaps.

    Between two cuts nothing that is left occurs twice. Only what a cut joins can, so that a second
    run may find more. Of words the white space around a cut stays; cuts of bytes and tokens are
    shrunk to whole characters. A document of which something is cut and less than `min_left` units
    (of tokens: bytes) are left is dropped. It counts as a copy all the same, and so do the copies
    in it: what it was first to say is lost.

    Columns: `bytes_cut` of the text. VALUE is how many units a dropped document had left.
    """

    length: int = 50
    unit: Unit = "words"
    keep: Keep = "first"
    min_left: int = 1
    tokenizer: str = ""  # a tokenizer.json, or a folder with one; for tokens

    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        fewest = 1 if self.unit == "words" else FEWEST_BYTES
        if not fewest <= self.length <= LONGEST:
            raise RecipeError(f"length is {self.length}; of {self.unit} {fewest} to {LONGEST:,}")
        if self.min_left < 0:
            raise RecipeError(f"min_left is {self.min_left}; at least 0")
        if (self.unit == "tokens") != bool(self.tokenizer):
            raise RecipeError(
                f"unit is {self.unit} and tokenizer {self.tokenizer!r}; write the path of a "
                "tokenizer.json with unit: tokens, and none with others"
            )

    def files(self) -> dict[str, Path]:
        """The tokenizer's file."""
        path = Path(self.tokenizer)
        path = path / "tokenizer.json" if path.is_dir() else path
        return {self.tokenizer: path} if self.tokenizer else {}

    def survey(self, batch: Batch) -> pa.Table:
        """How many units every document has, and the anchors of its windows."""
        parts = [self._surveyed(batch.slice(0, 0))]
        for first in range(0, batch.num_rows, _ROWS):
            parts.append(self._surveyed(batch.slice(first, _ROWS)))
        return pa.concat_tables(parts).combine_chunks()

    def _surveyed(self, batch: Batch) -> pa.Table:
        units = self._units(batch.column(TEXT))
        found, _, begins = anchors(units, self._shape())
        return pa.table(
            {
                UNITS: np.diff(units.offsets),
                ANCHORS: pa.ListArray.from_arrays(pa.array(begins), pa.array(found)),
            }
        )

    def _shape(self) -> Shape:
        return shape(self.length)

    def _units(self, texts: pa.Array) -> Units:
        if self.unit == "tokens":
            return token_units(self.tokenizer, texts)
        return (word_units if self.unit == "words" else byte_units)(view(texts))

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterable[pa.Table]:
        """What every document loses, and which of them have too little left.

        A task has arrays of `means.memory` bytes, and besides of its own shard: the units of its
        longest document, a byte for every anchor, 14 for each that occurs twice, and its cuts.
        """
        shards: list[Task] = []
        for i, (survey, text, mask) in enumerate(zip(surveys, means.texts, gone, strict=True)):
            path = means.folder / f"gone-{i}.npy"
            np.save(path, mask)
            paths = {"survey": str(survey), "text": str(text), "gone": str(path)}
            shards.append({**paths, "memory": means.memory})
        for method in ("list_anchors", "hash_stretches", "hash_windows"):
            results = means.each(self, method, shards)
            answers = runs.compared(self, means, results, method)
            first = 0
            for shard, result in zip(shards, results, strict=True):
                shard[method.split("_")[1]] = {**result, "answers": answers, "first": first}
                first += len(result["runs"])
        for result in means.each(self, "write_cuts", shards):
            yield pq.read_table(result["table"])

    def compare(self, task: Task, folder: Path) -> Task:
        """Which keys of a part of all runs occur twice."""
        return runs.compare(task, folder)

    def list_anchors(self, task: Task, folder: Path) -> Task:
        """A shard's anchors, as runs."""
        chunks = Chunks(folder, task["memory"])
        alive = ~np.load(task["gone"])
        for first, batch in _batches(task, "survey", [ANCHORS]):
            lists = batch.column(ANCHORS).filter(pa.array(alive[first : first + len(batch)]))
            found = lists.flatten().to_numpy()
            while len(found):
                some, found = found[: chunks.room], found[chunks.room :]
                chunks.add(Keys(some), np.empty((3, 0), np.int32))
        return chunks.written()

    def hash_stretches(self, task: Task, folder: Path) -> Task:
        """The hashes of a shard's stretches whose anchor occurs twice, as runs."""
        chunks = Chunks(folder, task["memory"])
        marks = _Marks.read(task)
        for first, batch in _batches(task, "text", [ID, TEXT], marks.rows):
            rows = np.flatnonzero(marks.rows[first : first + len(batch)])
            batch = batch.take(pa.array(rows))
            units = self._units(batch.column(TEXT))
            listed = anchors(units, self._shape())
            own = marks.of(first + rows)
            if len(own) != len(listed[0]):
                raise ShardError(f"{task['text']}: its documents are not those that were surveyed")
            found = marked_stretches(units, self._shape(), listed, own)
            highs, lows = np.empty((2, len(found.rows)), np.uint64)
            stretch_hashes(units, self._shape(), found, highs, lows)
            numbers = found.starts.astype(np.int64)
            documents = found.rows.astype(np.int64)
            keys = Keys(highs, lows, _ids(batch), documents, numbers, listed[0][own])
            note = np.stack([(first + rows[found.rows]).astype(np.int32), *found[1:]])
            while len(keys.high):
                some, keys, part, note = _split(keys, note, chunks.room)
                chunks.add(some, part)
        return chunks.written()

    def hash_windows(self, task: Task, folder: Path) -> Task:
        """The hashes of windows in stretches that have but their anchor in common, as runs."""
        chunks = Chunks(folder, task["memory"])
        stretches = _told(task, "stretches").open
        wanted = np.zeros(len(np.load(task["gone"], mmap_mode="r")), np.bool_)
        wanted[stretches.rows] = True
        for first, batch in _batches(task, "text", [ID, TEXT], wanted):
            rows, found = within(stretches, first, len(batch))
            batch = batch.take(pa.array(rows))
            units, ids = self._units(batch.column(TEXT)), _ids(batch)
            while len(found.rows):
                some, found = taken(found, chunks.room)
                note = np.stack([(first + rows[some.rows]).astype(np.int32), *some[1:]])
                chunks.add(self._hashed(units, some, ids), note)
        return chunks.written()

    def _hashed(self, units: Units, some: Stretches, ids: Hashes) -> Keys:
        counts = (some.ends - some.starts).astype(np.int64)
        highs, lows = np.empty((2, counts.sum()), np.uint64)
        window_hashes(units, self._shape(), some, highs, lows)
        if self.keep == "none":
            return Keys(highs, lows)
        documents = np.repeat(np.arange(len(counts)), counts)
        return Keys(highs, lows, ids[some.rows], documents, places(some))

    def write_cuts(self, task: Task, folder: Path) -> Task:
        """The decision about a shard's documents."""
        counted = pq.read_table(task["survey"], columns=[UNITS]).column(0).to_numpy()
        spans = self._spans(task)
        cuts = self._byte_spans(task, spans, len(counted))
        size = _lengths(cuts, len(counted))
        left = counted - (size if self.unit == "bytes" else _lengths(spans, len(counted)))
        path = folder / "cuts.parquet"
        pq.write_table(_decision(cuts, size, left, self.min_left), path)
        return {"table": str(path)}

    def _spans(self, task: Task) -> Stretches:
        """The units of a shard that go."""
        first = self.keep == "first"
        told = _told(task, "stretches")
        goes = told.later if first else told.repeated
        parts = [self._covered(*(array[goes] for array in told.stretches))]
        answers, number = _answers(task, "windows")
        for run in task["windows"]["runs"]:
            stretches, said = Stretches(*runs.note_of(run)), answers.about(number, run)
            goes = (said & REPEATED) != 0
            if first:
                goes &= (said & LATER) != 0
            rows = np.repeat(stretches.rows, stretches.ends - stretches.starts)[goes]
            starts = places(stretches)[goes].astype(np.int32)
            parts.append(union(self._covered(rows, starts, starts + np.int32(1))))
            number += 1
        return union(ordered(concatenated(parts)))

    def _covered(self, rows: Offsets, starts: Offsets, ends: Offsets) -> Stretches:
        """The units of stretches of windows."""
        return Stretches(rows, starts, ends + np.int32(self.length - 1))

    def _byte_spans(self, task: Task, spans: Stretches, count: int) -> Stretches:
        """The bytes of these units, which do not cut a character in two."""
        has_cuts = np.zeros(count, np.bool_)
        has_cuts[spans.rows] = True
        parts = [NO_STRETCHES]
        for first, batch in _batches(task, "text", [TEXT], has_cuts):
            rows, own = within(spans, first, len(batch))
            texts = batch.column(TEXT).take(pa.array(rows))
            found = bytes_of(self._units(texts), own)
            if self.unit != "words":
                whole_characters(view(texts), found)
            some = found.starts < found.ends
            numbers = (first + rows[own.rows[some]]).astype(np.int32)
            parts.append(Stretches(numbers, found.starts[some], found.ends[some]))
        return concatenated(parts)


class _Told(NamedTuple):
    """A shard's stretches whose anchor occurs twice, and what is known of them.

    All windows with an anchor are in stretches of the anchor. Where these are all equal, each has
    the same windows, no two of them equal; where not, the windows of the open stretches, the first
    of each kind, tell what they have in common.
    """

    stretches: Stretches
    repeated: Mask
    later: Mask
    open: Stretches


def _told(task: Task, name: str) -> _Told:
    answers, number = _answers(task, name)
    notes, said = [NO_STRETCHES], [np.empty(0, np.uint8)]
    for run in task[name]["runs"]:
        notes.append(Stretches(*runs.note_of(run)))
        said.append(answers.about(number, run))
        number += 1
    stretches, every = concatenated(notes), np.concatenate(said)
    repeated = (every & REPEATED) != 0
    later = repeated & ((every & LATER) != 0)
    open_ = ((every & MIXED) != 0) & ~later
    return _Told(stretches, repeated, later, Stretches(*(array[open_] for array in stretches)))


def _answers(task: Task, name: str) -> tuple[Answers, int]:
    """The answers about some keys, and the number of the shard's first run."""
    return Answers.read(task[name]["answers"]), task[name]["first"]


def _split(keys: Keys, note: Any, most: int) -> tuple[Keys, Keys, Any, Any]:
    """The first of some keys and of their note, so many at most, and the others."""
    head = [a if a is keys.ids or a is None else a[:most] for a in keys]
    tail = [a if a is keys.ids or a is None else a[most:] for a in keys]
    whole: Any = Keys
    return whole(*head), whole(*tail), note[:, :most], note[:, most:]


def _ids(batch: Batch) -> Hashes:
    return fixed_width(batch.column(ID), ">u8", 2).astype(np.uint64)


class _Marks(NamedTuple):
    """Which of a shard's anchors occur twice, and which documents have any of these."""

    marks: Mask
    begins: Positions  # of every document's anchors
    rows: Mask

    @classmethod
    def read(cls, task: Task) -> "_Marks":
        """What the runs of a shard's anchors were answered."""
        (answers, first), gone = _answers(task, "anchors"), np.load(task["gone"])
        repeated = [np.zeros(0, np.bool_)]
        for number, run in enumerate(task["anchors"]["runs"], first):
            repeated.append((answers.about(number, run) & REPEATED) != 0)
        begins, counts = np.zeros(len(gone) + 1, np.int64), np.zeros(len(gone), np.int64)
        for first, batch in _batches(task, "survey", [ANCHORS]):
            counts[first : first + len(batch)] = pc.list_value_length(batch.column(ANCHORS))
        np.cumsum(np.where(gone, 0, counts), out=begins[1:])
        marks = np.concatenate(repeated)
        rows = np.zeros(len(gone), np.bool_)
        rows[np.searchsorted(begins, np.flatnonzero(marks), side="right") - 1] = True
        return cls(marks, begins, rows)

    def of(self, rows: Positions) -> Mask:
        """The marks of these documents, one after another."""
        parts = [self.marks[self.begins[row] : self.begins[row + 1]] for row in rows.tolist()]
        return np.concatenate([np.empty(0, np.bool_), *parts])


def _batches(
    task: Task, name: str, columns: list[str], wanted: Mask | None = None
) -> Iterator[tuple[int, Batch]]:
    """A file's rows, as many at a time as memory allows, each time with the number of the first.

    Batches without a row that is wanted are passed over.
    """
    with pq.ParquetFile(task[name]) as file:
        first = 0
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            start, first = first, first + facts.num_rows
            if wanted is not None and not wanted[start:first].any():
                continue
            size = max(facts.total_byte_size // max(facts.num_rows, 1), 1)
            rows = min(max(task["memory"] // (_COPIES * size), 1), _ROWS_READ)
            for batch in file.iter_batches(rows, row_groups=[group], columns=columns):
                if wanted is None or wanted[start : start + len(batch)].any():
                    yield start, batch
                start += len(batch)


def _lengths(spans: Stretches, count: int) -> Positions:
    """How much every document has in these spans."""
    lengths = np.zeros(count, np.int64)
    np.add.at(lengths, spans.rows, spans.ends - spans.starts)
    return lengths


def _decision(cuts: Stretches, size: Positions, left: Positions, least: int) -> pa.Table:
    """What a shard's documents lose; those with too little left are dropped as they are."""
    dropped = (size > 0) & (left < least)
    goes = ~dropped[cuts.rows]
    ends = np.zeros(len(size) + 1, np.int32)
    np.cumsum(2 * np.bincount(cuts.rows[goes], minlength=len(size)), out=ends[1:])
    pairs = np.stack([cuts.starts[goes], cuts.ends[goes]], axis=1).reshape(-1)
    is_cut = (size > 0) & ~dropped
    return pa.table(
        {
            DROPPED_BY: _named(LITTLE_LEFT, dropped),
            VALUE: pa.array(left.astype(np.float64), mask=~dropped),
            BOUND: pa.array(np.full(len(size), float(least)), mask=~dropped),
            CUTS: pa.ListArray.from_arrays(pa.array(ends), pa.array(pairs, pa.int32())),
            CUT_BY: _named(REASON, is_cut),
            BYTES_CUT: pa.array(size.astype(np.int32), mask=dropped),
        }
    )


def _named(name: str, where: Mask) -> pa.Array:
    return pc.if_else(pa.array(where), name, pa.scalar(None, pa.string()))


@cache
def encoder(path: str) -> tuple[Encoder, Offsets]:
    """A tokenizer, once per process, and how many bytes each of its tokens has."""
    found = Encoder(vocabulary.load(Path(path)))
    if found.vocabulary.normalization:
        raise ModelError(
            f"{path}: it normalises text, so that its tokens have no place in it; "
            "name a tokenizer that does not, or write unit: words"
        )
    return found, np.diff(found.starts).astype(np.int32)


def token_units(path: str, texts: pa.Array) -> Units:
    """The tokens of a byte-level BPE."""
    found, lengths = encoder(path)
    tokens, begins = found.encode(texts)
    ends = np.cumsum(lengths[tokens], dtype=np.int64)
    base = np.repeat(np.concatenate([[0], ends])[begins[:-1]], np.diff(begins))
    places = (ends - base).astype(np.int32)
    values, offsets = frozen(tokens), frozen(begins.astype(np.int32))
    return Units(values, values, offsets, frozen(places - lengths[tokens]), frozen(places))
