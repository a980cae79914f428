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
    url_key: str = "url"
    id_key: str = "id"
    date_key: str = "date"
    metadata: bool = True


def recipe_text(wanted: Wanted) -> str:
    """A recipe as YAML: whole documents first, then what contains others, then parts of them."""
    near = wanted.near not in NOTHING
    stages = ["html.Extract", *_documents(wanted), *_parts(wanted)]
    if (wanted.against or wanted.index) and not (wanted.urls or wanted.exact or near):
        raise RecipeError("--against and --index are of URLs, texts and near-duplicates; want one")
    if len(stages) == 1:
        raise RecipeError("nothing to remove: leave --no-exact or --near none away")
    keys = ("text_key", "url_key", "id_key", "date_key", "metadata")
    read = {key: getattr(wanted, key) for key in keys}
    recipe = {"name": "dedup", "read": read, "stages": stages}
    return yaml.dump(recipe, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)


class _Plain(yaml.SafeDumper):
    """Writes the same value out wherever it stands: recipes have no aliases."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _documents(wanted: Wanted) -> Iterator[dict[str, Any]]:
    keep = {"keep": _keep(wanted.keep)}
    if wanted.contained is not None:
        contained = [{"contained.Contained": {"share": wanted.contained, **keep}}]
    else:
        contained = []
    if wanted.against:
        keep["against"] = [*wanted.against]
    if wanted.index:
        keep["index"] = True
    if wanted.urls:
        yield {"exact.Url": {**keep}}
    if wanted.exact:
        yield {"exact.Exact": {**keep}}
    if wanted.near not in NOTHING:
        yield {"minhash.MinHash": {**_near(wanted), **keep}}
    yield from contained


def _parts(wanted: Wanted) -> Iterator[dict[str, Any]]:
    if wanted.lines not in NOTHING:
        yield {"lines.Lines": {"keep": _copies(wanted.lines)}}
    if wanted.substrings is not None:
        yield {"substrings.Substrings": {"length": wanted.substrings}}


def _copies(lines: str) -> str:
    if lines not in ("first", "all"):
        raise RecipeError(f"--lines {lines}: write first, all or no")
    return "none" if lines == "all" else "first"


def _near(wanted: Wanted) -> dict[str, Any]:
    settings: dict[str, Any] = {"similarity": wanted.similarity, "verify": wanted.verify}
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
