"""Whether finished shards are what their manifest says: every file, byte and document."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.column import Positions
from curate.errors import ShardError
from curate.store import matches
from tokenizer.shards import MANIFEST, files_below, index_of, load_offsets, read_manifest

_BLOCK = 1 << 22  # tokens checked at a time


def verify(folder: Path) -> list[str]:
    """Every way in which the folder is not what its manifest says; empty if it is."""
    try:
        shards = read_manifest(folder)
    except ShardError as error:
        return [str(error)]
    named = {file: entry for part in shards["parts"] for file, entry in part["files"].items()}
    there = files_below(folder)
    problems = [f"{file}: missing" for file in sorted(named.keys() - there)]
    problems += [f"{file}: not in the manifest" for file in sorted(there - named.keys())]
    damaged = {file for file in named if not matches(folder / file, named[file])}
    problems += [f"{file}: damaged" for file in sorted(damaged & there)]
    for part in shards["parts"]:
        if not damaged & part["files"].keys():
            problems += [f"{part['name']}: {problem}" for problem in _faults(folder, part, shards)]
    for total in ("documents", "tokens", "bytes"):
        if shards[total] != sum(part[total] for part in shards["parts"]):
            problems.append(f"{MANIFEST}: {total} are not the sum of the parts")
    return problems


def _faults(folder: Path, part: dict[str, Any], shards: dict[str, Any]) -> Iterator[str]:
    """What is wrong inside a part whose files are those that were written."""
    try:
        starts = load_offsets(folder / f"{part['name']}.offsets.npy")
    except ShardError as error:
        yield str(error)
        return
    kind = np.dtype(shards["dtype"]).newbyteorder("<")
    sizes = (len(starts) - 1, int(starts[-1]), int(starts[-1]) * kind.itemsize)
    written = part["files"][f"{part['name']}.bin"]["size"]
    expected = (part["documents"], part["tokens"], written)
    if starts[0] != 0 or sizes != expected or (np.diff(starts) < 1).any():
        yield "offsets do not fit the tokens"
        return
    yield from _token_faults(folder / f"{part['name']}.bin", starts, shards)
    with (folder / f"{part['name']}.idx").open("rb") as file:
        if any(file.read(len(piece)) != piece for piece in index_of(starts, kind)) or file.read(1):
            yield "the Megatron index does not fit the offsets"
    rows = pq.read_table(folder / f"{part['name']}.docs.parquet", columns=["n_tokens", "n_bytes"])
    if not np.array_equal(rows["n_tokens"].to_numpy(), np.diff(starts)):
        yield "docs.parquet does not fit the offsets"
    if pc.sum(rows["n_bytes"], min_count=0).as_py() != part["bytes"]:
        yield "docs.parquet does not add up to the bytes of the text"


def _token_faults(path: Path, starts: Positions, shards: dict[str, Any]) -> Iterator[str]:
    """Ids outside the vocabulary, and ends of text elsewhere than at the ends of documents."""
    kind = np.dtype(shards["dtype"]).newbyteorder("<")
    ends_found = 0
    for start in range(0, int(starts[-1]), _BLOCK):
        count = min(_BLOCK, int(starts[-1]) - start)
        block = np.fromfile(path, kind, count, offset=start * kind.itemsize)
        if int(block.max()) >= shards["vocab_size"]:
            yield f"id {block.max()} in a vocabulary of {shards['vocab_size']}"
        first, last = np.searchsorted(starts[1:], (start + 1, start + count + 1))
        here = starts[1:][first:last] - 1 - start
        ends_found += int((block == shards["end_of_text"]).sum())
        if (block[here] != shards["end_of_text"]).any():
            yield "a document does not end with the end-of-text token"
    if ends_found != len(starts) - 1:
        yield f"{ends_found} ends of text in {len(starts) - 1} documents"
