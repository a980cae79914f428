"""Low-rank adapters (Hu et al. 2021): beside frozen projections, in files, and merged into them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.store import write_atomic
from trainer.checkpoint import write_tensors
from trainer.model import LanguageModel, Tensor, nn, torch

# The files and names of Hugging Face's PEFT, which reads them for a Llama.
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
TARGETS = ("q", "k", "v", "o")


@dataclass(frozen=True)
class Lora:
    """How large adapters are, and which projections of attention have them."""

    rank: int = 8
    alpha: float = 16.0  # what they give is multiplied by alpha / rank
    targets: str = "q,v"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise RecipeError(f"rank: {self.rank}; it must be at least 1")
        if not 0 < self.alpha < math.inf:
            raise RecipeError(f"alpha: {self.alpha}; it must be above 0")
        if not self.targets or not set(self.targets.split(",")) <= set(TARGETS):
            raise RecipeError(f"targets: {self.targets!r}; write some of {','.join(TARGETS)}")

    @property
    def scale(self) -> float:
        """The factor of what adapters give."""
        return self.alpha / self.rank

    @property
    def modules(self) -> list[str]:
        """The projections by the names of their modules."""
        return [f"{one}_proj" for one in TARGETS if one in self.targets.split(",")]


class Adapted(nn.Module):
    """A projection that is frozen, and two thin ones beside it that are trained."""

    def __init__(self, base: nn.Linear, lora: Lora, generator: torch.Generator) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, lora.rank, bias=False)
        self.lora_B = nn.Linear(lora.rank, base.out_features, bias=False)
        self.scale = lora.scale
        spread = 1 / math.sqrt(base.in_features)
        nn.init.uniform_(self.lora_A.weight, -spread, spread, generator)
        nn.init.zeros_(self.lora_B.weight)  # so that at first nothing is changed

    def forward(self, states: Tensor) -> Tensor:
        added: Tensor = self.lora_B(self.lora_A(states)) * self.scale
        return added.add(self.base_layer(states))


def adapt(model: LanguageModel, lora: Lora, seed: int) -> None:
    """Freeze a model, and put adapters drawn from the seed beside its projections."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for layer in model.model.layers:
        for name in lora.modules:
            base = getattr(layer.self_attn, name)
            adapted = Adapted(base, lora, generator).to(base.weight.device)
            setattr(layer.self_attn, name, adapted)


@torch.no_grad()
def merge(model: LanguageModel) -> None:
    """Put into a model's projections what their adapters add; all its weights can be trained."""
    for layer in model.model.layers:
        for name in (f"{one}_proj" for one in TARGETS):
            adapted = getattr(layer.self_attn, name)
            if isinstance(adapted, Adapted):
                added = adapted.lora_B.weight @ adapted.lora_A.weight
                adapted.base_layer.weight.add_(added, alpha=adapted.scale)
                setattr(layer.self_attn, name, adapted.base_layer)
    model.requires_grad_(True)


def write_adapters(folder: Path, model: LanguageModel, lora: Lora, base: str) -> None:
    """Write adapters as PEFT does; `base` is the path or name of the model they belong to."""
    said: dict[str, Any] = {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": lora.rank,
        "target_modules": lora.modules,
        "task_type": "CAUSAL_LM",
    }
    folder.mkdir(parents=True, exist_ok=True)
    named = {PREFIX + n: tensor for n, tensor in model.state_dict().items() if ".lora_" in n}
    write_atomic(folder / CONFIG, (json.dumps(said, indent=2) + "\n").encode())
    write_tensors(folder / WEIGHTS, named, {"format": "pt"})
