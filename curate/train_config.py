"""What `curate train` is told: a YAML file, `key=value` words over it, and both checked at once."""

import dataclasses
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from curate.errors import InputError
from curate.recipe import build, known, mapping, nearest, strict_yaml, typed
from tokenizer.shards import MANIFEST
from trainer.settings import Source, TrainSettings

SETTINGS = tuple(one.name for one in dataclasses.fields(TrainSettings))
KEYS = ("data", "evaluate", "output", "tokenizer")
TOKENS, TOKENIZER = "tokens", "tokenizer"  # folders of a run's output
_SOURCE = tuple(one.name for one in dataclasses.fields(Source))
_HINTS = typing.get_type_hints(TrainSettings) | {"output": str, "tokenizer": str}


@dataclass(frozen=True)
class Training:
    """What to train on, how, and where it goes; every setting has its value."""

    data: Path | dict[str, Source]
    output: Path
    settings: TrainSettings
    evaluate: dict[str, Path] = field(default_factory=dict)
    tokenizer: Path | None = None

    @property
    def folders(self) -> list[Path]:
        """All token shards that are trained on."""
        if isinstance(self.data, Path):
            return [self.data]
        return [Path(source.tokens) for source in self.data.values()]

    def as_yaml(self) -> str:
        """The same as a file for `curate train`, all defaults spelled out."""
        said: dict[str, Any] = {"data": str(self.data)}
        if isinstance(self.data, dict):
            said["data"] = {name: _finite(source) for name, source in self.data.items()}
        if self.evaluate:
            said["evaluate"] = {name: str(folder) for name, folder in self.evaluate.items()}
        said["output"] = str(self.output)
        if self.tokenizer:
            said["tokenizer"] = str(self.tokenizer)
        said |= dataclasses.asdict(self.settings)
        return yaml.safe_dump(said, sort_keys=False, allow_unicode=True)


def _finite(source: Source) -> dict[str, Any]:
    """A source without what YAML text has no number for."""
    said = dataclasses.asdict(source)
    return {name: value for name, value in said.items() if value != math.inf}


def training_of(words: Sequence[str]) -> Training:
    """The training that the words of a command line ask for: a settings file, or none, first."""
    document, where = {}, "curate train"
    if words and ("=" not in words[0] or Path(words[0]).is_file()):
        path, words = Path(words[0]), words[1:]
        document, where = _file(path), path.name
    for word in words:
        _override(document, word)
    return _training(document, where)


def _file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: no such settings; name a YAML file, or write all as key=value"
        ) from error
    return mapping(strict_yaml(text, path.name), path.name)


def _override(document: dict[str, Any], word: str) -> None:
    """Put one `key=value` over what the file says."""
    key, sign, text = word.partition("=")
    if not sign:
        raise InputError(f"{word}: write it as key=value, such as steps=1000")
    parts = key.split(".")
    _check_key(parts, word)
    value = text if _is_text(parts, text) else strict_yaml(text, word)
    if key in _HINTS:
        value = typed(_HINTS[key], as_number(value, _HINTS[key]), word)
    place = document
    for depth, part in enumerate(parts[:-1]):
        inner = place.setdefault(part, {})
        if depth == 1 and isinstance(inner, str):  # a source of which the tokens alone were said
            inner = place[part] = {"tokens": inner}
        if not isinstance(inner, dict):
            raise InputError(f"{word}: {part} is {inner!r}, which has no parts")
        place = inner
    place[parts[-1]] = value


def _check_key(parts: list[str], word: str) -> None:
    """Refuse a key that no file could have."""
    first, *rest = parts
    known({first: None}, (*KEYS, *SETTINGS), word)
    if rest and first not in ("data", "evaluate"):
        raise InputError(f"{word}: {first} has no parts; write {first}=...")
    if first == "data" and rest[1:]:
        known({".".join(rest[1:]): None}, _SOURCE, f"{word}: {first}.{rest[0]}")


def _is_text(parts: list[str], text: str) -> bool:
    """Whether a value is taken as it is: a folder called 2024, or `compiled=yes`, is text."""
    if parts[0] in ("data", "evaluate"):
        return parts[2:] in ([], ["tokens"]) and not text.startswith("{")
    return _HINTS.get(parts[0]) is str


def as_number(value: Any, kind: Any) -> Any:
    """3e-4 as the number that it is for everyone but YAML 1.1."""
    if kind is float and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _training(document: dict[str, Any], where: str) -> Training:
    known(document, (*KEYS, *SETTINGS), where)
    for key in ("data", "output"):
        if key not in document:
            raise InputError(f"{where}: {key} is missing; write {key}=FOLDER")
    settings = {name: value for name, value in document.items() if name in SETTINGS}
    tokenizer = document.get("tokenizer")
    return Training(
        data=_data(document["data"], f"{where}: data"),
        output=Path(typed(str, document["output"], f"{where}: output")),
        settings=build(TrainSettings, settings, where),
        evaluate=_sets(document.get("evaluate"), f"{where}: evaluate"),
        tokenizer=Path(typed(str, tokenizer, f"{where}: tokenizer")) if tokenizer else None,
    )


def _data(given: Any, where: str) -> Path | dict[str, Source]:
    if isinstance(given, str):
        return shards_of(given, where)
    sources = {}
    for name, one in mapping(given, where).items():
        place = f"{where}.{name}"
        source = build(Source, {"tokens": one} if isinstance(one, str) else one, place)
        tokens = str(shards_of(source.tokens, place))
        sources[name] = dataclasses.replace(source, tokens=tokens)
    if not sources:
        raise InputError(f"{where}: empty; name at least one folder of token shards")
    return sources


def _sets(given: Any, where: str) -> dict[str, Path]:
    """Held-out shards by name; one without a name is called by its folder."""
    if given is None:
        return {}
    if isinstance(given, str):
        folder = shards_of(given, where)
        return {set_name(folder): folder}
    return {
        name: shards_of(typed(str, folder, f"{where}.{name}"), f"{where}.{name}")
        for name, folder in mapping(given, where).items()
    }


def tokenizer_beside(shards: Path) -> Path | None:
    """The tokenizer of the run whose tokens these are, if it is there."""
    beside = shards.resolve().parent / TOKENIZER
    return beside if beside.is_dir() else None


def set_name(shards: Path) -> str:
    """What shards without a name are called: a run's tokens by the run."""
    named = shards.resolve()
    return named.parent.name if named.name == TOKENS else named.name


def shards_of(given: str, where: str) -> Path:
    """The token shards of a path: a folder of them, or the output of a run."""
    folder = Path(given)
    for shards in (folder / TOKENS, folder):
        if (shards / MANIFEST).is_file():
            return shards
    there = folder.parent.iterdir() if folder.parent.is_dir() else ()
    near = nearest(folder.name, sorted(one.name for one in there if one != folder))
    hint = near or "; name a folder of them, or the --output of a run that wrote tokens"
    raise InputError(f"{where}: no token shards in {given}{hint}")
