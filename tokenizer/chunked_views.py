"""Views for streaming libraries: sequences and chunks of a fixed size, over documents' ends."""

import hashlib
import json
import struct
from typing import Any

import numpy as np

from tokenizer.viewed import View

# The usual size of a shard of either library.
CHUNK_BYTES = 64 << 20
# Places in litdata's table of the types of NumPy.
LITDATA_CODES = {"uint16": 5, "uint32": 6}
MDS_SIZE_LIMIT = CHUNK_BYTES


def mds(view: View) -> None:
    """Sequences of `length` tokens in shards with hashes, and index.json: for Streaming."""
    width = np.dtype(view.dtype).itemsize
    told: dict[str, Any] = {
        "column_encodings": [f"ndarray:{view.dtype}:{view.length}"],
        "column_names": ["tokens"],
        "column_sizes": [width * view.length],
        "compression": None,
        "format": "mds",
        "hashes": ["sha1"],
        "size_limit": MDS_SIZE_LIMIT,
        "version": 2,
    }
    config = json.dumps(told, sort_keys=True).encode()
    # Each sample takes its bytes and a place in the table before them.
    fitting = (MDS_SIZE_LIMIT - len(config) - 8) // (width * view.length + 4)
    shards: list[dict[str, Any]] = []
    for stretch in view.stretches(max(fitting, 1) * view.length):
        count = len(stretch) // view.length
        if left := len(stretch) - count * view.length:
            view.notes.append(f"the last {left:,} tokens make no whole sequence: left out")
        if count == 0:
            continue
        begin = 4 * (count + 2) + len(config)
        places = begin + np.arange(count + 1, dtype="<u4") * np.uint32(width * view.length)
        content = b"".join(
            [
                struct.pack("<I", count),
                places.astype("<u4").tobytes(),
                config,
                stretch[: count * view.length].astype(f"<u{width}", copy=False).tobytes(),
            ]
        )
        name = f"shard.{len(shards):05d}.mds"
        (view.folder / name).write_bytes(content)
        hashes = {"sha1": hashlib.sha1(content, usedforsecurity=False).hexdigest()}
        raw = {"basename": name, "bytes": len(content), "hashes": hashes}
        shards.append({**told, "samples": count, "raw_data": raw, "zip_data": None})
    _index(view, {"shards": shards, "version": 2})


def litdata(view: View) -> None:
    """Chunks of tokens, whole sequences of `length` in each, and index.json: for litdata."""
    width = np.dtype(view.dtype).itemsize
    chunks: list[dict[str, Any]] = []
    for stretch in view.stretches(max(CHUNK_BYTES // width // view.length, 1) * view.length):
        name, size = f"chunk-0-{len(chunks)}.bin", len(stretch) * width
        # One item: its reader cuts blocks, and does not look where items end.
        header = struct.pack("<3I", 1, 12, 12 + size)
        (view.folder / name).write_bytes(header + stretch.astype(f"<u{width}").tobytes())
        chunks.append(
            {"chunk_bytes": 12 + size, "chunk_size": 1, "dim": len(stretch), "filename": name}
        )
        if left := len(stretch) % view.length:
            view.notes.append(f"the last {left:,} tokens make no whole sequence: not read")
    config = {
        "chunk_bytes": CHUNK_BYTES,
        "chunk_size": None,
        "compression": None,
        "data_format": [f"no_header_numpy:{LITDATA_CODES[view.dtype]}"],
        "data_spec": None,
        "encryption": None,
        "item_loader": "TokensLoader",
    }
    _index(view, {"chunks": chunks, "config": config})


def _index(view: View, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    (view.folder / "index.json").write_text(text, encoding="utf-8")
