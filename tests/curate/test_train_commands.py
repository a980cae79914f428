"""`curate train` and `curate evaluate`: from words and files to a model, and every wrong word."""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from curate import training
from curate.cli import app
from curate.errors import BusyError, CurateError, InputError, RecipeError
from curate.progress import Watcher, console
from curate.store import owned, sealed
from curate.train_config import training_of
from tests.trainer.conftest import write
from tokenizer.encode import Encoder
from tokenizer.reference import BYTES
from tokenizer.shards import manifest, write_part
from tokenizer.vocabulary import Vocabulary
from trainer.model import LanguageModel, torch
from trainer.presets import PRESETS
from trainer.settings import Source, TrainSettings
from trainer.shape import Shape

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["layers=1", "width=16", "heads=2", "context=8", "batch=2", "device=cpu"]
TEXTS = ["the cat sat on the mat", "", "a function returns a list of numbers", "no"]


def curate(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture
def shards(tmp_path: Path) -> Callable[[str], Path]:
    """A folder of 60 documents of 50 ids by its name."""

    def call(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        random = np.random.default_rng(0)
        documents = [random.integers(1, 50, random.integers(1, 40)).tolist() for _ in range(60)]
        return write(folder, [documents], 50, 0)

    return call


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """The output of a run, as far as training reads it: a byte tokenizer and tokens by it."""
    words = Vocabulary(
        tokens=BYTES,
        merges=np.empty((0, 3), np.int32),
        pattern="gpt2",
        special_tokens={"<|endoftext|>": 256},
    )
    folder = tmp_path / "run"
    (folder / "tokenizer").mkdir(parents=True)
    words.save(folder / "tokenizer")
    (folder / "tokens").mkdir()
    texts = pa.array(TEXTS * 5)
    rows = pa.record_batch(
        {
            "id": pa.array([i.to_bytes(16, "big") for i in range(20)], pa.binary(16)),
            "source": pa.array(["one.warc", "two.warc"] * 10),
            "language": pa.array(["en", "fr", None, "en"] * 5),
            "text": texts,
        }
    )
    batches = [(rows, *Encoder(words).encode(texts))]
    part = write_part(folder / "tokens", "part-00000", batches, 257, 256)
    said = sealed(manifest([part], words.fingerprint(), 257, 256))
    (folder / "tokens" / "manifest.json").write_bytes(said)
    return folder


def test_a_file_says_what_words_may_say_and_words_win(
    tmp_path: Path, shards: Callable[[str], Path]
) -> None:
    web, wiki = shards("web"), shards("wiki/tokens")
    file = tmp_path / "train.yaml"
    file.write_text(
        f"data:\n  web: {{tokens: '{web}', share: 0.5}}\n  wiki: '{wiki.parent}'\n"
        "output: model\nsteps: 10\nlearning_rate: 0.001\n"
    )
    words = ["data.web.share=.7", "data.wiki.max_epochs=4", "steps=20", "learning_rate=3e-4"]
    words += ["compiled=never", "prompt=12"]
    asked = training_of([str(file), *words, f"evaluate.held={web}", "tied=false"])
    assert asked.data == {"web": Source(str(web), 0.7), "wiki": Source(str(wiki), 0.0, 4.0)}
    assert asked.settings == TrainSettings(
        steps=20, learning_rate=3e-4, tied=False, compiled="never", prompt="12"
    )
    assert asked.output == Path("model") and asked.evaluate == {"held": web}


def test_the_resolved_settings_are_a_file_that_asks_for_the_same(
    tmp_path: Path, shards: Callable[[str], Path]
) -> None:
    tokens = shards("web")
    for data in (f"data={tokens}", f"data.web={tokens}"):
        words = [data, "output=o", "preset=llama-1b", f"evaluate={tokens}", "tokenizer=t"]
        asked = training_of(words)
        (tmp_path / "again.yaml").write_text(asked.as_yaml())
        assert training_of([str(tmp_path / "again.yaml")]) == asked
    said = yaml.safe_load(asked.as_yaml())
    assert said["hidden"] == 5632 and said["evaluate"] == {"web": str(tokens)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stepz=10"], "stepz=10: no setting 'stepz'; did you mean steps?"),
        (["steps"], "steps: no such settings"),
        (["data=TOKENS", "steps"], "steps: write it as key=value, such as steps=1000"),
        (["steps=ten"], "steps=ten: Input should be a valid integer"),
        (["steps=1e3"], "steps=1e3: Input should be a valid integer"),
        (["steps.more=3"], "steps.more=3: steps has no parts; write steps=..."),
        (["data=TOKENS", "data.web.share=1"], "data.web.share=1: data is 'TOKENS', which has no"),
        (["data.web.shar=1"], "data.web.shar=1: data.web: no setting 'shar'; did you mean share?"),
        (["data.web.share=1", "output=o"], "curate train: data.web: tokens is missing"),
        (["data.web={tokens: TOKENS, shares: 1}", "output=o"], "data.web: no setting 'shares'"),
        (["output=o"], "curate train: data is missing; write data=FOLDER"),
        (["data=TOKENS"], "curate train: output is missing; write output=FOLDER"),
        (["data=TOKEN", "output=o"], "data: no token shards in TOKEN; did you mean TOKENS?"),
        (["data=none/there", "output=o"], "no token shards in none/there; name a folder of them"),
        (["data={}", "output=o"], "curate train: data: empty; name at least one"),
        (["data=TOKENS", "evaluate.held=no", "output=o"], "evaluate.held: no token shards in no"),
        (["data=TOKENS", "output=o", "micro_batch=3"], "micro_batch: 3 does not divide 8"),
        (["data=TOKENS", "output=o", "preset=llama-30"], "no 'llama-30'; did you mean llama-30m?"),
        (["data=TOKENS", "output=o", "optimizer=sgd"], "optimizer: 'sgd'; write adamw, muon or"),
        (["steps=[3"], "steps=[3: line 1: "),
        (["data=3", "output=o"], "data: no token shards in 3"),
        (["missing.yaml"], "missing.yaml: no such settings; name a YAML file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_answered_with_its_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shards: Callable[[str], Path],
    words: list[str],
    message: str,
) -> None:
    shards("TOKENS")
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, RecipeError)) as error:
        training_of(words)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", "train.yaml: no setting 'stepz'; did you mean steps?"),
        ("learning_rate: 3e-4", "train.yaml: learning_rate: Input should be a valid number, not"),
        ("learning_rate: 3e-4", "with a point it is a number: 3.0e-4"),
        ("compiled: yes", "compiled: Input should be a valid string, not True; put it in quotes"),
        ("- steps", "train.yaml: expected `key: value` lines"),
        ("steps: 3\nsteps: 4", "train.yaml: line 2: 'steps' is given twice"),
    ],
)
def test_a_wrong_line_of_a_file_is_answered_with_its_place(
    tmp_path: Path, shards: Callable[[str], Path], text: str, message: str
) -> None:
    (tmp_path / "train.yaml").write_text(text)
    with pytest.raises(RecipeError) as error:
        training_of([str(tmp_path / "train.yaml"), f"data={shards('t')}", "output=o"])
    assert message in str(error.value)


