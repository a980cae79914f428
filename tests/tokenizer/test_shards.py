"""Token shards: bytes worked out by hand, laws of writing and reading, and every kind of damage."""

import json
import shutil
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ShardError
from curate.store import describe, sealed
from tokenizer.dataset import TokenDataset
from tokenizer.shards import (
    PartSummary,
    TokenBatch,
    ended,
    manifest,
    save_array,
    token_type,
    write_part,
)
from tokenizer.verify import verify

END = 0


def batches(documents: list[list[int]], sizes: list[int] | None = None) -> Iterator[TokenBatch]:
    """Documents of these ids, in batches of these sizes; document i has i as its id."""
    first = 0
    for size in sizes or [len(documents)]:
        part = documents[first : first + size]
        numbers = range(first, first + len(part))
        rows = pa.record_batch(
            {
                "id": pa.array([i.to_bytes(16, "big") for i in numbers], pa.binary(16)),
                "url": pa.array([f"http://a/{i}" for i in numbers], pa.string()),
                "source": pa.array(["a.warc.gz" for _ in numbers], pa.string()),
                "offset": pa.array(list(numbers), pa.int64()),
                "language": pa.array(["en" for _ in numbers], pa.string()),
                "text": pa.array(["é" * len(ids) for ids in part], pa.string()),
            }
        )
        offsets = np.cumsum([0, *map(len, part)]).astype(np.int64)
        yield rows, np.array([i for ids in part for i in ids], np.uint32), offsets
        first += size


def dataset(
    folder: Path, parts: list[list[list[int]]], vocab_size: int = 1000, end: int = END
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    summaries = [
        write_part(folder, f"part-{number:05}", batches(documents), vocab_size, end)
        for number, documents in enumerate(parts)
    ]
    (folder / "manifest.json").write_bytes(sealed(manifest(summaries, "words", vocab_size, end)))
    return folder


def test_the_four_files_of_a_part_hold_these_bytes(tmp_path: Path) -> None:
    summary = write_part(tmp_path, "p", batches([[5, 258], [], [7]]), 1000, 9)

    assert (tmp_path / "p.bin").read_bytes() == bytes([5, 0, 2, 1, 9, 0, 9, 0, 7, 0, 9, 0])
    assert (tmp_path / "p.idx").read_bytes() == b"".join(
        [
            b"MMIDIDX\0\0",
            bytes([1, 0, 0, 0, 0, 0, 0, 0]),  # version
            bytes([8]),  # uint16
            bytes([3, 0, 0, 0, 0, 0, 0, 0]),  # sequences
            bytes([4, 0, 0, 0, 0, 0, 0, 0]),  # documents + 1
            bytes([3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]),  # lengths in tokens
            bytes([0, 0, 0, 0, 0, 0, 0, 0]),  # where each begins, in bytes
            bytes([6, 0, 0, 0, 0, 0, 0, 0]),
            bytes([8, 0, 0, 0, 0, 0, 0, 0]),
            bytes([0, 0, 0, 0, 0, 0, 0, 0]),  # the first sequence of each document
            bytes([1, 0, 0, 0, 0, 0, 0, 0]),
            bytes([2, 0, 0, 0, 0, 0, 0, 0]),
            bytes([3, 0, 0, 0, 0, 0, 0, 0]),
        ]
    )
    offsets = np.load(tmp_path / "p.offsets.npy")
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, 3, 4, 6]
    assert pq.read_table(tmp_path / "p.docs.parquet").to_pylist() == [
        {
            "doc_id": number.to_bytes(16, "big"),
            "source": "a.warc.gz",
            "url": f"http://a/{number}",
            "language": "en",
            "n_tokens": n_tokens,
            "n_bytes": len(text),
            "content_hash": blake2b(text, digest_size=16).digest(),
            "origin": f"a.warc.gz@{number}",
        }
        for number, n_tokens, text in [(0, 3, b"\xc3\xa9" * 2), (1, 1, b""), (2, 2, b"\xc3\xa9")]
    ]
    assert (summary.documents, summary.tokens, summary.bytes) == (3, 6, 6)


