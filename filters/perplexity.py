"""Perplexity by n-gram models of KenLM, and CCNet's head, middle and tail (Wenzek et al. 2019).

CCNet keeps what is below the 30th and below the 60th percentile of a language's perplexities apart
from the rest; ROOTS drops what is above a bound for each language. Both score a document as one
line, as their normalisation takes its line ends away, and count its end as one more word.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import kenlm
import numpy as np
import pyarrow as pa

from curate import models
from curate.bounds import table
from curate.column import Bytes, Mask, Numbers, Offsets, Positions, view
from curate.errors import ModelError, RecipeError
from curate.kernel import helper
from curate.lm.normalize import normalized
from curate.lm.sentences import Sentences, Wording
from curate.schema import LANGUAGE, TEXT, Batch
from curate.stage import Stage, mark, with_column
from curate.utf8 import may_be_space, skip_space, space_size

PERPLEXITY = "perplexity"
BUCKET = "perplexity_bucket"
HEAD, MIDDLE, TAIL, ALL = "head", "middle", "tail", "all"
BUCKETS = (HEAD, MIDDLE, TAIL, ALL)

Cutoffs = dict[str, tuple[float, float]]


@helper
def word_counts(data: Bytes, offsets: Offsets, counts: Positions) -> None:
    """How many words each row has, as `str.split` parts them."""
    for row in range(len(offsets) - 1):
        at, end = skip_space(data, offsets[row], offsets[row + 1]), offsets[row + 1]
        while at < end:
            counts[row] += 1
            while at < end and not (may_be_space(data[at]) and space_size(data, at, end) > 0):
                at += 1
            at = skip_space(data, at, end)


@dataclass(frozen=True)
class Perplexity:
    """Add `perplexity`, lower where a model finds a text likelier; drop by bounds or by bucket.

    A path with {language} in its name stands for one model for each language. Documents of other
    languages have no perplexity, are in the bucket "all", and break no bound.
    """

    model: str  # an .arpa file or a KenLM binary; lm/{language}.arpa.bin
    tokenizer: str = ""  # of the model: a SentencePiece .model, a tokenizer.json, or white space
    normalize: str = "none"  # ccnet, roots
    lines: bool = False  # whether each line is scored as a sentence
    decimals: int | None = None  # CCNet and ROOTS round to one
    low: float = 0.0
    high: float | None = None
    by_language: str = ""  # a table of bounds with a column perplexity.Perplexity
    cutoffs: str = ""  # a table that parts buckets: ccnet_cutoff, or a .tsv file
    keep: tuple[str, ...] = ()  # of head, middle, tail, all; empty: all buckets

    leaves_text: ClassVar = True

    def __post_init__(self) -> None:
        Wording(self.tokenizer, self.normalize, self.lines)
        for bucket in self.keep:
            if bucket not in BUCKETS:
                raise RecipeError(f"keep: no bucket {bucket!r}; write {', '.join(BUCKETS)}")
        if self.keep and not self.cutoffs:
            raise RecipeError("keep: needs cutoffs: ccnet_cutoff, or a .tsv file of your models'")
        if self.high is not None and self.low > self.high:
            raise RecipeError(f"low: {self.low:g} is above high {self.high:g}: nothing can pass")
        if self.cutoffs:
            cutoffs(self.cutoffs)
        self._bounds()

    @property
    def adds(self) -> tuple[str, ...]:
        """The columns that it adds."""
        return (PERPLEXITY, BUCKET) if self.cutoffs else (PERPLEXITY,)

    def files(self) -> dict[str, Path]:
        """The files on which the result depends, by name."""
        found: dict[str, Path] = {}
        for name in filter(None, (self.model, self.tokenizer)):
            for language, path in models.model_files(name).items():
                found[name.replace(models.LANGUAGE, language)] = path
        for name in filter(None, (self.cutoffs, self.by_language)):
            if name.endswith(".tsv"):
                found[name] = Path(name)
        return found

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Find the models; each is loaded when a document first needs it."""
        scorers = Scorers(self)
        yield lambda batch: self.score(batch, scorers)

    def score(self, batch: Batch, scorers: "Scorers") -> Batch:
        """The batch with the perplexity of every text."""
        languages = languages_of(batch)
        if scorers.by_language and LANGUAGE not in batch.schema.names:
            raise RecipeError(
                f"perplexity.Perplexity: {self.model} needs the language of every document; "
                "put language.Identify before it"
            )
        numbers, scored = scorers.perplexities(batch.column(TEXT), languages)
        if self.decimals is not None:
            numbers = np.array([round(number, self.decimals) for number in numbers.tolist()])
        batch = with_column(batch, PERPLEXITY, pa.array(numbers, pa.float64()))
        batch = self._mark_bounds(batch, numbers, scored, languages)
        return self._with_bucket(batch, numbers, languages) if self.cutoffs else batch

    def _mark_bounds(
        self, batch: Batch, numbers: Numbers, scored: Mask, languages: list[str]
    ) -> Batch:
        bounds = self._bounds()
        if self.low == 0.0 and self.high is None and not bounds:
            return batch
        own = (self.low, math.inf if self.high is None else self.high)
        pairs = np.array([bounds.get(language, own) for language in languages]).reshape(-1, 2)
        low, high = pairs[:, 0], pairs[:, 1]
        # Not "below or above", so that NaN is dropped as well.
        broken = scored & ~((low <= numbers) & (numbers <= high))
        bound = np.where(numbers < low, low, high)
        return mark(batch, broken, "perplexity.perplexity", value=numbers, bound=bound)

    def _with_bucket(self, batch: Batch, numbers: Numbers, languages: list[str]) -> Batch:
        given = cutoffs(self.cutoffs)
        found = [
            bucket(number, given.get(language))
            for number, language in zip(numbers.tolist(), languages, strict=True)
        ]
        batch = with_column(batch, BUCKET, pa.array(found, pa.string()))
        unwanted = np.array([one not in (self.keep or BUCKETS) for one in found], np.bool_)
        return mark(batch, unwanted, "perplexity.bucket", value=numbers)

    def _bounds(self) -> dict[str, tuple[float, float]]:
        if not self.by_language:
            return {}
        bounds = table(self.by_language).get("perplexity.Perplexity")
        if bounds is None:
            raise RecipeError(
                f"by_language: {self.by_language} has no column perplexity.Perplexity"
            )
        return dict(bounds.pairs)


