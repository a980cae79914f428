"""Which steps change no weight: those whose loss or gradient is no number or far above the rest.

It is decided on the device, by tensors, so that the host need not wait for it.
"""

import math

from trainer.model import Tensor, torch

REMEMBERED = 100  # gradient norms of good steps


class Spikes:
    """The gradient norms of the last good steps, and what they say of the next."""

    def __init__(self, times: float, device: torch.device) -> None:
        self._times = times
        self.norms = torch.full((REMEMBERED,), math.nan, device=device)  # the newest is the last

    def judge(self, loss: Tensor, norm: Tensor) -> Tensor:
        """1.0 where the step is bad, else 0.0 and its norm is remembered."""
        bad = ~(loss.isfinite() & norm.isfinite())
        if self._times:
            # Without a norm to compare with, the median is no number, and nothing is above it.
            bad |= norm > self._times * self.norms.nanquantile(0.5)
        later = torch.cat((self.norms[1:], norm.reshape(1).to(self.norms)))
        self.norms.copy_(torch.where(bad, self.norms, later))
        return bad.to(torch.float32)


def reason(loss: float, norm: float) -> str:
    """What was bad about a step that was found to be."""
    if not math.isfinite(loss):
        return "the loss is no number"
    if not math.isfinite(norm):
        return "the gradient is no number"
    return "the gradient is a spike"
