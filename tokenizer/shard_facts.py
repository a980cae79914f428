"""What shards hold and where it came from: totals, the document of a token, what two sets share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.column import Positions
from curate.errors import InputError, ModelError, ShardError
from tokenizer import vocabulary
from tokenizer.encode import Encoder
from tokenizer.shards import MANIFEST, load_offsets, load_tokens, read_manifest, running_sums
from tokenizer.vocabulary import Vocabulary

SHARES = (0, 1, 10, 25, 50, 75, 90, 99, 100)  # percentiles of lengths
CONTEXT = 24  # tokens on either side of one that is traced
SUMS = ("n_tokens", "n_bytes")


def folder_of(path: Path) -> Path:
    """The folder of shards that is meant: of a run's output its tokens."""
    if not (path / MANIFEST).is_file() or (path / "tokens" / MANIFEST).is_file():
        return path / "tokens" if (path / "tokens").is_dir() else path
    return path


@contextmanager
def reading(*folders: Path) -> Iterator[None]:
    """Turn what is met in damaged files into an error that says how to find them."""
    try:
        yield
    except (OSError, ValueError, IndexError, pa.ArrowException) as error:
        several = " or ".join(map(str, folders))
        raise ShardError(
            f"{several}: cannot be read: {error}; `curate shards verify` lists what is damaged"
        ) from error


def words_near(folder: Path, shards: dict[str, Any], given: Path | None) -> Vocabulary | None:
    """The tokenizer of shards: the one given, or that of their run, or None."""
    path = given or folder.absolute().parent / "tokenizer"
    if not given and not path.is_dir():
        return None
    words = vocabulary.load(path)
    if words.fingerprint() != shards["vocabulary"]:
        if given:
            raise ModelError(f"{given}: not the tokenizer of {folder}: it has another fingerprint")
        return None
    return words


def inspected(folder: Path) -> dict[str, Any]:
    """Totals, the lengths of documents, and what each source and language has."""
    shards = read_manifest(folder)
    parts = [part for part in shards["parts"] if part["documents"]]
    lengths = np.concatenate([np.empty(0, np.int64), *(_lengths(folder, part) for part in parts)])
    found = {
        name: shards.get(name)
        for name in ("vocabulary", "vocab_size", "dtype", "end_of_text", "order", "columns")
    }
    found |= {name: shards[name] for name in ("documents", "tokens", "bytes")}
    spread = np.percentile(lengths, SHARES, method="lower").tolist() if len(lengths) else []
    return {
        **found,
        "parts": len(shards["parts"]),
        "tokens_per_byte": shards["tokens"] / max(shards["bytes"], 1),
        "lengths": {str(share): int(at) for share, at in zip(SHARES, spread, strict=False)},
        "sources": _sums_by(folder, parts, "source"),
        "languages": _sums_by(folder, parts, "language"),
    }


def _lengths(folder: Path, part: dict[str, Any]) -> Positions:
    return np.diff(load_offsets(folder / f"{part['name']}.offsets.npy"))


