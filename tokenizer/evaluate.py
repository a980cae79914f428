"""How well tokenizers serve each language: counted in one pass over the texts, side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Positions, view
from curate.errors import InputError
from tokenizer import vocabulary
from tokenizer.counting import count_pieces
from tokenizer.encode import Encoder, Tokens
from tokenizer.inputs import Labelled
from tokenizer.vocabulary import Vocabulary

# Words come with the space before them, if one stands there: what the tokenizer meets in the text.
WORD = r" ?[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N} ]+| "
IS_WORD = r"^ ?[\p{L}\p{M}\p{N}]"
# Scripts that put no spaces between words.
SPACELESS = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    r"\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Javanese}\p{Balinese}\p{Yi}]"
)
# Texts of a language wait until they are so many bytes: a batch may hold one row of each of many.
BLOCK_BYTES = 1 << 18


class Words(NamedTuple):
    """Different words as they stand in the text, and how often each does."""

    forms: pa.Array
    counts: Positions

    @property
    def total(self) -> int:
        """How many words the text has."""
        return int(self.counts.sum())


def words_of(texts: pa.Array) -> Words:
    """The words of these texts."""
    counted = count_pieces(texts, WORD)
    # As strings: on binary columns Arrow's patterns take each byte for a character of Latin-1.
    pieces = pa.array(counted["piece"].combine_chunks()).cast(pa.string())
    is_word = pc.match_substring_regex(pieces, IS_WORD)
    return Words(pieces.filter(is_word), counted["count"].filter(is_word).to_numpy())


@dataclass
class Facts:
    """What is counted of a language's texts whatever the tokenizer; and texts not counted yet."""

    documents: int = 0
    size: int = 0
    characters: int = 0
    words: int = 0
    spaceless_words: int = 0
    nulls: int = 0
    invalid: int = 0
    waiting: list[pa.Array] = field(default_factory=list)
    waiting_bytes: int = 0

    @property
    def is_spaceless(self) -> bool:
        """Whether most words are of a script that puts no spaces between them."""
        return 2 * self.spaceless_words > self.words

    def wait(self, labelled: Labelled) -> int:
        """Keep these texts for later; how many bytes wait."""
        self.nulls += labelled.nulls
        self.invalid += labelled.invalid
        self.waiting.append(labelled.texts)
        self.waiting_bytes += int(pc.sum(pc.binary_length(labelled.texts)).as_py() or 0)
        return self.waiting_bytes

    def take(self) -> tuple[pa.Array, Words]:
        """Count the texts that wait, and give them away."""
        texts = pa.concat_arrays([pa.array([], pa.string()), *self.waiting])
        words = words_of(texts)
        self.documents += len(texts)
        self.size += self.waiting_bytes
        self.characters += int(pc.sum(pc.utf8_length(texts)).as_py() or 0)
        self.words += words.total
        spaceless = pc.match_substring_regex(words.forms, SPACELESS).to_numpy(zero_copy_only=False)
        self.spaceless_words += int(words.counts[spaceless.astype(bool)].sum())
        self.waiting, self.waiting_bytes = [], 0
        return texts, words


@dataclass
class Tally:
    """What is counted of a language with one tokenizer; only tokens that occur take memory."""

    tokens: int = 0
    word_tokens: int = 0
    whole: int = 0
    changed: int = 0  # documents that decoding does not give back
    used: Positions = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: Positions = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, encoder: Encoder, texts: pa.Array, words: Words) -> None:
        """Count these texts as well."""
        tokens, ends = encoder.encode(texts)
        lengths = np.diff(encoder.encode(words.forms)[1])
        self.tokens += len(tokens)
        self.word_tokens += int((lengths * words.counts).sum())
        self.whole += int(words.counts[lengths == 1].sum())
        self.changed += changed_rows(encoder, texts, tokens, ends)
        full = np.bincount(tokens, minlength=encoder.vocabulary.size)
        full[self.used] += self.counts
        self.used = np.flatnonzero(full)
        self.counts = full[self.used]


def changed_rows(encoder: Encoder, texts: pa.Array, tokens: Tokens, ends: Positions) -> int:
    """How many texts are not what their tokens decode to."""
    data, offsets = view(texts)
    if encoder.decode(tokens) == data[offsets[0] : offsets[-1]].tobytes():
        return 0
    return sum(
        encoder.decode(tokens[ends[row] : ends[row + 1]])
        != data[offsets[row] : offsets[row + 1]].tobytes()
        for row in range(len(texts))
    )


class Judged:
    """A tokenizer that is judged, and what was counted with it, language by language."""

    def __init__(self, name: str, tokenizer: Vocabulary) -> None:
        self.name = name
        self.vocabulary = tokenizer
        self.encoder = Encoder(tokenizer)
        self.tallies: dict[str, Tally] = {}

    def total(self) -> Tally:
        """What was counted of all languages together."""
        total = Tally()
        full = np.zeros(self.vocabulary.size, np.int64)
        for tally in self.tallies.values():
            total.tokens += tally.tokens
            total.word_tokens += tally.word_tokens
            total.whole += tally.whole
            total.changed += tally.changed
            full[tally.used] += tally.counts
        total.used = np.flatnonzero(full)
        total.counts = full[total.used]
        return total


class Evaluation:
    """Tokenizers and what was counted with them; memory is set by languages and vocabularies."""

    def __init__(self, tokenizers: dict[str, Vocabulary]) -> None:
        self.judged = [Judged(name, tokenizer) for name, tokenizer in tokenizers.items()]
        self.facts: dict[str, Facts] = {}

    def add(self, labelled: Labelled) -> None:
        """Count these texts too, now or when more of their language wait."""
        facts = self.facts.setdefault(labelled.language, Facts())
        if facts.wait(labelled) >= BLOCK_BYTES:
            self._count(labelled.language, facts)

    def finish(self) -> "Evaluation":
        """Count what still waits; the evaluation itself."""
        for language in sorted(self.facts):
            self._count(language, self.facts[language])
        if not any(facts.documents for facts in self.facts.values()):
            nulls = sum(facts.nulls for facts in self.facts.values())
            raise InputError(
                f"no text in the input ({nulls} rows without one); name Parquet or JSONL files "
                "with a column 'text', TSV, or plain text"
            )
        return self

    def _count(self, language: str, facts: Facts) -> None:
        texts, words = facts.take()
        for judged in self.judged:
            tally = judged.tallies.setdefault(language, Tally())
            if len(texts):
                tally.add(judged.encoder, texts, words)


def evaluate(tokenizers: dict[str, Vocabulary], texts: Iterable[Labelled]) -> Evaluation:
    """All that is counted of these texts with these tokenizers, by their names."""
    evaluation = Evaluation(tokenizers)
    for labelled in texts:
        evaluation.add(labelled)
    return evaluation.finish()


def load_named(paths: Sequence[Path]) -> dict[str, Vocabulary]:
    """Tokenizers by short names: of their folders or files, numbered where two are the same."""
    named: dict[str, Vocabulary] = {}
    for path in paths:
        name = short = short_name(path)
        number = 1
        while name in named:
            number += 1
            name = f"{short}-{number}"
        named[name] = vocabulary.load(path)
    return named


def short_name(path: Path) -> str:
    """What a tokenizer's folder or file is called, less what all are called."""
    path = path.resolve()
    if path.is_file() and path.stem in ("tokenizer", "vocab"):
        path = path.parent
    name = path.name if path.is_dir() else path.stem
    return name.removesuffix("_vocab").removesuffix("-vocab") or name
