"""What an earlier run keeps of its documents, so that later dumps are compared with them.

A run's `index/` holds, for every stage that says `index: true`, the rows of its survey for the
documents that the whole run kept, in the order of `documents/`. A later run names the folder in
`against`, and none of its files is written again.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import RecipeError
from curate.schema import ID
from curate.store import canonical, matches, unsealed

SKETCH = b"curate.sketch"  # in a table's metadata: the settings that its numbers depend on
FOLDER = "index"


class Known(NamedTuple):
    """Documents of earlier runs: surveys, and the texts of each, row for row."""

    surveys: list[Path]
    texts: list[Path]


def with_settings(table: pa.Table, settings: dict[str, Any]) -> pa.Table:
    """The survey's table with the settings that its numbers depend on."""
    return table.replace_schema_metadata({SKETCH: canonical(settings).encode()})


def verified_files(folders: Sequence[str], settings: dict[str, Any]) -> dict[str, Path]:
    """The same files, once all that is kept for such a stage is there as it was written."""
    known(folders, settings, verified=True)
    return manifests(folders)


def manifests(folders: Sequence[str]) -> dict[str, Path]:
    """The files by which the earlier runs in these folders are known.

    Raises RecipeError where there is no finished run.
    """
    found = {}
    for name in folders:
        path = Path(name).expanduser() / "manifest.json"
        if unsealed(path) is None:
            raise RecipeError(f"against: {name}: no finished run; name the --output of one")
        found[f"against {name}"] = path
    return found


def known(folders: Sequence[str], settings: dict[str, Any], *, verified: bool = False) -> Known:
    """What the earlier runs in these folders keep of their documents for such a stage.

    Where it is to be verified, all of their files that are read are compared with their digests.
    """
    surveys, texts = [], []
    for name, path in zip(folders, manifests(folders).values(), strict=True):
        files = (unsealed(path) or {})["files"]
        taken = _taken(path.parent, files, settings, name)
        units = [Path(part).name.partition("-stage-")[0] for part in taken]
        documents = [f"documents/{unit}.parquet" for unit in units]
        for part in [*taken, *documents] if verified else []:
            if not matches(path.parent / part, files[part]):
                raise RecipeError(
                    f"against: {name}: {path.parent / part} is not there as the run wrote it; run "
                    "its recipe again there, which mends it"
                )
        surveys += [path.parent / part for part in taken]
        texts += [path.parent / part for part in documents]
    return Known(surveys, texts)


def _taken(folder: Path, files: dict[str, Any], settings: dict[str, Any], name: str) -> list[str]:
    """The parts of the first stage of a run that made its index in this way."""
    stages: dict[str, list[str]] = {}
    for part in sorted(part for part in files if part.startswith(f"{FOLDER}/")):
        stages.setdefault(part.rpartition("-stage-")[2], []).append(part)
    others = []
    for parts in stages.values():
        theirs = _settings(folder / parts[0], name)
        wrong = [key for key, value in _plain(settings).items() if theirs.get(key) != value]
        if not wrong:
            return parts
        if "kind" not in wrong:
            others += [(wrong[0], theirs.get(wrong[0]))]
    if others:
        key, value = others[0]
        raise RecipeError(
            f"against: {name}: its index was made with {key}: {value}, and here it is "
            f"{settings[key]}; write the same (see {name}/recipe.yaml)"
        )
    raise RecipeError(
        f"against: {name}: has no index of {settings['kind']}; run its recipe again with "
        "`index: true` there"
    )


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(canonical(settings))
    return plain


def part_name(unit: int, stage: int) -> str:
    """The file in a run's folder for a unit's documents and the stage of this number."""
    return f"{FOLDER}/part-{unit:05d}-stage-{stage}.parquet"


def kept_rows(survey: Path, documents: Path) -> pa.Table:
    """The rows of a survey for these documents, in their order."""
    table = pq.read_table(survey, use_threads=False)
    ids = pq.read_table(documents, columns=[ID], use_threads=False).column(0)
    return table.take(pc.index_in(ids, value_set=table.column(ID).combine_chunks()))


def _settings(part: Path, name: str) -> dict[str, Any]:
    """The settings with which a table was made."""
    try:
        metadata = pq.read_schema(part).metadata or {}
    except FileNotFoundError as error:
        raise RecipeError(f"against: {name}: {part} is gone; run its recipe again there") from error
    except (OSError, pa.ArrowException) as error:
        raise RecipeError(f"against: {name}: {part} cannot be read: {error}") from error
    theirs: dict[str, Any] = json.loads(metadata.get(SKETCH, b"{}"))
    return theirs
