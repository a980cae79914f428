"""A Llama-style language model: RMSNorm, rotary positions, SwiGLU, grouped-query attention.

Modules and weights carry the names that Hugging Face's `LlamaForCausalLM` gives them, so a
saved model is also one of theirs.
"""

import math

from curate.errors import CurateError
from trainer.shape import Shape

try:
    import torch as torch  # the trainer's other files import it from here
except ImportError as error:
    raise CurateError("training needs torch: pip install 'crawl-to-model[train]'") from error

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor

ROPE_THETA = 10_000.0
EPSILON = 1e-5
INITIAL_SPREAD = 0.02


def rotated(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions: pairs are a head's first half and second half, as in Llama's weights."""
    first, second = states.chunk(2, dim=-1)
    return states * cosines + torch.cat((-second, first), dim=-1) * sines


class Attention(nn.Module):
    """Causal attention in which several heads may share keys and values."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.size = shape.width // shape.heads
        self.grouped = shape.kv_heads != shape.heads
        self.q_proj = nn.Linear(shape.width, shape.heads * self.size, bias=False)
        self.k_proj = nn.Linear(shape.width, shape.kv_heads * self.size, bias=False)
        self.v_proj = nn.Linear(shape.width, shape.kv_heads * self.size, bias=False)
        self.o_proj = nn.Linear(shape.heads * self.size, shape.width, bias=False)

    def forward(
        self, states: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> Tensor:
        rows, length, _ = states.shape
        query, key, value = (
            project(states).view(rows, length, -1, self.size).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(
            rotated(query, *rotation).to(value.dtype),
            rotated(key, *rotation).to(value.dtype),
            value,
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.grouped,
        )
        projected: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))
        return projected


class SwiGLU(nn.Module):
    """The gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        gated: Tensor = self.down_proj(
            functional.silu(self.gate_proj(states)) * self.up_proj(states)
        )
        return gated


class Layer(nn.Module):
    """Attention, then feed-forward, each on normed states and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, EPSILON)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, EPSILON)
        self.mlp = SwiGLU(shape)

    def forward(
        self, states: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> Tensor:
        states = states + self.self_attn(self.input_layernorm(states), rotation, mask)
        forwarded: Tensor = states + self.mlp(self.post_attention_layernorm(states))
        return forwarded


class Decoder(nn.Module):
    """Embedding, layers, last norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.padded_vocab_size, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, EPSILON)


class LanguageModel(nn.Module):
    """From token ids to the logits of the next token at every position."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        if not shape.tied:
            self.lm_head = nn.Linear(shape.width, shape.padded_vocab_size, bias=False)
        size = shape.width // shape.heads
        rates = ROPE_THETA ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.outer(torch.arange(shape.context, dtype=torch.float64), rates).repeat(1, 2)
        self.register_buffer("cosines", angles.cos().float(), persistent=False)
        self.register_buffer("sines", angles.sin().float(), persistent=False)

    @property
    def parameter_count(self) -> int:
        """How many weights there are, without the rows of ids that do not exist."""
        missing = self.shape.padded_vocab_size - self.shape.vocab_size
        padding = missing * self.shape.width * (1 if self.shape.tied else 2)
        return sum(parameter.numel() for parameter in self.parameters()) - padding

    def initialize(self, seed: int) -> None:
        """Draw all weights from a generator of their own.

        Norms 1; embeddings and matrices normal with deviation 0.02; those that write into the
        stream (o_proj, down_proj) smaller by the root of twice the layers.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                nn.init.ones_(parameter)
                continue
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            spread = INITIAL_SPREAD / (math.sqrt(2 * self.shape.layers) if writes else 1)
            nn.init.normal_(parameter, 0.0, spread, generator)

    def forward(self, tokens: Tensor, documents: Tensor | None = None) -> Tensor:
        """The logits; `documents` numbers each token's document, and none sees into another."""
        length = tokens.shape[1]
        rotation = (self.cosines[:length], self.sines[:length])
        mask = None
        if documents is not None:
            same = documents[:, None, :, None] == documents[:, None, None, :]
            mask = same.tril()
        states = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            states = layer(states, rotation, mask)
        head = self.model.embed_tokens if self.shape.tied else self.lm_head
        logits = functional.linear(self.model.norm(states), head.weight)
        return logits[..., : self.shape.vocab_size]

    def loss_sum(self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None) -> Tensor:
        """The cross-entropy in nats of all targets that are not ignored, summed."""
        logits = self(tokens, documents)
        return functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), reduction="sum"
        )
