"""All sizes of a model; importable without torch."""

from dataclasses import dataclass

from curate.errors import RecipeError
from trainer.settings import TrainSettings

PAD_TO = 128  # rows of the embedding: a GPU multiplies no slower by them than by fewer
EPSILON = {"baichuan": 1e-6}  # of the norms, as published; the other families have 1e-5


@dataclass(frozen=True)
class Shape:
    """A family of models and its sizes."""

    family: str  # llama, gpt2, bloom or baichuan
    positions: str  # rope, learned or alibi
    vocab_size: int  # ids that exist; the embedding has more rows, see `padded_vocab_size`
    context: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    tied: bool
    epsilon: float = 1e-5  # in the norms
    rope_theta: float = 10_000.0

    @classmethod
    def of(cls, settings: TrainSettings, vocab_size: int) -> "Shape":
        """The shape that settings ask for."""
        if settings.family == "bloom" and settings.hidden != 4 * settings.width:
            raise RecipeError(f"hidden: {settings.hidden}; bloom has 4 widths; leave it out")
        return cls(
            family=settings.family,
            positions=settings.positions,
            vocab_size=vocab_size,
            context=settings.context,
            layers=settings.layers,
            width=settings.width,
            heads=settings.heads,
            kv_heads=settings.kv_heads,
            hidden=settings.hidden,
            tied=bool(settings.tied),
            epsilon=EPSILON.get(settings.family, 1e-5),
        )

    @property
    def classic(self) -> bool:
        """LayerNorm, GELU and biases, as GPT-2 has them, in place of RMSNorm and SwiGLU."""
        return self.family in ("gpt2", "bloom")

    @property
    def padded_vocab_size(self) -> int:
        """The rows of the embedding."""
        return -(-self.vocab_size // PAD_TO) * PAD_TO

    @property
    def head_size(self) -> int:
        """The width of a head."""
        return self.width // self.heads

    def flops_per_token(self, parameters: int) -> float:
        """Floating-point operations of a training step for each token.

        6 for each weight, and 12 for each layer, width and token seen, full attention counted
        (Chowdhery et al. 2022, appendix B); `parameters` counts a tied embedding once, learned
        positions and an embedding that is not the head not at all.
        """
        return 6 * parameters + 12 * self.layers * self.width * self.context