documents_of_ids = st.lists(st.lists(st.integers(1, 999), max_size=12), max_size=12)


@settings(deadline=None)
@given(documents_of_ids, st.sampled_from([1000, 70_000]))
def test_a_kernel_ends_documents_as_plain_python_does(
    documents: list[list[int]], vocab_size: int
) -> None:
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    tokens = np.array([i for ids in documents for i in ids], np.uint32)
    made = ended("p", tokens, offsets, (vocab_size, END))
    assert made.tolist() == [i for ids in documents for i in [*ids, END]]
    assert made.dtype == token_type(vocab_size)


def test_ids_of_a_large_vocabulary_take_four_bytes(tmp_path: Path) -> None:
    write_part(tmp_path, "p", batches([[65_536, 1]]), 65_537, 3)
    assert (tmp_path / "p.bin").read_bytes() == bytes([0, 0, 1, 0, 1, 0, 0, 0, 3, 0, 0, 0])
    assert (tmp_path / "p.idx").read_bytes()[17] == 4  # int32, Megatron's nearest


def test_two_bytes_suffice_up_to_65536_ids() -> None:
    assert [token_type(size) for size in (1, 65_536, 65_537, (1 << 31) - 1)] == [
        "uint16",
        "uint16",
        "uint32",
        "uint32",
    ]
    for size in (0, 1 << 31):
        with pytest.raises(ShardError, match="shards hold 1 to"):
            token_type(size)


@settings(deadline=None)
@given(st.lists(documents_of_ids, min_size=1, max_size=3), st.sampled_from([1000, 70_000]))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[list[int]]], vocab_size: int
) -> None:
    folder = dataset(tmp_path_factory.mktemp("shards"), parts, vocab_size)
    documents = [ids for part in parts for ids in part]
    stream = [i for ids in documents for i in [*ids, END]]
    begins = np.cumsum([0, *(len(ids) + 1 for ids in documents)])[:-1]

    assert verify(folder) == []
    shards = TokenDataset(folder)
    assert (shards.documents, shards.tokens) == (len(documents), len(stream))
    assert [shards.document(i).tolist() for i in range(len(documents))] == documents
    for start in range(len(stream)):
        length = min(7, len(stream) - start)
        assert shards.window(start, length).tolist() == stream[start : start + length]
        expected = [int(b) - start for b in begins if start <= b < start + length]
        assert shards.document_starts(start, length).tolist() == expected
    shutil.rmtree(folder)


@settings(deadline=None)
@given(documents_of_ids, st.integers(1, 5))
def test_the_bytes_do_not_depend_on_the_batches(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], size: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    sizes = [size] * (len(documents) // size + 1)
    one = write_part(folder, "p", batches(documents), 1000, END)
    assert write_part(folder, "p", batches(documents, sizes), 1000, END) == one
    shutil.rmtree(folder)


def test_row_groups_do_not_depend_on_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenizer.shards.ROW_GROUP", 4)
    documents = [[i] for i in range(1, 12)]
    one = write_part(tmp_path, "p", batches(documents), 1000, END)
    assert pq.ParquetFile(tmp_path / "p.docs.parquet").num_row_groups == 3
    for sizes in ([3, 3, 3, 2], [1] * 11, [5, 0, 6]):
        assert write_part(tmp_path, "p", batches(documents, sizes), 1000, END) == one


def test_a_part_without_documents_is_a_part(tmp_path: Path) -> None:
    folder = dataset(tmp_path, [[], [[4]], []])
    assert verify(folder) == []
    assert TokenDataset(folder).document(0).tolist() == [4]


def test_columns_that_a_recipe_does_not_make_are_null(tmp_path: Path) -> None:
    rows, tokens, offsets = next(batches([[1]]))
    write_part(tmp_path, "p", [(rows.drop_columns(["language", "url"]), tokens, offsets)], 9, 0)
    table = pq.read_table(tmp_path / "p.docs.parquet")
    assert table["language"].to_pylist() == table["url"].to_pylist() == [None]


def test_ids_outside_the_vocabulary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="id 1000 in a vocabulary of 1000"):
        write_part(tmp_path, "p", batches([[1000]]), 1000, END)
    with pytest.raises(ShardError, match="end of text 1000 is not among 1000 ids"):
        write_part(tmp_path, "p", [], 1000, 1000)


