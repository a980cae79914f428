"""Sampling: what is drawn, where it ends, and a model folder as a whole."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import CurateError, ModelError
from tokenizer.encode import Encoder
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary
from trainer.model import LanguageModel, torch
from trainer.sample import Sampling, continuation, load_model, sample
from trainer.settings import TrainSettings
from trainer.shape import Shape
from trainer.train import TrainProgress, train

TEXT = [7, 3, 9, 3, 12, 5, 9, 41, 2, 30, 3, 3, 17, 8]


def silent(report: TrainProgress) -> None:
    pass


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    made = LanguageModel(Shape.of(TrainSettings(layers=1, width=16, heads=2, context=8), 30))
    made.initialize(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(10)
    return made


def test_a_text_learned_by_heart_is_written_to_its_end(
    write_shards: Callable[..., Path], tmp_path: Path
) -> None:
    settings = TrainSettings(
        steps=80, context=15, batch=4, layers=2, width=32, heads=2, learning_rate=1e-2, device="cpu"
    )
    train(write_shards([TEXT] * 30), tmp_path / "model", settings, silent)
    learned, config = load_model(tmp_path / "model")
    assert config["eos_token_id"] == 0
    drawn = continuation(learned, TEXT[:3], 0, Sampling(tokens=50, temperature=0))
    assert drawn == TEXT[3:]  # and stops, 39 tokens before it must


def test_greedy_is_the_likeliest_token_and_so_is_one_of_one(model: LanguageModel) -> None:
    start = [1, 2, 3]
    greedy = continuation(model, start, -1, Sampling(tokens=12, temperature=0))
    assert len(greedy) == 12
    assert continuation(model, start, -1, Sampling(tokens=12, top_k=1, seed=9)) == greedy
    tokens = list(start)
    for _ in range(12):  # beyond the context of 8 the model sees the last 8
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens[-8:]]))[0, -1].argmax()))
    assert tokens[3:] == greedy


def test_the_same_seed_draws_the_same_and_another_seed_does_not(model: LanguageModel) -> None:
    one, same, other = (
        continuation(model, [1], -1, Sampling(tokens=20, temperature=2.0, top_k=0, seed=seed))
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_top_k_and_temperature_decide_how_often_a_token_is_drawn(model: LanguageModel) -> None:
    with torch.no_grad():
        logits = model(torch.tensor([[4, 5]]))[0, -1].double().numpy()
    best = np.argsort(-logits)[:3]
    chances = np.exp(logits[best] / 4.0) / np.exp(logits[best] / 4.0).sum()
    drawn = [
        continuation(model, [4, 5], -1, Sampling(1, temperature=4.0, top_k=3, seed=seed))[0]
        for seed in range(1000)
    ]
    shares = np.array([drawn.count(token) for token in best]) / 1000
    assert shares.sum() == 1
    assert np.abs(shares - chances).max() < 0.06  # four deviations of a share of one half


def test_nothing_is_drawn_where_nothing_is_asked(model: LanguageModel) -> None:
    assert continuation(model, [1], -1, Sampling(tokens=0)) == []


def test_a_folder_without_a_model_is_told(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing; train a model"):
        load_model(tmp_path)
    settings = TrainSettings(steps=1, context=8, layers=1, width=16, heads=2, device="cpu")
    train(small_shards, tmp_path / "model", settings, silent)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="not a model of ours"):
        load_model(tmp_path / "model")
    train(small_shards, tmp_path / "model", settings, silent)
    config = json.loads((tmp_path / "model" / "config.json").read_bytes())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(ModelError, match="not a model of ours"):
        load_model(tmp_path / "model")


def test_a_model_folder_with_its_tokenizer_writes_text(
    write_shards: Callable[..., Path], tmp_path: Path
) -> None:
    text = "Né à 東京 ☃"
    vocabulary = Vocabulary(
        tokens=tuple(BYTES),
        merges=np.empty((0, 3), np.int32),
        pattern="gpt2",
        special_tokens={"<|endoftext|>": 256},
    )
    ids = Encoder(vocabulary).encode(pa.array([text]))[0].tolist()
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
    vocabulary.save(tmp_path / "model")
    assert sample(tmp_path / "model", "Né à", Sampling(tokens=90, temperature=0)) == text
    # Cut within the three bytes of a character, the rest is shown as what it is: no text.
    assert sample(tmp_path / "model", "Né à", Sampling(tokens=2, temperature=0)) == "Né à \ufffd"
    with pytest.raises(CurateError, match="prompt: empty"):
        sample(tmp_path / "model", "", Sampling())
