"""A recipe's tokenizer: trained with every setting or loaded, the same shards however it is run."""

import json
import os
import signal
import subprocess
import sys
import time
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from curate.errors import ModelError, RecipeError
from curate.plan import columns_behind
from curate.recipe import parse
from curate.run import Job, Outcome, run
from curate.tokenizing import loaded
from curate.unit import Worker
from tests.chaos.harness import digest
from tests.chaos.zygote import Quiet
from tokenizer.counting import count_pieces
from tokenizer.dataset import TokenDataset
from tokenizer.encode import Encoder
from tokenizer.hugging_face import as_json
from tokenizer.train import Train, train
from tokenizer.verify import verify
from tokenizer.vocabulary import load

TRAINED = """
tokenizer:
  pattern: [digit, gpt2]
  vocab_size: 600
  multiple_of: 128
  reserved_tokens: 20
  normalization: NFC
  balance: source
  alpha: 0.3
  min_count: 2
  max_token_length: 9
"""
TEXTS = [
    "The end is spelled <|endoftext|> here, and <|im_end|> there; <think>no</think>.",
    "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich. 2024 Cafe\u0301!",
    "素早い茶色の狐はのろまな犬を飛び越える。🙂",
    "",
    "the river and the garden and the morning " * 40,
]


def go(
    folder: Path, settings: str, workers: int = 0, stages: str = "[html.Extract, exact.Exact]"
) -> Outcome:
    recipe = f"name: words\nread: {{split_bytes: 2000000}}\nstages: {stages}\n{settings}"
    inputs = [str(folder / "*.jsonl")]
    output = folder / f"output-{workers}"
    return run(Job(recipe, "words.yaml", inputs, output, workers=workers), Quiet())


@pytest.fixture
def texts(tmp_path) -> Path:
    for number in range(3):
        rows = [{"text": f"{text} {'é' * number}"} for text in TEXTS[number:]]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{number}.jsonl").write_text(lines)
    return tmp_path


def manifest_of(output: Path) -> dict:
    return json.loads((output / "tokens" / "manifest.json").read_text())


def decoded(output: Path) -> list[str]:
    dataset, oracle = (
        TokenDataset(output / "tokens"),
        Tokenizer.from_file(str(output / "tokenizer" / "tokenizer.json")),
    )
    return [
        oracle.decode(dataset.document(i).tolist(), skip_special_tokens=False)
        for i in range(dataset.documents)
    ]


def written(output: Path) -> list[str]:
    paths = sorted((output / "documents").glob("*.parquet"))
    return [text for path in paths for text in pq.read_table(path)["text"].to_pylist()]


@pytest.mark.ray
def test_every_setting_of_training_gives_the_same_bytes_for_no_and_two_workers(texts):
    go(texts, TRAINED)
    go(texts, TRAINED, workers=2)
    assert digest(texts / "output-0") == digest(texts / "output-2")
    facts = json.loads((texts / "output-0" / "ledger.json").read_text())["tokens"]["tokenizer"]
    assert facts["trained"]["groups"].keys() == {f"{i}.jsonl" for i in range(3)}
    assert facts["vocabulary"] <= 640
    assert facts["longest_token"] <= 9
    assert verify(texts / "output-0" / "tokens") == []


@pytest.mark.parametrize(
    ("balance", "stages", "message"),
    [
        ("language", "[html.Extract]", "offset; put language.Identify into"),
        ("langage", "[html.Extract, language.Identify]", "did you mean language?"),
        ("sorce", "[html.Extract]", "did you mean source?"),
        ("metadata", "[html.Extract]", "no column 'metadata' behind the last stage"),
    ],
)
def test_a_column_that_no_stage_adds_is_refused_before_any_work(balance, stages, message, texts):
    with pytest.raises(RecipeError, match=message):
        go(texts, f"tokenizer: {{balance: {balance}}}", stages=stages)
    assert not (texts / "output-0").exists()


def test_columns_that_stages_add_can_be_balanced_by(texts):
    recipe = parse(
        "name: x\nread: {metadata: true}\ntokenizer: {balance: language}\nstages: [html.Extract, "
        "language.Identify, {ut1.Category: {column: kind, lists: ut1}}, exact.Exact]\n",
        "x.yaml",
    )
    names = {"language", "kind", "exact_copies", "metadata", "url"}
    assert names <= {*columns_behind(recipe)}


