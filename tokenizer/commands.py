"""`curate tokenizer`: train, encode, evaluate; the second door."""

from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.table import Table
from rich.text import Text

from curate.progress import show
from tokenizer import fertility, vocabulary
from tokenizer.corpus import files_of as files_of
from tokenizer.encode import Encoder
from tokenizer.train_command import EPILOG, train_command

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


app.command(name="train", epilog=EPILOG)(train_command)


@app.command(epilog="Example:  curate tokenizer encode tok 'The function returns'")
def encode(tokenizer: Tokenizer, text: Annotated[str, typer.Argument()]) -> None:
    """Show the tokens of a text."""
    encoder = Encoder(vocabulary.load(tokenizer))
    tokens, _ = encoder.encode(pa.array([text]))
    table = Table("id", "bytes", box=None)
    for token in tokens.tolist():
        table.add_row(str(token), Text(repr(encoder.decode(tokens[tokens == token][:1]))[2:-1]))
    show(table)


@app.command(epilog="Example:  curate tokenizer evaluate tok --input 'out/documents/*.parquet'")
def evaluate(tokenizer: Tokenizer, inputs: Inputs) -> None:
    """Measure bytes per token and tokens per word, for each language where it is known."""
    show(fertility.report(vocabulary.load(tokenizer), files_of(inputs)))
