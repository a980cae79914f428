"""Who imports what: the borders between our files, and between us and what we depend on."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("curate", "filters", "tokenizer", "trainer", "pipelines")


def imports(path: Path) -> set[str]:
    """The top-level names that a source file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def importers(name: str, packages: tuple[str, ...] = PACKAGES) -> set[str]:
    """Our source files that import a name."""
    sources = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return {str(path.relative_to(ROOT)) for path in sources if name in imports(path)}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_installed_distribution_but_ours_owns_the_import_name(package):
    owners = importlib.metadata.packages_distributions().get(package, [])
    assert set(owners) <= {"crawl-to-model"}


def test_numba_is_imported_by_the_files_of_kernels_and_vectors_only():
    assert importers("numba") == {"curate/kernel.py", "curate/vectors.py"}


def test_ray_is_imported_by_the_pool_only():
    assert importers("ray") == {"curate/pool.py"}


def test_torch_is_imported_by_the_trainer_only():
    assert importers("torch", ("curate", "filters", "tokenizer", "pipelines")) == set()
    assert importers("torch")


def test_the_command_line_starts_without_torch_and_without_ray():
    code = "import sys, curate.cli; print(*sorted({'torch', 'ray'} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
