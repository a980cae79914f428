"""`curate classifier` from labelled documents to numbers, as a user types it."""

import json
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

GOOD, BAD = "theorem proof lemma field matrix", "buy cheap offer click sale"


def curate(*arguments):
    command = [sys.executable, "-m", "curate", "classifier", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def documents(words, count):
    draw = random.Random(words)
    return [" ".join(draw.choices(words.split(), k=10)) for _ in range(count)]


def test_from_labelled_documents_to_numbers(tmp_path):
    pq.write_table(pa.table({"text": documents(GOOD, 60)}), tmp_path / "good.parquet")
    (tmp_path / "bad.txt").write_text("\n".join(documents(BAD, 60)) + "\n")
    small = ["--dim", 4, "--buckets", 200, "--epochs", 20, "--rate", 0.5, "--held-out", 0.3]
    done = curate(
        *("train", "--preset", "dclm", "--positive", tmp_path / "good.parquet"),
        *("--negative", tmp_path / "bad.txt", "--output", tmp_path / "hq", *small),
    )
    assert done.returncode == 0, done.stderr
    assert "AUC" in done.stdout and (tmp_path / "hq" / "model-card.md").is_file()

    rows = [{"text": text, "label": "hq"} for text in documents(GOOD, 5)]
    rows += [{"text": text, "label": "cc"} for text in documents(BAD, 5)]
    rows.append({"text": "", "label": "cc"})
    labelled = tmp_path / "test.jsonl"
    labelled.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = curate("evaluate", tmp_path / "hq", "--labelled", labelled, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["documents"], found["of_the_label"], found["auc"]) == (11, 5, 1.0)
    assert found["without_words"] == 1

    output = tmp_path / "scored"
    done = curate(
        *("score", tmp_path / "hq", "--input", labelled, "--input", tmp_path / "good.parquet"),
        *("--output", output, "--column", "hq"),
    )
    assert done.returncode == 0, done.stderr
    assert "score: " in done.stderr and "71 documents, 1 without words" in done.stdout
    table = pq.read_table(output / "test.parquet")
    assert table.column_names == ["text", "label", "hq"]
    numbers = table.column("hq").to_pylist()
    assert min(numbers[:5]) > 0.8 and max(numbers[5:10]) < 0.2 and numbers[10] != numbers[10]
    assert pq.read_table(output / "good.parquet").num_rows == 60

    # A part of a run's output may have no rows, and a file no bytes.
    pq.write_table(pa.table({"text": pa.array([], "string"), "n": [0][:0]}), tmp_path / "e.parquet")
    (tmp_path / "nothing.jsonl").touch()
    nothing = ("--input", tmp_path / "e.parquet", "--input", tmp_path / "nothing.jsonl")
    done = curate("score", tmp_path / "hq", *nothing, "--input", labelled, "--output", output)
    assert done.returncode == 0 and "11 documents" in done.stdout, done.stderr
    empty = pq.read_table(output / "e.parquet")
    assert (empty.column_names, empty.num_rows) == (["text", "n", "quality"], 0)
    assert pq.read_table(output / "nothing.parquet").column_names == ["text", "quality"]
    done = curate("score", tmp_path / "hq", *nothing, "--output", output)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and "no documents to score in" in last and ".tmp" not in last
    # The file that is written first has a longer name, which is nobody's business.
    long = tmp_path / f"{'a' * 240}.jsonl"
    long.write_text('{"text": "a"}\n')
    done = curate("score", tmp_path / "hq", "--input", long, "--output", output)
    assert done.returncode == 4 and ".tmp" not in done.stderr
    assert done.stderr.endswith(f"{'a' * 240}.parquet: File name too long\n")
    good = ("score", tmp_path / "hq", "--input", tmp_path / "good.parquet", "--output")
    assert "would be overwritten" in curate(*good, tmp_path).stderr


def test_mistakes_are_answered_in_a_line(tmp_path):
    (tmp_path / "one.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    one, output = tmp_path / "one.jsonl", tmp_path / "out"
    wrong = {
        ("train", "--output", output): "no documents: name --positive and --negative",
        ("train", "--output", output, "--positive", one): "need each other",
        ("train", "--output", output, "--labelled", one): "no column 'label'",
        ("train", "--output", output, "--labelled", tmp_path / "torn.parquet"): "cannot be read",
        ("train", "--output", output, "--labelled", tmp_path / "no.jsonl"): "matches no file",
        ("train", "--output", output, "--preset", "dclmm", "--labelled", one): "did you mean dclm",
        ("evaluate", tmp_path / "none", "--labelled", one): "no such file",
        ("score", one, "--input", one, "--output", output, "--label", "a"): "not a fastText model",
    }
    for arguments, said in wrong.items():
        done = curate(*arguments)
        assert done.returncode == 2 and said in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 2
