"""From a YAML recipe to stages, and from a typo to its place and the nearest right name."""

import dataclasses
import difflib
import importlib
import importlib.util
import json
import math
import pkgutil
import re
import typing
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from curate.bounds import table
from curate.errors import RecipeError
from curate.filter import Filter
from curate.read.html import Extract
from curate.read.reader import Read
from curate.schema import TEXT
from curate.signal import Signal
from curate.stage import Opened
from curate.survey import Survey
from curate.words import Words
from tokenizer.shuffle import Shards
from tokenizer.train import Train
from trainer.settings import TrainSettings

# `gopher.word_count` is filters/gopher.py, `html.Extract` is curate/read/html.py, and so on.
HOMES = ("filters", "curate.read", "curate.dedup")
MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
FILTER_KEYS = ("words", "by_language")
SECTIONS = {"read": Read, "tokenizer": Train, "shards": Shards, "train": TrainSettings}
KEYS = ("name", "about", "source", "read", "stages", *list(SECTIONS)[1:], "max_fault_share")


@dataclass(frozen=True)
class Step:
    """One stage of a recipe, under the label that ledger and report use."""

    label: str
    stage: Any

    @property
    def is_survey(self) -> bool:
        """Whether this step looks at the whole corpus before it decides."""
        return isinstance(self.stage, Survey)


@dataclass(frozen=True)
class Recipe:
    """What to do with a crawl, resolved: every setting has its value."""

    name: str
    about: str
    source: str
    read: Read
    steps: tuple[Step, ...]
    tokenizer: Train | None
    shards: Shards | None
    train: TrainSettings | None
    max_fault_share: float

    @property
    def order(self) -> Shards:
        """How token shards are written; there is no such thing without a tokenizer."""
        assert self.shards is not None
        return self.shards

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default spelled out, as JSON: the key under which work is kept."""
        return {
            "name": self.name,
            "about": self.about,
            "source": self.source,
            "max_fault_share": self.max_fault_share,
            "read": settings_of(self.read),
            "stages": [describe(step) for step in self.steps],
            "tokenizer": settings_of(self.tokenizer) if self.tokenizer else None,
            "shards": settings_of(self.shards) if self.shards else None,
            "train": settings_of(self.train) if self.train else None,
        }


def describe(step: Step) -> dict[str, Any]:
    """A step as JSON: label, kind, settings, and its signals with their bounds."""
    kind = f"{type(step.stage).__module__}.{type(step.stage).__qualname__}"
    if not isinstance(step.stage, Filter):
        return {"name": step.label, "kind": kind, "settings": settings_of(step.stage)}
    signals = [
        {
            "name": signal.name,
            "low": signal.low if math.isfinite(signal.low) else None,
            "high": signal.high if math.isfinite(signal.high) else None,
            "about": signal.about,
            "source": signal.source,
            "words": dataclasses.asdict(signal.words) if signal.column else None,
            "by_language": _table(signal),
        }
        for signal in step.stage.signals
    ]
    return {"name": step.label, "kind": kind, "settings": {}, "signals": signals}


def _table(signal: Signal) -> dict[str, str] | None:
    if signal.by_language is None:
        return None
    return {"table": signal.by_language.table, "sha256": signal.by_language.digest}


def settings_of(stage: Any) -> dict[str, Any]:
    """The fields of a stage as JSON values."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(stage)))
    return values


def load(path: str | Path) -> Recipe:
    """The recipe in a YAML file, or one of ours by its name (`fineweb`)."""
    text, name = read(path)
    return parse(text, name)


