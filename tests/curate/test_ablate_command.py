"""`curate ablate`: from paths to an answer and its page, and every wrong word."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from curate.ablate_command import _tokens
from curate.cli import app
from curate.errors import CurateError, InputError, ShardError
from tests.trainer.conftest import write
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary

SMALL = ("layers=1", "width=16", "heads=2", "context=8", "batch=2", "device=cpu")
QUICK = [
    *("--seeds", "1", "--tokens", "64", "--no-controls"),
    *(word for one in SMALL for word in ("--set", one)),
]


def curate(*words: object) -> Result:
    return CliRunner().invoke(app, ["ablate", *map(str, words)])


def shards(folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    documents = [random.integers(1, 50, random.integers(5, 40)).tolist() for _ in range(30)]
    return write(folder, [documents], 50, 0)


def jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture
def arms(tmp_path: Path) -> list[Path]:
    """A as the output of a run, B and a domain as shards."""
    shards(tmp_path / "first" / "tokens", 0)
    return [tmp_path / "first", shards(tmp_path / "second", 1), shards(tmp_path / "held", 2)]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A tokenizer of bytes."""
    folder = tmp_path / "words"
    special = {"<|endoftext|>": 256}
    Vocabulary(BYTES, np.empty((0, 3), np.int32), "gpt2", special).save(folder)
    return folder


def test_an_answer_a_page_and_json_come_of_it(arms: list[Path], tmp_path: Path) -> None:
    first, second, held = arms
    output = tmp_path / "out"
    done = curate(first, second, "--eval", f"news={held}", "--output", output, *QUICK)
    assert done.exit_code == 0, done.output
    said = json.loads((output / "ablation.json").read_text())
    assert [arm["name"] for arm in said["arms"]] == ["first", "second"]
    assert [one["name"] for one in said["held_out"]] == ["news"]
    assert (said["tokens"], said["settings"]["steps"]) == (64, 4)
    assert "not decided: one seed" in done.stdout
    assert "<h1>Not decided</h1>" in (output / "ablation.html").read_text()
    page = (output / "ablation.html").read_bytes()
    again = curate(first, second, "--eval", f"news={held}", "--output", output, "--json", *QUICK)
    assert json.loads(again.stdout) == said
    assert (output / "ablation.html").read_bytes() == page


def test_documents_are_encoded_with_the_tokenizer_that_is_named(
    arms: list[Path], words: Path, tmp_path: Path
) -> None:
    texts = [f"text number {i} of a kind" for i in range(20)]
    files = [jsonl(tmp_path / f"{name}.jsonl", texts) for name in ("a", "b", "held")]
    how = ("--output", tmp_path / "out", "--tokenizer", words, *QUICK)
    done = curate(*files[:2], "--eval", files[2], *how)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [one["name"] for one in said["held_out"]] == ["held"]
    assert said["arms"][0]["bytes"] == sum(map(len, texts))
    assert any("20 of 20 documents of held are in A too" in one for one in said["warnings"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (["--set", "stepz=3"], InputError, "a setting that `curate filters train` lists"),
        (["--set", "steps=3"], InputError, "--set steps=3: write --tokens"),
        (["--set", "heads=3"], CurateError, "3 heads need an even share"),
        (["--tokens", "many"], InputError, "--tokens many"),
        (["--preset", "proxy-30"], CurateError, "proxy-30m"),
        (["--eval", "news=nowhere"], InputError, "nowhere"),
        (["--eval", "=x"], InputError, "write it as NAME=PATH"),
    ],
)
def test_wrong_words_are_told(
    arms: list[Path], tmp_path: Path, change: list[str], error: type, message: str
) -> None:
    first, second, held = arms
    done = curate(first, second, "--eval", held, "--output", tmp_path / "out", *QUICK, *change)
    assert isinstance(done.exception, error)
    assert message in str(done.exception)


@pytest.mark.parametrize("place", ["second", "held", "first", "first/tokens", "second/new"])
def test_what_is_read_is_not_written_into(arms: list[Path], tmp_path: Path, place: str) -> None:
    """A lock beside shards would make them shards that are refused."""
    first, second, held = arms
    before = sorted(tmp_path.rglob("*"))
    done = curate(first, second, "--eval", held, "--output", tmp_path / place, *QUICK)
    assert isinstance(done.exception, InputError)
    assert "choose another --output" in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def test_documents_without_text_are_not_judged(
    arms: list[Path], words: Path, tmp_path: Path
) -> None:
    held = jsonl(tmp_path / "held.jsonl", ["", "a text", "", "another"])
    blank = jsonl(tmp_path / "blank.jsonl", ["", ""])
    files = [jsonl(tmp_path / f"{name}.jsonl", ["some text", "and more"]) for name in "ab"]
    how = ("--tokenizer", words, "--output", tmp_path / "out", *QUICK, "--seeds", "2", "--json")
    done = curate(*files, "--eval", held, *how)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["held_out"][0]["documents"], said["held_out"][0]["bytes"]) == (2, 13)
    refused = curate(*files, "--eval", blank, *how)
    assert isinstance(refused.exception, ShardError)
    assert "no document has text" in str(refused.exception)


def test_a_against_the_same_shards_is_told_and_drawn(arms: list[Path], tmp_path: Path) -> None:
    first, _, held = arms
    how = ("--output", tmp_path / "out", *QUICK, "--seeds", "2", "--margin", "0", "--json")
    done = curate(first, first, "--eval", held, *how)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert any("A and B are the same tokens" in one for one in said["warnings"])
    assert said["answer"] in ("tie", "undecided")


def test_a_domain_is_named_once(arms: list[Path], tmp_path: Path) -> None:
    first, second, held = arms
    done = curate(first, second, "--eval", held, "--eval", held, "--output", tmp_path / "out")
    assert "held is there twice" in str(done.exception)


def test_documents_without_a_tokenizer_are_refused(arms: list[Path], tmp_path: Path) -> None:
    held = jsonl(tmp_path / "held.jsonl", ["a"])
    done = curate(*arms[:2], "--eval", held, "--output", tmp_path / "out", *QUICK)
    assert isinstance(done.exception, InputError)
    assert "name a tokenizer with --tokenizer" in str(done.exception)


def test_tokens_of_another_tokenizer_without_text_are_refused(
    arms: list[Path], words: Path, tmp_path: Path
) -> None:
    how = ("--output", tmp_path / "out", "--tokenizer", words, *QUICK)
    done = curate(arms[1], arms[1], "--eval", arms[2], *how)
    assert isinstance(done.exception, InputError)
    assert "their text is not there" in str(done.exception)


@pytest.mark.parametrize(
    ("given", "tokens"), [("64", 64), ("500K", 500_000), ("2m", 2_000_000), ("1B", 1_000_000_000)]
)
def test_units_of_tokens_are_powers_of_ten(given, tokens):
    assert _tokens(given, "--tokens") == tokens


@pytest.mark.parametrize("given", ["0", "", "M", "1.5M", "-3", "two"])
def test_tokens_that_are_no_number_are_refused(given):
    with pytest.raises(InputError, match="such as 500K, 2M or 1B"):
        _tokens(given, "--tokens")
