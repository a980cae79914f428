"""`curate train` under SIGKILL and SIGTERM, as processes: the same command again ends alike."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORDS = "layers=1 width=16 heads=2 context=8 batch=2 device=cpu steps=60 checkpoint_every=3"
SAME = ("checkpoint-00000060.safetensors", "model.safetensors", "config.json")


def started(data: Path, output: Path) -> subprocess.Popen[str]:
    words = [*WORDS.split(), f"data={data}", f"evaluate={data}", f"output={output}"]
    return subprocess.Popen(
        [sys.executable, "-m", "curate", "train", *words, "evaluate_every=7"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate()[1]
    return process.returncode, said


def lines(output: Path) -> int:
    path = output / "metrics.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def wait_for_steps(process: subprocess.Popen[str], output: Path, count: int) -> None:
    while lines(output) < count and process.poll() is None:
        time.sleep(0.001)


@pytest.fixture(scope="module")
def whole(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[bytes]]:
    folder = tmp_path_factory.mktemp("whole") / "model"
    assert ended(started(small_shards, folder))[0] == 0
    yield contents(folder)


def contents(folder: Path) -> list[bytes]:
    scores = (folder / "evaluations.jsonl").read_bytes()
    return [*((folder / name).read_bytes() for name in SAME), scores]


def test_a_command_killed_again_and_again_ends_with_the_bytes_of_one_that_was_not(
    small_shards: Path, tmp_path: Path, whole: list[bytes]
) -> None:
    """Killed in any of: a step, a checkpoint's writing, an evaluation."""
    drawn, output = random.Random(0), tmp_path / "model"
    for step in (4, 21, 40):
        process = started(small_shards, output)
        wait_for_steps(process, output, step)
        time.sleep(drawn.random() / 50)
        process.kill()
        assert ended(process)[0] == -signal.SIGKILL
    assert ended(started(small_shards, output))[0] == 0
    assert contents(output) == whole
    assert lines(output) == 60
    assert not list(output.glob(".*"))


def test_a_command_told_to_end_saves_its_step_and_the_next_one_goes_on(
    small_shards: Path, tmp_path: Path, whole: list[bytes]
) -> None:
    output = tmp_path / "model"
    process = started(small_shards, output)
    wait_for_steps(process, output, 10)
    process.terminate()
    code, said = ended(process)
    assert code in (-signal.SIGTERM, 128 + signal.SIGTERM), said
    assert "Traceback" not in said
    assert (output / f"checkpoint-{lines(output):08}.safetensors").exists()
    assert ended(started(small_shards, output))[0] == 0
    assert contents(output) == whole
