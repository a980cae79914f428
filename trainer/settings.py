"""What a recipe's `train:` section holds; importable without torch."""

import math
from dataclasses import dataclass

from curate.errors import RecipeError


@dataclass(frozen=True)
class TrainSettings:
    """A Llama-style model, and how to train it; the defaults visibly learn in two CPU minutes."""

    steps: int = 600
    context: int = 128  # tokens that the model sees at once
    batch: int = 8  # windows in one step
    micro_batch: int = 0  # windows in memory at once, gradients added up; 0: the whole batch
    layers: int = 4
    width: int = 128
    heads: int = 2
    kv_heads: int = 0  # fewer than heads: grouped-query attention; 0: as many
    hidden: int = 0  # of the SwiGLU; 0: 8/3 of the width, up to a multiple of 64
    tied: bool = True  # embedding and output head are one matrix
    learning_rate: float = 2e-3
    warmup: int = 30
    weight_decay: float = 0.1  # on matrices other than embeddings
    clip: float = 1.0
    document_mask: bool = True  # a token sees its own document only
    seed: int = 0
    device: str = "auto"  # cpu, cuda, or auto: cuda where there is one
    # On a CPU. Sums depend on it, so it is not the machine's number of cores; and two threads that
    # wait for each other on two busy cores took 3.1 s a step where one took .37.
    threads: int = 1
    # On a GPU, sums in one order: a run that was cut off ends with the same weights. Without it two
    # runs of 20 steps differed by .002 in a weight; it cost 12 to 29 % of the speed (H200).
    deterministic: bool = True
    checkpoint_every: int = 100
    prompt: str = "The"
    sample_tokens: int = 100
    temperature: float = 0.8
    top_k: int = 50

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "context",
            "batch",
            "layers",
            "width",
            "heads",
            "checkpoint_every",
            "threads",
        ):
            _at_least(name, getattr(self, name), 1)
        for name in ("micro_batch", "kv_heads", "hidden", "warmup", "sample_tokens", "top_k"):
            _at_least(name, getattr(self, name), 0)
        for name in ("weight_decay", "temperature"):
            _at_least(name, getattr(self, name), 0.0)
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecipeError(f"{name}: {getattr(self, name)}; it must be above 0")
        if self.device not in ("auto", "cpu", "cuda"):
            raise RecipeError(f"device: {self.device!r}; write auto, cpu or cuda")
        if not self.prompt:
            raise RecipeError("prompt: empty; write what the sample begins with")
        self._check_shape()

    def _check_shape(self) -> None:
        if self.width % self.heads or self.width // self.heads % 2:
            raise RecipeError(f"width: {self.width}; {self.heads} heads need an even share each")
        if self.heads % (self.kv_heads or self.heads):
            raise RecipeError(f"kv_heads: {self.kv_heads} do not divide {self.heads} heads")
        if self.batch % (self.micro_batch or self.batch):
            raise RecipeError(f"micro_batch: {self.micro_batch} does not divide {self.batch}")


def _at_least(name: str, value: float, low: float) -> None:
    if not low <= value < math.inf:
        raise RecipeError(f"{name}: {value}; it must be at least {low}")
