"""How well a vocabulary serves each language: how many tokens a word, how many bytes a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from curate.column import Positions
from curate.schema import LANGUAGE, TEXT
from tokenizer.corpus import text_batches
from tokenizer.counting import count_pieces
from tokenizer.encode import Encoder
from tokenizer.vocabulary import Vocabulary

# A word is a run of letters, marks and numbers: languages that write no spaces have long ones.
WORD = r"[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+"
UNKNOWN = "unknown"

FERTILITY = pa.schema(
    [
        ("language", pa.string()),
        ("documents", pa.int64()),
        ("bytes", pa.int64()),
        ("words", pa.int64()),
        ("tokens", pa.int64()),
        ("bytes_per_token", pa.float64()),
        ("tokens_per_word", pa.float64()),
        ("kept_whole", pa.float64()),  # share of words that are one token, a space before it or not
        ("used_tokens", pa.int64()),  # different ones
        ("renyi_efficiency", pa.float64()),
        ("round_trip", pa.bool_()),  # decoding gave the text back
    ]
)

# What fits a terminal 80 columns wide.
SHOWN = ["language", "bytes", "tokens", "bytes_per_token", "tokens_per_word", "kept_whole"]


@dataclass
class Tally:
    """What is counted of one language, block by block."""

    used: Positions
    documents: int = 0
    size: int = 0
    words: int = 0
    kept: int = 0
    round_trip: bool = True

    def add(self, encoder: Encoder, texts: pa.Array) -> None:
        """Count these texts as well."""
        texts = pc.fill_null(texts.cast(pa.binary()), b"")
        tokens, _ = encoder.encode(texts)
        words, kept = words_kept(encoder, texts)
        self.documents += len(texts)
        self.size += int(pc.sum(pc.binary_length(texts)).as_py() or 0)
        self.words += words
        self.kept += kept
        self.used += np.bincount(tokens, minlength=len(self.used))
        self.round_trip &= encoder.decode(tokens) == b"".join(texts.to_pylist())

    def row(self, language: str) -> dict[str, object]:
        """The language's row; what would be divided by 0 is NaN."""
        tokens = int(self.used.sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "language": language,
                "documents": self.documents,
                "bytes": self.size,
                "words": self.words,
                "tokens": tokens,
                "bytes_per_token": float(np.divide(self.size, tokens)),
                "tokens_per_word": float(np.divide(tokens, self.words)),
                "kept_whole": float(np.divide(self.kept, self.words)),
                "used_tokens": int(np.count_nonzero(self.used)),
                "renyi_efficiency": renyi_efficiency(self.used),
                "round_trip": self.round_trip,
            }


def evaluate(vocabulary: Vocabulary, texts: Mapping[str, pa.Array]) -> pa.Table:
    """One row for each language, in the order of their names; the columns are FERTILITY."""
    encoder = Encoder(vocabulary)
    tallies = {language: Tally(np.zeros(vocabulary.size, np.int64)) for language in texts}
    for language, column in texts.items():
        tallies[language].add(encoder, column)
    return table_of(tallies)


def evaluate_files(vocabulary: Vocabulary, paths: list[Path]) -> pa.Table:
    """One row for each value of the column `language` of these files; see `evaluate`."""
    encoder = Encoder(vocabulary)
    tallies: dict[str, Tally] = {}
    for path in paths:
        for batch in text_batches(path):
            languages = pa.repeat(pa.scalar(UNKNOWN), len(batch))
            if LANGUAGE in batch.schema.names:
                languages = pc.fill_null(batch.column(LANGUAGE).cast(pa.string()), UNKNOWN)
            for language in pc.unique(languages).to_pylist():
                texts = batch.column(TEXT).filter(pc.equal(languages, language))
                empty = Tally(np.zeros(vocabulary.size, np.int64))
                tallies.setdefault(language, empty).add(encoder, texts)
    return table_of(tallies)


def table_of(tallies: Mapping[str, Tally]) -> pa.Table:
    """The rows of all languages."""
    rows = [tallies[language].row(language) for language in sorted(tallies)]
    return pa.Table.from_pylist(rows, schema=FERTILITY)


def report(vocabulary: Vocabulary, paths: list[Path]) -> Table:
    """The evaluation of these files in short, for the terminal."""
    table = evaluate_files(vocabulary, paths)
    shown = Table(*(name.replace("_", " ") for name in SHOWN))
    for row in table.select(SHOWN).to_pylist():
        shown.add_row(*(said(value) for value in row.values()))
    return shown


def said(value: object) -> str:
    """A value as it is shown."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def words_kept(encoder: Encoder, texts: pa.Array) -> tuple[int, int]:
    """How many words there are, and how many of them are one token or one with a space."""
    counted = count_pieces(texts, WORD)
    pieces = counted["piece"].combine_chunks()
    is_word = pc.match_substring_regex(pieces, rb"^[\p{L}\p{M}\p{N}]")
    pieces, counted = pieces.filter(is_word), counted.filter(is_word)
    alone = np.diff(encoder.encode(pieces)[1])
    spaced = np.diff(encoder.encode(pc.binary_join_element_wise(b" ", pieces, b""))[1])
    counts = counted["count"].to_numpy()
    return int(counts.sum()), int(counts[np.minimum(alone, spaced) == 1].sum())


def renyi_efficiency(used: Positions, alpha: float = 2.5) -> float:
    """How evenly the vocabulary is used, 0 to 1 (Zouhar et al. 2023); NaN without tokens."""
    if used.sum() == 0 or len(used) < 2:
        return float("nan")
    shares = used / used.sum()
    entropy = np.log((shares**alpha).sum()) / (1 - alpha)
    return float(entropy / np.log(len(used)))