class Scorers:
    """The models of a stage, by language; "" for the one that reads all."""

    def __init__(self, settings: Perplexity) -> None:
        self._wording = Wording(settings.tokenizer, settings.normalize, settings.lines)
        self._models = models.model_files(settings.model)
        self._tokenizers = models.model_files(settings.tokenizer) if settings.tokenizer else {}
        self.by_language = "" not in self._models
        self._loaded: dict[str, Scorer] = {}
        # Kernels are loaded here, or compiled: a batch without rows does not come as far.
        nothing = normalized(pa.array([], pa.binary()), settings.normalize)
        word_counts(*view(nothing), np.zeros(0, np.int64))

    def perplexities(self, texts: pa.Array, languages: list[str]) -> tuple[Numbers, Mask]:
        """The perplexity of every text, and for which of them there is a model."""
        numbers = np.full(len(texts), np.nan)
        scored = np.zeros(len(texts), np.bool_)
        chosen = np.array(languages if self.by_language else [""] * len(texts), np.str_)
        for language in sorted(set(chosen.tolist()) & self._models.keys()):
            rows = np.flatnonzero(chosen == language)
            scored[rows] = True
            numbers[rows] = self._scorer(language).perplexities(texts.take(pa.array(rows)))
        return numbers, scored

    def _scorer(self, language: str) -> "Scorer":
        if language not in self._loaded:
            tokenizer = self._tokenizers.get(language, self._tokenizers.get(""))
            if self._tokenizers and tokenizer is None:
                raise ModelError(
                    f"{self._models[language]}: there is no tokenizer for {language} beside it"
                )
            sentences = Sentences(self._wording, tokenizer)
            self._loaded[language] = Scorer(sentences, loaded(self._models[language]))
        return self._loaded[language]


