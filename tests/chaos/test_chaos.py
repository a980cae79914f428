"""Output is the same bytes after any number of kills; and the harness can tell when it is not."""

import os
from pathlib import Path

import pytest

from tests.chaos.harness import Chaos
from tests.chaos.mutants import MUTANTS

SEED = int(os.environ.get("CHAOS_SEED", "20"))


@pytest.mark.slow
def test_fifty_kills_leave_no_trace_in_the_output(tmp_path: Path):
    chaos = Chaos(tmp_path, SEED)
    chaos.run(kills=50)
    assert chaos.violations == []
    assert chaos.kills >= 50
    assert chaos.rounds >= 3


@pytest.mark.slow
@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_the_harness_catches_the_shortcuts_that_peers_take(tmp_path: Path, mutant):
    chaos = Chaos(tmp_path, SEED + 1, mutant)
    chaos.run(kills=40)
    assert chaos.violations
