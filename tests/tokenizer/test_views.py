"""Views read again by plain readers of the documented layouts, for both types of tokens."""

import csv
import gzip
import hashlib
import importlib.util
import json
import pickle
import struct
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DiskError, InputError, ShardError
from tests.tokenizer.shards_at_hand import END, batch_of, identity, split, written
from tokenizer import views
from tokenizer.shuffle import Shards
from tokenizer.verify import verify
from tokenizer.views import VIEWS, write_view

DOCUMENTS = [[(7 * i + j) % 900 + 1 for j in range(i % 6)] for i in range(41)]


@pytest.fixture(params=[1000, 70_000], ids=["uint16", "uint32"])
def vocab_size(request) -> int:
    return request.param


@pytest.fixture
def shards(tmp_path, vocab_size) -> Path:
    """Three parts or so, in the order of the input, so that what they hold is known."""
    asked = Shards(shuffle=False, shard_bytes=50 * (2 if vocab_size == 1000 else 4))
    folder = written(tmp_path / "made", [*split(DOCUMENTS, [9])], asked, vocab_size)
    assert len([*folder.glob("*.bin")]) > 2
    return folder


@pytest.fixture
def kind(vocab_size) -> str:
    return "<u2" if vocab_size == 1000 else "<u4"


ENDED = [[*document, END] for document in DOCUMENTS]
STREAM = [token for document in ENDED for token in document]


def cut(stream: list[int], ends: list[int]) -> list[list[int]]:
    return [stream[i:j] for i, j in zip([0, *ends], ends, strict=False)]


def test_megatron_reads_links_through_its_index(shards, tmp_path, kind):
    made = write_view(shards, "megatron", tmp_path / "view")
    found = []
    for path in sorted((tmp_path / "view").glob("*.idx")):
        content, tokens = path.read_bytes(), path.with_suffix(".bin").read_bytes()
        magic, version, code, count, documents = struct.unpack_from("<9sQBQQ", content)
        assert (magic, version, code) == (b"MMIDIDX\0\0", 1, 8 if kind == "<u2" else 4)
        lengths = np.frombuffer(content, "<i4", count, 34)
        places = np.frombuffer(content, "<i8", count, 34 + 4 * count)
        firsts = np.frombuffer(content, "<i8", documents, 34 + 12 * count)
        assert firsts.tolist() == [*range(count + 1)]
        assert len(content) == 34 + 20 * count + 8
        own = "<u2" if code == 8 else "<i4"
        found += [
            np.frombuffer(tokens, own, n, at).tolist()
            for n, at in zip(lengths.tolist(), places.tolist(), strict=True)
        ]
        assert path.with_suffix(".bin").samefile(shards / f"{path.stem}.bin")
    assert found == ENDED
    assert sorted(made.linked) == sorted(path.name for path in (tmp_path / "view").iterdir())


def test_datatrove_reads_ends_of_documents(shards, tmp_path, kind):
    write_view(shards, "datatrove", tmp_path / "view")
    found = []
    for path in sorted((tmp_path / "view").glob("*.ds")):
        tokens = np.fromfile(path, kind).tolist()
        ends = np.fromfile(path.with_name(f"{path.name}.index"), "<u8").tolist()
        found += cut(tokens, ends)
        told = path.with_name(f"{path.name}.metadata").read_text().splitlines()
        assert told[0].rpartition("|")[2] == kind[-1]
        assert int(told[1]) == len(tokens) == ends[-1]
        assert path.samefile(shards / f"{path.stem}.bin")
    assert found == ENDED


def test_olmo_reads_places_ids_and_sources(shards, tmp_path, kind):
    write_view(shards, "olmo", tmp_path / "view")
    found, told = [], []
    for path in sorted((tmp_path / "view").glob("*.npy")):
        tokens = np.fromfile(path, kind).tolist()
        with gzip.open(path.with_suffix(".csv.gz"), "rt") as file:
            for start, end, *known in csv.reader(file):
                found.append(tokens[int(start) : int(end)])
                told.append(known)
    assert found == ENDED
    assert told == [[identity(i).hex(), f"{i % 2}.warc", str(i)] for i in range(41)]


def test_nanogpt_reads_one_file_and_the_size_of_the_vocabulary(shards, tmp_path, kind, vocab_size):
    made = write_view(shards, "nanogpt", tmp_path / "view")
    # As its train.py does it, but for the type.
    data = np.memmap(tmp_path / "view" / "train.bin", dtype=kind, mode="r")
    assert data.tolist() == STREAM
    assert pickle.loads((tmp_path / "view" / "meta.pkl").read_bytes()) == {"vocab_size": vocab_size}
    assert ("uint32" in " ".join(made.notes)) == (kind == "<u4")


