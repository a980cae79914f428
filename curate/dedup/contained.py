"""Documents that are a part of another: candidates from samples, confirmed by the whole texts.

A survey keeps the n-grams whose hash is below 2**64 / `scale` (FracMinHash, Irber et al. 2022,
doi:10.1101/2022.01.11.475838): of a part and of the whole the same ones, so that the share of the
part's n-grams which the whole has is estimated without bias, however much longer the whole is.

A decision has four steps, each in fixed memory but the last: who shares an n-gram with whom, by
ranges of hashes (`link`); for which pairs these are enough, by ranges of documents (`candidates`);
the sets of n-grams of their texts (`read`, `confirm`); and in order of size who is a part of whom.
The last holds 40 bytes for a pair.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.column import Hashes, Mask, Numbers, Positions, view
from curate.dedup import keeping
from curate.dedup.columns import DUPLICATE_OF, binaries, fixed_width, on_disk, only
from curate.dedup.keeping import PREFERENCE, Keep
from curate.dedup.sets import intersection, shingle_sets
from curate.errors import RecipeError
from curate.schema import BOUND, DROPPED_BY, ID, TEXT, VALUE, Batch
from curate.survey import Means, Task

REASON = "contained.contained"
PARTS = "contained_count"
SHINGLES = "shingles"  # how many distinct n-grams a text has
SAMPLED = "sampled"  # how many of them are below the limit
SAMPLE = "sample"  # these, and of short texts the smallest

# Texts with few n-grams below the limit keep so many of the smallest, by which such texts meet.
FEWEST = 8
# An n-gram offers at most so many documents, the largest that have it: one that is in a million
# pages costs this much a page, and not its square. Whole and part meet by other n-grams too.
LEADERS = 32
# Of a part's sample a whole has fewer than expected, by more than so many standard deviations, in
# one case of a thousand.
_DEVIATIONS = 3.0

_BYTES_PER_LINK = 160  # hash, document, what they are sorted by, and the order
_MOST_BITS = 12
_ROWS = 1 << 14  # that are read at once; of texts, which may be books:
_TEXTS = 64
_LINKS = 1 << 16  # documents whose pairs are written at once
_PAIRS = 1 << 16  # that are confirmed at once
NOBODY = -1


@dataclass(frozen=True)
class Contained:
    """A document goes if `share` of its distinct word n-grams are in one larger that stays.

    LLaMA dropped books with more than 90 % overlap. Of two documents the one with more distinct
    n-grams stays, of equals that of `keep` (see curate/dedup/keeping.py), then the smaller id. The
    share is exact: both texts are read. Candidates are found by samples of one n-gram of `scale`:
    a part of n n-grams shares none of its sample with the whole, and is missed, with a probability
    of (1 - 1 / scale)**n, .0016 for a hundred at a scale of 16; one that is only just large enough,
    at 3 standard deviations. A document of fewer than `ngram` words is part of nothing. Words: see
    curate/dedup/shingles.py.

    Columns: `duplicate_of`, the id of the document that stays, for those that go, and
    `contained_count`, how many documents it stands for, itself included, for those that stay. VALUE
    is the share of n-grams.
    """

    ngram: int = 5
    share: float = 0.9
    scale: int = 16
    keep: Keep = "longest"

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    adds: ClassVar = (PARTS,)

    def __post_init__(self) -> None:
        keeping.check(self.keep)
        for name, most in (("ngram", 1_000), ("scale", 1 << 20)):
            if not 1 <= getattr(self, name) <= most:
                raise RecipeError(f"{name} is {getattr(self, name)}; from 1 to {most}")
        if not 0 < self.share <= 1:
            raise RecipeError(f"share is {self.share}; more than 0, and at most 1")

    def survey(self, batch: Batch) -> pa.Table:
        """How many n-grams every text has, and a sample of them."""
        hashes, offsets = shingle_sets(view(batch.column(TEXT)), self.ngram)
        limit = np.uint64((2**64 - 1) // self.scale)
        # Sorted, so that a sample is the beginning of its set.
        below = np.concatenate([np.zeros(1, np.int64), np.cumsum(hashes <= limit)])
        sampled, sizes = np.diff(below[offsets]), np.diff(offsets)
        taken = np.maximum(sampled, np.minimum(sizes, FEWEST))
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(taken)])
        places = np.arange(ends[-1]) + np.repeat(offsets[:-1] - ends[:-1], taken)
        sample = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(hashes[places]))
        return pa.table(
            {
                ID: batch.column(ID),
                PREFERENCE: keeping.preference(batch, self.keep),
                SHINGLES: sizes,
                SAMPLED: sampled,
                SAMPLE: sample,
            }
        )

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
        """Every document that is a part of one that stays goes."""
        shelf = Shelf.filled(means.folder, surveys, gone)
        pairs = self._candidates(shelf, means)
        kept = parts(shelf, pairs, shares(self, shelf, pairs, means), self.share)
        return self._verdicts(shelf, kept, gone)

    def _candidates(self, shelf: "Shelf", means: Means) -> Positions:
        """Pairs of documents, part and whole, whose samples say that they may be."""
        wanted = -(-shelf.postings() * _BYTES_PER_LINK // max(means.memory, 1))
        bits = min(max(wanted - 1, 0).bit_length(), _MOST_BITS)
        # Of links there are more than of n-grams, where many documents have the same.
        several = 1 << (bits + 3) if bits else 1
        task = {"folder": str(means.folder), "bits": bits, "ranges": several}
        links = means.each(self, "link", [{**task, "range": place} for place in range(1 << bits)])
        folders = [link["folder"] for link in links]
        asked = [{**task, "range": place, "links": folders} for place in range(several)]
        found = means.each(self, "candidates", asked)
        return np.concatenate([np.load(Path(task["folder"]) / "pairs.npy") for task in found])

    def link(self, task: Task, folder: Path) -> Task:
        """Who shares an n-gram of this range of hashes with whom, by ranges of documents."""
        shelf = Shelf.open(Path(task["folder"]))
        hashes, documents = _postings(shelf, task["bits"], task["range"])
        limit = np.uint64((2**64 - 1) // self.scale)
        for links in linked(shelf, hashes, documents, limit):
            which = links[:, 0] * task["ranges"] // len(shelf.sizes)
            for place in np.unique(which).tolist():
                with (folder / str(place)).open("ab") as out:
                    links[which == place].tofile(out)
        return {"folder": str(folder)}

    def candidates(self, task: Task, folder: Path) -> Task:
        """The pairs that share enough of the part's sample, for a range of documents."""
        shelf = Shelf.open(Path(task["folder"]))
        counted = np.zeros((0, 3), np.int64)
        for path in (Path(name) / str(task["range"]) for name in task["links"]):
            if path.exists():
                links = np.fromfile(path, np.int64).reshape(-1, 3)
                counted = summed(np.concatenate([counted, links]))
        closed = np.zeros(len(counted), np.int64)
        hidden = counted[counted[:, 1] == NOBODY]
        place = np.searchsorted(hidden[:, 0], counted[:, 0])
        there = place < len(hidden)
        there[there] = hidden[place[there], 0] == counted[there, 0]
        closed[there] = hidden[place[there], 2]
        sampled = np.maximum(shelf.sampled[counted[:, 0]] - closed, 0)
        spread = _DEVIATIONS * np.sqrt(sampled * self.share * (1 - self.share))
        enough = counted[:, 2] >= sampled * self.share - spread
        np.save(folder / "pairs.npy", counted[enough & (counted[:, 1] != NOBODY), :2])
        return {"folder": str(folder)}

    def read(self, task: Task, folder: Path) -> Task:
        """The sets of n-grams of some rows of a file of texts."""
        rows = np.load(task["rows"])
        ends = [np.zeros(1, np.int64)]
        with (folder / "hashes").open("wb") as out, pq.ParquetFile(task["texts"]) as file:
            start = 0
            for batch in file.iter_batches(_TEXTS, columns=[TEXT], use_threads=False):
                first, last = np.searchsorted(rows, [start, start + batch.num_rows])
                if first < last:
                    texts = batch.column(0).take(pa.array(rows[first:last] - start))
                    hashes, offsets = shingle_sets(view(texts), self.ngram)
                    hashes.tofile(out)
                    ends.append(ends[-1][-1] + offsets[1:])
                start += batch.num_rows
        np.save(folder / "ends.npy", np.concatenate(ends))
        return {"folder": str(folder)}

    def confirm(self, task: Task, folder: Path) -> Task:
        """For some pairs the share of the part's n-grams that the whole has."""
        sets = Sets(task["read"])
        pairs = np.load(Path(task["folder"]) / "pairs.npy", mmap_mode="r")
        own = pairs[task["first"] : task["first"] + _PAIRS]
        found = [intersection(sets[part], sets[whole]) / len(sets[part]) for part, whole in own]
        np.save(folder / "shares.npy", np.array(found, np.float64))
        return {"folder": str(folder)}

    def _verdicts(self, shelf: "Shelf", kept: "Kept", gone: list[Mask]) -> Iterator[pa.Table]:
        end = 0
        for away in gone:
            start, end = end, end + len(away)
            first, last = np.searchsorted(kept.documents, [start, end])
            rows = kept.documents[first:last] - start
            dropped = np.zeros(len(away), np.bool_)
            dropped[rows] = True
            ids, values = np.zeros((len(away), 2), ">u8"), np.zeros(len(away))
            ids[rows] = shelf.ids[kept.of[first:last]]
            values[rows] = kept.shares[first:last]
            first, last = np.searchsorted(kept.wholes, [start, end])
            counts = np.ones(len(away), np.int64)
            counts[kept.wholes[first:last] - start] += kept.counts[first:last]
            yield pa.table(
                {
                    DROPPED_BY: pc.if_else(pa.array(dropped), REASON, pa.scalar(None, pa.string())),
                    DUPLICATE_OF: binaries(ids.view(np.uint8), dropped),
                    VALUE: only(values, dropped, pa.float64()),
                    BOUND: only(np.full(len(away), self.share), dropped, pa.float64()),
                    PARTS: only(counts, ~away & ~dropped, pa.int64()),
                }
            )


