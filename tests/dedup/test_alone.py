"""`curate dedup` as a user runs it: real files in, real files out, every byte accounted for."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curate.dedup.alone import Wanted, recipe_text
from curate.errors import RecipeError
from curate.recipe import parse

JIT = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="whole runs need compiled code"
)


def text(seed: int, words: int = 80) -> str:
    return " ".join(random.Random(seed).choices([f"w{i}" for i in range(3000)], k=words))


def rows() -> list[dict[str, str]]:
    """Equal texts, a near one, a part, a line that many have, and a stretch that two have."""
    footer = "All rights reserved by the harbour master of a small town."
    stretch = text(99, 60)
    texts = [text(1), text(1), text(2), text(2).rsplit(" ", 2)[0], text(3, 400)]
    texts += [text(3, 400)[300:1500], *(f"{text(seed)}\n{footer}" for seed in range(4, 8))]
    texts += [f"{text(8)} {stretch} {text(9)}", f"{text(10)} {stretch} {text(11)}"]
    return [
        {"body": one, "url": f"http://a/{i}", "kind": "page", "tags": [str(i), "ä"]}
        for i, one in enumerate(texts)
    ]


def dedup(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curate", "dedup", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@JIT
@pytest.mark.parametrize("kind", ["jsonl.gz", "parquet"])
def test_every_kind_of_duplicate_goes_and_the_books_balance(tmp_path, kind):
    source, output = tmp_path / f"pages.{kind}", tmp_path / "out"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows()), source)
    else:
        with gzip.open(source, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows())
    done = dedup(
        *(source, "--output", output, "--text-key", "body", "--contained", "0.9"),
        *("--lines", "first", "--substrings", "50", "--workers", "0"),
    )
    assert done.returncode == 0, done.stderr
    ledger = json.loads((output / "ledger.json").read_text())
    stages = {stage["name"]: stage for stage in ledger["stages"]}
    assert {name: [*stage["dropped"]] for name, stage in stages.items() if stage["dropped"]} == {
        "exact.Exact": ["exact.duplicate"],
        "minhash.MinHash": ["minhash.duplicate"],
        "contained.Contained": ["contained.contained"],
    }
    lines, stretches = stages["lines.Lines"]["cut"], stages["substrings.Substrings"]["cut"]
    assert lines["lines.repeated"]["documents"] == 3
    assert stretches["substrings.repeated"]["documents"] == 1
    for stage in stages.values():
        out = stage["kept"]["bytes"] + sum(one["bytes"] for one in stage["dropped"].values())
        cut = sum(one["bytes"] for one in stage.get("cut", {}).values())
        assert out + cut == stage["entered"]["bytes"]
    for row in pq.read_table(output / "documents").to_pylist():
        number = row["url"].rpartition("/")[2]
        assert json.loads(row["metadata"]) == {"kind": "page", "tags": [number, "ä"]}
    left = "\n".join(pq.read_table(output / "documents").column("text").to_pylist())
    assert left.count("harbour master") == 1
    assert left.count(text(99, 60)) == 1
    cut = pq.read_table(output / "cut").to_pylist()
    assert {row["cut_by"] for row in cut} == {"lines.repeated", "substrings.repeated"}
    assert all(row["excerpt"] and row["bytes"] > 0 for row in cut[:2])
    assert "cut out of documents" in done.stdout


def test_options_become_a_recipe_whose_stages_stand_in_their_order():
    wanted = Wanted(near="0.8", urls=True, contained=0.9, lines="all", substrings=50, index=True)
    parsed = parse(recipe_text(wanted), "t.yaml")
    assert [step.label for step in parsed.steps] == [
        *("html.Extract", "exact.Url", "exact.Exact", "minhash.MinHash", "contained.Contained"),
        *("lines.Lines", "substrings.Substrings"),
    ]
    near = parsed.steps[3].stage
    assert (near.threshold, near.bands * near.rows <= 128, near.index) == (0.8, True, True)
    kept = yaml.safe_load(recipe_text(Wanted(keep="{sources: [wiki*, books*]}")))
    assert kept["stages"][1]["exact.Exact"] == {"keep": {"sources": ["wiki*", "books*"]}}
    parse(recipe_text(Wanted(keep="{sources: [wiki*, books*]}", urls=True, contained=0.9)), "t")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(near="finweb"), "--near finweb: write fineweb"),
        (Wanted(near="none", exact=False), "nothing to remove"),
        (Wanted(near="none", exact=False, index=True), "--against and --index are of URLs"),
        (Wanted(lines="some"), "--lines some: write first, all or no"),
        (Wanted(keep="{highest: "), "--keep {highest: : not YAML"),
    ],
)
def test_options_that_make_no_recipe_say_what_to_write(wanted, said):
    with pytest.raises(RecipeError, match=said.replace("{", r"\{")):
        recipe_text(wanted)
