"""A training run on disk: one safetensors file, replaced whole, so it is never half of anything."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from curate.errors import ModelError
from curate.store import canonical, write_atomic
from trainer.model import LanguageModel, Tensor, torch
from trainer.settings import TrainSettings

FILE = "checkpoint.safetensors"
# What may differ between a run and its resumption: none of it changes what is learned.
FREE = ("device", "checkpoint_every", "prompt", "sample_tokens", "temperature", "top_k")


@dataclass
class Progress:
    """How far a run has come, and what it is a run of."""

    step: int
    first_loss: float
    last_loss: float
    tokens: str  # digest of the token shards' manifest
    settings: dict[str, Any]


def identity(settings: TrainSettings) -> dict[str, Any]:
    """The settings that decide what is learned."""
    return {name: value for name, value in asdict(settings).items() if name not in FREE}


def write_checkpoint(
    folder: Path, model: LanguageModel, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Put the run's whole state into its folder, in place of the last one."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, state in _named_state(model, optimizer).items():
        tensors |= {f"optimizer.{key}.{name}": tensor for key, tensor in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One key: safetensors keeps several in a random order.
    write_atomic(folder / FILE, save(tensors, {"progress": canonical(asdict(progress))}))


def read_checkpoint(
    folder: Path, model: LanguageModel, optimizer: torch.optim.Optimizer, fresh: Progress
) -> Progress:
    """Load the folder's checkpoint into model and optimizer; `fresh` itself where there is none.

    Refuses one of other tokens or other settings.
    """
    path = folder / FILE
    if not path.exists():
        return fresh
    tensors, progress = _read(path)
    if progress.tokens != fresh.tokens:
        raise ModelError(f"{path}: of other token shards; train into another folder, or delete it")
    for name, value in fresh.settings.items():
        if progress.settings.get(name) != value:
            raise ModelError(
                f"{path}: its train.{name} was {progress.settings.get(name)}, now it is {value}; "
                "train into another folder, or delete it"
            )
    names = model.state_dict()
    model.load_state_dict({name: tensors[f"model.{name}"] for name in names})
    _load_state(model, optimizer, tensors)
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return progress


def _read(path: Path) -> tuple[dict[str, Tensor], Progress]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
            progress = Progress(**json.loads(file.metadata()["progress"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a checkpoint of ours ({error}); delete it") from error
    return tensors, progress


def _named_state(
    model: LanguageModel, optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, Tensor]]:
    """The optimizer's state by the name of the weight that it belongs to."""
    return {
        name: optimizer.state[parameter]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
    }


def _load_state(
    model: LanguageModel, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    order = [names[id(each)] for group in optimizer.param_groups for each in group["params"]]
    packed = optimizer.state_dict()
    packed["state"] = {
        index: {
            key: tensors[f"optimizer.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
        }
        for index, name in enumerate(order)
    }
    optimizer.load_state_dict(packed)
