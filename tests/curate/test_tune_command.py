"""`curate tune` and `curate sample`: from a model and instructions to answers."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import transformers
from safetensors.numpy import load_file
from typer.testing import CliRunner, Result

from curate.cli import app
from curate.errors import CurateError, InputError, ModelError
from curate.progress import printable
from tests.trainer.conftest import write
from tests.trainer.cuts import CutError, silent
from tokenizer.encode import Encoder
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary
from trainer.instructions import prompt_of
from trainer.log import TrainProgress
from trainer.model import torch
from trainer.sample import Sampling, Writer
from trainer.settings import TrainSettings
from trainer.train import train
from trainer.tune import TuneSettings, Tuning

PAIRS = {"red": "apple", "yellow": "banana", "green": "leaf", "blue": "sky", "white": "snow"}
PAIRS |= {"black": "coal", "grey": "stone", "pink": "rose"}
WORDS = ["epochs=2", "batch=4", "device=cpu", "sample_tokens=4"]


def curate(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of bytes that was trained on words in any order."""
    folder = tmp_path_factory.mktemp("pretrained")
    vocabulary = Vocabulary(
        tokens=tuple(BYTES),
        merges=np.empty((0, 3), np.int32),
        pattern="gpt2",
        special_tokens={"<|endoftext|>": 256},
    )
    random, words = np.random.default_rng(0), [*PAIRS, *PAIRS.values()]
    texts = [" ".join(random.permutation(words)[:6]) for _ in range(200)]
    tokens, ends = Encoder(vocabulary).encode(pa.array(texts))
    documents = [tokens[begin:end].tolist() for begin, end in pairwise(ends)]
    (folder / "tokens").mkdir()
    settings = TrainSettings(
        steps=80,
        context=64,
        batch=8,
        layers=2,
        width=64,
        heads=2,
        learning_rate=5e-3,
        device="cpu",
    )
    train(write(folder / "tokens", [documents], 257, 256), folder / "model", settings, silent)
    vocabulary.save(folder / "model")
    return folder / "model"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What follows a colour, eight times."""
    path = tmp_path / "data.jsonl"
    records = [{"prompt": f"{one}?", "completion": f" {PAIRS[one]}"} for one in PAIRS]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def answers(folder: Path) -> dict[str, str]:
    writer = Writer.of(folder, "cpu")
    how = Sampling(tokens=20, temperature=0)
    return {colour: writer.written(f"{colour}?", how)[0].strip() for colour in PAIRS}


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_tuned_model_answers_what_it_learned_by_heart(
    model: Path, data: Path, tmp_path: Path
) -> None:
    assert sum(answers(model)[colour] == PAIRS[colour] for colour in PAIRS) <= 2
    output = tmp_path / "tuned"
    words = ["epochs=110", "held_out=0", "learning_rate=2e-2", "targets=q,k,v,o", "device=cpu"]
    done = curate("tune", model, data, "--output", output, *words)
    assert done.exit_code == 0, done.output
    assert "8 records: 8 to train on, 0 held out" in done.output
    assert "adapters of rank 8 on q_proj, k_proj, v_proj, o_proj, 110 steps of 8" in done.output
    assert answers(output) == PAIRS
    assert "red?\n--- answered:\n apple\n--- in the data:\n apple" in (
        (output / "sample.txt").read_text()
    )
    # The folder opens in transformers, with its tokenizer, and says the same.
    theirs = transformers.AutoModelForCausalLM.from_pretrained(output)
    encoded = transformers.AutoTokenizer.from_pretrained(output)("pink?", return_tensors="pt")
    written = theirs.generate(**encoded, max_new_tokens=20, do_sample=False, pad_token_id=0)
    encoder = Writer.of(output, "cpu").encoder
    assert encoder.decode(written[0].tolist()) == b"pink? rose<|endoftext|>"


@pytest.mark.parametrize(
    ("step", "full"), [(1, False), (3, False), (4, True)], ids=["1", "3", "4, full"]
)
def test_a_tuning_cut_off_anywhere_ends_with_the_same_bytes(
    model: Path, data: Path, tmp_path: Path, step: int, full: bool
) -> None:
    settings = TuneSettings(
        epochs=2,
        batch=3,
        held_out=0.2,
        full=full,
        device="cpu",
        checkpoint_every=2,
        sample_tokens=4,
    )

    def cut(report: TrainProgress) -> None:
        if report.step == step:
            raise CutError

    whole = tmp_path / "whole"
    first = Tuning(model, data, whole, settings)
    assert first.loop.steps == 4  # 6 records twice, 3 at once
    said = first.run(silent, silent)
    with pytest.raises(CutError):
        Tuning(model, data, tmp_path / "cut", settings).run(cut, silent)
    assert Tuning(model, data, tmp_path / "cut", settings).run(silent, silent) == said
    one, other = (contents(folder) for folder in (whole, tmp_path / "cut"))
    assert one.pop("metrics.jsonl").count(b"\n") == other.pop("metrics.jsonl").count(b"\n") == 4
    assert one == other


def test_the_first_loss_is_that_of_the_answers_alone(
    model: Path, data: Path, tmp_path: Path
) -> None:
    settings = TuneSettings(epochs=1, held_out=0.0, device="cpu", sample_tokens=4)
    said = Tuning(model, data, tmp_path / "tuned", settings).run(silent, silent)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model)
    writer, nats, targets = Writer.of(model, "cpu"), 0.0, 0
    for colour, thing in PAIRS.items():
        asked = writer.tokens(f"{colour}?")
        tokens = torch.tensor([*asked, *writer.tokens(f" {thing}"), 256])
        with torch.no_grad():
            shares = theirs(tokens[None]).logits[0].log_softmax(-1)
        nats -= sum(shares[i - 1, tokens[i]].item() for i in range(len(asked), len(tokens)))
        targets += len(tokens) - len(asked)
    assert said is not None
    assert said["first_loss"] == pytest.approx(nats / targets, rel=1e-5)


def test_all_weights_or_adapters_alone_are_trained(model: Path, data: Path, tmp_path: Path) -> None:
    before = Writer.of(model, "cpu").model.state_dict()
    changed = {}
    for full in (["--full"], []):
        output = tmp_path / f"tuned{len(full)}"
        done = curate("tune", model, data, "--output", output, *full, *WORDS)
        assert done.exit_code == 0, done.output
        state = Writer.of(output, "cpu").model.state_dict()
        changed[len(full)] = {n for n in before if not torch.equal(state[n], before[n])}
        assert (output / "adapter").exists() == (not full)
        # A checkpoint holds no weight that cannot have changed.
        (checkpoint,) = output.glob("checkpoint-*")
        kept = {name for name in load_file(checkpoint) if name.startswith("model.")}
        assert len(kept) == (8 if not full else len(before))
    assert changed[1] == before.keys()
    assert changed[0] == {
        f"model.layers.{layer}.self_attn.{one}_proj.weight" for layer in (0, 1) for one in "qv"
    }


def test_held_out_answers_are_tested_before_and_after(
    model: Path, data: Path, tmp_path: Path
) -> None:
    done = curate("tune", model, data, "--output", tmp_path / "o", "held_out=.25", *WORDS)
    assert done.exit_code == 0, done.output
    assert "8 records: 6 to train on, 2 held out" in done.output
    said = json.loads((tmp_path / "o" / "tune.json").read_text())
    assert (said["records"], said["trained"], said["held_out"]) == (8, 6, 2)
    assert said["held_out_loss"] < said["held_out_loss_before"]
    told = f"loss {said['held_out_loss_before']:.4f} -> {said['held_out_loss']:.4f}"
    assert f"2 held-out answers: {told}" in done.output


def test_records_that_are_left_out_are_told_and_the_others_learned(
    model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    plain = {"prompt": "red?", "completion": " apple"}
    records = [plain, {"instruction": "Sing.", "output": ""}, plain | {"prompt": "a" * 65}]
    records.append(plain | {"completion": "b" * 99})
    data.write_text("".join(json.dumps(record) + "\n" for record in records) + "{\n")
    done = curate("tune", model, data, "--output", tmp_path / "o", "held_out=0", *WORDS)
    assert done.exit_code == 0, done.output
    assert "5 records: 2 to train on" in done.output
    for line in (
        "dropped, no output: 1 (line 2)",
        "dropped, not JSON: 1 (line 5)",
        "dropped, prompt longer than the context: 1 (line 3)",
        "answer cut to the context: 1 (line 4)",
    ):
        assert line in done.output
    said = json.loads((tmp_path / "o" / "tune.json").read_text())
    assert said["cut"] == [4]
    assert said["records"] == said["trained"] + sum(map(len, said["dropped"].values()))


def test_a_checkpoint_of_another_tuning_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    settings = TuneSettings(epochs=1, device="cpu", held_out=0.0, sample_tokens=4)
    said = Tuning(model, data, tmp_path / "o", settings).run(silent, silent)
    # Of the same there is nothing to do, and nothing changes.
    before = contents(tmp_path / "o")
    assert Tuning(model, data, tmp_path / "o", settings).run(silent, silent) == said
    assert contents(tmp_path / "o") == before
    for other in (replace(settings, rank=4), replace(settings, full=True)):
        with pytest.raises(ModelError, match="of other instructions or their model"):
            Tuning(model, data, tmp_path / "o", other).run(silent, silent)
    with pytest.raises(ModelError, match=r"its train.learning_rate was 0.0002, now it is 0.1"):
        Tuning(model, data, tmp_path / "o", replace(settings, learning_rate=0.1)).run(
            silent, silent
        )
    changed = tmp_path / "model"
    shutil.copytree(model, changed)
    shutil.copy(tmp_path / "o" / "model.safetensors", changed)
    with pytest.raises(ModelError, match="of other instructions or their model"):
        Tuning(changed, data, tmp_path / "o", settings).run(silent, silent)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["epoch=3"], "no setting 'epoch'; did you mean epochs?"),
        (["epochs"], "epochs: write it as key=value"),
        (["epochs=0"], "epochs: 0; it must be at least 1"),
        (["epochs=1.5"], "curate tune: epochs: "),
        (["held_out=1"], "held_out: 1.0; it must be at least 0 and below 1"),
        (["targets=mlp"], "targets: 'mlp'; write some of q,k,v,o"),
        (["context=65"], "context: 65; the model sees 64 tokens"),
        (["device=tpu"], "device: 'tpu'; write auto, cpu or cuda"),
        (["learning_rate=fast"], "learning_rate"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_word_is_told(
    model: Path, data: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    done = curate("tune", model, data, "--output", tmp_path / "o", *words)
    assert isinstance(done.exception, CurateError), done.output
    assert told in str(done.exception)
    assert not (tmp_path / "o").exists()


def test_wrong_folders_and_files_are_told(model: Path, data: Path, tmp_path: Path) -> None:
    def told(*words: object) -> str:
        done = curate("tune", *words)
        assert isinstance(done.exception, InputError | ModelError), done.output
        return str(done.exception)

    assert "is the model that is tuned" in told(model, data, "--output", model)
    assert "is a run, not a model" in told(model.parent, data, "--output", tmp_path / "o")
    assert "config.json: missing" in told(tmp_path, data, "--output", tmp_path / "o")
    assert "No such file" in told(model, tmp_path / "no", "--output", tmp_path / "o")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("mine")
    assert "and no training of ours" in told(model, data, "--output", tmp_path / "mine")
    assert (tmp_path / "mine" / "config.json").read_text() == "mine"
    (tmp_path / "empty").write_text("")
    assert "the file is empty" in told(model, tmp_path / "empty", "--output", tmp_path / "o")
    assert "held_out: 0.99; of 8 none is left" in told(
        model, data, "--output", tmp_path / "o", "held_out=.99"
    )
    (tmp_path / "bad").write_text("a\nb\n")
    assert "no record to train on: dropped, not JSON: 2 (lines 1, 2)" in told(
        model, tmp_path / "bad", "--output", tmp_path / "o"
    )


def test_sample_writes_one_text_or_several_or_an_answer(model: Path) -> None:
    words = ["--tokens", 12, "--device", "cpu", "--top-k", 0, "--top-p", 0.9]
    several = curate("sample", model, "--prompt", "red", "--count", 3, *words).output
    parts = several.split("--- ")
    assert [part.partition("\n")[0] for part in parts[1:]] == ["1 of 3", "2 of 3", "3 of 3"]
    second = curate("sample", model, "--prompt", "red", "--seed", 1, *words).output
    assert parts[2].partition("\n")[2] == second
    assert second.startswith("red")
    # The answer alone is shown, not what is asked; a prompt longer than the context is cut.
    done = curate("sample", model, "--instruction", "red", "--input", "blue", *words)
    writer, asked = Writer.of(model, "cpu"), prompt_of("red", "blue")
    (answer,) = writer.written(asked, Sampling(tokens=12, top_k=0, top_p=0.9))
    assert done.stdout.rstrip("\n") == printable(answer).rstrip("\n")
    assert f"its first {len(asked.encode()) - 64} tokens are not seen" in done.stderr


@pytest.mark.parametrize(
    "words", [["--input", "a"], ["--instruction", "a", "--prompt", "b"]], ids=["input", "both"]
)
def test_a_prompt_and_an_instruction_exclude_each_other(model: Path, words: list[str]) -> None:
    done = curate("sample", model, *words)
    assert isinstance(done.exception, InputError)
    assert "write --prompt, or --instruction" in str(done.exception)
