"""How fast a training goes, as a share of what its device could do."""

import re
import statistics
import time
from dataclasses import dataclass, field

from trainer.device import pick_device
from trainer.distributed import world
from trainer.log import TrainProgress
from trainer.model import LanguageModel, torch
from trainer.settings import TrainSettings
from trainer.shape import Shape

# TFLOP/s in bfloat16, dense, accumulated in float32: NVIDIA's datasheets and the white papers of
# the architectures, which print twice as much for H100 and later ("with sparsity"). The words of a
# key must all be in the device's name; a more special key stands before a plainer one.
PEAKS = {
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "H200 NVL": 835,
    "H200": 989,
    "B200": 2250,
    "A100": 312,
    "A30": 165,
    "A10": 125,
    "L40S": 362,
    "L4": 121,
    "RTX 4090": 165,
}
_LESSER = {"MIG", "Laptop", "D"}  # slices of a device, and lesser ones of a greater's name
LEAST_WAIT = 0.001  # a share of the step's time that is worth a word
_RECENT = 20  # steps of which the speed is told


def datasheet_peak(device: str) -> float | None:
    """FLOP/s that the vendor's datasheet gives a device of this name; None if it is not known."""
    words = set(re.findall(r"\w+", device))
    if words & _LESSER:
        return None
    for name, peak in PEAKS.items():
        if words.issuperset(name.split()):
            return peak * 1e12
    return None


def measured_peak(device: torch.device, size: int = 8192, seconds: float = 0.5) -> float:
    """FLOP/s of a product of two square matrices here: bfloat16 on a GPU, float32 on a CPU."""
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    # Not zeros: of those a GPU multiplies more in a second, as it needs less power.
    left, right = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    out = torch.empty_like(left)
    torch.mm(left, right, out=out)
    _wait(device)
    count, began, now = 0, time.perf_counter(), 0.0
    while now < seconds:
        for _ in range(10):
            torch.mm(left, right, out=out)
        _wait(device)
        count, now = count + 10, time.perf_counter() - began
    return 2 * size**3 * count / now


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def multiplied(shape: Shape) -> int:
    """The weights that every token is multiplied with: no positions, no embedding but the head."""
    with torch.device("meta"):
        weights = LanguageModel(shape).parameter_count
    if not shape.tied:
        weights -= shape.vocab_size * shape.width
    if shape.positions == "learned":
        weights -= shape.context * shape.width
    return weights


@dataclass
class Meter:
    """Model FLOPs utilisation (MFU): what training needs by what all devices could do."""

    flops_per_token: float
    device: torch.device
    devices: int = 1
    peaks: dict[str, float] = field(default_factory=dict)  # FLOP/s of one, by who says so
    speeds: list[float] = field(default_factory=list)  # tokens a second, of each step

    @classmethod
    def of(cls, settings: TrainSettings, vocab_size: int) -> "Meter":
        """One for a training; of a CPU no peak is known, so it has no MFU."""
        shape, device = Shape.of(settings, vocab_size), pick_device(settings.device)
        meter = cls(shape.flops_per_token(multiplied(shape)), device, world())
        if device.type == "cuda":
            known = datasheet_peak(torch.cuda.get_device_name(device))
            meter.peaks |= {"datasheet": known} if known else {}
        return meter

    def measure(self) -> None:
        """Learn what a GPU does here; after training, whose memory and figures it would change."""
        if self.device.type == "cuda":
            self.peaks["measured"] = measured_peak(self.device)

    def utilisation(self, tokens_per_second: float) -> dict[str, float]:
        """MFU at this speed, by each peak."""
        needed = self.flops_per_token * tokens_per_second / self.devices
        return {name: needed / peak for name, peak in self.peaks.items()}

    @property
    def speed(self) -> float:
        """Tokens a second of the median step: without compiling, evaluations and checkpoints."""
        return statistics.median(self.speeds) if self.speeds else 0.0

    def line(self, state: TrainProgress) -> str:
        """What there is to say of a step; the speed is that of the last ones."""
        self.speeds.append(state.tokens_per_second)
        speed = statistics.harmonic_mean(self.speeds[-_RECENT:])
        parts = [f"loss {state.loss:.3f}", f"{speed:,.0f} tokens/s"]
        parts += [f"MFU {100 * share:.1f} %" for share in self.utilisation(speed).values()]
        if state.data_wait >= LEAST_WAIT:
            parts.append(f"data wait {100 * state.data_wait:.1f} %")
        if state.memory:
            parts.append(f"{state.memory / 1e9:.1f} GB")
        return ", ".join(parts)
