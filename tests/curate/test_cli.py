"""The command line on good input, on every bad one, and on a full disk."""

import fcntl
import gzip
import json
import os
import pty
import re
import resource
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.kernel import cache_folder
from curate.recipe import catalogue
from curate.signal import Signal
from tests.chaos.harness import digest
from tests.crawl import member, page, record, response, write_crawl

RECIPE = """
name: bad
stages:
  - html.Extract: {cpu_seconds: 1.0}
  - filter: [gopher.word_count: {low: 5}, gopher.mean_word_length]
  - exact.Exact
  - minhash.MinHash
  - pii.Scrub
"""


def curate(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(RECIPE)
    return path


def run(recipe: Path, *inputs: object, output: Path, **options):
    wanted = [part for one in inputs for part in ("--input", one)]
    return curate("run", recipe, *wanted, "--output", output, "--workers", 0, **options)


def balance(output: Path) -> dict[str, int]:
    """Documents by where they went; asserts that none is missing."""
    ledger = json.loads((output / "ledger.json").read_text())
    gone: dict[str, int] = {}
    for stage in ledger["stages"]:
        for reason, count in {**stage["dropped"], **stage["quarantined"]}.items():
            gone[reason] = gone.get(reason, 0) + count["documents"]
    kept = ledger["stages"][-1]["kept"]["documents"]
    assert ledger["stages"][0]["entered"]["documents"] == kept + sum(gone.values())
    tables = [pq.read_metadata(path).num_rows for path in output.glob("documents/*")]
    assert sum(tables) == kept
    for source in ledger["inputs"]:
        spans = source["spans"]
        assert spans["records"] + spans["faults"] + spans["padding"] == source["size"]
    return {**gone, "kept": kept}


def test_every_malformed_file_ends_in_a_balanced_ledger(shared, recipe, tmp_path):
    done = run(recipe, shared / "crawl" / "malformed", output=tmp_path / "o")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 3), done.stderr
    counts = balance(tmp_path / "o")
    assert counts["kept"] > 0
    assert any(reason.startswith("warc.") for reason in counts)
    assert not any(reason.startswith("http.crash") for reason in counts)


def test_hostile_pages_cost_only_themselves(recipe, tmp_path):
    bodies = {
        "good-1": page(1),
        "deep": "<div>" * 100_000 + "x",
        "attributes": "<p " + " ".join(f"a{i}" for i in range(20_000)) + ">x",
        "nul": "<p>" + "\0" * 1000 + " some words of text for the page to keep here",
        "empty": "",
        "comment": "<!--" * 100_000,
        "good-2": page(2),
    }
    members = [member(response(f"https://a.example/{name}", body)) for name, body in bodies.items()]
    bomb = gzip.compress(b"\0" * (100 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    url = "https://a.example/bomb"
    members.append(member(record("response", url, head + bomb, "application/http")))
    twice = response("https://a.example/twice", page(3))
    members += [member(twice), member(twice.replace(b"Page 3", b"Page 4"))]
    lying = response("https://a.example/lying", page(5))
    length = re.search(rb"Content-Length: \d+", lying)[0]
    members.append(member(lying.replace(length, b"Content-Length: 99999999", 1)))
    path = tmp_path / "hostile.warc.gz"
    path.write_bytes(b"".join(members))
    done = run(recipe, path, output=tmp_path / "o")
    assert "Traceback" not in done.stderr, done.stderr
    counts = balance(tmp_path / "o")
    assert counts["html.too_deep"] == 1
    assert counts["html.too_many_attributes"] == 1
    assert counts["http.payload_too_large"] == 1
    urls = pq.read_table(next((tmp_path / "o" / "documents").glob("*")))["url"].to_pylist()
    assert {"https://a.example/good-1", "https://a.example/good-2"} <= set(urls)


def test_bad_lines_of_jsonl_cost_only_themselves(recipe, tmp_path):
    good = json.dumps({"text": "these are some words of a good line. " * 3, "url": "https://a"})
    path = tmp_path / "lines.jsonl"
    with path.open("wb") as file:
        for line in (good, "[1,2]", "null", "{", '{"text": 5}', '{"url": "x"}', '{"text": ""}'):
            file.write(line.encode() + b"\n")
        file.write(b'{"text": "\xff\xfe"}\n')
        file.write(b'{"text": "' + b"a" * (100 << 20) + b'"}\n')
        file.write(good.replace("good", "fine").encode())
    done = run(recipe, path, output=tmp_path / "o")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 3
    counts = balance(tmp_path / "o")
    assert counts["kept"] >= 1
    assert sum(counts.values()) == 10


def test_an_empty_file_is_told_and_the_others_are_read(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=6)
    (tmp_path / "crawl" / "empty.warc.gz").write_bytes(b"")
    done = run(recipe, tmp_path / "crawl", output=tmp_path / "o")
    assert done.returncode == 3
    assert "empty.warc.gz: could not be read" in done.stderr
    assert balance(tmp_path / "o")["kept"] > 0


def test_a_path_that_is_not_there_is_told_without_a_traceback(recipe, tmp_path):
    done = run(recipe, tmp_path / "no" / "such.warc.gz", output=tmp_path / "o")
    assert done.returncode == 2
    assert "such.warc.gz" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_typo_in_a_recipe_is_told_with_its_place(recipe, tmp_path):
    recipe.write_text(RECIPE.replace("gopher.word_count", "gopher.word_cuont"))
    done = run(recipe, tmp_path, output=tmp_path / "o")
    assert done.returncode == 2
    assert "stages[1]: filter[0]: no signal 'gopher.word_cuont'" in done.stderr
    assert "did you mean gopher.word_count?" in done.stderr


def test_nothing_left_is_no_success(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=3, damage=False)
    recipe.write_text(RECIPE.replace("low: 5", "low: 99999"))
    done = run(recipe, tmp_path / "crawl", output=tmp_path / "o")
    assert done.returncode == 3
    assert "nothing is left" in done.stderr


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=2, pages=20)
    run(recipe, tmp_path / "crawl", output=tmp_path / "clean")

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))

    inputs = (recipe, tmp_path / "crawl")
    done = run(*inputs, output=tmp_path / "o", preexec_fn=small)
    assert done.returncode == 4, done.stderr
    assert "make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o" / "manifest.json").exists()
    assert run(*inputs, output=tmp_path / "o").returncode in (0, 3)
    assert digest(tmp_path / "o") == digest(tmp_path / "clean")


