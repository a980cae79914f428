"""How files become durable: temporary name, sync, rename, and a manifest that names them."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from curate.errors import BusyError, DiskError

KEY = "key"  # the file that says whose work a folder holds

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an error that says where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskError(
            f"{path}: {os.strerror(error.errno)}; make room there and run the same command again: "
            "finished work is kept"
        ) from error


def sync_file(path: Path) -> None:
    """Force a file's bytes onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


sync_folder = sync_file  # opening a folder read-only and syncing it makes its entries durable


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is written: no reader sees a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path.parent):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Give `path` this content in one step."""
    with replacing(path) as file:
        file.write(content)


def sealed(value: dict[str, Any]) -> bytes:
    """A manifest as JSON text with a hash of itself, so that an edit or a tear is noticed."""
    body = {**value, "self": digest(value)}
    return (json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def unsealed(path: Path) -> dict[str, Any] | None:
    """A manifest's content; None where it is missing, torn or edited."""
    try:
        text = path.read_bytes()
        value = json.loads(text)
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict):
        return None
    seal = value.pop("self", None)
    return value if seal == _digest_of_text(text, seal) or seal == digest(value) else None


def _digest_of_text(text: bytes, seal: str | None) -> str:
    """The digest of what `sealed` wrote, from its text alone; of another text, any other.

    To write 6 MB of canonical JSON, the manifest of 10,000 parts of token shards, takes 100 ms;
    to leave out the space between its words takes 60. A newline is never within a JSON string.
    """
    body = text.replace(f'\n "self": "{seal}",'.encode(), b"", 1)
    words = b"".join(map(bytes.lstrip, body.split(b"\n")))
    return hashlib.sha256(words.replace(b'": ', b'":')).hexdigest()


def begin(folder: Path, key: str) -> None:
    """Make a folder for the work of this key; what is there of another's goes first."""
    mark = folder / KEY
    if not mark.exists() or mark.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_atomic(mark, key.encode())


def describe(path: Path) -> dict[str, Any]:
    """A file's size and digest, as manifests hold them."""
    return {"size": path.stat().st_size, "sha256": file_digest(path)}


def matches(path: Path, entry: dict[str, Any]) -> bool:
    """Whether a file has the size and digest that a manifest gives."""
    try:
        same_size = path.is_file() and path.stat().st_size == entry["size"]
    except OSError:
        return False
    return same_size and file_digest(path) == entry["sha256"]


def intact(path: Path) -> dict[str, Any] | None:
    """A manifest, if every file that it names beside it has its size and digest; else None."""
    manifest = unsealed(path)
    if manifest is None:
        return None
    named = manifest["files"].items()
    return manifest if all(matches(path.parent / name, entry) for name, entry in named) else None


def finished(folder: Path) -> dict[str, dict[str, Any]]:
    """Sync every file of a scratch folder to the disk and describe it: the worker's last act."""
    with disk_errors(folder):
        for path in sorted(folder.iterdir()):
            sync_file(path)
        return {path.name: describe(path) for path in sorted(folder.iterdir())}


class WorkFolder:
    """DIR/work: finished pieces of work by key, and temporary folders of the live driver.

    A piece is a folder whose files are named, with size and digest, by the manifest inside it.
    The folder is renamed into place whole, so a piece is there completely or not at all.
    """

    def __init__(self, root: Path) -> None:
        self.pieces = root / "pieces"
        self._temporary = root / "tmp"
        # Leftovers of killed drivers, whose orphaned workers find their folder gone and stop.
        shutil.rmtree(self._temporary, ignore_errors=True)
        with disk_errors(root):
            self.pieces.mkdir(parents=True, exist_ok=True)
        self._epoch = self._temporary / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._epoch.mkdir(parents=True)
        self._trusted: dict[str, dict[str, Any]] = {}

    def scratch(self, key: str, attempt: int = 0) -> Path:
        """A new empty folder for one attempt at a piece."""
        folder = self._epoch / f"{key}-{attempt}"
        shutil.rmtree(folder, ignore_errors=True)
        with disk_errors(self._temporary):
            folder.mkdir(parents=True)
        return folder

    def path(self, key: str, name: str = "") -> Path:
        """Where a published piece, or one of its files, lies."""
        return self.pieces / key / name

    def find(self, key: str) -> dict[str, Any] | None:
        """The manifest of a piece whose every file still has its size and digest, else None."""
        if key in self._trusted:
            return self._trusted[key]
        manifest = intact(self.path(key, "piece.json"))
        if manifest is None:
            return None
        self._trusted[key] = manifest
        return manifest

    def publish(self, key: str, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
        """Make a finished scratch folder the piece of this key; only the driver calls this.

        The manifest's `files` are those of `finished(folder)`, taken where they were written.
        """
        with disk_errors(self.pieces):
            write_atomic(folder / "piece.json", sealed(manifest))
            target = self.path(key)
            if target.exists():  # damaged, or find() would have returned it
                target.rename(self.scratch(key, attempt=-1) / "damaged")
            folder.rename(target)
            sync_folder(self.pieces)
        # As the next driver will read it: sorted keys, lists for tuples.
        self._trusted[key] = json.loads(canonical(manifest))
        return self._trusted[key]

    def close(self) -> None:
        """Remove what this driver left in its temporary folder."""
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it on death, so no stale lock can remain."""
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise DiskError(f"{error.filename}: {error.strerror}; choose another --output") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"{folder.parent}: another run is writing here; wait for it or choose another "
                "--output"
            ) from error
        yield
    finally:
        os.close(handle)
