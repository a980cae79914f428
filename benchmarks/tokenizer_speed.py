"""The tokenizer beside its peers: same text, same core, one thread and one process each.

    python -m benchmarks.tokenizer_speed                         # all tables, 100 MB
    python -m benchmarks.tokenizer_speed --table encode --megabytes 20
    python -m benchmarks.tokenizer_speed --table train --megabytes 1000

Tables: `encode`, `train`, `linear`, `shards`, `hostile`. Encoders are timed in their processes,
start and loading left out, best of three; trainers as whole processes, once. benchmarks/README.md
says what is compared.
"""

import argparse
import json
import math
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.peers.environments import DATATROVE, TOKENIZERS, install
from benchmarks.tokenizer_corpus import sample
from benchmarks.tokenizer_process import Run, run
from benchmarks.tokenizer_vocabularies import as_published, describe, folder_of
from tokenizer.vocabulary import load

PEERS = ("gigatoken", "quicktok", "tokie", "tiktoken", "bpe-openai", "rs-bpe", "tokenizers")
TRAINERS = ("gigabpe", "gigatoken", "rustbpe", "sentencepiece", "bpeasy", "tokenizers")
VOCABULARIES = ("cl100k", "o200k", "gpt2", "trained")
PARTS = ("english", "multilingual")
VOCAB_SIZE = 32_000
START_BYTES = 100_000  # what is trained on for the time of the start
SIZES = [1_000_000, 2_000_000, 4_000_000]
LONGEST_SECONDS = 30  # of processor, the start included
HOSTILE = {
    "spaces": " ",
    "one letter": "a",
    "digits": "7",
    "emoji": "🙂",
    "one CJK character": "中",
    "combining marks": "\u0301",
    "ab": "ab",
    "random characters": "".join(
        random.Random(1).choices(list(map(chr, range(0x20, 0x250))), k=SIZES[-1])
    ),
}


class Bench:
    """What all tables share: a folder, where to print, and how much text."""

    def __init__(self, folder: Path, megabytes: float, sides: list[str]) -> None:
        self.folder = folder
        self.megabytes = megabytes
        self.sides = sides
        self.console = Console(width=130)
        self.figures: dict[str, Any] = {"load before": os.getloadavg()[0]}
        self.count = 0

    def parquet(self, part: str) -> Path:
        """So much of a part of the corpus."""
        path = self.folder / f"{part}.parquet"
        if not path.is_file():
            table = sample(part, self.megabytes)
            column = [text.replace("\0", "") for text in table["text"].to_pylist()]
            pq.write_table(table.set_column(0, "text", [column]), path)
            made = sum(len(text.encode()) for text in column)
            copies = [s == "edited" for s in table["source"].to_pylist()]
            extra = sum(len(t.encode()) for t, c in zip(column, copies, strict=True) if c)
            self.console.print(
                f"{part}: {len(column):,} documents, {made / 1e6:.1f} MB, "
                f"{(made - extra) / 1e6:.1f} of them real, the rest copies with edits"
            )
        return path

    def text(self, part: str, separator: str = "\0") -> Path:
        """The same as one file, documents parted by a zero byte or by a line end."""
        path = self.folder / f"{part}.{'lines' if separator == chr(10) else 'texts'}"
        if not path.is_file():
            texts = pq.read_table(self.parquet(part))["text"].to_pylist()
            path.write_bytes(separator.join(texts).encode() + b"\n" * (separator == "\n"))
        return path

    def ask(self, side: str, what: str, *arguments: object, most: int = 36_000) -> Run:
        """What an encoder, ours or a peer's, answers."""
        self.count += 1
        result = self.folder / f"{self.count}.json"
        module = "benchmarks.tokenizer_ours"
        python = Path(sys.executable)
        if side != "ours":
            module, python = "benchmarks.peers.tokenizer_encoders", TOKENIZERS.python
        words = [what, side, *map(str, arguments), "--result", str(result)]
        return run([str(python), "-m", module, *words], result, most)

    def vocabulary(self, name: str) -> Path:
        """The folder of a vocabulary; `trained` is of ours, on the English part."""
        if name != "trained":
            return folder_of(name, self.folder / "vocabularies")
        folder = self.folder / "vocabularies" / name
        if not folder.is_dir():
            train_ours(self.text("english", "\n"), folder)
            describe(folder, name, ranks=False)
            as_published(folder / "tokenizer.json")
        return folder


def speed(size: int, seconds: list[float] | None) -> str:
    """MB/s by processor time, and in brackets by the clock where it differs."""
    if not seconds:
        return ""
    cpu, wall = (size / one / 1e6 for one in seconds)
    return f"{cpu:.1f}" if wall > 0.9 * cpu else f"{cpu:.1f} ({wall:.1f})"


def encode(bench: Bench) -> None:
    """Encoding: a table for each part and vocabulary."""
    for name in VOCABULARIES:
        folder = bench.vocabulary(name)
        for part in PARTS:
            texts = bench.text(part)
            runs = {
                side: bench.ask(side, "encode", folder, texts) for side in ("ours", *bench.sides)
            }
            bench.console.print(encode_table(f"Encoding {part} with {name}, MB/s", runs))
            bench.figures[f"encode {part} {name}"] = {k: run._asdict() for k, run in runs.items()}


