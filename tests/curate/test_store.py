"""Durable files: atomic, sealed, owned."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import BusyError, DiskError
from curate.store import (
    WorkFolder,
    canonical,
    disk_errors,
    finished,
    owned,
    sealed,
    unsealed,
    write_atomic,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "self"), JSON))
def test_a_sealed_manifest_reads_back_as_it_was(value):
    body = json.loads(sealed(value))
    assert body.pop("self")
    assert body == json.loads(canonical(value))


def test_any_edit_of_a_sealed_manifest_is_noticed(tmp_path: Path):
    path = tmp_path / "manifest.json"
    content = sealed({"files": {"a": 1}, "name": "x"})
    path.write_bytes(content)
    assert unsealed(path) == {"files": {"a": 1}, "name": "x"}
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        read = unsealed(path)
        assert read is None or read == {"files": {"a": 1}, "name": "x"}
        path.write_bytes(content[:position])
        read = unsealed(path)
        assert read is None or read == {"files": {"a": 1}, "name": "x"}


def test_an_atomic_write_leaves_the_old_content_or_the_new(tmp_path: Path):
    path = tmp_path / "a"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def _piece(work: WorkFolder, key: str, content: bytes) -> None:
    folder = work.scratch(key)
    (folder / "file").write_bytes(content)
    work.publish(key, folder, {"files": finished(folder)})


def test_a_published_piece_is_found_by_the_next_driver(tmp_path: Path):
    _piece(WorkFolder(tmp_path), "k", b"content")
    found = WorkFolder(tmp_path).find("k")
    assert found is not None
    assert found["files"]["file"]["size"] == 7


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest", "grow"])
def test_a_damaged_piece_is_not_found_and_can_be_published_again(tmp_path: Path, damage):
    _piece(WorkFolder(tmp_path), "k", b"content")
    path = tmp_path / "pieces" / "k" / "file"
    if damage == "flip":
        path.write_bytes(b"Content")
    elif damage == "truncate":
        path.write_bytes(b"conten")
    elif damage == "grow":
        path.write_bytes(b"content.")
    elif damage == "delete":
        path.unlink()
    else:
        path.with_name("piece.json").write_text("{}")
    work = WorkFolder(tmp_path)
    assert work.find("k") is None
    _piece(work, "k", b"content")
    assert WorkFolder(tmp_path).find("k") is not None
    assert path.read_bytes() == b"content"


def test_leftovers_of_a_dead_driver_are_swept_so_that_its_orphans_cannot_write(tmp_path: Path):
    dead = WorkFolder(tmp_path).scratch("k")
    WorkFolder(tmp_path)
    with pytest.raises(FileNotFoundError):
        (dead / "file").write_bytes(b"late")


def test_a_second_owner_is_refused_while_the_first_lives(tmp_path: Path):
    with owned(tmp_path), pytest.raises(BusyError, match="another run"), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_full_disk_is_told_with_its_place(tmp_path: Path, code):
    with pytest.raises(DiskError, match=str(tmp_path)), disk_errors(tmp_path):
        raise OSError(code, os.strerror(code))


def test_an_output_that_is_a_file_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(DiskError, match="choose another --output"),
        owned(tmp_path / "file" / "work"),
    ):
        pass


@pytest.mark.parametrize(
    "value",
    [
        {"parts": [], "tokens": 1},
        {"a": {}, "b": [1, {"c": []}], "later": "x"},
        {"a": 'a quote": and\n "self": "0",  two  spaces', "z": "ü\\"},
        {"self-made": True, "z": [[], [[]]]},
    ],
)
def test_a_sealed_value_comes_back_and_an_edit_of_a_letter_is_seen(tmp_path: Path, value) -> None:
    """Whether the seal is found from the text, or where that fails from the value."""
    path = tmp_path / "manifest.json"
    path.write_bytes(sealed(value))
    assert unsealed(path) == value
    text = path.read_text()
    for old in '"1ax0z':
        for place in (i for i, letter in enumerate(text) if letter == old):
            path.write_text(text[:place] + "7" + text[place + 1 :])
            assert unsealed(path) is None
