"""Training a quality classifier by the `fasttext` library, and its figures on what it has not seen.

One thread trains, for several write to the same numbers without waiting for each other: the model
would be another one every time.
"""

import contextlib
import difflib
import errno
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.column import Mask, Numbers
from curate.errors import DiskError, InputError, RecipeError
from curate.store import describe, disk_errors, sync_file, sync_folder, write_atomic
from filters.classifier import CARD, MODEL, Classifier, load
from filters.classifier_card import as_markdown, as_text
from filters.classifier_data import Labelled, Split, column, read_lines, record_batches, split
from filters.classifier_figures import figures

MARKDOWN = "model-card.md"
LIBRARY = "fasttext-community"


@dataclass(frozen=True)
class Settings:
    """How a classifier is trained; fastText's own values where a preset says nothing else."""

    label: str = "hq"  # what the number is about
    other: str = "cc"  # where files, not a column, say the label
    lower: bool = False
    held_out: float = 0.1
    word_ngrams: int = 1
    min_letters: int = 0  # n-grams of letters from and to; 0: none
    max_letters: int = 0
    dim: int = 100
    epochs: int = 5
    rate: float = 0.1
    min_count: int = 1
    buckets: int = 2_000_000  # of n-grams; each costs 4 bytes a dimension
    loss: str = "softmax"
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise RecipeError(f"held_out: {self.held_out}; write more than 0 and less than 1")
        if self.loss not in ("softmax", "hs", "ns", "ova"):
            raise RecipeError(f"loss: {self.loss!r}; write softmax, hs, ns or ova")
        if self.label == self.other:
            raise RecipeError(f"label: {self.label!r} is also the label of the others")


PRESETS = {
    "fasttext": Settings(),
    "llama": Settings(
        label="wiki",
        source="LLaMA, arXiv:2302.13971: pages that Wikipedia refers to against random ones; "
        "settings of RedPajama's rebuild (data_prep/cc), which keeps .25 and more",
    ),
    "dclm": Settings(
        word_ngrams=2,
        source="DCLM, arXiv:2406.11794, section 4.4: OH-2.5 and ELI5 against RefinedWeb, about "
        "200,000 of each, word bigrams; its own model keeps .018112 and more, the best tenth",
    ),
}


def preset(name: str, **given: Any) -> Settings:
    """A preset's settings with what is given in their place."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}"
        raise RecipeError(f"preset: no {name!r}; {hint}")
    return replace(
        PRESETS[name], **{key: value for key, value in given.items() if value is not None}
    )


def train(sources: list[Labelled], settings: Settings, output: Path) -> dict[str, Any]:
    """Train on labelled documents, write model and card to a folder, and return the card.

    The same documents and settings give the same bytes, in whatever files and order they come.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".train-") as scratch:
        parts = split(sources, Path(scratch), settings.held_out, lower=settings.lower)
        _check(parts, settings)
        trained = Path(scratch) / MODEL
        _fit(parts.train, settings, trained)
        sync_file(trained)
        (output / CARD).unlink(missing_ok=True)  # it is about the model before
        trained.replace(output / MODEL)
        sync_folder(output)
        classifier = replace(load(str(output), settings.label), lower=False)  # lines are cleaned
        card = _card(parts, settings, output / MODEL, figures(*asked(classifier, parts.held_out)))
    write_atomic(output / MARKDOWN, as_markdown(card).encode())
    write_atomic(output / CARD, as_text(card).encode())
    return card


def _check(parts: Split, settings: Settings) -> None:
    total: Counter[str] = Counter()
    for counts in parts.counts.values():
        total.update(counts)
    if len(total) > 1 and settings.label not in total:
        *rest, last = (f"{label!r} ({count} documents)" for label, count in sorted(total.items()))
        raise InputError(
            f"the labels found are {', '.join(rest)} and {last}, and none is {settings.label!r}; "
            f"say which of them the number is about, such as --label {max(total)}"
        )
    for side, counts in parts.counts.items():
        if settings.label not in counts or len(counts) < 2:
            found = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
            raise InputError(
                f"{side.replace('_', '-')} documents: {found or 'none'}; both {settings.label!r} "
                "and another label are needed on both sides: give more documents, another label "
                "or another share to hold out"
            )


