"""Stretches of text that a survey takes out of documents that stay."""

import numpy as np
import pyarrow as pa

from curate.column import Bytes, Offsets, View, frozen, strings, view
from curate.errors import LawError
from curate.kernel import helper


@helper
def _write(text: View, places: Offsets, ends: Offsets, out: Bytes, offsets: Offsets) -> int:
    """Write the texts without these stretches; the first row with impossible ones, -1 for none."""
    data = text.data
    to = np.int64(0)
    for row in range(len(offsets) - 1):
        start, end = np.int64(text.offsets[row]), np.int64(text.offsets[row + 1])
        at = start
        for cut in range(ends[row], ends[row + 1] - 1, 2):
            first, last = start + np.int64(places[cut]), start + np.int64(places[cut + 1])
            if not at <= first < last <= end:
                return row
            # A stretch ends where a character ends, or what is left would be no UTF-8.
            if (data[first] & 0xC0) == 0x80 or (last < end and (data[last] & 0xC0) == 0x80):
                return row
            out[to : to + first - at] = data[at:first]
            to += first - at
            at = last
        if (ends[row + 1] - ends[row]) % 2:
            return row
        out[to : to + end - at] = data[at:end]
        to += end - at
        offsets[row + 1] = to
    return -1


def without_cuts(texts: pa.Array, cuts: pa.Array) -> pa.StringArray:
    """The texts without the stretches that a column of CUTS names.

    Raises LawError for stretches that overlap, are out of order, lie outside of the text or cut a
    character in two.
    """
    text = view(texts)
    rows = len(texts)
    filled = cuts.fill_null([]) if cuts.null_count else cuts
    ends = np.frombuffer(filled.offsets.buffers()[1], np.int32) if rows else np.zeros(1, np.int32)
    ends = ends[filled.offsets.offset : filled.offsets.offset + rows + 1]
    places = np.asarray(filled.values.to_numpy(zero_copy_only=False), np.int32)
    size = int(text.offsets[-1]) - int(text.offsets[0])
    out, offsets = np.empty(size, np.uint8), np.zeros(rows + 1, np.int32)
    wrong = _write(text, frozen(places), frozen(ends), out, offsets)
    if wrong >= 0:
        raise LawError(f"a survey cuts what is not there: {cuts[wrong]} of {text.offsets[wrong]}")
    return strings(out[: offsets[-1]].copy(), offsets)


def stretches(text: str, cuts: list[int], most: int) -> str:
    """What is cut out of a text, up to so many characters, for people to read."""
    raw = text.encode()
    pieces = [raw[a:b] for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
    return " […] ".join(piece[: 4 * most].decode(errors="ignore") for piece in pieces)[:most]
