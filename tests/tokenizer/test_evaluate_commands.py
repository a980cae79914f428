"""The commands that judge: what they print, what they write, and how they end."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from rich.console import Console
from typer.testing import CliRunner

from curate import cli
from tests.tokenizer.test_criterion import texts_of, trained
from tokenizer.evaluated import FORMAT
from tokenizer.evaluation_tables import BESIDE, criterion_table, evaluation_tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Text in two languages, and three tokenizers."""
    folder = tmp_path_factory.mktemp("judge")
    rows = [{"text": t, "language": name} for name in ("en", "de") for t in texts_of(name)]
    pa.parquet.write_table(pa.Table.from_pylist(rows), folder / "text.parquet")
    lines = [f"{row['language']}\t{row['text']}\n" for row in rows]
    (folder / "text.tsv").write_text("".join(lines))
    trained(texts_of("en"), 400).save(folder / "english")
    trained(texts_of("en") + texts_of("de"), 400).save(folder / "both")
    trained(texts_of("de"), 280).save(folder / "ge[bold]rman")
    return folder


def run(*command):
    return CliRunner().invoke(cli.app, ["tokenizer", *map(str, command)])


def evaluated(folder, *more):
    names = [folder / name for name in ("english", "both", "ge[bold]rman")]
    return run("evaluate", *names, "--input", folder / "text.parquet", *more)


def test_tables_show_tokenizers_side_by_side(folder):
    done = evaluated(folder)
    assert done.exit_code == 0, done.output
    assert "120 documents, 2 languages" in done.stdout
    for name in (
        "english",
        "both",
        "ge[bold]rm…",
        "tokens per word",
        "bytes per token",
        "never used",
    ):
        assert name in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("en", "de")] == ["de", "en"]


def test_one_language_is_not_told_as_many(folder):
    (folder / "text.txt").write_text("the river\n")
    done = run("evaluate", folder / "english", "--input", folder / "text.txt")
    assert "1 document, 1 language, 10 bytes" in done.stdout, done.output


def test_json_is_the_same_whatever_the_files_and_is_what_is_written(folder, tmp_path):
    printed = json.loads(evaluated(folder, "--json", "--output", tmp_path / "a").stdout)
    assert printed["format"] == FORMAT
    assert [one["name"] for one in printed["tokenizers"]] == ["english", "both", "ge[bold]rman"]
    assert json.loads((tmp_path / "a" / "evaluation.json").read_text()) == printed
    names = [folder / name for name in ("english", "both", "ge[bold]rman")]
    again = run("evaluate", *names, "--input", folder / "text.tsv", "--json")
    assert json.loads(again.stdout) == printed


def test_the_page_is_written_and_its_path_told(folder, tmp_path):
    done = evaluated(folder, "--output", tmp_path / "a")
    assert str(tmp_path / "a" / "evaluation.html") in done.stdout
    page = (tmp_path / "a" / "evaluation.html").read_text()
    assert "ge[bold]rman" in page
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "evaluation.html",
        "evaluation.json",
    ]


def test_one_tokenizer_gets_a_table_of_all_that_fits(folder):
    done = run("evaluate", folder / "both", "--input", folder / "text.parquet", "--pivot", "de")
    assert "documents" in done.stdout
    assert "premium" in done.stdout
    assert next(line for line in done.stdout.splitlines() if line.startswith("de")).endswith("1.00")


