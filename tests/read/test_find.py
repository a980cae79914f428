import gzip
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.errors import InputError
from curate.ledger import Spans
from curate.read.find import shown
from curate.read.reader import Read, find_inputs, kind_of, read, spans


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(*patterns: object) -> list[str]:
    return [item.name for item in find_inputs([str(pattern) for pattern in patterns])[0]]


def test_a_file_is_known_by_its_content(tmp_path: Path):
    item = find_inputs([str(write(tmp_path / "a.warc"))])[0][0]
    assert item.identity == (
        "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    )
    assert (item.name, item.size, item.uri) == ("a.warc", 1, str(tmp_path / "a.warc"))


def test_folders_give_their_known_files_and_globs_what_they_match(tmp_path: Path):
    for number, name in enumerate(["a.warc.gz", "sub/b.JSONL.zst", "c.txt", ".d.warc", "e.arc"]):
        write(tmp_path / name, bytes([number]))
    assert names(tmp_path) == ["a.warc.gz", "e.arc", "b.JSONL.zst"]
    assert names(tmp_path / "*.txt") == ["c.txt"]
    assert names(tmp_path / "**" / "*.zst") == ["b.JSONL.zst"]
    assert names(tmp_path / "a.*", tmp_path) == ["a.warc.gz", "e.arc", "b.JSONL.zst"]


def test_the_order_of_the_patterns_does_not_matter(tmp_path: Path):
    paths = [str(write(tmp_path / f"{number}.warc", bytes([number]))) for number in range(5)]
    assert find_inputs(paths) == find_inputs(paths[::-1])


def test_the_same_file_is_read_once_whatever_its_name(tmp_path: Path):
    write(tmp_path / "a.warc")
    write(tmp_path / "b.warc")
    (tmp_path / "c.warc").symlink_to(tmp_path / "a.warc")
    inputs, notes = find_inputs([str(tmp_path), str(tmp_path / "a.warc")])
    assert [item.name for item in inputs] == ["a.warc"]
    assert notes == [
        "b.warc is the same file as a.warc: read once",
        "c.warc is the same file as a.warc: read once",
    ]


def test_names_that_clash_are_told_apart_by_as_little_path_as_needed(tmp_path: Path):
    for number, name in enumerate(["x/1/a.warc", "x/2/a.warc", "y/2/a.warc", "y/b.warc"]):
        write(tmp_path / name, bytes([number]))
    assert names(tmp_path) == ["1/a.warc", "x/2/a.warc", "y/2/a.warc", "b.warc"]


@pytest.mark.parametrize("name", ["a b.warc", "-rf.warc", "$(id).warc", "[1].warc", "ü.warc"])
def test_odd_names_are_names(name: str, tmp_path: Path):
    write(tmp_path / name)
    assert names(tmp_path / name) == [name]


def test_names_are_shown_without_what_cannot_be_printed(tmp_path: Path):
    for number, name in enumerate([b"a\nb.warc", b"c\xff.warc", "d\u202ee.warc".encode()]):
        write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)), bytes([number]))
    assert names(tmp_path) == ["a\\nb.warc", "c\\udcff.warc", "d\\u202ee.warc"]
    for item in find_inputs([str(tmp_path)])[0]:
        assert list(read(item, spans(item, Read())[0], Read(), Spans()))


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("missing.warc", "no such file"),
        ("*.none", "no such file"),
        ("folder", "no file in this folder"),
        ("fifo.warc", "not a regular file"),
        ("socket.warc", "not a regular file"),
        ("dangling.warc", "No such file"),
        ("loop.warc", "symbolic link"),
        ("/dev/zero", "not a regular file"),
    ],
)
def test_what_cannot_be_an_input_is_refused_with_its_place(
    pattern: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    os.mkfifo("fifo.warc")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.warc")
    Path("dangling.warc").symlink_to("nowhere")
    Path("loop.warc").symlink_to("loop.warc")
    with pytest.raises(InputError, match=told) as caught:
        find_inputs([pattern])
    assert pattern in str(caught.value)
    assert "; write" in str(caught.value)


@contextmanager
def not_as_superuser() -> Iterator[None]:
    """As nobody for a while, since the superuser may read everything."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_an_unreadable_file_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        write(Path(folder) / "a.warc").chmod(0)
        with not_as_superuser(), pytest.raises(InputError, match="Permission denied"):
            find_inputs([folder])


def test_no_pattern_is_an_error():
    with pytest.raises(InputError, match="no inputs"):
        find_inputs([])


def test_a_file_that_changed_since_is_refused(tmp_path: Path):
    item = find_inputs([str(write(tmp_path / "a.jsonl", b'{"text": "x"}'))])[0][0]
    write(tmp_path / "a.jsonl", b'{"text": "longer"}')
    with pytest.raises(InputError, match=r"a\.jsonl: changed"):
        list(read(item, spans(item, Read())[0], Read(), Spans()))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", b'{"text": "x"}\n' * 10)
    item = find_inputs([str(path)])[0][0]
    batches = read(item, spans(item, Read())[0], Read(batch_rows=2), Spans())
    next(batches)
    os.truncate(path, 20)
    with pytest.raises(InputError, match=r"a\.jsonl: changed"):
        list(batches)


def test_secrets_in_a_url_are_not_shown():
    assert shown("https://user:pass@host:8/a/b?key=secret#part") == "https://host:8/a/b"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.warc.gz", b"WARC/1.0\r\n", "warc"),
        ("a", gzip.compress(b"WARC/1.0\r\n", mtime=0), "warc.gz"),
        ("a.gz", gzip.compress(b' {"text": 1}', mtime=0), "jsonl.gz"),
        ("a.json", b"\xef\xbb\xbf{", "jsonl"),
        ("a.jsonl", b"nonsense", "jsonl"),
        ("a.warc.gz", b"<html>", "warc.gz"),
        ("a.warc.gz", b"\x1f\x8b\x08\xff", "warc.gz"),
        ("a.warc.gz", gzip.compress(gzip.compress(b"WARC/", mtime=0), mtime=0), "double_gzip"),
        ("a.warc.gz", b"", "empty"),
        ("a.warc.gz", gzip.compress(b"", mtime=0) * 3, "empty"),
        ("a.arc", b"filedesc://", "unsupported"),
        ("a.arc.gz", gzip.compress(b"filedesc://", mtime=0), "unsupported"),
        ("a.parquet", b"PAR1....", "parquet"),
        ("a.warc", b"PAR1....", "parquet"),
        ("a.txt", b"hello", "unsupported"),
        ("a.wet.gz", gzip.compress(b"WARC/1.0", mtime=0), "warc.gz"),
        ("a.parquet.gz", gzip.compress(b"PAR1", mtime=0), "unsupported"),
    ],
)
def test_the_kind_is_told_by_content_and_else_by_name(
    name: str, content: bytes, kind: str, tmp_path: Path
):
    item = find_inputs([str(write(tmp_path / name, content))])[0][0]
    assert kind_of(item) == kind
    ledger = Spans()
    rows = [
        row
        for part in spans(item, Read())
        for batch in read(item, part, Read(), ledger)
        for row in batch.to_pylist()
    ]
    ledger.check(name)
    assert rows
    if kind in ("empty", "unsupported", "double_gzip"):
        assert [row["dropped_by"] for row in rows] == [f"input.{kind}"]
