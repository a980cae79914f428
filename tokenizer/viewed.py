"""One view in the making: the parts of shards, and the folder that gets links and files."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Positions
from tokenizer.shards import load_offsets, load_tokens

# Tokens written at a time, where they are not linked.
BLOCK = 1 << 22


class Part(NamedTuple):
    """A part of the shards, read in place."""

    name: str
    tokens: NDArray[Any]
    starts: Positions  # of its documents, and the end of the last one


@dataclass
class View:
    """What a view is made from, and what has been made."""

    shards: Path
    manifest: dict[str, Any]
    folder: Path
    length: int  # of sequences, where documents are cut
    linked: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)  # for want of hard links
    notes: list[str] = field(default_factory=list)

    @property
    def dtype(self) -> str:
        """The type of the tokens, as NumPy calls it."""
        return str(self.manifest["dtype"])

    def parts(self) -> Iterator[Part]:
        """The parts that have documents, in order."""
        for part in self.manifest["parts"]:
            if part["documents"]:
                stem = self.shards / part["name"]
                tokens = load_tokens(Path(f"{stem}.bin"), self.dtype)
                yield Part(part["name"], tokens, load_offsets(Path(f"{stem}.offsets.npy")))

    def rows(self, part: Part, columns: list[str]) -> list[dict[str, Any]]:
        """What is known of the documents of a part."""
        table = pq.read_table(self.shards / f"{part.name}.docs.parquet", columns=columns)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def link(self, file: str, target: str) -> None:
        """Make a file of the shards one of the view, without a second copy where that works."""
        path = self.folder / target
        try:
            path.hardlink_to(self.shards / file)
            self.linked.append(target)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(self.shards / file, path)
            self.copied.append(target)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All tokens, in pieces of a bounded size."""
        for part in self.parts():
            for at in range(0, len(part.tokens), BLOCK):
                yield part.tokens[at : at + BLOCK]

    def joined(self, target: str, kind: str) -> None:
        """All tokens in one file of this type: a link where that is a file of the shards."""
        parts = list(self.parts())
        if len(parts) == 1 and kind == self.dtype:
            self.link(f"{parts[0].name}.bin", target)
            return
        with (self.folder / target).open("wb") as file:
            for block in self.blocks():
                file.write(block.astype(np.dtype(kind).newbyteorder("<"), copy=False).data)

    def stretches(self, count: int) -> Iterator[NDArray[Any]]:
        """All tokens, so many at a time, over the ends of parts; at the end what is left."""
        waiting: list[NDArray[Any]] = []
        have = 0
        for block in self.blocks():
            while len(block):
                waiting.append(block[: count - have])
                have += len(waiting[-1])
                block = block[len(waiting[-1]) :]
                if have == count:
                    yield np.concatenate(waiting)
                    waiting, have = [], 0
        if waiting:
            yield np.concatenate(waiting)
