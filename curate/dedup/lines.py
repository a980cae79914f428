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

from curate.column import Hashes, Mask, view
from curate.dedup import repeats
from curate.dedup.repeats import ENDS, KEYS, STARTS, WORDS, Marker, Names, Rule
from curate.dedup.segments import UNITS, Normalise, Rules, Unit, group_hashes, segments
from curate.errors import RecipeError
from curate.schema import LANGUAGE, TEXT, Batch
from curate.survey import Means, Task

NAMES = Names("lines.repeated", "lines.words_left", "lines_cut")


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
        columns = {KEYS: found.keys, STARTS: found.starts, ENDS: found.ends}
        if rules.counts:
            columns[WORDS] = found.words
        return repeats.table(batch, np.diff(texts.offsets), found.offsets, columns)

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
        return repeats.spread_task(self.rule(), task, folder)

    def judge(self, task: Task, folder: Path) -> Task:
        """What becomes of the keys in a part of the hashes, in all shards."""
        return repeats.judge_task(self.rule(), task, folder)

    def rule(self) -> Rule:
        """Which units go."""
        return Rule(self.copies, self.keep == "first", self.documents)

    def cut(self, task: Task, folder: Path) -> Task:
        """The table of a shard."""
        marker = Marker(task, self.documents, self.span)
        return repeats.cut_task(task, folder, NAMES, self.min_words, marker)
