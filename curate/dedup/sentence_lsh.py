"""Sentences, lines or paragraphs that are nearly alike: all but the first are cut out.

Baichuan 2 (Yang et al. 2023, arXiv:2309.10305, section 2.2) takes sentences and paragraphs out by
LSH and publishes no settings. Here a unit is the set of n-grams of characters of what
`normalise` makes of it. MinHash puts it into `bands` buckets of `rows` slots each; a unit in a
bucket with an earlier one goes if both are similar enough, told by other hashes than those that
brought them together. Each is compared with the first of a bucket only, never along a chain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Mask, Positions, View, view
from curate.dedup import repeats
from curate.dedup.leaders import similarity
from curate.dedup.repeats import (
    CHECKS,
    ENDS,
    FIRST_STAYS,
    GOES,
    KEYS,
    STARTS,
    STAYS,
    Names,
    Rule,
    Units,
)
from curate.dedup.segments import (
    UNITS,
    Fold,
    Normalise,
    Rules,
    Segments,
    Unit,
    fold,
    folded,
    segments,
)
from curate.dedup.shingles import EMPTY, further_rounds, mixed, nibble, round_seeds, throw
from curate.errors import RecipeError
from curate.hashing import hash_bytes
from curate.kernel import helper
from curate.schema import TEXT, Batch
from curate.survey import Means, Task
from curate.utf8 import starts_character

NAMES = Names("sentence_lsh.similar", "sentence_lsh.nothing_left", "sentence_lsh_cut")

# 64 checks of four bits in four numbers: the estimate's deviation is .05 at a similarity of .8.
_WORDS = 4
_CHECKS = 16 * _WORDS
_CHECK_SHIFT = np.uint64(64 - 6)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_FOUR = np.uint64(4)
_SPARE = 64  # n-grams for each slot that further rounds throw again, as in shingles.py


class Space(NamedTuple):
    """Scratch space for one unit."""

    out: Bytes
    seeds: Hashes
    slots: Hashes
    checks: Hashes
    stored: Hashes


@helper
def _character_grams(size: int, ngram: int, space: Space) -> int:
    """Throw the n-grams of characters of the folded unit once; how many there are, at least one."""
    out, seeds, slots, checks, stored = space
    slots[:] = EMPTY
    checks[:] = EMPTY
    count, inside, start = 0, 0, 0
    for at in range(size + 1):
        if at < size and not starts_character(out[at]):
            continue
        # A unit of fewer characters is one n-gram.
        if inside >= ngram or (at == size and count == 0):
            gram = hash_bytes(out, start, at)
            throw(gram, seeds[0], 0, slots)
            check = mixed(gram)
            place = check >> _CHECK_SHIFT
            checks[place] = min(checks[place], check)
            if count < len(stored):
                stored[count] = gram
            count += 1
            start += 1
            while start < size and not starts_character(out[start]):
                start += 1
        inside += 1
    return count


@helper
def _sketch(
    texts: View,
    found: Segments,
    fold: Fold,
    shape: tuple[int, int],
    out: tuple[Hashes, Hashes, Space],
) -> None:
    """Write the keys of each unit's bands and its checks; none where the unit is left alone."""
    keys, checks, space = out
    ngram, rows = shape
    bands = keys.shape[1]
    for row in range(len(found.offsets) - 1):
        text = texts.data[texts.offsets[row] : texts.offsets[row + 1]]
        for unit in range(found.offsets[row], found.offsets[row + 1]):
            if found.keys[unit] == 0:
                continue
            size = folded(text, found.starts[unit], found.ends[unit], space.out, fold)
            count = _character_grams(size, ngram, space)
            further_rounds(space.stored[: min(count, len(space.stored))], space.seeds, space.slots)
            slot = 0
            for band in range(bands):
                key = mixed(np.uint64(band) + _BASE)
                for _ in range(rows):
                    key = mixed(key ^ space.slots[slot]) + _BASE
                    slot += 1
                keys[unit, band] = max(key, np.uint64(1))
            for k in range(_CHECKS):
                word = checks[unit, k >> 4]
                checks[unit, k >> 4] = (word << _FOUR) | nibble(space.checks[k])


class Firsts(NamedTuple):
    """What becomes of a shard's distinct keys, and the first unit of each that may go."""

    verdicts: Bytes
    rows: NDArray[np.uint32]
    where: Positions  # among those that may go
    threshold: float


@helper
def _mark(
    units: Units, places: Positions, known: tuple[Firsts, Positions], checks: Hashes, marks: Bytes
) -> None:
    """Mark the units that are similar to the first of one of their bands.

    `checks` are those of the units, and behind them those of the firsts, as `known` says where.
    """
    firsts, where = known
    bands = len(places) // max(len(units.starts), 1)
    for row in range(len(units.sizes)):
        for unit in range(units.offsets[row], units.offsets[row + 1]):
            for band in range(bands):
                place = places[unit * bands + band]
                if place < 0 or firsts.verdicts[place] == STAYS:
                    continue
                is_first = firsts.verdicts[place] == FIRST_STAYS
                if is_first and firsts.rows[place] == units.first + row:
                    firsts.verdicts[place] = GOES  # whatever follows is another one
                    continue
                other = where[firsts.where[place]]
                if marks[unit] == 0 and similarity(checks, unit, other) >= firsts.threshold:
                    marks[unit] = 1


