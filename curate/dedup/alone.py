"""The recipe of a run that removes duplicates and does nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from curate.dedup.minhash import PRESETS
from curate.errors import RecipeError

NOTHING = ("none", "no", "off")


@dataclass(frozen=True)
class Wanted:
    """What the options of the command line ask for."""

    near: str = "fineweb"
    similarity: float = 0.7
    verify: str = "text"
    exact: bool = True
    urls: bool = False
    contained: float | None = None
    lines: str = "no"
    substrings: int | None = None
    keep: str = "longest"
    against: tuple[str, ...] = ()
    index: bool = False
    text_key: str = "text"


def recipe_text(wanted: Wanted) -> str:
    """A recipe as YAML: whole documents first, then what contains others, then parts of them."""
    stages = ["html.Extract", *_documents(wanted), *_parts(wanted)]
    if len(stages) == 1:
        raise RecipeError("nothing to remove: leave --no-exact or --near none away")
    recipe = {"name": "dedup", "read": {"text_key": wanted.text_key}, "stages": stages}
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=10_000)


def _documents(wanted: Wanted) -> Iterator[dict[str, Any]]:
    keep = _keep(wanted.keep)
    if wanted.urls:
        yield {"exact.Url": {"keep": keep}}
    if wanted.exact:
        yield {"exact.Exact": {"keep": keep}}
    if wanted.near not in NOTHING:
        yield {"minhash.MinHash": {**_near(wanted), "keep": keep}}
    elif wanted.against or wanted.index:
        raise RecipeError("--against and --index are of near-duplicates; leave --near none away")
    if wanted.contained is not None:
        yield {"contained.Contained": {"share": wanted.contained, "keep": keep}}


def _parts(wanted: Wanted) -> Iterator[dict[str, Any]]:
    if wanted.lines not in NOTHING:
        yield {"lines.Lines": {"keep": _copies(wanted.lines)}}
    if wanted.substrings is not None:
        yield {"substrings.Substrings": {"length": wanted.substrings, "keep": "first"}}


def _copies(lines: str) -> str:
    if lines not in ("first", "all"):
        raise RecipeError(f"--lines {lines}: write first, all or no")
    return "none" if lines == "all" else "first"


def _near(wanted: Wanted) -> dict[str, Any]:
    settings: dict[str, Any] = {"similarity": wanted.similarity, "verify": wanted.verify}
    if wanted.against:
        settings["against"] = [*wanted.against]
    if wanted.index:
        settings["index"] = True
    if wanted.near in PRESETS:
        return {"preset": wanted.near, **settings}
    try:
        return {"threshold": float(wanted.near), **settings}
    except ValueError as error:
        raise RecipeError(
            f"--near {wanted.near}: write {', '.join(PRESETS)}, a threshold such as 0.8, or none"
        ) from error


def _keep(given: str) -> Any:
    try:
        return yaml.safe_load(given)
    except yaml.YAMLError as error:
        raise RecipeError(
            f"--keep {given}: not YAML; write longest or {{highest: COLUMN}}"
        ) from error