@pytest.fixture(params=["gpt2.json", "gpt2_vocab.json", "cl100k_base.tiktoken", "qwen3.json"])
def published_path(request, unpacked, tmp_path) -> Path:
    if request.param != "gpt2_vocab.json":
        return unpacked / request.param
    for part in ("vocab.json", "merges.txt"):
        (tmp_path / part).write_bytes((unpacked / f"gpt2_{part}").read_bytes())
    return tmp_path / "vocab.json"


def test_a_published_tokenizer_makes_shards_that_decode_to_the_documents(texts, published_path):
    go(texts, f"tokenizer: {{load: '{published_path}'}}")
    output = texts / "output-0"
    manifest = manifest_of(output)
    assert verify(output / "tokens") == []
    assert manifest["vocabulary"] == load(published_path).fingerprint()
    ids = Encoder(load(published_path)).encode(pa.array([manifest["probe"]["text"]]))[0]
    assert manifest["probe"]["ids"] == ids.tolist()
    form = load(published_path).normalization
    texts_again = [unicodedata.normalize("NFC", text) for text in written(output)]
    assert sorted(decoded(output)) == sorted(texts_again if form else written(output))


def test_special_tokens_in_crawled_text_stay_text(texts, unpacked):
    go(texts, f"tokenizer: {{load: '{unpacked / 'gpt2.json'}'}}")
    output = texts / "output-0"
    [part, *_] = sorted((output / "tokens").glob("*.bin"))
    ids, ends = np.fromfile(part, np.uint16), np.load(part.with_suffix(".offsets.npy"))
    assert np.flatnonzero(ids == 50256).tolist() == (ends[1:] - 1).tolist()
    assert "<|endoftext|>" in "".join(decoded(output))


def test_a_tokenizer_without_an_end_of_text_is_refused_before_any_work(texts, unpacked):
    endless = replace(load(unpacked / "gpt2.json"), special_tokens={})
    path = texts / "endless.json"
    path.write_text(json.dumps(as_json(endless)))
    with pytest.raises(ModelError, match=r"endless\.json: no token ends a document"):
        go(texts, f"tokenizer: {{load: '{path}'}}")
    assert not (texts / "output-0").exists()


def test_a_rank_file_of_unknown_pattern_takes_the_recipes(unpacked, tmp_path):
    path = tmp_path / "mine.tiktoken"
    path.write_bytes((unpacked / "cl100k_base.tiktoken").read_bytes())
    with pytest.raises(ModelError, match="say pattern: cl100k"):
        loaded(Train(load=str(path)))
    (tmp_path / "encoding.json").write_text(
        json.dumps({"pat_str": "wrong(", "special_tokens": {"<|endoftext|>": 100257}})
    )
    with pytest.raises(ModelError, match="no token ends a document"):
        loaded(Train(load=str(path), pattern="cl100k"))


def test_a_setting_of_training_beside_load_is_refused():
    with pytest.raises(RecipeError, match=r"tokenizer\.vocab_size: says how to train"):
        Train(load="gpt2.json", vocab_size=5000)