@dataclass(frozen=True)
class Scorer:
    """One model, and how text is cut for it."""

    sentences: Sentences
    model: kenlm.Model = field(repr=False)

    def perplexities(self, texts: pa.Array) -> Numbers:
        """10 ** (- the sum of log10 probabilities / (words + sentences)); NaN without words."""
        sentences, ends = self.sentences(texts)
        # KenLM parts words at NUL, too, but its Python binding ends there.
        spoken = [text.replace(b"\0", b" ") for text in sentences.to_pylist()]
        # A kernel of ours over the same tables took as long: what it waits for is memory.
        scores = np.array([self.model.score(text) for text in spoken], np.float64)
        counts = np.zeros(len(spoken), np.int64)
        word_counts(*view(sentences), counts)
        words = sums(counts, ends)
        with np.errstate(invalid="ignore"):
            exponents = -sums(scores, ends) / (words + np.diff(ends))
        result = np.array([power_of_ten(exponent) for exponent in exponents.tolist()], np.float64)
        return np.where(words > 0, result, np.nan)


def power_of_ten(exponent: float) -> float:
    """10 to this power, infinite where that is no float.

    NumPy's own differs in its last bit from one kind of processor to another (AVX-512), and so
    would documents that are written on two nodes.
    """
    try:
        return float(10.0**exponent)
    except OverflowError:
        return math.inf


def sums(values: Numbers | Positions, ends: Positions) -> Numbers:
    """The sum of the values of every row; each starts afresh, so that no row feels another."""
    listed = values.tolist()
    return np.array([sum(listed[start:end]) for start, end in pairwise(ends.tolist())], np.float64)


def loaded(path: Path) -> kenlm.Model:
    """A model of KenLM; binaries are mapped into memory, which all workers share."""
    settings = kenlm.Config()
    settings.show_progress = False
    settings.arpa_complain = kenlm.ARPALoadComplain.NONE
    settings.load_method = kenlm.LoadMethod.LAZY
    try:
        return kenlm.Model(str(path), settings)
    except OSError as error:
        said = str(error).rpartition("threw ")[2].rstrip(")")
        raise ModelError(f"{path}: not a model that KenLM reads: {said}") from error
    except UnicodeDecodeError as error:  # KenLM's message quotes the file
        raise ModelError(f"{path}: not a model that KenLM reads; it is no text") from error


def languages_of(batch: Batch) -> list[str]:
    """The language of every row; "" where it is not known."""
    if LANGUAGE not in batch.schema.names:
        return [""] * batch.num_rows
    return [language or "" for language in batch.column(LANGUAGE).to_pylist()]


def bucket(number: float, cutoff: tuple[float, float] | None) -> str:
    """CCNet's bucket; "all" without a perplexity or without cut-offs for the language."""
    if cutoff is None or math.isnan(number):
        return ALL
    if number < cutoff[0]:
        return HEAD
    return MIDDLE if number < cutoff[1] else TAIL


@cache
def cutoffs(name: str) -> Cutoffs:
    """Below which perplexities head and middle lie, by language."""
    ours = files("filters") / "lists" / f"{name}.tsv"
    try:
        source = ours if ours.is_file() else Path(name)
        lines = source.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        return {language: (float(head), float(middle)) for language, head, middle in rows[1:]}
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"cutoffs: {name}: not a table of language, head and middle; write ccnet_cutoff, or "
            "the path of a .tsv file"
        ) from error
