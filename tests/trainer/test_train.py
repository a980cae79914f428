"""Training: it learns, goes on bit by bit where it was cut off, and refuses what is not its own."""

import json
import math
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from curate.errors import BusyError, CurateError, ShardError
from tests.trainer.cuts import CutError, cut_after, silent
from tokenizer.dataset import TokenDataset
from trainer.checkpoint import checkpoints
from trainer.data import IGNORED, Window, open_loader
from trainer.device import compiling
from trainer.feed import Batch, on_device, on_host
from trainer.log import TrainProgress
from trainer.model import LanguageModel, torch
from trainer.optimizer import learning_rate
from trainer.settings import TrainSettings
from trainer.shape import Shape
from trainer.train import Run, train

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
CHECKPOINT = "checkpoint-00000012.safetensors"
MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors", CHECKPOINT)


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"]) for line in map(json.loads, lines) if "loss" in line]


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in MODEL_FILES]


def on_cpu(window: Window) -> Batch:
    device = torch.device("cpu")
    return on_device(on_host(window, device), device)


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
    assert summary.epochs == {str(folder): 120.0}


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


def test_steps_without_a_number_in_a_row_end_the_run(small_shards: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, learning_rate=1e30, warmup=0, clip=1e30, skip_bad=3)
    told: list[TrainProgress] = []
    with pytest.raises(CurateError, match=r"step 4 is the last of 3 in a row.*is no number"):
        train(small_shards, tmp_path / "model", settings, told.append)
    assert [bool(step.skipped) for step in told] == [False, True, True, True]


def test_a_step_without_a_number_changes_nothing_and_the_others_go_on(
    write_shards: WriteShards, tmp_path: Path
) -> None:
    """The embedding of id 49, which is in one document only, is damaged in a checkpoint."""
    documents = [[number % 48 + 1] * 15 for number in range(12)]
    folder = write_shards([*documents[:5], [49] * 15, *documents[5:]])
    settings = replace(SMALL, batch=1, steps=13, checkpoint_every=1, keep=13, tied=False)
    output = tmp_path / "model"
    with pytest.raises(CutError):
        train(folder, output, settings, cut_after(2))
    path = checkpoints(output)[-1]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["model.model.embed_tokens.weight"][49] = math.nan
    save_file(tensors, path, metadata)
    told: list[TrainProgress] = []
    summary = train(folder, output, settings, told.append)
    bad = [step.step for step in told if step.skipped]
    assert len(bad) == summary.skipped == 1
    assert told[bad[0] - told[0].step].skipped == "the loss is no number"
    assert math.isfinite(summary.last_loss)
    assert [step for step, _ in losses(output)] == [n for n in range(1, 14) if n not in bad]
    assert moved(output) == [step.step for step in told if not step.skipped]


def moved(folder: Path) -> list[int]:
    """The steps that changed a weight or the optimizer's state, of those whose files are there."""
    found, files = [], [load_file(path) for path in checkpoints(folder)]
    steps = [int(path.stem.rpartition("-")[2]) for path in checkpoints(folder)]
    for step, before, after in zip(steps[1:], files, files[1:], strict=False):
        names = [name for name in after if name.startswith(("model.", "optimizer."))]
        if not all(np.array_equal(before[n], after[n], equal_nan=True) for n in names):
            found.append(step)
    return found


SPIKY = replace(SMALL, spike=1.0, skip_bad=99, steps=16, checkpoint_every=1, keep=16)


