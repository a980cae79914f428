"""`curate importance`: count two corpora for importance.Importance."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from curate.progress import Watcher, console, line, show
from curate.schema import TEXT
from filters.importance_training import SIDES, Settings, count, write
from tokenizer.corpus import files_of

app = typer.Typer(
    no_args_is_help=True,
    help="Count a target and a source corpus for DSIR's importance weights.",
    epilog="Example:  curate importance train --target wiki.parquet --source 'web/*.jsonl' "
    "--output wiki-en",
)


@app.callback()
def _commands() -> None:
    # With a callback, `train` stays a command of its own though it is the only one.
    pass


@app.command(
    name="train",
    epilog="Example:  curate importance train --target 'wiki/*.parquet' --source 'web/*.parquet' "
    "--language en --output wiki-en",
)
def train_command(  # noqa: PLR0913  # a command's options are its arguments
    target: Annotated[
        list[str], typer.Option(help="What texts should be like: Parquet, JSONL, text, or a glob.")
    ],
    source: Annotated[
        list[str], typer.Option(help="What they are drawn from, such as a sample of the crawl.")
    ],
    output: Annotated[Path, typer.Option(help="The folder to write to.")],
    buckets: Annotated[int, typer.Option(help="Into which words and pairs are hashed.")] = 10_000,
    language: Annotated[str, typer.Option(help="Of both corpora, such as en; for the card.")] = "",
    text_column: Annotated[str, typer.Option(help="The column of the text.")] = TEXT,
) -> None:
    """Count words and pairs of words of both corpora; write counts.npy and card.json.

    Memory does not grow with the corpora; the same documents give the same bytes.
    """
    settings = Settings(buckets=buckets, language=language, text_column=text_column)
    files = {side: files_of(given) for side, given in zip(SIDES, (target, source), strict=True)}
    corpora = {}
    with Watcher(console(stderr=True)) as watcher:
        for side, paths in files.items():
            watcher.begin(f"count {side}", 0, "documents")
            corpora[side] = count(paths, settings, watcher.advance)
            watcher.end()
    card = write(corpora, settings, output)
    show(_summary(card))
    show(line(str(output)))


def _summary(card: dict[str, Any]) -> Table:
    table = Table("corpus", "documents", "words", "words/document", "weight of a word", box=None)
    for side in SIDES:
        found = card[side]
        table.add_row(
            side,
            f"{found['documents']:,}",
            f"{found['words']:,}",
            f"{found['words'] / found['documents']:,.1f}",
            f"{found['mean_weight']:+.4f}",
        )
    return table
