"""Whether this installation can do what a run will ask of it."""

import importlib.util
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distributions, version

import numpy as np
import pyarrow as pa

from curate import models
from curate.column import view
from curate.errors import CurateError
from curate.index import index
from curate.kernel import cache_folder, each
from curate.pool import started
from filters.gopher import word_count

OURS = ("curate", "filters", "tokenizer", "trainer", "pipelines")
DISTRIBUTION = "crawl-to-model"
NEEDED = ("ray", "pyarrow", "numba", "resiliparse", "fasttext-community", "fsspec", "regex")


def checks() -> tuple[Callable[[], str], ...]:
    """What is checked, in order; each returns what it found, or raises CurateError."""
    return (python, libraries, names, kernels, language_model, torch, ray)


def python() -> str:
    """Python."""
    return platform.python_version()


def libraries() -> str:
    """Libraries."""
    try:
        return ", ".join(f"{name} {version(name)}" for name in NEEDED)
    except PackageNotFoundError as error:
        raise CurateError(f"{error.name} is missing; run `make setup`") from error


def names() -> str:
    """Import names."""
    for distribution in distributions():
        name = distribution.metadata["Name"]
        tops = (distribution.read_text("top_level.txt") or "").split()
        clash = set(tops) & set(OURS)
        if clash and name != DISTRIBUTION:
            raise CurateError(f"{name} installs {clash.pop()!r} too and hides ours; uninstall it")
    return "ours alone"


def kernels() -> str:
    """Kernels."""
    counted = each(word_count.measure, index(view(pa.array(["two words", ""]))))
    if not np.array_equal(counted, [2.0, 0.0]):
        raise CurateError(
            f"word_count gave {counted}; delete {cache_folder().parent} and try again"
        )
    return f"compiled, kept in {cache_folder().parent}"


def language_model() -> str:
    """Language model."""
    return str(models.model_path("lid.176"))


def torch() -> str:
    """Trainer (extra `train`)."""
    if importlib.util.find_spec("torch") is None:
        return "not installed; pip install 'crawl-to-model[train]' to train models"
    return f"torch {version('torch')}"


def ray() -> str:
    """Ray starts, and listens on loopback only."""
    with started(1, None) as module:
        return str(module.__version__)
