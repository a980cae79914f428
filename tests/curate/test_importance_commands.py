"""`curate importance` from two corpora to a model that a recipe reads, as a user types it."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

GOOD, BAD = "The theorem, proved by the lemma, holds.", "Buy cheap offers! Click here, click now."


def curate(*arguments):
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_from_two_corpora_to_weights(tmp_path):
    pq.write_table(pa.table({"text": [GOOD] * 3}), tmp_path / "good.parquet")
    (tmp_path / "web.txt").write_text(f"{BAD}\n{BAD}\n")
    model = tmp_path / "wiki"
    train = ("importance", "train", "--target", tmp_path / "good.parquet", "--output", model)
    done = curate(*train, "--source", tmp_path / "web.txt", "--language", "en")
    assert done.returncode == 0, done.stderr
    assert "count target: " in done.stderr and "2 documents" in done.stderr
    assert "target  3          30     10.0" in done.stdout and str(model) in done.stdout
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    assert set(before) == {"counts.npy", "card.json"}
    assert curate(*train, "--source", tmp_path / "web.txt", "--language", "en").returncode == 0
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before

    rows = [{"text": GOOD * 3}, {"text": BAD * 3}, {"text": ""}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.yaml").write_text(
        f"stages:\n  - html.Extract\n  - importance.Importance: {{model: {model}, low: 0}}\n"
    )
    output = tmp_path / "out"
    done = curate(
        *("run", tmp_path / "r.yaml", "--input", tmp_path / "in.jsonl", "--output", output),
        *("--workers", 0),
    )
    assert done.returncode == 0, done.stderr
    (documents,) = (output / "documents").iterdir()
    assert pq.read_table(documents)["text"].to_pylist() == [GOOD * 3]


def test_mistakes_are_answered_in_a_line(tmp_path):
    (tmp_path / "one.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "none.jsonl").write_text('{"text": ""}\n')
    one, none, output = tmp_path / "one.jsonl", tmp_path / "none.jsonl", tmp_path / "out"
    wrong = {
        (none, one): "--target: no words in its 1 documents",
        (one, none): "--source: no words in its 1 documents",
        (one, one): "are the same files",
        (one, tmp_path / "gone.jsonl"): "matches no file",
        (one, none, "--buckets", 1): "buckets: 1; write 2 to",
        (one, none, "--text-column", "body"): "no column 'body'; there are: text",
    }
    for (target, source, *more), said in wrong.items():
        command = ("importance", "train", "--target", target, "--source", source)
        done = curate(*command, "--output", output, *more)
        assert done.returncode == 2 and said in done.stderr, (more, done.stderr)
        assert "Traceback" not in done.stderr and not output.exists()
