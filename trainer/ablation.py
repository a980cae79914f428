"""Whether one corpus teaches more than another: small models trained on both, many times."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.code import TRAINER, code
from curate.errors import InputError, ShardError
from curate.progress import Watcher
from curate.store import (
    KEY,
    begin,
    describe,
    digest,
    disk_errors,
    intact,
    owned,
    sealed,
    write_atomic,
)
from tokenizer.dataset import TokenDataset
from tokenizer.vocabulary import Vocabulary
from trainer.checkpoint import identity
from trainer.controls import Corruption, corrupted
from trainer.device import pick_device
from trainer.evaluate import document_losses
from trainer.hugging_face import read_model
from trainer.log import TrainProgress
from trainer.settings import TrainSettings
from trainer.statistics import MACRO, Losses, Sizes, bits_per_byte
from trainer.train import METRICS, train

FIRST, SECOND, AGAIN = "A", "B", "A again"
CORRUPTIONS = {
    "duplicates": Corruption(duplicated=0.2),
    "shuffled words": Corruption(shuffled=0.1),
}
LADDER = (0.25, 0.5)  # of the tokens; the whole is there anyway
LOW_RATE = 0.1  # of the learning rate
LOSSES, RESULT = "losses.parquet", "result.json"
OWN_SHARE = 0.1  # of the steps, at the end, whose mean is the loss on its own text


@dataclass(frozen=True)
class Corpora:
    """Token shards of one tokenizer: two to compare, and those that neither was trained on."""

    first: Path
    second: Path
    held_out: Mapping[str, Path]
    vocabulary: Vocabulary | None = None  # what a word is, where it is known


@dataclass(frozen=True)
class Protocol:
    """How they are compared."""

    settings: TrainSettings
    seeds: int = 3
    margin: float = 0.01  # bits per byte; a smaller difference is of no interest
    held_out_tokens: int = 1_000_000  # of each domain, at most
    corruptions: Mapping[str, Corruption] | None = None  # None: no controls at all

    @property
    def step_tokens(self) -> int:
        """The tokens of a step."""
        return self.settings.batch * self.settings.context

    @property
    def tokens(self) -> int:
        """The tokens of a training, the same for every arm."""
        return self.settings.steps * self.step_tokens

    @property
    def controls(self) -> list[str]:
        """The arms whose answer is known."""
        return [] if self.corruptions is None else [AGAIN, *self.corruptions]


@dataclass(frozen=True)
class Run:
    """One training: what on, which seed, at which part of the learning rate and of the tokens."""

    arm: str
    seed: int
    rate: float = 1.0
    share: float = 1.0

    @property
    def name(self) -> str:
        """Its folder."""
        parts = [self.arm.replace(" ", "-"), f"seed-{self.seed}"]
        parts += [f"rate-{self.rate:g}"] if self.rate != 1 else []
        parts += [f"tokens-{self.share:g}"] if self.share != 1 else []
        return "_".join(parts)

    def settings(self, protocol: Protocol) -> TrainSettings:
        """How it is trained; shorter runs have the same schedule, squeezed."""
        given = protocol.settings
        steps, warmup = (round(self.share * number) for number in (given.steps, given.warmup))
        return replace(
            given,
            seed=given.seed + self.seed,
            learning_rate=given.learning_rate * self.rate,
            steps=max(1, steps),
            warmup=warmup,
        )


def ablate(corpora: Corpora, output: Path, protocol: Protocol, watcher: Watcher) -> "Trainings":
    """Train on both corpora and on the controls, and judge on what is held out.

    Every training has a folder in output/runs, which keeps its losses: the same call again goes on
    where the last one was cut off.
    """
    held_out = {name: TokenDataset(path) for name, path in corpora.held_out.items()}
    arms = {FIRST: TokenDataset(corpora.first), SECOND: TokenDataset(corpora.second)}
    _check(arms, held_out)
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    with owned(output):
        most = protocol.tokens
        for name, how in (protocol.corruptions or {}).items():
            folder = output / "controls" / name.replace(" ", "-")
            arms[name] = _control(arms[FIRST], how, (most, corpora.vocabulary), folder)
        arms |= {AGAIN: arms[FIRST]} if protocol.corruptions is not None else {}
        has_words = corpora.vocabulary is not None
        trainings = Trainings(arms, held_out, output / "runs", protocol, has_words)
        trainings.finish(watcher)
        return trainings


def planned(protocol: Protocol) -> list[Run]:
    """All trainings, in an order in which no arm is always the first: A1 B1 B2 A2 A3 B3."""
    seeds = range(1, protocol.seeds + 1)
    runs = []
    for rate in (1.0, LOW_RATE):
        for seed in seeds:
            pair = (FIRST, SECOND) if seed % 2 else (SECOND, FIRST)
            runs += [Run(arm, seed, rate) for arm in pair]
    if protocol.corruptions is not None:
        runs += [Run(AGAIN, seed + protocol.seeds) for seed in seeds]
        runs += [Run(name, seed) for name in protocol.corruptions for seed in seeds]
    return runs + [Run(FIRST, seed, share=share) for share in LADDER for seed in seeds]


def _check(arms: Mapping[str, TokenDataset], held_out: Mapping[str, TokenDataset]) -> None:
    """Refuse what cannot be compared."""
    if not held_out:
        raise InputError("nothing is held out; name text of neither corpus with --eval")
    if MACRO in held_out:
        raise InputError(f"--eval {MACRO}: what the mean of all is called; write another NAME=PATH")
    datasets = [*arms.values(), *held_out.values()]
    for dataset in datasets:
        if dataset.manifest["vocabulary"] != datasets[0].manifest["vocabulary"]:
            raise ShardError(
                f"{dataset.folder}: of another tokenizer than {datasets[0].folder}; encode both "
                "with one of them, as `curate shards write` does"
            )
        if not dataset.documents:
            raise ShardError(f"{dataset.folder}: no documents")
        if not dataset.manifest["bytes"]:
            raise ShardError(f"{dataset.folder}: no document has text")


def _control(
    first: TokenDataset, how: Corruption, size: tuple[int, Vocabulary | None], folder: Path
) -> TokenDataset:
    """A corrupted copy of the first corpus, made unless it is there."""
    most, vocabulary = size
    fingerprint = vocabulary.fingerprint() if vocabulary else ""
    key = digest([first.digest, asdict(how), most, fingerprint, code(TRAINER)])
    mark = folder.with_name(f"{folder.name}.key")
    if mark.exists() and mark.read_text() == key:
        return TokenDataset(folder)
    shutil.rmtree(folder, ignore_errors=True)
    made = corrupted(first, how, most, vocabulary, folder)
    write_atomic(mark, key.encode())
    return made


@dataclass(frozen=True)
class Trainings:
    """All trainings of an ablation, and their losses on what is held out."""

    arms: Mapping[str, TokenDataset]
    held_out: Mapping[str, TokenDataset]
    folder: Path
    protocol: Protocol
    has_words: bool  # so that words were shuffled, not tokens

    def finish(self, watcher: Watcher) -> None:
        """Make those that are not there yet."""
        left = [run for run in planned(self.protocol) if self.result(run) is None]
        steps = sum(run.settings(self.protocol).steps for run in left)
        watcher.begin("ablation", steps * self.protocol.step_tokens, "tokens")
        for run in left:
            self._make(run, watcher)
            mean = float(self.means([run])[MACRO][0])
            rate = run.settings(self.protocol).learning_rate
            watcher.note(f"{run.name}: {mean:.4f} bits per byte (learning rate {rate:g})")
        watcher.end()

    def result(self, run: Run) -> dict[str, Any] | None:
        """What a finished training left; None if it is to be made."""
        found = intact(self.folder / run.name / RESULT)
        return found if found and found["key"] == self._key(run) else None

    def losses(self, runs: Sequence[Run]) -> Losses:
        """Bits of every held-out document, a row for each of these trainings."""
        tables = [pq.read_table(self.folder / run.name / LOSSES) for run in runs]
        return {
            name: np.array([_of(table, name)["nats"].to_numpy() / math.log(2) for table in tables])
            for name in self.held_out
        }

    def sizes(self) -> Sizes:
        """Bytes of every held-out document."""
        table = pq.read_table(self.folder / planned(self.protocol)[0].name / LOSSES)
        return {name: _of(table, name)["n_bytes"].to_numpy() for name in self.held_out}

    def means(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Bits per byte of every domain and of their mean, a number for each training."""
        return bits_per_byte(self.losses(runs), self.sizes())

    def of(self, arm: str, rate: float = 1.0, share: float = 1.0) -> list[Run]:
        """The trainings of an arm, by seed."""
        runs = [run for run in planned(self.protocol) if run.arm == arm]
        return sorted(
            (run for run in runs if (run.rate, run.share) == (rate, share)),
            key=lambda run: run.seed,
        )

    def _key(self, run: Run) -> str:
        """A digest of all that decides its losses."""
        return digest(
            {
                "settings": identity(run.settings(self.protocol)),
                "tokens": self.arms[run.arm].digest,
                "held out": {name: one.digest for name, one in self.held_out.items()},
                "held-out tokens": self.protocol.held_out_tokens,
                "code": code(TRAINER),
            }
        )

    def _make(self, run: Run, watcher: Watcher) -> None:
        """Train, judge, and keep the losses alone."""
        folder, key, settings = self.folder / run.name, self._key(run), run.settings(self.protocol)
        done = 0
        begin(folder, key)

        def progress(state: TrainProgress) -> None:
            nonlocal done
            watcher.advance({"tokens": (state.step - done) * self.protocol.step_tokens})
            done = state.step

        summary = train(self.arms[run.arm].folder, folder, settings, progress)
        model = read_model(folder)[0].to(pick_device(settings.device))
        limit = self.protocol.held_out_tokens
        tables = []
        for name, dataset in self.held_out.items():
            table = document_losses(model, dataset, limit)
            tables.append(table.add_column(0, "domain", pa.array([name] * len(table))))
        pq.write_table(pa.concat_tables(tables), folder / LOSSES)
        result = {
            "key": key,
            "parameters": summary.parameters,
            "own_loss": _own_loss(folder / METRICS),
            "files": {LOSSES: describe(folder / LOSSES)},
        }
        write_atomic(folder / RESULT, sealed(result))
        _keep(folder, (LOSSES, RESULT, METRICS, KEY))


def _of(table: pa.Table, domain: str) -> pa.Table:
    """The rows of a domain that have text: without a byte there is nothing per byte."""
    return table.filter(pc.and_(pc.equal(table["domain"], domain), pc.greater(table["n_bytes"], 0)))


def _own_loss(metrics: Path) -> float:
    """The mean training loss of the last steps, in nats per token of the arm's own text."""
    lines = map(json.loads, metrics.read_text().splitlines())
    losses: list[float] = [line["loss"] for line in lines if "loss" in line]
    last = losses[-max(1, round(OWN_SHARE * len(losses))) :]
    return sum(last) / len(last)


def _keep(folder: Path, names: tuple[str, ...]) -> None:
    """Remove all else, such as weights, which are larger than the corpus."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in names:
            path.unlink()
