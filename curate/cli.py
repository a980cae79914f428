"""The command line: the only file that prints."""

import inspect
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from curate import (
    __version__,
    decided,
    doctor,
    ended,
    models,
    recipe,
    report,
    sizes,
    tokenizing,
    training,
)
from curate import settings as stage_settings
from curate.ablate_command import EPILOG, ablate_command
from curate.classifier import app as classifier_app
from curate.compare import compare
from curate.decide import decide
from curate.dedup import alone
from curate.errors import CurateError, InputError
from curate.filter import Filter
from curate.guard import guarded
from curate.importance import app as importance_app
from curate.lm.commands import app as lm_app
from curate.passes import Pass, passes
from curate.plan import plan as make_plan
from curate.progress import printable, show
from curate.read.settings import Read
from curate.report import comparison as comparison_page
from curate.report import differences
from curate.room import LEAST
from curate.run import Job
from curate.signal import Signal
from curate.stored import stored
from curate.train_commands import EVALUATE, TRAIN, evaluate_command, train_command
from curate.tune_command import TUNE, tune_command
from tokenizer.commands import app as tokenizer_app
from tokenizer.shards_commands import app as shards_app
from trainer.instructions import prompt_of

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn crawl dumps into training data, every document accounted for.",
    epilog="Example:  curate run fineweb --input 'crawl/*.warc.gz' --output out",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(no_args_is_help=True, help="Models by name: list, verify, fetch.")
app.add_typer(models_app, name="models")
app.add_typer(tokenizer_app, name="tokenizer")
app.add_typer(shards_app, name="shards")
app.add_typer(classifier_app, name="classifier")
app.add_typer(importance_app, name="importance")
app.add_typer(lm_app, name="lm")
app.command(name="ablate", epilog=EPILOG)(ablate_command)

Recipe = Annotated[str, typer.Argument(help="A recipe file, or one of ours by name.")]
Folder = Annotated[Path, typer.Argument(help="The --output of a run.")]
Inputs = Annotated[
    list[str], typer.Option("--input", help="File, folder, glob or URL; may be repeated.")
]

Memory = Annotated[
    str, typer.Option(help="Of each task of a decision: 512M, 4G. Default: by what is free.")
]


def _bytes(memory: str) -> int | None:
    if not memory:
        return None
    given = sizes.parse(memory, "--memory")
    if given < LEAST:
        raise InputError(f"--memory {memory}: too little for a task; write 64M or more")
    return given


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command(epilog="Example:  curate run fineweb --input 'crawl/*.warc.gz' --output out")
def run(  # noqa: PLR0913  # a command's options are its arguments
    name: Recipe,
    inputs: Inputs,
    output: Annotated[Path, typer.Option(help="Where everything goes.")],
    workers: Annotated[
        int | None, typer.Option(min=0, help="0: this process, without Ray. Default: by size.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="A Ray cluster to run on, such as auto or ray://host:10001.")
    ] = None,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Keep the text of dropped documents too.")
    ] = False,
    memory: Memory = "",
    samples: Annotated[
        int, typer.Option(min=0, help="Samples for each reason in the report; 0 to pass it on.")
    ] = 3,
) -> None:
    """Run a recipe over a crawl: documents, tokens, a model, a ledger and a report.

    The same command again goes on where the last run stopped; finished work is not repeated.
    """
    if ray_address and workers == 0:
        raise InputError("--workers 0 is without Ray; leave out --ray-address, or name workers")
    text, where = recipe.read(name)
    job = Job(text, where, inputs, output, workers, ray_address, rejected, _bytes(memory))
    ended.run(job, samples)


