"""What a recipe's `train:` section and `curate train` are told; importable without torch."""

import difflib
import math
from dataclasses import dataclass
from typing import Any

from curate.errors import RecipeError
from trainer.presets import PRESETS

FAMILIES = ("llama", "gpt2", "bloom", "baichuan")
POSITIONS = {  # the first is what a family has if nothing is said
    "llama": ("rope",),
    "gpt2": ("learned",),
    "bloom": ("alibi",),
    "baichuan": ("rope", "alibi"),
}
CHOICES = {
    "optimizer": ("adamw", "muon", "lion"),
    "schedule": ("cosine", "wsd"),
    "precision": ("auto", "float32", "bfloat16"),
    "compiled": ("auto", "always", "never"),
    "attention": ("auto", "varlen", "flex", "sdpa", "math"),
    "parallel": ("auto", "ddp", "fsdp"),
    "packing": ("concat", "best_fit", "pad"),
    "device": ("auto", "cpu", "cuda"),
}
_COUNTS = ("steps", "batch", "checkpoint_every", "keep", "threads", "skip_bad")  # 1 or more
_SIZES = (  # 0 or more
    "micro_batch",
    "kv_heads",
    "hidden",
    "warmup",
    "evaluate_every",
    "loss_chunk",
    "sample_tokens",
    "top_k",
)
_SHAPE = ("layers", "width", "heads", "context")


