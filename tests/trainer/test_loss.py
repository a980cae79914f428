"""Cross-entropy in chunks is the plain one, in value and in gradient."""

import pytest

from trainer.loss import chunk_of, loss_sum, token_losses
from trainer.model import functional, torch

VOCABULARY = 50  # of 64 rows
GENERATOR = torch.Generator().manual_seed(3)
STATES = torch.randn(37, 16, generator=GENERATOR)
HEAD = torch.randn(64, 16, generator=GENERATOR)
TARGETS = torch.randint(VOCABULARY, (37,), generator=GENERATOR)
TARGETS[[0, 5, 36]] = -100


def plain() -> list[torch.Tensor]:
    """The loss and its gradients, in float64."""
    states, head = (part.double().requires_grad_() for part in (STATES, HEAD))
    shares = (states @ head[:VOCABULARY].T).log_softmax(-1)
    total = -sum(shares[i, target] for i, target in enumerate(TARGETS) if target >= 0) / 34
    return [total.detach(), *torch.autograd.grad(total, (states, head))]


@pytest.mark.parametrize("chunk", [0, 1, 8, 36, 37, 100])
def test_value_and_gradients_are_the_plain_ones(chunk: int) -> None:
    states, head = (part.clone().requires_grad_() for part in (STATES, HEAD))
    total = loss_sum(states, head, TARGETS, VOCABULARY, chunk) / 34
    total.backward()
    for mine, expected in zip((total.detach(), states.grad, head.grad), plain(), strict=True):
        assert (mine - expected).norm() < 1e-6 * expected.norm()
    assert head.grad[VOCABULARY:].eq(0).all()  # of ids that do not exist
    with torch.no_grad():
        without = loss_sum(states, head, TARGETS, VOCABULARY, chunk) / 34
    assert without.item() == pytest.approx(total.item(), rel=1e-6)


@pytest.mark.parametrize("chunk", [1, 8])
def test_half_precision_is_off_by_no_more_than_the_plain_one(chunk: int) -> None:
    results = []
    for size in (chunk, 0):
        states, head = (part.clone().requires_grad_() for part in (STATES, HEAD))
        with torch.autocast("cpu", torch.bfloat16):
            total = loss_sum(states, head, TARGETS, VOCABULARY, size) / 34
        total.backward()
        assert total.dtype == states.grad.dtype == head.grad.dtype == torch.float32
        results.append((total.detach(), states.grad, head.grad))
    for mine, other, expected in zip(*results, plain(), strict=True):
        assert (mine - expected).norm() < 1.1 * (other - expected).norm() + 1e-3 * expected.norm()
        assert (mine - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("chunk", [0, 1, 8])
def test_each_token_has_its_own_nats(chunk: int) -> None:
    losses = token_losses(STATES, HEAD, TARGETS, VOCABULARY, chunk)
    shares = (STATES @ HEAD[:VOCABULARY].T).log_softmax(-1)
    for i, target in enumerate(TARGETS.tolist()):
        expected = 0.0 if target < 0 else -shares[i, target].item()
        assert losses[i].item() == pytest.approx(expected, rel=1e-5)


def test_nothing_but_ignored_targets_is_no_loss() -> None:
    states = STATES.clone().requires_grad_()
    nothing = torch.full((37,), -100)
    for chunk in (0, 8):
        loss_sum(states, HEAD, nothing, VOCABULARY, chunk).backward()
    assert states.grad.eq(0).all()


def test_a_chunk_holds_a_gibibyte_of_logits_at_most() -> None:
    assert chunk_of(65_536, 1024) == 65_536  # whole where it fits
    assert chunk_of(65_536, 50_304) == 5248
    assert chunk_of(65_536, 250_880) == 1024
    assert 1024 * 250_880 * 4 < 2**30
    assert chunk_of(100, 2**30) == 1
    assert chunk_of(100, 50_304, 7) == 7
    assert chunk_of(5, 50_304, 7) == 5


def test_blooms_vocabulary_is_taken_in_chunks() -> None:
    states = torch.randn(20, 2, generator=GENERATOR)
    head = torch.randn(250_880, 2, generator=GENERATOR, requires_grad=True)
    targets = torch.arange(250_660, 250_680)
    total = loss_sum(states, head, targets, 250_680, 8)
    total.backward()
    logits = states @ head.detach()[:250_680].T
    expected = functional.cross_entropy(logits, targets, reduction="sum")
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert head.grad[250_680:].eq(0).all()
    errors = logits.softmax(-1)[:, -20:] - torch.eye(20)
    assert torch.allclose(head.grad[250_660:250_680], errors.T @ states, atol=1e-5)
