"""Adapters: they begin as nothing, are all that is trained, and end as part of the weights."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from curate.errors import RecipeError
from trainer.lora import Lora, adapt, merge, write_adapters
from trainer.model import LanguageModel, torch
from trainer.settings import TrainSettings
from trainer.shape import Shape

TOKENS = torch.randint(61, (2, 12), generator=torch.Generator().manual_seed(4))
FAMILIES = ["llama", "gpt2", "bloom", "baichuan"]


def model_of(family: str = "llama") -> LanguageModel:
    settings = TrainSettings(family=family, layers=2, width=32, heads=4, context=12)
    model = LanguageModel(Shape.of(settings, 61))
    model.initialize(1)
    return model


def trained(model: LanguageModel) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def stirred(model: LanguageModel) -> None:
    """Adapters as a training might leave them."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(0, 0.3, generator=generator)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_an_adapted_model_is_at_first_the_model(family: str) -> None:
    model = model_of(family)
    before = model(TOKENS)
    adapt(model, Lora(), seed=0)
    assert torch.equal(model(TOKENS), before)
    stirred(model)
    assert (model(TOKENS) - before).abs().max() > 0.01


def test_adapters_alone_are_trained() -> None:
    model = model_of()
    frozen = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapt(model, Lora(rank=3), seed=0)
    names = [
        f"model.layers.{layer}.self_attn.{one}_proj.lora_{part}.weight"
        for layer in (0, 1)
        for one in "qv"
        for part in "AB"
    ]
    assert trained(model) == names
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        model.loss_sum(TOKENS, TOKENS.roll(-1, 1)).backward()
        optimizer.step()
    state = model.state_dict()
    assert all(state[name].any() for name in names)
    merged = {n.replace(".base_layer", ""): t for n, t in state.items() if ".lora_" not in n}
    assert all(torch.equal(merged[name], tensor) for name, tensor in frozen.items())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", ["q,v", "o,k,v,q"])
@torch.no_grad()
def test_a_merged_model_does_what_the_adapted_one_did(family: str, targets: str) -> None:
    model, plain = model_of(family), model_of(family)
    adapt(model, Lora(rank=4, alpha=2.0, targets=targets), seed=0)
    stirred(model)
    adapted = model(TOKENS)
    merge(model)
    assert (model(TOKENS) - adapted).abs().max() < 1e-5 * adapted.abs().max()
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert trained(model) == trained(plain)
    changed = {
        name
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, plain.state_dict()[name])
    }
    assert changed == {
        f"model.layers.{layer}.self_attn.{one}_proj.weight"
        for layer in (0, 1)
        for one in targets.split(",")
    }


def test_what_is_added_is_a_product_of_rank_times_alpha() -> None:
    model, plain = model_of(), model_of()
    adapt(model, Lora(rank=2, alpha=6.0, targets="k"), seed=0)
    stirred(model)
    thin, wide = (
        model.state_dict()[f"model.layers.1.self_attn.k_proj.lora_{p}.weight"].clone() for p in "AB"
    )
    assert (thin.shape, wide.shape) == ((2, 32), (32, 2))
    merge(model)
    name = "model.layers.1.self_attn.k_proj.weight"
    added = model.state_dict()[name] - plain.state_dict()[name]
    assert torch.allclose(added, 3.0 * wide @ thin, atol=1e-6)
    assert torch.linalg.matrix_rank(added, rtol=1e-4) == 2


def test_adapters_are_drawn_from_the_seed_alone() -> None:
    states = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(noise)
        model = model_of()
        adapt(model, Lora(), seed)
        states.append(model.state_dict()["model.layers.1.self_attn.v_proj.lora_A.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert states[0].abs().max() <= 1 / 32**0.5


def test_files_are_named_as_peft_names_them(tmp_path: Path) -> None:
    model = model_of()
    adapt(model, Lora(rank=3, targets="v,q"), seed=0)
    stirred(model)
    write_adapters(tmp_path / "adapter", model, Lora(rank=3, targets="v,q"), "some/base")
    said = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    expected = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 3,
        "lora_alpha": 16.0,
        "target_modules": ["q_proj", "v_proj"],
        "base_model_name_or_path": "some/base",
    }
    assert expected.items() <= said.items()
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(weights) == 8
    state = model.state_dict()
    for name, tensor in weights.items():
        assert torch.equal(tensor, state[name.removeprefix("base_model.model.")])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rank": 0}, "rank: 0; it must be at least 1"),
        ({"alpha": 0.0}, "alpha: 0.0; it must be above 0"),
        ({"targets": "q,x"}, "targets: 'q,x'; write some of q,k,v,o"),
        ({"targets": ""}, "targets: ''"),
    ],
    ids=["rank", "alpha", "unknown", "none"],
)
def test_adapters_that_cannot_be(settings: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        Lora(**settings)
