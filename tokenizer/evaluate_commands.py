"""`curate tokenizer evaluate` and `criterion`: tokenizers side by side, judged on text."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from curate.errors import InputError, RecipeError
from curate.progress import Watcher, console, line, show, tell
from curate.store import write_atomic
from tokenizer.corpus import files_of
from tokenizer.criterion import SMALLEST, Criterion, compare
from tokenizer.evaluate import Evaluation, load_named
from tokenizer.evaluate import evaluate as evaluated_texts
from tokenizer.evaluated import Settings, as_json, finite
from tokenizer.inputs import Labels, labelled_files
from tokenizer.pretokenize import slow_parts
from tokenizer.vocabulary import Vocabulary

EVALUATE = (
    "Example:  curate tokenizer evaluate tok cl100k_base.tiktoken --input 'pages/*.parquet' "
    "--output judged"
)
CRITERION = "Example:  curate tokenizer criterion tok --input 'pages/*.parquet' --vocab-size 32000"
JSON, PAGE = "evaluation.json", "evaluation.html"
NOT_MET = 1  # exit code of a criterion that is not met

Tokenizers = Annotated[
    list[Path],
    typer.Argument(
        metavar="TOKENIZER",
        help="A tokenizer.json, a folder with one, GPT-2 files or tiktoken ranks; one or more.",
    ),
]
Inputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        help="Parquet, JSONL, text (a document a line), or TSV (language, tab, ..., tab, text): "
        "file, glob or folder.",
    ),
]
Column = Annotated[
    str, typer.Option(help="The column that names the language. Default: language, if there.")
]
ByFile = Annotated[
    bool, typer.Option("--language-from-file", help="de.txt is German: its name to the first dot.")
]
Output = Annotated[Path | None, typer.Option(help=f"A folder for {PAGE}, with plots, and {JSON}.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Rare = Annotated[int, typer.Option(min=1, help="A token used less often than this is rare.")]


def evaluate(  # noqa: PLR0913  # a command's options are its arguments
    tokenizers: Tokenizers,
    inputs: Inputs,
    language_column: Column = "",
    language_from_file: ByFile = False,
    pivot: Annotated[
        str,
        typer.Option(help="For parallel texts: tokens of each language by those of this one."),
    ] = "",
    rare_below: Rare = 10,
    output: Output = None,
    as_text: Json = False,
) -> None:
    """Judge tokenizers side by side on text: how many tokens each language takes, and which.

    Bytes per token, tokens per word, words kept whole, unused and rare tokens, Renyi efficiency,
    and whether decoding gives the text back; for each language where it is known.
    """
    paths, labels = files_of(inputs), labels_of(language_column, language_from_file)
    named = opened(tokenizers)
    with Watcher(console(stderr=True)) as watcher:
        watcher.begin("judging", len(paths), "files")
        evaluation = evaluated_texts(named, labelled_files(paths, labels, watcher))
        watcher.end()
    deliver(as_json(evaluation, Settings(rare_below, pivot)), output, as_text)


def criterion(  # noqa: PLR0913  # a command's options are its arguments
    tokenizers: Tokenizers,
    inputs: Inputs,
    language_column: Column = "",
    language_from_file: ByFile = False,
    vocab_size: Annotated[
        int, typer.Option(min=SMALLEST + 1, help="Of each monolingual tokenizer.")
    ] = 32_000,
    pattern: Annotated[
        str, typer.Option(help="Of the monolingual tokenizers. Default: the first tokenizer's.")
    ] = "",
    most: Annotated[
        float, typer.Option(min=0.0, help="So much more tokens may be taken: .1 is 10 %.")
    ] = 0.10,
    output: Output = None,
    as_text: Json = False,
) -> None:
    """Hold tokenizers against one trained on each language alone (BLOOM's criterion).

    Half of each language's documents train a monolingual tokenizer, the other half judges. A
    tokenizer passes if in no language it takes 10 % more tokens than the monolingual one. The exit
    code is 0 if all tokenizers pass, and 1 if one does not.
    """
    paths, labels = files_of(inputs), labels_of(language_column, language_from_file)
    named = opened(tokenizers)
    settings = Criterion(most, vocab_size, pattern or next(iter(named.values())).pattern)
    if settings.pattern not in [one.pattern for one in named.values()]:
        for remark in slow_parts(settings.pattern):
            tell(f"--pattern: {remark}")
    with Watcher(console(stderr=True)) as watcher:
        watcher.begin("training and judging", 2 * len(paths), "files")
        evaluation = Evaluation(named)
        found = compare(evaluation, lambda: labelled_files(paths, labels, watcher), settings)
        watcher.end()
    said = as_json(evaluation, Settings()) | {"criterion": finite(found)}
    deliver(said, output, as_text)
    if not all(found["passes"].values()):
        raise typer.Exit(NOT_MET)


def opened(paths: list[Path]) -> dict[str, Vocabulary]:
    """Tokenizers by short names; what makes a pattern slow is said."""
    named = load_named(paths)
    for name, found in named.items():
        for remark in slow_parts(found.pattern):
            tell(f"{name}: {remark}")
    return named


def labels_of(column: str, by_file: bool) -> Labels:
    """Where languages are said."""
    if column and by_file:
        raise RecipeError("--language-column and --language-from-file: write one of them")
    return Labels(column, by_file)


def deliver(said: dict[str, Any], output: Path | None, as_text: bool) -> None:
    """Print an evaluation, and write it with its page."""
    # Half a second, which training should not pay.
    from curate.report.tokenizers import page  # noqa: PLC0415
    from tokenizer.evaluation_tables import criterion_table, evaluation_tables  # noqa: PLC0415

    if as_text:
        console().print_json(json.dumps(said, ensure_ascii=False))
    else:
        for table in evaluation_tables(said) if not said["criterion"] else criterion_table(said):
            show(table)
    if output:
        if output.is_file():
            raise InputError(f"{output}: a file; name a folder with --output")
        output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(said, ensure_ascii=False, indent=1) + "\n"
        write_atomic(output / JSON, text.encode())
        write_atomic(output / PAGE, page(said).encode())
        if not as_text:
            show(line(str(output / PAGE)))
