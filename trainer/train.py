"""Training, from token shards to a model folder; the same weights however often it is cut off."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from curate.errors import InputError
from curate.store import disk_errors, owned
from trainer.checkpoint import Progress, State, identity, resume, write_checkpoint
from trainer.data import Window, open_loader
from trainer.device import compiling, gpus, peak_memory, pick_device, sums_in_order
from trainer.distributed import Ranks, adding, gathered, is_shared_out, join, spread, whole
from trainer.feed import Batch, Late, batches
from trainer.hugging_face import write_model
from trainer.log import Begun, Log, TrainProgress, cut
from trainer.model import LanguageModel, Tensor, torch
from trainer.optimizer import learning_rate, optimizers_of
from trainer.settings import Source, TrainSettings
from trainer.shape import Shape
from trainer.spikes import Spikes
from trainer.stopping import Stop, listening

PLANS = "plans"  # of packing; the lock of the output folder lies there too
METRICS = "metrics.jsonl"


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


class Samples(Protocol):
    """What a training reads: any step's rows, asked for by number; see trainer/data.py."""

    digest: str  # of all that decides them
    vocabulary: str  # fingerprint of the tokenizer; empty where the digest knows it

    def rows(self, first: int, count: int) -> Window:
        """The samples first, first + 1, ... of the whole training."""

    def epochs(self, samples: int) -> dict[str, float]:
        """How often each source has been seen after so many."""


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

    Writes a model that `transformers` loads too, metrics.jsonl, and checkpoints. Times are in
    metrics.jsonl only. `evaluate` is called with the model and the number of steps made, every
    `evaluate_every` steps and at the end; where a run was cut off, again for the same step.
    Started by torchrun, all processes train one model, and the first of them writes and tells.
    """
    loader = open_loader(data, settings, output / PLANS)

    def make() -> LanguageModel:
        model = model_of(settings, loader.vocab_size)
        model.initialize(settings.seed)
        return model

    summary, model = train_on(
        loader, make, output, settings, progress, evaluate, allow_data_change=allow_data_change
    )
    if model:
        write_model(output, model, loader.end_of_text)
    join(pick_device(settings.device), settings.batch).wait()
    return summary


def train_on(  # noqa: PLR0913  # as above
    loader: Samples,
    make: Callable[[], LanguageModel],
    output: Path,
    settings: TrainSettings,
    progress: Callable[[TrainProgress], None],
    evaluate: Evaluate | None = None,
    *,
    allow_data_change: bool = False,
) -> tuple[TrainSummary, LanguageModel | None]:
    """Train the model that `make` makes; it is returned in the first process, and not written."""
    device = pick_device(settings.device)
    ranks = join(device, settings.batch)
    torch.set_num_threads(settings.threads)
    with (
        owned(output / PLANS) if ranks.is_first else nullcontext(),
        torch.random.fork_rng(gpus(device)),
        sums_in_order(device, wanted=settings.deterministic),
    ):
        if ranks.is_first:
            _prepare(output)
        ranks.wait()
        torch.manual_seed(settings.seed)
        run = Run(make().to(device), loader, settings, output, ranks)
        run.resume(allow_data_change=allow_data_change)
        summary = run.finish(progress, evaluate)
        return summary, run.whole_model()


def refuse_foreign(output: Path) -> None:
    """Refuse a folder with files in it that no training has made."""
    there = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if there - {PLANS} and not (output / PLANS / "lock").exists():
        raise InputError(
            f"output: {output}: has {min(there)} in it, and no training of ours; name a new or "
            "an empty folder"
        )


def _prepare(output: Path) -> None:
    """Remove what a run that was killed while writing left in the folder."""
    with disk_errors(output):
        for leftover in output.glob(".*.[0-9]*.tmp"):  # as curate/store.py names them
            leftover.unlink()


def model_of(settings: TrainSettings, vocab_size: int) -> LanguageModel:
    """The untrained model that settings ask for."""
    return LanguageModel(
        Shape.of(settings, vocab_size),
        settings.attention,
        recompute=settings.recompute,
        loss_chunk=settings.loss_chunk,
    )


@dataclass
class Run:
    """A training between its steps."""

    model: LanguageModel
    loader: Samples
    settings: TrainSettings
    output: Path
    ranks: Ranks = field(default_factory=Ranks)

    def __post_init__(self) -> None:
        settings, self.device = self.settings, next(self.model.parameters()).device
        on_gpu = self.device.type == "cuda"
        self._low = settings.precision == "bfloat16" or (settings.precision == "auto" and on_gpu)
        # Compiling costs a minute that a CPU run of this size does not win back.
        compiled = settings.compiled == "always" or (settings.compiled == "auto" and on_gpu)
        self._objective = spread(self.model, settings, self.ranks, compiled=compiled, low=self._low)
        self._optimizers = optimizers_of(self.model, settings)
        self._spikes = Spikes(settings.spike, self.device)
        self._state = State(self.model, self._optimizers, self._spikes.norms)
        self.done = Progress(self.loader.digest, identity(settings), self.loader.vocabulary)
        # A GPU is given the next step before the figures of this one are asked for.
        self._lag = 1 if on_gpu else 0

    def resume(self, *, allow_data_change: bool = False) -> None:
        """Go on from the newest checkpoint in the output folder, or begin."""
        self.done = resume(self.output, self._state, self.done, allow_data_change=allow_data_change)
        if self.ranks.is_first:
            cut(self.output / METRICS, self.done.step)

    def finish(
        self, progress: Callable[[TrainProgress], None], evaluate: Evaluate | None = None
    ) -> TrainSummary:
        """Make the steps that are left."""
        first, is_first = self.done.step, self.ranks.is_first
        path = self.output / METRICS
        with (
            disk_errors(self.output),
            path.open("a") if is_first else nullcontext() as lines,
            listening() as stop,
            closing(batches(self._rows, range(first, self.settings.steps), self.device)) as feed,
        ):
            log = Log(self.settings, self.device, self.done, lines, progress)
            for batch, waited in feed:
                log.begin(self._advance(batch, waited, stop))
                self._end(log, stop, evaluate)
        return self._summary(first, time.perf_counter() - log.began)

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
                compiling(),
                adding(self._objective, is_last=first + size >= rows),
                torch.autocast(self.device.type, torch.bfloat16, enabled=self._low),
            ):
                loss = self._objective(*batch.part(first, size)) / targets
                # Between processes torch takes the mean of gradients; these are to be added up.
                (loss * self.ranks.world).backward()
            total += loss.detach()
        return self.ranks.total(total)

    def _advance(self, batch: Batch, waited: float, stop: Stop) -> Begun:
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
        figures = Late(torch.stack((loss, norm, bad, stops)))
        tokens = batch.tokens.numel() * self.ranks.world
        return Begun(self.done.step, rate, waited, tokens, figures)

    def _end(self, log: Log, stop: Stop, evaluate: Evaluate | None) -> None:
        """Report what is known, and do what is due after this step."""
        step, settings = self.done.step, self.settings
        is_last = step == settings.steps
        every = settings.evaluate_every
        evaluates = evaluate is not None and (is_last or (every and step % every == 0))
        log.tell(self._lag)
        # A signal that came to one process of several is known to all only with the figures.
        stops = log.is_stopped if self.ranks.world > 1 else stop.number > 0
        saves = stops or is_last or step % settings.checkpoint_every == 0
        if evaluates or saves:
            log.tell(0)
        if evaluates and evaluate:
            self._evaluate(evaluate)
        if saves:
            write_checkpoint(self.output, self._state, self.done, settings.keep, self.ranks)
        if stops:
            stop.obey()
        if evaluates or saves:
            log.pause()

    def whole_model(self) -> LanguageModel | None:
        """The model in the first process; a copy where the weights are shared out."""
        if not is_shared_out(self.model):
            return self.model if self.ranks.is_first else None
        weights = gathered(self.model, self.ranks)
        if not self.ranks.is_first:
            return None
        copy = model_of(self.settings, self.model.shape.vocab_size).to(self.device)
        copy.load_state_dict(weights)
        return copy

    def _evaluate(self, evaluate: Evaluate) -> None:
        """Call it in the first process, with a whole model, and leave no trace."""
        model = self.whole_model()
        if model:
            with torch.random.fork_rng(gpus(self.device)), torch.inference_mode():
                evaluate(model.eval(), self.done.step)
            model.train()
        self.ranks.wait()

    def _summary(self, first: int, seconds: float) -> TrainSummary:
        done, per_step = self.done, self.settings.batch * self.settings.context
        return TrainSummary(
            steps=done.step,
            tokens=done.step * per_step,
            epochs=self.loader.epochs(done.step * self.settings.batch),
            parameters=self.model.parameter_count,
            first_loss=math.nan if done.first_loss is None else done.first_loss,
            last_loss=math.nan if done.last_loss is None else done.last_loss,
            skipped=done.skipped,
            seconds=seconds,
            tokens_per_second=(done.step - first) * per_step / seconds,
            device=self.device.type,
            peak_memory=peak_memory(self.device),
        )
