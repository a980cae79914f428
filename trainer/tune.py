"""A model that follows instructions, from one that goes on from text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curate.errors import InputError, RecipeError
from curate.publish import pretty
from curate.store import digest, file_digest, write_atomic
from trainer.feed import on_device, on_host
from trainer.hugging_face import tokenizer_files, write_model
from trainer.instructions import Deal, Example, Fates, examples_of, parted, read
from trainer.log import TrainProgress
from trainer.lora import Lora, adapt, merge, write_adapters
from trainer.model import LanguageModel, torch
from trainer.sample import Sampling, Writer
from trainer.settings import CHOICES, TrainSettings, listed
from trainer.shape import Shape
from trainer.train import TrainSummary, train_on

ADAPTER, SUMMARY, SAMPLE = "adapter", "tune.json", "sample.txt"
WEIGHTS = "model*.safetensors"
RATES = {False: 2e-4, True: 2e-5}  # of adapters, and of all weights
SHOWN = 3  # answers in sample.txt
WARMUP = 0.03  # of the steps, as Alpaca had it


@dataclass(frozen=True)
class TuneSettings:
    """How a model is tuned."""

    epochs: int = 3
    batch: int = 8  # records in one step
    learning_rate: float = 0.0  # 0: 2e-4 for adapters, 2e-5 for all weights
    full: bool = False  # train all weights, not adapters
    rank: int = 8  # of the adapters
    alpha: float = 16.0  # what adapters give is multiplied by alpha / rank
    targets: str = "q,v"  # projections of attention with adapters, of q,k,v,o
    context: int = 0  # tokens of a prompt and its answer; 0: as many as the model sees
    held_out: float = 0.05  # share of the records that the model is tested on
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    precision: str = "auto"
    checkpoint_every: int = 100
    sample_tokens: int = 128  # of each answer in sample.txt, at most

    def __post_init__(self) -> None:
        _ = self.lora  # which refuses what adapters cannot be
        for name in ("epochs", "batch", "threads", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}: {getattr(self, name)}; it must be at least 1")
        for name in ("device", "precision"):
            if getattr(self, name) not in CHOICES[name]:
                raise RecipeError(f"{name}: {getattr(self, name)!r}; write {listed(CHOICES[name])}")
        for name in ("context", "sample_tokens", "learning_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(f"{name}: {getattr(self, name)}; it must be at least 0")
        if not 0 <= self.held_out < 1:
            raise RecipeError(f"held_out: {self.held_out}; it must be at least 0 and below 1")

    @property
    def lora(self) -> Lora:
        """The adapters."""
        return Lora(self.rank, self.alpha, self.targets)

    def training(self, shape: Shape, records: int) -> TrainSettings:
        """The same as the training loop is told it."""
        steps = math.ceil(self.epochs * records / self.batch)
        return TrainSettings(
            family=shape.family,
            positions=shape.positions,
            layers=shape.layers,
            width=shape.width,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            hidden=shape.hidden,
            context=shape.context,
            tied=shape.tied,
            steps=steps,
            batch=self.batch,
            learning_rate=self.learning_rate or RATES[self.full],
            warmup=math.ceil(WARMUP * steps),
            final_share=0.0,
            weight_decay=0.0,
            seed=self.seed,
            device=self.device,
            threads=self.threads,
            precision=self.precision,
            # Rows are as long as a step's longest record: a compiler would begin anew each time.
            compiled="never",
            attention="sdpa" if shape.positions == "alibi" else "auto",
            parallel="ddp",
            checkpoint_every=self.checkpoint_every,
            evaluate_every=math.ceil(records / self.batch),
        )


@dataclass
class Tuning:
    """One model, the instructions it learns, and where the tuned one goes."""

    model: Path
    data: Path
    output: Path
    settings: TuneSettings

    def __post_init__(self) -> None:
        if self.output.resolve() == self.model.resolve():
            raise InputError(f"{self.output}: is the model that is tuned; choose another --output")
        settings, self.fates = self.settings, Fates()
        records = read(self.data, self.fates)
        self._base = Writer.of(self.model, settings.device)
        shape, encoder = self._base.model.shape, self._base.encoder
        context = settings.context or shape.context
        if context > shape.context:
            raise RecipeError(f"context: {context}; the model sees {shape.context} tokens")
        ends = sorted(self._base.ends)
        self._end = ends[0] if ends else encoder.vocabulary.end_of_text
        examples = examples_of(records, encoder, self._end, context, self.fates)
        for example in examples:
            self._base.check(example.tokens.tolist())
        self._trained, self._tested = parted(examples, settings.held_out, settings.seed)
        if not self._trained:
            lacks = self.fates.told() or ["the file is empty"]
            if self._tested:
                lacks = [f"held_out: {settings.held_out}; of {len(examples):,} none is left"]
            raise InputError(f"{self.data}: no record to train on: {'; '.join(lacks)}")
        self.loop = settings.training(shape, len(self._trained))

    @property
    def plan(self) -> list[str]:
        """What there is to do, and what is left out, in lines."""
        model, settings = self._base.model, self.settings
        trained = "all weights"
        if not settings.full:
            trained = f"adapters of rank {settings.rank} on {', '.join(settings.lora.modules)}"
        return [
            f"{self.fates.records:,} records: {len(self._trained):,} to train on, "
            f"{len(self._tested):,} held out",
            *(f"  {one}" for one in self.fates.told()),
            f"{model.shape.family} of {model.parameter_count:,} weights: {trained}, "
            f"{self.loop.steps:,} steps of {settings.batch}, rate {self.loop.learning_rate:g}",
        ]

    def run(
        self, progress: Callable[[TrainProgress], None], note: Callable[[str], None]
    ) -> dict[str, Any] | None:
        """Tune, and write all files; returns what tune.json says, in the first process.

        The same again goes on where it was cut off, and ends with the same bytes.
        """
        settings, model = self.settings, self._base.model
        before = self._loss(model)
        if before is not None:
            note(f"before: loss {before:.4f} on held-out answers")

        def make() -> LanguageModel:
            if settings.full:
                return model.train()
            adapt(model, settings.lora, settings.seed)
            return model.train()

        def test(model: LanguageModel, step: int) -> None:
            loss = self._loss(model)
            if loss is not None and step < self.loop.steps:
                note(f"step {step}: loss {loss:.4f} on held-out answers")

        samples = Deal(self._trained, self._end, settings.epochs, settings.seed)
        base = {path.name: file_digest(path) for path in sorted(self.model.glob(WEIGHTS))}
        adapters = None if settings.full else asdict(settings.lora)
        samples.digest = digest([samples.digest, base, adapters])
        summary, tuned = train_on(samples, make, self.output, self.loop, progress, test)
        return None if tuned is None else self._write(tuned, summary, before)

    def _loss(self, model: LanguageModel) -> float | None:
        return loss_of(model, self._tested, self.settings.batch) if self._tested else None

    def _write(
        self, model: LanguageModel, summary: TrainSummary, before: float | None
    ) -> dict[str, Any]:
        if not self.settings.full:
            write_adapters(self.output / ADAPTER, model, self.settings.lora, str(self.model))
            merge(model)
        write_model(self.output, model, self._end)
        for path in tokenizer_files(self.model):
            write_atomic(self.output / path.name, path.read_bytes())
        tuned = Writer.of(self.output, self.settings.device)
        said = {
            "records": self.fates.records,
            "trained": len(self._trained),
            "held_out": len(self._tested),
            "cut": self.fates.cut,
            "dropped": self.fates.dropped,
            "steps": summary.steps,
            "first_loss": summary.first_loss,
            "last_loss": summary.last_loss,
            "held_out_loss_before": before,
            "held_out_loss": self._loss(tuned.model),
            "settings": asdict(self.settings),
        }
        write_atomic(self.output / SAMPLE, self._answers(tuned).encode())
        write_atomic(self.output / SUMMARY, pretty(said))
        return said

    def _answers(self, tuned: Writer) -> str:
        """What the tuned model answers to a few prompts."""
        how, texts = Sampling(tokens=self.settings.sample_tokens, temperature=0), []
        for example in (self._tested or self._trained)[:SHOWN]:
            written = tuned.written(example.record.prompt, how)[0]
            texts.append(
                f"{example.record.prompt}\n--- answered:\n{written}\n"
                f"--- in the data:\n{example.record.answer}\n"
            )
        return "\n".join(texts)


@torch.no_grad()
def loss_of(model: LanguageModel, examples: Sequence[Example], batch: int) -> float:
    """The cross-entropy of answers in nats per token."""
    deal, device = Deal(examples, 0), model.head.device
    nats, targets = 0.0, 0
    for first in range(0, len(examples), batch):
        rows = on_device(on_host(deal.rows(first, batch), device), device)
        nats += float(model.token_losses(rows.tokens, rows.targets, rows.documents).double().sum())
        targets += int(rows.trained)
    return nats / targets
