"""From finished pieces to the output folder that a manifest vouches for."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from curate.store import disk_errors, sync_folder, write_atomic

FOLDERS = ("documents", "dropped", "rejected", "tokenizer", "tokens")


def tree(output: Path, files: dict[str, Path], texts: dict[str, bytes], manifest: bytes) -> None:
    """Make the output folder hold these files, these texts, and last the manifest that names them.

    The files are hard links to pieces of work. While anything is not yet in place there is no
    manifest: a reader sees the old state, an unfinished one, or the new one, and can tell them
    apart.
    """
    named = output / "manifest.json"
    if not (named.exists() and named.read_bytes() == manifest):
        named.unlink(missing_ok=True)
    with disk_errors(output):
        for name, source in sorted(files.items()):
            _link(source, output / name)
        _sweep(output, {*files, *texts})
        for name, content in texts.items():
            target = output / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (target.exists() and target.read_bytes() == content):
                write_atomic(target, content)
        for folder in FOLDERS:
            if (output / folder).is_dir():
                sync_folder(output / folder)
    write_atomic(named, manifest)


def pretty(value: Any) -> bytes:
    """A value as JSON text for people and machines."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(source)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def _sweep(output: Path, wanted: set[str]) -> None:
    """Remove what an earlier recipe or input has left in our folders, and broken-off writes."""
    for folder in FOLDERS:
        for path in sorted((output / folder).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(output).as_posix() not in wanted:
                path.unlink()
        if (output / folder).is_dir() and not any((output / folder).iterdir()):
            (output / folder).rmdir()
    for path in output.glob(".*.tmp"):
        path.unlink()
