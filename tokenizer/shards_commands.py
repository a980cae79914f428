"""`curate shards`: write, verify, inspect, trace, compare and view token shards."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from curate.errors import CurateError, InputError, RecipeError
from curate.progress import Watcher, console, line, printable, show, tell
from curate.sizes import parse, shown
from tokenizer import shard_facts, vocabulary
from tokenizer.shards import read_manifest
from tokenizer.shuffle import Shards
from tokenizer.verify import verify
from tokenizer.views import SEQUENCE, VIEWS, write_view
from tokenizer.writing import Asked, write_shards

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Token shards: write, verify, inspect, trace, compare, and view as other formats.",
    epilog="Example:  curate shards verify out",
)

Folder = Annotated[Path, typer.Argument(help="A folder of shards, or the --output of a run.")]
Tokenizer = Annotated[
    Path | None,
    typer.Option(help="A tokenizer. Default: `tokenizer/` beside the shards, as a run has it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]

MOST_ROWS = 20
MOST_LETTERS = 300


@app.command(
    epilog="Example:  curate shards write 'text/*.parquet' --tokenizer tok --output shards"
)
def write(  # noqa: PLR0913  # a command's options are its arguments
    inputs: Annotated[
        list[str],
        typer.Argument(help="Parquet or JSON lines: file, folder or glob; or a run's --output."),
    ],
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer.json, a folder with one, ...")],
    output: Annotated[Path, typer.Option(help="A new folder for the shards.")],
    shuffle: Annotated[
        str, typer.Option(help="A seed: documents in one random order; or `no`: as they come.")
    ] = "0",
    shard_bytes: Annotated[str, typer.Option(help="Of a part at most, such as 1G.")] = "1G",
    columns: Annotated[
        str, typer.Option(help="Columns for docs.parquet, such as language_score,quality.")
    ] = "",
    text_key: Annotated[str, typer.Option(help="The column with the text.")] = "text",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes, through Ray; 0 is this one alone.")
    ] = 0,
) -> None:
    """Encode documents into token shards, without a recipe.

    The same command again goes on where it was cut off. The bytes that are written depend on the
    documents, the tokenizer and the settings, not on the number of workers.
    """
    try:
        settings = Shards(
            shuffle=shuffle != "no",
            seed=0 if shuffle == "no" else int(shuffle),
            shard_bytes=parse(shard_bytes, "--shard-bytes"),
            columns=tuple(filter(None, map(str.strip, columns.split(",")))),
        )
    except ValueError as error:
        raise InputError(f"--shuffle {shuffle}: write a seed, such as 0, or no") from error
    except RecipeError as error:
        raise InputError(
            str(error)
            .replace("shards.seed", "--shuffle")
            .replace("shards.", "--")
            .replace("shard_b", "shard-b")
        ) from error
    asked = Asked(settings, text_key, workers)
    with Watcher(console(stderr=True)) as watcher:
        made = write_shards(inputs, tokenizer, output, asked, watcher)
    if made.get("without_text"):
        tell(f"note: {made['without_text']:,} rows have no text (null) and are left out")
    show(line(f"{output}: {_totals(made)} in {len(made['parts'])} parts"))


def _totals(shards: dict[str, Any]) -> str:
    return f"{shards['documents']:,} documents, {shards['tokens']:,} tokens"


@app.command(name="verify", epilog="Example:  curate shards verify out/tokens --tokenizer tok")
def verify_command(
    folder: Folder,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer. Default: none, and no text is decoded.")
    ] = None,
) -> None:
    """Check every file, byte and document of shards; every problem is listed, and the exit is 2.

    With --tokenizer every document is decoded, too: its text must have the hash that is stored.
    """
    folder = shard_facts.folder_of(folder)
    words = vocabulary.load(tokenizer) if tokenizer else None
    with Watcher(console(stderr=True)) as watcher:
        watcher.begin("verify", _documents(folder), "documents")
        problems = verify(folder, words, watcher)
        watcher.end()
    for problem in problems:
        typer.echo(printable(problem))
    if problems:
        raise typer.Exit(2)
    show(line(f"{folder}: {_totals(read_manifest(folder))}, all as it was written"))


def _documents(folder: Path) -> int:
    try:
        return int(read_manifest(folder)["documents"])
    except (CurateError, KeyError, ValueError):
        return 0


@app.command(epilog="Example:  curate shards inspect out --documents 1")
def inspect(
    folder: Folder,
    tokenizer: Tokenizer = None,
    documents: Annotated[int, typer.Option(min=0, help="So many of the first, decoded.")] = 2,
    as_text: AsJson = False,
) -> None:
    """Tell what is in shards: totals, lengths, sources, languages, and the first texts."""
    folder = shard_facts.folder_of(folder)
    with shard_facts.reading(folder):
        found = shard_facts.inspected(folder)
    if as_text:
        typer.echo(json.dumps(found, indent=1))
        return
    order = found["order"] or {}
    facts = Table(box=None, show_header=False)
    for name, value in (
        ("documents", f"{found['documents']:,}"),
        ("tokens", f"{found['tokens']:,}, the ends of documents included"),
        ("text", shown(found["bytes"])),
        ("tokens per byte", f"{found['tokens_per_byte']:.4f}"),
        ("vocabulary", f"{found['vocab_size']:,} ids as {found['dtype']}"),
        ("end of text", str(found["end_of_text"])),
        ("tokenizer", found["vocabulary"]),
        ("order", f"shuffled, seed {order['seed']}" if order.get("shuffled") else "as they came"),
        ("parts", f"{found['parts']:,}"),
    ):
        facts.add_row(name, Text(printable(value)))
    show(facts)
    _show_lengths(found["lengths"])
    for name in ("sources", "languages"):
        _show_groups(name, found[name])
    words = shard_facts.words_near(folder, read_manifest(folder), tokenizer)
    with shard_facts.reading(folder):
        texts = shard_facts.decoded(folder, words, documents) if words else []
    for text in texts:
        show(line(f"| {printable(text[:MOST_LETTERS].decode('utf-8', 'replace'))!r}"))


def _show_lengths(lengths: dict[str, int]) -> None:
    table = Table("tokens of a document", *(f"{share} %" for share in lengths), box=None)
    table.add_row("", *(f"{count:,}" for count in lengths.values()))
    show(table)


def _show_groups(name: str, groups: list[dict[str, Any]]) -> None:
    table = Table(name, "documents", "tokens", "bytes", "tokens per byte", box=None)
    for row in groups[:MOST_ROWS]:
        counts = (f"{row[key]:,}" for key in ("documents", "tokens", "bytes"))
        ratio = f"{row['tokens'] / max(row['bytes'], 1):.4f}"
        table.add_row(Text(printable(row["name"] or "not known")), *counts, ratio)
    if len(groups) > MOST_ROWS:
        table.add_row(f"and {len(groups) - MOST_ROWS:,} more")
    show(table)


@app.command(epilog="Example:  curate shards trace out --part 0 --token 123456")
def trace(
    folder: Folder,
    token: Annotated[int, typer.Option(help="Counted from 0, in the part or in all parts.")],
    part: Annotated[str, typer.Option(help="Its number or name. Default: all, in order.")] = "",
    tokenizer: Tokenizer = None,
    as_text: AsJson = False,
) -> None:
    """Tell which document a token came from, and show the text around it."""
    folder = shard_facts.folder_of(folder)
    words = shard_facts.words_near(folder, read_manifest(folder), tokenizer)
    with shard_facts.reading(folder):
        found = shard_facts.traced(folder, token, part, words)
    facts = {
        "part": found.part,
        "token": found.token,
        "document": found.document,
        "position": found.position,
        "token_id": found.id,
        **{name: _plain(value) for name, value in found.row.items()},
    }
    if found.context:
        facts["context"] = [piece.decode("utf-8", "replace") for piece in found.context]
    if as_text:
        typer.echo(json.dumps(facts, indent=1))
        return
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        if name != "context":
            table.add_row(Text(name), Text(printable("" if value is None else str(value))))
    show(table)
    if found.context:
        before, own, behind = map(printable, facts["context"])
        show(Text.assemble("... ", before, (own, "reverse"), behind, " ..."))


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


@app.command(epilog="Example:  curate shards diff before/tokens after/tokens")
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Shards.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Other shards.")],
    as_text: AsJson = False,
) -> None:
    """Tell which documents two sets of shards share, and exit with 1 where they differ."""
    with shard_facts.reading(first, second):
        found = shard_facts.differences(*map(shard_facts.folder_of, (first, second)))
    if as_text:
        typer.echo(json.dumps(found, indent=1))
    else:
        table = Table("", "A", "B", "differ", box=None)
        table.add_row("documents", *(f"{count:,}" for count in found["documents"]))
        table.add_row("tokens", *(f"{count:,}" for count in found["tokens"]))
        for name, what in (
            ("removed", "in A alone"),
            ("added", "in B alone"),
            ("changed", "with another text"),
            ("other_tokens", "with other tokens"),
            ("other_copies", "more or less often"),
        ):
            some = ", ".join(found[name][:3])
            table.add_row(what, "", "", f"{len(found[name]):,}  {some}")
        for name in ("tokenizer", "order"):
            table.add_row(name, "", "", found[name])
        show(table)
    if not shard_facts.is_same(found):
        raise typer.Exit(1)


@app.command(epilog="Example:  curate shards view out --as llmc --output for-llmc")
def view(
    folder: Folder,
    name: Annotated[str, typer.Option("--as", help=f"One of {', '.join(VIEWS)}.")],
    output: Annotated[Path, typer.Option(help="A new folder.")],
    length: Annotated[
        int,
        typer.Option(min=1, help="Tokens of a sequence, for mds and litdata."),
    ] = SEQUENCE,
) -> None:
    """Write shards as another trainer reads them; tokens are hard links where that is possible."""
    made = write_view(shard_facts.folder_of(folder), name, output, length)
    files = sorted(path.name for path in made.folder.iterdir())
    written = len(files) - len(made.linked)
    show(
        line(f"{output}: {len(files)} files, {len(made.linked)} are hard links, {written} written")
    )
    if made.copied:
        some = ", ".join(made.copied[:3])
        tell(f"note: no hard links to there, so that {len(made.copied)} are copies: {some}")
    for note in made.notes:
        tell(f"note: {note}")