def encode_table(title: str, runs: dict[str, Run]) -> Table:
    """Speeds cold, once through and warm; how many times as fast ours is; whether tokens agree."""
    table = Table("", title=title, title_justify="left")
    columns = (
        "first 10 MB",
        "ours: times",
        "all, once",
        "ours: times",
        "all, again",
        "ours: times",
    )
    for column in (*columns, "tokens"):
        table.add_column(column, justify="right")
    ours = runs["ours"].figures
    for side, one in runs.items():
        said = one.figures
        if not said:
            table.add_row(side, *[""] * 6, one.problem[:60])
            continue
        cells = []
        for kind, size in zip(("cold", "once", "warm"), (0, 1, 1), strict=True):
            cells.append(speed(said["bytes"][size], said.get(kind)))
            both = said.get(kind) and ours.get(kind)
            cells.append(f"{said[kind][0] / ours[kind][0]:.2f}" if both else "")
        key = "all" if "all" in said else "head"
        same = "the same" if said[key] == ours[key] else "OTHERS"
        table.add_row(side, *cells, same + (" (10 MB)" if key == "head" else ""))
    return table


def train_ours(text: Path, output: Path) -> Run:
    """Our command."""
    command = [sys.executable, "-m", "curate", "tokenizer", "train", "--input", str(text)]
    command += ["--vocab-size", str(VOCAB_SIZE), "--pattern", "gpt2", "--output", str(output)]
    return run(command)


def train_side(bench: Bench, side: str, text: Path) -> tuple[Run, list[str]]:
    """A trainer's run over a file, and the tokens that it made, in order."""
    bench.count += 1
    if side == "ours":
        folder = bench.folder / f"trained-{bench.count}"
        done = train_ours(text, folder)
        if done.problem:
            return done, []
        tokens = load(folder / "tokenizer.json").tokens
        return done, [token.hex() for token in tokens if len(token) > 1]
    result = bench.folder / f"{bench.count}.json"
    command = [str(TOKENIZERS.python), "-m", "benchmarks.peers.tokenizer_trainers", side, str(text)]
    command += ["--vocab-size", str(VOCAB_SIZE), "--result", str(result)]
    done = run(command, result)
    return done, done.figures.pop("tokens", [])


def train(bench: Bench) -> None:
    """Training, whole processes; with START_BYTES alone for the start."""
    for part in PARTS:
        text = bench.text(part, "\n")
        few = bench.folder / f"{part}.few"
        few.write_bytes(text.read_bytes()[:START_BYTES].rpartition(b"\n")[0] + b"\n")
        train_side(bench, "ours", few)  # compiles
        runs = {}
        for side in ("ours", *TRAINERS):
            start, _ = train_side(bench, side, few)
            runs[side] = (start, *train_side(bench, side, text))
        size = text.stat().st_size
        bench.console.print(
            train_table(f"Training {VOCAB_SIZE} on {part}, {size / 1e6:.0f} MB", runs, size)
        )
        bench.figures[f"train {part}"] = {
            k: {"start": start._asdict(), "run": done._asdict()}
            for k, (start, done, _) in runs.items()
        }


def train_table(title: str, runs: dict[str, tuple[Run, Run, list[str]]], size: int) -> Table:
    """Seconds, speed without the start, memory, and tokens shared with ours."""
    table = Table("", title=title, title_justify="left")
    columns = ("s, clock", "s, processor", "MB/s", "without start", "ours: times", "peak MB")
    for column in (*columns, "tokens as ours"):
        table.add_column(column, justify="right")
    # Where the start is nearly all there is, too little text was asked for.
    spent = {
        side: done.cpu - start.cpu if done.cpu > 1.2 * start.cpu else math.nan
        for side, (start, done, _) in runs.items()
    }
    mine = runs["ours"][2]
    for side, (_, done, tokens) in runs.items():
        if done.problem:
            table.add_row(side, *[""] * 6, done.problem[:60])
            continue
        shared = len(set(tokens) & set(mine))
        # gigabpe has no tokens for bytes that do not occur, and merges more instead.
        order = ", same order" if tokens[: len(mine)] == mine[: len(tokens)] else ""
        table.add_row(
            side,
            f"{done.wall:.1f}",
            f"{done.cpu:.1f}",
            f"{size / done.cpu / 1e6:.2f}",
            f"{size / spent[side] / 1e6:.2f}",
            f"{spent[side] / spent['ours']:.2f}",
            f"{done.peak_bytes / 1e6:.0f}",
            f"{shared:,} of {len(tokens):,}{order}",
        )
    return table


