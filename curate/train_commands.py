"""`curate train` and `curate evaluate`: a model from token shards, and how it does on others."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.markup import escape
from rich.table import Table

from curate.errors import InputError, RecipeError, ShardError
from curate.progress import printable, show
from curate.store import write_atomic
from curate.train_config import set_name, shards_of, training_of
from curate.training import extra, refuse_run
from tokenizer import vocabulary
from tokenizer.dataset import TokenDataset
from trainer.settings import CHOICES, listed

TRAIN = (
    "Examples:  curate train data=out output=model preset=llama-30m steps=2000"
    "  -  curate train train.yaml learning_rate=1e-3 data.web.share=0.7"
    "  -  torchrun --nproc-per-node 8 -m curate train train.yaml"
)
EVALUATE = "Example:  curate evaluate model --data held=out/tokens --json"
MOST_ROWS = 20  # sources or languages in a table


def train_command(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD",
            help="A settings file (YAML), or none, and key=value over it: data, output, evaluate, "
            "tokenizer, and any setting that `curate filters train` lists.",
        ),
    ],
    resume: Annotated[
        str, typer.Option(help="auto: from the output's checkpoint; never: refuse if there is one.")
    ] = "auto",
    allow_data_change: Annotated[
        bool,
        typer.Option("--allow-data-change", help="Go on with other tokens than the checkpoint's."),
    ] = False,
) -> None:
    """Train a model on token shards, of one run or mixed from several.

    The same command again goes on from the last checkpoint, and ends with the same weights.
    """
    if resume not in ("auto", "never"):
        raise InputError(f"--resume {resume}: write auto or never")
    try:
        asked = training_of(words)
    except RecipeError as error:  # which would be told how to check a recipe
        raise InputError(str(error)) from error
    if resume == "never" and list(asked.output.glob("checkpoint*")):
        raise InputError(
            f"{asked.output}: has a checkpoint, and --resume is never; choose another output"
        )
    try:
        extra("trainer.session").run(asked, allow_data_change=allow_data_change)
    except (RecipeError, ShardError) as error:  # which name settings as a recipe has them
        raise type(error)(re.sub(r"\btrain\.(context|steps)\b", r"\1", str(error))) from error


def evaluate_command(  # noqa: PLR0913  # a command's options are its arguments
    model: Annotated[Path, typer.Argument(help="A model folder that transformers could open too.")],
    data: Annotated[
        list[str],
        typer.Option(help="Token shards, or NAME=shards; may be repeated."),
    ],
    limit: Annotated[
        int, typer.Option(min=0, help="Whole documents from the front, so many tokens; 0: all.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    documents: Annotated[
        Path | None, typer.Option(help="Where a row for each document goes, as Parquet.")
    ] = None,
    as_text: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Tell how well a model predicts documents: bits per byte of data sets, sources, languages.

    Every document is read alone; all its tokens but the first count, and all its bytes. Fewer bits
    are better, and compare models of any tokenizer, if the documents are the same.
    """
    if device not in CHOICES["device"]:
        raise InputError(f"--device {device}: write {listed(CHOICES['device'])}")
    refuse_run(model)
    sets = _named(data)
    loaded, _ = extra("trainer.hugging_face").read_model(model)
    loaded = loaded.to(extra("trainer.device").pick_device(device))
    words = vocabulary.load(model).fingerprint() if (model / "tokenizer.json").exists() else ""
    tables, evaluation = {}, extra("trainer.evaluate")
    for name, folder in sets.items():
        dataset = TokenDataset(folder)
        is_other = words and dataset.manifest["vocabulary"] != words
        if is_other or dataset.vocab_size > loaded.shape.vocab_size:
            raise InputError(
                f"--data {name}: the tokens in {folder} are not of the tokenizer of {model}; "
                "write shards with that one"
            )
        tables[name] = evaluation.document_losses(loaded, dataset, limit)
    if documents:
        _write_documents(documents, tables)
    rows = [
        {"set": name, **row} for name, table in tables.items() for row in evaluation.scores(table)
    ]
    if as_text:
        typer.echo(json.dumps(rows, indent=1))
    else:
        show(_table(rows))


def _named(data: list[str]) -> dict[str, Path]:
    """The shards of --data by their names."""
    sets: dict[str, Path] = {}
    for one in data:
        name, sign, path = one.partition("=")
        folder = shards_of(path if sign else one, "--data")
        name = name if sign else set_name(folder)
        if name in sets:
            raise InputError(f"--data {one}: {name} is there already; write another NAME=...")
        sets[name] = folder
    return sets


def _write_documents(path: Path, tables: dict[str, pa.Table]) -> None:
    named = [
        table.add_column(0, "set", pa.array([name] * len(table), pa.string()))
        for name, table in tables.items()
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(named), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("set", "part", box=None, header_style="bold")
    for title in ("documents", "bytes", "bits per byte", "nats per token"):
        table.add_column(title, justify="right")
    parts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        kind = next((one for one in ("source", "language") if one in row), "")
        parts[row["set"], kind] += 1
        if parts[row["set"], kind] == MOST_ROWS + 1:
            table.add_row("", f"more {kind}s: see --json")
        if parts[row["set"], kind] > MOST_ROWS:
            continue
        part = f"{kind} {row[kind] or '(none)'}" if kind else "all"
        numbers = (row["bits_per_byte"], row["loss"])
        table.add_row(
            *(escape(printable(text)) for text in (row["set"], part)),
            f"{row['documents']:,}",
            f"{row['bytes']:,}",
            *("-" if number is None else f"{number:.4f}" for number in numbers),
        )
    return table
