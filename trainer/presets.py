"""Shapes by name: those of published models, and small ones for a CPU and for proxies."""

from typing import Any

Preset = dict[str, Any]


def _gpt2(layers: int, width: int, heads: int) -> Preset:
    return _preset("gpt2", layers, width, heads, 1024)


def _preset(family: str, layers: int, width: int, heads: int, context: int) -> Preset:
    return {
        "family": family,
        "layers": layers,
        "width": width,
        "heads": heads,
        "context": context,
    }


# Sizes of the published ones are those of their config.json; others name their parameters
# at a vocabulary of 32,000 (proxies: 8,192), embeddings included.
PRESETS: dict[str, Preset] = {
    "tiny": _preset("llama", 4, 128, 2, 128),  # visibly learns in two CPU minutes
    "proxy-30m": _preset("llama", 8, 512, 8, 1024),
    "proxy-50m": _preset("llama", 8, 640, 10, 2048),
    "llama-30m": _preset("llama", 6, 384, 6, 1024),
    "llama-124m": _preset("llama", 12, 768, 12, 2048),
    "llama-350m": _preset("llama", 24, 1024, 16, 2048) | {"tied": False},
    "llama-1b": _preset("llama", 22, 2048, 32, 2048)
    | {"kv_heads": 4, "hidden": 5632, "tied": False},
    "llama-7b": _preset("llama", 32, 4096, 32, 2048) | {"hidden": 11008, "tied": False},
    "llama2-7b": _preset("llama", 32, 4096, 32, 4096) | {"hidden": 11008, "tied": False},
    "gpt2-124m": _gpt2(12, 768, 12),
    "gpt2-355m": _gpt2(24, 1024, 16),
    "gpt2-774m": _gpt2(36, 1280, 20),
    "gpt2-1558m": _gpt2(48, 1600, 25),
    "bloom-560m": _preset("bloom", 24, 1024, 16, 2048),
    "bloom-1b1": _preset("bloom", 24, 1536, 16, 2048),
    "bloom-7b1": _preset("bloom", 30, 4096, 32, 2048),
    "baichuan-7b": _preset("baichuan", 32, 4096, 32, 4096) | {"hidden": 11008, "tied": False},
    "baichuan-13b": _preset("baichuan", 40, 5120, 40, 4096)
    | {"hidden": 13696, "positions": "alibi", "tied": False},
}