class Shelf(NamedTuple):
    """What surveys say of all documents, numbered through; on disk, and read as it is needed."""

    surveys: list[Path]
    starts: Positions  # the number of each survey's first document
    sizes: Positions  # 0 where a document is gone
    sampled: Positions
    preferences: Numbers
    ids: Hashes  # two halves, as numbers

    @classmethod
    def filled(cls, folder: Path, surveys: list[Path], gone: list[Mask]) -> "Shelf":
        """The shelf of these surveys, without the documents that are gone."""
        starts = np.cumsum([0, *map(len, gone)])
        (folder / "surveys.json").write_text(json.dumps([*map(str, surveys)]))
        np.save(folder / "starts.npy", starts)
        kinds = {"sizes": "<i8", "sampled": "<i8", "preferences": "<f8", "ids": "<u8"}
        columns = {
            name: on_disk(
                folder / f"{name}.npy",
                kind,
                (max(int(starts[-1]), 1), 2)[: 1 + (name == "ids")],
            )
            for name, kind in kinds.items()
        }
        for survey, away, start in zip(surveys, gone, starts.tolist(), strict=False):
            table = pq.read_table(survey, columns=[ID, SHINGLES, SAMPLED, PREFERENCE])
            rows = slice(start, start + len(away))
            if len(away):
                ids = table.column(ID).combine_chunks()
                columns["ids"][rows] = fixed_width(ids, ">u8", 2)
                columns["sizes"][rows] = np.where(away, 0, table.column(SHINGLES).to_numpy())
                columns["sampled"][rows] = table.column(SAMPLED).to_numpy()
                columns["preferences"][rows] = table.column(PREFERENCE).to_numpy()
        return cls(surveys, starts, **columns)

    @classmethod
    def open(cls, folder: Path) -> "Shelf":
        """The shelf that lies in a folder."""
        surveys = [Path(name) for name in json.loads((folder / "surveys.json").read_text())]
        columns = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls._fields[1:]]
        return cls(surveys, *columns)

    def postings(self) -> int:
        """How many n-grams there are in all samples."""
        total = 0
        for start, end in pairwise(self.starts.tolist()):
            sizes = self.sizes[start:end]
            least = np.minimum(sizes, FEWEST)
            total += int(np.where(sizes, np.maximum(self.sampled[start:end], least), 0).sum())
        return total

    def ranked(self, documents: Positions, groups: Hashes) -> Positions:
        """The order of documents by group and, in it, by who would rather stay."""
        ids = self.ids[documents]
        keys = (-self.preferences[documents], -self.sizes[documents], groups)
        return np.lexsort((ids[:, 1], ids[:, 0], *keys))


