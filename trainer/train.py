"""Training, from token shards to a model folder; the same weights however often it is cut off."""

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from curate.errors import CurateError
from curate.store import disk_errors, write_atomic
from trainer.checkpoint import Progress, State, identity, resume, write_checkpoint, write_tensors
from trainer.data import Loader, Window, open_loader
from trainer.distributed import (
    Ranks,
    adding,
    gathered,
    is_shared_out,
    joined,
    local_rank,
    spread,
    whole,
)
from trainer.feed import Batch, Late, batches
from trainer.hugging_face import config_of, weights_of
from trainer.model import LanguageModel, Tensor, torch
from trainer.optimizer import learning_rate, optimizers_of
from trainer.settings import Source, TrainSettings
from trainer.shape import Shape
from trainer.spikes import Spikes, reason
from trainer.stopping import Stop, listening

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
    gradient_norm: float  # before it was clipped
    tokens_per_second: float
    data_wait: float  # share of the step's time
    seconds: float  # since this process began to train
    memory: int | None = None  # bytes of the GPU's, at its highest
    skipped: str = ""  # why the step changed no weight, if it did not
    note: str = ""  # what was odd about the checkpoint that this process went on from


@dataclass(frozen=True)
class TrainSummary:
    """A finished training; seconds, speed and memory are those of this process."""

    steps: int
    tokens: int
    epochs: dict[str, float]  # how often each source was seen
    parameters: int
    first_loss: float
    last_loss: float
    skipped: int  # steps that changed no weight
    seconds: float
    tokens_per_second: float
    device: str
    peak_memory: int | None  # bytes of the GPU's


Evaluate = Callable[[LanguageModel, int], None]