def test_a_gradient_above_the_median_of_the_good_ones_is_passed_over(
    small_shards: Path, tmp_path: Path
) -> None:
    """And what a resumed run passes over is the same, as is all else."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    told: list[TrainProgress] = []
    summary = train(small_shards, whole, SPIKY, told.append)
    good: list[float] = []
    for step in told:
        is_spike = bool(good) and step.gradient_norm > np.median(np.array(good, np.float32))
        assert bool(step.skipped) == is_spike
        good += [] if is_spike else [step.gradient_norm]
    assert 0 < summary.skipped == len(told) - len(good) < 15
    assert moved(whole) == [step.step for step in told[1:] if not step.skipped]
    for step in (4, 11):
        with pytest.raises(CutError):
            train(small_shards, cut, SPIKY, cut_after(step))
    assert train(small_shards, cut, SPIKY, silent).skipped == summary.skipped
    assert checkpoints(cut)[-1].read_bytes() == checkpoints(whole)[-1].read_bytes()


@pytest.mark.parametrize("optimizer", ["muon", "lion"])
def test_other_optimizers_go_on_bit_by_bit_across_epochs(
    small_shards: Path, tmp_path: Path, optimizer: str
) -> None:
    settings = replace(SMALL, optimizer=optimizer, schedule="wsd", batch=32)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = train(small_shards, whole, settings, silent)
    assert min(summary.epochs.values()) > 2
    for step in (6, 11):
        with pytest.raises(CutError):
            train(small_shards, cut, settings, cut_after(step))
    train(small_shards, cut, settings, silent)
    assert contents(cut) == contents(whole)
    assert summary.last_loss < summary.first_loss


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heeded_when_the_step_is_saved_and_nothing_is_lost(
    small_shards: Path, tmp_path: Path, number: signal.Signals
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small_shards, whole, SMALL, silent)

    def progress(report: TrainProgress) -> None:
        if report.step == 3:
            signal.raise_signal(number)

    def exits(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    # A shell's background job begins with SIGINT ignored, and then it is to stay so.
    before = {one: signal.signal(one, exits) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(SystemExit) as ended:
            train(small_shards, cut, SMALL, progress)
        assert [signal.getsignal(one) for one in before] == [exits, exits]
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert ended.value.args == (128 + number,)
    assert [path.name for path in checkpoints(cut)] == ["checkpoint-00000003.safetensors"]
    train(small_shards, cut, SMALL, silent)
    assert contents(cut) == contents(whole)


def test_a_signal_that_is_ignored_stays_so(small_shards: Path, tmp_path: Path) -> None:
    """As SIGINT is for what a shell starts in the background."""

    def progress(report: TrainProgress) -> None:
        if report.step == 3:
            signal.raise_signal(signal.SIGINT)
        if report.step == 4:
            assert not checkpoints(tmp_path / "model")

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(small_shards, tmp_path / "model", SMALL, progress)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "model" / CHECKPOINT).exists()


def test_in_another_thread_signals_are_left_alone(small_shards: Path, tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=(small_shards, tmp_path / "m", SMALL, silent))
    thread.start()
    thread.join()
    assert (tmp_path / "m" / CHECKPOINT).exists()


def test_evaluation_comes_when_it_is_due_and_leaves_no_trace(
    small_shards: Path, tmp_path: Path
) -> None:
    plain, evaluated = tmp_path / "plain", tmp_path / "evaluated"
    settings = replace(SMALL, evaluate_every=5)
    train(small_shards, plain, settings, silent)
    seen = []

    def evaluate(model: LanguageModel, step: int) -> None:
        torch.rand(3)
        seen.append((step, model.training, torch.is_inference_mode_enabled()))
        model(torch.zeros(1, 16, dtype=torch.long))

    train(small_shards, evaluated, settings, silent, evaluate)
    assert seen == [(step, False, True) for step in (5, 10, 12)]
    assert contents(evaluated) == contents(plain)


def test_half_precision_trains_to_nearly_the_same_loss(small_shards: Path, tmp_path: Path) -> None:
    full, half = (
        train(small_shards, tmp_path / name, replace(SMALL, precision=name), silent)
        for name in ("float32", "bfloat16")
    )
    assert half.last_loss == pytest.approx(full.last_loss, rel=1e-2)
    assert half.last_loss != full.last_loss


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


def test_a_compiler_that_fails_is_told() -> None:
    def broken(graph: object, inputs: object) -> None:
        raise OSError("no g++")

    doubled = torch.compile(lambda tensor: 2 * tensor, backend=broken)
    with pytest.raises(CurateError, match=r"train\.compiled: .*no g\+\+.*write never"), compiling():
        doubled(torch.ones(1))


def test_progress_and_metrics_tell_the_same(small_shards: Path, tmp_path: Path) -> None:
    reports: list[TrainProgress] = []
    summary = train(small_shards, tmp_path / "model", SMALL, reports.append)
    assert [(report.step, report.loss) for report in reports] == losses(tmp_path / "model")
    assert [report.learning_rate for report in reports] == [
        learning_rate(step, SMALL) for step in range(12)
    ]
    assert all(report.tokens_per_second > 0 for report in reports)
    assert all(0 <= report.data_wait <= 1 and report.gradient_norm > 0 for report in reports)
    lines = (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()
    kinds = "step loss learning_rate gradient_norm tokens_per_second data_wait seconds"
    assert all(list(json.loads(line)) == kinds.split() for line in lines)
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
            loss = run.gradients(on_cpu(batch._replace(targets=targets_of))).item()
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
    assert run.gradients(on_cpu(batch)).item() == pytest.approx(
        whole / (batch.targets != IGNORED).sum(), rel=1e-6
    )


def test_steps_are_those_of_a_plain_loop(small_shards: Path, tmp_path: Path) -> None:
    """Rows, mask, mean, clipping, rates and decay, each written down a second time."""
    settings = replace(SMALL, steps=4, clip=0.05, weight_decay=0.5, learning_rate=0.01)
    told: list[TrainProgress] = []
    train(small_shards, tmp_path / "model", settings, told.append)
    loader = open_loader(small_shards, settings)
    model = LanguageModel(Shape.of(settings, loader.vocab_size))
    model.initialize(settings.seed)
    weights = dict(model.named_parameters())
    matrices = [name for name in weights if name.endswith("_proj.weight")]
    groups = [
        {"params": [weights[name] for name in matrices], "weight_decay": 0.5},
        {"params": [weights[name] for name in weights if name not in matrices]},
    ]
    plain = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)
    # Two steps up, then half a cosine of two steps down to a tenth: it is 1 at its first step.
    for step, rate in enumerate([0.005, 0.01, 0.01, 0.0055]):
        tokens, targets, documents = on_cpu(loader.rows(4 * step, 4)).part(0, 4)
        loss = torch.nn.functional.cross_entropy(
            model(tokens, documents).flatten(0, 1), targets.flatten(), ignore_index=IGNORED
        )
        plain.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        for group in plain.param_groups:
            group["lr"] = rate
        plain.step()
        assert told[step].loss == pytest.approx(loss.item(), rel=1e-5)
        assert told[step].gradient_norm == pytest.approx(norm.item(), rel=1e-4)
        assert norm > 0.05
    for name, trained in load_file(tmp_path / "model" / "model.safetensors").items():
        ours = weights[name].detach().numpy()[: len(trained)]
        np.testing.assert_allclose(trained, ours, atol=1e-5)


def test_a_second_training_into_one_folder_is_refused(small_shards: Path, tmp_path: Path) -> None:
    refused = []

    def progress(report: TrainProgress) -> None:
        if report.step == 6:
            with pytest.raises(BusyError, match="another run is writing here"):
                train(small_shards, tmp_path / "model", SMALL, silent)
            refused.append(report.step)

    train(small_shards, tmp_path / "alone", SMALL, silent)
    train(small_shards, tmp_path / "model", SMALL, progress)
    assert refused == [6]
    assert contents(tmp_path / "model") == contents(tmp_path / "alone")


def test_another_seed_is_another_model(small_shards: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(small_shards, tmp_path / str(seed), replace(SMALL, seed=seed), silent)
    one, other = (contents(tmp_path / str(seed))[2] for seed in (0, 1))
    assert one != other
