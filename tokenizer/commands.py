"""`curate tokenizer`: train, encode, decode, export, evaluate; the second door."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from rich.table import Table
from rich.text import Text

from curate.errors import InputError
from curate.guard import guarded
from curate.progress import line, show, tell
from tokenizer import evaluate_commands, vocabulary
from tokenizer.encode import Encoder
from tokenizer.pretokenize import slow_parts
from tokenizer.train_command import EPILOG, train_command

# Where it is a command of its own nothing is inherited: said here as in curate/cli.py.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train and use byte-level BPE tokenizers.",
    epilog="Example:  curate tokenizer train --input 'out/documents/*.parquet' --output tok",
)

Tokenizer = Annotated[
    Path, typer.Argument(help="A tokenizer.json, a folder with one, GPT-2 files or tiktoken ranks.")
]


app.command(name="train", epilog=EPILOG)(train_command)


@app.command(
    epilog="Examples:  curate tokenizer encode tok 'The function returns'"
    "  -  curate tokenizer encode tok --file page.txt --ids  -  echo hello | curate tokenizer "
    "encode cl100k_base.tiktoken --special '<|endoftext|>'"
)
def encode(
    tokenizer: Tokenizer,
    text: Annotated[str | None, typer.Argument(help="Left out: standard input.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read the text from this file.")] = None,
    special: Annotated[
        list[str] | None,
        typer.Option(help="A special token to find in the text, or 'all'; else it is text."),
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Print the numbers alone, in one line.")] = (
        False
    ),
) -> None:
    """Show the tokens of a text: their numbers, and the piece of the text that each stands for."""
    encoder = Encoder(opened(tokenizer))
    names = set(special or ())
    if "all" in names:
        names = names - {"all"} | encoder.vocabulary.special_tokens.keys()
    rows = pa.array([given(text, file)], pa.binary())
    tokens, _ = encoder.encode(rows, names)
    if ids:
        typer.echo(" ".join(map(str, tokens.tolist())))
        return
    table = Table("id", "piece", box=None)
    for place, token in enumerate(tokens.tolist()):
        spelled = encoder.decode(tokens[place : place + 1])
        table.add_row(str(token), Text(written(spelled)))
    show(table)


app.command(name="evaluate", epilog=evaluate_commands.EVALUATE)(evaluate_commands.evaluate)
app.command(name="criterion", epilog=evaluate_commands.CRITERION)(evaluate_commands.criterion)


@app.command(
    epilog="Examples:  curate tokenizer decode tok 464 2163 5860"
    "  -  curate tokenizer encode tok --ids 'any text' | curate tokenizer decode tok"
)
def decode(
    tokenizer: Tokenizer,
    tokens: Annotated[
        list[str] | None, typer.Argument(help="Numbers of tokens. Left out: standard input.")
    ] = None,
) -> None:
    """Print the text of tokens, byte for byte; special tokens by their names."""
    words = tokens or sys.stdin.read().replace(",", " ").split()
    try:
        numbers = np.array([int(word) for word in words], np.uint32)
    except (ValueError, OverflowError) as error:
        raise InputError(f"tokens are whole numbers between spaces or commas: {error}") from error
    sys.stdout.buffer.write(Encoder(vocabulary.load(tokenizer)).decode(numbers))


@app.command(
    name="export",
    epilog="Examples:  curate tokenizer export tok --format gpt2 --output gpt2-files"
    "  -  curate tokenizer export o200k_base.tiktoken --output hf  (for transformers)",
)
def export_command(
    tokenizer: Tokenizer,
    output: Annotated[Path, typer.Option(help="The folder to write it to.")],
    format_: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(vocabulary.FORMATS)}.")
    ] = "tokenizer.json",
    pattern: Annotated[
        str, typer.Option(help="What splits text, for rank files that do not say it: cl100k, ...")
    ] = "",
) -> None:
    """Write a tokenizer in another format, or refuse if that format cannot hold it exactly.

    tokenizer.json opens in tokenizers, and its folder in transformers.AutoTokenizer; tiktoken is a
    rank file, with what tiktoken.Encoding needs beside it in encoding.json; gpt2 is vocab.json and
    merges.txt, a folder that transformers.AutoTokenizer opens, too.
    """
    for path in vocabulary.export(opened(tokenizer, pattern), output, format_):
        show(line(str(path)))


def opened(path: Path, pattern: str = "") -> vocabulary.Vocabulary:
    """A tokenizer; what makes its pattern slow is said."""
    found = vocabulary.load(path, pattern)
    for remark in slow_parts(found.pattern):
        tell(remark)
    return found


def given(text: str | None, file: Path | None) -> bytes:
    """The text of an argument, of a file or of standard input."""
    if text is not None and file is not None:
        raise InputError("a text and a --file were given; leave one out")
    if text is not None:
        return text.encode("utf-8", "surrogateescape")
    if file is None:
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error


def written(piece: bytes) -> str:
    """A piece of text, what cannot be seen in it escaped."""
    try:
        return repr(piece.decode())[1:-1]
    except UnicodeDecodeError:
        return repr(piece)[2:-1]


def main() -> None:
    """`curate tokenizer` as a command of its own."""
    guarded(lambda: app(args=sys.argv[2:], prog_name="curate tokenizer"))
