"""Our models as those of Hugging Face's `transformers`, and theirs as ours.

Llama, GPT-2 and BLOOM are classes of `transformers`. Baichuan 7B and 13B come with code of their
own, which is not run here: names and settings are those of that code, and a Baichuan 7B is a Llama
whose three projections lie one after the other in `W_pack`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from curate.errors import ModelError
from curate.store import disk_errors, write_atomic
from trainer.model import LanguageModel, Tensor, functional, torch
from trainer.settings import FAMILIES, POSITIONS, listed
from trainer.shape import Shape

Weights = dict[str, Tensor]
Config = dict[str, Any]

CONFIG = "config.json"
GENERATION = "generation_config.json"
MODEL = "model.safetensors"
INDEX = "model.safetensors.index.json"
LARGEST_FILE = 5_000_000_000  # bytes, as `transformers` cuts them
TOKENIZER_FILES = (
    "tokenizer*",
    "*.tiktoken",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "bloom": "BloomForCausalLM",
    "baichuan": "BaichuanForCausalLM",
}
# Our parts by the names in their files, where they differ; `qkv` is three projections in one.
_LAYERS = {"gpt2": "transformer.h.", "bloom": "transformer.h."}
_PARTS: dict[str, dict[str, str]] = {
    "llama": {},
    "baichuan": {"self_attn.qkv": "self_attn.W_pack"},
    "gpt2": {
        "model.embed_tokens": "transformer.wte",
        "model.embed_positions": "transformer.wpe",
        "model.norm": "transformer.ln_f",
        "input_layernorm": "ln_1",
        "self_attn.qkv": "attn.c_attn",
        "self_attn.o_proj": "attn.c_proj",
        "post_attention_layernorm": "ln_2",
        "mlp.up_proj": "mlp.c_fc",
        "mlp.down_proj": "mlp.c_proj",
    },
    "bloom": {
        "model.embed_tokens": "transformer.word_embeddings",
        "model.embed_layernorm": "transformer.word_embeddings_layernorm",
        "model.norm": "transformer.ln_f",
        "self_attn.qkv": "self_attention.query_key_value",
        "self_attn.o_proj": "self_attention.dense",
        "mlp.up_proj": "mlp.dense_h_to_4h",
        "mlp.down_proj": "mlp.dense_4h_to_h",
    },
}
_TURNED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")  # GPT-2 multiplies from the other side
# What older files hold beside weights: causal masks, and rates of rotary positions.
_NO_WEIGHT = re.compile(r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$")

# Sizes by the names in their config.json.
_LLAMA_SIZES = {
    "context": "max_position_embeddings",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "hidden": "intermediate_size",
    "tied": "tie_word_embeddings",
    "epsilon": "rms_norm_eps",
    "rope_theta": "rope_theta",
}
_BAICHUAN_SIZES = {ours: _LLAMA_SIZES[ours] for ours in _LLAMA_SIZES if ours != "kv_heads"}
_GPT2_SIZES = {
    "context": "n_positions",
    "layers": "n_layer",
    "width": "n_embd",
    "heads": "n_head",
    "hidden": "n_inner",
    "epsilon": "layer_norm_epsilon",
}
_BLOOM_SIZES = {
    "context": "seq_length",
    "layers": "n_layer",
    "width": "hidden_size",
    "heads": "n_head",
    "epsilon": "layer_norm_epsilon",
}
# BLOOM's published configs have other names for the same.
_BLOOM_OLDER = {"n_embed": "hidden_size", "num_attention_heads": "n_head"}
# What a config means that is silent, as the classes of `transformers` have it.
_LLAMA_SILENT = {"context": 2048, "tied": False, "epsilon": 1e-6, "rope_theta": 10_000.0}
_GPT2_SILENT = {"context": 1024, "tied": True, "epsilon": 1e-5}
_BLOOM_SILENT = {"context": 2048, "tied": True, "epsilon": 1e-5}

# What a config may ask for that our model does in one way only; silence means the first.
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": {
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "rope_scaling": (None,),
        "partial_rotary_factor": (None, 1.0),
    },
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    },
    "bloom": {
        "apply_residual_connection_post_layernorm": (False,),
        "tie_word_embeddings": (True,),
    },
    # Baichuan 2, whose head is normed, is the one that says a z_loss_weight.
    "baichuan": {"hidden_act": ("silu",), "rope_scaling": (None,), "z_loss_weight": (None,)},
}


def config_of(shape: Shape, end_of_text: int) -> Config:
    """The shape as Hugging Face's config.json."""
    sizes = _sizes(shape.family, alibi=shape.positions == "alibi")
    config: Config = {theirs: getattr(shape, ours) for ours, theirs in sizes.items()}
    only = _ONLY[shape.family].items()
    config |= {name: values[0] for name, values in only if values[0] is not None}
    return config | {
        "architectures": [_CLASSES[shape.family]],
        "bos_token_id": None,  # a document begins with its first token
        "eos_token_id": end_of_text,
        "model_type": shape.family,
        "torch_dtype": "float32",
        "vocab_size": shape.vocab_size,
    }