def parse(text: str, where: str) -> Recipe:
    """A recipe from YAML text; `where` names it in errors."""
    document = mapping(strict_yaml(text, where), where)
    known(document, KEYS, where)
    steps: list[Step] = []
    for index, item in enumerate(_list(document.get("stages", []), f"{where}: stages")):
        step = _step(item, f"{where}: stages[{index}]")
        taken = sum(before.label.split(" #")[0] == step.label for before in steps)
        label = f"{step.label} #{taken + 1}" if taken else step.label
        steps.append(Step(label, step.stage))
    recipe = Recipe(
        name=_text(document, "name", Path(where).stem, where),
        about=_text(document, "about", "", where),
        source=_text(document, "source", "", where),
        read=build(Read, document.get("read"), f"{where}: read"),
        steps=tuple(steps),
        tokenizer=_section(document, "tokenizer", Train, where),
        shards=_section(document, "shards", Shards, where),
        train=_section(document, "train", TrainSettings, where),
        max_fault_share=_number(document.get("max_fault_share", 0.01), f"{where}: max_fault_share"),
    )
    _check_order(recipe, where)
    if not 0 <= recipe.max_fault_share <= 1:
        raise RecipeError(f"{where}: max_fault_share: {recipe.max_fault_share:g}; write 0 to 1")
    if (recipe.train or recipe.shards) and not recipe.tokenizer:
        what = "train needs token shards" if recipe.train else "shards need a tokenizer"
        raise RecipeError(f"{where}: {what}; add a `tokenizer:` section")
    if recipe.tokenizer and not recipe.shards:
        recipe = replace(recipe, shards=Shards())
    return recipe


def _check_order(recipe: Recipe, where: str) -> None:
    """Refuse stages that read text before there is any, and a second extraction."""
    extracted = False
    for index, step in enumerate(recipe.steps):
        place = f"{where}: stages[{index}]: {step.label}"
        if isinstance(step.stage, Extract):
            if extracted:
                raise RecipeError(f"{place}: the text is there already; take one html.Extract away")
            extracted = True
        elif not extracted and _reads_text(step):
            raise RecipeError(f"{place} needs text; put html.Extract before it (for JSONL too)")
    if recipe.tokenizer and not extracted:
        raise RecipeError(f"{where}: tokenizer needs text; put html.Extract into `stages:`")


def _reads_text(step: Step) -> bool:
    if isinstance(step.stage, Filter):
        return any(signal.column == TEXT for signal in step.stage.signals)
    return not step.label.startswith("url.") and getattr(step.stage, "reads_text", True)


def catalogue() -> dict[str, Any]:
    """Every signal and stage that a recipe can name, by the name that it would write."""
    found: dict[str, Any] = {}
    for home in HOMES:
        package = importlib.import_module(home)
        for info in pkgutil.iter_modules(package.__path__):
            if info.name == "child":  # a program, not a module to import
                continue
            module = importlib.import_module(f"{home}.{info.name}")
            found |= {
                f"{info.name}.{name}": value
                for name, value in vars(module).items()
                if _usable(value, module)
            }
    return found


def recipes() -> list[Path]:
    """Our own recipes."""
    folder = Path(str(importlib.util.find_spec("pipelines").submodule_search_locations[0]))  # type: ignore[union-attr, index]  # our own package is always there
    return sorted(folder.glob("*.yaml"))


def _usable(value: Any, module: ModuleType) -> bool:
    if isinstance(value, Signal):
        return True
    return (
        isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__module__ == module.__name__
        and (issubclass(value, Opened | Survey) or "__call__" in vars(value))
    )


def read(path: str | Path) -> tuple[str, str]:
    """A recipe's YAML text and the name by which errors call it."""
    file = Path(path)
    ours = {recipe.stem: recipe for recipe in recipes()}
    if not file.exists() and str(path) in ours:
        file = ours[str(path)]
    try:
        raw = file.read_bytes()
    except OSError as error:
        near = nearest(str(path), [*ours])
        raise RecipeError(
            f"{path}: no such recipe{near or '; ours are ' + ', '.join(ours)}"
        ) from error
    if len(raw) > MAX_BYTES:
        raise RecipeError(f"{path}: {len(raw)} bytes; a recipe has at most {MAX_BYTES}")
    try:
        return raw.decode(), file.name
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}") from error


