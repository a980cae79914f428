"""The same tokens as other trainers read them: links to our files, or copies, and files beside.

Documents are in the order of the shards, each with the end-of-text token behind it. What each
trainer makes of that, and what a view loses, is told in docs/shards.md.
"""

import csv
import gzip
import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import DiskError, InputError, ShardError
from curate.store import disk_errors, matches, sync_file, sync_folder
from tokenizer.chunked_views import litdata, mds
from tokenizer.dataset import TokenDataset
from tokenizer.shards import save_array
from tokenizer.viewed import BLOCK, View

SEQUENCE = 2048
# llm.c: the magic number and the version of 16 and of 32 bits. Its reader seeks with an int.
LLMC = {"uint16": (20240520, 1), "uint32": (20240801, 7)}
LLMC_HEADER = 256 * 4
LLMC_BYTES = (1 << 31) - 1
PARQUET_ROWS = 1024
TORCHTITAN = '''"""Documents of token shards as a random-access source for torchtitan."""

from pathlib import Path

import numpy as np


class TokenSource:
    """Document i, its end-of-text token included."""

    def __init__(self, folder: str) -> None:
        self.tokens = np.memmap(Path(folder) / "tokens.bin", np.uint32, "r")
        self.offsets = np.load(Path(folder) / "document_offsets.npy")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]].astype(np.int64)
'''


def megatron(view: View) -> None:
    """NAME.bin and NAME.idx, as they are: for Megatron-LM, NeMo, GPT-NeoX."""
    for part in view.parts():
        for suffix in (".bin", ".idx"):
            view.link(f"{part.name}{suffix}", f"{part.name}{suffix}")


def datatrove(view: View) -> None:
    """NAME.ds, its index of the ends of documents, and metadata: for datatrove and nanotron."""
    for part in view.parts():
        view.link(f"{part.name}.bin", f"{part.name}.ds")
        ends = part.starts[1:].astype("<u8")
        (view.folder / f"{part.name}.ds.index").write_bytes(ends.data)
        width, count = part.tokens.itemsize, len(part.tokens)
        told = f"{view.manifest['vocabulary']}|{width}\n{count}\n{count:,} tokens"
        (view.folder / f"{part.name}.ds.metadata").write_text(told, encoding="utf-8")


def olmo(view: View) -> None:
    """NAME.npy, which is tokens alone, and NAME.csv.gz with each document's place: for OLMo."""
    for part in view.parts():
        view.link(f"{part.name}.bin", f"{part.name}.npy")
        lines = io.StringIO()
        table = csv.writer(lines, lineterminator="\n")
        rows = view.rows(part, ["doc_id", "source", "origin"])
        for row, start, end in zip(rows, part.starts[:-1], part.starts[1:], strict=True):
            place = (row["origin"] or "").rpartition("@")[2]
            # A line for each document, as their reader takes it: no line ends within.
            source = " ".join((row["source"] or "").splitlines())
            table.writerow([int(start), int(end), row["doc_id"].hex(), source, place])
        # Without a name and a time in it, so that equal tables are equal files.
        packed = gzip.compress(lines.getvalue().encode(), mtime=0)
        (view.folder / f"{part.name}.csv.gz").write_bytes(packed)


def nanogpt(view: View) -> None:
    """train.bin and meta.pkl, which says how large the vocabulary is: for nanoGPT."""
    view.joined("train.bin", view.dtype)
    meta = pickle.dumps({"vocab_size": view.manifest["vocab_size"]}, protocol=4)
    (view.folder / "meta.pkl").write_bytes(meta)
    view.notes.append("val.bin is wanted, too: the train.bin of a view of held-out shards")
    if view.dtype != "uint16":
        view.notes.append("the ids are uint32: nanoGPT reads uint16, change its two np.memmap")


def llmc(view: View) -> None:
    """Files of less than 2 GiB with a header, an end of text before each document: for llm.c."""
    magic, version = LLMC[view.dtype]
    number = 0
    for part in view.parts():
        width = part.tokens.itemsize
        most = (LLMC_BYTES - LLMC_HEADER) // width - 1
        first = 0
        while first < len(part.starts) - 1:
            begin = int(part.starts[first])
            last = int(np.searchsorted(part.starts, begin + most, "right")) - 1
            if last == first:
                raise ShardError(f"{part.name}: a document of more than 2 GiB; llm.c reads none")
            end = int(part.starts[last])
            header = np.zeros(256, "<i4")
            header[:3] = magic, version, end - begin + 1
            with (view.folder / f"train_{number:06d}.bin").open("wb") as file:
                file.write(header.data)
                file.write(np.array([view.manifest["end_of_text"]], part.tokens.dtype).data)
                for at in range(begin, end, BLOCK):
                    file.write(part.tokens[at : min(at + BLOCK, end)].data)
            first, number = last, number + 1


def torchtitan(view: View) -> None:
    """tokens.bin of uint32, where documents begin, and a source in Python: for torchtitan."""
    view.joined("tokens.bin", "uint32")
    lengths = [np.diff(part.starts) for part in view.parts()]
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
    save_array(view.folder / "document_offsets.npy", ends)
    (view.folder / "token_source.py").write_text(TORCHTITAN, encoding="utf-8")


def parquet(view: View) -> None:
    """NAME.parquet with a column input_ids: for datasets of Hugging Face, and for anyone."""
    schema = pa.schema([("input_ids", pa.list_(pa.int32()))])
    for part in view.parts():
        with pq.ParquetWriter(view.folder / f"{part.name}.parquet", schema) as file:
            for row in range(0, len(part.starts) - 1, PARQUET_ROWS):
                starts = part.starts[row : row + PARQUET_ROWS + 1]
                tokens = part.tokens[starts[0] : starts[-1]].astype(np.int32)
                offsets = pa.array((starts - starts[0]).astype(np.int32))
                lists = pa.ListArray.from_arrays(offsets, pa.array(tokens))
                file.write_table(pa.table([lists], schema=schema))


VIEWS: dict[str, Callable[[View], None]] = {
    "megatron": megatron,
    "datatrove": datatrove,
    "olmo": olmo,
    "nanogpt": nanogpt,
    "llmc": llmc,
    "torchtitan": torchtitan,
    "mds": mds,
    "litdata": litdata,
    "parquet": parquet,
}


def refuse_damaged(shards: Path, manifest: dict[str, Any]) -> None:
    """Fail on a file that is not what was written: a view would pass it on without its hash."""
    for part in manifest["parts"]:
        for file, entry in part["files"].items():
            if not matches(shards / file, entry):
                raise ShardError(f"{shards}: {file} is damaged; write the shards again")


def write_view(shards: Path, name: str, output: Path, length: int = SEQUENCE) -> View:
    """Write a view of finished shards into a new folder, whole or not at all."""
    if name not in VIEWS:
        raise InputError(f"no view {name!r}; there are: {', '.join(VIEWS)}")
    if length < 1:
        raise InputError(f"sequences of {length} tokens; write 1 or more")
    manifest: dict[str, Any] = TokenDataset(shards).manifest
    output = output.resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: is there already; name a new folder")
    if output.is_relative_to(shards.resolve()):
        raise InputError(f"{output}: lies within the shards, and would be a file too many there")
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    refuse_damaged(shards, manifest)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise DiskError(f"{output}: {error.strerror}; choose another --output") from error
    with disk_errors(output):
        try:
            view = View(shards, manifest, temporary, length)
            VIEWS[name](view)
            for path in temporary.iterdir():
                sync_file(path)
            sync_folder(temporary)
            if output.exists():
                output.rmdir()
            temporary.rename(output)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    view.folder = output
    return view
