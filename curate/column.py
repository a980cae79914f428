"""From an Arrow string column to the view that kernels read."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int32]
Positions = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


class View(NamedTuple):
    """Row i of a column is data[offsets[i]:offsets[i + 1]]; both arrays are read-only."""

    data: Bytes
    offsets: Offsets


def view(column: pa.Array) -> View:
    """Arrow's own buffers of a string or binary column, without a copy; a null is an empty row."""
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        column = column.cast(pa.string())
    buffers = column.buffers()
    offsets = np.frombuffer(buffers[1], np.int32) if buffers[1] else np.zeros(1, np.int32)
    data = np.frombuffer(buffers[2], np.uint8) if buffers[2] else np.empty(0, np.uint8)
    rows = offsets[column.offset : column.offset + len(column) + 1]
    if len(rows) == 0:
        rows = np.zeros(1, np.int32)
    # Arrow's views come writable or read-only: frozen, there is one kernel type.
    return View(frozen(data), frozen(rows))


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, read-only."""
    array = np.ascontiguousarray(array).view()
    array.setflags(write=False)
    return array


def strings(data: Bytes, offsets: Offsets) -> pa.StringArray:
    """A string column over bytes that a kernel wrote; they must be valid UTF-8."""
    return pa.StringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data)
    )
