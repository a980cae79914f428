"""A decision in files: a verdict for every document, the funnel, and the documents themselves."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate import schema
from curate.column import Mask
from curate.errors import InputError, ShardError
from curate.fates import Decision
from curate.publish import OURS, pretty
from curate.store import disk_errors, sync_file, write_atomic
from curate.stored import NONE, Codes

SUMMARY, VERDICTS, DOCUMENTS = "decision.json", "verdicts.parquet", "documents"
FORMAT = 1

# Null in `after` means kept, unless `missing` says what would have to be known. A value that is
# undefined is null too.
COLUMNS = pa.schema(
    [
        (schema.ID, pa.binary(16)),
        ("before", pa.string()),
        ("after", pa.string()),
        ("stage", pa.string()),
        (schema.VALUE, pa.float64()),
        (schema.BOUND, pa.float64()),
        ("missing", pa.string()),
    ]
)


def write(decision: Decision, output: Path, documents: bool = False) -> None:
    """Write the verdicts, the funnel and, where asked for, the documents that are kept.

    The summary is written last: a folder that has one is complete.
    """
    _refuse_foreign(decision, output)
    if documents:
        _refuse_incomplete(decision)
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        (output / SUMMARY).unlink(missing_ok=True)
        _write_verdicts(decision, output / VERDICTS)
        written = _write_documents(decision, output / DOCUMENTS) if documents else []
        for path in (output / DOCUMENTS).glob("*.parquet"):
            if path.name not in written and OURS.fullmatch(f"{DOCUMENTS}/{path.name}"):
                path.unlink()
    write_atomic(output / SUMMARY, pretty(summary(decision)))


def summary(decision: Decision) -> dict[str, Any]:
    """The decision in numbers, as JSON."""
    fates = decision.fates
    return {
        "format": FORMAT,
        "first": decision.run.recipe["name"],
        "recipe": decision.recipe.name,
        "documents": decision.run.count,
        "kept": int(fates.kept.sum()),
        "undecided": int(fates.undecided.sum()),
        "stages": [
            {
                "name": row.stage,
                "entered": row.entered,
                "left": row.left,
                "undecided": row.undecided,
                "reasons": row.reasons,
                "first": row.first.to_json() if row.first else None,
            }
            for row in decision.funnel()
        ],
        "missing": [
            {**missing._asdict(), "documents": count} for missing, count in decision.missing()
        ],
        "notes": decision.notes,
        "settings": decision.recipe.resolved(),
    }


def read_summary(path: Path) -> dict[str, Any]:
    """A summary as it was written; raises ShardError where it is not."""
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
        if not isinstance(value["recipe"], str):
            raise ValueError("no name of a recipe in it")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ShardError(f"{path}: not as `curate decide` writes it: {error}") from error
    return value


def _refuse_foreign(decision: Decision, output: Path) -> None:
    if output.resolve() == decision.run.folder.resolve():
        raise InputError(f"{output}: this is the first run itself; choose another --output")
    ours = {SUMMARY, VERDICTS, DOCUMENTS}
    if output.is_dir() and any(path.name not in ours for path in output.iterdir()):
        raise InputError(f"{output}: has files in it, and none of a decision; choose a new one")


def _refuse_incomplete(decision: Decision) -> None:
    """Documents can be written where all that are kept lie in the first run's documents/."""
    fates, run = decision.fates, decision.run
    undecided = int(fates.undecided.sum())
    elsewhere = int((fates.kept & ~run.kept).sum())
    problem = ""
    if decision.stages[-1].text_after != run.stages[-1].text_after:
        problem = "this recipe rewrites the text otherwise than the first one"
    elif undecided:
        problem = f"{undecided:,} documents are undecided"
    elif elsewhere:
        problem = f"the text of {elsewhere:,} documents was dropped in the first run"
    if problem:
        raise InputError(f"{run.folder}: {problem}; run the recipe, or leave out --documents")


def _write_verdicts(decision: Decision, path: Path) -> None:
    fates, run = decision.fates, decision.run
    reasons, names = list(fates.reasons), [stage.name for stage in decision.stages]
    missing = [one.what for one in fates.missing]
    with _replacing(path, COLUMNS) as file:
        for part in run.parts:
            rows = part.rows
            columns = [
                part.table(schema.ID).column(0).cast(pa.binary(16)),
                _texts(run.reasons, run.reason[rows]),
                _texts(reasons, fates.reason[rows]),
                _texts(names, fates.stage[rows]),
                pa.array(fates.value[rows], from_pandas=True),
                pa.array(fates.bound[rows], from_pandas=True),
                _texts(missing, fates.unknown[rows]),
            ]
            file.write_table(pa.table(columns, schema=COLUMNS))


def _write_documents(decision: Decision, folder: Path) -> list[str]:
    """The kept documents as the first run wrote them, row group by row group."""
    folder.mkdir(exist_ok=True)
    written = []
    for part in decision.run.parts:
        if part.kept:
            written.append(part.path.name)
            with pq.ParquetFile(part.path) as file:
                _copy_rows(file, decision.fates.kept[part.rows], folder / part.path.name)
    return written


def _copy_rows(file: pq.ParquetFile, kept: Mask, target: Path) -> None:
    with _replacing(target, file.schema_arrow) as out:
        start = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            mine = kept[start : start + table.num_rows]
            start += table.num_rows
            if mine.any():
                out.write_table(table.filter(pa.array(mine)))


@contextmanager
def _replacing(path: Path, columns: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A Parquet file that has its name once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with pq.ParquetWriter(temporary, columns, compression="zstd") as file:
            yield file
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _texts(names: list[str], codes: Codes) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes, mask=codes == NONE))