def _postings(shelf: Shelf, bits: int, place: int) -> tuple[Hashes, Positions]:
    """The sampled n-grams of one range, and whose they are."""
    hashes, documents = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for survey, number in zip(shelf.surveys, shelf.starts.tolist(), strict=False):
        start = number
        with pq.ParquetFile(survey) as file:
            for batch in file.iter_batches(_ROWS, columns=[SAMPLE], use_threads=False):
                lists = batch.column(0)
                owners = start + np.repeat(
                    np.arange(len(lists)), pc.list_value_length(lists).to_numpy()
                )
                values = lists.flatten().to_numpy()
                taking = shelf.sizes[owners] > 0
                if bits:
                    taking &= _range(values, bits) == place
                hashes.append(values[taking])
                documents.append(owners[taking])
                start += len(lists)
    return np.concatenate(hashes), np.concatenate(documents)


def _range(values: Hashes, bits: int) -> Hashes:
    # Samples are the smallest hashes: their last bits are even, their first are not.
    return values & np.uint64((1 << bits) - 1)


def linked(
    shelf: Shelf, hashes: Hashes, documents: Positions, limit: np.uint64
) -> Iterator[Positions]:
    """Rows of part, whole and how many n-grams both have; NOBODY: how many offer not all wholes.

    Of these n-grams, which a page's frame may have, none is counted for a pair.
    """
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    shared = np.zeros(len(order), np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    order = order[shared]
    order = order[shelf.ranked(documents[order], hashes[order])]
    hashes, documents = hashes[order], documents[order]
    opens = np.ones(len(order), np.bool_)
    opens[1:] = hashes[1:] != hashes[:-1]
    firsts = np.maximum.accumulate(np.where(opens, np.arange(len(order)), 0))
    ranks = np.arange(len(order)) - firsts
    for start in range(0, len(order), _LINKS):
        rows = slice(start, start + _LINKS)
        counts = np.minimum(ranks[rows], LEADERS)
        ends = np.cumsum(counts)
        wholes = np.repeat(firsts[rows] - ends + counts, counts) + np.arange(counts.sum())
        closed = documents[rows][(ranks[rows] > LEADERS) & (hashes[rows] <= limit)]
        open_ = np.repeat(ranks[rows] <= LEADERS, counts).astype(np.int64)
        pairs = [np.repeat(documents[rows], counts), documents[wholes], open_]
        hidden = [closed, np.full(len(closed), NOBODY), np.ones(len(closed), np.int64)]
        yield summed(np.concatenate([np.column_stack(pairs), np.column_stack(hidden)]))


def summed(links: Positions) -> Positions:
    """Each pair once, with the sum of its counts, in order."""
    order = np.lexsort((links[:, 1], links[:, 0]))
    links = links[order]
    opens = np.ones(len(links), np.bool_)
    opens[1:] = (links[1:, :2] != links[:-1, :2]).any(axis=1)
    starts = np.flatnonzero(opens)
    if not len(starts):
        return links
    return np.column_stack([links[starts, :2], np.add.reduceat(links[:, 2], starts)])


def shares(stage: Contained, shelf: Shelf, pairs: Positions, means: Means) -> Numbers:
    """For each pair the share of the part's n-grams that the whole has, from their texts."""
    wanted = np.unique(pairs)
    bounds = np.searchsorted(wanted, shelf.starts)
    tasks = []
    for number, (first, last) in enumerate(pairwise(bounds.tolist())):
        if first < last:
            rows = means.folder / f"rows-{number}.npy"
            np.save(rows, wanted[first:last] - shelf.starts[number])
            tasks.append({"texts": str(means.texts[number]), "rows": str(rows)})
    read = [task["folder"] for task in means.each(stage, "read", tasks)]
    np.save(means.folder / "pairs.npy", np.searchsorted(wanted, pairs))
    many = range(0, len(pairs), _PAIRS)
    confirming: list[Task] = [
        {"read": read, "folder": str(means.folder), "first": first} for first in many
    ]
    done = means.each(stage, "confirm", confirming)
    found = [np.load(Path(task["folder"]) / "shares.npy") for task in done]
    return np.concatenate([np.zeros(0), *found])


class Sets:
    """Sets of n-grams that tasks have written, by number; read as they are needed."""

    def __init__(self, folders: list[str]) -> None:
        self._ends = [np.load(Path(folder) / "ends.npy") for folder in folders]
        counts = [len(ends) - 1 for ends in self._ends]
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        # A file without a byte cannot be mapped.
        self._hashes = [
            np.memmap(Path(folder) / "hashes", np.uint64, "r")
            if ends[-1]
            else np.zeros(0, np.uint64)
            for folder, ends in zip(folders, self._ends, strict=True)
        ]

    def __getitem__(self, number: int) -> Hashes:
        place = int(np.searchsorted(self._starts, number, "right")) - 1
        start, end = self._ends[place][number - self._starts[place] :][:2]
        return self._hashes[place][start:end]


class Kept(NamedTuple):
    """The documents that go, by number, and how many each whole stands for besides itself."""

    documents: Positions
    of: Positions
    shares: Numbers
    wholes: Positions
    counts: Positions


def parts(shelf: Shelf, pairs: Positions, found: Numbers, share: float) -> Kept:
    """In order of size, a document goes if it is a part of one that stays."""
    true = found >= share
    pairs, found = pairs[true], found[true]
    documents = np.unique(pairs)
    order = shelf.ranked(documents, np.zeros(len(documents), np.uint64))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    part, whole = ranks[np.searchsorted(documents, pairs)].reshape(-1, 2).T
    best = np.lexsort((whole, -found, part))
    of, value = np.arange(len(order)), np.zeros(len(order))
    # Wholes come before their parts, so that it is known who of them stays.
    for pair in best.tolist():
        small, large = part[pair], whole[pair]
        if of[small] == small and of[large] == large:
            of[small], value[small] = large, found[pair]
    gone = np.flatnonzero(of != np.arange(len(of)))
    gone = gone[np.argsort(documents[order[gone]])]
    wholes = documents[order[of[gone]]]
    numbers, counts = np.unique(wholes, return_counts=True)
    return Kept(documents[order[gone]], wholes, value[gone], numbers, counts)
