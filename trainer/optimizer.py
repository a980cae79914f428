"""What a gradient does to the weights: AdamW, Muon or Lion, and how fast at which step.

Each optimizer here obeys `found_inf`, as torch's fused ones do: a tensor on the device that is 1
where the step must change nothing, so that the host need not wait to know.
"""

import math
from collections.abc import Iterable
from typing import Any

from trainer.distributed import local, shard_like, whole
from trainer.model import Tensor, torch
from trainer.settings import TrainSettings

Parameters = list[torch.nn.Parameter]
MOMENTUM = 0.95
# The quintic of Jordan et al. 2024, steepest at 0: five turns bring singular values near 1.
QUINTIC = (3.4445, -4.7750, 2.0315)
TURNS = 5
# A step of AdamW has a root mean square of about 0.2 learning rates (Liu et al. 2025, eq. 4).
ADAMW_SPREAD = 0.2


def learning_rate(step: int, settings: TrainSettings) -> float:
    """The rate of step 0, 1, ...: a line up over the warm-up, then what the schedule says."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    low = settings.final_share
    if settings.schedule == "wsd":
        length = settings.decay_share * settings.steps
        left = min(1.0, (settings.steps - step) / length) if length else 1.0
        return settings.learning_rate * (low + (1 - low) * left)
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    share = low + (1 - low) * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share


def optimizers_of(
    model: torch.nn.Module, settings: TrainSettings
) -> tuple[torch.optim.Optimizer, ...]:
    """The optimizers of a model: its matrices decay, its embeddings, norms and biases do not.

    Muon takes the matrices of the layers; the output head, though a matrix, goes with the rest.
    """
    matrices, head, others = _kinds(model)
    decay, betas = settings.weight_decay, (settings.beta1, settings.beta2)
    rate = settings.learning_rate
    if settings.optimizer == "muon":
        rest = _adamw(_groups(decay, head, others), rate, betas)
        return Muon(matrices, rate, decay), rest
    groups = _groups(decay, matrices + head, others)
    if settings.optimizer == "lion":
        return (Lion(groups, rate, betas),)
    return (_adamw(groups, rate, betas),)


def _kinds(model: torch.nn.Module) -> tuple[Parameters, Parameters, Parameters]:
    """The matrices of the layers, the head, and all other weights."""
    matrices: Parameters = []
    head: Parameters = []
    others: Parameters = []
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 or "embed" in name:
            others.append(parameter)
        else:
            (head if "lm_head" in name else matrices).append(parameter)
    return matrices, head, others


def _groups(decay: float, decayed: Parameters, others: Parameters) -> list[dict[str, Any]]:
    groups = [
        {"params": decayed, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _adamw(
    groups: list[dict[str, Any]], rate: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)


class Lion(torch.optim.Optimizer):
    """The sign of an interpolated momentum, with decoupled weight decay (Chen et al. 2023)."""

    found_inf: Tensor | None = None

    def __init__(self, params: Any, rate: float, betas: tuple[float, float]) -> None:
        super().__init__(params, {"lr": rate, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # torch would call a closure
        """Move every weight by one learning rate, up or down."""
        for group in self.param_groups:
            rate, (beta1, beta2) = group["lr"], group["betas"]
            for parameter in _trained(group):
                state = self.state[parameter]
                state.setdefault("exp_avg", torch.zeros_like(parameter))
                weight, gradient = local(parameter), local(_gradient(parameter))
                average = local(state["exp_avg"])
                step = average.lerp(gradient, 1 - beta1).sign_()
                decayed = weight * (1 - rate * group["weight_decay"])
                _take(decayed.sub_(step, alpha=rate), weight, self.found_inf)
                _take(average.lerp(gradient, 1 - beta2), average, self.found_inf)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with singular values near 1 (Jordan et al. 2024), as large as AdamW's step.

    torch has one that computes the same; it takes one matrix after the other, this one all of a
    shape at once, and it knows nothing of `found_inf`.
    """

    found_inf: Tensor | None = None

    def __init__(self, params: Parameters, rate: float, decay: float) -> None:
        super().__init__(params, {"lr": rate, "weight_decay": decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # torch would call a closure
        """Move every matrix along its orthogonalized momentum."""
        for group in self.param_groups:
            for alike in _by_shape(_trained(group)):
                self._move(alike, group["lr"], group["weight_decay"])

    def _move(self, alike: Parameters, rate: float, decay: float) -> None:
        directions = []
        for parameter in alike:
            state = self.state[parameter]
            state.setdefault("momentum_buffer", torch.zeros_like(parameter))
            gradient = _gradient(parameter)
            momentum = state["momentum_buffer"].lerp(gradient, 1 - MOMENTUM)
            directions.append(whole(gradient.lerp(momentum, MOMENTUM)))
            _take(local(momentum), local(state["momentum_buffer"]), self.found_inf)
        length = rate * ADAMW_SPREAD * math.sqrt(max(alike[0].shape))
        for parameter, update in zip(alike, orthogonal(torch.stack(directions)), strict=True):
            weight, update = local(parameter), local(shard_like(update, parameter))
            moved = (weight * (1 - rate * decay)).sub_(update, alpha=length)
            _take(moved, weight, self.found_inf)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices of one shape with their singular values brought near 1, by Newton and Schulz."""
    a, b, c = QUINTIC
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    turned = matrices.mT if is_tall else matrices
    if matrices.is_cuda:  # as its authors do; a CPU multiplies bfloat16 slower than float32
        turned = turned.bfloat16()
    turned = turned / turned.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(TURNS):
        gram = turned @ turned.mT
        turned = a * turned + (b * gram + c * gram @ gram) @ turned
    result: Tensor = turned.mT if is_tall else turned
    return result.to(matrices.dtype)


def _take(new: Tensor, old: Tensor, bad: Tensor | None) -> None:
    """Put the new values in place of the old, unless the step is bad."""
    old.copy_(new if bad is None else torch.where(bad.bool(), old, new))


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _trained(group: dict[str, Any]) -> Parameters:
    return [parameter for parameter in group["params"] if parameter.grad is not None]


def _by_shape(parameters: Iterable[torch.nn.Parameter]) -> list[Parameters]:
    groups: dict[torch.Size, Parameters] = {}
    for parameter in parameters:
        groups.setdefault(parameter.shape, []).append(parameter)
    return list(groups.values())