class _Loader(yaml.SafeLoader):
    """YAML without what makes it dangerous or surprising."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # yaml's parser has no types
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise RecipeError(f"line {line}: aliases (& and *) are not allowed; write it out")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RecipeError(f"line {line}: nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key)
            line = key.start_mark.line + 1
            if not isinstance(name, str):
                raise RecipeError(
                    f"line {line}: the key {key.value!r} is read as {name!r}; put it in quotes"
                )
            if name in seen:
                raise RecipeError(f"line {line}: {name!r} is given twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


def strict_yaml(text: str, where: str) -> Any:
    """A value from YAML text, without what makes YAML dangerous or surprising."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader with less
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise RecipeError(f"{where}: line {line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{where}: not YAML: {error}") from error


def _step(item: Any, where: str) -> Step:
    if isinstance(item, str):
        name, settings = item, None
    elif isinstance(item, dict) and len(item) == 1:
        ((name, settings),) = item.items()
    else:
        raise RecipeError(f"{where}: write one name, or one name with its settings, not {item!r}")
    if name == "filter":
        return _filter(settings, where)
    stage = _named(name, where, "stage")
    if isinstance(stage, Signal):
        raise RecipeError(f"{where}: {name} is a signal; write `filter:` and list it there")
    return Step(name, build(stage, settings, f"{where}: {name}"))


def _filter(settings: Any, where: str) -> Step:
    """A filter from a list of signals, or from such a list and what holds for all of them."""
    if isinstance(settings, dict):
        known(settings, ("signals", *FILTER_KEYS), f"{where}: filter")
        listed = settings.get("signals")
        shared = {key: settings[key] for key in FILTER_KEYS if key in settings}
    else:
        listed, shared = settings, {}
    signals = [
        _signal(item, shared, f"{where}: filter[{index}]")
        for index, item in enumerate(_list(listed, f"{where}: filter"))
    ]
    if not signals:
        raise RecipeError(f"{where}: a filter needs at least one signal")
    names = [signal.name for signal in signals]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"{where}: {name} is listed twice; give it both bounds at once")
    families = dict.fromkeys(name.split(".")[0] for name in names)
    return Step(f"filter {'+'.join(families)}", Filter(tuple(signals)))


def _signal(item: Any, shared: dict[str, Any], where: str) -> Signal:
    if isinstance(item, str):
        name, settings = item, None
    elif isinstance(item, dict) and len(item) == 1:
        ((name, settings),) = item.items()
    else:
        raise RecipeError(f"{where}: write one signal, or one signal with its bounds, not {item!r}")
    signal = _named(name, where, "signal")
    where = f"{where}: {name}"
    if not isinstance(signal, Signal):
        raise RecipeError(f"{where} is a stage, not a signal; list it under `stages:`")
    given = mapping({} if settings is None else settings, where)
    known(given, ("low", "high", *FILTER_KEYS), where)
    low = _bound(given, "low", signal.low, where)
    high = _bound(given, "high", signal.high, where)
    if low > high:
        raise RecipeError(f"{where}: low {low:g} is above high {high:g}: nothing can pass")
    return _adapted(signal.within(low, high), shared, given, where)


def _adapted(signal: Signal, shared: dict[str, Any], given: dict[str, Any], where: str) -> Signal:
    """The signal with its words and its bounds by language; what all share is a default."""
    if "by_language" in given or "by_language" in shared:
        name = given.get("by_language", shared.get("by_language"))
        bounds = table(typed(str, name, f"{where}: by_language"))
        if "by_language" in given and signal.name not in bounds:
            near = nearest(signal.name, [*bounds])
            raise RecipeError(f"{where}: by_language: {name} has no column {signal.name}{near}")
        # Bounds that the recipe itself gives hold for all languages.
        if "by_language" in given or not {"low", "high"} & set(given):
            signal = replace(signal, by_language=bounds.get(signal.name))
    if "words" in given or ("words" in shared and signal.column and signal.words == Words()):
        signal = signal.over(_words(given.get("words", shared.get("words")), f"{where}: words"))
    return signal


