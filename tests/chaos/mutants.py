"""Shortcuts that peers take, patched into ours: the harness must notice each of them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import curate.plan
import curate.publish
import curate.store
import curate.unit


def trust_without_checksums() -> None:
    """A file that has a name is taken to be whole."""
    curate.store.matches = lambda path, entry: path.exists()


def publish_in_place() -> None:
    """Files are copied to their final folder one by one, and a folder that exists is finished."""

    def publish(self: Any, key: str, folder: Path, manifest: dict) -> dict:
        target = self.path(key)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in sorted(folder.iterdir()):
            shutil.copyfile(path, target / path.name)
        (target / "piece.json").write_bytes(curate.store.sealed(manifest))
        return manifest

    def find(self: Any, key: str) -> dict | None:
        path = self.path(key)
        if not path.is_dir():
            return None
        manifest = curate.store.unsealed(path / "piece.json")
        return manifest or {"files": {}, "ledger": [], "spans": None, "seconds": {}}

    curate.store.WorkFolder.publish = publish
    curate.store.WorkFolder.find = find


def key_without_input() -> None:
    """Work is kept under the input's name, whatever its content."""
    before = curate.plan.Plan.text_key

    def text_key(self: Any, this: Any, unit: Any, digests: Any, rejected: bool) -> str:
        same = curate.plan.Input(**{**curate.plan.as_json(unit.input), "identity": "same"})
        alike = curate.plan.Unit(unit.index, same, curate.plan.Span(0, 0))
        return before(self, this, alike, digests, rejected)

    curate.plan.Plan.text_key = text_key


def key_without_recipe() -> None:
    """Work is kept whatever the recipe says."""
    curate.plan.describe = lambda step: step.label


def output_depends_on_the_process() -> None:
    """Something of this process gets into the documents."""
    before = curate.unit._Flow._write

    def write(self: Any, batch: Any) -> None:
        column = curate.unit.pa.array([os.getpid()] * batch.num_rows, curate.unit.pa.int64())
        before(self, curate.unit.with_column(batch, "pid", column))

    curate.unit._Flow._write = write


def manifest_first() -> None:
    """The manifest is published before the files that it names, and never withdrawn."""

    def tree(output: Path, files: dict, texts: dict, manifest: bytes) -> None:
        named = output / "manifest.json"
        if named.exists() and named.read_bytes() == manifest:
            return
        curate.store.write_atomic(named, manifest)
        for name, source in sorted(files.items()):
            curate.publish._link(source, output / name)
        for name, content in texts.items():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            curate.store.write_atomic(output / name, content)

    curate.publish.tree = tree


def lose_a_batch() -> None:
    """An exception is eaten and the batch with it."""
    before = curate.unit._Flow._write

    def write(self: Any, batch: Any) -> None:
        before(self, batch.slice(0, 0) if os.getpid() % 2 else batch)

    curate.unit._Flow._write = write


MUTANTS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        trust_without_checksums,
        publish_in_place,
        key_without_input,
        key_without_recipe,
        output_depends_on_the_process,
        manifest_first,
        lose_a_batch,
    )
}
