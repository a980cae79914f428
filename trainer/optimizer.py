"""AdamW with weight decay on matrices only, and warm-up followed by a cosine to a tenth."""

import math

from trainer.model import torch
from trainer.settings import TrainSettings

BETAS = (0.9, 0.95)
FINAL_SHARE = 0.1


def learning_rate(step: int, settings: TrainSettings) -> float:
    """The rate of step 0, 1, ...: a line up over the warm-up, then half a cosine down."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    share = FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share


def adamw(model: torch.nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """The optimizer of a model: its matrices decay, its embeddings and norms do not."""
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.dim() > 1 and "embed_tokens" not in name
        (decayed if is_matrix else others).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, fused=fused)
