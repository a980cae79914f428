"""Attention: all back ends give one result, with documents, ALiBi and shared keys."""

import pytest

from curate.errors import CurateError
from trainer.attention import Setting, alibi_slopes, attend, sight
from trainer.model import torch

BACKENDS = ("flex", "sdpa", "math")  # on a CPU; varlen needs a GPU
FLOAT, BFLOAT = torch.float32, torch.bfloat16


def drawn(kv_heads: int = 4, dtype: torch.dtype = FLOAT) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(2, heads, 40, 8, generator=generator, dtype=dtype)
        for heads in (4, kv_heads, kv_heads)
    ]


TOKENS = torch.zeros(2, 40, dtype=torch.int64)
DOCUMENTS = torch.tensor([[0] * 7 + [1] + [2] * 22 + [3] * 10, [0] * 40], dtype=torch.int32)


def plain(parts: list[torch.Tensor], documents: torch.Tensor | None, slopes: list[float]):
    """One query at a time, in float64."""
    query, key, value = (part.double() for part in parts)
    mixed = torch.zeros_like(query)
    shared = query.shape[1] // key.shape[1]
    for row in range(2):
        for head in range(4):
            for here in range(40):
                seen = [
                    there
                    for there in range(here + 1)
                    if documents is None or documents[row, there] == documents[row, here]
                ]
                scores = key[row, head // shared, seen] @ query[row, head, here] / 8**0.5
                away = torch.tensor([there - here for there in seen], dtype=torch.float64)
                shares = (scores + slopes[head] * away).softmax(0)
                mixed[row, head, here] = shares @ value[row, head // shared, seen]
    return mixed


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("masked", [True, False], ids=["documents", "one"])
@pytest.mark.parametrize("alibi", [True, False], ids=["alibi", "flat"])
@pytest.mark.parametrize("kv_heads", [4, 2])
@torch.no_grad()
def test_every_back_end_gives_what_the_formula_does(
    backend: str, masked: bool, alibi: bool, kv_heads: int
) -> None:
    parts = drawn(kv_heads)
    documents = DOCUMENTS if masked else None
    slopes = alibi_slopes(4) if alibi else None
    mixed = attend(*parts, sight(backend, TOKENS, documents, slopes))
    expected = plain(parts, documents, slopes.tolist() if alibi else [0.0] * 4)
    assert (mixed - expected).abs().max() < 1e-5
    without = attend(*parts, sight(backend, TOKENS, None, slopes))
    assert ((without - expected).abs().max() > 0.1) == masked  # or the mask would not be tested


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_a_bias_takes_the_precision_of_the_queries(backend: str) -> None:
    parts = drawn(dtype=torch.float64)
    mixed = attend(*parts, sight(backend, TOKENS, DOCUMENTS, alibi_slopes(4)))
    expected = plain(parts, DOCUMENTS, alibi_slopes(4).tolist())
    assert (mixed - expected).abs().max() < 1e-6


def test_slopes_are_those_of_the_paper() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(1).tolist() == [2.0**-8]
    six = alibi_slopes(6).tolist()  # of 4, then the first and third of 8
    assert six == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]


def test_where_documents_begin_is_told_to_varlen_row_after_row() -> None:
    documents = torch.tensor([[4, 4, 5], [7, 8, 9]], dtype=torch.int32)
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    bounds = sight("varlen", tokens, documents, None).bounds
    assert bounds.dtype == torch.int32
    assert bounds.tolist() == [0, 2, 3, 4, 5, 6]
    assert sight("varlen", tokens, None, None).bounds.tolist() == [0, 3, 6]


@pytest.mark.parametrize(
    ("where", "documents", "picked"),
    [
        (("cpu", BFLOAT, 64, False), True, "sdpa"),
        (("cpu", FLOAT, 64, True), False, "sdpa"),
        (("cuda", BFLOAT, 64, False), False, "sdpa"),
        (("cuda", BFLOAT, 64, False), True, "varlen"),
        (("cuda", FLOAT, 64, False), True, "flex"),
        (("cuda", BFLOAT, 12, False), True, "sdpa"),
        (("cuda", BFLOAT, 64, True), True, "flex"),
        (("cuda", BFLOAT, 64, True), False, "flex"),
    ],
    ids=str,
)
def test_auto_is_the_fastest_that_can(where, documents, picked) -> None:
    device, *rest = where
    setting = Setting(torch.device(device), *rest)
    assert setting.pick("auto", documents=documents) == picked
    assert setting.pick("math", documents=documents) == "math"


def test_a_back_end_that_cannot_says_why() -> None:
    where = Setting(torch.device("cpu"), FLOAT, 64, alibi=False)
    with pytest.raises(CurateError, match="varlen needs a CUDA device"):
        where.pick("varlen", documents=True)
    with pytest.raises(CurateError, match="flex has no backward pass on a CPU"):
        where.pick("flex", documents=True)
    with torch.no_grad():
        assert where.pick("flex", documents=True) == "flex"
