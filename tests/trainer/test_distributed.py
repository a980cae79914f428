"""Two processes that talk over loopback train what one process trains."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from curate.errors import CurateError
from trainer.distributed import Ranks, join
from trainer.model import torch
from trainer.settings import TrainSettings
from trainer.train import train

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = TrainSettings(
    steps=6,
    context=16,
    batch=4,
    micro_batch=1,
    layers=2,
    width=16,
    heads=2,
    warmup=2,
    spike=100.0,
    checkpoint_every=3,
    keep=2,
    device="cpu",
)
# What two processes do, one after the other: settings, and the folder to go on in.
RUNS = {
    "ddp": {"parallel": "ddp"},
    "fsdp": {"parallel": "fsdp"},
    "muon": {"parallel": "fsdp", "optimizer": "muon"},
    "lion": {"parallel": "fsdp", "optimizer": "lion"},
    "resumed": {"parallel": "fsdp"},
}
WORKER = """
import json, os, sys
from pathlib import Path
from trainer.settings import TrainSettings
from trainer.train import train

data, folder, runs = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
for name, settings in runs.items():
    told, scored = [], []
    settings = TrainSettings(**settings)
    def evaluate(model, step):
        scored.append([step, float(sum(weight.double().sum() for weight in model.parameters()))])
    def progress(report):
        told.append(report.loss)
    summary = train(data, folder / name, settings, progress, evaluate)
    said = {"told": told, "scored": scored}
    said |= {"parameters": summary.parameters, "last": summary.last_loss}
    (folder / f"{name}.{os.environ['RANK']}.json").write_text(json.dumps(said))
"""


def last(folder: Path) -> Path:
    return folder / "checkpoint-00000006.safetensors"


def cut_back(folder: Path) -> None:
    """Leave of a finished training what there was after step 3."""
    last(folder).unlink()
    (folder / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def runs(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of RUNS by two processes, and the same by one, in a folder of its name + "-alone"."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {name: replace(SETTINGS, **changes) for name, changes in RUNS.items()}
    for name, changed in settings.items():
        if name in ("ddp", "muon", "lion"):
            train(small_shards, folder / f"{name}-alone", changed, lambda step: None)
    train(small_shards, folder / "resumed", SETTINGS, lambda step: None)
    cut_back(folder / "resumed")
    asked = json.dumps({name: asdict(one) for name, one in settings.items()})
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = folder / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [*torchrun, script, small_shards, folder, asked],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def apart(one: Path, other: Path) -> float:
    """The largest difference between the tensors of two files."""
    ours, theirs = load_file(one), load_file(other)
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name] - theirs[name]).max(initial=0)) for name in ours)


@pytest.mark.parametrize(
    ("name", "alone", "most"),
    [
        ("ddp", "ddp-alone", 1e-6),
        ("fsdp", "ddp-alone", 1e-5),
        ("muon", "muon-alone", 1e-4),  # five turns of a quintic spread what differs in a last bit
        ("lion", "lion-alone", 1e-5),
        ("resumed", "ddp-alone", 1e-5),
    ],
)
def test_two_processes_end_with_the_weights_of_one(
    runs: Path, name: str, alone: str, most: float
) -> None:
    assert apart(runs / name / "model.safetensors", runs / alone / "model.safetensors") <= most


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_the_first_process_alone_tells_and_evaluates_the_whole_model(runs: Path, name: str) -> None:
    first, second = (json.loads((runs / f"{name}.{rank}.json").read_text()) for rank in (0, 1))
    assert len(first["told"]) == 6
    assert (second["told"], second["scored"]) == ([], [])
    assert second["last"] == first["last"] == first["told"][-1]
    assert first["parameters"] == second["parameters"]
    weights = load_file(last(runs / name)).items()
    total = sum(weight.astype(np.float64).sum() for key, weight in weights if "model." in key[:6])
    assert first["scored"] == [[6, pytest.approx(total, abs=1e-9)]]


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_one_process_goes_on_from_what_two_have_saved(
    runs: Path, small_shards: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "model").mkdir()
    path = runs / name / "checkpoint-00000003.safetensors"
    (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    notes = []
    settings = replace(SETTINGS, micro_batch=0)
    train(small_shards, tmp_path / "model", settings, lambda step: notes.append(step.note))
    alone = runs / "ddp-alone" / "model.safetensors"
    assert apart(tmp_path / "model" / "model.safetensors", alone) <= 1e-5
    assert "its train.micro_batch was 1, now it is 0: sums may differ" in notes[0]
    assert not any(notes[1:])


def test_processes_share_out_the_rows_of_a_step() -> None:
    assert [Ranks(rank, 2).rows(3, 8) for rank in (0, 1)] == [(24, 4), (28, 4)]
    assert Ranks().rows(3, 8) == (24, 8)


def test_a_batch_that_cannot_be_shared_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(CurateError, match=r"train\.batch: 8 is not divisible by 3 processes"):
        join(torch.device("cpu"), 8)
