"""The JSON files of a finished run, checked as they are read: an edit is told, no traceback."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from curate.errors import ShardError

Whole = Annotated[int, Field(ge=0, le=1 << 80, strict=True)]
Number = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]


class _Count(BaseModel):
    documents: Whole
    bytes: Whole
    identity: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class _Cut(BaseModel):
    documents: Whole
    bytes: Whole
    spans: Whole


class _Stage(BaseModel):
    name: str
    entered: _Count
    kept: _Count
    dropped: dict[str, _Count]
    quarantined: dict[str, _Count]
    cut: dict[str, _Cut] = {}


class _Spans(BaseModel):
    size: Whole
    records: Whole
    faults: Whole
    padding: Whole
    skipped: dict[str, Whole]
    noticed: dict[str, Whole]


class _Input(BaseModel):
    source: str
    spans: _Spans
    stages: list[_Stage]


class _Group(BaseModel):
    documents: Whole
    bytes: Whole
    share: float
    trained_share: float
    weight: float


class _Trained(BaseModel):
    documents: Whole
    bytes: Whole
    distinct_pieces: Whole
    left_out: Whole
    distinct_left_out: Whole
    pieces: Whole
    vocab_size: Whole
    missing: int
    normalization: str
    groups: dict[str, _Group]


class _Tokenizer(BaseModel):
    fingerprint: str
    end_of_text: str
    pattern: list[str]
    merges: Whole
    special_tokens: Whole
    always: list[str]
    longest_token: Whole
    normalization: str
    loaded: str | None = None
    trained: _Trained | None = None


class _Tokens(BaseModel):
    documents: Whole
    tokens: Whole
    bytes: Whole
    vocabulary: Whole
    tokenizer: _Tokenizer | None = None


class _Ledger(BaseModel):
    inputs: list[_Input]
    stages: list[_Stage]
    tokens: _Tokens | None = None


class _Table(BaseModel):
    table: str
    sha256: str


class _Signal(BaseModel):
    name: str
    low: float | None = None
    high: float | None = None
    by_language: _Table | None = None
    about: str = ""
    source: str = ""


class _RecipeStage(BaseModel):
    name: str
    kind: str = ""
    settings: dict[str, Any] = {}
    signals: list[_Signal] = []


class _Recipe(BaseModel):
    name: str
    about: str
    source: str
    read: dict[str, Any] = {}
    stages: list[_RecipeStage]


class _Times(BaseModel):
    wall_seconds: Number = 0
    curation_seconds: Number = 0
    documents_per_second: Number = 0
    workers: Whole = 0
    units: Whole = 0
    units_reused: Whole = 0
    seconds: dict[str, Number] = {}


def read_ledger(path: Path) -> dict[str, Any]:
    """The ledger of a run; raises ShardError where it is missing or not as a run writes it."""
    return _checked(path, _Ledger)


def read_recipe(path: Path) -> dict[str, Any]:
    """The resolved recipe of a run; raises ShardError as above."""
    return _checked(path, _Recipe)


def read_times(path: Path) -> dict[str, Any]:
    """The times of a run; raises ShardError as above."""
    return _checked(path, _Times)


def _checked(path: Path, kind: type[BaseModel]) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
        kind.model_validate(value)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardError(f"{path}: not there; is {path.parent} the output of a run?") from error
    except ValidationError as error:  # before ValueError, which it is too
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"])) or "the whole"
        raise ShardError(
            f"{path}: not as a run writes it: {place}: {problem['msg']}; the same `curate run` "
            "again writes it anew"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{path}: not JSON: {error}") from error
    return value
