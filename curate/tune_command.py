"""`curate tune`: a model that follows instructions."""

import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from curate.errors import InputError, RecipeError
from curate.progress import Watcher, console, line, printable, show
from curate.recipe import build, known, strict_yaml
from curate.train_config import as_number
from curate.training import extra, refuse_run, telling

TUNE = (
    "Examples:  curate tune out/model alpaca.json --output tuned"
    "  -  curate tune out/model mine.jsonl --output tuned epochs=5 rank=16 targets=q,k,v,o"
)
FILES = {
    "model.safetensors": "the tuned weights; the folder opens in transformers",
    "adapter": "the adapters alone, as PEFT has them",
    "metrics.jsonl": "loss, rate and gradient of every step",
    "sample.txt": "answers, beside those in the data",
    "tune.json": "records by their fate, losses, settings",
}


def tune_command(
    model: Annotated[Path, typer.Argument(help="A model folder of ours or of Hugging Face.")],
    data: Annotated[
        Path,
        typer.Argument(help="JSON or JSON lines of instruction, input, output."),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[key=value ...]", help="Settings, such as epochs=3 batch=8."),
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder of the tuned model.")] = ...,  # type: ignore[assignment]  # typer: required
    full: Annotated[bool, typer.Option("--full", help="Train all weights, not adapters.")] = False,
) -> None:
    """Teach a trained model to follow instructions, by adapters (LoRA) on its attention.

    Prompts are Stanford Alpaca's, and only answers are learned. The same command again goes on from
    the last checkpoint, and ends with the same weights.
    """
    refuse_run(model)
    module = extra("trainer.tune")
    try:
        settings = _settings(module.TuneSettings, words or [], full=full)
        tuning = module.Tuning(model, data, output, settings)
    except RecipeError as error:  # which would be told how to check a recipe
        raise InputError(str(error)) from error
    extra("trainer.train").refuse_foreign(output)
    # Of the processes that torchrun starts the first alone speaks.
    leads = extra("trainer.distributed").leads()
    with Watcher(console(stderr=True) if leads else Console(quiet=True)) as watcher:
        for planned in tuning.plan:
            watcher.note(printable(planned))
        watcher.begin("tuning", tuning.loop.steps, "steps")
        said = tuning.run(telling(watcher, lambda state: f"loss {state.loss:.3f}"), watcher.note)
        watcher.end()
    if said:
        for row in _told(output, said):
            show(line(printable(row)))


def _settings(kind: Any, words: Sequence[str], *, full: bool) -> Any:
    """Settings from words as key=value."""
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {"full": True} if full else {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign:
            raise InputError(f"{word}: write it as key=value, such as epochs=3")
        known({key: None}, list(hints), word)
        values[key] = text if hints[key] is str else as_number(strict_yaml(text, word), hints[key])
    return build(kind, values, "curate tune")


def _told(output: Path, said: dict[str, Any]) -> list[str]:
    """What came of it: losses, files, and what to type next."""
    rows = [
        f"\nTuned in {said['steps']:,} steps: "
        f"loss {said['first_loss']:.3f} -> {said['last_loss']:.3f}"
    ]
    if said["held_out"]:
        rows.append(
            f"  {said['held_out']:,} held-out answers: loss {said['held_out_loss_before']:.4f} -> "
            f"{said['held_out_loss']:.4f}"
        )
    rows += [
        f"\nIn {output}:",
        *(f"  {name:18} {what}" for name, what in FILES.items() if (output / name).exists()),
        f"\nNext:  curate sample {output} --instruction '...'",
    ]
    return rows
