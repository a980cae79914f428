"""`curate classifier`: train, evaluate, score."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from curate.column import Numbers
from curate.errors import InputError, RecipeError
from curate.progress import Watcher, line, show
from curate.schema import TEXT
from filters import classifier as classifiers
from filters.classifier_card import as_text, figures_page
from filters.classifier_data import Labelled
from filters.classifier_figures import SHARES
from filters.classifier_training import PRESETS, evaluate, preset, score_files, train
from tokenizer.corpus import files_of

app = typer.Typer(
    no_args_is_help=True,
    help="Train and use linear quality classifiers (fastText).",
    epilog="Example:  curate classifier train --positive 'good/*.parquet' --negative 'web/*.jsonl' "
    "--output hq",
)

Model = Annotated[str, typer.Argument(help="A classifier's folder, or a .bin or .ftz file.")]
Positive = Annotated[
    list[str] | None, typer.Option(help="Documents of the label: file, glob or folder.")
]
Negative = Annotated[list[str] | None, typer.Option(help="Documents that are not of it.")]
Both = Annotated[
    list[str] | None, typer.Option("--labelled", help="Documents with a column that says which.")
]
LabelColumn = Annotated[str, typer.Option(help="That column of --labelled files.")]
TextColumn = Annotated[str, typer.Option(help="The column of the text.")]
LABEL_HELP = "The label that the number is about; by preset: " + ", ".join(
    f"{name} {settings.label}" for name, settings in PRESETS.items()
)
Output = Annotated[Path, typer.Option(help="The folder to write to.")]


@app.command(
    name="train",
    epilog="Example:  curate classifier train --preset dclm --positive 'oh/*.jsonl' "
    "--negative 'web/*.parquet' --output hq",
)
def train_command(  # noqa: PLR0913  # a command's options are its arguments
    output: Output,
    positive: Positive = None,
    negative: Negative = None,
    labelled: Both = None,
    label_column: LabelColumn = "label",
    text_column: TextColumn = TEXT,
    name: Annotated[str, typer.Option("--preset", help=f"{', '.join(PRESETS)}.")] = "fasttext",
    label: Annotated[str | None, typer.Option(help=LABEL_HELP)] = None,
    lower: Annotated[bool | None, typer.Option("--lower", help="Read small letters.")] = None,
    held_out: Annotated[float | None, typer.Option(help="The share to evaluate on: 0.1.")] = None,
    word_ngrams: Annotated[int | None, typer.Option(min=1, max=10)] = None,
    min_letters: Annotated[int | None, typer.Option(min=0, max=20)] = None,
    max_letters: Annotated[int | None, typer.Option(min=0, max=20)] = None,
    dim: Annotated[int | None, typer.Option(min=1, max=10_000)] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    rate: Annotated[float | None, typer.Option(min=0.0)] = None,
    min_count: Annotated[int | None, typer.Option(min=1)] = None,
    buckets: Annotated[int | None, typer.Option(min=1, max=2**31 - 1)] = None,
    loss: Annotated[str | None, typer.Option(help="softmax, hs, ns or ova.")] = None,
) -> None:
    """Train on Parquet, JSONL or lines of text; write model.bin, card.json and model-card.md.

    The same documents and settings give the same bytes: one thread trains, and a hash of the text
    decides what is held out.
    """
    given: dict[str, Any] = {
        **{"label": label, "lower": lower, "held_out": held_out, "word_ngrams": word_ngrams},
        **{"min_letters": min_letters, "max_letters": max_letters, "dim": dim, "epochs": epochs},
        **{"rate": rate, "min_count": min_count, "buckets": buckets, "loss": loss},
    }
    settings = preset(name, **given)
    sources = _sources((positive, settings.label), (negative, settings.other), text_column)
    sources += _with_labels(labelled, label_column, text_column)
    if not sources:
        raise InputError("no documents: name --positive and --negative, or --labelled")
    console = Console()
    with console.status("reading, training and evaluating ..."):
        card = train(sources, settings, output)
    _show(console, card["figures"])
    show(line(str(output / classifiers.MODEL)))


@app.command(
    name="evaluate",
    epilog="Example:  curate classifier evaluate hq --labelled test.jsonl --label-column label",
)
def evaluate_command(  # noqa: PLR0913  # a command's options are its arguments
    model: Model,
    positive: Positive = None,
    negative: Negative = None,
    labelled: Both = None,
    label_column: LabelColumn = "label",
    text_column: TextColumn = TEXT,
    label: Annotated[str, typer.Option(help="In place of the card's.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure precision, recall, AUC and calibration on labelled documents."""
    known = classifiers.load(model, label).label
    sources = _sources((positive, known), (negative, f"not-{known}"), text_column)
    sources += _with_labels(labelled, label_column, text_column)
    found = evaluate(model, sources, label)
    console = Console()
    if as_json:
        console.print_json(as_text(found))
    else:
        _show(console, found)


@app.command(epilog="Example:  curate classifier score hq --input 'web/*.jsonl' --output scored")
def score(  # noqa: PLR0913  # a command's options are its arguments
    model: Model,
    inputs: Annotated[
        list[str], typer.Option("--input", help="Parquet, JSONL or text: file, glob or folder.")
    ],
    output: Output,
    column: Annotated[str, typer.Option(help="The name of the number.")] = "quality",
    text_column: TextColumn = TEXT,
    label: Annotated[str, typer.Option(help="In place of the card's.")] = "",
) -> None:
    """Write every input as Parquet with a column of numbers, and say which score keeps what."""
    classifier = classifiers.load(model, label)
    files = {path: output / f"{path.name.partition('.')[0]}.parquet" for path in files_of(inputs)}
    if len(set(files.values())) < len(files):
        raise InputError("two inputs have one name; score them into folders of their own")
    if {path.resolve() for path in files} & {target.resolve() for target in files.values()}:
        raise InputError(f"{output}: an input would be overwritten; choose another --output")
    console = Console(stderr=True)
    with Watcher(console) as watcher:
        watcher.begin("score", 0, "documents")
        scores = score_files(classifier, files, (text_column, column), watcher.advance)
        watcher.end()
    silent = int(np.isnan(scores).sum())
    show(line(f"{len(scores):,} documents, {silent:,} without words"))
    show(_summary(scores[~np.isnan(scores)]))
    show(line(str(output)))


def _sources(
    positive: tuple[list[str] | None, str], negative: tuple[list[str] | None, str], text: str
) -> list[Labelled]:
    if bool(positive[0]) != bool(negative[0]):
        raise RecipeError("--positive and --negative need each other")
    return [
        Labelled(tuple(files_of(patterns)), label=label, text_column=text)
        for patterns, label in (positive, negative)
        if patterns
    ]


def _with_labels(patterns: list[str] | None, column: str, text: str) -> list[Labelled]:
    if not patterns:
        return []
    return [Labelled(tuple(files_of(patterns)), label_column=column, text_column=text)]


def _show(console: Console, figures: dict[str, Any]) -> None:
    console.print(Markdown("\n".join(figures_page(figures))))


def _summary(scores: Numbers) -> Table:
    table = Table("to keep", "score from", box=None)
    for share in SHARES if len(scores) else ():
        low = np.quantile(scores, 1 - share, method="higher")
        table.add_row(f"{share:.0%}", f"{low:.6f}")
    return table
