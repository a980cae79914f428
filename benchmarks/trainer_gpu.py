"""What the trainer does on one GPU: speed beside its goals, numerics, and a run cut off.

    python -m benchmarks.trainer_gpu --json figures.json            # everything, about ten minutes
    python -m benchmarks.trainer_gpu --only speed --rows gpt2-124m
    python -m benchmarks.trainer_gpu --small                        # the script itself, on a CPU

Every speed is that of `trainer.train.train` on shards of random tokens, in documents of log-normal
lengths: the median of its steps after the first ten, evaluation and checkpoints left out. Goals are
those of docs/training.md. FLOPs of a token are `Shape.flops_per_token`, full attention counted; the
peaks are the datasheet's and that of a product of two 8,192-wide matrices, measured here.
"""

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from benchmarks.loader_speed import documents
from curate.errors import CurateError
from curate.store import sealed
from tokenizer.shards import manifest, write_part
from trainer.data import open_loader
from trainer.hugging_face import MODEL
from trainer.log import TrainProgress
from trainer.model import Tensor, torch
from trainer.settings import TrainSettings
from trainer.train import TrainSummary, model_of, train
from trainer.watch import Meter, measured_peak

ENLARGED = 5.0
WARM_STEPS = 10  # compiling, and memory that is asked for
PARTS = ("speed", "numerics", "resume")


@dataclass(frozen=True)
class Row:
    """A training whose speed is measured, and what it should reach."""

    name: str
    vocab_size: int
    settings: dict[str, Any]
    least_tokens: float = 0  # a second
    least_mfu: float = 0  # of the datasheet's peak
    beside: str = ""  # the row that it may be slower than by `most_cost`
    most_cost: float = 0


def rows() -> list[Row]:
    """All trainings, in order; every one of them ends with its memory and data wait."""
    gpt2 = {"preset": "gpt2-124m", "batch": 64, "document_mask": False}
    llama = {"preset": "llama-350m", "batch": 32, "document_mask": False}
    billion = {"preset": "llama-1b", "batch": 16, "document_mask": False}
    proxy = {"preset": "proxy-50m", "batch": 64, "document_mask": False}
    bloom = {"preset": "bloom-560m", "batch": 16, "micro_batch": 8}
    masked = {"document_mask": True}
    return [
        Row("gpt2-124m", 50_257, gpt2, least_tokens=420_000),
        Row("gpt2-124m, masked", 50_257, gpt2 | masked, beside="gpt2-124m", most_cost=0.03),
        Row("gpt2-124m, muon", 50_257, gpt2 | {"optimizer": "muon"}, 0, 0, "gpt2-124m", 0.03),
        Row("gpt2-124m, in order", 50_257, gpt2 | {"deterministic": True}),
        Row("llama-350m", 32_000, llama, least_mfu=0.40),
        Row("llama-350m, masked", 32_000, llama | masked, beside="llama-350m", most_cost=0.03),
        Row("llama-1b", 32_000, billion, least_mfu=0.40),
        Row("proxy-50m", 8_192, proxy, least_tokens=1_400_000),
        Row("proxy-50m, masked", 8_192, proxy | masked, beside="proxy-50m", most_cost=0.03),
        Row("bloom-560m", 250_680, bloom),
    ]


SMALL = {"preset": "tiny", "layers": 1, "width": 32, "heads": 1, "context": 32, "batch": 4}


def small_rows() -> list[Row]:
    """The same script in seconds, of whose figures nothing follows."""
    families = {"llama": 300, "gpt2": 300, "bloom": 300, "baichuan": 300}
    found = [Row(family, ids, SMALL | {"family": family}) for family, ids in families.items()]
    return [*found, Row("llama, masked", 300, SMALL | {"document_mask": True}, 0, 0, "llama", 1)]


