"""Columns of numbers and of bytes of one width, from Arrow and back."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Mask

DUPLICATE_OF = "duplicate_of"  # id of the document that stays


def on_disk(path: Path, kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array in a new file, to be written in any order.

    Its blocks are taken at once: a full disk is an OSError here, and not the death of the process
    at some later assignment.
    """
    array: NDArray[Any] = np.lib.format.open_memmap(path, "w+", kind, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def fixed_width(column: pa.Array, dtype: str, width: int) -> NDArray[Any]:
    """Arrow's own buffer of a column of numbers or of binaries of one width, a row per value."""
    row = np.dtype(dtype).itemsize * width
    raw = np.frombuffer(column.buffers()[1], np.uint8)
    start = column.offset * row
    return raw[start : start + len(column) * row].view(dtype).reshape(len(column), width)


def binaries(rows: NDArray[Any], valid: Mask) -> pa.Array:
    """The bytes of each row as a binary of fixed width, null where it is not valid."""
    width = rows.dtype.itemsize * rows.shape[1]
    bitmap = pa.array(valid).buffers()[1]
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(rows), [bitmap, pa.py_buffer(rows)]
    )


def only(values: NDArray[Any], where: Mask, kind: pa.DataType) -> pa.Array:
    """The values as a column that is null elsewhere."""
    return pa.array(values, kind, mask=~where)
