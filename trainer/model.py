"""One language model in the variants of four families: Llama, GPT-2, BLOOM and Baichuan.

Modules and weights carry the names of Hugging Face's `LlamaForCausalLM`; what Llama lacks is
`embed_positions` (GPT-2), `embed_layernorm` (BLOOM), and the biases of both.
"""

import math

import torch as torch  # the trainer's other files import it from here
from torch.utils.checkpoint import checkpoint

from curate.errors import CurateError
from trainer import loss
from trainer.attention import Setting, Sight, alibi_slopes, attend, sight
from trainer.shape import Shape

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor
Rotation = tuple[Tensor, Tensor] | None

INITIAL_SPREAD = 0.02


def rotated(states: Tensor, rotation: Rotation) -> Tensor:
    """Rotary positions: pairs are a head's first half and second half, as in Llama's weights."""
    if rotation is None:
        return states
    cosines, sines = rotation
    first, second = states.chunk(2, dim=-1)
    turned = states * cosines + torch.cat((-second, first), dim=-1) * sines
    return turned.to(states.dtype)


def places(tokens: Tensor, documents: Tensor | None, past: int) -> Tensor:
    """The position of each token, from 0 in every document."""
    length = tokens.shape[1]
    steps = torch.arange(past, past + length, device=tokens.device)
    if documents is None:
        return steps[None]
    begins = functional.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
    return steps - torch.where(begins, steps, 0).cummax(1).values


class Kept:
    """Keys and values of one layer for the tokens seen so far."""

    def __init__(self, context: int) -> None:
        self.context = context
        self.length = 0
        self.rooms: tuple[Tensor, ...] = ()

    def extended(self, *new: Tensor) -> tuple[Tensor, ...]:
        """Those of all tokens, the new ones last."""
        rows, heads, length, size = new[0].shape
        if not self.rooms:
            self.rooms = tuple(part.new_empty(rows, heads, self.context, size) for part in new)
        start, self.length = self.length, self.length + length
        for room, part in zip(self.rooms, new, strict=True):
            room[:, :, start : self.length] = part
        return tuple(room[:, :, : self.length] for room in self.rooms)


class Cache:
    """What a model has seen of a text that goes on; for as many tokens as its context has."""

    def __init__(self, shape: Shape) -> None:
        self.layers = [Kept(shape.context) for _ in range(shape.layers)]

    @property
    def length(self) -> int:
        """The tokens seen."""
        return self.layers[0].length


class Attention(nn.Module):
    """Causal attention in which several heads may share keys and values."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.size, bias = shape.head_size, shape.classic
        self.q_proj = nn.Linear(shape.width, shape.heads * self.size, bias)
        self.k_proj = nn.Linear(shape.width, shape.kv_heads * self.size, bias)
        self.v_proj = nn.Linear(shape.width, shape.kv_heads * self.size, bias)
        self.o_proj = nn.Linear(shape.heads * self.size, shape.width, bias)

    def forward(self, states: Tensor, seen: Sight, rotation: Rotation, kept: Kept | None) -> Tensor:
        rows, length, _ = states.shape
        query, key, value = (
            project(states).view(rows, length, -1, self.size).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotated(query, rotation), rotated(key, rotation)
        if kept is not None:
            key, value = kept.extended(key, value)
        mixed = attend(query, key, value, seen)
        projected: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))
        return projected


class FeedForward(nn.Module):
    """SwiGLU, or in the classic families GELU (its tanh form)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = None
        if not shape.classic:
            self.gate_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.hidden, shape.classic)
        self.down_proj = nn.Linear(shape.hidden, shape.width, shape.classic)

    def forward(self, states: Tensor) -> Tensor:
        raised = self.up_proj(states)
        if self.gate_proj is None:
            active = functional.gelu(raised, approximate="tanh")
        else:
            active = functional.silu(self.gate_proj(states)) * raised
        forwarded: Tensor = self.down_proj(active)
        return forwarded


def norm(shape: Shape) -> nn.Module:
    """The family's norm over a state."""
    return (nn.LayerNorm if shape.classic else nn.RMSNorm)(shape.width, shape.epsilon)


class Layer(nn.Module):
    """Attention, then feed-forward, each on normed states and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = norm(shape)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = norm(shape)
        self.mlp = FeedForward(shape)

    def forward(
        self, states: Tensor, seen: Sight, rotation: Rotation, kept: Kept | None = None
    ) -> Tensor:
        states = states + self.self_attn(self.input_layernorm(states), seen, rotation, kept)
        forwarded: Tensor = states + self.mlp(self.post_attention_layernorm(states))
        return forwarded


class Decoder(nn.Module):
    """Embeddings, layers, last norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.padded_vocab_size, shape.width)
        if shape.positions == "learned":
            self.embed_positions = nn.Embedding(shape.context, shape.width)
        if shape.family == "bloom":
            self.embed_layernorm = norm(shape)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = norm(shape)


