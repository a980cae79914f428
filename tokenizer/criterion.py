"""BLOOM's criterion: a multilingual tokenizer beside one trained on each language alone.

Le Scao et al. 2022, section 3.2, wanted a fertility in each language no more than 10 percentage
points worse than that of a monolingual tokenizer, and give fertility as tokens "per word or per
dataset". What is computed here, and held against the bound (.10), for each language:

    degradation = tokens of the multilingual / tokens of the monolingual tokenizer - 1

on the same text. The words of a text are the same for both, so this is also the relative change of
tokens per word, whatever a word is; it has a meaning in languages without spaces too. (The paper's
table 1 seems to divide by the multilingual tokenizer's fertility, for it has 1.34 beside 1.16 as
"+13 %". By that reckoning .10 would be 11 % more tokens; ours is the stricter.)

The monolingual tokenizer is trained on one half of the language's documents, and both are judged
on the other one. The half is the lowest bit of a 64-bit hash of the text: the same in each run and
order of files, and two equal texts are never on both sides. Less text than the vocabulary asks for
gives a weak yardstick, which is told: `short` says that the monolingual tokenizer ran out of pairs
to merge before it had `vocab_size` tokens.

In the JSON of `tokenizer/evaluated.py` the key `criterion` has

    most          the bound
    vocab_size, pattern    of the monolingual tokenizers, as asked for
    languages     language, documents, bytes (of the training half), vocab_size (reached), short,
                  tokens, fertility (monolingual, held-out half), degradation (of each tokenizer, by
                  its name; null where a half is empty)
    passes        whether each tokenizer, by its name, keeps the bound in all languages; null where
                  no language could be compared
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Bytes, view
from curate.errors import InputError
from curate.hashing import hash_bytes
from curate.kernel import helper
from tokenizer.counting import COUNTS, count_pieces
from tokenizer.encode import Encoder
from tokenizer.evaluate import BLOCK_BYTES, Evaluation
from tokenizer.inputs import Labelled
from tokenizer.measures import ratio
from tokenizer.pretokenize import Pattern
from tokenizer.train import Train, train
from tokenizer.vocabulary import Vocabulary

# There are as many encoders as languages: small caches, half a megabyte each.
SLOTS = 1 << 11
# Counts of blocks are summed when they have so many rows.
PENDING_ROWS = 1_000_000
SMALLEST = 256

Texts = Callable[[], Iterable[Labelled]]


@dataclass(frozen=True)
class Criterion:
    """The bound, and the tokenizers that set it."""

    most: float = 0.10
    vocab_size: int = 32_000
    pattern: Pattern = "gpt2"


@helper
def choose_halves(data: Any, offsets: Any, halves: Any) -> None:
    """Write 1 for each text that is held out."""
    for row in range(len(halves)):
        hashed: Any = hash_bytes(data, offsets[row], offsets[row + 1])
        halves[row] = hashed & np.uint64(1)


def halves_of(texts: pa.Array) -> Bytes:
    """0 for each text to train on, 1 for each that is held out."""
    halves = np.empty(len(texts), np.uint8)
    choose_halves(*view(texts), halves)
    return halves


def half(labelled: Labelled, side: int) -> Labelled:
    """The texts of one side; rows without text count as held out."""
    chosen = labelled.texts.filter(pa.array(halves_of(labelled.texts) == side))
    return labelled._replace(texts=chosen) if side else Labelled(labelled.language, chosen)


@dataclass
class Pieces:
    """What a monolingual tokenizer is trained on: counted pieces, and texts that wait for it."""

    documents: int = 0
    size: int = 0
    waiting: list[pa.Array] = field(default_factory=list)
    waiting_bytes: int = 0
    tables: list[pa.Table] = field(default_factory=list)

    def add(self, texts: pa.Array, pattern: Pattern) -> None:
        """Count these texts as well, now or when more wait."""
        size = int(pc.sum(pc.binary_length(texts)).as_py() or 0)
        self.documents += len(texts)
        self.size += size
        self.waiting.append(texts)
        self.waiting_bytes += size
        if self.waiting_bytes >= BLOCK_BYTES:
            self.count(pattern)

    def count(self, pattern: Pattern) -> None:
        """Count the texts that wait."""
        if self.waiting:
            self.tables.append(count_pieces(pa.concat_arrays(self.waiting), pattern))
        self.waiting, self.waiting_bytes = [], 0
        if sum(table.num_rows for table in self.tables[1:]) > PENDING_ROWS:
            self.tables = [summed(self.tables)]


def summed(tables: list[pa.Table]) -> pa.Table:
    """The sum of counts by piece, sorted by piece."""
    every = pa.concat_tables([COUNTS.empty_table(), *tables])
    total = every.group_by("piece").aggregate([("count", "sum")])
    table = pa.table([total["piece"], total["count_sum"]], schema=COUNTS)
    return table.take(pc.sort_indices(table, [("piece", "ascending")]))


def counted(texts: Iterable[Labelled], pattern: Pattern) -> dict[str, Pieces]:
    """The pieces of each language's training half."""
    counts: dict[str, Pieces] = {}
    for labelled in texts:
        kept = half(labelled, 0).texts
        counts.setdefault(labelled.language, Pieces()).add(kept, pattern)
    for pieces in counts.values():
        pieces.count(pattern)
    return counts


