"""Sampling: what is drawn, where it ends, and a model folder as a whole."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import transformers
from numpy.typing import NDArray

from curate.errors import CurateError, ModelError
from tests.trainer.cuts import silent
from tokenizer.encode import Encoder
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary
from trainer.hugging_face import read_model
from trainer.model import LanguageModel, torch
from trainer.sample import Sampling, Writer, continuations
from trainer.settings import TrainSettings
from trainer.shape import Shape
from trainer.train import train

FAMILIES = ["llama", "gpt2", "bloom", "baichuan"]
VOCABULARY = Vocabulary(
    tokens=tuple(BYTES),
    merges=np.empty((0, 3), np.int32),
    pattern="gpt2",
    special_tokens={"<|endoftext|>": 256},
)
TEXT = [7, 3, 9, 3, 12, 5, 9, 41, 2, 30, 3, 3, 17, 8]


def model_of(family: str) -> LanguageModel:
    """A model of a context of 8 that is sure of what it says."""
    positions = {"baichuan-13b": "alibi"}.get(family, "")
    settings = TrainSettings(
        family=family.removesuffix("-13b"),
        positions=positions,
        layers=1,
        width=16,
        heads=2,
        context=8,
    )
    made = LanguageModel(Shape.of(settings, 30))
    made.initialize(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(10)
    return made


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return model_of("llama")


def drawn_once(
    model: LanguageModel, start: list[int], how: Sampling, ends: Sequence[int] = ()
) -> list[int]:
    (drawn,) = continuations(model, start, ends, how)
    return drawn


def test_a_text_learned_by_heart_is_written_to_its_end(
    write_shards: Callable[..., Path], tmp_path: Path
) -> None:
    settings = TrainSettings(
        steps=80, context=15, batch=4, layers=2, width=32, heads=2, learning_rate=1e-2, device="cpu"
    )
    train(write_shards([TEXT] * 30), tmp_path / "model", settings, silent)
    learned, config = read_model(tmp_path / "model")
    assert config["eos_token_id"] == 0
    drawn = drawn_once(learned, TEXT[:3], Sampling(tokens=50, temperature=0), ends=[0])
    assert drawn == TEXT[3:]  # and stops, 39 tokens before it must
    # Texts that are drawn together end each where it does.
    several = Sampling(tokens=20, temperature=1.5, top_k=0, count=8)
    texts = continuations(learned, TEXT[:3], [0], several)
    assert len({len(text) for text in texts}) > 1
    assert not any(0 in text for text in texts)


def greedy_without_cache(model: LanguageModel, start: list[int], count: int) -> list[int]:
    """What is read anew for each token: the text, or from its last half on once that was full."""
    tokens, context = list(start), model.shape.context
    begin = max(0, len(tokens) - context)
    for _ in range(count):
        if len(tokens) - begin > context:
            begin = len(tokens) - context // 2
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens[begin:]]))[0, -1].argmax()))
    return tokens[len(start) :]


@pytest.mark.parametrize("start", [1, 3, 8, 11])
@pytest.mark.parametrize("family", [*FAMILIES, "baichuan-13b"])
def test_greedy_is_the_likeliest_token_of_what_is_read(family: str, start: int) -> None:
    """Before the context of 8 is full, and beyond it, in every family."""
    model = model_of(family)
    begin = [1, 2, 3, 29, 5, 6, 7, 8, 9, 10, 11][:start]
    greedy = drawn_once(model, begin, Sampling(tokens=20, temperature=0))
    assert len(greedy) == 20
    assert greedy == greedy_without_cache(model, begin, 20)
    assert drawn_once(model, begin, Sampling(tokens=20, top_k=1, seed=9)) == greedy
    assert drawn_once(model, begin, Sampling(tokens=20, top_p=0.0, seed=9)) == greedy


def test_the_same_seed_draws_the_same_and_another_seed_does_not(model: LanguageModel) -> None:
    one, same, other = (
        drawn_once(model, [1], Sampling(tokens=20, temperature=2.0, top_k=0, seed=seed))
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_texts_drawn_together_are_those_of_the_following_seeds(model: LanguageModel) -> None:
    how = Sampling(tokens=20, temperature=2.0, top_k=0, seed=5, count=4)
    together = continuations(model, [1, 2], [7], how)
    alone = [
        drawn_once(model, [1, 2], replace(how, seed=seed, count=1), [7]) for seed in range(5, 9)
    ]
    assert together == alone
    assert len({tuple(text) for text in together}) == 4


def shares_of(model: LanguageModel, how: Sampling) -> NDArray[np.float64]:
    """How often each token comes after 4 5, in a thousand texts."""
    drawn = continuations(model, [4, 5], [], replace(how, tokens=1, count=1000))
    return np.bincount([token for text in drawn for token in text], minlength=30) / 1000


def chances_of(model: LanguageModel, temperature: float) -> NDArray[np.float64]:
    with torch.no_grad():
        logits = model(torch.tensor([[4, 5]]))[0, -1].double().numpy()
    weights = np.exp((logits - logits.max()) / temperature)
    return weights / weights.sum()


def test_top_k_and_temperature_decide_how_often_a_token_is_drawn(model: LanguageModel) -> None:
    chances = chances_of(model, 4.0)
    best = np.argsort(-chances)[:3]
    shares = shares_of(model, Sampling(temperature=4.0, top_k=3))
    assert shares[best].sum() == pytest.approx(1)
    # Four deviations of a share of one half.
    assert np.abs(shares[best] - chances[best] / chances[best].sum()).max() < 0.06


@pytest.mark.parametrize("top_k", [0, 5])
def test_top_p_draws_from_the_fewest_that_have_the_share(model: LanguageModel, top_k: int) -> None:
    chances = np.sort(chances_of(model, 20.0))[::-1]
    order = np.argsort(-chances_of(model, 20.0))
    if top_k:
        chances = chances[:top_k] / chances[:top_k].sum()
    # Between the shares of three and of four tokens: the fourth is needed.
    top_p = float(chances[:3].sum() + chances[3] / 2)
    shares = shares_of(model, Sampling(temperature=20.0, top_k=top_k, top_p=top_p))
    assert shares[order[:4]].sum() == pytest.approx(1)
    assert np.abs(shares[order[:4]] - chances[:4] / chances[:4].sum()).max() < 0.06
    assert (shares[order[:4]] > 0).all()


def test_a_temperature_near_nothing_is_greedy(model: LanguageModel) -> None:
    greedy = drawn_once(model, [1], Sampling(tokens=9, temperature=0))
    assert drawn_once(model, [1], Sampling(tokens=9, temperature=1e-40)) == greedy


def test_weights_that_are_not_numbers_are_told() -> None:
    broken = model_of("llama")
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="logits are not numbers"):
        drawn_once(broken, [1], Sampling())


def test_nothing_is_drawn_where_nothing_is_asked(model: LanguageModel) -> None:
    assert drawn_once(model, [1], Sampling(tokens=0)) == []


def test_a_folder_without_a_model_is_told(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config.json: missing"):
        read_model(tmp_path)
    settings = TrainSettings(steps=1, context=8, layers=1, width=16, heads=2, device="cpu")
    train(small_shards, tmp_path / "model", settings, silent)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="not a model that can be read"):
        read_model(tmp_path / "model")
    train(small_shards, tmp_path / "model", settings, silent)
    config = json.loads((tmp_path / "model" / "config.json").read_bytes())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(ModelError, match="not a model that can be read"):
        read_model(tmp_path / "model")


def test_a_model_folder_with_its_tokenizer_writes_text(
    write_shards: Callable[..., Path], tmp_path: Path
) -> None:
    text = "Né à 東京 ☃"
    ids = Encoder(VOCABULARY).encode(pa.array([text]))[0].tolist()
    folder = write_shards([ids] * 60, vocab_size=257, end=256)
    settings = TrainSettings(
        steps=100,
        context=18,
        batch=8,
        layers=2,
        width=32,
        heads=2,
        learning_rate=1e-2,
        device="cpu",
    )
    train(folder, tmp_path / "model", settings, silent)
    VOCABULARY.save(tmp_path / "model")
    writer = Writer.of(tmp_path / "model", "cpu")
    assert writer.written("Né à", Sampling(tokens=90, temperature=0)) == [text[4:]]
    # Cut within the three bytes of a character, the rest is shown as what it is: no text.
    assert writer.written("Né à", Sampling(tokens=2, temperature=0)) == [" \ufffd"]
    with pytest.raises(CurateError, match="prompt: empty"):
        writer.written("", Sampling())


@pytest.mark.parametrize("largest", ["1GB", "20KB"], ids=["one file", "several files"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_a_folder_of_hugging_face_writes_what_transformers_does(
    tmp_path: Path, family: str, largest: str
) -> None:
    VOCABULARY.save(tmp_path)
    theirs = hugging_face_model(family)
    theirs.save_pretrained(tmp_path, max_shard_size=largest)
    assert (tmp_path / "model.safetensors").exists() == (largest == "1GB")
    writer = Writer.of(tmp_path, "cpu")
    start = writer.tokens("Né à 東京")
    expected = theirs.generate(
        torch.tensor([start]),
        attention_mask=torch.ones(1, len(start)),
        max_new_tokens=20,
        do_sample=False,
        pad_token_id=0,
    )[0, len(start) :].tolist()
    how = Sampling(tokens=20, temperature=0)
    assert continuations(writer.model, start, writer.ends, how) == [expected]
    written = Encoder(VOCABULARY).decode(expected).decode(errors="replace")
    assert writer.written("Né à 東京", how) == [written]


def hugging_face_model(family: str) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 257, "eos_token_id": 256, "bos_token_id": None}
    config = {
        "llama": lambda: transformers.LlamaConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            **sizes,
        ),
        "gpt2": lambda: transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=64, **sizes
        ),
        "bloom": lambda: transformers.BloomConfig(hidden_size=32, n_layer=2, n_head=4, **sizes),
    }[family]()
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "position" not in name and "wpe" not in name:
                parameter.mul_(8)
    return model


@pytest.mark.parametrize(
    ("said", "ends"), [(7, {7}), ([7, 9], {7, 9}), (None, set())], ids=["one", "two", "none"]
)
def test_a_text_ends_with_any_of_the_tokens_that_the_config_names(
    tmp_path: Path, said: Any, ends: set[int]
) -> None:
    VOCABULARY.save(tmp_path)
    hugging_face_model("llama").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"eos_token_id": said}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Writer.of(tmp_path, "cpu").ends == ends


def test_a_tokenizer_of_another_model_is_told(tmp_path: Path) -> None:
    replace(VOCABULARY, special_tokens={"<|endoftext|>": 900}).save(tmp_path)
    hugging_face_model("llama").save_pretrained(tmp_path)
    writer = Writer.of(tmp_path, "cpu")
    assert len(writer.tokens("text")) == 4
    with pytest.raises(ModelError, match="token 900 of the tokenizer is not among the 257"):
        writer.check([5, 900])
