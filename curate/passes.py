"""How a recipe falls into passes over the text: a new one after every group of surveys.

A survey that takes stretches out of texts ends its group, and one that ranks by a column which
another one adds (`adds`) begins one.
"""

from dataclasses import dataclass
from typing import Any

from curate.recipe import Recipe, Step
from curate.store import digest


@dataclass(frozen=True)
class Pass:
    """Stages that run in one pass over the text.

    `decided` are the surveys whose verdicts are entered as the pass begins, `surveys` those
    that look at what it keeps.
    """

    index: int
    decided: tuple[Step, ...]
    steps: tuple[Step, ...]
    surveys: tuple[Step, ...]
    final: bool


def passes(recipe: Recipe) -> tuple[Pass, ...]:
    """The recipe's steps in passes; the last one writes the documents."""
    groups: list[tuple[list[Step], list[Step]]] = [([], [])]
    for step in recipe.steps:
        steps, surveys = groups[-1]
        if step.is_survey and not _waits(step, surveys):
            surveys.append(step)
        elif step.is_survey:
            groups.append(([], [step]))
        elif surveys:
            groups.append(([step], []))
        else:
            steps.append(step)
    if groups[-1][1]:
        groups.append(([], []))
    return tuple(
        Pass(
            index=index,
            decided=tuple(groups[index - 1][1]) if index else (),
            steps=tuple(steps),
            surveys=tuple(surveys),
            final=index == len(groups) - 1,
        )
        for index, (steps, surveys) in enumerate(groups)
    )


def _waits(step: Step, surveys: list[Step]) -> bool:
    """Whether a survey is to see what those before it decide: text cut, or a column added."""
    cuts = surveys and not getattr(surveys[-1].stage, "leaves_text", False)
    added = {name for one in surveys for name in getattr(one.stage, "adds", ())}
    return bool(cuts or added & _read_by(step.stage))


def _read_by(stage: Any) -> set[str]:
    """The columns that a survey's settings name."""
    keep = getattr(stage, "keep", None)
    names = [getattr(stage, setting, None) for setting in ("column", "by", "within")]
    names += [*keep.values()] if isinstance(keep, dict) else []
    return {name for name in names if isinstance(name, str)}


def lineage(resolved: dict[str, Any], stages: int) -> str:
    """A digest of what a resolved recipe does up to and with so many of its stages."""
    return digest([resolved["read"], resolved["stages"][:stages]])
