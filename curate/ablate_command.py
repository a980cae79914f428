"""`curate ablate`: its options, where its corpora come from, and what it says at the end."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from curate.errors import InputError, RecipeError
from curate.progress import Watcher, console, line, printable, show
from curate.report.ablation import difference, page
from curate.store import write_atomic
from curate.train_config import (
    SETTINGS,
    TOKENIZER,
    TOKENS,
    set_name,
    shards_of,
    tokenizer_beside,
    training_of,
)
from curate.training import extra
from tokenizer import vocabulary
from tokenizer.shards import MANIFEST, read_manifest
from tokenizer.vocabulary import Vocabulary
from tokenizer.writing import write_shards
from trainer.settings import TrainSettings

EPILOG = (
    "Examples:  curate ablate raw filtered --eval news=news/tokens --eval fiction --output answer"
    "  -  curate ablate raw.parquet filtered.parquet --eval held.jsonl --tokenizer neutral "
    "--output answer --tokens 2M --set learning_rate=1e-3"
)
JSON, PAGE = "ablation.json", "ablation.html"
ON_GPU = {"preset": "proxy-30m", "batch": "64"}, "300M"
# Seeds of AdamW leave the first plateau at different times: sigma .07, of Muon .004.
ON_CPU = (
    {"preset": "tiny", "batch": "8", "optimizer": "muon", "learning_rate": "1e-2"},
    "1M",
)
WARMUP_SHARE = 0.05  # of the steps
UNITS = {"K": 10**3, "M": 10**6, "B": 10**9}  # of tokens
GIVEN = {"steps": "--tokens"}  # settings that have an option of their own


def ablate_command(  # noqa: PLR0913  # a command's options are its arguments
    first: Annotated[
        str, typer.Argument(metavar="A", help="The output of a run, token shards, or documents.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another, to be compared with it.")],
    held_out: Annotated[
        list[str],
        typer.Option(
            "--eval", help="Text of neither, as NAME=PATH or PATH: one domain. May be repeated."
        ),
    ],
    output: Annotated[Path, typer.Option(help=f"The folder for {PAGE}, {JSON} and all losses.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Encodes documents, and shards of another tokenizer anew. Default: A's."),
    ] = None,
    tokens: Annotated[
        str, typer.Option(help="Of each training: 2M, 300M. Default: 300M on a GPU, else 1M.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Trainings of each corpus.")] = 3,
    margin: Annotated[
        float,
        typer.Option(min=0, max=8, help="Bits per byte; a difference within it is of no interest."),
    ] = 0.01,
    controls: Annotated[
        bool, typer.Option(help="Also train on A again, with duplicates, and with shuffled words.")
    ] = True,
    preset: Annotated[
        str, typer.Option(help="The model. Default: proxy-30m on a GPU, else tiny.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of `curate train`, as batch=32. Repeatable."),
    ] = None,
    eval_tokens: Annotated[
        str, typer.Option(help="Of each domain, at most, whole documents from the front.")
    ] = "1M",
    as_text: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Tell whether corpus B teaches a language model more than corpus A does.

    Trains the same small model on as many tokens of both, with several seeds and two learning
    rates, and compares what they do on held-out text: better or worse by so many bits per byte, no
    difference, or not decided, and why. The same command again goes on where the last one stopped.
    """
    ablation = extra("trainer.ablation")
    with Watcher(console(stderr=True)) as watcher:
        corpora, words = _corpora([first, second], held_out, (tokenizer, output), watcher)
        given = _settings(corpora[0][1], preset, tokens, settings or [])
        protocol = ablation.Protocol(
            settings=given,
            seeds=seeds,
            margin=margin,
            held_out_tokens=_tokens(eval_tokens, "--eval-tokens"),
            corruptions=ablation.CORRUPTIONS if controls else None,
        )
        one, other = (path for _, path in corpora[:2])
        asked = ablation.Corpora(one, other, dict(corpora[2:]), words)
        trainings = ablation.ablate(asked, output, protocol, watcher)
    said = extra("trainer.ablated").told(trainings)
    write_atomic(output / JSON, (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode())
    write_atomic(output / PAGE, page(said).encode())
    if as_text:
        console().print_json(json.dumps(said, ensure_ascii=False))
        return
    for what in told(said):
        show(what)
    show(line(str(output / PAGE)))


def told(said: dict[str, Any]) -> list[Table | Text]:
    """What is printed: the table of differences, the controls, warnings, and the answer."""
    table = Table("domain", "learning rate", "B − A", "95 %", "deviations", box=None)
    for rate in said["rates"]:
        for one in rate["differences"]:
            table.add_row(
                escape(printable(one["domain"])),
                f"{rate['learning_rate']:g}",
                *_numbers(one),
            )
    found: list[Table | Text] = [table]
    if said["controls"]:
        controls = Table("control", "must be", "seen", "less A", "95 %", "deviations", box=None)
        for one in said["controls"]:
            controls.add_row(one["name"], one["expected"], one["seen"], *_numbers(one))
        found.append(controls)
    found += [line(f"note: {printable(warning)}") for warning in said["warnings"]]
    answer = said["sentence"]
    if said["answer"] in ("better", "worse"):
        answer += f"; {said['worth']['sentence']}"
    return [*found, line(printable(answer))]


def _tokens(given: str, option: str) -> int:
    """Tokens as people write them: 2M is two million, not the 2^21 that it is of bytes."""
    unit = UNITS.get(given[-1:].upper(), 0)
    number = given[:-1] if unit else given
    if not (number.isascii() and number.isdigit() and int(number)):
        raise InputError(f"{option} {given}: write a number of tokens, such as 500K, 2M or 1B")
    return int(number) * (unit or 1)


def _numbers(one: dict[str, Any]) -> tuple[str, str, str]:
    interval = f"{difference(one['low'])} to {difference(one['high'])}"
    ratio = "–" if one["ratio"] is None else f"{abs(one['ratio']):.1f}"
    return difference(one["value"]), interval, ratio


def _settings(shards: Path, preset: str, tokens: str, given: list[str]) -> TrainSettings:
    """The settings of a training of so many tokens."""
    for one in given:
        name = one.partition("=")[0]
        if name not in SETTINGS or name in GIVEN:
            hint = GIVEN.get(name, "a setting that `curate filters train` lists")
            raise InputError(f"--set {one}: write {hint}")
    device = next((one.partition("=")[2] for one in given if one.startswith("device=")), "auto")
    on_gpu = extra("trainer.device").pick_device(device).type == "cuda"
    defaults, default_tokens = ON_GPU if on_gpu else ON_CPU
    budget = _tokens(tokens or default_tokens, "--tokens")
    words = [f"{name}={value}" for name, value in defaults.items()]
    words += [f"preset={preset}"] if preset else []
    try:
        sized = training_of([f"data={shards}", "output=.", *words, *given]).settings
        steps = max(1, budget // (sized.batch * sized.context))
        words += [f"steps={steps}", f"warmup={round(WARMUP_SHARE * steps)}"]
        return training_of([f"data={shards}", "output=.", *words, *given]).settings
    except RecipeError as error:  # which would be told how to check a recipe
        raise InputError(f"--set: {error}") from error


def _corpora(
    arms: list[str], held_out: list[str], places: tuple[Path | None, Path], watcher: Watcher
) -> tuple[list[tuple[str, Path]], Vocabulary | None]:
    """All token shards by name, the two corpora first, and the tokenizer if it is known.

    What is not encoded, or with another tokenizer than the one that was named, is encoded anew.
    """
    tokenizer, output = places
    known = tokenizer or _tokenizer_beside(arms[0])
    words = vocabulary.load(known) if known else None
    named = [("A", arms[0]), ("B", arms[1]), *map(_named, held_out)]
    for name in (names := [name for name, _ in named]):
        if names.count(name) > 1:
            raise InputError(f"--eval: {name} is there twice; name one of them with NAME=PATH")
    found = []
    for name, given in named:
        shards = _shards_at(given)
        if _holds(output, [Path(given), *([shards] if shards else [])]):
            raise InputError(f"{output}: is what {name} is read from; choose another --output")
        wanted = words.fingerprint() if tokenizer and words else None
        if shards is None or (wanted and read_manifest(shards)["vocabulary"] != wanted):
            if known is None:
                raise InputError(
                    f"{given}: no token shards; name a tokenizer with --tokenizer, or write them "
                    f"with `curate shards write`"
                )
            shards = output / "shards" / name
            write_shards([_documents(given, shards)], known, shards, events=watcher)
        found.append((name, shards))
    if words and read_manifest(found[0][1])["vocabulary"] != words.fingerprint():
        words = None
    return found, words


def _holds(output: Path, inputs: list[Path]) -> bool:
    """Whether the output would lie among what is read, whose shards must hold nothing else."""
    return any(output.resolve().is_relative_to(path.resolve()) for path in inputs if path.exists())


def _documents(given: str, shards: Path) -> str:
    """Documents to encode: not what is only tokens."""
    path = Path(given)
    if (path / MANIFEST).is_file() and not (path / "documents").is_dir() and path != shards:
        raise InputError(
            f"{given}: token shards of another tokenizer, and their text is not there; write them "
            "again with `curate shards write`"
        )
    return given


def _shards_at(given: str) -> Path | None:
    """The token shards of a path, unless it is documents."""
    path = Path(given)
    if not path.is_dir() or not ((path / TOKENS / MANIFEST).is_file() or _is_shards(path)):
        return None
    return shards_of(given, given)


def _is_shards(path: Path) -> bool:
    return (path / MANIFEST).is_file() and any(path.rglob("*.idx"))


def _tokenizer_beside(given: str) -> Path | None:
    """The tokenizer of a run, from its output or the tokens in it."""
    path = Path(given)
    return path / TOKENIZER if (path / TOKENIZER).is_dir() else tokenizer_beside(path)


def _named(given: str) -> tuple[str, str]:
    """A domain and its path; one without a name is called by its folder or file."""
    name, sign, path = given.partition("=")
    if sign and not Path(given).exists():
        if not name or "/" in name:
            raise InputError(f"--eval {given}: write it as NAME=PATH, such as news=held/tokens")
        return name, path
    shards = _shards_at(given)
    return (set_name(shards) if shards else Path(given).name.partition(".")[0]), given
