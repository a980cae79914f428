"""What a stage can be told: its fields, as a recipe writes them, with defaults and comments."""

import ast
import dataclasses
import inspect
import json
import math
import textwrap
import types
import typing
from dataclasses import dataclass
from typing import Any

import yaml

WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """One field of a stage, in a recipe's terms."""

    name: str
    kind: str
    default: str  # as YAML; empty where there is none
    about: str  # the comment beside it


def settings(stage: type) -> list[Setting]:
    """The fields of a stage that a recipe may give, in order."""
    hints, comments = typing.get_type_hints(stage), _comments(stage)
    return [
        Setting(
            field.name,
            kind(hints[field.name]),
            "" if default(field) is dataclasses.MISSING else as_yaml(default(field)),
            comments.get(field.name, ""),
        )
        for field in dataclasses.fields(stage)
        if field.init
    ]


def given(stage: Any) -> dict[str, Any]:
    """The settings of a stage that are not its defaults."""
    return {
        field.name: getattr(stage, field.name)
        for field in dataclasses.fields(stage)
        if field.init and getattr(stage, field.name) != default(field)
    }


def default(field: dataclasses.Field[Any]) -> Any:
    """What a field is where nothing is said; MISSING where something must be."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def as_yaml(value: Any) -> str:
    """A value on one line, as a recipe writes it."""
    plain = json.loads(json.dumps(value, default=dataclasses.asdict))
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


def kind(hint: Any) -> str:
    """A type in words: `tuple[str, ...]` is a list of text."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(map(as_yaml, parts))
    if origin in (types.UnionType, typing.Union):
        return " or ".join("null" if part is type(None) else kind(part) for part in parts)
    if origin in (tuple, list):
        return f"list of {kind(parts[0])}" if parts[-1] is ... else f"{len(parts)} of a list"
    if origin is dict:
        return f"{{{kind(parts[0])}: {kind(parts[1])}}}"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _comments(stage: type) -> dict[str, str]:
    """The comments beside fields, or in the lines right above them."""
    found: dict[str, str] = {}
    for owner in reversed(stage.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        source = textwrap.dedent(inspect.getsource(owner))
        lines = source.splitlines()
        (body,) = ast.parse(source).body
        for node in body.body if isinstance(body, ast.ClassDef) else ():
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = _comment(lines, node)
    return found


def _comment(lines: list[str], node: ast.AnnAssign) -> str:
    assert node.end_lineno is not None and node.end_col_offset is not None
    last = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
    beside = last.partition("#")[2].strip()
    above: list[str] = []
    at = node.lineno - 2
    while at >= 0 and lines[at].lstrip().startswith("#"):
        above.insert(0, lines[at].strip(" #"))
        at -= 1
    return beside or " ".join(above)
