"""A training on disk: safetensors files named by their step, the newest of which goes on.

A file holds whole tensors, whatever processes had parts of them, so that any number of processes
can go on from it. It takes its place when it is complete, and only then are older ones removed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from curate.errors import ModelError
from curate.store import canonical, replacing
from trainer.distributed import Ranks, shard_like, whole
from trainer.model import LanguageModel, Tensor, torch
from trainer.settings import TrainSettings

PREFIX, SUFFIX = "checkpoint-", ".safetensors"
# What may differ between a run and its resumption: none of it changes what is learned.
FREE = (
    "preset",  # what it stands for is in the other settings
    "checkpoint_every",
    "keep",
    "evaluate_every",
    "skip_bad",
    "prompt",
    "sample_tokens",
    "temperature",
    "top_k",
    "top_p",
)
# These change the order in which sums are added up, and so at most the last bits.
ORDER = (
    "micro_batch",
    "device",
    "threads",
    "compiled",
    "attention",
    "recompute",
    "loss_chunk",
    "parallel",
    "deterministic",
)
_TYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint8: "U8",
}


@dataclass
class Progress:
    """How far a run has come, and what it is a run of."""

    tokens: str  # digest of the samples: of shards' manifests, or of instructions and their model
    settings: dict[str, Any]
    vocabulary: str = ""  # fingerprint of the tokenizer, where one decides what an id means
    step: int = 0
    first_loss: float | None = None  # of the first step that changed a weight
    last_loss: float | None = None
    skipped: int = 0  # steps that changed no weight
    bad: int = 0  # of them, the last ones in a row
    notes: list[str] = field(default_factory=list)  # of this process, not of the run


@dataclass(frozen=True)
class State:
    """All tensors that a step changes."""

    model: LanguageModel
    optimizers: tuple[torch.optim.Optimizer, ...]
    norms: Tensor  # see trainer/spikes.py

    def weights(self) -> dict[str, Tensor]:
        """The model's, without those that are frozen."""
        frozen = {name for name, one in self.model.named_parameters() if not one.requires_grad}
        return {n: tensor for n, tensor in self.model.state_dict().items() if n not in frozen}

    def tensors(self) -> dict[str, Tensor]:
        """Every one of them by name."""
        tensors = {f"model.{name}": tensor for name, tensor in self.weights().items()}
        for name, parameter in self.model.named_parameters():
            for optimizer in self.optimizers:
                state = optimizer.state.get(parameter, {})
                tensors |= {f"optimizer.{key}.{name}": tensor for key, tensor in state.items()}
        tensors["spikes.norms"] = self.norms
        tensors["random.cpu"] = torch.get_rng_state()
        if self.norms.is_cuda:
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return tensors


def identity(settings: TrainSettings) -> dict[str, Any]:
    """The settings that decide what is learned."""
    return {name: value for name, value in asdict(settings).items() if name not in FREE}


def write_checkpoint(
    folder: Path, state: State, progress: Progress, keep: int, ranks: Ranks
) -> None:
    """Put the run's whole state into its folder, and remove all but the newest `keep`.

    Every process must call it; the first one writes.
    """
    told = {name: value for name, value in asdict(progress).items() if name != "notes"}
    path = folder / f"{PREFIX}{progress.step:08}{SUFFIX}"
    tensors, metadata = state.tensors(), {"progress": canonical(told)}
    if not ranks.is_first:
        for _, tensor in _in_order(tensors):
            whole(tensor)  # to which this process has a part to give
        return
    write_tensors(path, tensors, metadata)
    older = [one for one in checkpoints(folder) if one <= path]
    for one in set(checkpoints(folder)) - set(older[-keep:]):
        one.unlink()  # also those after it, which a run from an older one has passed over


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest last."""
    return sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file, written tensor by tensor.

    The library's writer would hold all of them in memory, twice: 24 bytes a weight.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in _in_order(tensors):
        begin, end = end, end + tensor.numel() * tensor.element_size()
        kind, shape = _TYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in _in_order(tensors):
            values = whole(tensor.detach()).cpu().contiguous().reshape(-1)
            file.write(values.view(torch.uint8).numpy().data)


def _in_order(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Wide numbers first, so that each begins at a multiple of its size."""
    return sorted(tensors.items(), key=lambda item: -item[1].element_size())


