"""A training as its user sees it: the plan, a line that goes on, and what came of it."""

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from curate import tokenizing
from curate.errors import InputError, ModelError
from curate.progress import Watcher, console, line, printable, show
from curate.publish import pretty
from curate.report.charts import short
from curate.report.collect import losses_of
from curate.store import write_atomic
from curate.train_config import TOKENIZER, Training
from curate.training import extra
from tokenizer import vocabulary
from tokenizer.dataset import TokenDataset
from trainer.data import Loader
from trainer.plot import loss_plot
from trainer.shape import Shape

SETTINGS, METRICS, PLOT, SUMMARY = "train.yaml", "metrics.jsonl", "loss.svg", "summary.json"
FILES = {
    "model.safetensors": "the weights; the folder opens in transformers",
    SETTINGS: "all settings, for curate train",
    METRICS: "loss, rate and speed of every step",
    PLOT: "the loss, drawn",
    "evaluations.jsonl": "bits per byte of held-out sets, by source and language",
    SUMMARY: "what is said here, as JSON",
}


def leads() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


@dataclass
class Session:
    """A training that is watched; of several processes one alone speaks and writes."""

    asked: Training
    loader: Loader
    leads: bool = field(default_factory=leads)
    sets: dict[str, TokenDataset] = field(init=False)
    tokenizer: vocabulary.Vocabulary | None = field(init=False)
    watcher: Watcher = field(init=False)
    _meter: Any = None
    _done: int = 0
    _scores: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        trained = TokenDataset(self.asked.folders[0])
        self.sets = {name: TokenDataset(path) for name, path in self.asked.evaluate.items()}
        for name, dataset in self.sets.items():
            if dataset.manifest["vocabulary"] != trained.manifest["vocabulary"]:
                raise InputError(
                    f"evaluate.{name}: the tokens in {dataset.folder} are of another tokenizer "
                    f"than those in {trained.folder}; write shards with that one"
                )
        self.tokenizer = _tokenizer(self.asked, trained)
        self.watcher = Watcher(console(stderr=True) if self.leads else Console(quiet=True))

    def begin(self, device: Any) -> None:
        """Say what is planned."""
        settings = self.asked.settings
        shape = Shape.of(settings, self.loader.vocab_size)
        watch = extra("trainer.watch")
        self.watcher.begin("training", settings.steps, "steps")
        if not self.leads:
            return
        self._meter = watch.Meter.of(shape, device, int(os.environ.get("WORLD_SIZE", "1")))
        tokens = settings.steps * settings.batch * settings.context
        self.watcher.note(
            f"{settings.preset} ({settings.family}): {short(watch.multiplied(shape))} weights that "
            f"multiply; {tokens:,} tokens in {settings.steps:,} steps of "
            f"{settings.batch} x {settings.context:,}"
        )
        for name, epochs in self.loader.epochs(settings.steps * settings.batch).items():
            self.watcher.note(f"  {printable(name)}: {epochs:.2f} epochs planned")
        if self.tokenizer is None:
            self.watcher.note(
                "no tokenizer lies beside the tokens: the model will not know text; name one with "
                "tokenizer=..."
            )

    def progress(self, state: Any) -> None:
        """A step was made."""
        if self._meter:
            if not self._done:
                self._settle()
            self.watcher.say(self._meter.line(state.loss, state.tokens_per_second))
        self.watcher.advance({"steps": state.step - self._done})
        self._done = state.step

    def _settle(self) -> None:
        """Write what the model is made by, now that its folder is known to be its own."""
        write_atomic(self.asked.output / SETTINGS, self.asked.as_yaml().encode())
        if self.tokenizer:
            tokenizing.save(self.tokenizer, self.asked.output)

    def evaluate(self, model: Any, step: int) -> None:
        """Score the model on all held-out sets; the trainer calls it in every process."""
        evaluate = extra("trainer.evaluate")
        found = {name: evaluate.document_losses(model, one) for name, one in self.sets.items()}
        if self.leads and found:
            self._scores = evaluate.record(self.asked.output, step, found)

    def tell(self, summary: Any) -> None:
        """What came of it: figures, files, and what to type next."""
        output = self.asked.output
        losses = losses_of(output / METRICS)
        write_atomic(output / PLOT, loss_plot(losses, "Training loss").encode())
        mfu = self._meter.utilisation(summary.tokens_per_second)
        told = dataclasses.asdict(summary) | {"mfu": mfu, "peaks": dict(self._meter.peaks)}
        write_atomic(output / SUMMARY, pretty(told))
        rows = [
            f"\nTrained {summary.steps:,} steps, {summary.tokens:,} tokens on {summary.device}: "
            f"loss {summary.first_loss:.3f} -> {summary.last_loss:.3f}",
            self._speed(summary.tokens_per_second, mfu),
            *self._seen(summary.steps),
            *map(_score, self._scores),
            f"\nIn {output}:",
            *(f"  {name:18} {what}" for name, what in FILES.items() if (output / name).exists()),
            f"\nNext:  {self._next()}",
        ]
        for row in rows:
            show(line(printable(row)))

    def _speed(self, tokens_per_second: float, mfu: dict[str, float]) -> str:
        if not tokens_per_second:
            return "  all steps were made before"
        parts = [f"  {tokens_per_second:,.0f} tokens/s"]
        for name, share in mfu.items():
            peak = self._meter.peaks[name] / 1e12
            parts.append(f"MFU {100 * share:.1f} % of {peak:,.0f} TFLOP/s ({name})")
        return ", ".join(parts)

    def _seen(self, steps: int) -> list[str]:
        epochs = self.loader.epochs(steps * self.asked.settings.batch)
        return [f"  {name}: {seen:.2f} epochs" for name, seen in epochs.items()]

    def _next(self) -> str:
        output = self.asked.output
        if (output / "tokenizer.json").exists():
            return f"curate sample {output} --prompt '{self.asked.settings.prompt}'"
        return f"curate evaluate {output} --data TOKENS"


def _score(row: dict[str, Any]) -> str:
    """A row of `evaluations.jsonl` in words; those of single sources are for the file."""
    group = f" {row['language'] or '(no language)'}" if "language" in row else ""
    bits, nats = (f"{row[name] or float('nan'):.4f}" for name in ("bits_per_byte", "loss"))
    return f"  {row['set']}{group}: {bits} bits per byte, loss {nats}"


def _tokenizer(asked: Training, trained: TokenDataset) -> vocabulary.Vocabulary | None:
    """The tokenizer of the shards: the one that is named, or one that lies beside them."""
    beside = [folder.resolve().parent / TOKENIZER for folder in asked.folders]
    path = asked.tokenizer or next((one for one in beside if one.is_dir()), None)
    if path is None:
        return None
    found = vocabulary.load(path)
    if found.fingerprint() != trained.manifest["vocabulary"]:
        raise ModelError(
            f"{path}: not the tokenizer of {trained.folder}; name that one with tokenizer=..."
        )
    return found