def test_a_model_is_trained_evaluated_and_found_by_its_tokenizer(
    tmp_path: Path, run_folder: Path, shards: Callable[[str], Path]
) -> None:
    model = tmp_path / "model"
    words = ["train", f"data={run_folder}", f"output={model}", *SMALL, "steps=6"]
    words += [f"evaluate.held={run_folder}", "evaluate_every=4"]
    done = subprocess.run(
        [sys.executable, "-m", "curate", *words], capture_output=True, text=True, check=True
    )
    assert "tokens planned, 100.0 %, " in done.stderr and "training from step 1: " in done.stderr
    assert "Trained 6 steps, 96 tokens on cpu: loss " in done.stdout
    assert f"Next:  curate sample {model} --prompt 'The'" in done.stdout
    assert "held: " in done.stdout and "bits per byte" in done.stdout

    assert {path.name for path in model.iterdir()} >= {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "train.yaml",
        "metrics.jsonl",
        "evaluations.jsonl",
        "loss.svg",
        "summary.json",
    }
    assert yaml.safe_load((model / "train.yaml").read_text())["data"] == f"{run_folder}/tokens"
    scores = [json.loads(row) for row in (model / "evaluations.jsonl").read_text().splitlines()]
    assert [row["step"] for row in scores if "macro_source" in row] == [4, 6]
    last = [row for row in scores if row["step"] == 6]
    assert [row["source"] for row in last if "source" in row] == ["one.warc", "two.warc"]
    assert [row["language"] for row in last if "language" in row] == ["en", "fr", None]
    assert sum(row["documents"] for row in last if "language" in row) == 20
    assert sum(row["bytes"] for row in last if "source" in row) == 5 * sum(map(len, TEXTS))

    sampled = curate("sample", model, "--tokens", 5)
    assert sampled.exit_code == 0 and sampled.stdout.startswith("The")
    table = tmp_path / "documents.parquet"
    told = curate("evaluate", model, "--data", f"held={run_folder}", "--json", "--documents", table)
    rows = json.loads(told.stdout)
    assert [row["set"] for row in rows] == ["held"] * 6
    for mine, theirs in zip(rows, last, strict=True):
        assert mine["bits_per_byte"] == pytest.approx(
            theirs["bits_per_byte"], abs=1e-6, nan_ok=True
        )
    written = pq.read_table(table)
    assert written["set"].to_pylist() == ["held"] * 20
    assert written["targets"].to_pylist() == [len(text) for text in TEXTS * 5]
    shown = curate("evaluate", model, "--data", run_folder)
    assert "language fr" in shown.stdout and "run " in shown.stdout
    (tmp_path / "whole").mkdir()
    model.rename(tmp_path / "whole" / "model")
    whole = curate("evaluate", tmp_path / "whole", "--data", run_folder)
    assert "is a run, not a model; did you mean" in str(whole.exception)
    model = tmp_path / "whole" / "model"
    other = curate("evaluate", model, "--data", shards("other"))
    assert "not of the tokenizer of" in str(other.exception)


