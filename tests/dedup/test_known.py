"""Runs against the indexes of earlier ones, as a user makes them: real runs, real files."""

import json
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.errors import RecipeError
from curate.run import Job, run
from tests.chaos.zygote import Quiet

RECIPE = """
name: near
stages:
  - html.Extract
  - minhash.MinHash: {index: true, against: AGAINST, verify: VERIFY}
"""


def texts(seed, count):
    words = random.Random(seed).choices([f"w{i}" for i in range(5000)], k=60 * count)
    return [" ".join(words[60 * i : 60 * i + 60]) for i in range(count)]


def dump(path: Path, rows) -> None:
    lines = [json.dumps({"text": text, "url": f"http://{path.stem}/{i}"}) for i, text in rows]
    path.write_text("\n".join(lines) + "\n")


def go(folder: Path, name: str, *earlier: str, verify: str = "text") -> Path:
    against = json.dumps([str(folder / one) for one in earlier])
    text = RECIPE.replace("AGAINST", against).replace("VERIFY", verify)
    inputs = [str(folder / f"{name}.jsonl")]
    run(Job(text, "near.yaml", inputs, folder / name, workers=0), Quiet())
    return folder / name


def fates(output: Path) -> dict[str, tuple]:
    """By URL: what became of every document."""
    found = {}
    for path in [*output.glob("documents/*"), *output.glob("dropped/*")]:
        for row in pq.read_table(path).to_pylist():
            found[row["url"]] = (row.get("dropped_by"), row.get("duplicate_of"))
    return found


def ids(output: Path) -> dict[str, bytes]:
    table = pq.read_table(output / "documents").to_pylist()
    return {row["url"]: row["id"] for row in table}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    one, two, three = texts(1, 30), texts(2, 30), texts(3, 10)
    edited = [text.rsplit(" ", 4)[0] for text in one[:10]]
    dump(folder / "first.jsonl", enumerate([*one, *edited]))
    dump(folder / "second.jsonl", enumerate([*edited, *two, *two[:5]]))
    dump(folder / "third.jsonl", enumerate([*two[:3], *one[:3], *three]))
    go(folder, "first")
    go(folder, "second", "first")
    return folder


def test_an_index_holds_what_the_run_kept_in_the_order_of_its_documents(folder):
    (part,) = (folder / "first" / "index").iterdir()
    documents = pq.read_table(folder / "first" / "documents").column("id").to_pylist()
    assert pq.read_table(part).column("id").to_pylist() == documents
    assert len(documents) == 30
    manifest = json.loads((folder / "first" / "manifest.json").read_text())
    assert f"index/{part.name}" in manifest["files"]


def test_what_an_earlier_dump_has_goes_and_says_which_document_it_resembles(folder):
    found, first = fates(folder / "second"), ids(folder / "first")
    for i in range(10):
        assert found[f"http://second/{i}"] == ("minhash.known", first[f"http://first/{i}"])
    assert sum(reason == "minhash.duplicate" for reason, _ in found.values()) == 5
    assert len(ids(folder / "second")) == 30
    ledger = json.loads((folder / "second" / "ledger.json").read_text())
    dropped = ledger["stages"][-1]["dropped"]
    assert {reason: one["documents"] for reason, one in dropped.items()} == {
        "minhash.known": 10,
        "minhash.duplicate": 5,
    }


@pytest.mark.parametrize("verify", ["text", "sketch", "none"])
def test_the_next_dump_is_compared_with_all_before_and_they_stay_as_they_were(folder, verify):
    before = {path: path.read_bytes() for path in folder.glob("*/documents/*")}
    output = go(folder, "third", "first", "second", verify=verify)
    known = {url for url, (reason, _) in fates(output).items() if reason == "minhash.known"}
    assert known == {f"http://third/{i}" for i in range(6)}
    assert len(ids(output)) == 10
    assert {path: path.read_bytes() for path in before} == before


