"""The device that a training runs on, and what must be set there for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch._dynamo.exc import BackendCompilerFailed

from curate.errors import CurateError
from trainer.distributed import local_rank
from trainer.model import torch


def pick_device(name: str) -> torch.device:
    """The device of a setting; of several GPUs, the one of this process."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise CurateError("train.device: no CUDA device here; write auto or cpu")
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())


def gpus(device: torch.device) -> list[torch.device]:
    """Those whose random numbers a training draws."""
    return [device] if device.type == "cuda" else []


def peak_memory(device: torch.device) -> int | None:
    """The most bytes of a GPU that were held at once; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


@contextmanager
def sums_in_order(device: torch.device, *, wanted: bool) -> Iterator[None]:
    """On a GPU, let kernels add up in the same order each time."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted and device.type == "cuda":
        # cuBLAS reads this when it is first used; without it torch refuses to be deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def compiling() -> Iterator[None]:
    """Where torch.compile may find that it cannot: without a compiler, or with a broken one."""
    try:
        yield
    except BackendCompilerFailed as error:
        told = " ".join(str(error).split())[:200]
        raise CurateError(
            f"train.compiled: torch could not compile the model here ({told}...); write never"
        ) from error
