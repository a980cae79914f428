"""The script for a GPU runs to its end on a CPU, at a small size."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.trainer_gpu import Figures, Row, judge, rows
from trainer.settings import TrainSettings


def test_all_parts_run_and_their_figures_are_written(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.trainer_gpu", "--small", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    assert [one["problem"] for one in found["speed"].values()] == [""] * 5
    assert all(one["tokens_per_second"] > 0 for one in found["speed"].values())
    assert 0 < found["numerics"]["sdpa, float32"] < 1e-5
    assert found["resume"] == {"in order": 0, "in any order": 0}


def test_every_training_has_settings_that_work() -> None:
    for row in rows():
        assert TrainSettings(**row.settings).preset == row.settings["preset"]


def test_a_goal_is_met_or_missed_by_its_figure() -> None:
    plain = Figures(420_000.0, {"datasheet": 0.36}, None, 0.004, 1.0, 1, {})
    judge(Row("plain", 1, {}, least_tokens=420_000, least_mfu=0.4), plain, None)
    masked = Figures(405_000.0, {}, None, 0.006, 1.0, 1, {})
    judge(Row("masked", 1, {}, beside="plain", most_cost=0.03), masked, plain)
    assert list(plain.goals.values()) == [True, False, True]
    assert list(masked.goals.values()) == [False, False]
