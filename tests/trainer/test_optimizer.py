"""The schedule against its closed form, and which weights decay."""

import pytest

from trainer.model import LanguageModel
from trainer.optimizer import adamw, learning_rate
from trainer.settings import TrainSettings
from trainer.shape import Shape


def test_the_rate_rises_on_a_line_and_falls_on_a_cosine_to_a_tenth() -> None:
    settings = TrainSettings(learning_rate=1.0, warmup=4, steps=12)
    rates = [learning_rate(step, settings) for step in range(13)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    # cos(pi / 4) = 0.70711 a quarter of the way down, 0 half way, -1 at the end.
    assert rates[6] == pytest.approx(0.1 + 0.9 * (1 + 0.5**0.5) / 2)
    assert rates[8] == pytest.approx(0.55)
    assert rates[12] == pytest.approx(0.1)


def test_without_a_warm_up_the_first_rate_is_the_highest() -> None:
    settings = TrainSettings(learning_rate=1.0, warmup=0, steps=2)
    assert [learning_rate(step, settings) for step in range(2)] == [1.0, pytest.approx(0.55)]


def test_a_warm_up_as_long_as_the_training_is_a_line() -> None:
    settings = TrainSettings(learning_rate=1.0, warmup=2, steps=2)
    assert [learning_rate(step, settings) for step in range(2)] == [0.5, 1.0]


@pytest.mark.parametrize("tied", [True, False])
def test_matrices_decay_and_embeddings_and_norms_do_not(tied: bool) -> None:
    settings = TrainSettings(layers=1, width=16, heads=2, tied=tied)
    model = LanguageModel(Shape.of(settings, 30))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {
        group["weight_decay"]: {names[id(parameter)] for parameter in group["params"]}
        for group in adamw(model, settings).param_groups
    }
    layer = "model.layers.0"
    assert groups == {
        0.1: {
            f"{layer}.self_attn.q_proj.weight",
            f"{layer}.self_attn.k_proj.weight",
            f"{layer}.self_attn.v_proj.weight",
            f"{layer}.self_attn.o_proj.weight",
            f"{layer}.mlp.gate_proj.weight",
            f"{layer}.mlp.up_proj.weight",
            f"{layer}.mlp.down_proj.weight",
        }
        | (set() if tied else {"lm_head.weight"}),
        0.0: {
            "model.embed_tokens.weight",
            f"{layer}.input_layernorm.weight",
            f"{layer}.post_attention_layernorm.weight",
            "model.norm.weight",
        },
    }
