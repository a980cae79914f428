"""What a run will do, frozen before it starts: inputs, units, and the key of every piece of work.

A key covers everything that can change the bytes of a piece: our code, the libraries that write
or decide, the settings of the stages, the models, and the content that goes in. Equal keys mean
equal work, so a piece under its key can be used again; nothing else can.
"""

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from curate import models
from curate.code import code
from curate.errors import InputError, ModelError, RecipeError
from curate.passes import Pass
from curate.read.reader import Input, Span, find_inputs, spans
from curate.recipe import Recipe, describe, settings_of
from curate.schema import DATE, LANGUAGE, METADATA, OFFSET, ORIGIN, SOURCE, URL
from curate.store import digest, file_digest
from tokenizer.train import counting_facts


@dataclass(frozen=True)
class Unit:
    """A part of one input, decided from its content and never from the number of workers."""

    index: int
    input: Input
    span: Span

    @property
    def name(self) -> str:
        """What the user sees."""
        return f"{self.input.name}[{self.span.start}:{self.span.end}]"


@dataclass(frozen=True)
class Plan:
    """Inputs, units and models of a run."""

    recipe: Recipe
    inputs: tuple[Input, ...]
    units: tuple[Unit, ...]
    notes: tuple[str, ...]
    models: dict[str, str]  # name in the recipe -> SHA-256

    @property
    def bytes(self) -> int:
        """The size of all inputs."""
        return sum(source.size for source in self.inputs)

    def text_key(self, this: Pass, unit: Unit, before: dict[str, str], rejected: bool) -> str:
        """The key of a unit in one pass; `before` are the digests of the files that it reads."""
        entering: dict[str, Any] = dict(before)
        if this.index == 0:
            entering = {
                "read": settings_of(self.recipe.read),
                "input": [unit.input.identity, unit.input.name],
                "span": [unit.span.start, unit.span.end],
            }
        counts = self.recipe.tokenizer if this.final else None
        counted = counts and not counts.load and counting_facts(counts)
        return self._key(
            "text",
            entering=entering,
            steps=[describe(step) for step in this.steps],
            surveys=[describe(step) for step in this.surveys],
            final=this.final,
            counted=counted or None,
            rejected=rejected,
        )

    def decision_key(self, survey: dict[str, Any], before: list[str]) -> str:
        """The key of a survey's decision over all units."""
        return self._key("decision", survey=survey, before=before)

    def index_key(self, survey: str, documents: str) -> str:
        """The key of what a survey says of a unit's last documents."""
        return self._key("index", survey=survey, documents=documents)

    def tokenizer_key(self, before: list[str]) -> str:
        """The key of a tokenizer trained from these counts."""
        settings = settings_of(self.recipe.tokenizer) if self.recipe.tokenizer else None
        return self._key("tokenizer", settings=settings, before=before)

    def tokens_key(self, documents: str, tokenizer: dict[str, str]) -> str:
        """The key of one unit's tokens, in the order of their part of the corpus."""
        order = {**settings_of(self.recipe.order), "shard_bytes": None}
        return self._key("tokens", documents=documents, tokenizer=tokenizer, order=order)

    def layout_key(self, tokens: list[str]) -> str:
        """The key of the cut of all units' tokens into parts."""
        return self._key("layout", tokens=tokens, shard_bytes=self.recipe.order.shard_bytes)

    def part_key(self, layout: str, part: int) -> str:
        """The key of a part of the token shards."""
        return self._key("part", layout=layout, part=part)

    def _key(self, kind: str, **facts: Any) -> str:
        return digest({"kind": kind, "code": code(), "models": self.models, **facts})[:40]


def plan(recipe: Recipe, patterns: list[str], output: Path) -> Plan:
    """Find the inputs, cut them into units and check the models; reads no documents."""
    _check_columns(recipe)
    inputs, notes = find_inputs(patterns)
    for source in inputs:
        if "://" not in source.uri and Path(source.uri).resolve().is_relative_to(output.resolve()):
            raise InputError(
                f"{source.uri}: lies inside the output folder; choose another --output, or an "
                "--input that does not match its own results"
            )
    for index, step in enumerate(recipe.steps):
        for name in getattr(step.stage, "against", ()):
            if Path(name).resolve() == output.resolve():
                raise RecipeError(
                    f"stages[{index}]: {step.label}: against: {name} is the output of this run "
                    "itself; choose another --output"
                )
    units = [Unit(0, source, span) for source in inputs for span in spans(source, recipe.read)]
    numbered = tuple(Unit(index, unit.input, unit.span) for index, unit in enumerate(units))
    return Plan(recipe, tuple(inputs), numbered, tuple(notes), _models(recipe))


def as_json(source: Input) -> dict[str, Any]:
    """An input as a task carries it to a worker."""
    return asdict(source)


def _check_columns(recipe: Recipe) -> None:
    """Refuse columns that a recipe asks for and no stage adds: that is found out late."""
    wanted = [("tokenizer.balance", recipe.tokenizer.balance)] if recipe.tokenizer else []
    wanted += [("shards.columns", name) for name in (recipe.shards.others if recipe.shards else ())]
    there = columns_behind(recipe)
    for place, name in wanted:
        if not name or name in there:
            continue
        hint = "; put language.Identify into `stages:`" if name.startswith(LANGUAGE) else ""
        near = get_close_matches(name, [*there, LANGUAGE], 1)
        if near and not hint:
            hint = f"; did you mean {near[0]}?"
        raise RecipeError(
            f"{place}: no column {name!r} behind the last stage; there are: "
            f"{', '.join(there)}{hint}"
        )


def columns_behind(recipe: Recipe) -> list[str]:
    """The columns of the documents that a recipe keeps, but for their ids and texts."""
    names = [ORIGIN, URL, DATE, SOURCE, OFFSET, *([METADATA] if recipe.read.metadata else [])]
    for stage in (step.stage for step in recipe.steps):
        names += [*getattr(stage, "judged_from", ()), *getattr(stage, "adds", ())]
        names += [name for name in [getattr(stage, "column", None)] if name]
        names += [signal.name for signal in getattr(stage, "signals", ())]
    return list(dict.fromkeys(names))


def _models(recipe: Recipe) -> dict[str, str]:
    """The digests of the files that stages read besides documents."""
    found: dict[str, Path] = {}
    for index, step in enumerate(recipe.steps):
        try:
            found |= files_of(step.stage)
        except (ModelError, RecipeError) as error:
            problem = str(error).removeprefix(f"{step.label}: ")
            raise type(error)(f"stages[{index}]: {step.label}: {problem}") from error
    return {name: file_digest(found[name]) for name in sorted(found)}


def files_of(stage: Any) -> dict[str, Path]:
    """The files that a stage reads besides documents, by the name that a run's manifest gives."""
    if hasattr(stage, "files"):
        files: dict[str, Path] = stage.files()
        return files
    name = getattr(stage, "model", None)
    return {str(name): models.model_path(str(name))} if name else {}
