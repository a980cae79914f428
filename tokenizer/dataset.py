"""Finished token shards, read in place: any document, any window, and where documents begin."""

import os
import weakref
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.column import Positions
from curate.errors import ShardError
from curate.store import file_digest
from tokenizer.shards import MANIFEST, load_offsets, read_manifest, running_sums

_OPEN_PARTS = 128  # each holds two file handles, and a process may have 1,024


class TokenDataset:
    """Finished shards, read as one long row of tokens with the places where documents begin.

    That no file is missing or extra is seen at once, that each has its size when it is opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.digest = file_digest(folder / MANIFEST)
        self.vocab_size: int = self.manifest["vocab_size"]
        self.end_of_text: int = self.manifest["end_of_text"]
        self.documents: int = self.manifest["documents"]
        self.tokens: int = self.manifest["tokens"]
        self.dtype = np.dtype(self.manifest["dtype"]).newbyteorder("<")
        self._check_names()
        self._parts = [part for part in self.manifest["parts"] if part["documents"]]
        token_counts = np.array([part["tokens"] for part in self._parts], np.int64)
        document_counts = np.array([part["documents"] for part in self._parts], np.int64)
        # Lists: `bisect` finds a part in a seventh of the time that NumPy needs for one number.
        self._token_starts: list[int] = running_sums(token_counts).tolist()
        self._document_starts: list[int] = running_sums(document_counts).tolist()
        self._open = lru_cache(_OPEN_PARTS)(self._open_part)

    def document(self, number: int) -> NDArray[np.unsignedinteger[Any]]:
        """The tokens of a document, without its end-of-text token."""
        if not 0 <= number < self.documents:
            raise IndexError(f"document {number} of {self.documents}")
        part = bisect_right(self._document_starts, number) - 1
        row = number - self._document_starts[part]
        begin, end = self._open(part).offsets[row : row + 2].tolist()
        return self.window(self._token_starts[part] + begin, end - begin - 1)

    def window(
        self, start: int, length: int, out: NDArray[Any] | None = None
    ) -> NDArray[np.unsignedinteger[Any]]:
        """The tokens at start, start + 1, ..., across parts, written to `out` where it is given.

        `out` is a row of `length` tokens as they are stored.
        """
        if start < 0 or start + length > self.tokens:
            raise IndexError(f"tokens {start} to {start + length} of {self.tokens}")
        if out is None:
            out = np.empty(length, self.dtype)
        filled = 0
        for part, begin, end in self._spans(start, length):
            self._open(part).read(begin, out[filled : filled + end - begin])
            filled += end - begin
        return out

    def document_starts(self, start: int, length: int) -> Positions:
        """Where in such a window documents begin, counted from its first token."""
        found = [
            self._open(part).starts(begin, end) + (self._token_starts[part] - start)
            for part, begin, end in self._spans(start, length)
        ]
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.int64), *found])

    def document_lengths(self) -> NDArray[np.int64]:
        """The tokens of every document, its end of text among them; 8 bytes of memory for each."""
        lengths = np.empty(self.documents, np.int64)
        for part, first in enumerate(self._document_starts[:-1]):
            # Not through `_open`, which would keep the last parts open for no one.
            offsets = self._offsets(part)
            np.subtract(offsets[1:], offsets[:-1], lengths[first : first + len(offsets) - 1])
        return lengths

    def _spans(self, start: int, length: int) -> list[tuple[int, int, int]]:
        """The parts that a window touches, each with the range of its own tokens."""
        starts, end = self._token_starts, start + length
        part = bisect_right(starts, start) - 1
        spans = []
        while start < end:
            origin, stop = starts[part], min(end, starts[part + 1])
            spans.append((part, start - origin, stop - origin))
            start, part = stop, part + 1
        return spans

    def _open_part(self, part: int) -> "_Part":
        tokens = self._checked(part, ".bin")
        if tokens.stat().st_size != self._parts[part]["tokens"] * self.dtype.itemsize:
            raise ShardError(
                f"{tokens}: not as many tokens of {self.dtype.name} as in the manifest"
            )
        return _Part(tokens, self._offsets(part))

    def _offsets(self, part: int) -> Positions:
        path = self._checked(part, ".offsets.npy")
        offsets = load_offsets(path)
        known = self._parts[part]
        if (len(offsets) - 1, int(offsets[-1])) != (known["documents"], known["tokens"]):
            raise ShardError(f"{path}: offsets do not fit the tokens; write the shards again")
        return offsets

    def _checked(self, part: int, suffix: str) -> Path:
        """A file of a part, of the size that the manifest gives."""
        name: str = self._parts[part]["name"] + suffix
        path = self.folder / name
        if path.stat().st_size != self._parts[part]["files"][name]["size"]:
            raise ShardError(f"{path}: another size than in the manifest; write the shards again")
        return path

    def _check_names(self) -> None:
        """Fail on a missing or extra file now rather than at its first use."""
        missing = {file for part in self.manifest["parts"] for file in part["files"]}
        extra = sorted(self._others("", missing))
        wrong = [f"{file} is missing" for file in sorted(missing)]
        wrong += [f"{file} is not in the manifest" for file in extra if file != MANIFEST]
        if wrong:
            raise ShardError(f"{self.folder}: {wrong[0]}; write the shards again")

    def _others(self, prefix: str, missing: set[str]) -> Iterator[str]:
        """Files below a folder that are not missed, but for hidden ones; the missed are taken off.

        One call for each folder: 40,000 files took 25 ms of CPU, and a look at each 170 ms; on a
        disk at the far end of a network it would be a message for each.
        """
        there = {prefix + name for name in os.listdir(self.folder / prefix)}  # noqa: PTH208  # no Path for each
        others = there - missing
        missing -= there
        for path in others:
            if path.removeprefix(prefix).startswith("."):
                continue
            if (self.folder / path).is_dir():
                yield from self._others(f"{path}/", missing)
            else:
                yield path


class _Part:
    """An open part; its tokens are read by place rather than through a map.

    Tokens of a file that was cut while it is mapped end the process by a signal; here they are an
    error that can be told. It costs 2.0 µs a window of 2,049 where the map took 1.6.
    """

    def __init__(self, path: Path, offsets: Positions) -> None:
        self.offsets = offsets
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill `out` with the tokens from `start` on."""
        if os.preadv(self._file, (out.data,), start * out.itemsize) != out.nbytes:
            self._read_on(start, out)

    def _read_on(self, start: int, out: NDArray[Any]) -> None:
        """The same where one call does not give all: the system reads 2 GiB at most at once."""
        left, place = out.data.cast("B"), start * out.itemsize
        while left:
            count = os.preadv(self._file, (left,), place)
            if not count:
                raise ShardError(f"{self._path}: cut while it was read; write the shards again")
            left, place = left[count:], place + count

    def starts(self, begin: int, end: int) -> Positions:
        """Where between two places of the part documents begin."""
        first, last = self.offsets[:-1].searchsorted((begin, end))
        return self.offsets[first:last]
