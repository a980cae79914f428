"""Training, from token shards to a model folder; the same weights however often it is cut off."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save

from curate.errors import CurateError
from curate.store import disk_errors, write_atomic
from trainer.checkpoint import Progress, identity, read_checkpoint, write_checkpoint
from trainer.data import IGNORED, Loader, Window, open_loader
from trainer.hugging_face import config_of, weights_of
from trainer.model import LanguageModel, Tensor, torch
from trainer.optimizer import adamw, learning_rate
from trainer.settings import Source, TrainSettings
from trainer.shape import Shape

METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class TrainProgress:
    """One step that was made."""

    step: int  # 1 for the first
    steps: int
    loss: float  # nats per token
    learning_rate: float
    tokens_per_second: float
    seconds: float  # since this process began to train


@dataclass(frozen=True)
class TrainSummary:
    """A finished training; seconds and speed are those of this process."""

    steps: int
    tokens: int
    epochs: float
    parameters: int
    first_loss: float
    last_loss: float
    seconds: float
    tokens_per_second: float
    device: str


def train(
    data: Path | Mapping[str, Source],
    output: Path,
    settings: TrainSettings,
    progress: Callable[[TrainProgress], None],
) -> TrainSummary:
    """Train a model on token shards, or a mixture, from where `output` stands; leave it there.

    Writes config.json and model.safetensors, which `transformers` loads too, metrics.jsonl, and
    checkpoint.safetensors. Times are in metrics.jsonl only.
    """
    loader = open_loader(data, settings)
    device = pick_device(settings.device)
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(settings.threads)
    with torch.random.fork_rng(), _sums_in_order(device, wanted=settings.deterministic):
        torch.manual_seed(settings.seed)
        model = LanguageModel(Shape.of(settings, loader.vocab_size))
        model.initialize(settings.seed)
        run = Run(model.to(device), loader, settings, output)
        run.resume(Progress(0, math.nan, math.nan, loader.digest, identity(settings)))
        summary = run.finish(progress)
    config = config_of(model.shape, loader.end_of_text)
    write_atomic(output / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    weights = weights_of(model.state_dict(), model.shape)
    write_atomic(output / MODEL, save(weights, {"format": "pt"}))
    return summary


@contextmanager
def _sums_in_order(device: torch.device, *, wanted: bool) -> Iterator[None]:
    """On a GPU, let kernels add up in the same order each time."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted and device.type == "cuda":
        # cuBLAS reads this when it is first used; without it torch refuses to be deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def pick_device(name: str) -> torch.device:
    """The device of a setting."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise CurateError("train.device: no CUDA device here; write auto or cpu")
    return torch.device(name)


@dataclass
class Run:
    """A training between its steps."""

    model: LanguageModel
    loader: Loader
    settings: TrainSettings
    output: Path
    done: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        self.optimizer = adamw(self.model, self.settings)
        # Compiling costs a minute that a CPU run of this size does not win back.
        compiled = torch.compile(self._loss) if self.device.type == "cuda" else self._loss
        self._compiled = cast(Callable[..., Tensor], compiled)

    def resume(self, fresh: Progress) -> None:
        """Go on from the checkpoint in the output folder, or begin."""
        for leftover in self.output.glob(".*.tmp"):  # of a run that was killed while writing
            leftover.unlink()
        self.done = read_checkpoint(self.output, self.model, self.optimizer, fresh)
        _cut_metrics(self.output / METRICS, self.done.step)

    def finish(self, progress: Callable[[TrainProgress], None]) -> TrainSummary:
        """Make the steps that are left."""
        settings, began, first = self.settings, time.perf_counter(), self.done.step
        per_step = settings.batch * settings.context
        with disk_errors(self.output), (self.output / METRICS).open("a") as metrics:
            while self.done.step < settings.steps:
                rate = learning_rate(self.done.step, settings)
                before = time.perf_counter()
                self._advance(rate)
                now = time.perf_counter()
                speed = per_step / (now - before)
                step, loss = self.done.step, self.done.last_loss
                report = TrainProgress(step, settings.steps, loss, rate, speed, now - began)
                metrics.write(json.dumps(_metrics(report)) + "\n")
                metrics.flush()
                progress(report)
                if step % settings.checkpoint_every == 0 or step == settings.steps:
                    write_checkpoint(self.output, self.model, self.optimizer, self.done)
        seconds = time.perf_counter() - began
        return TrainSummary(
            steps=self.done.step,
            tokens=self.done.step * per_step,
            epochs=self.done.step * settings.batch / self.loader.windows,
            parameters=self.model.parameter_count,
            first_loss=self.done.first_loss,
            last_loss=self.done.last_loss,
            seconds=seconds,
            tokens_per_second=(self.done.step - first) * per_step / seconds,
            device=self.device.type,
        )

    def gradients(self, batch: Window) -> float:
        """Add the gradients of a batch's mean loss to the weights; returns that loss.

        The sum over micro-batches is divided by the targets of the whole batch: a mean of means
        would weigh a target by how few others share its micro-batch.
        """
        size = self.settings.micro_batch or len(batch.tokens)
        targets = max(1, int((batch.targets != IGNORED).sum()))
        total = torch.zeros((), device=self.device)
        for start in range(0, len(batch.tokens), size):
            rows = slice(start, start + size)
            tensors = [
                None if part is None else torch.from_numpy(part[rows].copy()).to(self.device)
                for part in (batch.tokens, batch.targets, batch.documents)
            ]
            with self._precision():
                loss = self._compiled(*tensors) / targets
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
            total += loss.detach()
        return total.item()

    def _advance(self, rate: float) -> None:
        """Make one step."""
        number, settings = self.done.step, self.settings
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.gradients(self.loader.rows(number * settings.batch, settings.batch))
        if not math.isfinite(loss):
            raise CurateError(
                f"{self.output}: the loss of step {number + 1} is {loss}; lower train.learning_rate"
            )
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.done.step = number + 1
        self.done.last_loss = loss
        if number == 0:
            self.done.first_loss = loss

    def _loss(self, tokens: Tensor, targets: Tensor, documents: Tensor | None) -> Tensor:
        return self.model.loss_sum(tokens, targets, documents)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()


def _metrics(report: TrainProgress) -> dict[str, float]:
    return {
        "step": report.step,
        "loss": report.loss,
        "learning_rate": report.learning_rate,
        "tokens_per_second": round(report.tokens_per_second, 1),
        "seconds": round(report.seconds, 3),
    }


def _cut_metrics(path: Path, step: int) -> None:
    """Keep the lines of the first `step` steps: later ones are made again, or were torn."""
    lines = path.read_bytes().split(b"\n")[:step] if path.exists() else []
    write_atomic(path, b"".join(line + b"\n" for line in lines if line))