def train(  # noqa: PLR0913  # the two last are what `curate train` may ask for besides
    data: Path | Mapping[str, Source],
    output: Path,
    settings: TrainSettings,
    progress: Callable[[TrainProgress], None],
    evaluate: Evaluate | None = None,
    *,
    allow_data_change: bool = False,
) -> TrainSummary:
    """Train a model on token shards, or a mixture, from where `output` stands; leave it there.

    Writes config.json and model.safetensors, which `transformers` loads too, metrics.jsonl, and
    checkpoints. Times are in metrics.jsonl only. `evaluate` is called with the model and the
    number of steps made, every `evaluate_every` steps and at the end. Started by torchrun, all
    processes train one model, and the first of them writes and tells.
    """
    loader = open_loader(data, settings)
    device = pick_device(settings.device)
    torch.set_num_threads(settings.threads)
    with (
        joined(device, settings.batch) as ranks,
        torch.random.fork_rng(_gpus(device)),
        _sums_in_order(device, wanted=settings.deterministic),
    ):
        if ranks.is_first:
            _prepare(output)
        ranks.wait()
        torch.manual_seed(settings.seed)
        model = model_of(settings, loader.vocab_size)
        model.initialize(settings.seed)
        run = Run(model.to(device), loader, settings, output, ranks)
        run.resume(allow_data_change=allow_data_change)
        summary = run.finish(progress, evaluate)
        weights = gathered(model, ranks)
    if ranks.is_first:
        config = config_of(model.shape, loader.end_of_text)
        write_atomic(output / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
        write_tensors(output / MODEL, weights_of(weights, model.shape), {"format": "pt"})
    return summary


def _prepare(output: Path) -> None:
    """Make the folder, and remove what a run that was killed while writing left in it."""
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        for leftover in output.glob(".*.tmp"):
            leftover.unlink()


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
    """The device of a setting; of several GPUs, the one of this process."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise CurateError("train.device: no CUDA device here; write auto or cpu")
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def model_of(settings: TrainSettings, vocab_size: int) -> LanguageModel:
    """The untrained model that settings ask for."""
    return LanguageModel(Shape.of(settings, vocab_size))


@dataclass(frozen=True)
class _Step:
    """A step that was begun; its figures are still on their way from the device."""

    number: int  # 1 for the first
    learning_rate: float
    waited: float  # seconds for its rows
    figures: Late  # loss, gradient norm, whether it was bad, and processes that were told to stop


@dataclass
class Run:
    """A training between its steps."""

    model: LanguageModel
    loader: Loader
    settings: TrainSettings
    output: Path
    ranks: Ranks = field(default_factory=Ranks)

    def __post_init__(self) -> None:
        settings, self.device = self.settings, next(self.model.parameters()).device
        on_gpu = self.device.type == "cuda"
        self._low = settings.precision == "bfloat16" or (settings.precision == "auto" and on_gpu)
        # Compiling costs a minute that a CPU run of this size does not win back.
        compiled = settings.compiled == "yes" or (settings.compiled == "auto" and on_gpu)
        self._objective = spread(self.model, settings, self.ranks, compiled=compiled, low=self._low)
        self._optimizers = optimizers_of(self.model, settings)
        self._spikes = Spikes(settings.spike, self.device)
        self._state = State(self.model, self._optimizers, self._spikes.norms)
        self.done = Progress(self.loader.digest, identity(settings))
        self._begun: deque[_Step] = deque()
        # A GPU is given the next step before the figures of this one are asked for.
        self._lag = 1 if on_gpu else 0
        self._others_stop = False

    def resume(self, *, allow_data_change: bool = False) -> None:
        """Go on from the newest checkpoint in the output folder, or begin."""
        self.done = resume(self.output, self._state, self.done, allow_data_change=allow_data_change)
        if self.ranks.is_first:
            _cut_metrics(self.output / METRICS, self.done.step)

    def finish(
        self, progress: Callable[[TrainProgress], None], evaluate: Evaluate | None = None
    ) -> TrainSummary:
        """Make the steps that are left."""
        first, self._progress = self.done.step, progress
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._began = self._last = time.perf_counter()
        path = self.output / METRICS if self.ranks.is_first else Path(os.devnull)
        with (
            disk_errors(self.output),
            path.open("a") as self._metrics,
            listening() as stop,
            closing(batches(self._rows, range(first, self.settings.steps), self.device)) as feed,
        ):
            for batch, waited in feed:
                self._begun.append(self._advance(batch, waited, stop))
                self._end(stop, evaluate)
        return self._summary(first)

    def _rows(self, step: int) -> Window:
        return self.loader.rows(*self.ranks.rows(step, self.settings.batch))

    def gradients(self, batch: Batch) -> Tensor:
        """Add the gradients of a batch's mean loss to the weights; returns that loss.

        The sum over micro-batches and processes is divided by the targets of all of them: a mean
        of means would weigh a target by how few others share its micro-batch.
        """
        rows = len(batch.tokens)
        size = self.settings.micro_batch or rows
        targets = self.ranks.total(batch.trained.clone()).clamp(min=1)
        total = torch.zeros((), device=self.device)
        for first in range(0, rows, size):
            with (
                adding(self._objective, is_last=first + size >= rows),
                torch.autocast(self.device.type, torch.bfloat16, enabled=self._low),
            ):
                loss = self._objective(*batch.part(first, size)) / targets
                # Between processes torch takes the mean of gradients; these are to be added up.
                (loss * self.ranks.world).backward()
            total += loss.detach()
        return self.ranks.total(total)

    def _advance(self, batch: Batch, waited: float, stop: Stop) -> _Step:
        """Begin a step; what it came to is known later."""
        rate = learning_rate(self.done.step, self.settings)
        self.model.zero_grad(set_to_none=True)
        loss = self.gradients(batch)
        weights = list(self.model.parameters())
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        torch.nn.utils.clip_grads_with_norm_(weights, self.settings.clip, norm)
        bad = self._spikes.judge(loss, norm)
        for optimizer in self._optimizers:
            optimizer.found_inf = bad  # type: ignore[attr-defined]  # torch reads it there
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        self.done.step += 1
        stops = self.ranks.total(torch.full_like(bad, float(stop.number > 0)))
        return _Step(self.done.step, rate, waited, Late(torch.stack((loss, norm, bad, stops))))

    def _end(self, stop: Stop, evaluate: Evaluate | None) -> None:
        """Report what is known, and do what is due after this step."""
        step, settings = self.done.step, self.settings
        is_last = step == settings.steps
        every = settings.evaluate_every
        evaluates = evaluate is not None and (is_last or (every and step % every == 0))
        self._report(self._lag)
        # A signal that came to one process of several is known to all only with the figures.
        stops = self._others_stop if self.ranks.world > 1 else stop.number > 0
        saves = stops or is_last or step % settings.checkpoint_every == 0
        if evaluates or saves:
            self._report(0)
        if evaluates and evaluate:
            self._evaluate(evaluate)
        if saves:
            write_checkpoint(self.output, self._state, self.done, settings.keep, self.ranks)
        if stops:
            stop.obey()
        if evaluates or saves:
            self._last = time.perf_counter()  # none of it is the next step's time

    def _evaluate(self, evaluate: Evaluate) -> None:
        """Call it in the first process, with a whole model, and leave no trace."""
        model = self.model
        weights = gathered(model, self.ranks)
        if self.ranks.is_first:
            if is_shared_out(model):
                model = model_of(self.settings, model.shape.vocab_size).to(self.device)
                model.load_state_dict(weights)
            with torch.random.fork_rng(_gpus(self.device)), torch.inference_mode():
                evaluate(model.eval(), self.done.step)
            model.train()
        self.ranks.wait()

    def _report(self, left: int) -> None:
        """Tell of the steps that were begun, but for the last `left`."""
        while len(self._begun) > left:
            begun = self._begun.popleft()
            loss, norm, bad, stops = begun.figures.read()
            self._others_stop |= stops > 0
            self._count(loss, is_bad=bad > 0)
            report = self._figures(begun, loss, norm, reason(loss, norm) if bad else "")
            if self.ranks.is_first:
                self._metrics.write(json.dumps(_metrics(report)) + "\n")
                self._metrics.flush()
                self._progress(report)
            if self.done.bad >= self.settings.skip_bad:
                raise CurateError(
                    f"{self.output}: step {begun.number} is the last of {self.done.bad} in a row "
                    f"that changed no weight ({report.skipped}); lower train.learning_rate or "
                    "train.clip, or raise train.spike or train.skip_bad"
                )

    def _count(self, loss: float, *, is_bad: bool) -> None:
        done = self.done
        if is_bad:
            done.skipped, done.bad = done.skipped + 1, done.bad + 1
            return
        done.bad, done.last_loss = 0, loss
        done.first_loss = loss if done.first_loss is None else done.first_loss

    def _figures(self, begun: _Step, loss: float, norm: float, skipped: str) -> TrainProgress:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        notes, self.done.notes = self.done.notes, []
        return TrainProgress(
            step=begun.number,
            steps=self.settings.steps,
            loss=loss,
            learning_rate=begun.learning_rate,
            gradient_norm=norm,
            tokens_per_second=self._per_step / seconds,
            data_wait=min(1.0, begun.waited / seconds),
            seconds=now - self._began,
            memory=self._peak(),
            skipped=skipped,
            note="; ".join(notes),
        )

    def _summary(self, first: int) -> TrainSummary:
        seconds, done = time.perf_counter() - self._began, self.done
        return TrainSummary(
            steps=done.step,
            tokens=done.step * self._per_step,
            epochs=self.loader.epochs(done.step * self.settings.batch),
            parameters=self.model.parameter_count,
            first_loss=math.nan if done.first_loss is None else done.first_loss,
            last_loss=math.nan if done.last_loss is None else done.last_loss,
            skipped=done.skipped,
            seconds=seconds,
            tokens_per_second=(done.step - first) * self._per_step / seconds,
            device=self.device.type,
            peak_memory=self._peak(),
        )

    @property
    def _per_step(self) -> int:
        return self.settings.batch * self.settings.context

    def _peak(self) -> int | None:
        is_gpu = self.device.type == "cuda"
        return torch.cuda.max_memory_allocated(self.device) if is_gpu else None


def _metrics(report: TrainProgress) -> dict[str, float | str]:
    """A line of the log, without what is not there."""
    line = {name: value for name, value in asdict(report).items() if value not in ("", None)}
    del line["steps"]
    for name, digits in (("tokens_per_second", 1), ("data_wait", 4), ("seconds", 3)):
        line[name] = round(line[name], digits)
    return {n: value for n, value in line.items() if isinstance(value, str) or math.isfinite(value)}


def _cut_metrics(path: Path, step: int) -> None:
    """Keep the lines of the first `step` steps: later ones are made again, or were torn."""
    lines = path.read_bytes().split(b"\n")[:step] if path.exists() else []
    write_atomic(path, b"".join(line + b"\n" for line in lines if line))
