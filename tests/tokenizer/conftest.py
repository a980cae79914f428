"""Published tokenizers, unpacked."""

import json
import lzma
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def unpacked(shared, tmp_path_factory) -> Path:
    """A folder with the tokenizers that others published; o200k's ranks also as a rank file."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for path in (shared / "tokenizers").glob("*.xz"):
        (folder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
    said = json.loads((folder / "o200k_base.json").read_text())
    lines = []
    for line in said["bpe_ranks"].splitlines():
        _, first, *tokens = line.split(" ")
        lines += [f"{token} {rank}\n" for rank, token in enumerate(tokens, int(first))]
    (folder / "o200k_base.tiktoken").write_text("".join(lines))
    return folder
