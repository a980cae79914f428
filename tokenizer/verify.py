"""Whether finished shards are what their manifest says: every file, byte and document."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Positions
from curate.errors import ShardError
from curate.store import matches, sealed
from tokenizer.encode import Encoder
from tokenizer.shards import (
    DOCUMENTS,
    MANIFEST,
    index_of,
    load_offsets,
    load_tokens,
    read_manifest,
)
from tokenizer.vocabulary import Vocabulary

BLOCK = 1 << 22  # tokens checked at a time


class Watched(Protocol):
    """Who is told how far it is."""

    def advance(self, counts: dict[str, int]) -> None: ...


def verify(
    folder: Path, words: Vocabulary | None = None, events: Watched | None = None
) -> list[str]:
    """Every way in which the folder is not what its manifest says; empty if it is.

    With the tokenizer each document is decoded, too: its text must have the hash that is stored.
    """
    try:
        shards = read_manifest(folder)
    except ShardError as error:
        return [str(error)]
    named = {file: entry for part in shards["parts"] for file, entry in part["files"].items()}
    there = files_below(folder)
    # Readers ask whether its values are those; `\u00EF` for `\u00ef` is a flipped bit all the same.
    same = (folder / MANIFEST).read_bytes() == sealed(shards)
    problems = [] if same else [f"{MANIFEST}: not as it was written, though it says the same"]
    problems += [f"{file}: missing" for file in sorted(named.keys() - there)]
    problems += [f"{file}: not in the manifest" for file in sorted(there - named.keys())]
    broken_off = sorted(path.name for path in folder.glob(".*.tmp"))
    problems += [f"{file}: a write that was broken off" for file in broken_off]
    decoder = None
    if words:
        problems += tokenizer_faults(words, shards)
        decoder = Encoder(words) if words.fingerprint() == shards["vocabulary"] else None
    for part in shards["parts"]:
        damaged = {
            file for file, entry in part["files"].items() if not matches(folder / file, entry)
        }
        problems += [f"{file}: damaged" for file in sorted(damaged & there)]
        if not damaged:
            found = [
                *part_faults(folder, part, shards),
                *text_faults(folder, part, shards, decoder),
            ]
            problems += [f"{part['name']}: {problem}" for problem in found]
        if events:
            events.advance({"documents": part["documents"], "kept": part["documents"]})
    for total in ("documents", "tokens", "bytes"):
        if shards[total] != sum(part[total] for part in shards["parts"]):
            problems.append(f"{MANIFEST}: {total} are not the sum of the parts")
    return problems


def files_below(folder: Path) -> set[str]:
    """All files below the folder but its manifest and hidden (temporary) ones, by their path.

    Links to folders and to nothing are files here, which no manifest names.
    """
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("[!.]*")
        if path.is_symlink() or not path.is_dir()
    }
    hidden = {path for path in found if "/." in f"/{path}"}
    return found - hidden - {MANIFEST}


def tokenizer_faults(words: Vocabulary, shards: dict[str, Any]) -> Iterator[str]:
    """In what a tokenizer is not that of the shards."""
    if words.fingerprint() != shards["vocabulary"]:
        yield "the tokenizer has another fingerprint than that of the shards"
    if words.size != shards["vocab_size"]:
        yield f"the tokenizer has {words.size} ids, the shards are of {shards['vocab_size']}"
    if probe := shards.get("probe"):
        ids, _ = Encoder(words).encode(pa.array([probe["text"]]))
        if ids.tolist() != probe["ids"]:
            yield "the tokenizer gives other ids to the probe in the manifest"


def part_faults(folder: Path, part: dict[str, Any], shards: dict[str, Any]) -> Iterator[str]:
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
    yield from token_faults(folder / f"{part['name']}.bin", starts, shards)
    with (folder / f"{part['name']}.idx").open("rb") as file:
        if any(file.read(len(piece)) != piece for piece in index_of(starts, kind)) or file.read(1):
            yield "the Megatron index does not fit the offsets"
    yield from row_faults(folder / f"{part['name']}.docs.parquet", part, starts)


def token_faults(path: Path, starts: Positions, shards: dict[str, Any]) -> Iterator[str]:
    """Ids outside the vocabulary, and ends of text elsewhere than at the ends of documents."""
    kind = np.dtype(shards["dtype"]).newbyteorder("<")
    ends_found, largest, misplaced = 0, -1, False
    for start in range(0, int(starts[-1]), BLOCK):
        count = min(BLOCK, int(starts[-1]) - start)
        block = np.fromfile(path, kind, count, offset=start * kind.itemsize)
        largest = max(largest, int(block.max()))
        first, last = np.searchsorted(starts[1:], (start + 1, start + count + 1))
        here = starts[1:][first:last] - 1 - start
        ends_found += int((block == shards["end_of_text"]).sum())
        misplaced |= bool((block[here] != shards["end_of_text"]).any())
    if largest >= shards["vocab_size"]:
        yield f"id {largest} in a vocabulary of {shards['vocab_size']}"
    if misplaced:
        yield "a document does not end with the end-of-text token"
    if ends_found != len(starts) - 1:
        yield f"{ends_found} ends of text in {len(starts) - 1} documents"


def row_faults(path: Path, part: dict[str, Any], starts: Positions) -> Iterator[str]:
    """What is wrong in the rows of documents."""
    try:
        there = pq.read_schema(path)
        rows = pq.read_table(path, columns=["n_tokens", "n_bytes"])
    except (OSError, pa.ArrowException) as error:
        yield f"docs.parquet cannot be read: {error}"
        return
    for field in DOCUMENTS:
        if field.name not in there.names or there.field(field.name).type != field.type:
            yield f"docs.parquet has no column {field.name} of {field.type}"
    if not np.array_equal(rows["n_tokens"].to_numpy(), np.diff(starts)):
        yield "docs.parquet does not fit the offsets"
    if pc.sum(rows["n_bytes"], min_count=0).as_py() != part["bytes"]:
        yield "docs.parquet does not add up to the bytes of the text"


def text_faults(
    folder: Path, part: dict[str, Any], shards: dict[str, Any], decoder: Encoder | None
) -> Iterator[str]:
    """How many documents do not decode to the text whose hash is stored, and the first of them.

    A tokenizer that normalizes does not give the text back: then nothing can be told.
    """
    if decoder is None or decoder.vocabulary.normalization or not part["documents"]:
        return
    rows = pq.read_table(folder / f"{part['name']}.docs.parquet", columns=["content_hash"])
    hashes = rows["content_hash"].to_pylist()
    tokens = load_tokens(folder / f"{part['name']}.bin", shards["dtype"])
    starts = load_offsets(folder / f"{part['name']}.offsets.npy").tolist()
    wrong = [
        row
        for row, stored in enumerate(hashes)
        if text_hash(decoder, tokens[starts[row] : starts[row + 1] - 1]) != stored
    ]
    if wrong:
        yield f"{len(wrong)} documents decode to other texts, the first is document {wrong[0]}"


def text_hash(decoder: Encoder, tokens: NDArray[Any]) -> bytes:
    """The hash of the text of these tokens."""
    return blake2b(decoder.decode(tokens), digest_size=16).digest()