def test_an_end_of_text_within_a_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="end of text 0 within a document"):
        write_part(tmp_path, "p", batches([[3, END, 4]]), 1000, END)


def test_offsets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rows, tokens, _ = next(batches([[1], [2, 3]]))
    for offsets in ([0, 3], [1, 1, 3], [0, 1, 2], [0, 4, 3]):
        with pytest.raises(ShardError, match="offsets"):
            write_part(tmp_path, "p", [(rows, tokens, np.array(offsets))], 1000, END)


def test_a_summary_survives_json(tmp_path: Path) -> None:
    summary = write_part(tmp_path, "p", batches([[1]]), 1000, END)
    assert PartSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_the_manifest_adds_up_and_does_not_depend_on_the_order_of_parts(tmp_path: Path) -> None:
    a = write_part(tmp_path, "a", batches([[1], [2]]), 1000, END)
    b = write_part(tmp_path, "b", batches([[3, 4]]), 1000, END)
    both = manifest([b, a], "words", 1000, END)
    assert both == manifest([a, b], "words", 1000, END)
    assert (both["documents"], both["tokens"], both["bytes"]) == (3, 7, 8)
    assert both["dtype"] == "uint16"
    assert both["complete"] is True
    assert str(tmp_path) not in json.dumps(both)


def test_a_bit_flipped_anywhere_is_found(tmp_path: Path) -> None:
    folder = dataset(tmp_path, [[[5, 6], [], [7]]])
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for place in range(len(content)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << (place % 8)
            path.write_bytes(flipped)
            assert verify(folder) != [], (path.name, place)
        path.write_bytes(content)
    assert verify(folder) == []


@pytest.mark.parametrize("suffix", ["bin", "idx", "offsets.npy", "docs.parquet"])
def test_missing_cut_and_extra_files_are_found_and_not_opened(tmp_path: Path, suffix: str) -> None:
    folder = dataset(tmp_path, [[[5, 6], [7]]])
    path = folder / f"part-00000.{suffix}"
    content = path.read_bytes()

    path.write_bytes(content[:-1])
    assert verify(folder) == [f"{path.name}: damaged"]
    if suffix in ("bin", "offsets.npy"):  # what a reader of tokens opens, when it does
        with pytest.raises(ShardError, match="another size"):
            TokenDataset(folder).document(0)
    path.unlink()
    assert verify(folder) == [f"{path.name}: missing"]
    with pytest.raises(ShardError, match="is missing"):
        TokenDataset(folder)
    path.write_bytes(content)
    (folder / f"part-00001.{suffix}").write_bytes(content)
    assert verify(folder) == [f"part-00001.{suffix}: not in the manifest"]
    with pytest.raises(ShardError, match="not in the manifest"):
        TokenDataset(folder)


def test_unfinished_shards_are_refused(tmp_path: Path) -> None:
    folder = dataset(tmp_path, [[[5]]])
    path = folder / "manifest.json"
    whole = json.loads(path.read_bytes())
    del whole["self"]
    for change, problem in (
        ({"complete": False}, "not complete"),
        ({"version": 2}, "version 1"),
        ({"format": "other"}, "token-shards"),
    ):
        path.write_bytes(sealed(whole | change))
        assert problem in verify(folder)[0]
        with pytest.raises(ShardError, match=problem):
            TokenDataset(folder)
    path.write_bytes(path.read_bytes()[:-10])
    assert "torn or edited" in verify(folder)[0]
    path.unlink()
    assert "not finished" in verify(folder)[0]


def test_parts_whose_content_is_wrong_are_found_though_their_checksums_are_right(
    tmp_path: Path,
) -> None:
    """As a writer with a bug would leave them."""
    folder = dataset(tmp_path, [[[5, 6], [7]]])
    found = {}
    for name, changed in {
        "id": ("part-00000.bin", np.array([5, 1000, 0, 7, 0], "<u2").tobytes()),
        "end": ("part-00000.bin", np.array([5, 0, 6, 7, 0], "<u2").tobytes()),
        "count": ("part-00000.bin", np.array([5, 0, 0, 7, 0], "<u2").tobytes()),
        "index": ("part-00000.idx", (folder / "part-00000.idx").read_bytes() + b"x"),
        "offsets": ("part-00000.offsets.npy", None),
    }.items():
        copy = tmp_path / "copies" / name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("copies"))
        file, content = changed
        if content is None:
            np.save(copy / file, np.array([0, 2, 4]))
        else:
            (copy / file).write_bytes(content)
        whole = json.loads((copy / "manifest.json").read_bytes())
        del whole["self"]
        part = PartSummary.from_json(whole["parts"][0])
        redone = {each: describe(copy / each) for each in part.files}
        whole["parts"][0]["files"] = redone
        (copy / "manifest.json").write_bytes(sealed(whole))
        found[name] = verify(copy)
    assert found == {
        "id": ["part-00000: id 1000 in a vocabulary of 1000"],
        "end": ["part-00000: a document does not end with the end-of-text token"],
        "count": ["part-00000: 3 ends of text in 2 documents"],
        "index": ["part-00000: the Megatron index does not fit the offsets"],
        "offsets": ["part-00000: offsets do not fit the tokens"],
    }


