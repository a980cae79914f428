"""A training as its user sees it: the plan, a line that goes on, and what came of it."""

import dataclasses
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
from curate.train_config import Training, tokenizer_beside
from tokenizer import vocabulary
from tokenizer.dataset import TokenDataset
from trainer.board import FOLDER, Board
from trainer.data import open_loader
from trainer.distributed import leads
from trainer.evaluate import EVALUATIONS, document_losses, record
from trainer.hugging_face import MODEL, read_model
from trainer.log import TrainProgress
from trainer.model import LanguageModel
from trainer.plot import loss_plot
from trainer.shape import Shape
from trainer.train import METRICS, PLANS, TrainSummary, refuse_foreign, train
from trainer.watch import Meter, multiplied

SETTINGS, PLOT, SUMMARY = "train.yaml", "loss.svg", "summary.json"
FILES = {
    MODEL: "the weights; the folder opens in transformers",
    SETTINGS: "all settings, for curate train",
    METRICS: "loss, rate and speed of every step",
    PLOT: "the loss, drawn",
    EVALUATIONS: "bits per byte of held-out sets, by source and language",
    SUMMARY: "what is said here, as JSON",
    FOLDER: "the same, for TensorBoard",
}


def run(asked: Training, *, allow_data_change: bool) -> None:
    """Train, and show it; of the processes that torchrun starts the first alone speaks."""
    refuse_foreign(asked.output)
    session = Session(asked)
    watcher = Watcher(console(stderr=True) if leads() else Console(quiet=True))
    with watcher:
        session.begin(watcher)
        summary = train(
            asked.data,
            asked.output,
            asked.settings,
            session.progress,
            session.evaluate,
            allow_data_change=allow_data_change,
        )
        session.end()
    if leads():
        session.tell(summary)


@dataclass
class Session:
    """A training that is watched."""

    asked: Training
    sets: dict[str, TokenDataset] = field(init=False)
    tokenizer: vocabulary.Vocabulary | None = field(init=False)
    _watcher: Watcher = field(init=False)
    _meter: Meter = field(init=False)
    _board: Board | None = None
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

    def begin(self, watcher: Watcher) -> None:
        """Say what is planned."""
        settings, self._watcher = self.asked.settings, watcher
        loader = open_loader(self.asked.data, settings, self.asked.output / PLANS)
        self._meter = Meter.of(settings, loader.vocab_size)
        weights = multiplied(Shape.of(settings, loader.vocab_size))
        watcher.note(
            f"{settings.preset} ({settings.family}): {short(weights)} weights in products; "
            f"{settings.steps:,} steps of {settings.batch} x {settings.context:,} tokens"
        )
        if settings.warmup >= settings.steps:
            watcher.note(
                f"  {settings.steps:,} steps end within the warm-up of {settings.warmup:,}: the "
                "learning rate is never reached; lower warmup"
            )
        for one in loader.planned:
            watcher.note(
                f"  {printable(one.name)}: {one.planned_tokens:,} tokens planned, "
                f"{100 * one.planned_share:.1f} %, {one.epochs:.2f} epochs"
            )
        if self.tokenizer is None:
            watcher.note(
                "  no tokenizer lies beside the tokens, so the model will not know text; name one "
                "with tokenizer=..."
            )

    def progress(self, state: TrainProgress) -> None:
        """A step was made; told by the first process alone."""
        if not self._done:
            self._settle()
            self._board = Board(self.asked.output, state.step)
            # Steps that were made before would look as if they had taken no time.
            self._done, phase = state.step - 1, f"training from step {state.step:,}"
            self._watcher.begin(phase, state.steps - self._done, "steps")
        for remark in state.remarks:
            self._watcher.note(remark)
        if self._board:
            self._board.step(state)
        self._watcher.say(self._meter.line(state))
        self._watcher.advance({"steps": state.step - self._done})
        self._done = state.step

    def end(self) -> None:
        """All steps were made."""
        if self._done:
            self._watcher.end()

    def _settle(self) -> None:
        """Write what the model is made by, once its folder is known to be its own."""
        write_atomic(self.asked.output / SETTINGS, self.asked.as_yaml().encode())
        if self.tokenizer:
            tokenizing.save(self.tokenizer, self.asked.output)

    def evaluate(self, model: LanguageModel, step: int) -> None:
        """Score the model on all held-out sets; called in the first process alone."""
        if self.sets:
            found = {name: document_losses(model, one) for name, one in self.sets.items()}
            self._scores = record(self.asked.output, step, found)
        if self._board:
            self._board.scores(self._scores)

    def tell(self, summary: TrainSummary) -> None:
        """What came of it: figures, files, and what to type next."""
        output = self.asked.output
        if not self._done:  # all steps were made before
            self._settle()
            self.evaluate(read_model(output)[0].to(self._meter.device), summary.steps)
        if self._board:
            self._board.close()
        losses = losses_of(output / METRICS)
        write_atomic(output / PLOT, loss_plot(losses, "Training loss").encode())
        self._meter.measure()
        speed, peaks = self._meter.speed, self._meter.peaks
        mfu = self._meter.utilisation(speed)
        told = dataclasses.asdict(summary) | {"median_speed": speed, "mfu": mfu, "peaks": peaks}
        if self._done or not (output / SUMMARY).exists():  # else this process has no figures
            write_atomic(output / SUMMARY, pretty(told))
        rows = [
            f"\nTrained {summary.steps:,} steps, {summary.tokens:,} tokens on {summary.device}: "
            f"loss {summary.first_loss:.3f} -> {summary.last_loss:.3f}",
            self._speeds(summary.tokens_per_second, mfu),
            *(f"  {name}: {seen:.2f} epochs" for name, seen in summary.epochs.items()),
            *(_score(row) for row in self._scores if "macro_source" in row),
            f"\nIn {output}:",
            *(f"  {name:18} {what}" for name, what in FILES.items() if (output / name).exists()),
            f"\nNext:  {self._next()}",
        ]
        for row in rows:
            show(line(printable(row)))

    def _speeds(self, overall: float, mfu: dict[str, float]) -> str:
        if not self._meter.speeds:
            return "  all steps were made before"
        parts = [f"  {self._meter.speed:,.0f} tokens/s in the median step, {overall:,.0f} over all"]
        for name, share in mfu.items():
            peak = self._meter.peaks[name] / 1e12
            parts.append(f"MFU {100 * share:.1f} % of {peak:,.0f} TFLOP/s ({name})")
        return ", ".join(parts)

    def _next(self) -> str:
        output = self.asked.output
        if (output / "tokenizer.json").exists():
            return f"curate sample {output} --prompt '{self.asked.settings.prompt}'"
        return f"curate evaluate {output} --data TOKENS"


def _score(row: dict[str, Any]) -> str:
    """The first row of a set in `evaluations.jsonl`, in words."""
    bits, nats = (row[name] for name in ("bits_per_byte", "loss"))
    if bits is None or nats is None:
        return f"  {row['set']}: nothing to predict"
    return f"  {row['set']}: {bits:.4f} bits per byte, loss {nats:.4f}"


def _tokenizer(asked: Training, trained: TokenDataset) -> vocabulary.Vocabulary | None:
    """The tokenizer of the shards: the one that is named, or one that lies beside them."""
    path = asked.tokenizer or next(filter(None, map(tokenizer_beside, asked.folders)), None)
    if path is None:
        return None
    found = vocabulary.load(path)
    if found.fingerprint() != trained.manifest["vocabulary"]:
        raise ModelError(
            f"{path}: not the tokenizer of {trained.folder}; name that one with tokenizer=..."
        )
    return found