@dataclass(frozen=True)
class TrainSettings:
    """A language model, and how to train it; the defaults visibly learn in two CPU minutes."""

    preset: str = "tiny"  # fills in what is 0 or empty below; see trainer/presets.py
    family: str = ""  # llama, gpt2, bloom or baichuan
    positions: str = ""  # of baichuan: rope or alibi; the others have no choice
    layers: int = 0
    width: int = 0
    heads: int = 0
    kv_heads: int = 0  # fewer than heads: grouped-query attention (llama)
    hidden: int = 0  # of the feed-forward layer; 0: 4 widths, of SwiGLU 8/3 up to a multiple of 64
    context: int = 0  # tokens that the model sees at once
    tied: bool | None = None  # embedding and output head are one matrix
    steps: int = 600
    batch: int = 8  # windows in one step, on all devices together
    micro_batch: int = 0  # windows in memory at once, gradients added up; 0: all of them
    packing: str = "concat"  # documents into windows: concat, best_fit or pad
    document_mask: bool = True  # a token sees its own document only
    optimizer: str = "adamw"  # adamw, muon (matrices; the rest by AdamW) or lion
    learning_rate: float = 2e-3
    schedule: str = "cosine"  # cosine to the final share, or wsd: constant, then a line down
    warmup: int = 30  # steps
    decay_share: float = 0.2  # of the steps, at the end of wsd
    final_share: float = 0.1  # of the learning rate, at the last step
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1  # on matrices other than embeddings
    clip: float = 1.0
    # A step whose loss or gradient is no number, or whose gradient is more than `spike` times the
    # median of the last 100, changes no weight; so many of them in a row end the run.
    spike: float = 0.0  # 0: only what is no number
    skip_bad: int = 5
    seed: int = 0
    device: str = "auto"  # cpu, cuda, or auto: cuda where there is one
    # On a CPU. Sums depend on it, so it is not the machine's number of cores; and two threads that
    # wait for each other on two busy cores took 3.1 s a step where one took .37.
    threads: int = 1
    precision: str = "auto"  # of the products: bfloat16 on a GPU, float32 on a CPU
    compiled: str = "auto"  # by torch.compile: always, never, or auto: on a GPU only
    attention: str = "auto"  # varlen, flex, sdpa or math; auto: the fastest that can
    recompute: bool = False  # activations in the backward pass: less memory, a third more work
    loss_chunk: int = 0  # tokens whose logits are in memory at once; 0: by the vocabulary
    parallel: str = "auto"  # over several processes: ddp, or fsdp, which shares out the weights
    # On a GPU, sums in one order: a run that was cut off ends with the same weights. Without it two
    # runs of 20 steps differed by .002 in a weight; it cost 12 to 29 % of the speed (H200).
    deterministic: bool = True
    checkpoint_every: int = 100
    keep: int = 1  # checkpoints
    evaluate_every: int = 0  # steps; 0: at the end only
    prompt: str = "The"
    sample_tokens: int = 100
    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 1.0

    def __post_init__(self) -> None:
        self._fill_in()
        self._check_numbers()
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise RecipeError(f"{name}: {getattr(self, name)!r}; write {listed(choices)}")
        if not self.prompt:
            raise RecipeError("prompt: empty; write what the sample begins with")
        self._check_shape()

    def _check_numbers(self) -> None:
        for name in (*_COUNTS, *_SHAPE):
            _at_least(name, getattr(self, name), 1)
        for name in _SIZES:
            _at_least(name, getattr(self, name), 0)
        for name in ("weight_decay", "temperature", "spike"):
            _at_least(name, getattr(self, name), 0.0)
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecipeError(f"{name}: {getattr(self, name)}; it must be above 0")
        for name in ("beta1", "beta2", "decay_share", "final_share", "top_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"{name}: {getattr(self, name)}; it must be 0 to 1")

    def _fill_in(self) -> None:
        """Take from the preset, and then from the family, what is left open."""
        self._leave_open_to(self._preset())
        if self.family not in FAMILIES:
            raise RecipeError(f"family: {self.family!r}; write {listed(FAMILIES)}")
        gated = self.family in ("llama", "baichuan")
        hidden = math.ceil(self.width * 8 / 3 / 64) * 64 if gated else 4 * self.width
        positions = POSITIONS[self.family][0]
        self._leave_open_to(
            {"positions": positions, "kv_heads": self.heads, "tied": True, "hidden": hidden}
        )

    def _preset(self) -> dict[str, Any]:
        """What the preset says that is not of another family or width."""
        if self.preset not in PRESETS:
            near = difflib.get_close_matches(self.preset, PRESETS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}"
            raise RecipeError(f"preset: no {self.preset!r}; {hint}")
        preset = dict(PRESETS[self.preset])
        is_other = self.family not in ("", preset["family"])
        if is_other or self.width or self.heads:
            preset = {name: preset[name] for name in ("family", *_SHAPE)} | (
                {} if is_other else {k: v for k, v in preset.items() if k in ("tied", "positions")}
            )
        return preset

    def _leave_open_to(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            given = getattr(self, name)
            if given is None or given == "" or (given == 0 and given is not False):
                object.__setattr__(self, name, value)

    def _check_shape(self) -> None:
        if self.width % self.heads or self.width // self.heads % 2:
            raise RecipeError(f"width: {self.width}; {self.heads} heads need an even share each")
        if self.heads % self.kv_heads:
            raise RecipeError(f"kv_heads: {self.kv_heads} do not divide {self.heads} heads")
        if self.kv_heads != self.heads and self.family != "llama":
            raise RecipeError(f"kv_heads: {self.kv_heads}; {self.family} has as many as heads")
        if self.positions not in POSITIONS[self.family]:
            raise RecipeError(
                f"positions: {self.positions!r}; {self.family} has {listed(POSITIONS[self.family])}"
            )
        if self.family in ("gpt2", "bloom") and not self.tied:
            raise RecipeError(f"tied: {self.family} has one matrix for both; leave it out")
        if self.batch % (self.micro_batch or self.batch):
            raise RecipeError(f"micro_batch: {self.micro_batch} does not divide {self.batch}")


@dataclass(frozen=True)
class Source:
    """Token shards among others that a model is trained on."""

    tokens: str  # the folder
    share: float = 0.0  # of the tokens trained on; 0 in all of them: as many as each has
    max_epochs: float = math.inf  # how often its tokens may be seen; what it cannot fill, others do

    def __post_init__(self) -> None:
        _at_least("share", self.share, 0.0)
        if not self.max_epochs > 0:
            raise RecipeError(f"max_epochs: {self.max_epochs}; it must be above 0")


def listed(choices: tuple[str, ...]) -> str:
    """The choices as a sentence has them."""
    return " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))


def _at_least(name: str, value: float, low: float) -> None:
    if not low <= value < math.inf:
        raise RecipeError(f"{name}: {value}; it must be at least {low}")
