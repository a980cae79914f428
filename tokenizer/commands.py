"""`curate tokenizer`: train, encode, evaluate; the second door."""

import json
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curate.progress import console, line, show
from tokenizer import evaluate_commands, train, vocabulary
from tokenizer.encode import Encoder
from tokenizer.inputs import files_of

app = typer.Typer(
    no_args_is_help=True,
    help="Train and use byte-level BPE tokenizers.",
    epilog="Example:  curate tokenizer train --input 'out/documents/*.parquet' --output tok",
)

Inputs = Annotated[
    list[str], typer.Option("--input", help="Parquet, JSONL or text: file, glob or folder.")
]
Tokenizer = Annotated[
    Path, typer.Argument(help="A tokenizer.json, a folder with one, GPT-2 files or tiktoken ranks.")
]


@app.command(
    name="train",
    epilog="Example:  curate tokenizer train --input 'text/*.parquet' --vocab-size 32000 "
    "--pattern gpt2 --output tok",
)
def train_command(
    inputs: Inputs,
    output: Annotated[Path, typer.Option(help="The folder to write it to.")],
    vocab_size: Annotated[int, typer.Option(min=257)] = 32_000,
    pattern: Annotated[str, typer.Option(help="gpt2, cl100k, ... or a regular expression.")] = (
        "gpt2"
    ),
    min_frequency: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Train a tokenizer on text and write it for tokenizers, transformers and tiktoken."""
    settings = train.Train(pattern=pattern, vocab_size=vocab_size, min_frequency=min_frequency)
    with Console().status("counting pieces and learning merges ..."):
        summary = train.train_on_files(files_of(inputs), settings, output)
    console().print_json(json.dumps(summary))
    show(line(str(output / "tokenizer.json")))


@app.command(epilog="Example:  curate tokenizer encode tok 'The function returns'")
def encode(tokenizer: Tokenizer, text: Annotated[str, typer.Argument()]) -> None:
    """Show the tokens of a text."""
    encoder = Encoder(vocabulary.load(tokenizer))
    tokens, _ = encoder.encode(pa.array([text]))
    table = Table("id", "bytes", box=None)
    for token in tokens.tolist():
        table.add_row(str(token), Text(repr(encoder.decode(tokens[tokens == token][:1]))[2:-1]))
    show(table)


app.command(name="evaluate", epilog=evaluate_commands.EVALUATE)(evaluate_commands.evaluate)
app.command(name="criterion", epilog=evaluate_commands.CRITERION)(evaluate_commands.criterion)
