"""Finished token shards, read in place: any document, any window, and where documents begin."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.column import Positions
from curate.errors import ShardError
from curate.store import digest
from tokenizer.shards import files_below, load_offsets, read_manifest, running_sums

_OPEN_PARTS = 128  # each holds two file handles, and a process may have 1,024


class TokenDataset:
    """Finished shards, read as one long row of tokens with the places where documents begin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.digest = digest(self.manifest)
        self.vocab_size: int = self.manifest["vocab_size"]
        self.end_of_text: int = self.manifest["end_of_text"]
        self.documents: int = self.manifest["documents"]
        self.tokens: int = self.manifest["tokens"]
        self.dtype = np.dtype(self.manifest["dtype"]).newbyteorder("<")
        self._parts = [part for part in self.manifest["parts"] if part["documents"]]
        self._check_sizes()
        token_counts = np.array([part["tokens"] for part in self._parts], np.int64)
        document_counts = np.array([part["documents"] for part in self._parts], np.int64)
        self._token_starts = running_sums(token_counts)
        self._document_starts = running_sums(document_counts)
        self._open = lru_cache(_OPEN_PARTS)(self._open_part)

    def document(self, number: int) -> NDArray[np.unsignedinteger[Any]]:
        """The tokens of a document, without its end-of-text token."""
        if not 0 <= number < self.documents:
            raise IndexError(f"document {number} of {self.documents}")
        part = int(np.searchsorted(self._document_starts, number, "right")) - 1
        tokens, offsets = self._open(part)
        row = number - int(self._document_starts[part])
        return tokens[offsets[row] : offsets[row + 1] - 1]

    def window(
        self, start: int, length: int, out: NDArray[Any] | None = None
    ) -> NDArray[np.unsignedinteger[Any]]:
        """The tokens at start, start + 1, ..., across parts, written to `out` where it is given."""
        if start < 0 or start + length > self.tokens:
            raise IndexError(f"tokens {start} to {start + length} of {self.tokens}")
        if out is None:
            out = np.empty(length, self.dtype)
        filled = 0
        for part, begin, end in self._spans(start, length):
            out[filled : filled + end - begin] = self._open(part)[0][begin:end]
            filled += end - begin
        return out

    def document_starts(self, start: int, length: int) -> Positions:
        """Where in such a window documents begin, counted from its first token."""
        found = []
        for part, begin, end in self._spans(start, length):
            offsets = self._open(part)[1]
            first, last = offsets[:-1].searchsorted((begin, end))
            found.append(offsets[first:last] + (int(self._token_starts[part]) - start))
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _spans(self, start: int, length: int) -> Iterator[tuple[int, int, int]]:
        """The parts that a window touches, each with the range of its own tokens."""
        end = start + length
        part = int(self._token_starts.searchsorted(start, "right")) - 1
        while start < end:
            origin, limit = int(self._token_starts[part]), int(self._token_starts[part + 1])
            stop = min(end, limit)
            yield part, start - origin, stop - origin
            start, part = stop, part + 1

    def _open_part(self, part: int) -> tuple[NDArray[np.unsignedinteger[Any]], Positions]:
        stem = self._parts[part]["name"]
        # A plain array over the map: slices of np.memmap itself were 7 to 8 times slower.
        tokens = np.asarray(np.memmap(self.folder / f"{stem}.bin", self.dtype, "r"))
        return tokens, load_offsets(self.folder / f"{stem}.offsets.npy")

    def _check_sizes(self) -> None:
        """Fail on a missing, extra or cut file now rather than at its first use."""
        named = {
            file: entry["size"]
            for part in self.manifest["parts"]
            for file, entry in part["files"].items()
        }
        there = files_below(self.folder)
        wrong = [f"{file} is missing" for file in sorted(named.keys() - there)]
        wrong += [f"{file} is not in the manifest" for file in sorted(there - named.keys())]
        if not wrong:
            wrong = [
                f"{file} has another size than in the manifest"
                for file, size in named.items()
                if (self.folder / file).stat().st_size != size
            ]
        if wrong:
            raise ShardError(f"{self.folder}: {wrong[0]}; write the shards again")
