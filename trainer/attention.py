"""Which tokens a token sees, and four ways to compute attention over them with one result.

varlen  flash attention over documents of any length: CUDA, half precision, without ALiBi
flex    FlexAttention, compiled: ALiBi and documents without a matrix; on a CPU forward only
sdpa    scaled_dot_product_attention, with a matrix where plain causality is not enough
math    the formula, for comparison
"""

import contextlib
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from curate.errors import CurateError

_flash: Any = None
with contextlib.suppress(ImportError):  # before torch 2.10
    from torch.nn.attention.varlen import varlen_attn as _flash

Tensor = torch.Tensor

# torch 2.10 says `is_causal`; later versions say `window_size`, and share keys among heads.
_VARLEN = inspect.signature(_flash).parameters if _flash else {}
_CAUSAL = {"window_size": (-1, 0)} if "window_size" in _VARLEN else {"is_causal": True}
_FLASH_HEADS = 256  # the widest head that flash attention takes
_FLEX_HEADS = 16  # the narrowest that FlexAttention takes on a GPU


@dataclass(frozen=True)
class Sight:
    """What the tokens of one forward pass see, as a back end wants it; all layers share it."""

    backend: str
    bias: Tensor | None = None  # of sdpa and math: True where seen, or what is added to a score
    bounds: Tensor | None = None  # of varlen: where documents begin in the rows end to end
    blocks: BlockMask | None = None  # of flex
    score: Callable[..., Tensor] | None = None  # of flex with ALiBi


@dataclass(frozen=True)
class Setting:
    """Where attention is computed, which decides what can compute it."""

    device: torch.device
    dtype: torch.dtype  # of queries and keys
    head_size: int
    alibi: bool

    def pick(self, wanted: str, *, documents: bool) -> str:
        """The back end that is wanted, or for `auto` the fastest that can."""
        if wanted == "auto":
            return self._fastest(documents=documents)
        if wanted == "varlen" and not self._varlen_can():
            raise CurateError(
                "train.attention: varlen needs a CUDA device, bfloat16 and positions other than "
                "ALiBi; write auto"
            )
        if wanted == "flex" and self.device.type == "cpu" and torch.is_grad_enabled():
            raise CurateError(
                "train.attention: flex has no backward pass on a CPU; write auto or sdpa"
            )
        return wanted

    def _fastest(self, *, documents: bool) -> str:
        if self.device.type != "cuda" or not (documents or self.alibi):
            return "sdpa"
        if self._varlen_can():
            return "varlen"
        return "flex" if self.head_size >= _FLEX_HEADS else "sdpa"

    def _varlen_can(self) -> bool:
        fits = self.head_size % 8 == 0 and self.head_size <= _FLASH_HEADS
        half = self.dtype in (torch.bfloat16, torch.float16)
        on_gpu = self.device.type == "cuda" and _flash is not None
        return on_gpu and half and fits and not self.alibi


def alibi_slopes(heads: int) -> Tensor:
    """How much less each head minds a token for every step away (Press et al. 2022).

    2 ** (-8 i / n) for head i of n, where n is a power of two; further heads take every other slope
    of twice as many.
    """
    power = 1 << (heads.bit_length() - 1)
    first = 2.0 ** (-8 / power * torch.arange(1, power + 1, dtype=torch.float64))
    twice = 2.0 ** (-4 / power * torch.arange(1, 2 * power + 1, dtype=torch.float64))
    return torch.cat((first, twice[::2][: heads - power])).float()