class LanguageModel(nn.Module):
    """From token ids to the logits of the next token at every position.

    `recompute` makes each layer's activations again in the backward pass. `loss_chunk` tokens have
    their logits in memory at once while losses are taken; 0: as many as 1 GiB holds.
    """

    cosines: Tensor
    sines: Tensor
    slopes: Tensor

    def __init__(
        self, shape: Shape, attention: str = "auto", *, recompute: bool = False, loss_chunk: int = 0
    ) -> None:
        super().__init__()
        self.shape = shape
        self.attention = attention
        self.recompute = recompute
        self.loss_chunk = loss_chunk
        self.model = Decoder(shape)
        if not shape.tied:
            self.lm_head = nn.Linear(shape.width, shape.padded_vocab_size, bias=False)
        if shape.positions == "rope":
            size = shape.head_size
            rates = shape.rope_theta ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
            steps = torch.arange(shape.context, dtype=torch.float64)
            angles = torch.outer(steps, rates).repeat(1, 2)
            self.register_buffer("cosines", angles.cos().float(), persistent=False)
            self.register_buffer("sines", angles.sin().float(), persistent=False)
        if shape.positions == "alibi":
            self.register_buffer("slopes", alibi_slopes(shape.heads), persistent=False)

    @property
    def parameter_count(self) -> int:
        """How many weights there are, without the rows of ids that do not exist."""
        missing = self.shape.padded_vocab_size - self.shape.vocab_size
        padding = missing * self.shape.width * (1 if self.shape.tied else 2)
        return sum(parameter.numel() for parameter in self.parameters()) - padding

    def initialize(self, seed: int) -> None:
        """Draw all weights from a generator of their own, alike in all families.

        weights of norms       1
        biases                 0
        o_proj, down_proj      normal, 0.02 / sqrt(2 layers): they write into the stream
        all other matrices     normal, 0.02, embeddings of tokens and positions included
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
                continue
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            spread = INITIAL_SPREAD / (math.sqrt(2 * self.shape.layers) if writes else 1)
            nn.init.normal_(parameter, 0.0, spread, generator)

    def forward(
        self, tokens: Tensor, documents: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """The logits; `documents` numbers each token's document, and none sees into another.

        With a cache, `tokens` go on after those that it has seen, and it sees them too.
        """
        logits = functional.linear(self.states(tokens, documents, cache), self.head)
        return logits[..., : self.shape.vocab_size]

    def loss_sum(self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None) -> Tensor:
        """The cross-entropy in nats of all targets that are not ignored, summed."""
        states = self.states(tokens, documents).flatten(0, 1)
        return loss.loss_sum(
            states, self.head, targets.flatten(), self.shape.vocab_size, self.loss_chunk
        )

    @torch.no_grad()
    def token_losses(
        self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None
    ) -> Tensor:
        """The cross-entropy in nats of each target, 0 where it is ignored; without gradient."""
        states = self.states(tokens, documents).flatten(0, 1)
        losses = loss.token_losses(
            states, self.head, targets.flatten(), self.shape.vocab_size, self.loss_chunk
        )
        return losses.view(targets.shape)

    @property
    def head(self) -> Tensor:
        """The matrix from states to logits."""
        weight: Tensor = (self.model.embed_tokens if self.shape.tied else self.lm_head).weight
        return weight

    def states(
        self, tokens: Tensor, documents: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """What the head makes logits of."""
        past, length = cache.length if cache else 0, tokens.shape[1]
        if past + length > self.shape.context:
            raise CurateError(
                f"{past + length} tokens; the model's context has {self.shape.context}"
            )
        seen = self._sight(tokens, documents, cache)
        rotation = None  # it and ALiBi know distances only, so a document may begin anywhere
        if self.shape.positions == "rope":
            rotation = self.cosines[past : past + length], self.sines[past : past + length]
        states = self.model.embed_tokens(tokens)
        if self.shape.positions == "learned":
            states = states + self.model.embed_positions(places(tokens, documents, past))
        if self.shape.family == "bloom":
            states = self.model.embed_layernorm(states)
        for number, layer in enumerate(self.model.layers):
            if self.recompute and torch.is_grad_enabled():
                states = checkpoint(
                    layer, states, seen, rotation, use_reentrant=False, preserve_rng_state=False
                )
            else:
                kept = cache.layers[number] if cache else None
                states = layer(states, seen, rotation, kept)
        normed: Tensor = self.model.norm(states)
        return normed

    def _sight(self, tokens: Tensor, documents: Tensor | None, cache: Cache | None) -> Sight:
        """Who sees whom, worked out once for all layers."""
        alibi = self.shape.positions == "alibi"
        slopes = self.slopes if alibi else None
        if cache is not None:
            backend = "math" if self.attention == "math" else "sdpa"
            return sight(backend, tokens, documents, slopes, cache.length)
        kind, dtype = tokens.device.type, self.head.dtype
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        where = Setting(tokens.device, dtype, self.shape.head_size, alibi)
        backend = where.pick(self.attention, documents=documents is not None)
        return sight(backend, tokens, documents, slopes)
