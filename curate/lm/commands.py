"""`curate lm`: estimate n-gram models, and score text with them."""

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from curate import sizes
from curate.errors import RecipeError
from curate.lm.adjust import FALLBACK
from curate.lm.estimate import Estimate
from curate.lm.train import Workers, train
from curate.progress import Watcher, console, line, show
from tokenizer.corpus import files_of

app = typer.Typer(
    no_args_is_help=True,
    help="Estimate n-gram language models for perplexity.Perplexity.",
    epilog="Example:  curate lm train --input 'out/documents/*.parquet' --output lm/en.arpa",
)

# Less text is counted sooner than Ray starts.
SMALL_BYTES = 200_000_000


@app.command(
    name="train",
    epilog="Example:  curate lm train --input wiki.txt --order 5 --prune 0,0,1 --output en.arpa",
)
def train_command(  # noqa: PLR0913  # a command's options are its arguments
    inputs: Annotated[
        list[str],
        typer.Option("--input", help="Text (a sentence a line), JSONL or Parquet: file or glob."),
    ],
    output: Annotated[Path, typer.Option(help="The .arpa file to write.")],
    order: Annotated[int, typer.Option(help="Words of the longest n-grams, 2 to 6.")] = 5,
    prune: Annotated[
        str, typer.Option(help="Leave out n-grams seen so often or less, by order: 0,0,1.")
    ] = "",
    discount_fallback: Annotated[
        bool,
        typer.Option("--discount-fallback", help="Fixed discounts for small text."),
    ] = False,
    tokenizer: Annotated[
        str, typer.Option(help="A SentencePiece .model or a tokenizer.json; else white space.")
    ] = "",
    normalize: Annotated[str, typer.Option(help="none, ccnet or roots.")] = "none",
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line of a document is a sentence of its own.")
    ] = False,
    memory: Annotated[str, typer.Option(help="Of each process, words aside: 512M, 4G.")] = "1G",
    workers: Annotated[
        int | None, typer.Option(min=0, help="0: this process, without Ray. Default: by size.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="A Ray cluster to count on.")] = None,
) -> None:
    """Estimate a model with modified Kneser-Ney smoothing, as KenLM's lmplz does."""
    started = time.perf_counter()
    settings = Estimate(
        order=order,
        prune=_numbers(prune),
        fallback=FALLBACK if discount_fallback else None,
        memory_bytes=sizes.parse(memory, "--memory"),
        tokenizer=tokenizer,
        normalize=normalize,
        lines=lines,
    )
    paths = files_of(inputs)
    if workers is None:
        size = sum(path.stat().st_size for path in paths)
        workers = 0 if size < SMALL_BYTES and not ray_address else len(os.sched_getaffinity(0))
    with Watcher(console(stderr=True)) as watcher:
        summary = train(paths, settings, output, watcher, Workers(workers, ray_address))
    summary["seconds"] = round(time.perf_counter() - started, 1)
    console().print_json(json.dumps(summary))
    show(line(str(output)))


def _numbers(given: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in given.split(",") if number.strip())
    except ValueError as error:
        raise RecipeError(f"--prune {given}: write whole numbers, such as 0,0,1") from error