def shape_of(config: Config) -> Shape:
    """The shape that such a config describes; what our model cannot do is refused by name."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(f"{CONFIG}: model_type: {family!r}; only {listed(FAMILIES)} can be read")
    config = config | (config.get("rope_parameters") or {})
    if family == "bloom":
        config = {_BLOOM_OLDER.get(name, name): value for name, value in config.items()}
    _refuse(config, family)
    # Baichuan 13B says how many tokens it was trained on, 7B how many positions it has.
    has_positions = family != "baichuan" or "max_position_embeddings" in config
    is_alibi = family == "bloom" or not has_positions
    named = _sizes(family, alibi=is_alibi) | {"vocab_size": "vocab_size"}
    sizes = {
        ours: config[theirs] for ours, theirs in named.items() if config.get(theirs) is not None
    }
    if "width" in sizes and family in ("gpt2", "bloom"):
        sizes = {"hidden": 4 * sizes["width"]} | sizes
    for ours in ("vocab_size", "layers", "width", "heads", "hidden"):
        if not isinstance(sizes.get(ours), int):
            raise ModelError(f"{CONFIG}: {named[ours]}: missing; copy the model's own {CONFIG}")
    if config.get("head_dim") not in (None, sizes["width"] // sizes["heads"]):
        raise ModelError(
            f"{CONFIG}: head_dim: {config['head_dim']}; only a width shared out among heads is done"
        )
    silent = {"gpt2": _GPT2_SILENT, "bloom": _BLOOM_SILENT}.get(family, _LLAMA_SILENT)
    return Shape(
        family=family,
        positions="alibi" if is_alibi else POSITIONS[family][0],
        **({"kv_heads": sizes["heads"]} | silent | sizes),
    )


def _sizes(family: str, *, alibi: bool) -> dict[str, str]:
    if family == "baichuan" and alibi:
        return _BAICHUAN_SIZES | {"context": "model_max_length"}
    by_family = {"gpt2": _GPT2_SIZES, "bloom": _BLOOM_SIZES, "baichuan": _BAICHUAN_SIZES}
    return by_family.get(family, _LLAMA_SIZES)


def _refuse(config: Config, family: str) -> None:
    for name, values in _ONLY[family].items():
        if config.get(name, values[0]) not in values:
            raise ModelError(
                f"{CONFIG}: {name}: {config[name]!r}; our {family} does {values[0]!r} only"
            )
    if config.get("rope_type", "default") != "default":
        raise ModelError(f"{CONFIG}: rope_type: {config['rope_type']!r}; only 'default' is done")


def weights_of(state: Weights, shape: Shape) -> Weights:
    """The weights of a model of ours under their names, without rows of ids that do not exist."""
    state = {
        name: tensor[: shape.vocab_size] if _has_row_per_id(name) else tensor
        for name, tensor in state.items()
    }
    if shape.family != "llama":
        state = dict(_fused(state, _groups(shape)))
    layers = ("model.layers.", _LAYERS.get(shape.family, "model.layers."))
    named = {_renamed(name, _PARTS[shape.family], layers): value for name, value in state.items()}
    return {
        name: (value.T if _is_turned(name, shape) else value).cpu().contiguous()
        for name, value in named.items()
    }


def state_of(weights: Weights, shape: Shape) -> Weights:
    """Weights under their names as a model of ours loads them."""
    weights = {name: value for name, value in weights.items() if not _NO_WEIGHT.search(name)}
    if shape.classic:  # published files leave the prefix out
        weights = {
            name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": value
            for name, value in weights.items()
        }
    weights = {
        name: value.T if _is_turned(name, shape) else value for name, value in weights.items()
    }
    parts = {theirs: ours for ours, theirs in _PARTS[shape.family].items()}
    layers = (_LAYERS.get(shape.family, "model.layers."), "model.layers.")
    state = {_renamed(name, parts, layers): value for name, value in weights.items()}
    _drop_second_head(state, shape)
    if shape.family != "llama":
        state = dict(_split(state, _groups(shape)))
    missing = shape.padded_vocab_size - shape.vocab_size
    return {
        name: functional.pad(value, (0, 0, 0, missing)) if _has_row_per_id(name) else value
        for name, value in state.items()
    }


def _drop_second_head(state: Weights, shape: Shape) -> None:
    """Some files hold a tied matrix twice."""
    if shape.tied and "lm_head.weight" in state:
        if not torch.equal(state["lm_head.weight"], state["model.embed_tokens.weight"]):
            raise ModelError(f"{CONFIG}: tie_word_embeddings: true, but there are two of them")
        del state["lm_head.weight"]


def _has_row_per_id(name: str) -> bool:
    return name in ("model.embed_tokens.weight", "lm_head.weight")


def _is_turned(name: str, shape: Shape) -> bool:
    return shape.family == "gpt2" and bool(_TURNED.search(name))


def _groups(shape: Shape) -> int:
    """How often queries, keys and values take turns: BLOOM lays them side by side for each head."""
    return shape.heads if shape.family == "bloom" else 1


def _fused(state: Weights, groups: int) -> Iterator[tuple[str, Tensor]]:
    """The state with each three projections as one."""
    for name, value in state.items():
        if ".q_proj." in name:
            three = (state[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj"))
            turns = [part.reshape(groups, -1, *part.shape[1:]) for part in three]
            yield name.replace("q_proj", "qkv"), torch.cat(turns, 1).flatten(0, 1)
        elif ".k_proj." not in name and ".v_proj." not in name:
            yield name, value


def _split(state: Weights, groups: int) -> Iterator[tuple[str, Tensor]]:
    """The state with projections that are one as three."""
    for name, value in state.items():
        if ".qkv." not in name:
            yield name, value
            continue
        turns = value.reshape(groups, -1, *value.shape[1:]).chunk(3, 1)
        for part, tensor in zip(("q_proj", "k_proj", "v_proj"), turns, strict=True):
            yield name.replace("qkv", part), tensor.flatten(0, 1)


def _renamed(name: str, parts: Mapping[str, str], layers: tuple[str, str]) -> str:
    """`layers.0.PART.weight` with another name for the part, and for where layers are."""
    part, _, kind = name.rpartition(".")
    place = ""
    if part.startswith(layers[0]):
        number, _, part = part.removeprefix(layers[0]).partition(".")
        place = f"{layers[1]}{number}."
    return f"{place}{parts.get(part, part)}.{kind}"


def export(folder: Path, output: Path) -> None:
    """Write the model in a folder, and its tokenizer, as `transformers` publishes models."""
    found = tokenizer_files(folder)
    if not found:
        raise ModelError(f"{folder}: no tokenizer; copy the files of the model's tokenizer there")
    model, config = read_model(folder)
    write_model(output, model, config["eos_token_id"])
    with disk_errors(output):
        for path in found:
            write_atomic(output / path.name, path.read_bytes())


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of the tokenizer in a model's folder."""
    return sorted(
        {path for pattern in TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()}
    )


