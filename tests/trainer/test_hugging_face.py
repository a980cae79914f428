"""Our models against `transformers`: logits, losses, gradients, files there and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import transformers
from safetensors.torch import load_file, save_file

from curate.errors import ModelError
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary
from trainer.hugging_face import (
    config_of,
    export,
    read_model,
    shape_of,
    state_of,
    weights_of,
    write_model,
)
from trainer.model import LanguageModel, functional, torch
from trainer.settings import TrainSettings
from trainer.shape import Shape
from trainer.train import train

FAMILIES = [
    {},
    {"kv_heads": 2, "tied": False},
    {"kv_heads": 1, "hidden": 40},
    {"family": "gpt2"},
    {"family": "gpt2", "hidden": 40},
    {"family": "bloom"},
    {"family": "bloom", "heads": 2},
]
BAICHUAN = [
    {"family": "baichuan", "tied": False},
    {"family": "baichuan", "positions": "alibi", "heads": 6, "width": 48, "tied": False},
]
TOKENS = torch.randint(61, (2, 20), generator=torch.Generator().manual_seed(4))


def model_of(**settings: object) -> LanguageModel:
    """A small model with weights large enough for every part to matter."""
    small = {"layers": 2, "width": 32, "heads": 4, "context": 24}
    model = LanguageModel(Shape.of(TrainSettings(**(small | settings)), 61))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scales = "norm" in name and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if scales else 0.2 * noise)
        model.model.embed_tokens.weight[61:] = 0
        if not model.shape.tied:
            model.lm_head.weight[61:] = 0
    return model


def theirs(folder: Path) -> torch.nn.Module:
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values())  # nothing missing, unexpected or of another shape
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_logits_losses_and_gradients_are_those_of_transformers(
    family: dict[str, object], tmp_path: Path
) -> None:
    mine = model_of(**family)
    write_model(tmp_path, mine, 60)
    other = theirs(tmp_path)
    assert other.config.eos_token_id == other.generation_config.eos_token_id == 60
    logits = other(TOKENS).logits
    assert logits.shape == (2, 20, 61)
    assert logits.std() > 0.5  # of a size at which an error shows
    assert (mine(TOKENS) - logits).abs().max() < 1e-5 * max(1, logits.abs().max())
    loss = mine.loss_sum(TOKENS[:, :-1], TOKENS[:, 1:]) / 38
    expected = other(TOKENS, labels=TOKENS).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    gradients = {name: value.grad for name, value in mine.named_parameters()}
    gradients = weights_of(gradients, mine.shape)
    named = dict(other.named_parameters())
    assert gradients.keys() == named.keys()
    for name, gradient in gradients.items():
        expected = named[name].grad
        assert (gradient - expected).norm() < 1e-5 * expected.norm(), name


@pytest.mark.parametrize("largest", [10**9, 10_000], ids=["one", "several"])
@pytest.mark.parametrize("family", [*FAMILIES, *BAICHUAN], ids=str)
def test_what_was_written_is_read_again(
    family: dict[str, object], largest: int, tmp_path: Path
) -> None:
    mine = model_of(**family)
    write_model(tmp_path, mine, 60, largest)
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert (len(files) == 1) == (largest == 10**9)
    assert all(value.nbytes for file in files for value in load_file(tmp_path / file).values())
    again, config = read_model(tmp_path)
    assert again.shape == mine.shape
    assert config["eos_token_id"] == 60
    state, expected = again.state_dict(), mine.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_what_was_trained_is_a_model_of_transformers(
    family: str, small_shards: Path, tmp_path: Path
) -> None:
    settings = TrainSettings(
        family=family, steps=1, context=24, layers=1, width=16, heads=2, batch=2, device="cpu"
    )
    train(small_shards, tmp_path, settings, lambda report: None)
    tokens = TOKENS % 50
    with torch.no_grad():
        mine, config = read_model(tmp_path)
        assert (theirs(tmp_path)(tokens).logits - mine(tokens)).abs().max() < 1e-5
    assert mine.shape == Shape.of(settings, 50)
    assert config["eos_token_id"] == 0


def test_several_files_are_one_model_of_transformers(tmp_path: Path) -> None:
    mine = model_of(family="gpt2")
    write_model(tmp_path, mine, 60, 10_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert sorted(set(index["weight_map"].values())) == files
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    rows = mine.model.embed_tokens.weight[:61].numel()
    weights = sum(value.numel() for value in mine.parameters())
    size = 4 * (weights - mine.model.embed_tokens.weight.numel() + rows)
    assert index["metadata"]["total_size"] == size
    with torch.no_grad():
        assert (theirs(tmp_path)(TOKENS).logits - mine(TOKENS)).abs().max() < 1e-4


THEIRS = {
    "llama 1": transformers.LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=24, rms_norm_eps=1e-3,
    ),
    "llama 2": transformers.LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=24,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True,
    ),
    "gpt2": transformers.GPT2Config(
        vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=24, layer_norm_epsilon=1e-3,
        eos_token_id=60, bos_token_id=60,
    ),
    "bloom": transformers.BloomConfig(
        vocab_size=61, hidden_size=36, n_layer=2, n_head=6, layer_norm_epsilon=1e-3
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", THEIRS)
def test_a_model_of_transformers_is_read_with_all_its_settings(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = transformers.AutoModelForCausalLM.from_config(
        THEIRS[name], attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
        other.save_pretrained(tmp_path)
        mine, _ = read_model(tmp_path)
        expected = other(TOKENS).logits
        assert expected.std() > 0.1
        assert (mine(TOKENS) - expected).abs().max() < 1e-5 * max(1, expected.abs().max())
    epsilon = THEIRS[name].to_dict().get("rms_norm_eps", 1e-3)
    assert mine.shape.epsilon == epsilon
    assert mine.shape.rope_theta == (500.0 if name == "llama 2" else 10_000.0)


def test_files_as_gpt2_and_bloom_were_published_are_read(tmp_path: Path) -> None:
    for family in ("gpt2", "bloom"):
        mine = model_of(family=family)
        weights = {
            name.removeprefix("transformer."): value
            for name, value in weights_of(mine.state_dict(), mine.shape).items()
        }
        weights["lm_head.weight"] = mine.model.embed_tokens.weight[:61].detach().clone()
        if family == "gpt2":
            weights["h.0.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
        state, expected = state_of(weights, mine.shape), mine.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in state)
        with pytest.raises(ModelError, match="tie_word_embeddings: true, but there are two"):
            state_of(weights | {"lm_head.weight": weights["lm_head.weight"] + 1}, mine.shape)
    published = {
        "model_type": "bloom", "n_embed": 1024, "n_inner": None, "n_layer": 24,
        "num_attention_heads": 16, "seq_length": 2048, "vocab_size": 250880,
        "layer_norm_epsilon": 1e-5, "apply_residual_connection_post_layernorm": False,
    }  # fmt: skip
    settings = TrainSettings(preset="bloom-560m")
    assert shape_of(published) == Shape.of(settings, 250_880)


def test_gpt2s_50257_ids_are_padded_and_cut_again() -> None:
    shape = Shape.of(TrainSettings(preset="gpt2-124m", layers=1), 50_257)
    assert shape.padded_vocab_size == 50_304
    model = LanguageModel(shape)
    weights = weights_of(model.state_dict(), shape)
    assert weights["transformer.wte.weight"].shape == (50_257, 768)
    assert state_of(weights, shape)["model.embed_tokens.weight"].shape == (50_304, 768)
    assert state_of(weights, shape)["model.embed_tokens.weight"][50_257:].eq(0).all()


def test_baichuan_7b_is_a_llama_with_three_projections_in_one(tmp_path: Path) -> None:
    mine = model_of(**BAICHUAN[0])
    write_model(tmp_path, mine, 60)
    weights = load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "baichuan"
    assert config["max_position_embeddings"] == 24
    assert config["rms_norm_eps"] == 1e-6
    for layer in range(2):
        name = f"model.layers.{layer}.self_attn."
        packed = weights.pop(name + "W_pack.weight")
        for part, rows in zip("qkv", packed.split(32), strict=True):
            weights[f"{name}{part}_proj.weight"] = rows.contiguous()
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    other = theirs(tmp_path)
    with torch.no_grad():
        expected = other(TOKENS).logits
        assert (mine(TOKENS) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_baichuan_13b_is_the_formula_of_its_own_code(tmp_path: Path) -> None:
    mine = model_of(**BAICHUAN[1])
    write_model(tmp_path, mine, 60)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_max_length"] == 24
    assert "max_position_embeddings" not in config
    weights = {
        name: value.double() for name, value in load_file(tmp_path / "model.safetensors").items()
    }
    with torch.no_grad():
        logits = mine(TOKENS[:1])[0]
    expected = baichuan_13b(TOKENS[0], weights)
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()


def baichuan_13b(tokens: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits in float64 from weights as published: keys' places add to scores, by head."""

    def norm(states: torch.Tensor, name: str) -> torch.Tensor:
        return states / (states.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weights[name]

    slopes = [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]
    hidden = torch.full((20, 20), -torch.inf, dtype=torch.float64).triu(1)
    states = weights["model.embed_tokens.weight"][tokens]
    for layer in range(2):
        name = f"model.layers.{layer}."
        normed = norm(states, name + "input_layernorm.weight")
        packed = (normed @ weights[name + "self_attn.W_pack.weight"].T).view(20, 3, 6, 8)
        mixed = []
        for head in range(6):
            query, key, value = packed[:, :, head].unbind(1)
            scores = query @ key.T / 8**0.5 + slopes[head] * torch.arange(20) + hidden
            mixed.append(scores.softmax(-1) @ value)
        states = states + torch.cat(mixed, -1) @ weights[name + "self_attn.o_proj.weight"].T
        normed = norm(states, name + "post_attention_layernorm.weight")
        gate = functional.silu(normed @ weights[name + "mlp.gate_proj.weight"].T)
        raised = gate * (normed @ weights[name + "mlp.up_proj.weight"].T)
        states = states + raised @ weights[name + "mlp.down_proj.weight"].T
    return norm(states, "model.norm.weight") @ weights["lm_head.weight"].T


@pytest.mark.parametrize(
    ("family", "change", "told"),
    [
        ("llama", {"model_type": "qwen2"}, "model_type: 'qwen2'; only llama, gpt2, bloom or baich"),
        ("llama", {"rope_scaling": {"factor": 8}}, "rope_scaling: {'factor': 8}; our llama does N"),
        ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type: 'yarn'; only 'default'"),
        ("llama", {"attention_bias": True}, "attention_bias: True; our llama does False only"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act: 'gelu'; our llama does 'silu' only"),
        ("llama", {"head_dim": 128}, "head_dim: 128; only a width shared out among heads is done"),
        ("llama", {"hidden_size": None}, "hidden_size: missing"),
        ("llama", {"intermediate_size": None}, "intermediate_size: missing"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5; our llama does N"),
        ("gpt2", {"activation_function": "relu"}, "activation_function: 'relu'; our gpt2 does"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: Tru"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection"),
        ("baichuan", {"z_loss_weight": 0}, "z_loss_weight: 0; our baichuan does None only"),
    ],
    ids=str,
)
def test_what_our_model_cannot_do_is_refused_by_name(
    family: str, change: dict[str, object], told: str
) -> None:
    config = config_of(Shape.of(TrainSettings(family=family), 61), 0)
    assert shape_of(config).family == family
    with pytest.raises(ModelError, match=told):
        shape_of(config | change)


@pytest.mark.parametrize("family", [*FAMILIES, *BAICHUAN], ids=str)
def test_a_shape_survives_its_config(family: dict[str, object]) -> None:
    shape = Shape.of(TrainSettings(**({"width": 48, "heads": 4} | family)), 4096)
    assert shape_of(json.loads(json.dumps(config_of(shape, 0)))) == shape


def test_only_safetensors_are_opened(tmp_path: Path) -> None:
    write_model(tmp_path, model_of(), 60)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model.bin: a pickle, which is never opened"):
        read_model(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: missing"):
        read_model(tmp_path)


def test_files_that_are_not_a_whole_model_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, model_of(family="gpt2"), 60, 10_000)
    index = tmp_path / "model.safetensors.index.json"
    said = json.loads(index.read_text())
    outside = {"weight_map": {"transformer.wte.weight": "../elsewhere.safetensors"}}
    index.write_text(json.dumps(outside))
    with pytest.raises(ModelError, match=r"elsewhere\.safetensors'; a file must be beside it"):
        read_model(tmp_path)
    index.write_text(json.dumps(said))
    (tmp_path / sorted(said["weight_map"].values())[0]).unlink()
    with pytest.raises(ModelError, match=r"model-00001-of-.*missing"):
        read_model(tmp_path)
    index.unlink()
    weights = {"transformer.wte.weight": torch.zeros(61, 32)}
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="Missing key"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "[]"),
        ("config.json", '{"model_type": []}'),
        ("config.json", '{"model_type": "llama", "rope_parameters": 3}'),
        ("config.json", "no heads"),
        ("model.safetensors.index.json", "[]"),
        ("model.safetensors.index.json", '{"weight_map": {"a": 3}}'),
    ],
)
def test_json_that_is_no_model_is_refused(tmp_path: Path, name: str, text: str) -> None:
    write_model(tmp_path, model_of(), 60)
    if text == "no heads":
        config = json.loads((tmp_path / name).read_text())
        text = json.dumps(config | {"num_attention_heads": 0})
    (tmp_path / name).write_text(text)
    with pytest.raises(ModelError):
        read_model(tmp_path)


def test_a_model_goes_with_its_tokenizer(tmp_path: Path) -> None:
    folder, output = tmp_path / "model", tmp_path / "exported"
    mine = model_of(family="gpt2")
    write_model(folder, mine, 60)
    with pytest.raises(ModelError, match="no tokenizer; copy the files"):
        export(folder, output)
    vocabulary = Vocabulary(
        tuple(BYTES), np.empty((0, 3), np.int32), "gpt2", {"<|endoftext|>": 256}
    )
    vocabulary.save(folder)
    export(folder, output)
    tokenizer = transformers.AutoTokenizer.from_pretrained(output)
    assert tokenizer.decode(tokenizer("A bird sings.")["input_ids"]) == "A bird sings."
    with torch.no_grad():
        assert (theirs(output)(TOKENS).logits - mine(TOKENS)).abs().max() < 1e-4