class Bench:
    """What all parts share: shards by vocabulary, the device, and how long to train."""

    def __init__(self, folder: Path, steps: int, tokens: int) -> None:
        self.folder = folder
        self.steps = steps
        self.tokens = tokens
        self.count = 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def shards(self, vocab_size: int) -> Path:
        """Random tokens of a vocabulary, not zeros: of those a GPU makes more in a second."""
        folder = self.folder / f"tokens-{vocab_size}"
        if not folder.is_dir():
            folder.mkdir()
            batches = list(documents(self.tokens, 0, vocab_size))
            part = write_part(folder, "part-00000", batches, vocab_size, 0)
            (folder / "manifest.json").write_bytes(
                sealed(manifest([part], "random", vocab_size, 0))
            )
        return folder

    def settings(self, given: dict[str, Any]) -> TrainSettings:
        """For speed: no checkpoint but the last, sums in any order, unless it is asked for."""
        default: dict[str, Any] = {
            "steps": self.steps,
            "warmup": 5,
            "learning_rate": 3e-4,
            "checkpoint_every": self.steps,
            "deterministic": False,
        }
        return TrainSettings(**(default | given))

    def train(
        self, vocab_size: int, settings: TrainSettings, name: str = "", cut: int = 0
    ) -> tuple[TrainSummary | None, list[TrainProgress]]:
        """A training, up to the end or cut off after a step; the reports of its steps."""
        self.count += 1
        reports: list[TrainProgress] = []

        def progress(report: TrainProgress) -> None:
            reports.append(report)
            if report.step == cut:
                raise _CutError

        output = self.folder / (name or f"model-{self.count}")
        try:
            return train(self.shards(vocab_size), output, settings, progress), reports
        except _CutError:
            return None, reports


class _CutError(Exception):
    """Stands for a kill."""


@dataclass
class Figures:
    """What a training came to."""

    tokens_per_second: float
    mfu: dict[str, float]
    memory: int | None
    data_wait: float
    first_step_seconds: float
    parameters: int
    settings: dict[str, Any]
    goals: dict[str, bool] = field(default_factory=dict)
    problem: str = ""


def speed(bench: Bench, todo: list[Row], console: Console) -> dict[str, Figures]:
    """A table of trainings."""
    table = Table("", title="Training, one device", title_justify="left")
    for title in ("tokens/s", "MFU datasheet", "MFU measured", "memory GB", "data wait", "start s"):
        table.add_column(title, justify="right")
    table.add_column("goal")
    found: dict[str, Figures] = {}
    measured = measured_peak(bench.device, 8192 if bench.device.type == "cuda" else 256)
    for row in todo:
        try:
            found[row.name] = one = figures(bench, row, measured)
        except (CurateError, RuntimeError) as error:  # out of memory, a kernel that is not there
            table.add_row(row.name, *[""] * 6, f"FAILED: {str(error)[:60]}")
            found[row.name] = Figures(0, {}, None, 0, 0, 0, row.settings, {}, str(error))
            continue
        judge(row, one, found.get(row.beside))
        goals = [f"{goal}: {'met' if met else 'MISSED'}" for goal, met in one.goals.items()]
        table.add_row(
            row.name,
            f"{one.tokens_per_second:,.0f}",
            *(
                f"{100 * one.mfu[k]:.1f} %" if k in one.mfu else ""
                for k in ("datasheet", "measured")
            ),
            f"{one.memory / 1e9:.1f}" if one.memory else "",
            f"{100 * one.data_wait:.2f} %",
            f"{one.first_step_seconds:.1f}",
            "; ".join(goals),
        )
    console.print(table)
    return found


def figures(bench: Bench, row: Row, measured: float) -> Figures:
    """Train, and measure."""
    settings = bench.settings(row.settings)
    summary, reports = bench.train(row.vocab_size, settings)
    assert summary is not None
    later = reports[min(WARM_STEPS, len(reports) - 2) :]
    per_second = statistics.median(report.tokens_per_second for report in later)
    meter = Meter.of(settings, row.vocab_size)
    meter.peaks["measured"] = measured
    return Figures(
        tokens_per_second=per_second,
        mfu=meter.utilisation(per_second),
        memory=summary.peak_memory,
        data_wait=statistics.mean(report.data_wait for report in later),
        first_step_seconds=reports[0].seconds,
        parameters=summary.parameters,
        settings=asdict(settings),
    )


def judge(row: Row, one: Figures, other: Figures | None) -> None:
    """Put beside the figures whether they are what they should be."""
    if row.least_tokens:
        goal = f"{row.least_tokens:,.0f} tokens/s"
        one.goals[goal] = one.tokens_per_second >= row.least_tokens
    if row.least_mfu and "datasheet" in one.mfu:
        one.goals[f"MFU {100 * row.least_mfu:.0f} %"] = one.mfu["datasheet"] >= row.least_mfu
    if other and other.tokens_per_second:
        cost = 1 - one.tokens_per_second / other.tokens_per_second
        one.goals[f"at most {100 * row.most_cost:.0f} % slower than {row.beside}"] = (
            cost <= row.most_cost
        )
    one.goals["data wait at most .5 %"] = one.data_wait <= 0.005


