"""Lines, paragraphs and sentences that a corpus repeats are cut out of its documents.

Dialects:

- CCNet (Wenzek et al. 2019, section 3.1; cc_net's dedup.py): every copy of a line that a group of
  shards has twice goes, the first one too: {normalise: ccnet, keep: none}. There a group is 50
  of 1,600 shards; here it is the corpus, or a value of `within`.
- C4 (Raffel et al. 2020, section 2.2): "all but one of any three-sentence span": {unit: sentences,
  span: 3}; datatrove's sentence_dedup.py compares them without case and punctuation and drops
  what it leaves no more than 50 words of: {normalise: words, min_words: 51}. Sentences end here
  as curate/sentences.py says, and not as Punkt or spaCy do.
- Boilerplate: lines that n documents have: {copies: n, documents: true, keep: none}.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.column import Hashes, Mask, frozen, view
from curate.dedup import repeats
from curate.dedup.repeats import ENDS, KEYS, SIZE, STARTS, WORDS, Cutter, Rule, Taken, Units
from curate.dedup.segments import NO_KEY, UNITS, Normalise, Rules, Unit, group_hashes, segments
from curate.errors import RecipeError
from curate.schema import BOUND, CUT_BY, CUTS, DROPPED_BY, ID, LANGUAGE, TEXT, VALUE, Batch
from curate.survey import Means, Task

REASON = "lines.repeated"
LEFT = "lines.words_left"
CUT_COUNT = "lines_cut"

_DECIDED = pa.schema(
    [
        (DROPPED_BY, pa.string()),
        (VALUE, pa.float64()),
        (BOUND, pa.float64()),
        (CUTS, pa.list_(pa.int32())),
        (CUT_BY, pa.string()),
        (CUT_COUNT, pa.int32()),
    ]
)


@dataclass(frozen=True)
class Lines:
    """Cuts out units of text, or spans of units in a row, that occur `copies` times or more.

    Units are compared by a 64-bit hash of what `normalise` makes of them; what is white space
    alone is no unit. `keep` leaves none of the copies, or the first: that in the document with the
    smallest id. With `documents` it is documents that are counted, not occurrences; then the first
    document keeps all of its copies. `within` counts each value of a column apart. Spans of less
    than `min_bytes` as compared are left alone. A document of which less than `min_words` words
    are left is dropped, if anything was cut out; 0 keeps it even if it is empty.

    With keep "first" each unit of the corpus is still there once, whatever the span. Spans of more
    than one unit may become alike by what is cut out between them.

    Columns: `lines_cut`, how many units went.
    """

    unit: Unit = "lines"
    span: int = 1
    normalise: Normalise = "spaces-case"
    copies: int = 2
    keep: Literal["none", "first"] = "first"
    documents: bool = False
    within: str | None = None
    min_bytes: int = 1
    min_words: int = 1

    def __post_init__(self) -> None:
        if self.copies < 2:
            raise RecipeError(f"copies: {self.copies}; write 2 or more, for once is no repetition")
        for name, low in (("span", 1), ("min_bytes", 1), ("min_words", 0)):
            if getattr(self, name) < low:
                raise RecipeError(f"{name}: {getattr(self, name)}; write {low} or more")

    @property
    def ignores_language(self) -> bool:
        """Whether it does the same whatever language was told."""
        return self.within != LANGUAGE

    def survey(self, batch: Batch) -> pa.Table:
        """Where the units of every text lie, and their hashes."""
        texts = view(batch.column(TEXT))
        rules = Rules(UNITS[self.unit], self.span, self.min_bytes, self.min_words > 1)
        found = segments(texts, self._groups(batch), rules, self.normalise)
        offsets = pa.array(found.offsets)
        columns = {KEYS: found.keys, STARTS: found.starts, ENDS: found.ends}
        if rules.counts:
            columns[WORDS] = found.words
        return pa.table(
            {
                ID: batch.column(ID),
                SIZE: np.diff(texts.offsets),
                **{
                    name: pa.ListArray.from_arrays(offsets, pa.array(values))
                    for name, values in columns.items()
                },
            }
        )

    def _groups(self, batch: Batch) -> Hashes:
        if self.within is None:
            return np.zeros(batch.num_rows, np.uint64)
        if self.within not in batch.schema.names:
            raise RecipeError(
                f"lines.Lines: within: no column {self.within!r} here; these are there: "
                f"{', '.join(batch.schema.names)}"
            )
        column = batch.column(self.within).cast(pa.string())
        return group_hashes(view(column), column.is_null().to_numpy(False).view(np.uint8))

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
        """What goes from every document that no earlier survey dropped."""
        return repeats.decided(self, surveys, gone, means)

    def spread(self, task: Task, folder: Path) -> Task:
        """The distinct keys of a shard."""
        gone = np.load(task["gone"])
        survey = Path(task["survey"])
        keys = repeats.spread(survey, gone, task["memory"], self._rule(), folder)
        return {"folder": str(folder), "keys": keys}

    def judge(self, task: Task, folder: Path) -> Task:
        """What becomes of the keys in a part of the hashes, in all shards."""
        shards = repeats.listed(task["shards"])
        repeats.judge(shards, task["part"], task["parts"], self._rule(), folder)
        return {"folder": str(folder)}

    def _rule(self) -> Rule:
        return Rule(self.copies, self.keep == "first", self.documents)

    def cut(self, task: Task, folder: Path) -> Task:
        """The table of a shard."""
        verdicts = repeats.shard_verdicts(repeats.listed(task["judged"]), task["shard"])
        cutter = Cutter(Path(task["keys"]), verdicts, self.documents)
        gone, path = np.load(task["gone"]), folder / "decided.parquet"
        first = 0
        with pq.ParquetFile(task["survey"]) as file, pq.ParquetWriter(path, _DECIDED) as writer:
            for batch in file.iter_batches(use_threads=False):
                own = gone[first : first + batch.num_rows]
                units, keys = _units(batch, first, own)
                taken = cutter.taken(units, keys, self.span, self.min_words)
                writer.write_batch(self._decided(taken, own))
                first += batch.num_rows
        return {"table": str(path)}

    def _decided(self, taken: Taken, gone: Mask) -> pa.RecordBatch:
        cut = taken.units > 0
        drops = cut & (taken.words < self.min_words)
        nothing = pa.scalar(None, pa.string())
        bound = np.full(len(drops), self.min_words, np.float64)
        return pa.RecordBatch.from_arrays(
            [
                pc.if_else(pa.array(drops), LEFT, nothing),
                pa.array(taken.words.astype(np.float64), mask=~drops),
                pa.array(bound, mask=~drops),
                pa.ListArray.from_arrays(pa.array(taken.offsets), pa.array(taken.cuts)),
                pc.if_else(pa.array(cut & ~drops), REASON, nothing),
                pa.array(taken.units, mask=gone),
            ],
            schema=_DECIDED,
        )


def _units(batch: pa.RecordBatch, first: int, gone: Mask) -> tuple[Units, Hashes]:
    """The units of a part of a survey, and their keys: none of documents that are gone."""
    keys, offsets = repeats.lists(batch, KEYS)
    starts, ends = (repeats.lists(batch, name)[0] for name in (STARTS, ENDS))
    has_words = WORDS in batch.schema.names
    words = repeats.lists(batch, WORDS)[0] if has_words else np.empty(0, np.int32)
    sizes = batch.column(SIZE).to_numpy()
    out = np.repeat(gone, np.diff(offsets))
    # Frozen, so that there is one kernel type.
    starts, ends, words, offsets, sizes = map(frozen, (starts, ends, words, offsets, sizes))
    return Units(first, starts, ends, words, offsets, sizes), np.where(out, NO_KEY, keys)