def sight(
    backend: str,
    tokens: Tensor,
    documents: Tensor | None,
    slopes: Tensor | None,
    past: int = 0,
) -> Sight:
    """What `tokens` see that come after `past` others: what came before, in their own document."""
    length = tokens.shape[1]
    if backend == "varlen":
        return Sight(backend, bounds=_bounds(tokens, documents))
    if backend == "flex":
        return Sight(backend, blocks=_blocks(tokens, documents), score=_score(slopes))
    plain = documents is None and slopes is None
    if backend == "sdpa" and plain and (not past or length == 1):
        return Sight(backend)
    return Sight(backend, bias=_bias(tokens, documents, slopes, past))


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Sight) -> Tensor:
    """Values mixed by how well keys fit queries; [rows, heads, length, size], as the queries are.

    Several heads may share keys and values.
    """
    grouped = key.shape[1] != query.shape[1]
    if seen.backend == "varlen":
        return _varlen(query, key, value, seen)
    if seen.backend == "flex":
        within = query.device.type == "cpu" or torch.compiler.is_compiling()
        flex: Any = flex_attention if within else _compiled(flex_attention)
        mixed: Tensor = flex(
            query, key, value, score_mod=seen.score, block_mask=seen.blocks, enable_gqa=grouped
        )
        return mixed
    if seen.backend == "math":
        return _formula(query, key, value, seen)
    bias = seen.bias
    if bias is not None and bias.dtype != torch.bool:
        # With a bias of another precision than the queries torch 2.13 answers wrongly on a CPU, by
        # up to 3.7, without an error.
        bias = bias.to(query.dtype)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias,
        is_causal=bias is None and query.shape[2] == key.shape[2],
        enable_gqa=grouped,
    )


@functools.cache  # and not at import, which would take seconds for what a CPU never needs
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function)


def _bias(tokens: Tensor, documents: Tensor | None, slopes: Tensor | None, past: int) -> Tensor:
    """[rows or 1, heads or 1, queries, keys]: True where seen; with ALiBi what is added there."""
    length = tokens.shape[1]
    here = torch.arange(past, past + length, device=tokens.device)[:, None]
    there = torch.arange(past + length, device=tokens.device)
    seen = (there <= here)[None, None]
    if documents is not None:
        seen = seen & (documents[:, None, :, None] == documents[:, None, None, :])
    if slopes is None:
        return seen
    return torch.where(seen, slopes[:, None, None] * (there - here), -torch.inf)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # the data says how many there are
def _bounds(tokens: Tensor, documents: Tensor | None) -> Tensor:
    begins = torch.zeros_like(tokens, dtype=torch.bool)
    begins[:, 0] = True
    if documents is not None:
        begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    bounds = begins.flatten().nonzero().flatten()
    return functional.pad(bounds, (0, 1), value=tokens.numel()).to(torch.int32)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # ahead of the compiled layers
def _blocks(tokens: Tensor, documents: Tensor | None) -> BlockMask:
    rows, length = tokens.shape

    def causal(_row: Tensor, _head: Tensor, here: Tensor, there: Tensor) -> Tensor:
        return there <= here

    def same(row: Tensor, _head: Tensor, here: Tensor, there: Tensor) -> Tensor:
        assert documents is not None
        return (there <= here) & (documents[row, here] == documents[row, there])

    create = _compiled(create_block_mask) if tokens.is_cuda else create_block_mask
    seen = causal if documents is None else same
    made: BlockMask = create(
        seen, None if documents is None else rows, None, length, length, device=tokens.device
    )
    return made


def _score(slopes: Tensor | None) -> Callable[..., Tensor] | None:
    if slopes is None:
        return None

    def nearer(score: Tensor, _row: Tensor, head: Tensor, here: Tensor, there: Tensor) -> Tensor:
        return score + slopes[head] * (there - here)

    return nearer


def _varlen(query: Tensor, key: Tensor, value: Tensor, seen: Sight) -> Tensor:
    rows, heads, length, _ = query.shape
    more: dict[str, Any] = dict(_CAUSAL)
    if key.shape[1] != heads and "enable_gqa" in _VARLEN:
        more["enable_gqa"] = True
    elif key.shape[1] != heads:
        key, value = (part.repeat_interleave(heads // part.shape[1], 1) for part in (key, value))
    query, key, value = (part.transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    where = (seen.bounds, seen.bounds, length, length)  # documents are no longer than a row
    mixed: Tensor = _flash(query, key, value, *where, **more)
    return mixed.view(rows, length, heads, -1).transpose(1, 2)


def _formula(query: Tensor, key: Tensor, value: Tensor, seen: Sight) -> Tensor:
    assert seen.bias is not None
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
    if seen.bias.dtype == torch.bool:
        scores = scores.masked_fill(~seen.bias, -torch.inf)
    else:
        scores = scores + seen.bias.to(scores.dtype)
    mixed: Tensor = scores.float().softmax(-1).to(value.dtype) @ value
    return mixed