TRAINED = """
tokenizer: {vocab_size: 300}
train: {steps: 3, context: 16, batch: 2, layers: 1, width: 8, heads: 1, sample_tokens: 4}
"""


@pytest.mark.slow
def test_a_run_tells_where_its_time_went_and_what_was_there_already(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=30, damage=False)
    recipe.write_text(RECIPE + TRAINED)
    # Kernels that are compiled, in a cache that does not know it yet.
    knowing = cache_folder()
    cache = tmp_path / "cache" / knowing.parent.name
    shutil.copytree(knowing, cache / knowing.name, ignore=shutil.ignore_patterns("compiled-*"))
    for folder in knowing.parent.iterdir():
        if folder != knowing:
            (cache / folder.name).symlink_to(folder)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache.parent)}
    runs = []
    for _ in range(2):
        done = run(recipe, tmp_path / "crawl", output=tmp_path / "o", env=environment)
        assert done.returncode == 0, done.stderr
        runs.append((done, json.loads((tmp_path / "o" / "run.json").read_text())))
    (_, times), (second, again) = runs
    spent = times["seconds"]
    assert {"load kernels", "html.Extract", "train tokenizer", "train model"} <= set(spent)
    assert sum(spent.values()) < times["wall_seconds"]
    apart = spent["load kernels"] + spent["train model"]
    assert times["curation_seconds"] < times["wall_seconds"] - apart
    speed = times["documents_per_second"] * times["curation_seconds"]
    assert speed == pytest.approx(30, rel=0.05)
    assert f"All {again['units']} units of work were there already" in second.stdout
    assert "the model of 3 steps was there already" in second.stderr
    assert "documents_per_second" not in again
    page = (tmp_path / "o" / "report.html").read_text()
    assert "their time below is what they took when they were made" in page


def test_nothing_that_is_written_to_a_pipe_is_folded_or_cut(recipe, tmp_path):
    output = tmp_path / "a-long-name-of-a-folder" / "and-one-more-that-is-longer-yet" / "o"
    write_crawl(tmp_path / "crawl", files=1, pages=4)
    done = run(recipe, tmp_path / "crawl", output=output)
    assert f"\nIn {output}:\n" in done.stdout
    assert f": {output / 'report.html'}\n" in done.stdout
    table = pq.read_table(next((output / "documents").glob("*")))
    url = table["url"][0].as_py()
    told = curate("explain", output, url)
    assert f"  {url}" in told.stdout
    assert table["id"][0].as_py().hex() in told.stdout
    assert "…" not in done.stdout + told.stdout
    signals = [one for one in catalogue().values() if isinstance(one, Signal)]
    assert max((one.about.splitlines()[0] for one in signals), key=len) in curate("filters").stdout