def _sums_by(folder: Path, parts: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Documents, tokens and bytes of each value of a column, those with most tokens first."""
    sums = [(name, "sum") for name in SUMS]
    tables = []
    for part in parts:
        rows = pq.read_table(folder / f"{part['name']}.docs.parquet", columns=[column, *SUMS])
        table = rows.group_by(column).aggregate([*sums, ([], "count_all")])
        tables.append(table.rename_columns([column, *SUMS, "documents"]))
    if not tables:
        return []
    whole = pa.concat_tables(tables).group_by(column)
    table = whole.aggregate([*sums, ("documents", "sum")])
    table = table.rename_columns(["name", "tokens", "bytes", "documents"])
    found: list[dict[str, Any]] = table.to_pylist()
    return sorted(found, key=lambda row: (-row["tokens"], row["name"] or ""))


@dataclass(frozen=True)
class Traced:
    """The document behind a token."""

    part: str
    token: int  # its place in the part
    document: int  # its place in the part
    position: int  # of the token within the document
    id: int  # of the token
    row: dict[str, Any]  # of docs.parquet
    context: tuple[bytes, bytes, bytes] | None  # the text before it, its own, and behind it


def traced(folder: Path, token: int, part: str, words: Vocabulary | None) -> Traced:
    """The document of a token, counted in a part, or over all parts where none is named."""
    shards = read_manifest(folder)
    name, token = _located(shards, token, part)
    starts = load_offsets(folder / f"{name}.offsets.npy")
    row = int(np.searchsorted(starts, token, "right")) - 1
    first, end = int(starts[row]), int(starts[row + 1])
    tokens = load_tokens(folder / f"{name}.bin", shards["dtype"])
    context = None
    if words:
        decode = Encoder(words).decode
        before, behind = max(first, token - CONTEXT), min(end, token + 1 + CONTEXT)
        spans = ((before, token), (token, token + 1), (token + 1, behind))
        left, own, right = (decode(tokens[begin:stop]) for begin, stop in spans)
        context = left, own, right
    known = _row(folder / f"{name}.docs.parquet", row)
    return Traced(name, token, row, token - first, int(tokens[token]), known, context)


def _located(shards: dict[str, Any], token: int, part: str) -> tuple[str, int]:
    """The part of a token, and its place in it."""
    parts = {one["name"]: one["tokens"] for one in shards["parts"]}
    if part:
        name = f"part-{int(part):05d}" if part.isdecimal() else part
        if name not in parts:
            raise InputError(f"--part {part}: there are {', '.join(parts) or 'none'}")
        parts = {name: parts[name]}
    starts = running_sums(np.array([*parts.values()], np.int64))
    if not 0 <= token < starts[-1]:
        raise InputError(f"--token {token}: there are {starts[-1]:,} tokens; write 0 or more")
    at = int(np.searchsorted(starts, token, "right")) - 1
    return [*parts][at], token - int(starts[at])


def _row(path: Path, row: int) -> dict[str, Any]:
    """A row of a Parquet file, of which one row group is read."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                found: dict[str, Any] = file.read_row_group(group).slice(row, 1).to_pylist()[0]
                return found
            row -= rows
    raise ShardError(f"{path}: has fewer rows than the part has documents; write the shards again")


def decoded(folder: Path, words: Vocabulary, count: int) -> list[bytes]:
    """The texts of the first documents."""
    shards, decoder = read_manifest(folder), Encoder(words)
    found: list[bytes] = []
    for part in shards["parts"]:
        starts = load_offsets(folder / f"{part['name']}.offsets.npy")
        kind = np.dtype(shards["dtype"])
        for first, end in pairwise(starts.tolist()):
            if len(found) == count:
                return found
            width = kind.itemsize
            path = folder / f"{part['name']}.bin"
            tokens = np.fromfile(path, kind, end - first - 1, offset=first * width)
            if len(tokens) != end - first - 1:
                raise ShardError(f"{path}: cut; write the shards again")
            found.append(decoder.decode(tokens))
    return found


def differences(one: Path, other: Path) -> dict[str, Any]:
    """In what two sets of shards differ; documents are the same by their ids."""
    manifests = [read_manifest(folder) for folder in (one, other)]
    same_words = manifests[0]["vocabulary"] == manifests[1]["vocabulary"]
    rows = [
        _documents(folder, shards) for folder, shards in zip((one, other), manifests, strict=True)
    ]
    there = [_by_id(table) for table in rows]
    first, second = there
    shared = first.keys() & second.keys()
    changed = [key for key in shared if first[key][0] != second[key][0]]
    alike = shared - set(changed)
    retokenized = [key for key in alike if first[key][1] != second[key][1]]
    return {
        "tokenizer": "the same" if same_words else "another",
        "documents": [len(table) for table in rows],
        "tokens": [shards["tokens"] for shards in manifests],
        "removed": sorted(key.hex() for key in first.keys() - second.keys()),
        "added": sorted(key.hex() for key in second.keys() - first.keys()),
        "changed": sorted(key.hex() for key in changed),
        "other_tokens": sorted(key.hex() for key in retokenized),
        "other_copies": sorted(key.hex() for key in shared if first[key][2] != second[key][2]),
        "order": "the same" if rows[0]["doc_id"].equals(rows[1]["doc_id"]) else "another",
    }


def _documents(folder: Path, shards: dict[str, Any]) -> pa.Table:
    """The ids and hashes of all documents, and those of their tokens, in order."""
    schema = pa.schema(
        [("doc_id", pa.binary(16)), ("content_hash", pa.binary(16)), ("tokens", pa.binary(16))]
    )
    tables = [schema.empty_table()]
    for part in shards["parts"] if shards["documents"] else ():
        if not part["documents"]:
            continue
        path = folder / f"{part['name']}.docs.parquet"
        table = pq.read_table(path, columns=["doc_id", "content_hash"])
        starts = load_offsets(folder / f"{part['name']}.offsets.npy")
        # As 32 bits: the same ids have the same hash in any type.
        tokens = load_tokens(folder / f"{part['name']}.bin", shards["dtype"])
        hashes = [
            blake2b(tokens[begin : end - 1].astype("<u4").tobytes(), digest_size=16).digest()
            for begin, end in pairwise(starts.tolist())
        ]
        tables.append(table.append_column("tokens", pa.array(hashes, pa.binary(16))).cast(schema))
    return pa.concat_tables(tables).combine_chunks()


def _by_id(table: pa.Table) -> dict[bytes, tuple[bytes, bytes, int]]:
    """Hash of the text, hash of the tokens, and number of copies of each document."""
    found: dict[bytes, tuple[bytes, bytes, int]] = {}
    columns = (table[name].to_pylist() for name in table.column_names)
    for key, text, tokens in zip(*columns, strict=True):
        before = found.get(key)
        found[key] = (text, tokens, before[2] + 1 if before else 1)
    return found


def is_same(found: dict[str, Any]) -> bool:
    """Whether nothing differs."""
    lists = ("removed", "added", "changed", "other_tokens", "other_copies")
    named = found["tokenizer"] == found["order"] == "the same"
    return named and not any(found[name] for name in lists)