def test_the_criterion_is_met_with_exit_code_0_and_not_met_with_1(folder, tmp_path):
    settings = ("--input", folder / "text.parquet", "--vocab-size", 300)
    met = run("criterion", folder / "both", *settings, "--output", tmp_path)
    assert met.exit_code == 0, met.output
    assert "both: met in all of 2 languages" in met.stdout
    assert "BLOOM&#39;s criterion" in (tmp_path / "evaluation.html").read_text()
    missed = run("criterion", folder / "both", folder / "english", *settings)
    assert missed.exit_code == 1
    assert "english: not met in 1 of 2 languages: de +" in missed.stdout
    said = json.loads(run("criterion", folder / "english", *settings, "--json").stdout)
    assert said["criterion"]["passes"] == {"english": False}
    assert run("criterion", folder / "english", *settings, "--most", 9).exit_code == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("evaluate", "nowhere", "--input", "text.tsv"), "nowhere: no such tokenizer"),
        (("evaluate", "both", "--input", "none*"), "none*: matches no file"),
        (
            ("evaluate", "both", "--input", "text.tsv", "--pivot", "fr"),
            "no texts in 'fr', the pivot; there are: de, en",
        ),
        (
            ("evaluate", "both", "--input", "text.parquet", "--language-column", "lang"),
            "no column 'lang' of strings",
        ),
        (
            (
                "criterion",
                "both",
                "--input",
                "text.tsv",
                "--language-column",
                "a",
                "--language-from-file",
            ),
            "write one of them",
        ),
        (("criterion", "both", "--input", "text.tsv", "--pattern", "gpt3"), "did you mean gpt2?"),
        (
            ("evaluate", "both", "--input", "text.tsv", "--output", "text.tsv"),
            "a file; name a folder",
        ),
    ],
)
def test_what_cannot_be_judged_is_told_in_a_line(folder, monkeypatch, capsys, command, message):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["curate", "tokenizer", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def many(tokenizers: int, languages: int) -> dict:
    """An evaluation of so many tokenizers in so many languages, as large as numbers get."""
    names = [f"tokenizer-with-a-long-name-{i}" for i in range(tokenizers)]
    codes = [f"language-{i:03}" for i in range(languages)]
    measures = {
        **dict.fromkeys(("tokens", "used_tokens", "unused_tokens", "rare_tokens"), 123_456_789),
        **dict.fromkeys(
            ("bytes_per_token", "characters_per_token", "tokens_per_character"), 12.345
        ),
        **dict.fromkeys(("fertility", "word_fertility", "premium"), 23.456),
        **{"kept_whole": 0.9, "renyi_efficiency": 0.5, "changed_documents": 1_234_567},
    }
    return {
        "settings": {"alpha": 2.5, "rare_below": 10, "pivot": codes[0]},
        "documents": {"judged": 1, "without_text": 2, "not_utf8": 3},
        "languages": [
            {"language": code, "documents": 10**6, "bytes": 10**9, "characters": 10**9}
            | {"words": 10**8, "spaceless": i % 2 == 1}
            for i, code in enumerate(codes)
        ],
        "tokenizers": [
            {"name": name, "vocab_size": 262_144, "unreachable_tokens": 1_000, "gini": 0.4}
            | {"all": measures, "languages": dict.fromkeys(codes, measures)}
            for name in names
        ],
        "criterion": {
            "most": 0.1,
            "vocab_size": 32_000,
            "languages": [
                {"language": code, "bytes": 10**9, "vocab_size": 32_000, "short": True}
                | {"degradation": dict.fromkeys(names, 12.345)}
                for code in codes
            ],
            "passes": dict.fromkeys(names, False),
        },
    }


@pytest.mark.parametrize("tables", [evaluation_tables, criterion_table])
@pytest.mark.parametrize("tokenizers", [1, 5, 7])
def test_tables_fit_80_columns_with_every_number_whole(tables, tokenizers):
    console = Console(width=80, file=io.StringIO())
    for table in tables(many(tokenizers, 60)):
        console.print(table)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    lines = [line for line in lines if "%," not in line]  # less the verdicts, which are folded
    rows = [line.split() for line in lines if line.startswith("language-0")]
    assert len(rows) == 60 * -(-tokenizers // BESIDE)
    assert not any("…" in cell for row in rows for cell in row[1:])
    summed = [line for line in lines if line.startswith("never used")]
    assert not any("…" in line for line in summed)


def test_slow_patterns_are_told_once_for_each_tokenizer(folder, tmp_path):
    slow = r"(?<=\s)[a-z]+|[\s\S]"
    trained(texts_of("en"), 280, pattern=slow).save(tmp_path / "slow")
    told = "150 times slower, by the regex package"
    text = folder / "text.parquet"
    done = run("evaluate", tmp_path / "slow", folder / "both", "--input", text)
    assert (done.stderr.count(f"slow: text is split {told}"), done.stderr.count(told)) == (1, 1)
    more = ["--input", text, "--vocab-size", 280]
    done = run("criterion", tmp_path / "slow", *more)
    assert done.stderr.count(told) == 1
    done = run("criterion", folder / "both", "--pattern", slow, *more)
    assert done.stderr.count(f"--pattern: text is split {told}") == 1