def write_model(
    output: Path, model: LanguageModel, end_of_text: int, largest: int = LARGEST_FILE
) -> None:
    """Write weights, in several files where they are larger than `largest` bytes, and configs."""
    weights = weights_of(model.state_dict(), model.shape)
    files = _files(weights, largest)
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        for number, names in enumerate(files, 1):
            part = {name: weights[name] for name in names}
            write_atomic(output / _file(number, len(files)), save(part, {"format": "pt"}))
        if len(files) > 1:
            where = {
                name: _file(number, len(files))
                for number, names in enumerate(files, 1)
                for name in names
            }
            size = sum(value.nbytes for value in weights.values())
            write_atomic(
                output / INDEX, _json({"metadata": {"total_size": size}, "weight_map": where})
            )
        ends = {"bos_token_id": None, "eos_token_id": end_of_text}
        write_atomic(output / GENERATION, _json(ends))
        write_atomic(output / CONFIG, _json(config_of(model.shape, end_of_text)))


def read_model(folder: Path) -> tuple[LanguageModel, Config]:
    """The model in a folder, ours or one of `transformers`, and its config."""
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        model = LanguageModel(shape_of(config))
        model.load_state_dict(state_of(_read_weights(folder), model.shape))
    except FileNotFoundError as error:
        raise ModelError(f"{error.filename}: missing; a model's folder has it") from error
    except (
        # What a text that is JSON but no config leads to: a list, a number for a name, no heads.
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelError(f"{folder}: not a model that can be read: {error}") from error
    return model.eval(), config


def _read_weights(folder: Path) -> Weights:
    """All weights; safetensors only, since to open a pickle is to run it."""
    if (folder / INDEX).exists():
        names = sorted(set(json.loads((folder / INDEX).read_bytes())["weight_map"].values()))
        for name in names:
            if Path(name).name != name:
                raise ModelError(f"{folder / INDEX}: {name!r}; a file must be beside it")
        return {key: value for name in names for key, value in _read(folder / name).items()}
    pickles = sorted(
        path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)
    )
    if pickles and not (folder / MODEL).exists():
        raise ModelError(
            f"{folder / pickles[0]}: a pickle, which is never opened; save the model as {MODEL}"
        )
    return _read(folder / MODEL)


def _read(path: Path) -> Weights:
    if not path.exists():
        raise ModelError(f"{path}: missing; a model's folder has it")
    weights: Weights = load_file(path)
    return weights


def _files(weights: Weights, largest: int) -> list[list[str]]:
    """Names of weights for each file, by name."""
    files: list[list[str]] = [[]]
    size = 0
    for name in sorted(weights):
        size += weights[name].nbytes
        if size > largest and files[-1]:
            files.append([])
            size = weights[name].nbytes
        files[-1].append(name)
    return files


def _file(number: int, count: int) -> str:
    return MODEL if count == 1 else f"model-{number:05}-of-{count:05}.safetensors"


def _json(value: Config) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
