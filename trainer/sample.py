"""Text from a model folder: config.json, weights in safetensors, and a tokenizer's files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import CurateError, ModelError
from tokenizer import vocabulary
from tokenizer.encode import Encoder
from trainer.device import pick_device
from trainer.hugging_face import read_model
from trainer.model import Cache, LanguageModel, Tensor, functional, torch
from trainer.settings import CHOICES, listed


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; temperature 0 takes the likeliest, top_k 0 and top_p 1 draw from all.

    Each of `count` texts has a generator of its own: the second of seed 0 is the first of seed 1.
    """

    tokens: int = 100
    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 1.0  # of the likeliest, as many as have this share of the chances together
    seed: int = 0
    count: int = 1


@dataclass(frozen=True)
class Writer:
    """A model that writes text."""

    model: LanguageModel
    encoder: Encoder
    ends: frozenset[int]  # tokens that end a text

    @classmethod
    def of(cls, folder: Path, device: str = "auto") -> "Writer":
        """The model of a folder, and its tokenizer."""
        if device not in CHOICES["device"]:
            raise CurateError(f"device: {device!r}; write {listed(CHOICES['device'])}")
        place = pick_device(device)
        model, config = read_model(folder)
        encoder = Encoder(vocabulary.load(folder))
        return cls(model.to(place), encoder, ends_of(config))

    def written(self, prompt: str, how: Sampling) -> list[str]:
        """What the model writes after the prompt, `how.count` times."""
        start = self.tokens(prompt)
        drawn = continuations(self.model, start, self.ends, how)
        texts = (self.encoder.decode(np.array(ids, np.uint32)) for ids in drawn)
        return [text.decode(errors="replace") for text in texts]

    def tokens(self, prompt: str) -> list[int]:
        """The ids of a prompt, in which names of special tokens are text."""
        ids: list[int] = self.encoder.encode(pa.array([prompt]))[0].tolist()
        if not ids:
            raise CurateError(
                "prompt: empty; write at least one character for the model to go on from"
            )
        self.check(ids)
        return ids

    def check(self, ids: Sequence[int]) -> None:
        """Refuse ids that the model does not know."""
        if max(ids) >= self.model.shape.vocab_size:
            raise ModelError(
                f"token {max(ids)} of the tokenizer is not among the {self.model.shape.vocab_size} "
                "that the model knows; put the tokenizer that it was trained with into its folder"
            )


def ends_of(config: dict[str, Any]) -> frozenset[int]:
    """The tokens that end a text: config.json has one, several or none."""
    ends = config.get("eos_token_id")
    return frozenset([] if ends is None else ends if isinstance(ends, list) else [ends])


@torch.inference_mode()
def continuations(
    model: LanguageModel, start: Sequence[int], ends: Collection[int], how: Sampling
) -> list[list[int]]:
    """The tokens drawn after `start`, until there are enough or one is an end; `how.count` times.

    Keys and values of what was read are kept. Of a start longer than the context its end is seen;
    where the context is full, its last half is read again as a text of its own, and so on.
    """
    device, context = model.head.device, model.shape.context
    generators = [torch.Generator().manual_seed(how.seed + text) for text in range(how.count)]
    drawn: list[list[int]] = [[] for _ in generators]
    live = set(range(how.count))
    rows = torch.tensor([list(start)] * how.count, device=device)
    unread, cache = rows[:, -context:], Cache(model.shape)
    for _ in range(how.tokens):
        last = model.states(unread, cache=cache)[:, -1]
        logits = functional.linear(last, model.head)[:, : model.shape.vocab_size].float().cpu()
        tokens = [_drawn(*one, how) for one in zip(logits, generators, strict=True)]
        live -= {text for text in live if tokens[text] in ends}
        for text in live:
            drawn[text].append(tokens[text])
        if not live:
            break
        unread = torch.tensor(tokens, device=device)[:, None]
        rows = torch.cat((rows, unread), 1)
        if cache.length == context:
            unread, cache = rows[:, -max(1, context // 2) :], Cache(model.shape)
    return drawn


def _drawn(logits: Tensor, generator: torch.Generator, how: Sampling) -> int:
    if not logits.isfinite().all():
        raise ModelError("the model's logits are not numbers: its weights are broken")
    if how.temperature == 0:
        return int(logits.argmax())
    values, ids = logits.topk(min(how.top_k or len(logits), len(logits)))
    chances = torch.softmax((values - values[0]) / how.temperature, 0)
    # A token stays if those likelier than it do not have the share yet; the likeliest always does.
    stays = chances.cumsum(0) - chances < how.top_p
    stays[0] = True
    return int(ids[torch.multinomial(chances * stays, 1, generator=generator)])