def test_a_terminal_of_80_columns_gets_paths_and_urls_whole(recipe, tmp_path):
    output = tmp_path / "a-long-name-of-a-folder" / "and-one-more-that-is-longer-yet" / "o"
    write_crawl(tmp_path / "crawl", files=1, pages=4)
    said = on_a_terminal(
        ("run", recipe, "--input", tmp_path / "crawl", "--output", output, "--workers", 0)
    )
    assert f"In {output}:\r\n" in said
    assert f": {output / 'report.html'}\r\n" in said
    assert "…" not in said
    table = pq.read_table(next((output / "documents").glob("*")))
    identity = table["id"][0].as_py().hex()
    assert f"  {table['url'][0].as_py()}\r\n" in on_a_terminal(("explain", output, identity))
    recipe.write_text(RECIPE.replace("name: bad", "name: better"))
    said = on_a_terminal(
        ("run", recipe, "--input", tmp_path / "crawl", "--output", output, "--workers", 0)
    )
    assert f"replaces what recipe bad left in {output}\r\n" in said


def on_a_terminal(arguments: tuple[object, ...]) -> str:
    """What a command shows on a terminal of 80 columns."""
    child, handle = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "curate", *map(str, arguments)])
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    said = b""
    try:
        while part := os.read(handle, 65536):
            said += part
    except OSError:  # the terminal is gone with its last process
        pass
    os.waitpid(child, 0)
    os.close(handle)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())


def test_another_recipe_or_input_into_the_same_output_is_told(recipe, tmp_path):
    for name in ("crawl", "more"):
        write_crawl(tmp_path / name, files=1, pages=4 + len(name))
    output = tmp_path / "o"
    said = f"replaces what recipe bad left in {output}"
    assert "replaces" not in run(recipe, tmp_path / "crawl", output=output).stderr
    assert "replaces" not in run(recipe, tmp_path / "crawl", output=output).stderr
    assert f"{said}: it had other inputs" in run(recipe, tmp_path / "more", output=output).stderr
    recipe.write_text(RECIPE.replace("low: 5", "low: 6"))
    assert f"{said}: it had other settings" in run(recipe, tmp_path / "more", output=output).stderr
    recipe.write_text(RECIPE.replace("name: bad", "name: better"))
    assert f"{said}\n" in run(recipe, tmp_path / "more", output=output).stderr


def test_a_run_that_cannot_start_leaves_no_folder_behind(recipe, tmp_path):
    assert run(recipe, tmp_path / "none.warc.gz", output=tmp_path / "o").returncode == 2
    assert not (tmp_path / "o").exists()
    (tmp_path / "mine").mkdir()
    assert run(recipe, tmp_path / "none.warc.gz", output=tmp_path / "mine").returncode == 2
    assert (tmp_path / "mine").exists()


def test_a_family_that_is_not_there_is_answered_with_the_nearest_name():
    done = curate("filters", "ghoper")
    assert done.returncode == 2
    assert "'ghoper'; did you mean gopher?" in done.stderr
    assert "did you mean gopher.word_count?" in curate("filters", "gopher.word_cuont").stderr


def test_plan_tells_a_recipe_that_says_nothing_of_itself(recipe):
    assert curate("plan", recipe).stdout.startswith("bad\n")


def test_a_run_is_not_taken_for_its_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    done = curate("sample", tmp_path)
    assert done.returncode == 2
    assert f"did you mean {tmp_path / 'model'}?" in done.stderr


def test_plan_filters_recipes_models_and_help_say_something_useful():
    for arguments, expected in (
        (["--help"], "Example:"),
        (["run", "--help"], "Example:"),
        (["-h"], "Example:"),
        (["tokenizer", "train", "-h"], "Example:"),
        (["plan", "fineweb"], "gopher.word_count"),
        (["plan", "fineweb"], "language.Identify: {keep: [en]}"),
        (["filters", "gopher"], "gopher.mean_word_length"),
        (["filters", "language.Identify"], "low          number                       0.65"),
        (["filters", "read"], "text_key"),
        (["recipes"], "fineweb"),
        (["models", "list"], "lid.176"),
    ):
        done = curate(*arguments)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_a_family_that_is_not_there_is_answered_by_the_nearest_name():
    done = curate("filters", "langauge.Identify")
    assert done.returncode == 2 and "did you mean language.Identify?" in done.stderr