@app.command(
    name="dedup",
    epilog="Example:  curate dedup 'pages/*.parquet' --output out --against dump-1 --index",
)
def dedup_command(  # noqa: PLR0913  # a command's options are its arguments
    inputs: Annotated[
        list[str], typer.Argument(help="JSONL or Parquet, WARC or WET: file, folder, glob or URL.")
    ],
    output: Annotated[Path, typer.Option(help="Where everything goes.")],
    near: Annotated[
        str,
        typer.Option(
            help="Near-duplicates: fineweb, dclm, refinedweb, olmo3, nemo, a threshold such as "
            "0.8 from which bands are computed, or none."
        ),
    ] = "fineweb",
    similarity: Annotated[
        float, typer.Option(min=0, max=1, help="Least similarity to the document that stays.")
    ] = 0.7,
    verify: Annotated[
        str, typer.Option(help="text: by the n-grams themselves; sketch: estimated; none: chains.")
    ] = "text",
    exact: Annotated[bool, typer.Option(help="Documents with the same text.")] = True,
    urls: Annotated[bool, typer.Option("--urls", help="Documents with the same URL, too.")] = False,
    contained: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Documents of which another has this share, such as 0.9."),
    ] = None,
    lines: Annotated[
        str, typer.Option(help="Lines said twice: `first` copies stay, `all` copies go, or `no`.")
    ] = "no",
    substrings: Annotated[
        int | None, typer.Option(min=1, help="Stretches of so many words said twice, such as 50.")
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            help="Which copy stays: longest, first (the smallest id), newest, oldest, or as in a "
            "recipe: '{sources: [wiki*, books*]}'."
        ),
    ] = "longest",
    against: Annotated[
        list[Path] | None,
        typer.Option(help="An earlier output with an index: what it has, goes. May be repeated."),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="Keep an index, for later runs --against this one.")
    ] = False,
    text_key: Annotated[str, typer.Option(help="The field with the text.")] = "text",
    url_key: Annotated[str, typer.Option(help="The field with the URL.")] = "url",
    id_key: Annotated[str, typer.Option(help="The field with your own id.")] = "id",
    date_key: Annotated[str, typer.Option(help="The field with the date.")] = "date",
    metadata: Annotated[
        bool, typer.Option(help="Keep all other fields, as JSON in a column `metadata`.")
    ] = True,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Keep the text of dropped documents too.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="0: this process, without Ray. Default: by size.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="A Ray cluster to run on.")] = None,
    memory: Memory = "",
) -> None:
    """Remove duplicates from documents, and from nothing else: each is accounted for.

    The recipe that this makes is written into the output; with more in it, it is one for
    `curate run`. The same command again goes on where the last one stopped.
    """
    wanted = alone.Wanted(
        near=near,
        similarity=similarity,
        verify=verify,
        exact=exact,
        urls=urls,
        contained=contained,
        lines=lines,
        substrings=substrings,
        keep=keep,
        against=tuple(str(path.absolute()) for path in against or ()),
        index=index,
        text_key=text_key,
        url_key=url_key,
        id_key=id_key,
        date_key=date_key,
        metadata=metadata,
    )
    text = alone.recipe_text(wanted)
    job = Job(text, "curate dedup", inputs, output, workers, ray_address, rejected, _bytes(memory))
    ended.run(job, samples=3)


@app.command(name="report", epilog="Example:  curate report out --samples 0")
def report_command(
    folder: Folder,
    samples: Annotated[int, typer.Option(min=0, help="Samples for each reason.")] = 3,
    duplicates: Annotated[
        Path | None, typer.Option(help="Where a table of all duplicates goes, as Parquet.")
    ] = None,
) -> None:
    """Write one self-contained page about a run, and print it in short.

    With --duplicates only a table of what went for what: ids, URLs, similarity, and which document
    has the text in the end.
    """
    if duplicates:
        print(f"{report.write_pairs(folder, duplicates):,} duplicates: {duplicates}")
        return
    page = report.write_report(folder, samples=samples)
    show(report.summary(folder))
    print(page)


@app.command(name="decide", epilog="Example:  curate decide out --recipe gopher --output other")
def decide_command(
    folder: Folder,
    name: Annotated[str, typer.Option("--recipe", help="Another recipe, a file or one of ours.")],
    output: Annotated[Path | None, typer.Option(help="Where the verdicts go, as Parquet.")] = None,
    documents: Annotated[
        bool, typer.Option("--documents", help="Write the documents too, if all texts are there.")
    ] = False,
) -> None:
    """Put another recipe's bounds on the stored numbers of a run; no text is read again."""
    if documents and output is None:
        raise InputError("--documents needs a place: name one with --output")
    decision = decide(stored(folder), recipe.load(name))
    show(differences.decided(decision))
    if output:
        decided.write(decision, output, documents)
        print(output)


