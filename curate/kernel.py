"""The only file that imports numba: how kernels are compiled, cached and driven."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numba


def cache_folder() -> Path:
    """Where compiled kernels are kept, named after the sources that numba's own check overlooks.

    numba notices a change in the file of a kernel, but not in a helper of another file. Kernels
    therefore use helpers of their own file and of these files only.
    """
    here = Path(__file__).parent
    shared = ("kernel.py", "utf8.py", "hashing.py")
    key = hashlib.sha256(numba.__version__.encode())
    for name in shared:
        source = here / name
        key.update(source.read_bytes() if source.exists() else b"")
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "crawl-to-model" / f"kernels-{key.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home, or one that cannot be written
        folder = Path(tempfile.gettempdir()) / f"crawl-to-model-{os.getuid()}" / folder.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


numba.config.CACHE_DIR = str(cache_folder())


def helper(function: Any) -> Any:
    """Compile a function over arrays and numbers; callable from kernels and from Python."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
