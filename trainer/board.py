"""The figures of a training for TensorBoard, where it is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainer.log import TrainProgress

INSTALLED = find_spec("tensorboard") is not None
if INSTALLED:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
_FIGURES = ("loss", "learning_rate", "gradient_norm", "tokens_per_second")


class Board:
    """Curves of each step and each evaluation, in a folder of the model's; or nothing at all."""

    def __init__(self, output: Path, first: int) -> None:
        # Curves of steps that are made again are cut off by TensorBoard itself.
        self._writer: Any = None
        if INSTALLED:
            self._writer = SummaryWriter(str(output / FOLDER), purge_step=first)

    def step(self, state: TrainProgress) -> None:
        """Draw a step."""
        if self._writer:
            for name in _FIGURES:
                self._writer.add_scalar(f"train/{name}", getattr(state, name), state.step)

    def scores(self, rows: list[dict[str, Any]]) -> None:
        """Draw the bits per byte of whole sets."""
        for row in rows if self._writer else ():
            if "macro_source" in row and row["bits_per_byte"] is not None:
                name = f"bits_per_byte/{row['set']}"
                self._writer.add_scalar(name, row["bits_per_byte"], row["step"])

    def close(self) -> None:
        """Write what is held back."""
        if self._writer:
            self._writer.close()
