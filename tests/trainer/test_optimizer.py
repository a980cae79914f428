"""Schedules against closed forms, steps against the papers' formulas, and which weights decay."""

import math

import numpy as np
import pytest

from trainer.model import LanguageModel, torch
from trainer.optimizer import Lion, Muon, learning_rate, optimizers_of, orthogonal
from trainer.settings import TrainSettings
from trainer.shape import Shape


def rates(**settings: object) -> list[float]:
    made = TrainSettings(learning_rate=1.0, **settings)
    return [learning_rate(step, made) for step in range(made.steps + 1)]


def test_the_rate_rises_on_a_line_and_falls_on_a_cosine_to_a_tenth() -> None:
    found = rates(warmup=4, steps=12)
    assert found[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    # cos(pi / 4) = 0.70711 a quarter of the way down, 0 half way, -1 at the end.
    assert found[6] == pytest.approx(0.1 + 0.9 * (1 + 0.5**0.5) / 2)
    assert found[8] == pytest.approx(0.55)
    assert found[12] == pytest.approx(0.1)


def test_a_cosine_falls_to_the_final_share() -> None:
    assert rates(warmup=0, steps=4, final_share=0.0) == pytest.approx(
        [1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0.0]
    )


def test_without_a_warm_up_the_first_rate_is_the_highest() -> None:
    assert rates(warmup=0, steps=2)[:2] == [1.0, pytest.approx(0.55)]


def test_a_warm_up_as_long_as_the_training_is_a_line() -> None:
    assert rates(warmup=2, steps=2)[:2] == [0.5, 1.0]


def test_wsd_is_a_line_up_then_constant_then_a_line_down_over_the_last_share() -> None:
    found = rates(schedule="wsd", warmup=2, steps=10, decay_share=0.4, final_share=0.2)
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_wsd_without_decay_stays_up() -> None:
    assert rates(schedule="wsd", warmup=0, steps=3, decay_share=0.0) == [1.0] * 4


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "lion"])
@pytest.mark.parametrize("tied", [True, False])
def test_matrices_decay_and_embeddings_and_norms_do_not(tied: bool, optimizer: str) -> None:
    settings = TrainSettings(layers=1, width=16, heads=2, tied=tied, optimizer=optimizer)
    model = LanguageModel(Shape.of(settings, 30))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [
        (type(each).__name__, group["weight_decay"], {names[id(one)] for one in group["params"]})
        for each in optimizers_of(model, settings)
        for group in each.param_groups
    ]
    layer = "model.layers.0"
    matrices = {f"{layer}.self_attn.{name}.weight" for name in ATTENTION}
    matrices |= {f"{layer}.mlp.{name}_proj.weight" for name in ("gate", "up", "down")}
    head = set() if tied else {"lm_head.weight"}
    others = {
        "model.embed_tokens.weight",
        f"{layer}.input_layernorm.weight",
        f"{layer}.post_attention_layernorm.weight",
        "model.norm.weight",
    }
    if optimizer == "muon":
        heads = [("AdamW", 0.1, head)] if head else []
        assert groups == [("Muon", 0.1, matrices), *heads, ("AdamW", 0.0, others)]
    else:
        name = {"adamw": "AdamW", "lion": "Lion"}[optimizer]
        assert groups == [(name, 0.1, matrices | head), (name, 0.0, others)]


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "baichuan"])
def test_in_every_family_each_weight_is_in_one_group_and_muon_gets_matrices_of_layers(
    family: str,
) -> None:
    settings = TrainSettings(family=family, layers=1, width=16, heads=2, optimizer="muon")
    model = LanguageModel(Shape.of(settings, 30))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    muon, adamw = (
        [names[id(one)] for group in each.param_groups for one in group["params"]]
        for each in optimizers_of(model, settings)
    )
    assert sorted(muon + adamw) == sorted(names.values())
    shapes = {name: parameter.dim() for name, parameter in model.named_parameters()}
    assert set(muon) == {name for name in names.values() if ".layers." in name and shapes[name] > 1}


def weight_and_gradients(steps: int) -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(0)
    return random.normal(size=(4, 3)), [random.normal(size=(4, 3)) for _ in range(steps)]


def test_lion_takes_the_steps_of_its_paper() -> None:
    """Algorithm 2 of Chen et al. 2023, in float64."""
    weight, gradients = weight_and_gradients(5)
    parameter = torch.nn.Parameter(torch.tensor(weight))
    lion = Lion([{"params": [parameter], "weight_decay": 0.3}], 0.01, (0.9, 0.99))
    momentum = np.zeros_like(weight)
    for gradient in gradients:
        update = np.sign(0.9 * momentum + 0.1 * gradient)
        weight = weight - 0.01 * (update + 0.3 * weight)
        momentum = 0.99 * momentum + 0.01 * gradient
        parameter.grad = torch.tensor(gradient)
        lion.step()
        np.testing.assert_allclose(parameter.detach().numpy(), weight, rtol=1e-12)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_takes_the_steps_of_torch_s() -> None:
    """Which multiplies in bfloat16: each step differs by up to a hundredth of its length."""
    torch.manual_seed(0)
    shapes = [(24, 16), (24, 16), (16, 40)]
    ours = [torch.nn.Parameter(torch.randn(*shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(one.detach().clone()) for one in ours]
    muon = Muon(ours, 0.01, 0.1)
    other = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    start = [one.detach().clone() for one in ours]
    for _ in range(3):
        for one, two in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            two.grad = one.grad.clone()
        muon.step()
        other.step()
    for one, two, before in zip(ours, theirs, start, strict=True):
        assert (one - two).norm() < 0.02 * (two - before).norm()


def test_orthogonal_brings_every_singular_value_near_1_and_keeps_the_directions() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(2, 12, 30, dtype=torch.float64)
    for found, matrix in zip(orthogonal(matrices), matrices, strict=True):
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        values = left.T @ found @ right.T
        assert (values - torch.diag(values.diag())).abs().max() < 1e-9
        assert values.diag().min() > 0.6 and values.diag().max() < 1.3


def test_a_step_of_muon_is_as_long_as_one_of_adamw_and_serves_tall_and_wide_alike() -> None:
    torch.manual_seed(0)
    for shape in ((64, 256), (256, 64), (128, 128)):
        parameter = torch.nn.Parameter(torch.zeros(*shape))
        parameter.grad = torch.randn(*shape)
        Muon([parameter], 1.0, 0.0).step()
        spread = float(parameter.detach().square().mean().sqrt())
        assert spread == pytest.approx(0.2, rel=0.2)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "lion"])
def test_a_bad_step_changes_neither_weight_nor_state(optimizer: str) -> None:
    settings = TrainSettings(layers=1, width=16, heads=2, tied=False, optimizer=optimizer)
    model = LanguageModel(Shape.of(settings, 30))
    model.initialize(0)
    optimizers = optimizers_of(model, settings)

    def step(gradient: float, bad: float) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        for each in optimizers:
            each.found_inf = torch.tensor(bad)
            each.step()

    def held() -> list[torch.Tensor]:
        states = [state for each in optimizers for state in each.state.values()]
        tensors = [tensor for state in states for tensor in state.values()]
        return [tensor.clone() for tensor in (*model.parameters(), *tensors)]

    step(0.5, 0.0)
    before = held()
    step(math.nan, 1.0)
    assert all(map(torch.equal, held(), before))
    step(0.5, 0.0)
    assert not any(map(torch.equal, held()[:1], before[:1]))
