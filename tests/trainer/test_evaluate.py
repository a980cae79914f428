"""Each document's nats: every target once, whatever the windows and the batches."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import ShardError
from tokenizer.dataset import TokenDataset
from trainer import evaluate
from trainer.evaluate import bits_per_byte, by, document_losses, loss, macro
from trainer.model import LanguageModel, torch
from trainer.settings import TrainSettings
from trainer.shape import Shape


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    settings = TrainSettings(layers=2, width=16, heads=2, context=8)
    model = LanguageModel(Shape.of(settings, 50))
    model.initialize(0)
    with torch.no_grad():  # as it begins, it says nearly the same of every token
        for parameter in model.parameters():
            parameter.mul_(20 if parameter.dim() > 1 else 1)
    return model


def by_hand(model: LanguageModel, ids: list[int]) -> float:
    """One document, one window at a time, from the definition."""
    nats, context = 0.0, model.shape.context
    for start in range(0, len(ids) - 1, context):
        window = ids[start : start + context + 1]
        with torch.no_grad():
            logits = model(torch.tensor([window[:-1]]))[0].double()
        chances = logits.log_softmax(-1)
        nats -= sum(float(chances[i, target]) for i, target in enumerate(window[1:]))
    return nats


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)


def test_every_token_but_a_documents_first_is_a_target_once(
    model: LanguageModel, small_shards: Path
) -> None:
    dataset = TokenDataset(small_shards)
    found = document_losses(model, dataset)
    assert found.num_rows == 40
    assert found["targets"].to_pylist() == [len(dataset.document(i)) for i in range(40)]
    for i in range(40):
        expected = by_hand(model, [*dataset.document(i).tolist(), 0])
        assert found["nats"][i].as_py() == pytest.approx(expected, rel=1e-5)
    assert len(set(found["nats"].to_pylist())) == 40


@pytest.mark.parametrize("tokens", [1, 64, 640])
def test_batches_change_nothing(
    model: LanguageModel, small_shards: Path, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    expected = document_losses(model, TokenDataset(small_shards))["nats"].to_numpy()
    monkeypatch.setattr(evaluate, "_TOKENS", tokens)
    found = document_losses(model, TokenDataset(small_shards))["nats"].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_documents_nats_do_not_depend_on_its_neighbours(
    model: LanguageModel, write_shards: Callable[..., Path]
) -> None:
    alone = document_losses(model, TokenDataset(write_shards([[1, 2, 3]], name="alone")))
    among = document_losses(
        model, TokenDataset(write_shards([[7] * 30, [1, 2, 3]], [[9] * 5], name="among"))
    )
    assert among["nats"][1].as_py() == pytest.approx(alone["nats"][0].as_py(), rel=1e-5)


def test_an_empty_document_has_no_target_and_is_there(
    model: LanguageModel, write_shards: Callable[..., Path]
) -> None:
    found = document_losses(model, TokenDataset(write_shards([[], [4], []])))
    assert found["targets"].to_pylist() == [0, 1, 0]
    assert found["nats"].to_pylist()[::2] == [0.0, 0.0]
    assert found["doc_id"][2].as_py() == (2).to_bytes(16, "big")


@pytest.mark.parametrize(("limit", "documents"), [(4, 1), (8, 1), (9, 2), (10, 3), (11, 3)])
def test_a_limit_takes_whole_documents_from_the_front(
    model: LanguageModel, write_shards: Callable[..., Path], limit: int, documents: int
) -> None:
    dataset = TokenDataset(write_shards([[1, 2, 3], [1, 2, 3, 4]], [[], [1, 2]]))
    found = document_losses(model, dataset, limit)
    assert found["n_bytes"].to_pylist() == [1] * documents
    assert found.equals(document_losses(model, dataset).slice(0, documents))


def test_a_limit_below_the_first_document_says_so(
    model: LanguageModel, write_shards: Callable[..., Path]
) -> None:
    dataset = TokenDataset(write_shards([[1, 2, 3], [1]]))
    with pytest.raises(ShardError, match="first document has more than 3 tokens"):
        document_losses(model, dataset, 3)


def test_the_model_is_left_in_training(model: LanguageModel, small_shards: Path) -> None:
    model.train()
    document_losses(model, TokenDataset(small_shards), 50)
    assert model.training


def test_bits_per_byte_are_all_bits_over_all_bytes() -> None:
    two = table(nats=[math.log(2) * 6, 0.0], n_bytes=[1, 2], targets=[3, 1])
    assert bits_per_byte(two) == pytest.approx(2.0)
    assert loss(two) == pytest.approx(math.log(2) * 1.5)
    nothing = table(nats=[0.0], n_bytes=[0], targets=[0])
    assert math.isnan(bits_per_byte(nothing)) and math.isnan(loss(nothing))


def test_groups_are_named_and_weigh_the_same_in_the_macro_mean() -> None:
    nats = [math.log(2) * bits for bits in (8, 4, 3, 5, 0)]
    documents = table(
        nats=nats,
        n_bytes=[2, 2, 3, 1, 0],
        targets=[2, 2, 1, 1, 0],
        language=["en", "en", "de", None, "fr"],
    )
    found = by(documents, "language")
    assert found["language"].to_pylist() == ["de", "en", "fr", None]
    assert found["documents"].to_pylist() == [1, 2, 1, 1]
    assert found["bytes"].to_pylist() == [3, 4, 0, 1]
    assert found["bits_per_byte"].to_pylist() == pytest.approx([1, 3, math.nan, 5], nan_ok=True)
    assert found["loss"].to_numpy()[1] == pytest.approx(math.log(2) * 3)
    assert macro(found) == pytest.approx(3.0)
    assert bits_per_byte(documents) == pytest.approx(20 / 8)
