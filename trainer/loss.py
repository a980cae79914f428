"""Cross-entropy over a vocabulary whose logits never have to be in memory all at once."""

from typing import Any

import torch
from torch.nn import functional

from trainer.data import IGNORED

Tensor = torch.Tensor

_MOST_LOGITS = 1 << 28  # 1 GiB of float32: a step of 65,536 tokens over 50,304 ids has 13.2 GB


def chunk_of(tokens: int, rows: int, wanted: int = 0) -> int:
    """Tokens whose logits over `rows` ids are in memory at once; 0 wanted: as 1 GiB allows.

    All of them where they fit, since the compiler then makes one kernel of the softmax.
    """
    fitting = max(1, _MOST_LOGITS // rows)
    return min(tokens, wanted or (fitting if tokens <= fitting else max(1, fitting // 128 * 128)))


def loss_sum(
    states: Tensor, head: Tensor, targets: Tensor, vocab_size: int, chunk: int = 0
) -> Tensor:
    """The cross-entropy in nats of all targets that are not ignored, summed.

    `states` is [tokens, width], `head` [ids, width]; ids from `vocab_size` on do not exist.
    """
    size = chunk_of(len(targets), len(head), chunk)
    if size < len(targets) and not torch.is_grad_enabled():
        return token_losses(states, head, targets, vocab_size, chunk).sum()
    if size < len(targets):
        summed: Tensor = _Chunked.apply(  # type: ignore[no-untyped-call]  # torch has no type
            states, head, targets, vocab_size, size
        )
        return summed
    logits = functional.linear(states, head)[:, :vocab_size]
    return functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


@torch.no_grad()
def token_losses(
    states: Tensor, head: Tensor, targets: Tensor, vocab_size: int, chunk: int = 0
) -> Tensor:
    """The nats of each target, 0 where it is ignored; without gradient."""
    size = chunk_of(len(targets), len(head), chunk)
    losses = [
        functional.cross_entropy(
            functional.linear(states[start : start + size], head)[:, :vocab_size].float(),
            targets[start : start + size],
            ignore_index=IGNORED,
            reduction="none",
        )
        for start in range(0, len(targets), size)
    ]
    return torch.cat(losses)


class _Chunked(torch.autograd.Function):
    """The sum, chunk by chunk; a chunk's gradients are made while its logits are at hand.

    To make them again on the way back would be a fourth product by the head: 10 % of the operations
    of a step of GPT-2 124M.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, head: Tensor, targets: Tensor, *sizes: int) -> Tensor:
        """The loss, and the gradients laid by for the way back."""
        vocab_size, size = sizes
        kind = states.device.type
        precision = head.dtype
        if torch.is_autocast_enabled(kind):
            precision = torch.get_autocast_dtype(kind)
        inputs, weight = states.to(precision), head.to(precision)
        ids = torch.arange(len(head), device=head.device)
        total = torch.zeros((), device=states.device)
        for_states = torch.empty_like(inputs)
        for_head = torch.zeros_like(head)
        for start in range(0, len(targets), size):
            part, wanted = inputs[start : start + size], targets[start : start + size, None]
            logits = functional.linear(part, weight).float()
            logits = logits.masked_fill(ids >= vocab_size, -torch.inf)
            shares = logits.log_softmax(-1)
            counts = wanted != IGNORED
            total = total - (shares.gather(1, wanted.clamp(0)) * counts).sum()
            errors = ((shares.exp() - (ids == wanted).float()) * counts).to(precision)
            for_states[start : start + size] = errors @ weight
            for_head += errors.T @ part
        ctx.save_for_backward(for_states.to(states.dtype), for_head)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, times that of the sum."""
        for_states, for_head = ctx.saved_tensors
        scale = gradient.to(for_states.dtype)
        return for_states * scale, for_head * gradient.to(for_head.dtype), None, None, None