def test_equal_texts_and_urls_of_earlier_dumps_go_however_short_they_are(tmp_path):
    recipe = """
name: exact
stages:
  - html.Extract
  - exact.Url: {index: true, against: AGAINST}
  - exact.Exact: {index: true, against: AGAINST}
"""
    rows = {"one": [("hi", "http://a/"), ("two words", "http://b.example/"), ("hi", "http://c/")]}
    rows["two"] = [
        ("hi", "http://d/"),
        ("new", "https://www.b.example/#top"),
        ("other", "http://e/"),
    ]
    rows["three"] = [("other", "http://f/"), ("two words", "http://g/"), ("last", "http://h/")]
    for number, (name, pages) in enumerate(rows.items()):
        lines = [json.dumps({"text": text, "url": url}) for text, url in pages]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        earlier = json.dumps([str(tmp_path / one) for one in [*rows][:number]])
        text, inputs = recipe.replace("AGAINST", earlier), [str(tmp_path / f"{name}.jsonl")]
        run(Job(text, "x", inputs, tmp_path / name, workers=0), Quiet())
    assert sorted(reason or "" for reason, _ in fates(tmp_path / "one").values()) == [
        *("", "", "exact.duplicate")
    ]
    two, three = fates(tmp_path / "two"), fates(tmp_path / "three")
    assert {url: reason for url, (reason, _) in two.items()} == {
        "http://d/": "exact.known",
        "https://www.b.example/#top": "exact.known_url",
        "http://e/": None,
    }
    assert three["http://f/"] == ("exact.known", ids(tmp_path / "two")["http://e/"])
    assert three["http://g/"] == ("exact.known", ids(tmp_path / "one")["http://b.example/"])
    assert three["http://h/"][0] is None


@pytest.mark.parametrize("harm", ["index", "documents", "other documents"])
def test_an_earlier_run_that_was_damaged_is_refused(folder, tmp_path, harm):
    shutil.copytree(folder / "first", tmp_path / "first")
    (part,) = (tmp_path / "first" / harm.split()[-1]).iterdir()
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "other documents":
        content = next((folder / "second" / "documents").iterdir()).read_bytes()
    part.unlink()  # it is a hard link
    part.write_bytes(content)
    dump(tmp_path / "next.jsonl", enumerate(texts(1, 3)))
    with pytest.raises(RecipeError, match="is not there as the run wrote it"):
        go(tmp_path, "next", "first")


def test_of_two_stages_that_keep_an_index_the_one_of_the_same_settings_counts(tmp_path):
    stages = "  - minhash.MinHash: {index: true, ngram: 3, against: AGAINST}\n"
    recipe = RECIPE.replace("VERIFY", "text") + stages
    for name, against in (("one", []), ("two", [str(tmp_path / "one")])):
        dump(tmp_path / f"{name}.jsonl", enumerate(texts(7, 3)))
        text, inputs = recipe.replace("AGAINST", json.dumps(against)), tmp_path / f"{name}.jsonl"
        run(Job(text, "x", [str(inputs)], tmp_path / name, workers=0), Quiet())
    assert {reason for reason, _ in fates(tmp_path / "two").values()} == {"minhash.known"}


def test_a_run_is_not_compared_with_itself(folder):
    text = RECIPE.replace("AGAINST", json.dumps([str(folder / "first")])).replace("VERIFY", "text")
    before = (folder / "first" / "manifest.json").read_bytes()
    with pytest.raises(RecipeError, match="is the output of this run itself"):
        inputs = [str(folder / "first.jsonl")]
        run(Job(text, "x", inputs, folder / "first", workers=0), Quiet())
    assert (folder / "first" / "manifest.json").read_bytes() == before


def test_an_index_of_other_settings_or_none_is_refused_with_what_to_write(folder):
    text = RECIPE.replace("AGAINST", json.dumps([str(folder / "first")]))
    inputs, output = [str(folder / "third.jsonl")], folder / "refused"
    for settings, said in (("text, bands: 20", "made with bands: 14, and here it is 20"),):
        with pytest.raises(RecipeError, match=said):
            run(Job(text.replace("VERIFY", settings), "x", inputs, output, workers=0), Quiet())
    missing = RECIPE.replace("AGAINST", '["/nowhere"]').replace("VERIFY", "text")
    with pytest.raises(RecipeError, match="/nowhere: no finished run"):
        run(Job(missing, "x", inputs, output, workers=0), Quiet())
    assert not output.exists()
