"""`curate tokenizer train`: its options, and what it says at the end."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curate.errors import CurateError, InputError, RecipeError
from curate.progress import Watcher, line, printable, show, tell
from curate.sizes import parse
from tokenizer.corpus import files_of
from tokenizer.pretokenize import slow_parts
from tokenizer.train import Train, remarks
from tokenizer.training import train_on_files

EPILOG = (
    "Example:  curate tokenizer train --input 'text/*.parquet' --vocab-size 32000 "
    "--pattern gpt2 --output tok"
)


# Settings whose options have other names, and those that messages name without `tokenizer.`.
OPTIONS = {"ratios": "ratio", "special_tokens": "special", "reserved_tokens": "reserved"}
SETTING = re.compile(r"(?<![\w/.'-])(?:tokenizer\.(\w+)|(?:min_count|min_frequency|vocab_size)\b)")
MOST_GROUPS = 20


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
            "whitespace, digit, digit3 (up to three digits), or a regular expression. Given "
            "twice, the second cuts the pieces of the first: --pattern digit --pattern gpt2 "
            "makes each digit a piece."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that count, through Ray; 0 is this one alone.")
    ] = 0,
    memory: Annotated[
        str | None,
        typer.Option(
            help="What counting takes at most in each worker (16M at least), and learning after "
            "it, such as 2G; what does not fit goes to the disk. Default: a share of what is free."
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
    as_text: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, instead of tables.")
    ] = False,
) -> None:
    """Train a tokenizer on text and write it for tokenizers, transformers and tiktoken.

    Pieces of text are counted in parallel, in bounded memory; what is counted lies in OUTPUT/work
    until the tokenizer is there, so the same command goes on after it was cut off. The result
    depends on text and settings alone, and its merges are those of Hugging Face's BpeTrainer.
    """
    patterns = pattern or ["gpt2"]
    try:
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
            said = train_on_files(files_of(inputs), settings, output, means, watcher)
    except RecipeError as error:
        raise InputError(as_options(str(error))) from error
    except CurateError as error:
        raise type(error)(as_options(str(error))) from error
    for remark in remarks(said):
        tell(f"note: {as_options(remark)}")
    if as_text:
        typer.echo(json.dumps(said, indent=2))
        return
    for table in tables(said):
        show(table)
    show(line(str(output / "tokenizer.json")))


def as_options(text: str) -> str:
    """What is said in terms of a recipe, in terms of the command's options."""
    return (
        SETTING.sub(option, text).replace("`balance:`", "`--balance`").removeprefix("tokenizer: ")
    )


def option(setting: re.Match[str]) -> str:
    """The option for a setting."""
    name = setting[1] or setting[0]
    return f"--{OPTIONS.get(name, name.replace('_', '-'))}"


def tables(said: dict[str, Any]) -> list[Table]:
    """What came of it: the text, the vocabulary, and the balance of groups."""
    seconds, counted = said["seconds"], f"{said['seconds']['counting']:.1f} s"
    if not said["reused"]:
        counted += f", {said['bytes'] / max(seconds['counting'], 1e-9) / 1e6:,.1f} MB/s"
    summary = Table(box=None, show_header=False)
    for name, value in (
        ("files", f"{said['files']:,}"),
        ("documents", f"{said['documents']:,}"),
        ("bytes", f"{said['bytes']:,}"),
        ("pieces", f"{said['pieces']:,}"),
        ("distinct", f"{said['distinct_pieces']:,}"),
        ("vocabulary", f"{said['vocab_size']:,}"),
        ("merges", f"{said['merges']:,}"),
        ("longest token", f"{said['longest_token']:,} bytes"),
        ("counting", counted),
        ("learning", f"{seconds['learning']:.1f} s"),
    ):
        summary.add_row(name, value)
    return [summary, balance_table(said["groups"])] if said["groups"] else [summary]


def balance_table(groups: dict[str, dict[str, float]]) -> Table:
    """The largest groups: what they have of the text, and what they count."""
    table = Table("group", "share", "trained share", "weight", box=None)
    largest = sorted(groups, key=lambda group: -groups[group]["bytes"])
    for group in largest[:MOST_GROUPS]:
        facts = groups[group]
        shares = (f"{facts[name]:.2%}" for name in ("share", "trained_share"))
        table.add_row(Text(printable(group)), *shares, f"{facts['weight']:.4g}")
    if len(groups) > MOST_GROUPS:
        table.add_row(f"and {len(groups) - MOST_GROUPS} more")
    return table
