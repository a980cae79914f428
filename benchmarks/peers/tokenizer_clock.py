"""How an encoder is timed, the same for ours and for every peer: needs nothing but NumPy."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

COLD_BYTES = 10_000_000  # what is encoded first, while caches are empty
SLOW_SECONDS = 4.0  # an encoder that takes longer for that is not asked for the rest
ROUNDS = 3


class Side(NamedTuple):
    """An encoder at work: what it takes is prepared, and what it gives flattened, off the clock."""

    encode: Callable[[Any], Any]
    prepare: Callable[[list[str]], Any] = lambda texts: texts
    flatten: Callable[[Any], Any] = lambda given: [token for one in given for token in one]


def documents(path: Path) -> list[str]:
    """The documents of a file, which zero bytes part."""
    return path.read_bytes().decode().split("\0")


def digest(parts: list[Any]) -> str:
    """A hash of all tokens in order."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(np.asarray(part, "<u4").tobytes())
    return hashed.hexdigest()


def parted(texts: list[str], size: int) -> tuple[list[str], list[str]]:
    """The first documents, of so many bytes in all, and the others."""
    row = 0
    while row < len(texts) and size > 0:
        size -= len(texts[row].encode())
        row += 1
    return texts[:row], texts[row:]


def timed(side: Side, prepared: Any) -> tuple[Any, Any]:
    """Seconds of processor and of clock, and what was given."""
    wall, cpu = time.perf_counter(), time.process_time()
    given = side.encode(prepared)
    return np.array([time.process_time() - cpu, time.perf_counter() - wall]), given


def clocked(load: Callable[[], Side], texts: list[str]) -> dict[str, Any]:
    """Best times of some rounds, each with a fresh encoder.

    `cold`: the first 10 MB; `once`: everything, once; `warm`: everything a second time. Tables
    that an encoder makes in its first call are made before.
    """
    head, rest = parted(texts, COLD_BYTES)
    best: dict[str, Any] = {}
    for _ in range(ROUNDS):
        side = load()
        side.encode(side.prepare(["It's a warm-up, with 123 numbers.\n", "Größe 中文 मराठी 🙂"]))
        parts = [side.prepare(head), *([side.prepare(rest)] if rest else [])]
        spent, given = timed(side, parts[0])
        best["cold"] = np.minimum(best.get("cold", np.inf), spent)
        best["head"] = digest([side.flatten(given)])
        if spent[0] > SLOW_SECONDS:
            break
        hashes = [side.flatten(given)]
        for part in parts[1:]:
            more, given = timed(side, part)
            spent = spent + more
            hashes.append(side.flatten(given))
        best["once"] = np.minimum(best.get("once", np.inf), spent)
        best["all"], best["tokens"] = digest(hashes), sum(map(len, hashes))
        del hashes, given
        again = sum(timed(side, part)[0] for part in parts)
        best["warm"] = np.minimum(best.get("warm", np.inf), again)
    sizes = [sum(len(text.encode()) for text in part) for part in (head, texts)]
    arrays = {
        name: one.tolist() if isinstance(one, np.ndarray) else one for name, one in best.items()
    }
    return {**arrays, "bytes": sizes}


def growth(
    load: Callable[[], Side], text: str, sizes: list[int], note: Callable[[Any], None]
) -> None:
    """Seconds for one document of each size, by repetition of a text; noted one by one."""
    side = load()
    side.encode(side.prepare(["warm up"]))
    spent: dict[str, float] = {}
    for size in sizes:
        whole = (text * (size // len(text.encode()) + 1)).encode()
        document = whole[:size].decode(errors="ignore")
        seconds, given = timed(side, side.prepare([document]))
        spent[str(size)] = float(seconds[0])
        note({"seconds": spent, "digest": digest([side.flatten(given)])})
