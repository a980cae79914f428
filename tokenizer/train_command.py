"""`curate tokenizer train`: its options, and what it says at the end."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from curate.errors import RecipeError
from curate.progress import Watcher, console, line, show, tell
from curate.sizes import parse
from tokenizer.corpus import files_of
from tokenizer.pretokenize import slow_parts
from tokenizer.train import Train, remarks
from tokenizer.training import train_on_files

EPILOG = (
    "Example:  curate tokenizer train --input 'text/*.parquet' --vocab-size 32000 "
    "--pattern gpt2 --output tok"
)


def ratios_of(given: list[str]) -> dict[str, float]:
    """The ratios that options such as en=0.5 give."""
    found: dict[str, float] = {}
    for one in given:
        name, _, number = one.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            raise RecipeError(f"--ratio {one}: write a name and a number, as en=0.5") from error
    return found


def train_command(  # noqa: PLR0913  # one argument for each option
    inputs: Annotated[
        list[str], typer.Option("--input", help="Parquet, JSONL or text: file, glob or folder.")
    ],
    output: Annotated[Path, typer.Option(help="The folder to write it to.")],
    vocab_size: Annotated[
        int, typer.Option(min=257, help="Bytes, special and reserved tokens included.")
    ] = 32_000,
    pattern: Annotated[
        list[str] | None,
        typer.Option(
            help="How text is cut: gpt2 (the default), cl100k, o200k, llama3, qwen2, bloom, "
            "whitespace, or a regular expression. Given twice, the second cuts the pieces of the "
            "first: --pattern digit --pattern gpt2 makes each digit a piece."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that count, through Ray; 0 is this one alone.")
    ] = 0,
    memory: Annotated[
        str | None,
        typer.Option(
            help="What counting takes at most in each worker, and learning after it, such as 2G; "
            "what does not fit goes to the disk. Default: a share of what is free."
        ),
    ] = None,
    min_frequency: Annotated[
        int, typer.Option(min=1, help="How often a pair must occur to be merged.")
    ] = 2,
    max_token_length: Annotated[int, typer.Option(min=0, help="Bytes; 0 is without bound.")] = 0,
    min_count: Annotated[
        int,
        typer.Option(min=1, help="Leave out pieces that occur less often, to save memory."),
    ] = 1,
    special: Annotated[
        list[str] | None,
        typer.Option(help="A special token; <|endoftext|> where none is given. Repeatable."),
    ] = None,
    reserved: Annotated[
        int, typer.Option(min=0, help="Special tokens kept for later, named <|reserved_0|> ...")
    ] = 0,
    multiple_of: Annotated[
        int, typer.Option(min=1, help="Round the vocabulary's size up to a multiple, such as 128.")
    ] = 1,
    normalization: Annotated[
        str, typer.Option(help="NFC or NFKC; decoding then gives changed text back.")
    ] = "",
    balance: Annotated[
        str, typer.Option(help="A column, such as language, by which text is brought in balance.")
    ] = "",
    alpha: Annotated[
        float, typer.Option(help="With --balance: a share of the text becomes share^alpha.")
    ] = Train.alpha,
    ratio: Annotated[
        list[str] | None,
        typer.Option(help="With --balance, instead: the ratio of a group, as en=0.5. Repeatable."),
    ] = None,
) -> None:
    """Train a tokenizer on text and write it for tokenizers, transformers and tiktoken.

    Pieces of text are counted in parallel, in bounded memory; what is counted lies in OUTPUT/work
    until the tokenizer is there, so the same command goes on after it was cut off. The result
    depends on text and settings alone, and its merges are those of Hugging Face's BpeTrainer.
    """
    patterns = pattern or ["gpt2"]
    settings = Train(
        pattern=patterns[0] if len(patterns) == 1 else tuple(patterns),
        vocab_size=vocab_size,
        special_tokens=tuple(special) if special else Train.special_tokens,
        reserved_tokens=reserved,
        multiple_of=multiple_of,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        min_count=min_count,
        normalization=normalization,  # type: ignore[arg-type]  # Train itself checks it
        balance=balance,
        alpha=alpha,
        ratios=ratios_of(ratio or []),
    )
    for remark in slow_parts(settings.pattern):
        tell(remark)
    with Watcher(Console(stderr=True)) as watcher:
        means = workers, parse(memory, "--memory") if memory else None
        said: dict[str, Any] = train_on_files(files_of(inputs), settings, output, means, watcher)
    for remark in remarks(said):
        tell(f"note: {remark}")
    console().print_json(json.dumps(said))
    show(line(str(output / "tokenizer.json")))