def numerics(bench: Bench, given: dict[str, Any], console: Console) -> dict[str, float]:
    """How far losses and gradients of one batch differ between ways that should be one."""
    settings = bench.settings(given | {"batch": 4, "document_mask": True})
    loader = open_loader(bench.shards(512), settings)
    batch = loader.rows(0, 4)
    parts = (batch.tokens.astype(np.int64), batch.targets, batch.documents)
    tensors = [None if p is None else torch.from_numpy(p.copy()).to(bench.device) for p in parts]
    on_gpu = bench.device.type == "cuda"

    def outcome(attention: str, *, low: bool, compiled: bool = False) -> Tensor:
        """The loss and the gradient, end to end."""
        model = model_of(replace(settings, attention=attention), 512)
        model.initialize(0)
        with torch.no_grad():  # as drawn, weights are so small that attention hardly matters
            for parameter in model.parameters():
                parameter.mul_(ENLARGED if parameter.dim() > 1 else 1)
        model.to(bench.device)
        of: Callable[..., Tensor] = torch.compile(model.loss_sum) if compiled else model.loss_sum
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=low):
            loss = of(*tensors)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return torch.cat([loss.detach().flatten(), *gradients]).double().cpu()

    def apart(one: Tensor) -> float:
        """The larger of two relative differences: of the losses, and of the gradients."""
        of_loss = (one[0] - exact[0]).abs() / exact[0]
        return float(max(of_loss, (one[1:] - exact[1:]).norm() / exact[1:].norm()))

    exact = outcome("math", low=False)
    ways: dict[str, Callable[[], Tensor]] = {
        "sdpa, float32": lambda: outcome("sdpa", low=False),
        "sdpa, bfloat16": lambda: outcome("sdpa", low=True),
    }
    if on_gpu:
        ways |= {
            "flex, float32": lambda: outcome("flex", low=False),
            "flex, bfloat16": lambda: outcome("flex", low=True),
            "varlen, bfloat16": lambda: outcome("varlen", low=True),
            "auto, bfloat16, compiled": lambda: outcome("auto", low=True, compiled=True),
        }
    found: dict[str, float] = {}
    table = Table("beside math in float32", "largest relative difference", title="Numerics")
    for name, way in ways.items():
        try:
            found[name] = apart(way())
            table.add_row(name, f"{found[name]:.2g}")
        except (CurateError, RuntimeError) as error:
            table.add_row(name, f"FAILED: {str(error)[:60]}")
            found[name] = float("nan")
    console.print(table)
    return found


def resume(bench: Bench, given: dict[str, Any], console: Console) -> dict[str, Any]:
    """A run cut off and one at once: how far their weights are apart, sums in order or not."""
    found: dict[str, Any] = {}
    steps = max(4, bench.steps // 2)
    for order in (True, False):
        settings = bench.settings(
            given | {"steps": steps, "checkpoint_every": steps // 2, "deterministic": order}
        )
        name = "in order" if order else "in any order"
        bench.train(512, settings, f"whole-{order}")
        bench.train(512, settings, f"cut-{order}", cut=steps // 2 + 1)
        bench.train(512, settings, f"cut-{order}")
        one, other = (
            load_file(bench.folder / f"{run}-{order}" / MODEL) for run in ("whole", "cut")
        )
        found[name] = max(float((one[key] - other[key]).abs().max()) for key in one)
        console.print(f"cut off and resumed, sums {name}: weights differ by {found[name]:.3g}")
    return found


def environment(device: torch.device) -> dict[str, Any]:
    """Where this ran."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "CPU",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": properties.name,
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "matmul_tflops": round(measured_peak(device) / 1e12, 1),
        }
    return found


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rows", nargs="*", help="the trainings whose name begins so")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--small", action="store_true", help="seconds on a CPU, to try the script")
    parser.add_argument("--json", type=Path, help="write all figures here, too")
    given = parser.parse_args()
    console = Console(width=150)
    todo = small_rows() if given.small else rows()
    if given.rows:
        todo = [row for row in todo if row.name.startswith(tuple(given.rows))]
    model = SMALL if given.small else {"preset": "proxy-30m", "batch": 16}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            Path(scratch),
            8 if given.small else given.steps,
            100_000 if given.small else 20_000_000,
        )
        found: dict[str, Any] = {"environment": environment(bench.device)}
        console.print(", ".join(f"{key} {value}" for key, value in found["environment"].items()))
        if "speed" in given.only:
            done = speed(bench, todo, console)
            found["speed"] = {name: asdict(one) for name, one in done.items()}
        if "numerics" in given.only:
            found["numerics"] = numerics(bench, model, console)
        if "resume" in given.only:
            found["resume"] = resume(bench, model, console)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