def test_totals_that_are_not_the_sum_are_found(tmp_path: Path) -> None:
    folder = dataset(tmp_path, [[[5]]])
    whole = json.loads((folder / "manifest.json").read_bytes())
    del whole["self"]
    (folder / "manifest.json").write_bytes(sealed(whole | {"tokens": 3}))
    assert verify(folder) == ["manifest.json: tokens are not the sum of the parts"]


def test_windows_outside_the_tokens_are_refused(tmp_path: Path) -> None:
    shards = TokenDataset(dataset(tmp_path, [[[5]]]))
    for start, length in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(IndexError):
            shards.window(start, length)
    for number in (-1, 1):
        with pytest.raises(IndexError):
            shards.document(number)


def test_a_bit_flipped_within_an_escape_of_the_manifest_is_found(tmp_path: Path) -> None:
    """JSON says the same with `\\u00EF` for `\\u00ef`, and yet the byte is another."""
    folder = dataset(tmp_path, [[[5, 6]]])
    path = folder / "manifest.json"
    whole = json.loads(path.read_bytes())
    del whole["self"]
    content = sealed(whole | {"probe": {"text": "na\u00efve \ud83d\udc69 10", "ids": [1]}})
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            assert verify(folder) != [], (place, bit)


@pytest.mark.parametrize("length", [0, 1, 5])
def test_offsets_are_the_bytes_that_numpy_writes(tmp_path: Path, length: int) -> None:
    starts = np.arange(length, dtype=np.int64)
    np.save(tmp_path / "theirs.npy", starts)
    save_array(tmp_path / "ours.npy", starts)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


@pytest.mark.parametrize("target", ["nowhere", "elsewhere"])
def test_links_that_are_no_files_of_the_shards_are_told(tmp_path: Path, target: str) -> None:
    (tmp_path / "shards").mkdir()
    folder = dataset(tmp_path / "shards", [[[5, 6]]])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (folder / "link").symlink_to(tmp_path / target)
    assert verify(folder) == ["link: not in the manifest"]
    with pytest.raises(ShardError, match="not in the manifest"):
        TokenDataset(folder)