def _fit(lines: Path, settings: Settings, target: Path) -> None:
    try:
        model = fasttext.train_supervised(
            str(lines),
            wordNgrams=settings.word_ngrams,
            minn=settings.min_letters,
            maxn=settings.max_letters,
            dim=settings.dim,
            epoch=settings.epochs,
            lr=settings.rate,
            minCount=settings.min_count,
            bucket=settings.buckets,
            loss=settings.loss,
            thread=1,
            seed=0,
            verbose=0,
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"fasttext cannot train on these documents: {error}") from error
    model.save_model(str(target))


def _card(parts: Split, settings: Settings, model: Path, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {"file": model.name, **describe(model)},
        "label": settings.label,
        "normalise": {"line_ends": "spaces", "lower": settings.lower},
        "trained_by": {"library": LIBRARY, "version": version(LIBRARY), "threads": 1, "seed": 0},
        "settings": asdict(settings),
        "data": [
            asdict(one) for one in sorted(parts.files, key=lambda one: (one.file, one.sha256))
        ],
        "split": {
            "by": "SHA-256 of the text; its first 64 bits below the share are held out",
            "held_out": settings.held_out,
            "repeated": parts.repeated,
            "documents": {
                side: dict(sorted(counts.items())) for side, counts in parts.counts.items()
            },
        },
        "figures": found,
    }


def asked(classifier: Classifier, lines: Path) -> tuple[Numbers, Mask]:
    """The numbers of documents that `split` wrote, and which of them have the label."""
    return _asked(classifier, read_lines(lines))


def evaluate(name: str, sources: list[Labelled], label: str = "") -> dict[str, Any]:
    """The figures of a classifier on labelled documents."""
    classifier = load(name, label)
    batches = (
        batch for source in sources for path in source.paths for batch in source.batches(path)
    )
    scores, truth = _asked(classifier, batches)
    if not len(scores):
        raise InputError("no labelled documents in these files")
    return figures(scores, truth)


def _asked(
    classifier: Classifier, batches: Iterable[tuple[pa.Array, list[str]]]
) -> tuple[Numbers, Mask]:
    scores, truth = [np.empty(0)], [np.empty(0, np.bool_)]
    for texts, labels in batches:
        scores.append(classifier.scores(texts))
        truth.append(np.array([label == classifier.label for label in labels], np.bool_))
    return np.concatenate(scores), np.concatenate(truth)


def score_files(
    classifier: Classifier,
    files: dict[Path, Path],
    columns: tuple[str, str],
    advance: Callable[[dict[str, int]], None],
) -> Numbers:
    """Write every file as Parquet with a column of numbers; all numbers, 8 bytes a document.

    `columns` are those of the text and of the number; `files` says what is written to where. A
    file without documents becomes one without rows; only where all are such, this is an error.
    """
    every = [np.empty(0)]
    for source, target in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with disk_errors(target.parent):
                every += list(_write(_scored(classifier, source, columns, advance), scratch))
                sync_file(scratch)
                scratch.replace(target)
        except OSError as error:  # of writing: what cannot be read is an InputError
            raise DiskError(f"{target}: {os.strerror(error.errno or errno.EIO)}") from error
        finally:
            with contextlib.suppress(OSError):  # what led here is told, not this
                scratch.unlink(missing_ok=True)
        sync_folder(target.parent)
    scores = np.concatenate(every)
    if not len(scores):
        raise InputError(f"no documents to score in {', '.join(map(str, files))}")
    return scores


def _scored(
    classifier: Classifier,
    source: Path,
    columns: tuple[str, str],
    advance: Callable[[dict[str, int]], None],
) -> Iterator[tuple[pa.RecordBatch, Numbers]]:
    text, name = columns
    for batch in _with_columns(source, text):
        texts = column(batch, text, source)
        if name in batch.schema.names:
            raise InputError(f"{source}: has a column {name!r}; choose another with --column")
        scores = classifier.scores(texts)
        advance({"documents": len(scores), "kept": len(scores), "bytes": texts.nbytes})
        yield batch.append_column(name, pa.array(scores, pa.float64())), scores


def _with_columns(source: Path, text: str) -> Iterator[pa.RecordBatch]:
    """The batches of a file, at least one: nothing else says which columns an empty file has."""
    batches = record_batches(source)
    nothing = pa.RecordBatch.from_pylist([], pa.schema([(text, pa.string())]))
    yield next(batches, nothing)
    yield from batches


def _write(batches: Iterator[tuple[pa.RecordBatch, Numbers]], target: Path) -> Iterator[Numbers]:
    batch, scores = next(batches)
    with pq.ParquetWriter(target, batch.schema, compression="zstd") as writer:
        writer.write_batch(batch)
        yield scores
        for batch, scores in batches:
            writer.write_batch(batch)
            yield scores