def _words(given: Any, where: str) -> Words:
    if isinstance(given, str):
        given = {"default": given}
    ways = {key: typed(str, way, where) for key, way in mapping(given, where).items()}
    default = ways.pop("default", "space")
    try:
        return Words(default, tuple(sorted(ways.items())))
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _bound(bounds: dict[str, Any], key: str, default: float, where: str) -> float:
    if key not in bounds:
        return default
    if bounds[key] is None:  # `high: null` takes a source's bound away
        return -math.inf if key == "low" else math.inf
    return _number(bounds[key], f"{where}: {key}")


def _named(name: Any, where: str, what: str) -> Any:
    if not isinstance(name, str) or name.count(".") != 1:
        raise RecipeError(
            f"{where}: {name!r} is no {what}; names look like gopher.word_count or html.Extract"
            + (nearest(name, [*catalogue()]) if isinstance(name, str) else "")
        )
    family, attribute = name.split(".")
    for home in HOMES:
        if family.isidentifier() and importlib.util.find_spec(f"{home}.{family}"):
            module = importlib.import_module(f"{home}.{family}")
            value = vars(module).get(attribute)
            if value is not None and _usable(value, module):
                return value
    raise RecipeError(f"{where}: no {what} {name!r}{nearest(name, [*catalogue()])}")


def nearest(name: str, names: list[str]) -> str:
    """The end of an error about a name: the one that was probably meant, if any is near."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def build(kind: type, settings: Any, where: str) -> Any:
    """A dataclass from its YAML settings, each checked against the type of its field."""
    given = mapping(settings if settings is not None else {}, where)
    fields = [field.name for field in dataclasses.fields(kind) if field.init]
    known(given, fields, where)
    for field in dataclasses.fields(kind):
        needed = field.default is field.default_factory is dataclasses.MISSING
        if field.init and needed and field.name not in given:
            raise RecipeError(f"{where}: {field.name} is missing; it has no default")
    hints = typing.get_type_hints(kind)
    values = {key: typed(hints[key], value, f"{where}: {key}") for key, value in given.items()}
    try:
        return kind(**values)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def typed(kind: Any, value: Any, where: str) -> Any:
    """A value, checked against the type of its setting."""
    _not_huge(value, where)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{where}: {value!r} is no value for a setting") from error
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        powers = isinstance(value, str) and re.fullmatch(r"-?(\d+)e(-?\d+)", value)
        hint = f"; with a point it is a number: {powers[1]}.0e{int(powers[2]):+}" if powers else ""
        if kind is str and isinstance(value, bool | int | float):
            hint = "; put it in quotes"
        raise RecipeError(f"{where}: {problem}, not {value!r}{hint}") from error


def _section(document: dict[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in document:
        return None
    return build(kind, document[key], f"{where}: {key}")


def known(given: dict[str, Any], names: typing.Sequence[str], where: str) -> None:
    """Refuse a key that no setting has, with the one that was probably meant."""
    for key in given:
        if key not in names:
            near = nearest(key, list(names)) or f"; it has {', '.join(names) or 'no settings'}"
            raise RecipeError(f"{where}: no setting {key!r}{near}")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """The value, which must be `key: value` lines."""
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: expected `key: value` lines, not {value!r}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise RecipeError(f"{where}: expected a list (lines that begin with `-`), not {value!r}")
    return value


def _text(document: dict[str, Any], key: str, default: str, where: str) -> str:
    value = document.get(key, default)
    if not isinstance(value, str):
        raise RecipeError(f"{where}: {key}: expected text, not {value!r}; put it in quotes")
    return value


def _number(value: Any, where: str) -> float:
    _not_huge(value, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        hint = " (write 1000, not 1e3)" if isinstance(value, str) else ""
        raise RecipeError(f"{where}: expected a number{hint}, not {value!r}")
    return float(value)


def _not_huge(value: Any, where: str) -> None:
    """Refuse whole numbers that no kernel can hold."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise RecipeError(f"{where}: the number is too large; write less than 2**63")
