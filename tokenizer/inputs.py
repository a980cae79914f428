"""Input files: which ones are meant, and their texts with the languages that they say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import InputError
from curate.progress import Watcher
from curate.schema import LANGUAGE, TEXT
from tokenizer.corpus import is_text, named, parquet, text_batches

UNKNOWN = "unknown"
# A column with more values than this is something else, and each value would cost memory.
MOST_LANGUAGES = 4000
# A line of a TSV: its first field, and its last one.
FIELDS = rb"^(?P<language>[^\t]*)\t(?:.*\t)?(?P<text>[^\t]*?)\r?\n?$"


@dataclass(frozen=True)
class Labels:
    """Where a text's language is said."""

    column: str = ""  # of Parquet and JSONL; "" is `language` where it is there
    by_file: bool = False  # the name of the file up to its first dot


class Labelled(NamedTuple):
    """Texts of one language: valid UTF-8 without nulls, and how many rows were neither."""

    language: str
    texts: pa.Array
    nulls: int = 0
    invalid: int = 0


def labelled_files(
    paths: Iterable[Path], labels: Labels, watcher: Watcher | None = None
) -> Iterator[Labelled]:
    """All texts of these files, batch by batch and language by language, in one pass."""
    seen: set[str] = set()
    for path in paths:
        for languages, texts in labelled_batches(path, labels):
            for language in pc.unique(languages).to_pylist():
                seen.add(language)
                if len(seen) > MOST_LANGUAGES:
                    raise InputError(
                        f"{path}: more than {MOST_LANGUAGES} languages; is "
                        f"'{labels.column or LANGUAGE}' the column that names them?"
                    )
                yield checked(language, texts.filter(pc.equal(languages, language)))
            if watcher:
                size = int(pc.sum(pc.binary_length(texts)).as_py() or 0)
                watcher.advance({"documents": len(texts), "kept": len(texts), "bytes": size})
        if watcher:
            watcher.advance({"files": 1})


def labelled_batches(path: Path, labels: Labels) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Languages and texts of a file, side by side."""
    name = named(path)
    column = labels.column or LANGUAGE
    if name.endswith(".tsv"):
        column, batches = LANGUAGE, tab_batches(path)
    else:
        batches = text_batches(path, column)
    for batch in batches:
        texts = batch.column(TEXT)
        if labels.by_file:
            yield constant(path.name.partition(".")[0], len(texts)), texts
        elif column in batch.schema.names and is_said(batch.column(column)):
            yield pc.fill_null(batch.column(column).cast(pa.string()), UNKNOWN), texts
        elif labels.column and column != LANGUAGE:
            names = parquet(path).schema_arrow.names if name.endswith(".parquet") else [TEXT]
            there = ", ".join(names)
            raise InputError(f"{path}: no column '{column}' of strings; there are: {there}")
        else:
            yield constant(UNKNOWN, len(texts)), texts


def is_said(column: pa.Array) -> bool:
    """Whether a column can name languages."""
    return is_text(column.type.value_type if pa.types.is_dictionary(column.type) else column.type)


def constant(language: str, rows: int) -> pa.Array:
    """The same language for all rows."""
    return pa.repeat(pa.scalar(language), rows)


def checked(language: str, texts: pa.Array) -> Labelled:
    """These texts without what is no text."""
    there = texts.drop_null()
    nulls = len(texts) - len(there)
    try:
        valid = there.cast(pa.string())
        valid.validate(full=True)
        return Labelled(language, valid, nulls)
    except pa.ArrowInvalid:
        rows = [row for row in there.cast(pa.binary()).to_pylist() if is_utf8(row)]
        return Labelled(language, pa.array(rows, pa.string()), nulls, len(there) - len(rows))


def is_utf8(row: bytes) -> bool:
    """Whether bytes are text."""
    try:
        row.decode()
    except UnicodeDecodeError:
        return False
    return True


def tab_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """A file of lines whose first field names the language and whose last one is the text.

    Fields are separated by tabs; there is no line of names, and nothing is quoted.
    """
    before = 0
    for batch in text_batches(path):
        lines = batch.column(TEXT)
        fields = pc.extract_regex(lines, FIELDS)
        wrong = np.flatnonzero(pc.and_(fields.is_null(), pc.greater(pc.binary_length(lines), 1)))
        if len(wrong):
            raise InputError(
                f"{path}: line {before + int(wrong[0]) + 1} has no tab; write a language, a tab "
                "and the text on each line"
            )
        before += len(lines)
        fields = fields.drop_null()
        try:
            languages = fields.field(LANGUAGE).cast(pa.string())
        except pa.ArrowInvalid as error:
            raise InputError(f"{path}: a language that is not UTF-8") from error
        yield pa.record_batch([languages, fields.field(TEXT)], [LANGUAGE, TEXT])