@app.command(name="compare", epilog="Example:  curate compare out other --output differences.html")
def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run, or the output of `decide`.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, on the same input.")],
    output: Annotated[Path | None, typer.Option(help="Where a page about it goes.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Samples for each reason.")] = 2,
) -> None:
    """Tell where the verdicts of two runs on the same input differ, with samples."""
    comparison = compare(first, second, samples)
    show(differences.compared(comparison))
    if output:
        print(comparison_page.write_comparison(comparison, output))


@app.command(epilog="Example:  curate explain out 3f9c")
def explain(
    folder: Folder,
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="An id in hex or its beginning, as the report's samples have it, or a URL.",
        ),
    ],
) -> None:
    """Tell one document's journey: every stage, number, bound and verdict."""
    show(report.journey(folder, identity))


@app.command(epilog="Example:  curate filters gopher")
def filters(
    family: Annotated[
        str, typer.Argument(metavar="NAME", help="Only this family; or a stage, with its settings.")
    ] = "",
) -> None:
    """List the catalogue: every signal and stage that a recipe can name.

    By its whole name, such as language.Identify, a stage is shown with all its settings; so are the
    sections read, tokenizer and train of a recipe.
    """
    found = {**recipe.catalogue(), **recipe.SECTIONS}
    if isinstance(found.get(family), type):
        _print_stage(family, found[family])
        return
    if not any(name.startswith(family) for name in found):
        names = [*sorted({name.partition(".")[0] for name in found}), *found]
        raise InputError(f"no signal, stage or family {family!r}{recipe.nearest(family, names)}")
    table = Table("name", "low", "high", "what it is", box=None, header_style="bold")
    source = ""
    for name, value in sorted(found.items(), key=lambda item: item[0].lower()):
        if not name.startswith(family) or name in recipe.SECTIONS:
            continue
        if isinstance(value, Signal):
            if value.source != source:
                source = value.source
                table.add_row("", "", "", f"[italic]{escape(source)}[/italic]")
            table.add_row(name, *map(_bound, (value.low, value.high)), escape(value.about))
        else:
            about = (value.__doc__ or "").strip().splitlines()[0]
            table.add_row(f"[bold]{name}[/bold]", "", "", escape(f"stage: {about}"))
    show(table)


def _print_stage(name: str, stage: type) -> None:
    print(f"{name}: {inspect.getdoc(stage)}\n")
    table = Table("setting", "type", "default", "what it is", box=None, header_style="bold")
    for one in stage_settings.settings(stage):
        table.add_row(*map(escape, (one.name, one.kind, one.default, one.about)))
    if table.row_count:
        show(table)
    else:
        print("It has no settings.")


def _bound(value: float) -> str:
    return "" if value in (float("inf"), float("-inf")) else f"{value:g}"


@app.command(epilog="Example:  curate plan fineweb --input 'crawl/*.warc.gz'")
def plan(
    name: Recipe,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="As for `run`.")] = None,
) -> None:
    """Show what would run: passes, stages, bounds, inputs and units. Reads no documents."""
    text, where = recipe.read(name)
    read = recipe.parse(text, where)
    print(": ".join(part for part in (read.name, read.about or read.source) if part))
    for one in passes(read):
        _print_pass(one, read.read)
    for key, section in (("tokenizer", read.tokenizer), ("train", read.train)):
        if section:
            print(f"\n{key}: {json.dumps(recipe.settings_of(section))}")
    tokenizing.loaded(read.tokenizer)
    if inputs:
        todo = make_plan(read, inputs, Path("/nonexistent"))
        print(f"\n{len(todo.inputs)} inputs, {todo.bytes:,} bytes, {len(todo.units)} units of work")
        for note in todo.notes:
            print(note)