def test_one_part_is_linked_for_nanogpt(tmp_path):
    shards = written(tmp_path / "made", [*split(DOCUMENTS, [])], Shards())
    made = write_view(shards, "nanogpt", tmp_path / "view")
    assert (tmp_path / "view" / "train.bin").samefile(shards / "part-00000.bin")
    assert made.linked == ["train.bin"]


@pytest.mark.parametrize("most", [None, 1024 + 52])
def test_llmc_reads_files_with_headers_and_the_end_in_front(
    shards, tmp_path, kind, most, monkeypatch
):
    if most:
        monkeypatch.setattr(views, "LLMC_BYTES", most)
    write_view(shards, "llmc", tmp_path / "view")
    found: list[int] = []
    paths = sorted((tmp_path / "view").iterdir())
    for number, path in enumerate(paths):
        assert path.name == f"train_{number:06d}.bin"
        content = path.read_bytes()
        header = np.frombuffer(content, "<i4", 256).tolist()
        magic, version = (20240520, 1) if kind == "<u2" else (20240801, 7)
        assert header[:2] == [magic, version]
        assert header[3:] == [0] * 253
        # What llm.c's dataloader.h asserts of a file.
        assert len(content) == 1024 + header[2] * int(kind[-1])
        assert len(content) <= (most or 1 << 31)
        tokens = np.frombuffer(content, kind, offset=1024).tolist()
        assert tokens[0] == tokens[-1] == END
        found += tokens[1:]
    assert found == STREAM
    # Every document has the end of text before it, as llm.c writes it.
    assert len(paths) > (5 if most else 2)


