"""Between host and device without waiting: rows are read ahead, and figures are read late."""

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.data import IGNORED, Window
from trainer.model import Tensor, torch

AHEAD = 2  # steps


class Batch(NamedTuple):
    """One step's rows on the device."""

    tokens: Tensor
    targets: Tensor
    documents: Tensor | None
    trained: Tensor  # how many targets are

    def part(self, first: int, size: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Some of the rows, as the model takes them."""
        rows = slice(first, first + size)
        documents = None if self.documents is None else self.documents[rows]
        return self.tokens[rows], self.targets[rows], documents


def batches(
    rows: Callable[[int], Window], steps: range, device: torch.device
) -> Generator[tuple[Batch, float], None, None]:
    """The batch of each step, and the seconds that it was waited for; a thread reads ahead."""
    with ThreadPoolExecutor(1, "rows") as thread:

        def ready(step: int) -> Batch:
            return on_host(rows(step), device)

        ahead = deque(thread.submit(ready, step) for step in steps[:AHEAD])
        for step in steps:
            began = time.perf_counter()
            batch = ahead.popleft().result()
            waited = time.perf_counter() - began
            if step + AHEAD in steps:
                ahead.append(thread.submit(ready, step + AHEAD))
            yield on_device(batch, device), waited


def on_host(window: Window, device: torch.device) -> Batch:
    """Rows as tensors, in memory from which a GPU copies by itself."""
    tokens, targets = _tensor(window.tokens, device), _tensor(window.targets, device)
    documents = None if window.documents is None else _tensor(window.documents, device)
    trained = _tensor((window.targets != IGNORED).sum(dtype=np.int64), device)
    return Batch(tokens, targets, documents, trained)


def _tensor(part: NDArray[Any] | np.generic, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.array(part))  # a copy that is contiguous and may be written
    return tensor.pin_memory() if device.type == "cuda" else tensor


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch there, ids widened; a GPU is not waited for."""
    tokens, targets, documents, trained = batch
    if documents is not None:
        documents = documents.to(device, non_blocking=True)
    tokens, targets = (ids.to(device, non_blocking=True).long() for ids in (tokens, targets))
    return Batch(tokens, targets, documents, trained.to(device, non_blocking=True))


class Late:
    """Figures of a device, on their way to the host; it waits only when it reads them."""

    def __init__(self, values: Tensor) -> None:
        self._event = torch.cuda.Event() if values.is_cuda else None  # type: ignore[no-untyped-call]  # torch
        self._values = values
        if self._event is not None:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values = host.copy_(values, non_blocking=True)
            self._event.record()

    def read(self) -> list[float]:
        """The figures; waits until the device has come to them."""
        if self._event is not None:
            self._event.synchronize()
        figures: list[float] = self._values.tolist()
        return figures
