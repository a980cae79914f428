"""Several processes on one training: which is which, what each sees, how their sums become one."""

import atexit
import inspect
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch.distributed as processes
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from curate.errors import CurateError
from trainer.model import LanguageModel, Tensor, torch
from trainer.settings import TrainSettings

# The others wait while the first process evaluates or writes a checkpoint.
PATIENCE = timedelta(hours=2)

# Buffers need no exchange: each process computes the same. torch 2.13 has another name for the
# switch, and warns of the old one.
_SWITCHES = inspect.signature(DistributedDataParallel).parameters
_SWITCH = "forward_sync_buffers" if "forward_sync_buffers" in _SWITCHES else "broadcast_buffers"
_NO_BUFFERS: dict[str, Any] = {_SWITCH: False}


@dataclass(frozen=True)
class Ranks:
    """A process among those of a training."""

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes files and tells of progress."""
        return self.rank == 0

    def rows(self, step: int, batch: int) -> tuple[int, int]:
        """The samples of a step that this process trains on: the first, and how many."""
        each = batch // self.world
        return step * batch + self.rank * each, each

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            processes.all_reduce(values)
        return values

    def wait(self) -> None:
        """Go on when all are here."""
        if self.world > 1:
            processes.barrier()


def join(device: torch.device, batch: int) -> Ranks:
    """The processes that torchrun started, or this one alone."""
    count = world()
    if count == 1:
        return Ranks()
    if batch % count:
        raise CurateError(f"train.batch: {batch} is not divisible by {count} processes")
    if not processes.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        processes.init_process_group(backend, timeout=PATIENCE)
        # Not after each training: with the store of torchrun, gloo hung when it began again.
        atexit.register(processes.destroy_process_group)
    return Ranks(processes.get_rank(), count)


def leads() -> bool:
    """Whether this process is the one that speaks, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def world() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


class Objective(torch.nn.Module):
    """The summed loss as a module, which is what torch spreads over processes."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, targets: Tensor, documents: Tensor | None) -> Tensor:
        """The model's loss, summed over the targets."""
        return self.model.loss_sum(tokens, targets, documents)


def spread(
    model: LanguageModel, settings: TrainSettings, ranks: Ranks, *, compiled: bool, low: bool
) -> torch.nn.Module:
    """The model's summed loss, over all processes; with FSDP the weights are shared out in place.

    `compiled`: by torch.compile; `low`: with products in bfloat16.
    """
    objective = Objective(model)
    device = next(model.parameters()).device
    if ranks.world > 1 and settings.parallel == "fsdp":
        return _shared_out(objective, ranks, compiled=compiled, low=low)
    module: torch.nn.Module = objective
    if ranks.world > 1:
        module = DistributedDataParallel(
            objective,
            device_ids=[device] if device.type == "cuda" else None,
            **_NO_BUFFERS,
            gradient_as_bucket_view=True,
        )
    return cast(torch.nn.Module, torch.compile(module)) if compiled else module


def _shared_out(
    objective: Objective, ranks: Ranks, *, compiled: bool, low: bool
) -> torch.nn.Module:
    device = next(objective.parameters()).device
    mesh = init_device_mesh(device.type, (ranks.world,))
    policy = MixedPrecisionPolicy(torch.bfloat16 if low else None, torch.float32)
    for layer in objective.model.model.layers:
        if compiled:  # one by one: weights are gathered between them
            layer.compile()
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(objective, mesh=mesh, mp_policy=policy)
    return objective


def adding(module: torch.nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
    """Sum gradients over the processes in the last of a step's micro-batches only."""
    inner = getattr(module, "_orig_mod", module)  # within what torch.compile returns
    if isinstance(inner, FSDPModule):
        inner.set_requires_gradient_sync(is_last)
    elif isinstance(inner, DistributedDataParallel) and not is_last:
        return cast(AbstractContextManager[Any], inner.no_sync())
    return nullcontext()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor whose parts the processes hold; each of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, model: Tensor) -> Tensor:
    """A whole tensor, shared out as another of its shape is."""
    if not isinstance(model, DTensor):
        return tensor
    return distribute_tensor(tensor, model.device_mesh, model.placements, src_data_rank=None)


def is_shared_out(model: torch.nn.Module) -> bool:
    """Whether this process holds parts of the weights only."""
    return isinstance(next(model.parameters()), DTensor)


def gathered(model: LanguageModel, ranks: Ranks) -> dict[str, Tensor]:
    """The whole weights by name, for the first process; each of them must ask."""
    found = {}
    for name, tensor in model.state_dict().items():
        full = whole(tensor.detach())
        if ranks.is_first:
            found[name] = full.cpu()
    return found