def resume(folder: Path, state: State, fresh: Progress, *, allow_data_change: bool) -> Progress:
    """Load the folder's newest whole checkpoint; `fresh` itself where there is none.

    Refuses one of other tokens or other settings.
    """
    found = checkpoints(folder)
    if not found:
        return fresh
    path, progress, notes = _newest(found)
    if progress.vocabulary != fresh.vocabulary:
        raise ModelError(
            f"{path}: of the tokens of another tokenizer; train into another folder, or delete it"
        )
    if progress.tokens != fresh.tokens:
        if not allow_data_change:
            raise ModelError(
                f"{path}: of other token shards, or of other instructions or their model; train "
                "into another folder, delete it, or have `curate train` go on with these by "
                "--allow-data-change"
            )
        notes.append(f"{path.name}: of other token shards; going on with these")
    notes += _compared(path, progress.settings, fresh.settings)
    with safe_open(path, "pt") as file:
        _load(file, state)
    progress.notes, progress.tokens, progress.settings = notes, fresh.tokens, fresh.settings
    return progress


def _newest(paths: Sequence[Path]) -> tuple[Path, Progress, list[str]]:
    """The newest checkpoint that is whole, its progress, and what is wrong with newer ones."""
    notes: list[str] = []
    for path in reversed(paths):
        try:
            return path, _progress(path), notes
        except ModelError as error:
            if path == paths[0]:
                raise
            notes.append(f"{error}; going on from an older one")
    raise AssertionError(paths)


def _progress(path: Path) -> Progress:
    try:
        with safe_open(path, "pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            file.get_slice("random.cpu")  # the last of our tensors
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a checkpoint of ours ({error}); delete it") from error
    return progress


def _compared(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Notes on settings that changed the order of sums; others are refused by name."""
    notes = []
    for name, value in now.items():
        if before.get(name) == value:
            continue
        change = f"its train.{name} was {before.get(name)}, now it is {value}"
        if name not in ORDER:
            raise ModelError(f"{path}: {change}; train into another folder, or delete it")
        notes.append(f"{path.name}: {change}: sums may differ in their last bits")
    return notes


def _load(file: Any, state: State) -> None:
    names = set(file.keys())
    with torch.no_grad():
        for name, tensor in state.weights().items():
            tensor.copy_(shard_like(file.get_tensor(f"model.{name}").to(tensor.device), tensor))
    by_parameter = {id(parameter): name for name, parameter in state.model.named_parameters()}
    for optimizer in state.optimizers:
        packed = optimizer.state_dict()
        order = [each for group in optimizer.param_groups for each in group["params"]]
        packed["state"] = {
            index: dict(_state_of(by_parameter[id(parameter)], parameter, file, names))
            for index, parameter in enumerate(order)
        }
        optimizer.load_state_dict(packed)
    state.norms.copy_(file.get_tensor("spikes.norms"))
    torch.set_rng_state(file.get_tensor("random.cpu"))
    if "random.cuda" in names and state.norms.is_cuda:
        torch.cuda.set_rng_state(file.get_tensor("random.cuda"))


def _state_of(
    name: str, parameter: Tensor, file: Any, names: set[str]
) -> Iterator[tuple[str, Tensor]]:
    """What an optimizer holds for a weight, shared out as the weight is."""
    for key in ("step", "exp_avg", "exp_avg_sq", "momentum_buffer"):
        if (full := f"optimizer.{key}.{name}") in names:
            tensor = file.get_tensor(full).clone()  # else it stays a view of the file
            alike = tensor.shape == parameter.shape
            tensor = tensor.to(parameter.device)
            yield key, shard_like(tensor, parameter) if alike else tensor
