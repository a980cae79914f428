"""`curate train` under SIGKILL and SIGTERM, in real processes: the same command ends alike."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORDS = "layers=1 width=16 heads=2 context=8 batch=2 device=cpu steps=24 checkpoint_every=3"
SAME = ("checkpoint-00000024.safetensors", "model.safetensors", "config.json", "evaluations.jsonl")
# Forks a process for each command, as to start one takes seconds. A signal comes before its n-th
# operation on the output folder, so that every place where it may come is as likely.
FORKING = """
import json, os, sys
from curate.train_config import training_of
from trainer import session

counted = {"open", "os.rename", "os.remove", "os.mkdir"}
for line in sys.stdin:
    words, output, number, at = json.loads(line)
    process = os.fork()
    if process == 0:
        seen = 0
        def count(event, arguments):
            global seen
            if event in counted and output in str(arguments[0]):
                seen += 1
                if seen == at:
                    os.kill(os.getpid(), number)
        sys.addaudithook(count)
        session.run(training_of(words), allow_data_change=False)
        print(seen, file=sys.stderr, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


class Commands:
    """Trainings, one after the other; each ends by itself or by a signal."""

    def __init__(self, shards: Path, errors: Path) -> None:
        self._words = [*WORDS.split(), f"data={shards}", f"evaluate={shards}", "evaluate_every=7"]
        self.errors = errors
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", FORKING],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def run(self, output: Path, number: int = 0, at: int = 0) -> int:
        """The exit code, negative for a signal."""
        request = [[*self._words, f"output={output}"], str(output), number, at]
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        while not (said := self._process.stdout.readline()).strip("-\n").isdigit():
            assert said, self.errors.read_text()  # what a training tells comes before its code
        return int(said)

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def commands(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(small_shards, tmp_path_factory.mktemp("said") / "errors")
    yield commands
    commands.end()


@pytest.fixture(scope="module")
def whole(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("whole") / "model"
    assert commands.run(folder) == 0
    return contents(folder)


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in SAME]


def steps(output: Path) -> list[int]:
    lines = (output / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_command_killed_again_and_again_ends_with_the_bytes_of_one_that_was_not(
    commands: Commands, whole: list[bytes], tmp_path: Path, seed: int
) -> None:
    drawn, output, killed = random.Random(seed), tmp_path / "model", 0
    for _ in range(10):
        killed += commands.run(output, signal.SIGKILL, drawn.randint(1, 60)) == -signal.SIGKILL
    assert killed > 5
    assert commands.run(output) == 0, commands.errors.read_text()
    assert contents(output) == whole
    assert steps(output) == list(range(1, 25))
    assert not list(output.glob(".*"))


def test_a_command_told_to_end_saves_its_step_and_the_next_one_goes_on(
    commands: Commands, whole: list[bytes], tmp_path: Path
) -> None:
    """Told so while it writes a checkpoint, and while it evaluates."""
    drawn, output = random.Random(0), tmp_path / "model"
    for _ in range(3):
        assert commands.run(output, signal.SIGTERM, drawn.randint(15, 40)) == -signal.SIGTERM
        assert (output / f"checkpoint-{steps(output)[-1]:08}.safetensors").exists()
    assert commands.run(output) == 0, commands.errors.read_text()
    assert contents(output) == whole
