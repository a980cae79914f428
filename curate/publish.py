"""From finished pieces to the output folder that a manifest vouches for."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from curate.errors import InputError
from curate.store import disk_errors, sync_folder, write_atomic

FOLDERS = ("documents", "dropped", "cut", "index", "rejected", "tokenizer", "tokens")
_TEMPORARY = r"\.?{}(\.\d+\.tmp)?"
_PART = r"part-\d{5}(-pass-\d+)?\.(parquet|bin|idx|offsets\.npy|docs\.parquet)"
OURS = re.compile(
    r"(documents|dropped|cut|rejected|tokens)/"
    + _TEMPORARY.format(_PART)
    + r"|index/"
    + _TEMPORARY.format(r"part-\d{5}-stage-\d+\.parquet")
    + r"|(tokens|tokenizer)/"
    + _TEMPORARY.format(r"(manifest|tokenizer|tokenizer_config|encoding)\.json")
    + r"|tokenizer/"
    + _TEMPORARY.format(r"tokenizer\.tiktoken")
)
OURS_BROKEN_OFF = re.compile(r"\.(manifest|ledger|recipe|run)\.(json|yaml)\.\d+\.tmp")


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
            link(source, output / name)
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


def link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, in one step; a copy where there are no links."""
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
    """Remove what an earlier recipe or input has left, and broken-off writes; nothing of others.

    Ours is what has a name that we give, in a folder of ours that is no link.
    """
    for folder in (output / name for name in FOLDERS):
        if not folder.is_dir() or folder.is_symlink():
            continue
        for path in sorted(folder.iterdir()):
            name = path.relative_to(output).as_posix()
            if name not in wanted and OURS.fullmatch(name) and path.is_file():
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    for path in output.glob(".*.tmp"):
        if OURS_BROKEN_OFF.fullmatch(path.name):
            path.unlink()


def forget_empty(output: Path) -> None:
    """Remove an output folder of ours in which no piece of work was finished."""
    work = output / "work"
    try:
        for folder in (work / "tmp", work / "pieces"):
            if folder.exists():
                folder.rmdir()
        (work / "lock").unlink(missing_ok=True)
        work.rmdir()
        output.rmdir()
    except OSError:  # something lies in it
        return


def refuse_foreign(output: Path) -> None:
    """Raise InputError for a folder with files in it that no run of ours has made."""
    if not output.is_dir() or (output / "work" / "lock").exists() or not any(output.iterdir()):
        return
    raise InputError(
        f"{output.resolve()}: has files in it, and none of a run; choose a new or empty --output"
    )
