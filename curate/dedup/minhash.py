"""Documents with nearly the same text: MinHash over n-grams, banded, and then verified."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.column import Hashes, Mask, Numbers, Offsets, Positions, view
from curate.dedup import linked
from curate.dedup.buckets import Documents
from curate.dedup.columns import DUPLICATE_OF, binaries, only
from curate.dedup.datasketch import signatures
from curate.dedup.keeping import PREFERENCE, Keep, check, preference
from curate.dedup.known import known, verified_files, with_settings
from curate.dedup.leaders import (
    Linked,
    Rule,
    by_document,
    first_of_links,
    followers,
    group_labels,
    in_order,
    side_by_side,
)
from curate.dedup.linked import Batches, Desk, Numbered, Piece, chosen_rows, numbered, pieces
from curate.dedup.sets import shingle_sets
from curate.dedup.shingles import CHECKS, Unit, sketches, workspace
from curate.errors import RecipeError
from curate.kernel import helper
from curate.room import Needs, require
from curate.schema import BOUND, DROPPED_BY, ID, TEXT, VALUE, Batch
from curate.survey import Means, Task

REASON = "minhash.duplicate"
REASON_KNOWN = "minhash.known"  # a duplicate of a document of an earlier run
CLUSTER = "cluster_size"
CHECK = "checks"
SIGNATURE = "signature"
SHINGLES = "shingles"  # how many, repeated ones too; 0: the document has no signature

# Every worker holds so many hashes, and so many words; published settings need 9,000 and 5.
MOST_HASHES, LONGEST_NGRAM = 65_536, 1_000
MOST_TRIED = 1_024  # hashes, of which all bands and rows are tried: .5 s


class Preset(NamedTuple):
    """Bands, rows and n-grams as published; hashes and normalisation are our own."""

    bands: int
    rows: int
    ngram: int = 5
    unit: Unit = "words"


PRESETS = {
    "fineweb": Preset(14, 8),
    "dclm": Preset(93, 15),
    "refinedweb": Preset(450, 20),
    "olmo3": Preset(26, 11),
    "nemo": Preset(20, 13, 24, "characters"),
}


@dataclass(frozen=True)
class MinHash:
    """Of documents with nearly the same set of n-grams one stays.

    Two documents of Jaccard similarity J become candidates with the probability
    1 - (1 - J**rows)**bands. `bands` and `rows` are given, or those of a `preset` (fineweb, dclm,
    refinedweb, olmo3, nemo), or those that err least at a `threshold` among `hashes`. Without any
    of them they are FineWeb's 14 and 8.

    In the order of `keep` (see curate/dedup/keeping.py; ids decide between equals), a document
    goes if its `similarity` to a candidate that stays is at least this, so that a chain of pairs
    cannot remove what does not resemble a document that stays. `verify: text` compares the n-grams
    themselves, read again for candidates alone: no document goes that is less similar. `sketch`
    estimates it from 512 checks that the bands do not use, with a standard deviation of at most
    .022 (at J = .5; .020 at .7 and .8), and reads no text. With `none` one document stays of all
    that are linked, as other systems do. `measure: containment` compares the share of a document's
    own n-grams that the one that stays has, instead of Jaccard's.

    A document of fewer than `ngram` words (or characters, by `unit`) has no signature and is
    nobody's duplicate; empty ones and short copies are for exact.Exact. Words and characters: see
    curate/dedup/shingles.py. `scheme: datasketch` makes the signatures of that library bit for bit,
    from n-grams joined by a space, and keeps them in the survey's table (`datasketch-legacy`: as
    before its version 2); it is slower.

    `index: true` keeps the signatures of what the whole run keeps in its output, and `against`
    names the outputs of such runs: their documents stay, whatever they resemble, and what resembles
    one of them goes as `minhash.known`. The next dump is compared with all of them.

    Columns: `duplicate_of`, the id of the document that stays, for those that go, and
    `cluster_size`, how many documents it stands for, for those that stay. VALUE is the similarity
    to the document that stays.
    """

    ngram: int | None = None
    unit: Unit | None = None
    bands: int | None = None
    rows: int | None = None
    preset: str | None = None
    threshold: float | None = None
    hashes: int = 128
    seed: int = 1
    scheme: Literal["fast", "datasketch", "datasketch-legacy"] = "fast"
    verify: Literal["text", "sketch", "none"] = "text"
    similarity: float = 0.7
    measure: Literal["jaccard", "containment"] = "jaccard"
    keep: Keep = "longest"
    against: tuple[str, ...] = ()
    index: bool = False

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    adds: ClassVar = (CLUSTER,)

    def __post_init__(self) -> None:
        check(self.keep)
        self._resolve()
        for name in ("ngram", "bands", "rows"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; at least 1")
        if self.slots > MOST_HASHES:
            raise RecipeError(f"bands * rows is {self.slots}; at most {MOST_HASHES}")
        if self.window > LONGEST_NGRAM:
            raise RecipeError(f"ngram is {self.ngram}; at most {LONGEST_NGRAM}")
        if not 0 <= self.similarity <= 1:
            raise RecipeError(f"similarity is {self.similarity}; from 0 to 1")
        if self.measure == "containment" and self.verify != "text":
            raise RecipeError("measure: containment is of texts; write `verify: text`")
        if self.scheme != "fast" and self.unit != "words":
            raise RecipeError(f"scheme: {self.scheme} is of words; leave `unit` and nemo away")

    def _resolve(self) -> None:
        """Fill in what a preset, a threshold or nothing says of the settings that are not given."""
        found: dict[str, Any] = {**PRESETS["fineweb"]._asdict()}
        if self.preset is not None and self.threshold is not None:
            raise RecipeError("preset and threshold both say how many bands there are; write one")
        if self.preset is not None:
            if self.preset not in PRESETS:
                raise RecipeError(f"preset is {self.preset!r}; there are {', '.join(PRESETS)}")
            found = PRESETS[self.preset]._asdict()
        if self.threshold is not None:
            if not 0 < self.threshold < 1 or not 2 <= self.hashes <= MOST_TRIED:
                raise RecipeError(
                    f"threshold is {self.threshold} and hashes {self.hashes}; write a threshold "
                    f"above 0 and below 1, and 2 to {MOST_TRIED} hashes"
                )
            found["bands"], found["rows"] = banding(self.threshold, self.hashes)
        chosen = self.preset is not None or self.threshold is not None
        for name, value in found.items():
            given = getattr(self, name)
            if chosen and name in ("bands", "rows") and given not in (None, value):
                by = "preset" if self.preset is not None else "threshold"
                raise RecipeError(f"{name} is {given}, and {by} says {value}; leave one away")
            object.__setattr__(self, name, value if given is None else given)

    @property
    def slots(self) -> int:
        """How many hashes a signature has."""
        return int(self.bands or 0) * int(self.rows or 0)

    @property
    def window(self) -> int:
        """How many words or characters an n-gram has."""
        return int(self.ngram or 0)

    @property
    def columns(self) -> list[str]:
        """The columns of a survey that hold a key for each band."""
        return [f"band_{band}" for band in range(int(self.bands or 0))]

    def survey(self, batch: Batch) -> pa.Table:
        """A key per band and the checks of every document, and how it is preferred; no text."""
        texts, rows = view(batch.column(TEXT)), batch.num_rows
        keys = np.zeros((rows, len(self.columns)), np.uint64)
        checks = np.zeros((rows, CHECKS // 2), np.uint8)
        space = workspace(self.slots, self.window, self.seed, self.unit or "words")
        counts: Offsets = sketches(texts, keys, checks, self.rows, space)
        signed = counts > 0
        columns = {ID: batch.column(ID), PREFERENCE: preference(batch, self.keep), SHINGLES: counts}
        if self.scheme != "fast":
            made = signatures(texts, self.window, self.slots, self.seed, self.scheme)
            keys = made.astype(np.uint64).reshape(rows * len(self.columns), int(self.rows or 0))
            keys = band_keys(keys).reshape(rows, len(self.columns))
            columns[SIGNATURE] = binaries(made, signed)
        for band, name in enumerate(self.columns):
            columns[name] = pa.array(np.ascontiguousarray(keys[:, band]), mask=~signed)
        table = pa.table({**columns, CHECK: binaries(checks, signed)})
        return with_settings(table, self._sketch())

    def _sketch(self) -> dict[str, Any]:
        """The settings that a survey's numbers depend on."""
        names = ("ngram", "unit", "bands", "rows", "seed", "scheme")
        return {"kind": "minhash.MinHash", **{name: getattr(self, name) for name in names}}

    def files(self) -> dict[str, Path]:
        """The earlier runs that documents are compared with."""
        return verified_files(self.against, self._sketch())

    def needs(self, documents: int) -> Needs:
        """What finding the candidates among so many documents takes, besides each task's share."""
        return Needs(13 * documents, documents * (13 + 4 * len(self.columns)))

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
        """Every document that is too much like one that stays goes.

        Held are 13 bytes for each document, and in each task what `means` allows; the rest lies on
        the disk, where a candidate takes its n-grams, 8 bytes each, while texts are compared.
        """
        earlier = known(self.against, self._sketch())
        documents = numbered([*surveys, *earlier.surveys], gone, means.folder)
        means = replace(means, texts=[*means.texts, *earlier.texts])
        batches, found = self._candidates(documents, means)
        own = int(documents.starts[len(surveys)])
        settled = self._settled(documents, own, batches, found, means) if batches.count else []
        ends = documents.starts[1 : len(surveys) + 1]
        for start, end, mask in zip(documents.starts, ends, gone, strict=False):
            yield self._verdicts(settled, int(start), int(end), ~mask)

    def _candidates(self, documents: Numbered, means: Means) -> tuple[Batches, list[str]]:
        """Which documents are linked by keys, in batches; and where the buckets lie."""
        tasks = linked.shares(self.columns, documents.size, means.memory)
        tasks = [{**task, "documents": documents.as_task()} for task in tasks]
        found = [task["folder"] for task in means.each(self, "find", tasks)]
        room = max(1, means.memory // (320 + 16 * len(self.columns)))
        batches = linked.batches(documents.size, found, room, means.folder)
        if batches.count > 1:
            tasks = [{"folder": folder, "batches": batches.as_task()} for folder in found]
            found = [task["folder"] for task in means.each(self, "regroup", tasks)]
        return batches, found

    def find(self, task: Task, folder: Path) -> Task:
        """Which documents share keys."""
        return linked.write_buckets(task, folder)

    def regroup(self, task: Task, folder: Path) -> Task:
        """The same, batch by batch."""
        return linked.regroup(task, folder)

    def _settled(
        self, documents: Numbered, own: int, batches: Batches, found: list[str], means: Means
    ) -> list["Settled"]:
        texts = means.texts if self.verify == "text" else [None] * len(documents.surveys)
        self._require(documents, batches, means)
        tasks = [
            {
                "survey": str(path),
                "texts": text and str(text),
                "start": int(start),
                "end": int(end),
                "batches": batches.as_task(),
            }
            for path, text, start, end in zip(
                documents.surveys, texts, documents.starts[:-1], documents.starts[1:], strict=True
            )
        ]
        gathered = [task["folder"] for task in means.each(self, "gather", tasks)]
        common: Task = {"pieces": gathered, "buckets": found, "own": own, "memory": means.memory}
        tasks = [
            {**common, "batch": batch, "batches": batches.as_task()}
            for batch in range(batches.count)
        ]
        done = means.each(self, "settle", tasks)
        return [Settled.read(Path(task["folder"])) for task in done]

    def _require(self, documents: Numbered, batches: Batches, means: Means) -> None:
        """Refuse to gather what the disk cannot hold."""
        share = batches.documents / max(1, documents.size)
        text = sum(text_bytes(path) for path in means.texts) if self.verify == "text" else 0
        # An n-gram has 8 bytes and is written twice; the shortest words have two with their space,
        # and on real pages six: for most corpora this is three times too much.
        disk = int(share * text * 8) + 600 * batches.documents
        require("minhash.MinHash", Needs(0, disk), means.folder)

    def gather(self, task: Task, folder: Path) -> Task:
        """What is known of the candidates in one survey, those of a batch together."""
        start = task["start"]
        rows, ends = chosen_rows(Batches.of(task["batches"]), start, task["end"])
        table = pq.read_table(task["survey"], columns=[ID, PREFERENCE, CHECK], use_threads=False)
        np.save(folder / "ends.npy", ends)
        np.save(folder / "number.npy", (rows + start).astype(np.int32))
        np.save(folder / "id.npy", linked.wide(table.column(ID), ">u8", 2)[rows])
        np.save(folder / "preference.npy", table.column(PREFERENCE).to_numpy()[rows])
        np.save(folder / "checks.npy", linked.wide(table.column(CHECK), "<u8", CHECKS // 16)[rows])
        if task["texts"]:
            self._gather_sets(Path(task["texts"]), rows, folder)
        return {"folder": str(folder)}

    def _gather_sets(self, texts: Path, rows: Positions, folder: Path) -> None:
        """Write the n-grams of these rows, in the order of the file, and where each one's lie."""
        wanted = np.sort(rows)
        sizes = [np.zeros(0, np.int64)]
        with pq.ParquetFile(texts) as file, (folder / "sets.bin").open("wb") as out:
            first = 0
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                own = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, last)]
                if len(own):
                    column = file.read_row_group(group, [TEXT], use_threads=False).column(0)
                    some = column.take(pa.array(own - first)).combine_chunks()
                    sets, ends = shingle_sets(view(some), self.window, self.unit or "words")
                    out.write(sets.data)
                    sizes.append(np.diff(ends))
                first = last
        lengths = np.concatenate(sizes)
        starts = np.cumsum(lengths) - lengths
        places = np.searchsorted(wanted, rows)
        np.save(folder / "set_start.npy", starts[places])
        np.save(folder / "set_size.npy", lengths[places])

    def settle(self, task: Task, folder: Path) -> Task:
        """Decide about the documents of one batch."""
        batch, batches = task["batch"], Batches.of(task["batches"])
        found, desk = pieces(task["pieces"]), Desk(folder, task["memory"])
        numbers = np.concatenate([piece.rows("number", batch) for piece in found])
        places = batches.numbers("place")[numbers]
        number, ids, wish, checks = (
            linked.assembled(found, name, batch, places, desk)
            for name in ("number", "id", "preference", "checks")
        )
        fixed = number >= task["own"]
        labels = group_labels(batches.numbers("group")[number])
        order = in_order(labels, fixed, wish, ids)
        members, ends = side_by_side(*linked.buckets_of(task["buckets"], batch, batches), labels)
        sets, set_ends = np.zeros(0, np.uint64), np.zeros(len(number) + 1, np.int64)
        if self.verify == "text":
            sets, set_ends = _sets(found, batch, places, desk)
        own, own_ends = by_document(members, ends, len(number))
        known = Linked(order, fixed, checks, sets, set_ends, members, ends, own, own_ends)
        if self.verify == "none":
            kept, scores = first_of_links(known, labels)
        else:
            by_text = self.verify == "text"
            rule = Rule(self.similarity, by_text, self.measure == "containment")
            kept, scores = followers(known, rule)
        Settled.write(folder, Decided(number, ids, fixed, kept, scores))
        return {"folder": str(folder)}

    def _verdicts(self, settled: list["Settled"], start: int, end: int, there: Mask) -> pa.Table:
        """The verdicts about the documents of one survey."""
        rows = end - start
        dropped, value = np.zeros(rows, np.bool_), np.full(rows, np.nan)
        reasons = np.full(rows, REASON, object)
        of, size = np.zeros((rows, 2), ">u8"), np.ones(rows, np.int32)
        for batch in settled:
            own = slice(*np.searchsorted(batch.number, [start, end]))
            place = batch.number[own] - start
            dropped[place], value[place], of[place] = True, batch.score[own], batch.of[own]
            reasons[place[batch.known[own]]] = REASON_KNOWN
            own = slice(*np.searchsorted(batch.leader, [start, end]))
            size[batch.leader[own] - start] = batch.size[own]
        bound = np.full(rows, self.similarity)
        return pa.table(
            {
                DROPPED_BY: only(reasons, dropped, pa.string()),
                DUPLICATE_OF: binaries(of, dropped),
                VALUE: only(value, dropped, pa.float64()),
                BOUND: only(bound, dropped & (self.verify != "none"), pa.float64()),
                CLUSTER: only(size, there & ~dropped, pa.int32()),
            }
        )


class Decided(NamedTuple):
    """The documents of a batch, and what was decided about each."""

    number: Documents
    id: Hashes
    fixed: Mask  # of an earlier run
    kept: Documents  # the place of the one that stays
    score: Numbers


class Settled(NamedTuple):
    """What was decided about a batch, by number: who goes, and how many stand behind who stays."""

    number: Documents  # of those that go, ascending
    of: Hashes  # id of the one that stays
    known: Mask  # which is one of an earlier run
    score: Numbers
    leader: Documents  # of those that others go for, ascending
    size: Documents

    @classmethod
    def read(cls, folder: Path) -> "Settled":
        """What a task has written, read as it is needed."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls._fields))

    @classmethod
    def write(cls, folder: Path, batch: Decided) -> None:
        """Write what was decided."""
        gone = np.flatnonzero(batch.kept != np.arange(len(batch.kept)))
        gone = gone[np.argsort(batch.number[gone])]
        stays = batch.kept[gone]
        sizes = np.bincount(batch.kept, minlength=len(batch.kept)).astype(np.int32)
        leads = np.flatnonzero((sizes > 1) & ~batch.fixed)
        leads = leads[np.argsort(batch.number[leads])]
        columns = cls(
            batch.number[gone],
            batch.id[stays].astype(">u8"),
            batch.fixed[stays],
            batch.score[gone],
            batch.number[leads],
            sizes[leads],
        )
        for name, column in columns._asdict().items():
            np.save(folder / f"{name}.npy", column)


def _sets(
    found: list[Piece], batch: int, places: Positions, desk: Desk
) -> tuple[Hashes, Positions]:
    """The n-grams of a batch's documents in one array."""
    sizes = linked.assembled(found, "set_size", batch, places, desk)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    sets: Hashes = desk.room("sets", (int(ends[-1]),), np.uint64)
    at = 0
    for piece in found:
        starts = piece.rows("set_start", batch)
        own = places[at : at + len(starts)]
        source = piece.folder / "sets.bin"
        if len(starts) and source.stat().st_size:
            copy_rows(np.memmap(source, np.uint64, "r"), starts, sizes[own], sets, ends[own])
        at += len(starts)
    return sets, ends


@helper
def copy_rows(
    source: Hashes, starts: Positions, sizes: Positions, out: Hashes, to: Positions
) -> None:
    """Copy stretches of an array to where they belong."""
    for i in range(len(starts)):
        out[to[i] : to[i] + sizes[i]] = source[starts[i] : starts[i] + sizes[i]]


@helper
def band_keys(rows: Hashes) -> Hashes:
    """A key for every row of hashes."""
    keys = np.zeros(len(rows), np.uint64)
    for i in range(len(rows)):
        for value in rows[i]:
            key = (keys[i] ^ value) * np.uint64(0xFF51AFD7ED558CCD)
            keys[i] = (key ^ (key >> np.uint64(32))) + np.uint64(0x9E3779B97F4A7C15)
    return keys


def text_bytes(path: Path) -> int:
    """How many bytes the texts in a Parquet file have, unpacked."""
    metadata = pq.read_metadata(path)
    place = metadata.schema.to_arrow_schema().get_field_index(TEXT)
    groups = range(metadata.num_row_groups)
    return sum(metadata.row_group(g).column(place).total_uncompressed_size for g in groups)


@cache
def banding(threshold: float, hashes: int) -> tuple[int, int]:
    """The bands and rows that err least, as datasketch weighs it.

    Summed are the probability of a pair below the threshold to be found, and of one above to be
    missed, over all similarities.
    """
    steps = np.arange(2000)
    below, above = (threshold * (steps + 0.5) / 2000, 1 - (1 - threshold) * (steps + 0.5) / 2000)
    best, found = float("inf"), (1, 1)
    for bands in range(1, hashes + 1):
        for rows in range(1, hashes // bands + 1):
            wrong = threshold * (1 - (1 - below**rows) ** bands).mean()
            missed = (1 - threshold) * ((1 - above**rows) ** bands).mean()
            if wrong + missed < best:
                best, found = float(wrong + missed), (bands, rows)
    return found