def test_explain_tells_a_documents_journey(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=12)
    run(recipe, tmp_path / "crawl", output=tmp_path / "o")
    table = pq.read_table(next((tmp_path / "o" / "dropped").glob("*")))
    identity = table["id"][0].as_py().hex()
    done = curate("explain", tmp_path / "o", identity[:12])
    assert done.returncode == 0, done.stderr
    assert table["dropped_by"][0].as_py() in done.stdout
    missing = curate("explain", tmp_path / "o", "ffffffffffff")
    assert missing.returncode == 2
    assert "the report's samples" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_a_second_process_without_ray_starts_at_once_and_never_imports_it(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=4)
    code = (
        "import sys\nfrom curate import cli\n"
        f"sys.argv = ['curate', 'run', {str(recipe)!r}, '--input', {str(tmp_path / 'crawl')!r}, "
        f"'--output', {str(tmp_path / 'o')!r}, '--workers', '0']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('ray', 'torch', 'pandas') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_terminal_cannot_be_steered_by_a_file_name(recipe, tmp_path):
    path = tmp_path / "a\x1b]0;owned\x07.warc.gz"
    path.write_bytes(b"")
    done = run(recipe, path, output=tmp_path / "o")
    assert "\x1b]0;" not in done.stderr + done.stdout
    assert (tmp_path / "o" / "ledger.json").exists()


def test_a_report_on_an_edited_ledger_is_a_clear_error(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=4)
    run(recipe, tmp_path / "crawl", output=tmp_path / "o")
    ledger = tmp_path / "o" / "ledger.json"
    ledger.write_text(ledger.read_text().replace('"documents": 4', '"documents": "four"', 1))
    done = curate("report", tmp_path / "o")
    assert done.returncode == 2
    assert "ledger.json: not as a run writes it: inputs.0" in done.stderr
    assert "Traceback" not in done.stderr


def test_decide_and_compare_tell_what_another_recipe_would_do(recipe, tmp_path):
    write_crawl(tmp_path / "crawl", files=1, pages=24)
    run(recipe, tmp_path / "crawl", output=tmp_path / "o")
    other = tmp_path / "other.yaml"
    other.write_text(RECIPE.replace("name: bad", "name: other").replace("low: 5", "low: 515"))
    done = curate("decide", tmp_path / "o", "--recipe", other, "--output", tmp_path / "d")
    assert done.returncode == 0, done.stderr
    assert "bad kept" in done.stdout
    assert "other keeps" in done.stdout
    assert pq.read_metadata(tmp_path / "d" / "verdicts.parquet").num_rows == 24
    page = tmp_path / "differences.html"
    done = curate("compare", tmp_path / "o", tmp_path / "d", "--output", page)
    assert done.returncode == 0, done.stderr
    assert "Cohen's kappa" in done.stdout
    assert "<h1>bad against other</h1>" in page.read_text()


def test_decide_and_compare_tell_what_is_no_run(recipe, tmp_path):
    for arguments in (
        ("decide", tmp_path, "--recipe", recipe),
        ("decide", tmp_path, "--recipe", recipe, "--documents"),
        ("decide", tmp_path, "--recipe", tmp_path / "none.yaml"),
        ("compare", tmp_path, tmp_path),
    ):
        done = curate(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_text_under_another_name_is_found_by_the_hint_that_the_run_ends_with(recipe, tmp_path):
    rows = [{"contents": f"some words of the document {at}", "id": at} for at in range(12)]
    (tmp_path / "toy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(recipe, tmp_path / "toy.jsonl", output=tmp_path / "out")
    assert done.returncode == 3
    hint = "no field 'text' in toy.jsonl; there are: contents, id; say `(.*)` in the recipe"
    found = re.search(hint, done.stderr)
    assert found and balance(tmp_path / "out") == {"jsonl.no_text": 12, "kept": 0}
    recipe.write_text(f"{RECIPE}{found[1]}\n")
    done = run(recipe, tmp_path / "toy.jsonl", output=tmp_path / "out")
    assert done.returncode == 0 and balance(tmp_path / "out")["kept"] > 0, done.stderr
