"""The model against plain float64 NumPy, document masks, and its place among Llama's names."""

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.errors import CurateError
from trainer.model import Cache, LanguageModel, torch
from trainer.settings import TrainSettings
from trainer.shape import Shape

Weights = dict[str, NDArray[np.float64]]


FAMILIES = [
    {"kv_heads": 2},
    {"family": "gpt2"},
    {"family": "bloom"},
    {"family": "baichuan", "positions": "rope", "tied": False},
    {"family": "baichuan", "positions": "alibi"},
]


def model_of(attention: str = "auto", recompute: bool = False, **settings: object) -> LanguageModel:
    """A small model with weights large enough for attention to matter."""
    small = {"layers": 2, "width": 32, "heads": 4, "context": 24}
    shape = Shape.of(TrainSettings(**(small | settings)), 61)
    model = LanguageModel(shape, attention, recompute=recompute, loss_chunk=16)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if "norm" in name else 0.3 * noise)
    return model


def plain_logits(tokens: list[int], weights: Weights, shape: Shape) -> NDArray[np.float64]:
    """Llama's forward pass for one row, a position and a head at a time."""
    states = weights["model.embed_tokens.weight"][tokens]
    for number in range(shape.layers):
        own = {
            name.removeprefix(f"model.layers.{number}."): value for name, value in weights.items()
        }
        normed = plain_norm(states, own["input_layernorm.weight"])
        states = states + plain_attention(normed, own, shape)
        normed = plain_norm(states, own["post_attention_layernorm.weight"])
        gate = normed @ own["mlp.gate_proj.weight"].T
        gated = gate / (1 + np.exp(-gate)) * (normed @ own["mlp.up_proj.weight"].T)
        states = states + gated @ own["mlp.down_proj.weight"].T
    head = weights["model.embed_tokens.weight" if shape.tied else "lm_head.weight"]
    return plain_norm(states, weights["model.norm.weight"]) @ head.T


def plain_norm(states: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return states / np.sqrt((states**2).mean(axis=-1, keepdims=True) + 1e-5) * weight


def plain_attention(states: NDArray[np.float64], own: Weights, shape: Shape) -> NDArray[np.float64]:
    size = shape.width // shape.heads
    mixed = np.zeros((len(states), shape.heads * size))
    for head in range(shape.heads):
        shared = head // (shape.heads // shape.kv_heads)
        rows, shared_rows = (slice(i * size, (i + 1) * size) for i in (head, shared))
        query = states @ own["self_attn.q_proj.weight"][rows].T
        key = states @ own["self_attn.k_proj.weight"][shared_rows].T
        value = states @ own["self_attn.v_proj.weight"][shared_rows].T
        for here in range(len(states)):
            scores = np.array(
                [
                    plain_rotation(query[here], here) @ plain_rotation(key[there], there)
                    for there in range(here + 1)
                ]
            ) / np.sqrt(size)
            shares = np.exp(scores - scores.max())
            mixed[here, rows] = shares / shares.sum() @ value[: here + 1]
    return mixed @ own["self_attn.o_proj.weight"].T


def plain_rotation(vector: NDArray[np.float64], position: int) -> NDArray[np.float64]:
    """Element i and element i + half, turned together by position * 10000 ** (-2 i / size)."""
    half = len(vector) // 2
    turned = (vector[:half] + 1j * vector[half:]) * np.exp(
        1j * position * 10_000.0 ** (-np.arange(half) / half)
    )
    return np.concatenate([turned.real, turned.imag])


@pytest.mark.parametrize(
    ("preset", "ids", "published"),
    [
        ("gpt2-124m", 50_257, 124_439_808),
        ("gpt2-355m", 50_257, 354_823_168),
        ("gpt2-774m", 50_257, 774_030_080),
        ("gpt2-1558m", 50_257, 1_557_611_200),
        ("llama-1b", 32_000, 1_100_048_384),  # TinyLlama
        ("llama-7b", 32_000, 6_738_415_616),
        ("bloom-560m", 250_880, 559_214_592),
        ("bloom-1b1", 250_880, 1_065_314_304),
        ("bloom-7b1", 250_880, 7_069_016_064),
        ("baichuan-7b", 64_000, 7_000_559_616),
        ("baichuan-13b", 64_000, 13_264_901_120),
    ],
)
def test_a_preset_has_the_weights_of_the_published_model(
    preset: str, ids: int, published: int
) -> None:
    with torch.device("meta"):
        model = LanguageModel(Shape.of(TrainSettings(preset=preset), ids))
    assert model.parameter_count == published


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_the_first_weights_are_drawn_as_the_table_says(family: dict[str, object]) -> None:
    model = model_of(**family)
    model.initialize(0)
    for name, weights in model.named_parameters():
        if weights.dim() == 1:
            assert weights.eq(0 if name.endswith("bias") else 1).all()
        else:
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            expected = 0.02 / 2 if writes else 0.02  # the root of twice 2 layers
            assert weights.std().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    "settings", [{}, {"kv_heads": 2}, {"kv_heads": 1, "tied": False}, {"hidden": 40}], ids=str
)
def test_logits_are_those_of_the_formulas(settings: dict[str, object]) -> None:
    model = model_of(**settings)
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    tokens = np.random.default_rng(2).integers(0, 61, 20).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([tokens]))[0].numpy()
    expected = plain_logits(tokens, weights, model.shape)[:, :61]
    scale = np.abs(expected).max()
    assert np.abs(logits - expected).max() < 1e-5 * scale
    assert scale > 1  # of a size at which an error shows


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    ("family", "backend"),
    [*((family, "sdpa") for family in FAMILIES), (FAMILIES[2], "flex"), (FAMILIES[0], "math")],
    ids=str,
)
def test_packed_documents_are_as_if_alone_and_without_the_mask_they_are_not(
    family: dict[str, object], backend: str
) -> None:
    model = model_of(backend, **family)
    alone = [[3, 4, 5, 6, 7], [8], [9, 10, 11, 12], [13, 14]]
    packed = torch.tensor([[token for document in alone for token in document]])
    numbers = [[number for number, document in enumerate(alone) for _ in document]]
    with torch.no_grad():
        expected = torch.cat([model(torch.tensor([document]))[0] for document in alone])
        masked = model(packed, torch.tensor(numbers, dtype=torch.int32))[0]
        unmasked = model(packed)[0]
    assert (masked - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (unmasked - expected).abs().max() > 0.1


@pytest.mark.parametrize("parts", [[20], [1] * 20, [5, 1, 9, 1, 1, 3]], ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=str)
@torch.no_grad()
def test_a_text_read_part_by_part_is_as_if_read_at_once(
    family: dict[str, object], parts: list[int]
) -> None:
    model = model_of(**family)
    tokens = torch.randint(61, (2, 20), generator=torch.Generator().manual_seed(4))
    expected, cache = model(tokens), Cache(model.shape)
    logits = torch.cat([model(part, cache=cache) for part in tokens.split(parts, 1)], 1)
    assert cache.length == 20
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()
    with pytest.raises(CurateError, match="25 tokens; the model's context has 24"):
        model(tokens[:, :5], cache=cache)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_activations_made_again_give_the_same_gradients(family: dict[str, object]) -> None:
    tokens = torch.randint(61, (2, 12), generator=torch.Generator().manual_seed(4))
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 12], dtype=torch.int32)
    gradients = []
    for recompute in (False, True):
        model = model_of(recompute=recompute, **family)
        model.loss_sum(tokens, tokens.roll(-1, 1), documents).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_a_token_does_not_see_what_follows() -> None:
    model = model_of()
    with torch.no_grad():
        one = model(torch.tensor([[1, 2, 3, 4]]))
        other = model(torch.tensor([[1, 2, 3, 60]]))
    assert torch.equal(one[:, :3], other[:, :3])
    assert not torch.equal(one[:, 3], other[:, 3])


