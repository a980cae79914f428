"""What all tests share."""

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# A cold kernel, or a loaded machine, is slow for reasons that are no failure.
hypothesis.settings.register_profile("ours", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ours")

if os.environ.get("NUMBA_DISABLE_JIT") == "1":
    # Hashes wrap around in compiled code without a word; as plain Python NumPy would warn.
    np.seterr(over="ignore")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Third-party data that is never copied into the project."""
    if not SHARED.is_dir():
        pytest.skip(f"third-party data is not here: {SHARED}")
    return SHARED
