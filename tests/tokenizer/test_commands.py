import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.errors import CurateError
from tests.tokenizer.test_vocabulary import trained
from tokenizer.commands import app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    trained().save(folder / "tok")
    trained(r"(?<=\s)[a-z]+|\s|[<>|]").save(folder / "slow")
    for name in ("gpt2_merges.txt", "other.txt"):
        (folder / name).write_text("#version: 0.2\nt h\n")
    (folder / "gpt2_vocab.json").write_text("{}")
    (folder / "sp.model").write_bytes(b"\n\x0e\n\x05<unk>\x15")
    (folder / "page.txt").write_bytes(b"the cat\xff<|endoftext|>\n")
    return folder


def curate(folder, *words, stdin=b""):
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, list(words), input=stdin)
    told = str(done.exception) if isinstance(done.exception, CurateError) else done.stderr
    return done.exit_code, done.stdout_bytes, told


def test_text_is_encoded_from_an_argument_a_file_or_standard_input_and_back(folder):
    content = (folder / "page.txt").read_bytes()
    code, ids, _ = curate(folder, "encode", "tok", "--file", "page.txt", "--ids")
    assert code == 0
    assert curate(folder, "encode", "tok", "--ids", stdin=content)[1] == ids
    assert curate(folder, "decode", "tok", stdin=ids)[1] == content
    assert curate(folder, "decode", "tok", *ids.decode().split())[1] == content
    code, table, _ = curate(folder, "encode", "tok", "the é")
    assert b"the" in table
    assert curate(folder, "encode", "tok", "a", "--ids")[1].split() == [b"64"]


def test_special_tokens_are_found_if_asked_for(folder):
    text = "a<|endoftext|>"
    plain = curate(folder, "encode", "tok", text, "--ids")[1].split()
    named = curate(folder, "encode", "tok", text, "--ids", "--special", "<|endoftext|>")[1].split()
    every = curate(folder, "encode", "tok", text, "--ids", "--special", "all")[1].split()
    assert len(plain) > 2
    both = ["--special", "all", "--special", "<|endoftext|>"]
    assert named == every == [b"64", b"299"]
    assert curate(folder, "encode", "tok", text, "--ids", *both)[1].split() == every


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "tok", "a", "--special", "<|end|>"], "did you mean <|endoftext|>?"),
        (["encode", "tok", "a", "--file", "page.txt"], "leave one out"),
        (["encode", "tok", "--file", "none.txt"], "none.txt: No such file"),
        (["encode", "none", "a"], "none: no such tokenizer"),
        (["encode", "gpt2_merges.txt", "a"], "name the vocab.json beside it: gpt2_vocab.json"),
        (["encode", "other.txt", "a"], "name the vocab.json that belongs beside it"),
        (["encode", "sp.model", "a"], "a SentencePiece model is not supported; only byte-level"),
        (["decode", "tok", "x"], "tokens are whole numbers"),
        (["decode", "tok", "300"], "token 300 is not in 0 to 299"),
        (["decode", "tok", "99999999999"], "tokens are whole numbers"),
        (
            ["export", "tok", "--format", "x", "--output", "x"],
            "there are: tokenizer.json, tiktoken",
        ),
        (["export", "slow", "--format", "gpt2", "--output", "x"], "in GPT-2's files"),
    ],
)
def test_a_mistake_is_told_in_one_line(words, message, folder):
    code, _, told = curate(folder, *words)
    assert code == 1
    assert message in told
    assert "\n" not in told


def test_a_mistake_ends_the_command_without_a_traceback(folder):
    command = [sys.executable, "-m", "curate", "tokenizer", "decode", "tok", "x"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1


def test_a_slow_pattern_is_told_once_and_works(folder):
    code, out, told = curate(folder, "encode", "slow", "a bb", "--ids")
    assert code == 0
    assert told.count("150 times slower, by the regex package") == 1
    assert curate(folder, "decode", "slow", stdin=out)[1] == b"a bb"


def test_a_tokenizer_is_exported_into_every_format(folder):
    for format_, name in (("tokenizer.json", "tokenizer.json"), ("gpt2", "merges.txt")):
        code, out, _ = curate(folder, "export", "tok", "--format", format_, "--output", format_)
        assert (code, name in out.decode()) == (0, True)
        assert curate(folder, "encode", format_, "a<|endoftext|>", "--special", "all", "--ids")[
            1
        ].split() == [b"64", b"299"]
