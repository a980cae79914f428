"""Unicode normalisation as `tokenizers` does it: by the tables of Unicode 9, whatever came later.

Its library knows none of the characters that later versions decompose, compose or reorder, and
leaves them where they are; a byte that belongs to no character is left alone too. What stands
between them is normalised by Arrow, whose newer tables say the same of older characters.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex

from curate.column import strings, view

FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@cache
def _unknown() -> str:
    """The inside of a character class: characters of later versions than `tokenizers` knows."""
    lines = Path(__file__).with_name("later_characters.txt").read_text("utf-8").splitlines()[1:]
    pairs = ([int(end, 16) for end in line.split("-")] for line in lines)
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in pairs)


def normalized(texts: pa.Array, form: str) -> pa.Array:
    """The texts in a normal form, if in any; bytes that are not UTF-8 stay what and where they are.

    Training counts and the encoder encodes what this gives.
    """
    if not form:
        return texts
    try:
        valid = texts.cast(pa.string())
    except pa.ArrowInvalid:
        return _piecewise(texts, form)
    # One character of these in 100 MB of web text: nearly all batches go the short way.
    if pc.any(pc.match_substring_regex(valid, f"[{_unknown()}]")).as_py():
        return _piecewise(texts, form)
    return pc.utf8_normalize(valid, form=form)


def _piecewise(texts: pa.Array, form: str) -> pa.Array:
    """The same, each run between unknown characters by itself."""
    separate = regex.compile(f"([{_unknown()}\udc80-\udcff]+)")
    decoded = [(text or b"").decode("utf-8", "surrogateescape") for text in _bytes_of(texts)]
    parts = [separate.split(text) for text in decoded]
    known = pc.utf8_normalize(pa.array([p for row in parts for p in row[::2]]), form=form)
    flat = iter(known.to_pylist())
    done = []
    for row in parts:
        row[::2] = [next(flat) for _ in row[::2]]
        done.append("".join(row).encode("utf-8", "surrogateescape"))
    return pa.array(done, pa.binary())


def _bytes_of(texts: pa.Array) -> list[bytes | None]:
    rows: list[bytes | None] = texts.cast(pa.binary()).to_pylist()
    return rows


def with_space(texts: pa.Array) -> pa.Array:
    """Every text that does not begin with a space behind one; nothing before an empty text."""
    data, offsets = view(texts)
    begins = offsets[:-1].astype(np.int64)
    lengths = np.diff(offsets)
    first = data[np.minimum(begins, max(len(data) - 1, 0))] if len(data) else np.zeros(0, np.uint8)
    lacks = (lengths > 0) & (first != ord(" ")) if len(data) else np.zeros(len(lengths), bool)
    begin, end = int(offsets[0]), int(offsets[-1])
    ends = np.concatenate([[0], np.cumsum(lengths + lacks)]).astype(np.int32)
    spaced = np.insert(data[begin:end], begins[lacks] - begin, np.uint8(ord(" ")))
    return strings(spaced, ends).cast(pa.binary(), safe=False)