def test_the_same_command_again_changes_no_weight_and_other_settings_are_refused(
    tmp_path: Path, shards: Callable[[str], Path]
) -> None:
    model = tmp_path / "model"
    words = ["train", f"data={shards('web')}", f"output={model}", *SMALL]
    first = curate(*words, "steps=3")
    assert first.exit_code == 0, first.output
    assert "no tokenizer lies beside the tokens" in first.stderr
    assert "Next:  curate evaluate" in first.stdout
    assert "3 steps end within the warm-up of 30" in first.stderr
    kept = [model / name for name in ("model.safetensors", "summary.json")]
    before = [path.read_bytes() for path in kept]
    again = curate(*words, "steps=3", f"evaluate.held={tmp_path / 'web'}")
    assert "all steps were made before" in again.stdout and "held: " in again.stdout
    assert [path.read_bytes() for path in kept] == before
    assert "training from" not in again.stderr
    other = curate(*words, "steps=3", "learning_rate=1")
    assert isinstance(other.exception, CurateError) and "learning_rate" in str(other.exception)
    assert yaml.safe_load((model / "train.yaml").read_text())["learning_rate"] == 2e-3
    never = curate(*words, "steps=3", "--resume", "never")
    assert "has a checkpoint, and --resume is never" in str(never.exception)


def test_a_mixture_tells_what_is_planned_and_what_was_seen(
    tmp_path: Path, shards: Callable[[str], Path]
) -> None:
    model, words = tmp_path / "m", [f"data.{one}={shards(one)}" for one in ("web", "wiki")]
    words += ["data.web.share=3", "data.wiki.share=1", f"output={model}", *SMALL, "steps=8"]
    done = curate("train", *words)
    assert done.exit_code == 0, done.output
    assert "  web: 96 tokens planned, 75.0 %, " in done.stderr
    assert "  wiki: 32 tokens planned, 25.0 %, " in done.stderr
    summary = json.loads((model / "summary.json").read_text())
    assert summary["epochs"]["web"] == pytest.approx(3 * summary["epochs"]["wiki"])
    assert f"  web: {summary['epochs']['web']:.2f} epochs\n" in done.stdout


def test_tokens_of_other_tokenizers_are_refused(
    tmp_path: Path, run_folder: Path, shards: Callable[[str], Path]
) -> None:
    other = shards("web")
    words = ["train", f"data={other}", f"output={tmp_path / 'm'}", *SMALL, "steps=1"]
    asked = curate(*words, f"evaluate.held={run_folder}")
    assert "evaluate.held: the tokens in" in str(asked.exception)
    named = curate(*words, f"tokenizer={run_folder / 'tokenizer'}")
    assert "not the tokenizer of" in str(named.exception)
    assert not (tmp_path / "m").exists()
    assert curate(*words).exit_code == 0
    elsewhere = curate("evaluate", tmp_path / "m", "--data", run_folder, "--device", "tpu")
    assert "--device tpu: write auto, cpu or cuda" in str(elsewhere.exception)
    judged = curate("evaluate", tmp_path / "m", "--data", run_folder)
    assert "--data run: the tokens in" in str(judged.exception)


