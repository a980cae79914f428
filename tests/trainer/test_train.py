"""Training: it learns, goes on bit by bit where it was cut off, and refuses what is not its own."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from curate.errors import CurateError, ModelError, ShardError
from tokenizer.dataset import TokenDataset
from trainer.checkpoint import FILE as CHECKPOINT
from trainer.data import IGNORED, Window, open_loader
from trainer.model import LanguageModel, torch
from trainer.optimizer import learning_rate
from trainer.settings import TrainSettings
from trainer.shape import Shape
from trainer.train import Run, TrainProgress, train

WriteShards = Callable[..., Path]
SMALL = TrainSettings(
    steps=12,
    context=16,
    batch=4,
    layers=2,
    width=16,
    heads=2,
    warmup=2,
    checkpoint_every=5,
    device="cpu",
)
MODEL_FILES = ("config.json", "model.safetensors", "checkpoint.safetensors")


class CutError(Exception):
    """Stands for a kill: it comes after a step and leaves no time to write anything."""


def cut_after(step: int) -> Callable[[TrainProgress], None]:
    def progress(report: TrainProgress) -> None:
        if report.step == step:
            raise CutError

    return progress


def silent(report: TrainProgress) -> None:
    pass


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"]) for line in map(json.loads, lines)]


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in MODEL_FILES]


def run_of(settings: TrainSettings, tokens: Path, output: Path) -> Run:
    shards = TokenDataset(tokens)
    model = LanguageModel(Shape.of(settings, shards.vocab_size))
    model.initialize(settings.seed)
    loader = open_loader(tokens, settings)
    return Run(model, loader, settings, output)


def test_one_batch_is_learned_by_heart(write_shards: WriteShards, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder = write_shards([random.integers(1, 50, 8 * 32).tolist()])
    settings = TrainSettings(
        steps=120,
        context=32,
        batch=8,
        layers=2,
        width=48,
        heads=2,
        learning_rate=1e-2,
        device="cpu",
    )
    summary = train(folder, tmp_path / "model", settings, silent)
    assert summary.first_loss == pytest.approx(math.log(50), abs=0.2)
    assert summary.last_loss < 0.05
    assert summary.epochs == 120


@pytest.mark.parametrize("step", [1, 5, 7, 12])
def test_a_run_cut_off_anywhere_ends_with_the_same_bytes(
    small_shards: Path, tmp_path: Path, step: int
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = train(small_shards, whole, SMALL, silent)
    with pytest.raises(CutError):
        train(small_shards, cut, SMALL, cut_after(step))
    resumed = train(small_shards, cut, SMALL, silent)
    assert contents(cut) == contents(whole)
    assert losses(cut) == losses(whole)
    assert [number for number, _ in losses(whole)] == list(range(1, 13))
    assert (resumed.first_loss, resumed.last_loss) == (summary.first_loss, summary.last_loss)


def test_a_run_cut_off_again_and_again_ends_with_the_same_bytes(
    small_shards: Path, tmp_path: Path
) -> None:
    settings = replace(SMALL, checkpoint_every=1)
    train(small_shards, tmp_path / "whole", settings, silent)
    for step in range(2, 12, 3):
        with pytest.raises(CutError):
            train(small_shards, tmp_path / "cut", settings, cut_after(step))
    train(small_shards, tmp_path / "cut", settings, silent)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_finished_run_makes_no_step_and_changes_no_byte(
    small_shards: Path, tmp_path: Path
) -> None:
    train(small_shards, tmp_path / "model", SMALL, silent)
    before = contents(tmp_path / "model"), losses(tmp_path / "model")
    summary = train(small_shards, tmp_path / "model", SMALL, cut_after(1))
    assert (contents(tmp_path / "model"), losses(tmp_path / "model")) == before
    assert summary.steps == 12


def test_a_torn_line_of_metrics_is_made_again(small_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(CutError):
        train(small_shards, folder, SMALL, cut_after(8))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    train(small_shards, folder, SMALL, silent)
    assert [step for step, _ in losses(folder)] == list(range(1, 13))


def test_what_a_killed_writer_left_is_removed(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(CutError):
        train(small_shards, tmp_path / "model", SMALL, cut_after(8))
    (tmp_path / "model" / ".checkpoint.safetensors.4711.tmp").write_bytes(b"half")
    train(small_shards, tmp_path / "model", SMALL, silent)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {*MODEL_FILES, "metrics.jsonl"}


def test_other_tokens_are_refused(
    small_shards: Path, write_shards: WriteShards, tmp_path: Path
) -> None:
    train(small_shards, tmp_path / "model", SMALL, silent)
    with pytest.raises(ModelError, match="of other token shards"):
        train(write_shards([[1] * 99]), tmp_path / "model", SMALL, silent)


def test_other_settings_are_refused_by_name_unless_they_change_nothing(
    small_shards: Path, tmp_path: Path
) -> None:
    train(small_shards, tmp_path / "model", SMALL, silent)
    with pytest.raises(ModelError, match=r"its train\.steps was 12, now it is 13"):
        train(small_shards, tmp_path / "model", replace(SMALL, steps=13), silent)
    train(small_shards, tmp_path / "model", replace(SMALL, prompt="Once", top_k=1), silent)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_checkpoint_is_told(
    small_shards: Path, tmp_path: Path, damage: bytes | None
) -> None:
    train(small_shards, tmp_path / "model", SMALL, silent)
    path = tmp_path / "model" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    with pytest.raises(ModelError, match="not a checkpoint of ours"):
        train(small_shards, tmp_path / "model", SMALL, silent)


def test_a_model_is_not_a_checkpoint(small_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    train(small_shards, folder, SMALL, silent)
    (folder / CHECKPOINT).write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="not a checkpoint of ours"):
        train(small_shards, folder, SMALL, silent)


def test_a_loss_that_is_no_number_ends_the_run(small_shards: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, learning_rate=1e30, warmup=0, clip=1e30)
    with pytest.raises(CurateError, match=r"lower train\.learning_rate"):
        train(small_shards, tmp_path / "model", settings, silent)


def test_too_few_tokens_are_told_before_anything_is_written(
    write_shards: WriteShards, tmp_path: Path
) -> None:
    with pytest.raises(ShardError, match="too few for one window"):
        train(write_shards([[1, 2, 3]]), tmp_path / "model", SMALL, silent)
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no CUDA device here; write auto or cpu"):
        train(small_shards, tmp_path / "model", replace(SMALL, device="cuda"), silent)


def test_progress_and_metrics_tell_the_same(small_shards: Path, tmp_path: Path) -> None:
    reports: list[TrainProgress] = []
    summary = train(small_shards, tmp_path / "model", SMALL, reports.append)
    assert [(report.step, report.loss) for report in reports] == losses(tmp_path / "model")
    assert [report.learning_rate for report in reports] == [
        learning_rate(step, SMALL) for step in range(12)
    ]
    assert all(report.tokens_per_second > 0 for report in reports)
    assert (summary.steps, summary.tokens, summary.device) == (12, 12 * 4 * 16, "cpu")


def test_the_model_file_holds_the_trained_weights_and_their_number(
    small_shards: Path, tmp_path: Path
) -> None:
    summary = train(small_shards, tmp_path / "model", SMALL, silent)
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert sum(weight.size for weight in weights.values()) == summary.parameters
    checkpoint = load_file(tmp_path / "model" / CHECKPOINT)
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, checkpoint[f"model.{name}"][: len(weight)])


def test_micro_batches_add_up_to_the_batch(small_shards: Path, tmp_path: Path) -> None:
    """Also where one micro-batch has a single target and the other all of them."""
    batch = open_loader(small_shards, SMALL).rows(0, 8)
    targets = batch.targets.copy()
    targets[:4] = IGNORED
    targets[0, 0] = 1
    for targets_of in (batch.targets, targets):
        found = []
        for micro_batch in (0, 4, 1):
            settings = replace(SMALL, batch=8, micro_batch=micro_batch)
            run = run_of(settings, small_shards, tmp_path)
            loss = run.gradients(Window(batch.tokens, targets_of, batch.documents))
            found.append((loss, [p.grad for p in run.model.parameters() if p.grad is not None]))
        whole_loss, whole = found[0]
        for loss, gradients in found[1:]:
            assert loss == pytest.approx(whole_loss, rel=1e-6)
            for one, other in zip(gradients, whole, strict=True):
                assert (one - other).norm() <= 1e-6 * max(other.norm(), 1e-3)


def test_the_loss_is_the_mean_over_all_targets_of_the_batch(
    small_shards: Path, tmp_path: Path
) -> None:
    batch = open_loader(small_shards, SMALL).rows(0, 8)
    run = run_of(replace(SMALL, batch=8, micro_batch=2), small_shards, tmp_path)
    assert batch.documents is not None
    with torch.no_grad():
        parts = (batch.tokens, batch.targets, batch.documents.copy())
        whole = run.model.loss_sum(*map(torch.from_numpy, parts)).item()
    assert run.gradients(batch) == pytest.approx(whole / (batch.targets != IGNORED).sum(), rel=1e-6)


def test_another_seed_is_another_model(small_shards: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(small_shards, tmp_path / str(seed), replace(SMALL, seed=seed), silent)
    one, other = (contents(tmp_path / str(seed))[1] for seed in (0, 1))
    assert one != other
