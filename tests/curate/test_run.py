"""A run as a whole: the law, the same bytes however it is run, and nothing stale used again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import BusyError, InputError, ModelError, RecipeError
from curate.ledger import Spans
from curate.read.reader import Read, Span, find_inputs, read
from curate.run import Job, Outcome, run
from curate.store import owned
from tests.chaos.harness import RECIPE, digest
from tests.chaos.zygote import Quiet
from tests.crawl import write_crawl


def go(crawl: Path, output: Path, **options) -> Outcome:
    text = options.pop("recipe", RECIPE.read_text())
    inputs = options.pop("inputs", [str(crawl / "*.warc.gz")])
    return run(Job(text, "chaos.yaml", inputs, output, **{"workers": 0, **options}), Quiet())


@pytest.fixture(scope="module")
def crawl(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("crawl")
    write_crawl(folder, files=3, pages=24)
    return folder


@pytest.fixture(scope="module")
def output(crawl, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "output"
    go(crawl, folder)
    return folder


def documents(output: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(output.glob("documents/*")))


def dropped(output: Path) -> pa.Table:
    tables = [pq.read_table(path) for path in sorted(output.glob("dropped/*"))]
    return pa.concat_tables(tables, promote_options="default")


def test_every_document_of_the_crawl_is_kept_or_dropped_or_quarantined_once(output):
    ledger = json.loads((output / "ledger.json").read_text())
    entered = ledger["stages"][0]["entered"]["documents"]
    assert entered == 3 * 24
    ids = [*documents(output)["id"].to_pylist(), *dropped(output)["id"].to_pylist()]
    assert len(ids) == len(set(ids)) == entered


def test_the_crawl_loses_what_it_was_made_to_lose(output):
    reasons = set(dropped(output)["dropped_by"].to_pylist())
    assert {"http.status", "gopher.word_count", "exact.duplicate", "minhash.duplicate"} <= reasons
    assert any(reason.startswith("warc.") for reason in reasons)
    table = documents(output)
    assert table.num_rows > 20
    assert not any("@example.org" in text for text in table["text"].to_pylist())


def test_all_signals_are_columns_of_what_was_kept_and_of_what_was_dropped(output):
    for table in (documents(output), dropped(output)):
        assert table.schema.field("gopher.word_count").type == pa.float64()
    short = [
        (value, bound)
        for reason, value, bound in zip(
            *(dropped(output)[name].to_pylist() for name in ("dropped_by", "value", "bound")),
            strict=True,
        )
        if reason == "gopher.word_count"
    ]
    assert short
    assert all(value < bound == 50 for value, bound in short)


def test_the_same_command_again_repeats_no_work_and_changes_no_byte(crawl, output):
    before = digest(output)
    outcome = go(crawl, output)
    assert outcome.reused == outcome.units
    assert digest(output) == before


def test_the_order_of_the_inputs_does_not_matter(crawl, output, tmp_path):
    inputs = [str(path) for path in sorted(crawl.iterdir(), reverse=True)]
    go(crawl, tmp_path / "output", inputs=inputs)
    assert digest(tmp_path / "output") == digest(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables", [{"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}, {"LC_ALL": "C", "TZ": "UTC"}]
)
def test_hash_seed_time_zone_and_locale_do_not_matter(crawl, output, tmp_path, variables):
    command = [sys.executable, "-m", "curate", "run", str(RECIPE), "--output", str(tmp_path / "o")]
    command += ["--input", str(crawl), "--workers", "0"]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    assert digest(tmp_path / "o") == digest(output)


@pytest.mark.slow
def test_splitting_an_input_loses_nothing(crawl, output, tmp_path):
    recipe = RECIPE.read_text() + "read: {split_bytes: 4000}\n"
    outcome = go(crawl, tmp_path / "output", recipe=recipe)
    assert len(outcome.plan.units) > 3
    assert sorted(documents(tmp_path / "output")["id"].to_pylist()) == sorted(
        documents(output)["id"].to_pylist()
    )


def test_an_added_input_is_processed_and_the_old_ones_are_not_read_again(tmp_path):
    crawl = tmp_path / "crawl"
    paths = write_crawl(crawl, files=3, pages=8)
    late = paths[2].read_bytes()
    paths[2].unlink()
    first = go(crawl, tmp_path / "output")
    paths[2].write_bytes(late)
    second = go(crawl, tmp_path / "output")
    assert len(second.plan.units) == len(first.plan.units) + 1
    assert second.reused >= len(first.plan.units)
    go(crawl, tmp_path / "clean")
    assert digest(tmp_path / "output") == digest(tmp_path / "clean")


def test_an_input_that_changed_under_its_name_is_read_again(tmp_path):
    crawl = tmp_path / "crawl"
    paths = write_crawl(crawl, files=3, pages=8)
    go(crawl, tmp_path / "output")
    before = paths[0].stat()
    paths[0].write_bytes(paths[2].read_bytes())
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    go(crawl, tmp_path / "output")
    go(crawl, tmp_path / "clean")
    assert digest(tmp_path / "output") == digest(tmp_path / "clean")


def test_another_bound_makes_new_documents_and_removes_old_files(crawl, output, tmp_path):
    go(crawl, tmp_path / "output")
    strict = RECIPE.read_text().replace("low: 50", "low: 100000")
    go(crawl, tmp_path / "output", recipe=strict)
    assert documents(tmp_path / "output").num_rows == 0
    assert not (tmp_path / "output" / "tokens").exists()
    go(crawl, tmp_path / "output")
    assert digest(tmp_path / "output") == digest(output)


def test_a_damaged_output_is_made_again(crawl, output, tmp_path):
    go(crawl, tmp_path / "output")
    for path in (tmp_path / "output").rglob("part-00000*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    go(crawl, tmp_path / "output")
    assert digest(tmp_path / "output") == digest(output)


def test_rejected_text_is_kept_on_request_only(crawl, output, tmp_path):
    assert not (output / "rejected").exists()
    go(crawl, tmp_path / "output", rejected=True)
    table = pq.read_table(next((tmp_path / "output" / "rejected").glob("*pass-1*")))
    assert {"id", "text", "dropped_by", "value", "bound"} <= set(table.schema.names)
    assert documents(tmp_path / "output").equals(documents(output))


def test_a_second_driver_on_the_same_folder_is_refused(crawl, tmp_path):
    with owned(tmp_path / "output" / "work"), pytest.raises(BusyError):
        go(crawl, tmp_path / "output")


def test_an_input_inside_the_output_is_refused(crawl, tmp_path):
    paths = write_crawl(tmp_path / "output" / "documents", files=1, pages=2)
    with pytest.raises(InputError, match="has files in it"):
        go(crawl, tmp_path / "output", inputs=[str(paths[0])])


def test_the_manifest_names_every_file_with_its_digest(output):
    manifest = json.loads((output / "manifest.json").read_text())
    found = digest(output)
    texts = {"manifest.json", "ledger.json", "recipe.yaml", "recipe.json", "tokens/manifest.json"}
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == {
        name: value for name, value in found.items() if name not in texts
    }


def test_files_that_are_not_ours_are_never_touched(crawl, output, tmp_path):
    folder = tmp_path / "home"
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / "thesis.txt").write_text("keep")
    with pytest.raises(InputError, match="has files in it"):
        go(crawl, folder)
    go(crawl, tmp_path / "output")
    (tmp_path / "output" / "documents" / "thesis.txt").write_text("keep")
    (tmp_path / "output" / ".foo.tmp").write_text("keep")
    strict = RECIPE.read_text().replace("low: 50", "low: 60")
    go(crawl, tmp_path / "output", recipe=strict)
    assert (folder / "documents" / "thesis.txt").read_text() == "keep"
    assert (tmp_path / "output" / "documents" / "thesis.txt").read_text() == "keep"
    assert (tmp_path / "output" / ".foo.tmp").read_text() == "keep"


def test_an_input_that_is_rewritten_after_it_was_listed_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "before"}\n')
    source = find_inputs([str(path)])[0][0]
    path.write_text('{"text": "behind"}\n')
    with pytest.raises(InputError, match="changed since"):
        list(read(source, Span(0, source.size), Read(), Spans()))


WRONG = {
    "best.Best: {column: nope}": r"my.yaml: stages\[1\]: best.Best: no column 'nope' where",
    "language.Identify: {keep: [klingon]}": r"my.yaml: stages\[1\]: language.Identify: keep: lid",
    "classifier.Score: {model: no.bin}": r"^stages\[1\]: classifier.Score: no.bin: no such file",
    "url.Blocked: {domains: no.txt}": r"^stages\[1\]: url.Blocked: cannot read the list no.txt",
}


@pytest.mark.parametrize("stage", WRONG)
def test_what_is_wrong_with_a_recipe_is_told_with_its_place_by_a_run_too(tmp_path, stage):
    (tmp_path / "in.jsonl").write_text('{"text": "A text."}\n')
    text = f"stages:\n  - html.Extract\n  - {stage}\n"
    with pytest.raises((RecipeError, ModelError), match=WRONG[stage]):
        run(Job(text, "my.yaml", [str(tmp_path / "in.jsonl")], tmp_path / "o", 0), Quiet())