def _print_pass(one: Pass, read: Read) -> None:
    print(f"\npass {one.index + 1} over the text")
    if one.index == 0:
        print(f"  read{_given(read)}")
    for step in one.decided:
        print(f"  apply   {step.label}")
    for step in one.steps:
        print(f"  {step.label}{_given(step.stage)}")
        for rule in step.stage.signals if isinstance(step.stage, Filter) else ():
            low, high = _bound(rule.low) or "..", _bound(rule.high) or ".."
            print(f"    {low} <= {rule.name} <= {high}")
    for step in one.surveys:
        print(f"  survey  {step.label}{_given(step.stage)}")


def _given(stage: Any) -> str:
    """What a recipe says of a stage, where that is not its default."""
    given = {} if isinstance(stage, Filter) else stage_settings.given(stage)
    return f": {stage_settings.as_yaml(given)}" if given else ""


@app.command(name="doctor")
def doctor_command() -> None:
    """Check the installation: libraries, models, kernels, and Ray's sockets."""
    good = True
    for check in doctor.checks():
        started = time.perf_counter()
        try:
            found = check()
            mark = "ok"
        except CurateError as error:
            found, mark, good = str(error), "PROBLEM", False
        name = (check.__doc__ or check.__name__).strip().splitlines()[0]
        print(f"{mark:8} {name} {found} ({time.perf_counter() - started:.1f} s)")
    if not good:
        raise typer.Exit(2)


@app.command()
def recipes() -> None:
    """List our own recipes."""
    for path in recipe.recipes():
        one = recipe.load(path)
        print(f"{one.name:12} {one.about}")


@models_app.command(name="list")
def list_models() -> None:
    """List the models that can be fetched by name."""
    for model in models.list_models():
        print(model)


@models_app.command()
def verify(name: str) -> None:
    """Check a model's size and SHA-256."""
    print(f"{name}: the pinned bytes, at {models.verify(name)}")


@models_app.command()
def fetch(name: str) -> None:
    """Fetch a model by name, and check it."""
    print(f"{name}: fetched and checked, at {models.fetch(name)}")


@app.command(
    epilog="Examples:  curate sample out/model --prompt 'The function returns'"
    "  -  curate sample tuned --instruction 'Name three colours.' --temperature 0"
)
def sample(  # noqa: PLR0913  # a command's options are its arguments
    model: Annotated[Path, typer.Argument(help="The model folder of a run, or of Hugging Face.")],
    prompt: Annotated[str | None, typer.Option(help="How the text begins; 'The'.")] = None,
    instruction: Annotated[
        str | None, typer.Option(help="What a model of `curate tune` is to do, for --prompt.")
    ] = None,
    given: Annotated[str, typer.Option("--input", help="What the instruction is about.")] = "",
    count: Annotated[int, typer.Option(min=1, max=1000, help="So many texts at once.")] = 1,
    tokens: Annotated[int, typer.Option(min=1, max=100_000, help="At most, in each text.")] = 120,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="0: always the likeliest token.")
    ] = 0.8,
    top_k: Annotated[
        int, typer.Option(min=0, help="Draw from so many of the likeliest tokens; 0: from all.")
    ] = 50,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Draw from the likeliest with this share.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same gives the same.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Let a trained model write: on from a prompt, or the answer to an instruction."""
    if (instruction is None and given) or (instruction is not None and prompt is not None):
        raise InputError("write --prompt, or --instruction with or without --input")
    begin = ("The" if prompt is None else prompt) if instruction is None else ""
    texts = training.samples(
        model,
        begin if instruction is None else prompt_of(instruction, given),
        device,
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        count=count,
    )
    for number, text in enumerate(texts, 1):
        if count > 1:
            print(f"--- {number} of {count}")
        print(printable(begin + text))


app.command(name="train", epilog=TRAIN)(train_command)
app.command(name="evaluate", epilog=EVALUATE)(evaluate_command)
app.command(name="tune", epilog=TUNE)(tune_command)


def main() -> None:
    """The `curate` command: errors of ours in one line, and their exit code."""
    guarded(app)
