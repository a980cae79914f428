"""What is known of each step: told as soon as it is, and a line of metrics.jsonl."""

import json
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from curate.errors import CurateError
from curate.store import write_atomic
from trainer.checkpoint import Progress
from trainer.device import peak_memory
from trainer.feed import Late
from trainer.model import torch
from trainer.settings import TrainSettings
from trainer.spikes import reason


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

    @property
    def remarks(self) -> list[str]:
        """What there is to say of the step besides its figures."""
        skipped = self.skipped and f"no weight changed: {self.skipped}"
        return [f"step {self.step}: {said}" for said in (self.note, skipped) if said]


@dataclass(frozen=True)
class Begun:
    """A step that was begun; its figures are still on their way from the device."""

    step: int  # 1 for the first
    learning_rate: float
    waited: float  # seconds for its rows
    tokens: int  # that all processes read
    figures: Late  # loss, gradient norm, whether it was bad, and processes that were told to stop


@dataclass
class Log:
    """The steps of a run; `done` keeps what they say of the run as a whole."""

    settings: TrainSettings
    device: torch.device
    done: Progress
    lines: TextIO | None  # None: others write and tell
    progress: Callable[[TrainProgress], None]

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.began = self._last = time.perf_counter()
        self._begun: deque[Begun] = deque()
        self.is_stopped = False  # a process was told to stop

    def begin(self, step: Begun) -> None:
        """Note a step, of which nothing is known yet."""
        self._begun.append(step)

    def pause(self) -> None:
        """From here on it is the next step's time."""
        self._last = time.perf_counter()

    def tell(self, left: int) -> None:
        """Tell of the steps that were begun, but for the last `left`."""
        while len(self._begun) > left:
            begun = self._begun.popleft()
            loss, norm, bad, stops = begun.figures.read()
            self.is_stopped |= stops > 0
            self._count(loss, is_bad=bad > 0)
            report = self._figures(begun, loss, norm, reason(loss, norm) if bad else "")
            if self.lines:
                self.lines.write(json.dumps(_line(report)) + "\n")
                self.lines.flush()
                self.progress(report)
            if self.done.bad >= self.settings.skip_bad:
                raise CurateError(
                    f"train: step {begun.step} is the last of {self.done.bad} in a row that "
                    f"changed no weight ({report.skipped}); lower train.learning_rate, or raise "
                    "train.spike or train.skip_bad"
                )

    def _count(self, loss: float, *, is_bad: bool) -> None:
        done = self.done
        if is_bad:
            done.skipped, done.bad = done.skipped + 1, done.bad + 1
            return
        done.bad, done.last_loss = 0, loss
        done.first_loss = loss if done.first_loss is None else done.first_loss

    def _figures(self, begun: Begun, loss: float, norm: float, skipped: str) -> TrainProgress:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        notes, self.done.notes = self.done.notes, []
        return TrainProgress(
            step=begun.step,
            steps=self.settings.steps,
            loss=loss,
            learning_rate=begun.learning_rate,
            gradient_norm=norm,
            tokens_per_second=begun.tokens / seconds,
            data_wait=min(1.0, begun.waited / seconds),
            seconds=now - self.began,
            memory=peak_memory(self.device),
            skipped=skipped,
            note="; ".join(notes),
        )


def _line(report: TrainProgress) -> dict[str, float | str]:
    """A line of the log, without what is not there."""
    line = {name: value for name, value in asdict(report).items() if value not in ("", None)}
    del line["steps"]
    for name, digits in (("tokens_per_second", 1), ("data_wait", 4), ("seconds", 3)):
        line[name] = round(line[name], digits)
    return {n: value for n, value in line.items() if isinstance(value, str) or math.isfinite(value)}


def cut(path: Path, step: int) -> None:
    """Keep the lines of the first `step` steps: later ones are made again, or were torn."""
    lines = path.read_bytes().split(b"\n")[:step] if path.exists() else []
    write_atomic(path, b"".join(line + b"\n" for line in lines if line))
