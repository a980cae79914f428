"""Our tokens beside those of tiktoken and tokenizers, on real text and on strings made to differ.

    python -m benchmarks.tokenizer_exact --state exact.jsonl      # 1 GB and ten million strings
    python -m benchmarks.tokenizer_exact --megabytes 50 --strings 1_000_000 --each 5

Vocabularies take turns: each unit of 4 MB or 50,000 strings is compared for --each of them. Counts
strings, bytes, tokens and mismatches for each vocabulary and peer, and whether decoding
gives back what was encoded; of the damaged strings (bytes that are no UTF-8), which no peer takes,
the latter alone. The first string that differs is shown, made as short as it can be. With --state,
finished units are noted in a file, and the same command goes on from there.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tiktoken
import tokenizers

from benchmarks.tokenizer_corpus import PARTS, sample
from benchmarks.tokenizer_fuzz import damaged, strings
from benchmarks.tokenizer_ours import vocabulary_of
from benchmarks.tokenizer_vocabularies import folder_of
from tokenizer.encode import Encoder
from tokenizer.normalize import normalized
from tokenizer.pretokenize import PATTERNS

VOCABULARIES = ("gpt2", "cl100k", "o200k", "qwen3", "deepseek")
# Of the real text: english, multilingual, code; 1,074 MB of 1,000, which is all that there is.
SHARES = (0.43, 0.43, 0.22)
UNIT_BYTES = 4_000_000
UNIT_STRINGS = 50_000
DAMAGED = 10  # one string in so many
EACH = 2

Lists = list[list[int]]
Peer = Callable[[list[str]], Lists]


class Tried(NamedTuple):
    """A vocabulary at work in ours and in the peers that can hold it."""

    encoder: Encoder
    peers: dict[str, Peer]


class Unit(NamedTuple):
    """Something to compare: a row group of the real text, or strings of a seed."""

    kind: str
    number: int


def tried(name: str, folder: Path) -> Tried:
    """Load a vocabulary everywhere."""
    vocabulary = vocabulary_of(folder)
    said = json.loads((folder / "tokenizer.json").read_text())
    # Special tokens in the text are text: theirs would be taken out before anything else.
    said["added_tokens"] = []
    theirs = tokenizers.Tokenizer.from_str(json.dumps(said))

    def hugging_face(texts: list[str]) -> Lists:
        return [one.ids for one in theirs.encode_batch_fast(texts, add_special_tokens=False)]

    peers: dict[str, Peer] = {"tokenizers": hugging_face}
    # Ranks have one pattern, and nothing is done to a text before it.
    if isinstance(vocabulary.pattern, str) and not vocabulary.normalization:
        openai = tiktoken.Encoding(
            name,
            pat_str=PATTERNS.get(vocabulary.pattern, vocabulary.pattern),
            mergeable_ranks={token: i for i, token in enumerate(vocabulary.tokens) if token},
            special_tokens={},
        )
        peers["tiktoken"] = lambda texts: [openai.encode_ordinary(text) for text in texts]
    return Tried(Encoder(vocabulary), peers)


def ours(encoder: Encoder, texts: list[str]) -> tuple[Any, Any]:
    """The tokens of all texts, and where each begins."""
    return encoder.encode(pa.array(texts, pa.large_string()))


def differing(encoder: Encoder, peer: Peer, texts: list[str]) -> list[str]:
    """The texts of which the tokens are others."""
    tokens, ends = ours(encoder, texts)
    given = peer(texts)
    flat = np.fromiter(chain.from_iterable(given), np.uint32)
    lengths = np.fromiter(map(len, given), np.int64, len(given))
    if np.array_equal(tokens, flat) and np.array_equal(np.diff(ends), lengths):
        return []
    rows = zip(texts, given, ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    return [text for text, theirs, i, j in rows if tokens[i:j].tolist() != theirs]


def shortest(text: str, differs: Callable[[str], bool]) -> str:
    """A part of the text that still differs, of which nothing more can be left out."""
    step = len(text) // 2
    while step:
        begin = 0
        while begin < len(text):
            rest = text[:begin] + text[begin + step :]
            if rest and differs(rest):
                text = rest
            else:
                begin += step
        step //= 2
    return text


def comes_back(encoder: Encoder, texts: pa.Array) -> bool:
    """Whether decoding the tokens of all texts gives their bytes."""
    tokens, _ = encoder.encode(texts)
    wanted = normalized(texts, encoder.vocabulary.normalization)
    return encoder.decode(tokens) == b"".join(wanted.cast(pa.large_binary()).to_pylist())


def compared(unit: Unit) -> dict[str, Any]:
    """Counts of a unit, by vocabulary and peer."""
    texts, broken = texts_of(unit)
    size = sum(len(text.encode()) for text in texts)
    counts: dict[str, Any] = {}
    for name, (encoder, peers) in turn(STATE["tried"], unit.number):
        total = len(ours(encoder, texts)[0])
        back = [comes_back(encoder, pa.array(texts, pa.large_string()))]
        if broken and not encoder.vocabulary.normalization:
            back.append(comes_back(encoder, pa.array(broken, pa.binary())))
        for peer, encode in peers.items():
            bad = differing(encoder, encode, texts)
            row = {"strings": len(texts), "bytes": size, "tokens": total, "mismatches": len(bad)}
            counts[f"{name} / {peer}"] = {**row, "not given back": back.count(False)}
            if bad:
                short = shortest(
                    bad[0], lambda one, e=encoder, p=encode: bool(differing(e, p, [one]))
                )
                counts[f"{name} / {peer}"]["first"] = short
    return {"unit": list(unit), "damaged": len(broken), "counts": counts}


def turn(all_: dict[str, Tried], number: int) -> list[tuple[str, Tried]]:
    """The vocabularies whose turn it is."""
    ordered = list(all_.items())
    each = min(STATE["each"], len(ordered))
    return [ordered[(number * each + i) % len(ordered)] for i in range(each)]


def texts_of(unit: Unit) -> tuple[list[str], list[bytes]]:
    """The texts of a unit, and damaged ones."""
    file = pq.ParquetFile(STATE["real"])
    if unit.kind == "real":
        return file.read_row_group(unit.number, ["text"])["text"].to_pylist(), []
    real = file.read_row_group(unit.number % file.num_row_groups, ["text"])["text"].to_pylist()
    seed = f"{STATE['seed']}/{unit.number}"
    made = strings(seed, UNIT_STRINGS, real)
    return made, damaged(made[::DAMAGED], seed)


# What a process has loaded once: vocabularies, the file of real text, the seed.
STATE: dict[str, Any] = {}


def begin(real: str, seed: int, folders: dict[str, str], each: int) -> None:
    """Load everything in a new process."""
    loaded = {name: tried(name, Path(folder)) for name, folder in folders.items()}
    STATE.update(real=real, seed=seed, tried=loaded, each=each)


def write_real(path: Path, megabytes: float) -> int:
    """The real text, mixed, in row groups of about UNIT_BYTES; returns how many."""
    parts = [sample(p, megabytes * share) for p, share in zip(PARTS, SHARES, strict=True)]
    table = pa.concat_tables(parts)
    table = table.filter(pc.not_equal(table["source"], "edited"))
    order = np.random.default_rng(1).permutation(len(table))
    ends = np.cumsum(pc.binary_length(table["text"]).to_numpy()[order])
    cuts = np.unique(np.searchsorted(ends, np.arange(0, ends[-1], UNIT_BYTES)))
    with pq.ParquetWriter(path, table.schema) as writer:
        for low, high in zip(cuts, [*cuts[1:], len(order)], strict=True):
            writer.write_table(table.take(order[low:high]).combine_chunks())
    return len(cuts)


def finished(state: Path | None) -> list[dict[str, Any]]:
    """What an earlier run has noted."""
    if not state or not state.is_file():
        return []
    return [json.loads(line) for line in state.read_text().splitlines()]


def results(
    units: list[Unit], workers: int, arguments: tuple[Any, ...]
) -> Iterator[dict[str, Any]]:
    """What each unit gave, as they come."""
    with get_context("spawn").Pool(workers, begin, arguments) as pool:
        yield from pool.imap_unordered(compared, units)


def show(found: list[dict[str, Any]]) -> int:
    """Print the sums; returns the mismatches."""
    for kind in ("real", "made"):
        mine = [one for one in found if one["unit"][0] == kind]
        for key in sorted({key for one in mine for key in one["counts"]}):
            rows = [one["counts"][key] for one in mine if key in one["counts"]]
            said = {k: sum(row[k] for row in rows) for k in rows[0] if k != "first"}
            print(f"{kind:5} {key:22} " + ", ".join(f"{v:,} {k}" for k, v in said.items()))
            first = next((row["first"] for row in rows if "first" in row), None)
            if first is not None:
                print(f"      the first: {first!r} ({' '.join(f'U+{ord(c):04X}' for c in first)})")
    print(f"{sum(one['damaged'] for one in found):,} damaged strings were encoded and decoded")
    rows = [row for one in found for row in one["counts"].values()]
    return sum(row["mismatches"] + row["not given back"] for row in rows)


def main() -> None:
    """Compare, and end with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument("--strings", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=EACH, help="vocabularies for each unit")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--vocabularies", nargs="*", choices=VOCABULARIES, default=VOCABULARIES)
    parser.add_argument("--state", type=Path, help="note finished units here, and go on from it")
    given = parser.parse_args()
    found = finished(given.state)
    done = {tuple(one["unit"]) for one in found}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        real = Path(folder) / "real.parquet"
        groups = write_real(real, given.megabytes)
        folders = {
            name: str(folder_of(name, Path(folder) / "vocabularies")) for name in given.vocabularies
        }
        units = [Unit("real", i) for i in range(groups)]
        units += [Unit("made", i) for i in range(-(-given.strings // UNIT_STRINGS))]
        units = [unit for unit in units if unit not in done]
        arguments = (str(real), given.seed, folders, given.each)
        for count, one in enumerate(results(units, given.workers, arguments), 1):
            found.append(one)
            if given.state:
                with given.state.open("a") as lines:
                    lines.write(json.dumps(one) + "\n")
            spent = time.perf_counter() - started
            left = spent / count * (len(units) - count)
            print(f"\r{count} of {len(units)} units, {left:.0f} s left ", end="", file=sys.stderr)
    print(file=sys.stderr)
    if show(found):
        sys.exit("there are mismatches")


if __name__ == "__main__":
    main()
