"""Text from a trained model folder: config.json, model.safetensors, and its tokenizer's files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.torch import load_file

from curate.errors import CurateError, ModelError
from tokenizer import vocabulary
from tokenizer.encode import Encoder
from trainer.hugging_face import shape_of, state_of
from trainer.model import LanguageModel, torch
from trainer.train import CONFIG, MODEL


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; temperature 0 takes the likeliest, top_k 0 draws from all."""

    tokens: int = 100
    temperature: float = 0.8
    top_k: int = 50
    seed: int = 0


def sample(folder: Path, prompt: str, how: Sampling) -> str:
    """The prompt and what the model in this folder writes after it, to the end of the text."""
    model, config = load_model(folder)
    encoder = Encoder(vocabulary.load(folder))
    start = encoder.encode(pa.array([prompt]))[0].tolist()
    if not start:
        raise CurateError("prompt: empty; write at least one character for the model to go on from")
    if max(start) >= model.shape.vocab_size:
        raise ModelError(f"{folder}: its tokenizer has ids that its model does not know")
    drawn = continuation(model, start, config["eos_token_id"], how)
    written: bytes = encoder.decode(np.array(start + drawn, np.uint32))
    return written.decode(errors="replace")


def load_model(folder: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """The model that `train` left in a folder, and its config."""
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        model = LanguageModel(shape_of(config))
        model.load_state_dict(state_of(load_file(folder / MODEL), model.shape))
    except FileNotFoundError as error:
        raise ModelError(f"{error.filename}: missing; train a model into {folder} first") from error
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: not a model of ours: {error}") from error
    return model.eval(), config


@torch.inference_mode()
def continuation(model: LanguageModel, start: Sequence[int], end: int, how: Sampling) -> list[int]:
    """The tokens drawn after `start`, until there are enough or one is `end`."""
    generator = torch.Generator().manual_seed(how.seed)
    tokens = list(start)
    while len(tokens) - len(start) < how.tokens:
        seen = torch.tensor([tokens[-model.shape.context :]])
        token = _drawn(model(seen)[0, -1], how, generator)
        if token == end:
            break
        tokens.append(token)
    return tokens[len(start) :]


def _drawn(logits: torch.Tensor, how: Sampling, generator: torch.Generator) -> int:
    if how.temperature == 0:
        return int(logits.argmax())
    kept = min(how.top_k or len(logits), len(logits))
    values, ids = logits.topk(kept)
    chances = torch.softmax(values / how.temperature, 0)
    return int(ids[torch.multinomial(chances, 1, generator=generator)])
