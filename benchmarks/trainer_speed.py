"""Speed of the trainer on one device: tokens a second, share of its peak, memory, a resumed run.

    python -m benchmarks.trainer_speed out/tokens --layers 12 --width 768 --heads 12 [--peak 989]

Trains the model of that size twice on the token shards of a run: at once, and cut off in the middle
and resumed. The first step is left out of the speed, for it compiles. Floating-point operations are
6 per weight and token and 12 per layer, width and token seen (Chowdhery et al. 2022, appendix B);
`--peak` is what the device does in TFLOP/s (bf16, dense: 989 for an H100 or H200).
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from safetensors.torch import load_file

from trainer.model import torch
from trainer.settings import TrainSettings
from trainer.train import MODEL, TrainProgress, TrainSummary, train


class CutError(Exception):
    """Stands for a kill in the middle."""


def trained(
    tokens: Path, output: Path, settings: TrainSettings, cut: int = 0
) -> tuple[TrainSummary | None, list[TrainProgress]]:
    """A training, up to the end or to a step; the reports of its steps."""
    reports: list[TrainProgress] = []

    def progress(report: TrainProgress) -> None:
        reports.append(report)
        if report.step == cut:
            raise CutError

    try:
        return train(tokens, output, settings, progress), reports
    except CutError:
        return None, reports


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=Path)
    for name, default in (("steps", 40), ("context", 1024), ("batch", 32), ("layers", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("width", 768), ("heads", 12), ("micro-batch", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-document-mask", action="store_true")
    parser.add_argument("--not-deterministic", action="store_true")
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    settings = TrainSettings(
        steps=given.steps,
        context=given.context,
        batch=given.batch,
        micro_batch=given.micro_batch,
        layers=given.layers,
        width=given.width,
        heads=given.heads,
        learning_rate=6e-4,
        warmup=max(1, given.steps // 10),
        document_mask=not given.no_document_mask,
        deterministic=not given.not_deterministic,
        device=given.device,
        checkpoint_every=max(1, given.steps // 2),
    )
    with tempfile.TemporaryDirectory() as scratch:
        whole, cut = Path(scratch) / "whole", Path(scratch) / "cut"
        summary, reports = trained(given.tokens, whole, settings)
        assert summary is not None
        speed = statistics.median(report.tokens_per_second for report in reports[1:])
        first = reports[0].seconds
        work = 6 * summary.parameters + 12 * given.layers * given.width * given.context
        cuda = summary.device == "cuda"
        peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
        trained(given.tokens, cut, settings, settings.checkpoint_every)
        _, later = trained(given.tokens, cut, settings)
        one, other = load_file(whole / MODEL), load_file(cut / MODEL)
        apart = max(float((one[name] - other[name]).abs().max()) for name in one)
    name = torch.cuda.get_device_name() if cuda else "CPU"
    mask = "without" if given.no_document_mask else "with"
    order = "in any order" if given.not_deterministic else "in one order"
    print(f"{name}: {summary.parameters / 1e6:.1f} M parameters, {mask} a document mask, ", end="")
    print(f"sums {order}")
    print(f"loss {summary.first_loss:.3f} -> {summary.last_loss:.3f} in {summary.steps} steps")
    print(f"first step {first:.1f} s; then {speed:,.0f} tokens/s, ", end="")
    print(f"{speed * work / given.peak / 1e10:.1f} % of {given.peak:.0f} TFLOP/s; {peak:.1f} GB")
    print(f"cut off and resumed: weights differ by at most {apart:.3g}, ", end="")
    print(f"last loss {later[-1].loss:.6f} and {reports[-1].loss:.6f}")


if __name__ == "__main__":
    main()