def linear(bench: Bench) -> None:
    """Ours on an eighth, a quarter, half and all of the text: processor time for each byte."""
    table = Table("", title="Ours: ns of processor a byte as text grows", title_justify="left")
    table.add_column("MB")
    for column in ("train", "peak MB", "encode, once"):
        table.add_column(column, justify="right")
    folder = bench.vocabulary("cl100k")
    for part in PARTS:
        lines, texts = bench.text(part, "\n"), bench.text(part)
        for share in (8, 4, 2, 1):
            few = [cut(path, share) for path in (lines, texts)]
            trained, _ = train_side(bench, "ours", few[0])
            said = bench.ask("ours", "encode", folder, few[1]).figures
            sizes = [path.stat().st_size for path in few]
            table.add_row(
                part,
                f"{sizes[0] / 1e6:.1f}",
                f"{trained.cpu / sizes[0] * 1e9:.0f}",
                f"{trained.peak_bytes / 1e6:.0f}",
                f"{(said.get('once') or said['cold'])[0] / sizes[1] * 1e9:.1f}",
            )
    bench.console.print(table)


def cut(path: Path, share: int) -> Path:
    """The first part of a file of documents, up to the end of one."""
    content, mark = path.read_bytes(), b"\n" if path.suffix == ".lines" else b"\0"
    target = path.with_name(f"{path.stem}-{share}{path.suffix}")
    size = len(content) // share
    target.write_bytes(
        content[: content.rfind(mark, 0, size) + (mark == b"\n")] if share > 1 else content
    )
    return target


def shards(bench: Bench) -> None:
    """Parquet to token shards, ours and datatrove's, beside our encoder alone."""
    folder = bench.vocabulary("gpt2")
    title = "Parquet to token shards, gpt2, MB/s"
    table = Table(
        "", "shards", "encoder alone", "shards / encoder", title=title, title_justify="left"
    )
    for part in PARTS:
        path, result = bench.parquet(part), bench.folder / f"shards-{part}.json"
        size = bench.text(part).stat().st_size
        command = [sys.executable, "-m", "benchmarks.tokenizer_ours", "shards", str(folder)]
        mine = run([*command, str(path), "--result", str(result)], result)
        said = mine.figures
        if mine.problem:
            table.add_row(f"ours, {part}", mine.problem)
            continue
        quotient = said["encoder"][0] / said["shards"][0]
        cells = (speed(size, said["shards"]), speed(size, said["encoder"]), f"{quotient:.2f}")
        table.add_row(f"ours, {part}", *cells)
        few = bench.folder / f"few-{part}.parquet"
        few_table = pq.read_table(path)
        every = max(1, int(bench.megabytes / 10))  # at 2 MB/s, ten megabytes are enough
        pq.write_table(few_table.take(list(range(0, len(few_table), every))), few)
        few_bytes = sum(len(t.encode()) for t in pq.read_table(few)["text"].to_pylist())
        result = bench.folder / f"datatrove-{part}.json"
        command = [str(DATATROVE.python), "-m", "benchmarks.peers.tokenizer_datatrove"]
        command += [str(folder / "tokenizer.json"), str(few), "--result", str(result)]
        done = run(command, result)
        row = done.problem or speed(few_bytes, done.figures["shards"])
        table.add_row(f"datatrove, {part}", row)
    bench.console.print(table)


def hostile(bench: Bench) -> None:
    """One document of little variety, or none: processor seconds at 1, 2 and 4 MB."""
    sides = ("ours", *bench.sides)
    title = f"Seconds for one document of 1 / 2 / 4 MB, cl100k; at most {LONGEST_SECONDS} s for all"
    table = Table("", *sides, title=title, title_justify="left")
    folder = bench.vocabulary("cl100k")
    sizes = list(map(str, SIZES))
    for name, text in HOSTILE.items():
        path = bench.folder / "hostile.txt"
        path.write_text(text, encoding="utf-8", newline="")
        cells, digests = [], []
        for side in sides:
            done = bench.ask(side, "growth", folder, path, "--sizes", *sizes, most=LONGEST_SECONDS)
            spent = done.figures.get("seconds", {})
            cells.append(
                " / ".join(f"{spent[size]:.2f}" if size in spent else "-" for size in sizes)
            )
            digests.append(done.figures.get("digest") if len(spent) == len(sizes) else None)
        marks = ["" if None in (d, digests[0]) or d == digests[0] else " OTHERS" for d in digests]
        table.add_row(name, *[cell + mark for cell, mark in zip(cells, marks, strict=True)])
    bench.console.print(table)


TABLES: dict[str, Callable[[Bench], None]] = {
    "encode": encode,
    "train": train,
    "linear": linear,
    "shards": shards,
    "hostile": hostile,
}


def main() -> None:
    """Install the peers and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--table", choices=TABLES, nargs="*", default=list(TABLES))
    parser.add_argument("--sides", choices=PEERS, nargs="*", default=list(PEERS))
    parser.add_argument("--json", type=Path, help="write all figures here, too")
    given = parser.parse_args()
    for peer in (TOKENIZERS, DATATROVE) if "shards" in given.table else (TOKENIZERS,):
        if problem := install(peer):
            print(f"{peer.title}: {problem}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.megabytes, given.sides)
        for name in given.table:
            TABLES[name](bench)
        after = os.getloadavg()[0]
        bench.console.print(
            f"Load when it began {bench.figures['load before']:.1f}, at its end {after:.1f}."
        )
        if given.json:
            given.json.write_text(json.dumps(bench.figures, indent=2))


if __name__ == "__main__":
    main()
