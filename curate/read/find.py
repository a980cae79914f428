"""From what the user wrote after --input to the files meant by it, each once."""

import glob
import hashlib
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec

from curate.errors import InputError
from curate.read.remote import FAILURES, http_facts, is_http, store_facts
from curate.read.source import Input, is_remote, open_regular

# Size, identity, and when a local file was last changed.
Facts = tuple[int, str, int]

# What is taken from a folder. ARC is not read, but must not be passed over in silence either.
SUFFIXES = tuple(
    kind + packing
    for kind in (".warc", ".wet", ".wat", ".jsonl", ".ndjson", ".json", ".parquet", ".arc")
    for packing in ("", ".gz", ".zst")
)


def find_inputs(patterns: list[str]) -> tuple[list[Input], list[str]]:
    """The inputs meant by paths, globs, folders and URLs, sorted, and notes on repeated ones."""
    found: dict[str, Facts] = {}
    for pattern in patterns:
        found.update(_matches(pattern))
    if not found:
        raise InputError("no inputs; write the path, glob or URL of at least one file")
    first: dict[str, str] = {}
    for uri in sorted(found):
        first.setdefault(found[uri][1], uri)
    names = _names(sorted(found))
    inputs = [Input(uri, names[uri], *found[uri]) for uri in sorted(first.values())]
    notes = [
        f"{names[uri]} is the same file as {names[first[found[uri][1]]]}: read once"
        for uri in sorted(found)
        if first[found[uri][1]] != uri
    ]
    return _renamed(inputs), notes


def _renamed(inputs: list[Input]) -> list[Input]:
    """The inputs with names as short as they can be once the repeated ones are gone."""
    names = _names([item.uri for item in inputs])
    return [replace(item, name=names[item.uri]) for item in inputs]


def _matches(pattern: str) -> dict[str, Facts]:
    if not is_remote(pattern):
        return {path: _local_facts(path) for path in _local_paths(pattern)}
    if pattern.startswith("file://"):
        path = urllib.parse.unquote(pattern.removeprefix("file://"))
        return {path: _local_facts(path) for path in _local_paths(path)}
    try:
        return _http(pattern) if is_http(pattern) else dict(_stored(pattern))
    except InputError as error:
        raise InputError(f"{shown(pattern)}: {error}") from error
    except (*FAILURES, ImportError) as error:
        raise InputError(
            f"{shown(pattern)}: {type(error).__name__}: cannot be read; write a URL that this "
            "machine may read, or the path of a file"
        ) from error


def shown(url: str) -> str:
    """A URL without user-info, query and fragment, which may hold secrets."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _http(url: str) -> dict[str, Facts]:
    if "*" in url:
        raise InputError("HTTP has no listing; write the URL of each file")
    return {url: (*http_facts(url), 0)}


def _stored(url: str) -> Iterator[tuple[str, Facts]]:
    if "::" in url:
        raise InputError("chained URLs are not read; write the URL of the file itself")
    filesystem, path = fsspec.core.url_to_fs(url)
    is_pattern = glob.has_magic(path) and not filesystem.isfile(path)
    infos = (
        filesystem.glob(path, detail=True)
        if is_pattern
        else filesystem.find(path, detail=True, withdirs=False)
    )
    matched: dict[str, Any] = {
        name: info for name, info in infos.items() if info.get("type") == "file"
    }
    if not is_pattern and not filesystem.isfile(path):
        matched = {name: info for name, info in matched.items() if _is_known(name)}
    if not matched:
        raise InputError("nothing there; write a URL or glob that matches at least one file")
    for name, info in matched.items():
        full = filesystem.unstrip_protocol(name)
        yield full, (*store_facts(full, info), 0)


def _is_known(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not os.path.basename(name).startswith(".")  # noqa: PTH119 - a store's key is no path


def _local_paths(pattern: str) -> list[str]:
    path = os.path.abspath(pattern)  # noqa: PTH100 - keeps the bytes of any name, and symlinks
    if os.path.isdir(path):  # noqa: PTH112 - as above
        return _in_folder(path)
    if os.path.lexists(path):  # also a dangling link: it is there, and an error
        return [path]
    matched = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute one
    paths = [match for match in matched if not os.path.isdir(match)]  # noqa: PTH112 - as above
    if not paths:
        raise InputError(f"{pattern!r}: no such file; write a path, glob or URL of at least one")
    return paths


def _in_folder(folder: str) -> list[str]:
    def fail(error: OSError) -> None:
        raise InputError(
            f"{error.filename!r}: {error.strerror}; write folders that can be listed"
        ) from error

    paths = [
        str(Path(parent, name))
        for parent, _, names in os.walk(folder, onerror=fail)
        for name in names
        if _is_known(name)
    ]
    if not paths:
        raise InputError(
            f"{folder!r}: no file in this folder ends in a known suffix; write a glob that "
            f"matches the files, or name them one of *{', *'.join(SUFFIXES)}"
        )
    return paths


def _local_facts(path: str) -> Facts:
    with open_regular(path) as file:
        # Taken before the bytes are read: whoever writes later is noticed when it is opened.
        changed = os.fstat(file.fileno()).st_ctime_ns
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), f"sha256:{digest.hexdigest()}", changed


def _names(uris: list[str]) -> dict[str, str]:
    """For each file its base name, or as much of the path as tells it from the others."""
    parts = {uri: _path(uri).split("/") for uri in uris}
    names = {uri: parts[uri][-1] for uri in uris}
    for depth in range(2, 1 + max((len(path) for path in parts.values()), default=0)):
        counts = Counter(names.values())
        clashing = [uri for uri in uris if counts[names[uri]] > 1]
        if not clashing:
            break
        for uri in clashing:
            names[uri] = "/".join(parts[uri][-depth:])
    counts = Counter(names.values())
    seen: Counter[str] = Counter()
    for uri in uris:
        name = names[uri]
        if counts[name] > 1:
            # Only the parts of a URL that may hold secrets tell these apart.
            seen[name] += 1
            names[uri] = f"{name}~{seen[name]}"
    return names


def _path(uri: str) -> str:
    """What may be shown of a place, with every character that is not printable escaped."""
    if is_remote(uri):
        parts = urllib.parse.urlsplit(uri)
        uri = f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in uri
    )