def test_the_loss_is_the_sum_over_targets_that_count() -> None:
    model, tokens = model_of(), torch.tensor([[3, 60, 9]])
    with torch.no_grad():
        shares = model(tokens)[0].log_softmax(-1)
        loss = model.loss_sum(tokens, torch.tensor([[60, 9, -100]]))
    assert loss.item() == pytest.approx(-(shares[0, 60] + shares[1, 9]).item())


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_the_losses_of_tokens_add_up_to_the_loss(family: dict[str, object]) -> None:
    model = model_of(**family)
    tokens = torch.randint(61, (2, 12), generator=torch.Generator().manual_seed(4))
    targets = tokens.roll(-1, 1)
    targets[:, -1] = -100
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 12], dtype=torch.int32)
    losses = model.token_losses(tokens, targets, documents)
    assert losses.shape == (2, 12)
    assert losses[:, -1].eq(0).all()
    assert not losses.requires_grad
    total = model.loss_sum(tokens, targets, documents)
    assert losses.sum().item() == pytest.approx(total.item(), rel=1e-6)
    shares = model(tokens, documents).log_softmax(-1)
    assert losses[1, 3].item() == pytest.approx(-shares[1, 3, targets[1, 3]].item(), rel=1e-5)


def test_weights_and_shapes_are_named_as_llamas_are() -> None:
    shapes = {
        name: tuple(value.shape)
        for name, value in model_of(layers=1, kv_heads=2, hidden=40, tied=False)
        .state_dict()
        .items()
    }
    assert shapes == {
        "model.embed_tokens.weight": (128, 32),
        "model.layers.0.input_layernorm.weight": (32,),
        "model.layers.0.self_attn.q_proj.weight": (32, 32),
        "model.layers.0.self_attn.k_proj.weight": (16, 32),
        "model.layers.0.self_attn.v_proj.weight": (16, 32),
        "model.layers.0.self_attn.o_proj.weight": (32, 32),
        "model.layers.0.post_attention_layernorm.weight": (32,),
        "model.layers.0.mlp.gate_proj.weight": (40, 32),
        "model.layers.0.mlp.up_proj.weight": (40, 32),
        "model.layers.0.mlp.down_proj.weight": (32, 40),
        "model.norm.weight": (32,),
        "lm_head.weight": (128, 32),
    }


def test_weights_are_drawn_from_the_seed_alone() -> None:
    models = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(noise)
        models.append(LanguageModel(Shape.of(TrainSettings(width=192, heads=3), 512)))
        models[-1].initialize(seed)
    one, same, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    assert one["model.embed_tokens.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    writing = one["model.layers.0.mlp.down_proj.weight"].std().item()
    assert writing == pytest.approx(0.02 / 8**0.5, rel=0.05)