def test_a_document_that_llmc_cannot_hold_is_refused(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(views, "LLMC_BYTES", 1024 + 8)
    with pytest.raises(ShardError, match="more than 2 GiB"):
        write_view(shards, "llmc", tmp_path / "view")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_torchtitan_reads_documents_by_the_source_that_is_written(shards, tmp_path):
    write_view(shards, "torchtitan", tmp_path / "view")
    spec = importlib.util.spec_from_file_location("source", tmp_path / "view" / "token_source.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = module.TokenSource(str(tmp_path / "view"))
    assert [source[i].tolist() for i in range(len(source))] == ENDED
    assert source[3].dtype == np.int64


@pytest.mark.parametrize("limit", [None, 400])
def test_mds_is_read_by_its_table_of_places(shards, tmp_path, kind, limit, monkeypatch):
    if limit:
        monkeypatch.setattr("tokenizer.chunked_views.MDS_SIZE_LIMIT", limit)
    made = write_view(shards, "mds", tmp_path / "view", 8)
    index = json.loads((tmp_path / "view" / "index.json").read_text())
    found = []
    for shard in index["shards"]:
        content = (tmp_path / "view" / shard["raw_data"]["basename"]).read_bytes()
        assert len(content) == shard["raw_data"]["bytes"] <= (limit or 1 << 26)
        assert hashlib.sha1(content).hexdigest() == shard["raw_data"]["hashes"]["sha1"]
        [count] = struct.unpack_from("<I", content)
        places = struct.unpack_from(f"<{count + 1}I", content, 4)
        assert count == shard["samples"]
        assert places[-1] == len(content)
        config = json.loads(content[4 * (count + 2) : places[0]])
        assert config["column_encodings"] == [f"ndarray:uint{8 * int(kind[-1])}:8"]
        assert config["column_sizes"] == [8 * int(kind[-1])]
        for begin, end in pairwise(places):
            found.append(np.frombuffer(content[begin:end], kind).tolist())
    whole = len(STREAM) // 8
    assert found == [STREAM[8 * i : 8 * i + 8] for i in range(whole)]
    assert (len(index["shards"]) > 1) == bool(limit)
    assert made.notes == [f"the last {len(STREAM) % 8} tokens make no whole sequence: left out"]


@pytest.mark.parametrize("limit", [None, 200])
def test_litdata_reads_blocks_behind_a_header(shards, tmp_path, kind, limit, monkeypatch):
    if limit:
        monkeypatch.setattr("tokenizer.chunked_views.CHUNK_BYTES", limit)
    write_view(shards, "litdata", tmp_path / "view", 9)
    index = json.loads((tmp_path / "view" / "index.json").read_text())
    code = 5 if kind == "<u2" else 6
    assert index["config"]["data_format"] == [f"no_header_numpy:{code}"]
    assert index["config"]["item_loader"] == "TokensLoader"
    found = []
    for chunk in index["chunks"]:
        path = tmp_path / "view" / chunk["filename"]
        header = (1 + chunk["chunk_size"] + 1) * 4
        tokens = np.fromfile(path, kind, offset=header)
        assert len(tokens) == chunk["dim"]
        blocks = chunk["dim"] // 9
        found += tokens[: 9 * blocks].reshape(-1, 9).tolist()
    assert found == [STREAM[9 * i : 9 * i + 9] for i in range(len(STREAM) // 9)]
    assert (len(index["chunks"]) > 1) == bool(limit)


def test_parquet_has_a_row_for_each_document(shards, tmp_path):
    write_view(shards, "parquet", tmp_path / "view")
    paths = sorted((tmp_path / "view").glob("*.parquet"))
    assert [row for path in paths for row in pq.read_table(path)["input_ids"].to_pylist()] == ENDED


@pytest.mark.parametrize("name", [*VIEWS])
def test_a_view_is_the_same_each_time_and_changes_nothing(shards, tmp_path, name):
    contents = []
    for folder in ("a", "b"):
        write_view(shards, name, tmp_path / folder, 4)
        files = sorted((tmp_path / folder).iterdir())
        contents.append([(path.name, path.read_bytes()) for path in files])
    assert contents[0] == contents[1]
    assert contents[0]
    assert verify(shards) == []


@pytest.mark.parametrize("name", [*VIEWS])
def test_shards_without_documents_have_views(tmp_path, name):
    shards = written(tmp_path / "made", [], Shards())
    write_view(shards, name, tmp_path / "view")
    assert (tmp_path / "view").is_dir()


def test_across_file_systems_tokens_are_copied_and_it_is_said(shards):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == shards.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        made = write_view(shards, "olmo", Path(folder) / "view")
        assert made.linked == []
        assert len(made.copied) == len([*shards.glob("*.bin")])
        for name in made.copied:
            copied, own = made.folder / name, shards / name.replace(".npy", ".bin")
            assert copied.read_bytes() == own.read_bytes()


def test_views_that_cannot_be_are_refused(shards, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for name, output, message in (
        ("olmoo", "view", "there are: megatron, datatrove, olmo"),
        ("olmo", "full", "is there already"),
        ("olmo", "made/shards/view", "lies within the shards"),
    ):
        with pytest.raises(InputError, match=message):
            write_view(shards, name, tmp_path / output)
    for output in ("full/mine/view", "n" * 250):
        with pytest.raises(DiskError, match="choose another --output"):
            write_view(shards, "olmo", tmp_path / output)
    (shards / "part-00000.bin").unlink()
    with pytest.raises(ShardError, match="is missing"):
        write_view(shards, "olmo", tmp_path / "view")


@pytest.mark.parametrize("suffix", ["bin", "idx", "offsets.npy", "docs.parquet"])
def test_damaged_shards_have_no_views(shards, tmp_path, suffix):
    path = shards / f"part-00001.{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for name in VIEWS:
        with pytest.raises(ShardError, match=f"part-00001.{suffix} is damaged"):
            write_view(shards, name, tmp_path / "view")
    assert not [*tmp_path.glob("*view*")]


def test_a_source_with_line_ends_is_one_line_for_olmo(tmp_path):
    sources = pa.array(['a,"b"', "c\nd\re", "f\u2028g"])
    batch = batch_of([[1], [2], [3]], source=sources)
    folder = written(tmp_path / "made", [[batch]], Shards(shuffle=False))
    made = write_view(folder, "olmo", tmp_path / "view").folder
    with gzip.open(made / "part-00000.csv.gz", "rt") as file:
        lines = file.readlines()
    # olmo-core splits lines at commas and takes the first two numbers.
    assert [line.split(",")[:2] for line in lines] == [["0", "2"], ["2", "4"], ["4", "6"]]
    assert [row[3] for row in csv.reader(lines)] == ['a,"b"', "c d e", "f g"]
    assert [row[4] for row in csv.reader(lines)] == ["0", "1", "2"]


def test_a_link_to_an_empty_folder_is_a_new_folder(tmp_path):
    shards = written(tmp_path / "made", [[batch_of([[1]])]], Shards())
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    write_view(shards, "megatron", tmp_path / "link")
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == [
        "part-00000.bin",
        "part-00000.idx",
    ]