def test_a_folder_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, shards: Callable[[str], Path]
) -> None:
    data, mine = shards("data"), tmp_path / "mine"
    mine.mkdir()
    (mine / ".notes.1.tmp").write_text("mine")
    (mine / "config.json").write_text("mine")
    for output in (mine, data):
        result = curate("train", f"data={data}", f"output={output}", *SMALL, "steps=2")
        assert isinstance(result.exception, InputError)
        assert "and no training of ours" in str(result.exception)
    assert {path.name: path.read_text() for path in mine.iterdir()} == {
        ".notes.1.tmp": "mine",
        "config.json": "mine",
    }


def test_a_run_whose_folder_another_one_owns_does_not_train_in_it(tmp_path: Path) -> None:
    with owned(tmp_path / "work"), pytest.raises(BusyError):
        training.train(tmp_path, TrainSettings(), Watcher(console(stderr=True)))


def test_a_run_tells_which_steps_of_its_training_changed_no_weight(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = dict(layers=1, width=16, heads=2, context=8, batch=2, device="cpu", warmup=0)
    settings = TrainSettings(**small, learning_rate=1e30, clip=1e30, skip_bad=3)
    with pytest.raises(CurateError, match="is the last of 3 in a row"):
        training.train(run_folder, settings, Watcher(console(stderr=True)))
    told = re.findall(r"step \d+: no weight changed: .* is no number", capsys.readouterr().err)
    assert len(told) == 3


def test_a_command_that_cannot_be_tells_it_in_one_line(tmp_path: Path) -> None:
    words = ["train", "data=nowhere", f"output={tmp_path / 'm'}", "stepz=3"]
    done = subprocess.run([sys.executable, "-m", "curate", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "curate: stepz=3: no setting 'stepz'; did you mean steps?\n"


def test_two_sets_of_one_name_are_refused(tmp_path: Path, shards: Callable[[str], Path]) -> None:
    tokens = shards("web")
    asked = curate("evaluate", tmp_path, "--data", tokens, "--data", tokens)
    assert "web is there already; write another NAME=..." in str(asked.exception)


def test_the_presets_of_the_page_are_those_that_there_are() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    rows = re.findall(
        r"\| `([\w-]+)` \| (\w+) \| (.+) \| (.+) \| (\d+)(?: \((\d+)\))? \| (.+) \| (.+) \| "
        r"(.+) with (.+) ids \|",
        page,
    )
    assert [row[0] for row in rows] == list(PRESETS)
    for name, family, *sizes, weights, ids in rows:
        numbers = [int(size.replace(",", "") or 0) for size in sizes]
        shape = Shape.of(TrainSettings(preset=name), int(ids.replace(",", "")))
        kv_heads = 0 if shape.kv_heads == shape.heads else shape.kv_heads
        assert [shape.layers, shape.width, shape.heads, kv_heads] == numbers[:4], name
        assert (shape.family, shape.hidden, shape.context) == (family, *numbers[4:]), name
        with torch.device("meta"):
            count = LanguageModel(shape).parameter_count
        assert f"{count / 1e6:,.1f}" == weights, name


def test_the_settings_of_the_page_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: Callable[[str], Path]
) -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    (text,) = re.findall(r"\n\n(    data:\n(?:    .+\n)+)", page)
    (tmp_path / "train.yaml").write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    for name in ("crawl/tokens", "wiki", "held-out"):
        shards(name)
    asked = training_of(["train.yaml"])
    assert asked.data == {"web": Source("crawl/tokens", 0.7), "wiki": Source("wiki", 0.3, 4.0)}
    assert asked.settings.micro_batch == 32 and asked.settings.learning_rate == 6e-4


def test_a_setting_is_named_as_it_was_written_and_not_as_in_a_recipe(shards, tmp_path):
    words = [f"data={shards('few')}", f"output={tmp_path / 'out'}", *SMALL, "context=100000"]
    error = curate("train", *words).exception
    assert isinstance(error, CurateError)
    assert "or lower context" in str(error)
