"""How a run of the command line ends: the model, times, report, summary, and where all lies."""

import time
from pathlib import Path

import typer

from curate import __version__, report, training
from curate.progress import Watcher, console, line, printable, show, tell
from curate.publish import pretty
from curate.read.fields import hints
from curate.run import Job, Outcome
from curate.run import run as run_job
from trainer.settings import TrainSettings

FAULTY = 3  # outputs are complete, but the input was worse than the recipe allows


def run(job: Job, samples: int) -> None:
    """Do a job and show what came of it; exits with 3 where the input was too damaged."""
    output = job.output
    started = time.perf_counter()
    with Watcher(console(stderr=True)) as watcher:
        outcome = run_job(job, watcher)
        trained = _train(outcome, output, watcher)
    settings = outcome.plan.recipe.train
    text = _sample(output / "model", settings) if trained and settings else ""
    _note_times(output, outcome, time.perf_counter() - started)
    page = report.write_report(output, samples=samples)
    show(report.summary(output))
    _lies(output, page, outcome)
    if text:
        show(line(f"\nA sample from the model:\n\n{printable(text)}\n"))
    _judge(outcome, output)


def _train(outcome: Outcome, output: Path, watcher: Watcher) -> bool:
    settings = outcome.plan.recipe.train
    if settings is None or not (output / "tokens").is_dir():
        training.forget(output)
        return False
    started = time.perf_counter()
    summary = training.train(output, settings, watcher)
    outcome.seconds["train model"] = time.perf_counter() - started
    loss = f"loss {summary.first_loss:.2f} -> {summary.last_loss:.2f}"
    if summary.tokens_per_second:
        speed = f"{summary.tokens_per_second:,.0f} tokens/s"
        watcher.note(f"trained {summary.steps} steps on {summary.device}: {loss}, {speed}")
    else:
        watcher.note(f"the model of {summary.steps} steps was there already: {loss}")
    return True


def _sample(model: Path, settings: TrainSettings) -> str:
    text = training.sample(
        model,
        settings.prompt,
        tokens=settings.sample_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
    )
    (model / "sample.txt").write_text(text)
    return text


def _note_times(output: Path, outcome: Outcome, wall_seconds: float) -> None:
    """Times and speeds, in a file of their own: everything else is the same for every run.

    Speeds are those of the curation, without kernels and training, and of a run that did all of
    it: where pieces were there already, there is no speed to tell.
    """
    stages = outcome.ledger["stages"]
    documents = stages[0]["entered"]["documents"] if stages else 0
    curation = max(outcome.curation_seconds, 1e-9)
    speeds = {
        "documents_per_second": round(documents / curation, 1),
        "bytes_per_second": round(outcome.plan.bytes / curation),
    }
    times = {
        "version": __version__,
        "workers": outcome.workers,
        "wall_seconds": round(wall_seconds, 3),
        "curation_seconds": round(outcome.curation_seconds, 3),
        **({} if outcome.reused else speeds),
        "units": outcome.units,
        "units_reused": outcome.reused,
        "seconds": {label: round(value, 4) for label, value in outcome.seconds.items()},
    }
    (output / "run.json").write_bytes(pretty(times))


def _lies(output: Path, page: Path, outcome: Outcome) -> None:
    places = {
        "documents": "documents that were kept, with all signals",
        "dropped": "documents that were dropped: reason, value, bound",
        "cut": "what was cut out of documents that stay",
        "index": "for later runs against this one",
        "rejected": "the text of dropped documents",
        "tokenizer": "the tokenizer",
        "tokens": "token shards",
        "model": "the model",
        "ledger.json": "every document and byte, counted",
        "recipe.yaml": "the recipe, for curate run",
        page.name: "the report",
    }
    show(line(f"\nIn {printable(str(output))}:"))
    for name, what in places.items():
        if (output / name).exists():
            show(line(f"  {name:{max(map(len, places))}}  {what}"))
    show(line(f"\nOpen the report in a browser: {printable(str(page))}"))
    if outcome.reused == outcome.units:
        show(line(f"All {outcome.units} units of work were there already: none was done again."))
    elif outcome.reused:
        show(line(f"{outcome.reused} of {outcome.units} units of work were there already."))


def _judge(outcome: Outcome, output: Path) -> None:
    """Exit with 3 where the input was too damaged, or nothing was left of it."""
    stages = outcome.ledger["stages"]
    entered = stages[0]["entered"]["documents"]
    faults = sum(count["documents"] for stage in stages for count in stage["quarantined"].values())
    unreadable = [
        source["source"]
        for source in outcome.ledger["inputs"]
        for reason in source["stages"][0]["quarantined"]
        if reason.startswith("input.")
    ]
    allowed = outcome.plan.recipe.max_fault_share
    problems = [f"{name}: could not be read" for name in unreadable]
    for source in outcome.ledger["inputs"]:
        lost = source["spans"]["faults"]
        if source["source"] not in unreadable and lost > allowed * source["size"]:
            problems.append(f"{source['source']}: {lost:,} of {source['size']:,} bytes are damaged")
    if entered and faults / entered > allowed:
        problems.append(
            f"{faults:,} of {entered:,} documents were quarantined, more than max_fault_share "
            f"{allowed:g} allows"
        )
    if stages[-1]["kept"]["documents"] == 0:
        problems.append("nothing is left: every document was dropped or quarantined")
    for hint in hints(outcome.plan.inputs, outcome.ledger["inputs"], outcome.plan.recipe.read):
        tell(printable(hint))
    if problems:
        for problem in problems:
            tell(printable(problem))
        tell(f"See {output / 'report.html'}; the output is complete otherwise.")
        raise typer.Exit(FAULTY)
