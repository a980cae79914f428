"""What only a GPU shows; collected where there is one."""

import pytest

from trainer.attention import attend, sight
from trainer.model import LanguageModel, torch
from trainer.sample import Sampling, continuations
from trainer.settings import FAMILIES, TrainSettings
from trainer.shape import Shape

DOCUMENTS = torch.tensor([[0] * 7 + [1] + [2] * 22 + [3] * 10, [0] * 40], dtype=torch.int32)


@pytest.mark.parametrize("backend", ["varlen", "flex", "sdpa", "math"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_on_a_gpu_values_and_gradients_are_the_formulas(backend: str, kv_heads: int) -> None:
    generator = torch.Generator().manual_seed(5)
    parts = [
        torch.randn(2, heads, 40, 64, generator=generator).cuda().bfloat16().requires_grad_()
        for heads in (4, kv_heads, kv_heads)
    ]
    exact = [part.detach().double().requires_grad_() for part in parts]
    tokens, documents = torch.zeros(2, 40, dtype=torch.int64).cuda(), DOCUMENTS.cuda()
    mixed = attend(*parts, sight(backend, tokens, documents, None))
    expected = attend(*exact, sight("math", tokens, documents, None))
    assert (mixed - expected).abs().max() < 2e-2
    mixed.square().sum().backward()
    expected.square().sum().backward()
    for mine, other in zip(parts, exact, strict=True):
        assert (mine.grad - other.grad).norm() < 2e-2 * other.grad.norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gpu_draws_what_a_cpu_does(family: str) -> None:
    small = TrainSettings(family=family, layers=2, width=32, heads=2, context=32)
    model = LanguageModel(Shape.of(small, 61))
    model.initialize(3)
    how = Sampling(tokens=20, temperature=2.0, count=3)
    on_cpu = continuations(model, [1, 2], [], how)
    assert continuations(model.to("cuda"), [1, 2], [], how) == on_cpu
