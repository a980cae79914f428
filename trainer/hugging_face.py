"""Our models as those of Hugging Face's `transformers`, and theirs as ours."""

from typing import Any

from trainer.model import Tensor, functional
from trainer.shape import Shape

Weights = dict[str, Tensor]


def config_of(shape: Shape, end_of_text: int) -> dict[str, Any]:
    """The shape as Hugging Face's config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": None,  # a document begins with its first token
        "eos_token_id": end_of_text,
        "head_dim": shape.head_size,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "max_position_embeddings": shape.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "float32",
        "vocab_size": shape.vocab_size,
    }


def shape_of(config: dict[str, Any]) -> Shape:
    """The shape that such a config describes."""
    return Shape(
        family="llama",
        positions="rope",
        vocab_size=config["vocab_size"],
        context=config["max_position_embeddings"],
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        hidden=config["intermediate_size"],
        tied=config["tie_word_embeddings"],
    )


def weights_of(state: Weights, shape: Shape) -> Weights:
    """The weights of a model of ours under their names, without rows of ids that do not exist."""
    return {
        name: (tensor[: shape.vocab_size] if _has_row_per_id(name) else tensor).cpu().contiguous()
        for name, tensor in state.items()
    }


def state_of(weights: Weights, shape: Shape) -> Weights:
    """The weights that `weights_of` gave, as a model of ours loads them."""
    missing = shape.padded_vocab_size - shape.vocab_size
    return {
        name: functional.pad(tensor, (0, 0, 0, missing)) if _has_row_per_id(name) else tensor
        for name, tensor in weights.items()
    }


def _has_row_per_id(name: str) -> bool:
    return name in ("model.embed_tokens.weight", "lm_head.weight")
