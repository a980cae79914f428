"""Checkpoints: whole or not there, as many as wanted, and of this run only."""

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from curate.errors import ModelError
from tests.trainer.conftest import write
from tests.trainer.cuts import CutError, cut_after, silent
from trainer.checkpoint import checkpoints, write_tensors
from trainer.log import TrainProgress
from trainer.model import torch
from trainer.settings import TrainSettings
from trainer.train import train

WriteShards = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
SMALL = TrainSettings(
    steps=8, context=16, batch=4, layers=1, width=16, heads=2, checkpoint_every=2, device="cpu"
)


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoints(folder)]


def named(*steps: int) -> list[str]:
    return [f"checkpoint-{step:08}.safetensors" for step in steps]


@pytest.mark.parametrize(("keep", "left"), [(1, [8]), (3, [4, 6, 8]), (9, [2, 4, 6, 8])])
def test_the_newest_are_kept(
    small_shards: Path, tmp_path: Path, keep: int, left: Sequence[int]
) -> None:
    train(small_shards, tmp_path / "m", replace(SMALL, keep=keep), silent)
    assert names(tmp_path / "m") == named(*left)


def test_what_a_killed_writer_left_is_removed(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(CutError):
        train(small_shards, tmp_path / "m", SMALL, cut_after(5))
    (tmp_path / "m" / ".checkpoint-00000006.safetensors.4711.tmp").write_bytes(b"half")
    train(small_shards, tmp_path / "m", SMALL, silent)
    assert not list((tmp_path / "m").glob(".*"))


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    other = (path.parent / "model.safetensors").read_bytes()
    changed = {"empty": b"", "nonsense": b"nonsense", "torn": whole[:-1], "a model": other}
    path.write_bytes(changed[how])


DAMAGES = ["empty", "nonsense", "torn", "a model"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_an_error_where_it_is_the_only_one(
    small_shards: Path, tmp_path: Path, how: str
) -> None:
    train(small_shards, tmp_path / "m", SMALL, silent)
    damage(checkpoints(tmp_path / "m")[-1], how)
    with pytest.raises(ModelError, match=r"00008\.safetensors: not a checkpoint of ours.*delete"):
        train(small_shards, tmp_path / "m", SMALL, silent)


@pytest.mark.parametrize("how", DAMAGES)
def test_an_older_one_is_used_and_told_where_the_newest_is_damaged(
    small_shards: Path, tmp_path: Path, how: str
) -> None:
    settings = replace(SMALL, keep=2)
    train(small_shards, tmp_path / "m", settings, silent)
    last = checkpoints(tmp_path / "m")[-1]
    whole = last.read_bytes()
    damage(last, how)
    told: list[TrainProgress] = []
    train(small_shards, tmp_path / "m", settings, told.append)
    assert [step.step for step in told] == [7, 8]
    assert "00008.safetensors: not a checkpoint of ours" in told[0].note
    assert "going on from an older one" in told[0].note
    assert last.read_bytes() == whole


def test_a_damaged_one_that_is_passed_over_does_not_push_out_whole_ones(
    small_shards: Path, tmp_path: Path
) -> None:
    settings = replace(SMALL, keep=2)
    train(small_shards, tmp_path / "m", settings, silent)
    damage(checkpoints(tmp_path / "m")[-1], "torn")
    with pytest.raises(CutError):
        train(small_shards, tmp_path / "m", replace(settings, checkpoint_every=7), cut_after(8))
    assert names(tmp_path / "m") == named(6, 7)


def test_other_tokens_are_refused_unless_they_are_asked_for(
    small_shards: Path, write_shards: WriteShards, tmp_path: Path
) -> None:
    with pytest.raises(CutError):
        train(small_shards, tmp_path / "m", SMALL, cut_after(5))
    other = write_shards([[1] * 99])
    with pytest.raises(ModelError, match=r"of other token shards.*--allow-data-change"):
        train(other, tmp_path / "m", SMALL, silent)
    told: list[TrainProgress] = []
    train(other, tmp_path / "m", SMALL, told.append, allow_data_change=True)
    assert [step.step for step in told] == [5, 6, 7, 8]
    assert "of other token shards; going on with these" in told[0].note
    with pytest.raises(ModelError, match="of other token shards"):
        train(small_shards, tmp_path / "m", SMALL, silent)


def test_tokens_of_another_tokenizer_are_refused_even_if_they_are_asked_for(
    small_shards: Path, tmp_path: Path
) -> None:
    train(small_shards, tmp_path / "m", SMALL, silent)
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", [[[1] * 99]], 50, 0, "other words")
    with pytest.raises(ModelError, match="of the tokens of another tokenizer"):
        train(other, tmp_path / "m", SMALL, silent, allow_data_change=True)


@pytest.mark.parametrize(
    ("name", "before", "now"),
    [("steps", 8, 9), ("learning_rate", 0.002, 0.1), ("spike", 0.0, 3.0), ("width", 16, 32)],
)
def test_other_settings_are_refused_by_name(
    small_shards: Path, tmp_path: Path, name: str, before: object, now: object
) -> None:
    train(small_shards, tmp_path / "m", SMALL, silent)
    told = rf"its train\.{name} was {before}, now it is {now}; train into another folder"
    with pytest.raises(ModelError, match=told):
        train(small_shards, tmp_path / "m", replace(SMALL, **{name: now}), silent)


def test_settings_that_change_nothing_may_change(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(CutError):
        train(small_shards, tmp_path / "m", SMALL, cut_after(5))
    told: list[TrainProgress] = []
    changed = replace(SMALL, prompt="Once", top_k=1, keep=2, checkpoint_every=3, skip_bad=9)
    train(small_shards, tmp_path / "m", changed, told.append)
    assert [step.note for step in told] == [""] * 4


@pytest.mark.parametrize(
    "changes",
    [{"micro_batch": 1}, {"attention": "math"}, {"recompute": True}, {"loss_chunk": 7}],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_that_change_the_last_bits_may_change_and_are_told(
    small_shards: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    train(small_shards, tmp_path / "whole", SMALL, silent)
    with pytest.raises(CutError):
        train(small_shards, tmp_path / "m", SMALL, cut_after(5))
    told: list[TrainProgress] = []
    train(small_shards, tmp_path / "m", replace(SMALL, **changes), told.append)
    assert f"its train.{next(iter(changes))} was" in told[0].note
    assert "sums may differ in their last bits" in told[0].note
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("m", "whole"))
    for name, weight in ours.items():
        np.testing.assert_allclose(weight, theirs[name], atol=1e-5)


FULL = """
import resource, sys
from pathlib import Path
from trainer.settings import TrainSettings
from trainer.train import train
from tests.trainer.test_checkpoint import SMALL
limit = int(sys.argv[3])
def progress(report):
    if report.step == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
train(Path(sys.argv[1]), Path(sys.argv[2]), SMALL, progress)
"""


def test_a_full_disk_leaves_the_last_checkpoint_whole(small_shards: Path, tmp_path: Path) -> None:
    train(small_shards, tmp_path / "whole", SMALL, silent)
    limit = checkpoints(tmp_path / "whole")[0].stat().st_size - 1000
    command = [sys.executable, "-c", FULL, small_shards, tmp_path / "m", str(limit)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "DiskError" in done.stderr, done.stderr
    assert "make room there and run the same command again" in done.stderr
    assert names(tmp_path / "m") == named(2)
    assert not list((tmp_path / "m").glob(".*"))
    told: list[TrainProgress] = []
    train(small_shards, tmp_path / "m", SMALL, told.append)
    assert told[0].step == 3
    last = checkpoints(tmp_path / "m")[-1].read_bytes()
    assert last == checkpoints(tmp_path / "whole")[-1].read_bytes()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_the_library_reads_the_tensors_that_are_written(tmp_path: Path) -> None:
    tensors = {
        "bytes": torch.arange(5, dtype=torch.uint8),
        "half": torch.randn(3, 2).bfloat16(),
        "one": torch.tensor(2.5),
        "none": torch.zeros(0, 4),
        "turned": torch.randn(4, 3).T,
        "wide": torch.arange(3),
    }
    write_tensors(tmp_path / "some.safetensors", tensors, {"key": 'a "value"'})
    found = load_tensors(tmp_path / "some.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    with safe_open(tmp_path / "some.safetensors", "pt") as file:
        assert file.metadata() == {"key": 'a "value"'}