def test_a_worker_opens_a_tokenizer_once(texts, tmp_path, unpacked):
    load(unpacked / "gpt2.json").save(tmp_path / "tokenizer")
    table = pa.table({"id": pa.array([bytes(16)], pa.binary(16)), "text": ["a text"]})
    pq.write_table(table, tmp_path / "documents.parquet")
    task = {"kind": "tokens", "documents": str(tmp_path / "documents.parquet")}
    recipe = "name: x\nstages: [html.Extract]\ntokenizer: {}\n"
    with Worker(recipe, "x.yaml") as worker:
        results = []
        for name in ("one", "two"):
            scratch = tmp_path / name
            scratch.mkdir()
            told = {"scratch": str(scratch), "tokenizer": str(tmp_path / "tokenizer")}
            results.append(worker.run({**task, **told}, lambda _: None))
            # What is opened once is not read again.
            (tmp_path / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    assert results[0]["files"] == results[1]["files"]


def test_a_run_that_is_killed_while_it_makes_tokens_ends_as_one_that_was_not(texts):
    recipe = texts / "words.yaml"
    recipe.write_text(f"name: words\nstages: [html.Extract, exact.Exact]\n{TRAINED}")
    command = [sys.executable, "-m", "curate", "run", str(recipe), "--workers", "0"]
    command += ["--input", str(texts / "*.jsonl"), "--output"]
    pieces = texts / "killed" / "work" / "pieces"
    process = subprocess.Popen([*command, str(texts / "killed")], stderr=subprocess.DEVNULL)
    while process.poll() is None and not [*pieces.glob("*/tokenizer.json")]:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (texts / "killed" / "manifest.json").exists()
    environment = {**os.environ, "COLUMNS": "100"}
    for name in ("killed", "whole"):
        subprocess.run([*command, str(texts / name)], check=True, env=environment)
    assert digest(texts / "killed") == digest(texts / "whole")


class Told(Quiet):
    """Events of which the notes are kept."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("how", ["train", "load"])
def test_a_slow_pattern_is_told_once_when_the_run_begins(how, texts):
    slow = r"(?<=\s)[a-z]+|[\s\S]"
    said = f"tokenizer: {{pattern: '{slow}', vocab_size: 300}}"
    if how == "load":
        train(count_pieces(pa.array(TEXTS), slow), Train(slow, 300)).save(texts / "tok")
        said = f"tokenizer: {{load: {texts}/tok}}"
    recipe = f"name: words\nstages: [html.Extract]\n{said}"
    told = Told()
    run(Job(recipe, "words.yaml", [str(texts / "0.jsonl")], texts / "out", workers=0), told)
    assert sum("tokenizer: text is split 150 times slower" in note for note in told.notes) == 1


def test_shards_of_a_run_have_one_order_for_any_cut_of_the_input(texts):
    repeated = "{weights.ByClusterSize: {column: exact_copies, repeats: [[1, 2]]}}"
    stages = f"[html.Extract, exact.Exact, {repeated}]"
    asked = (
        "tokenizer: {vocab_size: 300}\nshards: {shard_bytes: 500, columns: [date, exact_copies]}"
    )
    outcome = go(texts, asked, stages=stages)
    output = texts / "output-0"
    manifest = manifest_of(output)
    assert len(manifest["parts"]) > 2
    assert manifest["order"] == {"shuffled": True, "seed": 0}
    assert verify(output / "tokens", load(output / "tokenizer")) == []
    # Each document twice, and the ledger says so.
    assert sorted(decoded(output)) == sorted(2 * written(output))
    assert outcome.ledger["tokens"]["documents"] == 2 * len(written(output))
    rows = pq.read_table(output / "tokens" / "part-00000.docs.parquet")
    assert rows.schema.names[-2:] == ["date", "exact_copies"]
    before = digest(output / "tokens")
    recipe = f"name: words\nread: {{split_bytes: 300}}\nstages: {stages}\n{asked}"
    job = Job(recipe, "words.yaml", [str(texts / "*.jsonl")], texts / "again", workers=0)
    assert run(job, Quiet()).plan.units != outcome.plan.units
    assert digest(texts / "again" / "tokens") == before


def test_another_order_takes_the_text_and_the_tokenizer_that_are_there(texts):
    go(texts, "tokenizer: {vocab_size: 300}")
    before = decoded(texts / "output-0")
    outcome = go(texts, "tokenizer: {vocab_size: 300}\nshards: {shuffle: false}")
    assert decoded(texts / "output-0") == written(texts / "output-0")
    assert sorted(before) == sorted(decoded(texts / "output-0"))
    assert outcome.reused == 6  # three files in two passes


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("shards: {columns: [dat]}", r"shards\.columns: no column 'dat' .* did you mean date\?"),
        ("shards: {columns: [language_score]}", "put language.Identify into"),
        ("shards: {seed: -1}", r"shards: shards\.seed: -1"),
        ("shards: {shufle: no}", "did you mean shuffle"),
    ],
)
def test_shards_that_cannot_be_are_refused_before_any_work(section, message, texts):
    with pytest.raises(RecipeError, match=message):
        go(texts, f"tokenizer: {{vocab_size: 300}}\n{section}")
    assert not (texts / "output-0").exists()


def test_shards_without_a_tokenizer_are_refused():
    with pytest.raises(RecipeError, match="shards need a tokenizer"):
        parse("name: x\nstages: [html.Extract]\nshards: {}\n", "x.yaml")
