"""The last stage of a run: a model from its token shards, or the one that is there already."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.code import PACKAGES, TRAINER, code
from curate.errors import CurateError, ModelError
from curate.pieces import Events
from curate.progress import tell
from curate.recipe import settings_of
from curate.store import (
    KEY,
    begin,
    describe,
    digest,
    file_digest,
    intact,
    owned,
    sealed,
    write_atomic,
)
from tokenizer.shards import MANIFEST, read_manifest
from trainer.settings import TrainSettings

CONFIG = "config.json"
SEAL = "manifest.json"
UNSEALED = (SEAL, "metrics.jsonl", "sample.txt")  # times, and what is drawn from the model


def train(output: Path, settings: TrainSettings, events: Events) -> Any:
    """Train on output/tokens into output/model; a model of other tokens or settings is replaced.

    Returns the trainer's summary. A training that was cut off goes on from its checkpoint.
    """
    with owned(output / "work"):  # the run has let go of it
        return _train(output, settings, events)


def _train(output: Path, settings: TrainSettings, events: Events) -> Any:
    trainer = extra("trainer.train")
    model = output / "model"
    tokens = file_digest(output / "tokens" / MANIFEST)
    if not _whole(model):
        shutil.rmtree(model, ignore_errors=True)
    sources = code(PACKAGES + TRAINER)
    key = digest({"tokens": tokens, "settings": settings_of(settings), "code": sources})
    begin(model, key)
    shutil.copytree(output / "tokenizer", model, dirs_exist_ok=True)
    vocab_size = read_manifest(output / "tokens")["vocab_size"]
    meter = extra("trainer.watch").Meter.of(settings, vocab_size)
    events.begin("train model", settings.steps, "steps")
    progress = telling(events, meter.line)
    summary = trainer.train(output / "tokens", model, settings, progress)
    events.end()
    there = sorted(path.name for path in model.iterdir() if path.is_file())
    names = [name for name in there if name not in UNSEALED]
    files = {name: describe(model / name) for name in names}
    write_atomic(model / SEAL, sealed({"files": files}))
    return summary


def telling(events: Events, line: Callable[[Any], str]) -> Callable[[Any], None]:
    """What tells of each step of a training: its remarks, a line about it, and that it was made."""
    done = 0

    def progress(state: Any) -> None:
        nonlocal done
        for remark in state.remarks:
            events.note(remark)
        events.say(line(state))
        events.advance({"steps": state.step - done})
        done = state.step

    return progress


def forget(output: Path) -> None:
    """Remove the model of an earlier recipe, which the output is no longer about."""
    if (output / "model" / KEY).exists():
        shutil.rmtree(output / "model")


def _whole(model: Path) -> bool:
    """Whether a finished model is as it was sealed; one that is still in training has no seal."""
    return not (model / SEAL).exists() or intact(model / SEAL) is not None


def sample(model: Path, prompt: str, **how: Any) -> str:
    """The prompt, and what the model of a run writes after it."""
    return prompt + samples(model, prompt, **how)[0]


def samples(model: Path, prompt: str, device: str = "auto", **how: Any) -> list[str]:
    """What a model writes after the prompt, `count` times."""
    refuse_run(model)
    module = extra("trainer.sample")
    writer = module.Writer.of(model, device)
    if (unseen := len(writer.tokens(prompt)) - writer.model.shape.context) > 0:
        tell(f"prompt: longer than the model's context; its first {unseen:,} tokens are not seen")
    texts: list[str] = writer.written(prompt, module.Sampling(**how))
    return texts


def refuse_run(model: Path) -> None:
    """Refuse the output of a run in place of the model in it."""
    if not (model / CONFIG).exists() and (model / "model" / CONFIG).exists():
        raise ModelError(f"{model}: is a run, not a model; did you mean {model / 'model'}?")


def extra(module: str) -> Any:
    """A module that needs the extra `train`: torch is imported only by those who train."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("torch", "safetensors"):
            raise
        raise CurateError("training needs torch: pip install 'crawl-to-model[train]'") from error