def monolingual(counts: dict[str, Pieces], settings: Criterion) -> Iterator[tuple[str, Vocabulary]]:
    """A tokenizer of each language that has text to train on; its counts are let go."""
    section = Train(pattern=settings.pattern, vocab_size=settings.vocab_size, special_tokens=())
    for language in sorted(counts):
        pieces = counts[language]
        if pieces.documents:
            yield language, train(summed(pieces.tables), section)
        pieces.tables = []


def compare(
    evaluation: Evaluation,
    texts: Texts,
    settings: Criterion,
    trained: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Judge on the held-out half, beside monolingual tokenizers; the JSON's `criterion`."""
    counts = counted(texts(), settings.pattern)
    encoders: dict[str, Encoder] = {}
    for language, vocabulary in monolingual(counts, settings):
        encoders[language] = Encoder(vocabulary, SLOTS)
        trained(language)
    alone = dict.fromkeys(counts, 0)
    documents = 0
    for labelled in texts():
        held_out = half(labelled, 1)
        evaluation.add(held_out)
        documents += len(held_out.texts)
        if labelled.language in encoders:
            alone[labelled.language] += len(encoders[labelled.language].encode(held_out.texts)[0])
    if not documents:
        raise InputError("no text is held out: there are too few different documents to judge on")
    evaluation.finish()
    rows: list[dict[str, Any]] = []
    for language in sorted(counts):
        size = encoders[language].vocabulary.size if language in encoders else SMALLEST
        rows.append(
            {
                "language": language,
                "documents": counts[language].documents,
                "bytes": counts[language].size,
                "vocab_size": size,
                "short": size < settings.vocab_size,
                "tokens": alone[language],
                "fertility": ratio(alone[language], evaluation.facts[language].words),
                "degradation": {
                    judged.name: ratio(judged.tallies[language].tokens, alone[language]) - 1
                    for judged in evaluation.judged
                },
            }
        )
    return {
        "most": settings.most,
        "vocab_size": settings.vocab_size,
        "pattern": settings.pattern,
        "languages": rows,
        "passes": {
            judged.name: passes([row["degradation"][judged.name] for row in rows], settings.most)
            for judged in evaluation.judged
        },
    }


def passes(degradations: list[float], most: float) -> bool | None:
    """Whether none is above the bound; None where there is nothing to compare."""
    known = [number for number in degradations if number == number]
    return all(number <= most for number in known) if known else None
