"""Finished shards as one row of tokens: parts in folders, and files that are not what they were."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import ShardError
from curate.store import sealed
from tokenizer.dataset import TokenDataset
from tokenizer.shards import PartSummary, manifest, write_part


def write(folder: Path, parts: dict[str, list[list[int]]]) -> Path:
    summaries = []
    for name, documents in parts.items():
        rows = pa.record_batch(
            {
                "id": pa.array(
                    [i.to_bytes(16, "big") for i in range(len(documents))], pa.binary(16)
                ),
                "text": pa.array(["x"] * len(documents), pa.string()),
            }
        )
        tokens = np.array([i for ids in documents for i in ids], np.uint32)
        offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        part = write_part(folder, name, [(rows, tokens, offsets)], 50_000, 0)
        files = {f"{name}.{file.split('.', 1)[1]}": entry for file, entry in part.files.items()}
        summaries.append(PartSummary(name, part.documents, part.tokens, part.bytes, files))
    (folder / "manifest.json").write_bytes(sealed(manifest(summaries, "w", 50_000, 0)))
    return folder


def test_parts_in_folders_are_read_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    """More of them than are open at once."""
    count = 150
    parts = {f"{'ab'[i % 2]}/{i % 3}/part-{i:05}": [[i + 1, 7], [i + 1]] for i in range(count)}
    shards = TokenDataset(write(tmp_path, parts))
    expected = [
        id for name in sorted(parts) for ids in parts[name] for id in (*ids, 0)
    ]  # fmt: skip
    assert shards.window(0, shards.tokens).tolist() == expected
    for start in (0, 3, 4, 350, 5 * count - 11):
        assert shards.window(start, 11).tolist() == expected[start : start + 11]
    assert shards.document(2 * count - 1).tolist() == [int(sorted(parts)[-1][-5:]) + 1]
    assert shards.document_lengths().tolist() == [3, 2] * count
    assert shards.document_starts(4, 12).tolist() == [1, 4, 6, 9, 11]
    assert len([*Path("/proc/self/fd").iterdir()]) < 400


@pytest.mark.parametrize("hidden", [True, False])
def test_hidden_files_are_left_alone_and_others_are_told(tmp_path: Path, hidden: bool) -> None:
    folder = write(tmp_path, {"a/part-00000": [[5]]})
    name = "a/.part-00001.bin.7.tmp" if hidden else "b/c/part-00001.bin"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    if hidden:
        assert TokenDataset(folder).documents == 1
    else:
        with pytest.raises(ShardError, match=r"b/c/part-00001.bin is not in the manifest"):
            TokenDataset(folder)


def test_tokens_cut_while_they_are_read_are_an_error(tmp_path: Path) -> None:
    """A memory map would end the process by a signal."""
    shards = TokenDataset(write(tmp_path, {"part-00000": [list(range(1, 5000))]}))
    assert shards.window(4000, 2).tolist() == [4001, 4002]
    os.truncate(tmp_path / "part-00000.bin", 8001)
    assert shards.window(3000, 2).tolist() == [3001, 3002]
    with pytest.raises(ShardError, match=r"part-00000.bin: cut while it was read"):
        shards.window(4000, 2)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_a_manifest_with_another_type_or_other_counts_is_refused(
    tmp_path: Path, dtype: str
) -> None:
    folder = write(tmp_path, {"part-00000": [[5, 6], [7]]})
    whole = TokenDataset(folder).manifest
    part = whole["parts"][0]
    if dtype == "uint16":
        part["documents"] = 3
        problem = "offsets do not fit the tokens"
    else:
        whole["dtype"] = dtype
        problem = "not as many tokens of uint32"
    (folder / "manifest.json").write_bytes(sealed(whole))
    with pytest.raises(ShardError, match=problem):
        TokenDataset(folder).document(0)