@dataclass(frozen=True)
class Sentences:
    """Cuts out units of text that are similar to one in a document with a smaller id.

    Or to an earlier one in the same document. Similar are two units whose sets of n-grams of
    `ngram` characters have a Jaccard similarity of `threshold`, as 64 hashes estimate it. By the
    buckets alone 98 of 100 pairs of similarity .8 are found with 8 bands of 4 rows. Units of less
    than `min_bytes`, as compared, are left alone. A document of which nothing is left is dropped.

    Columns: `sentence_lsh_cut`, how many units went.
    """

    unit: Unit = "sentences"
    normalise: Normalise = "words"
    ngram: int = 5
    bands: int = 8
    rows: int = 4
    threshold: float = 0.8
    min_bytes: int = 20
    seed: int = 1

    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise RecipeError(f"threshold: {self.threshold:g}; write 0 to 1")
        if self.normalise == "none":
            raise RecipeError("normalise: none; write spaces-case, words or ccnet")
        for name, most in (("ngram", 1000), ("bands", 256), ("rows", 64), ("min_bytes", 1 << 30)):
            if not 1 <= getattr(self, name) <= most:
                raise RecipeError(f"{name}: {getattr(self, name)}; write 1 to {most}")

    def rule(self) -> Rule:
        """Which units go."""
        return Rule(2, True, False, self.bands, _WORDS)

    def survey(self, batch: Batch) -> pa.Table:
        """Where the units of every text lie, the keys of their bands, and their checks."""
        texts = view(batch.column(TEXT))
        rules = Rules(UNITS[self.unit], 1, self.min_bytes, False)
        found = segments(texts, np.zeros(batch.num_rows, np.uint64), rules, self.normalise)
        keys = np.zeros((len(found.keys), self.bands), np.uint64)
        checks = np.zeros((len(found.keys), _WORDS), np.uint64)
        longest = int(np.diff(texts.offsets).max(initial=0))
        slots = self.bands * self.rows
        space = Space(
            np.empty(2 * longest + 8, np.uint8),
            round_seeds(2 * slots, self.seed),
            np.empty(slots, np.uint64),
            np.empty(_CHECKS, np.uint64),
            np.empty(_SPARE * slots, np.uint64),
        )
        shape = self.ngram, self.rows
        _sketch(texts, found, fold(self.normalise), shape, (keys, checks, space))
        columns = {KEYS: keys, STARTS: found.starts, ENDS: found.ends, CHECKS: checks}
        return repeats.table(batch, np.diff(texts.offsets), found.offsets, columns)

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
        """What goes from every document that no earlier survey dropped."""
        return repeats.decided(self, surveys, gone, means)

    def spread(self, task: Task, folder: Path) -> Task:
        """The distinct keys of a shard."""
        return repeats.spread_task(self.rule(), task, folder)

    def judge(self, task: Task, folder: Path) -> Task:
        """What becomes of the keys in a part of the hashes, in all shards."""
        return repeats.judge_task(self.rule(), task, folder)

    def cut(self, task: Task, folder: Path) -> Task:
        """The table of a shard."""
        marker = Similar(task, self.threshold)
        return repeats.cut_task(task, folder, NAMES, 1, marker)


class Similar:
    """Which units of a shard are similar to the first of one of their bands."""

    def __init__(self, task: Task, threshold: float) -> None:
        judged, folder = repeats.listed(task["judged"]), Path(task["keys"])
        verdicts = repeats.shard_verdicts(judged, task["shard"])
        self.checks = repeats.shard_checks(judged, task["shard"], _WORDS)
        where = np.cumsum(verdicts != STAYS) - 1
        rows = np.asarray(repeats.stored(folder, "rows"))
        self.firsts = Firsts(verdicts, rows, where, threshold)
        self.keys = repeats.stored(folder, "keys")

    def __call__(self, batch: pa.RecordBatch, units: Units, keys: Hashes) -> Bytes:
        """A mark for each unit; keys of those that take no part are NO_KEY."""
        own = repeats.lists(batch, CHECKS)[0].reshape(-1, _WORDS)
        places = repeats.places_of(keys, self.keys)
        # The firsts that these documents need, behind their own.
        needed = np.unique(places[places >= 0])
        needed = self.firsts.where[needed[self.firsts.verdicts[needed] != STAYS]]
        where = np.full(len(self.checks), -1, np.int64)
        where[needed] = np.arange(len(needed)) + len(own)
        checks = np.concatenate([own, self.checks[needed]])
        marks = np.zeros(len(own), np.uint8)
        _mark(units, places, (self.firsts, where), checks, marks)
        return marks
