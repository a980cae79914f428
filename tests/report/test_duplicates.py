"""What deduplication did, told after real runs: clusters, pairs, chains, cuts, and a table."""

import json
import math
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import excerpts
from curate.errors import ShardError
from curate.report import duplicates, journey, lineage, page, write_pairs, write_report
from curate.report.explain import explain
from curate.report.lineage import DUPLICATE_OF, Ids
from curate.run import Job, run
from tests.chaos.zygote import Quiet
from tests.report.test_terminal import printed

RECIPE = """
name: alike
stages:
  - html.Extract
  - exact.Exact
  - minhash.MinHash: {similarity: 0.6}
  - filter: [{gopher.word_count: {low: 1, high: 400}}]
"""
WORDS = [
    f"{first}{second}" for first in "bdfghklmnprst" for second in ("ar", "el", "on", "ul", "i")
]
MAIL = "jane.canary@example.org"


def text(seed: int, words: int = 200) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def edited(text: str, at: int, what: str) -> str:
    words = text.split()
    return " ".join([*words[:at], what, *words[at:]])


def documents() -> dict[str, str]:
    """By URL: a chain of an exact and a near duplicate, a cluster whose document goes, a crowd."""
    told = {
        "https://a.example/copy": edited(text(1), 90, MAIL),
        "https://b.example/copy": edited(text(1), 90, MAIL),
        "https://a.example/longer": edited(edited(text(1), 90, MAIL), 40, "unseen <b>bold</b>"),
        "https://a.example/too-long": text(2, 420),
        "https://c.example/shorter": text(2, 395),
        "https://d.example/alone": text(3),
    }
    crowd = {f"https://crowd.example/{i}": edited(text(4), 10 * i, f"only{i}") for i in range(9)}
    return {**told, **crowd, "https://crowd.example/": text(4, 230)}


def a_run(folder, texts: dict[str, str], recipe: str = RECIPE):
    lines = [json.dumps({"url": url, "text": text}) for url, text in texts.items()]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    job = Job(recipe, "alike.yaml", [str(folder / "in.jsonl")], folder / "out", workers=0)
    run(job, Quiet())
    return folder / "out"


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("alike"), documents())


@pytest.fixture(scope="module")
def told(alike):
    return {facts.stage: facts for facts in duplicates.duplicates_of(alike)}


@pytest.fixture(scope="module")
def table(alike, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "new" / "pairs.parquet"
    assert write_pairs(alike, path) == 12
    return pq.read_table(path)


def urls(table: pa.Table) -> dict[str, dict]:
    return {row["url"]: row for row in table.to_pylist()}


def test_every_stage_tells_how_many_went_into_how_many(told):
    exact, near = told["exact.Exact"], told["minhash.MinHash"]
    assert (exact.documents, exact.kept, exact.linked, exact.lost) == (1, 1, 1, 0)
    assert (near.documents, near.kept, near.linked, near.lost) == (11, 3, 0, 1)
    assert exact.bytes == len(edited(text(1), 90, MAIL))
    assert near.sizes.values.tolist() == [2, 10]
    assert near.sizes.counts.tolist() == [2, 1]


def test_similarities_lie_above_the_bound_and_copies_have_none(told):
    assert told["exact.Exact"].similarity.total == 0
    near = told["minhash.MinHash"]
    assert near.bound == 0.6
    assert near.similarity.total == 11
    assert near.similarity.values.min() >= 0.6


def test_the_largest_cluster_comes_first_with_its_hosts(told):
    first, *rest = told["minhash.MinHash"].largest
    assert (first.size, first.hosts, first.host) == (10, 1, "crowd.example")
    assert first.place == "https://crowd.example/".removeprefix("https://")
    assert first.bytes == sum(len(edited(text(4), 10 * i, f"only{i}")) for i in range(9))
    assert (rest[0].size, rest[0].hosts, rest[0].host) == (2, 2, "")


def test_no_pair_is_shown_twice_and_the_doubtful_come_first(told):
    near = told["minhash.MinHash"]
    assert len({pair.id for pair in near.pairs}) == len(near.pairs)
    assert 6 <= len(near.pairs) <= 9
    closest = [pair.similarity for pair in near.pairs if pair.chosen == duplicates.NEAR]
    assert math.isclose(closest[0], near.similarity.quantile(0), rel_tol=1e-3)
    assert closest == sorted(closest)


def test_a_pair_marks_the_word_that_only_one_has(told):
    pairs = [pair for pair in told["minhash.MinHash"].pairs if pair.place.startswith("crowd")]
    for pair in pairs:
        marked = [piece.text.strip() for piece in pair.texts.left if piece.kind == "only"]
        assert marked == [f"only{pair.place.rpartition('/')[2]}"]


def test_a_chain_is_followed_to_the_document_that_has_the_text(told, table, alike):
    (pair,) = told["exact.Exact"].pairs
    assert pair.of_place == "a.example/longer"
    assert pair.fate.startswith("went later, too, by minhash.MinHash")
    rows = urls(table)
    copy = next(row for url, row in rows.items() if row["stage"] == "exact.Exact")
    middle = rows[copy["duplicate_of_url"]]
    assert copy["similarity"] == 1.0
    assert copy["duplicate_of"] == middle["id"]
    assert copy["final"] == middle["final"] == middle["duplicate_of"]
    assert middle["duplicate_of_url"] == "https://a.example/longer"
    journeyed = explain(alike, copy["id"].hex())
    assert [(one.id, one.fate) for one in journeyed.others] == [
        (middle["id"].hex(), "duplicate"),
        (middle["final"].hex(), "kept"),
    ]
    assert f"its text: in {middle['final'].hex()}" in printed(journey(alike, copy["id"].hex()))


def test_a_text_that_was_dropped_in_the_end_is_nowhere(told, table, alike):
    row = urls(table)["https://c.example/shorter"]
    assert row["final"] is None
    assert row["duplicate_of_url"] == "https://a.example/too-long"
    text = printed(journey(alike, row["id"].hex()))
    assert "its text: nowhere: gopher.word_count" in text
    pairs = {pair.place: pair for pair in told["minhash.MinHash"].pairs}
    if "c.example/shorter" in pairs:
        assert pairs["c.example/shorter"].fate == "was dropped later: gopher.word_count"


def test_the_table_has_every_duplicate_once_with_its_similarity(table, alike):
    assert table.schema.equals(lineage.PAIRS)
    dropped = pa.concat_tables(
        [pq.read_table(path) for path in (alike / "dropped").glob("*")], promote_options="default"
    )
    went = dropped.filter(dropped[DUPLICATE_OF].is_valid())
    assert sorted(table["id"].to_pylist()) == sorted(went["id"].to_pylist())
    values = {row["id"]: row["value"] for row in went.to_pylist()}
    for row in table.to_pylist():
        assert row["similarity"] == (1.0 if row["stage"] == "exact.Exact" else values[row["id"]])


def test_the_table_is_the_same_with_less_memory(table, alike, tmp_path, monkeypatch):
    monkeypatch.setattr(lineage, "MOST_URLS", 1)
    monkeypatch.setattr(lineage, "ROWS", 2)
    write_pairs(alike, tmp_path / "pairs.parquet")
    again = pq.read_table(tmp_path / "pairs.parquet")
    key = [("id", "ascending")]
    assert again.sort_by(key).equals(table.sort_by(key))


def test_one_that_stays_tells_what_it_stands_for(alike, table):
    row = urls(table)["https://crowd.example/3"]
    told = explain(alike, row["final"].hex())
    assert told.copies == 9
    assert told.some_copies == tuple(sorted(told.some_copies))
    assert len(told.some_copies) == 5
    assert "stands for 9 more documents: " in printed(journey(alike, told.id))
    longer = explain(alike, "https://a.example/longer")
    assert longer.copies == 2  # one of them by way of the other


def test_the_order_of_files_and_the_size_of_batches_change_nothing(alike, tmp_path):
    for name in ("ledger.json", "recipe.json"):
        (tmp_path / name).write_bytes((alike / name).read_bytes())
    for kind in ("documents", "dropped"):
        (tmp_path / kind).mkdir()
        for file in (alike / kind).glob("*.parquet"):
            table = pq.read_table(file)
            for row in range(table.num_rows):
                part = tmp_path / kind / f"part-{999 - row:05d}-{file.name}"
                pq.write_table(table.slice(row, 1), part)
    write_report(tmp_path, times=False)
    write_report(alike, times=False)
    assert duplicates.duplicates_of(tmp_path)[1].pairs == duplicates.duplicates_of(alike)[1].pairs
    assert (tmp_path / "report.html").read_text() == (alike / "report.html").read_text()


def test_without_duplicates_nothing_is_lost_and_that_is_said(tmp_path):
    output = a_run(tmp_path, {f"https://a.example/{i}": text(i) for i in range(5)})
    assert duplicates.duplicates_of(output) == []
    assert "No document was dropped as a duplicate." in write_report(output).read_text()
    assert write_pairs(output, tmp_path / "pairs.parquet") == 0
    assert pq.read_table(tmp_path / "pairs.parquet").schema.equals(lineage.PAIRS)
    told = explain(output, "https://a.example/3")
    assert (told.others, told.copies) == ((), 0)


def test_what_is_no_run_is_told_so(tmp_path):
    with pytest.raises(ShardError, match=r"recipe\.json: not there"):
        write_pairs(tmp_path, tmp_path / "pairs.parquet")
    assert not (tmp_path / "pairs.parquet").exists()


def test_the_page_shows_pairs_and_no_personal_data(alike):
    html = write_report(alike).read_text()
    assert "Pairs side by side" in html
    assert "<ins>unseen &lt;b&gt;bold&lt;/b&gt; </ins>" in html
    assert "canary" not in html
    assert "canary" not in str(pq.read_table(alike / "dropped" / "part-00000-pass-1.parquet"))


def test_a_page_to_pass_on_has_no_pair_and_no_address(alike):
    for facts in duplicates.duplicates_of(alike, samples=0):
        assert facts.pairs == []
        assert facts.documents
        assert all((cluster.place, cluster.host) == ("", "") for cluster in facts.largest)
    write_report(alike, samples=0)
    html = (alike / "report.html").read_text()
    assert "Largest clusters" in html
    assert "c.example/" not in html
    assert "/too-long" not in html
    assert "only3" not in html


def test_as_much_is_compared_as_a_run_keeps():
    assert excerpts.DUPLICATE_CHARACTERS == duplicates.PAIR_CHARACTERS


def test_a_unit_keeps_the_texts_of_a_few_duplicates_only(tmp_path):
    crowd = {f"https://a.example/{i}": text(7) for i in range(100)}
    output = a_run(tmp_path, crowd)
    dropped = pq.read_table(output / "dropped" / "part-00000-pass-1.parquet")
    went = dropped.filter(dropped[DUPLICATE_OF].is_valid())
    assert went.num_rows == 99
    assert 0 < len(went["excerpt"].drop_null()) <= excerpts.DUPLICATE_EXCERPTS
    ids = sorted(went["id"].to_pylist())[: excerpts.TELLING]
    shown = {row["id"] for row in went.to_pylist() if row["excerpt"] is not None}
    assert set(ids) <= shown


def test_hostile_texts_and_urls_are_shown_literally(tmp_path, payloads, monkeypatch):
    monkeypatch.setattr(excerpts, "TELLING", 100)
    monkeypatch.setattr(excerpts, "DUPLICATE_EXCERPTS", 100)
    texts = {f"https://h.example/{i}/{p}": f"{p}\n{text(i)}" for i, p in enumerate(payloads)}
    near = {f"https://h.example/{i}/x": f"{text(i)} more" for i in range(len(payloads))}
    output = a_run(tmp_path, {**texts, **near})
    facts = duplicates.duplicates_of(output, samples=20)
    html = write_report(output, samples=20).read_text()
    assert sum(len(stage.pairs) for stage in facts) > 20
    assert "<script>document" not in html
    assert "<img" not in html
    assert html.count("<script>") == 1
    controls = {chr(code) for code in page._UNSEEN} - {"\n"}
    assert not controls & set(html)


def test_an_id_of_another_run_stays_where_it_is(alike, tmp_path):
    """As an index of earlier dumps gives it."""
    (tmp_path / "dropped").mkdir()
    for name in ("ledger.json", "recipe.json"):
        (tmp_path / name).write_bytes((alike / name).read_bytes())
    row = {"id": b"a" * 16, "url": "https://a.example/", "stage": "minhash.MinHash"}
    row |= {"value": 0.9, "bound": 0.7, "bytes": 9, "excerpt": "some text", DUPLICATE_OF: b"b" * 16}
    row |= {"dropped_by": "minhash.duplicate"}
    kinds = {"id": pa.binary(16), DUPLICATE_OF: pa.binary(16)}
    columns = {name: pa.array([value], kinds.get(name)) for name, value in row.items()}
    pq.write_table(pa.table(columns), tmp_path / "dropped" / "part-00000-pass-0.parquet")
    (facts,) = duplicates.duplicates_of(tmp_path)
    assert facts.lost == 0
    assert facts.pairs[0].texts is None
    assert facts.pairs[0].fate == "is none of this run's documents"
    write_pairs(tmp_path, tmp_path / "pairs.parquet")
    (line,) = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert (line["final"], line["duplicate_of_url"]) == (b"b" * 16, None)
    assert "not in this run" in printed(journey(tmp_path, (b"a" * 16).hex()))


def test_ids_that_share_a_half_are_told_apart():
    rows = [b"x" * 8 + bytes(7) + bytes([i]) for i in (3, 1, 2)] + [b"y" * 16]
    ids = Ids(pa.array(rows, pa.binary(16)))
    wanted = [*rows, b"x" * 16, b"\0" * 16, b"\xff" * 16]
    found = ids.find(pa.array([b"z" * 16, *wanted], pa.binary(16))[1:])
    assert found.tolist() == [2, 0, 1, 3, -1, -1, -1]
    assert Ids(pa.array([], pa.binary(16))).find(pa.array(rows, pa.binary(16))).tolist() == [-1] * 4


def with_cuts(alike, folder):
    """The run as if a survey had cut a line out of two documents."""
    for name in ("recipe.json", "ledger.json"):
        (folder / name).write_bytes((alike / name).read_bytes())
    (folder / "documents").symlink_to(alike / "documents")
    (folder / "dropped").symlink_to(alike / "dropped")
    ledger = json.loads((folder / "ledger.json").read_text())
    cut = {"lines.repeated": {"documents": 2, "bytes": 1500, "spans": 3}}
    for stage in ledger["stages"]:
        if stage["name"] == "minhash.MinHash":
            stage["cut"] = cut
    (folder / "ledger.json").write_text(json.dumps(ledger))
    ids = pq.read_table(folder / "documents")["id"].to_pylist()
    excerpts = ["<script>alert(1)</script> Subscribe now […] All rights reserved", None]
    rows = [
        {"id": ids[0], "url": "https://a.example/?q=canary", "excerpt": excerpts[0], "spans": 2},
        {"id": ids[1], "url": "https://b.example/", "excerpt": excerpts[1], "spans": 1},
    ]
    for row in rows:
        row |= {"stage": "minhash.MinHash", "cut_by": "lines.repeated", "bytes": 750}
    (folder / "cut").mkdir()
    table = pa.Table.from_pylist(rows)
    table = table.set_column(0, "id", table["id"].cast(pa.binary(16)))
    pq.write_table(table, folder / "cut" / "part-00000-pass-1.parquet")
    return folder


def test_cuts_are_told_with_samples_and_the_funnel_has_their_bytes(alike, tmp_path):
    run = with_cuts(alike, tmp_path)
    (cuts,) = duplicates.cuts_of(run)
    assert (cuts.stage, cuts.documents, cuts.bytes, cuts.spans) == ("minhash.MinHash", 2, 1500, 3)
    (sample,) = cuts.samples
    assert sample.spans == 2
    assert sample.text.endswith("Subscribe now […] All rights reserved")
    assert sample.left
    html = write_report(run).read_text()
    assert "bytes cut out" in html
    assert "<del>&lt;script&gt;alert(1)&lt;/script&gt; Subscribe now" in html
    assert "1.5 kB" in html
    assert "Subscribe" not in write_report(run, samples=0).read_text()
    text = printed(journey(run, sample.id))
    assert "cut out: 750 bytes, stretches: 2 (minhash.MinHash: lines.repeated)" in text


def test_cuts_that_no_run_writes_are_told_so(alike, tmp_path):
    ledger = json.loads((alike / "ledger.json").read_text())
    ledger["stages"][2]["cut"] = {"lines.repeated": {"documents": 1}}
    (tmp_path / "ledger.json").write_text(json.dumps(ledger))
    with pytest.raises(ShardError, match=r"stages\.2\.cut\.lines\.repeated\.bytes"):
        duplicates.cuts_of(tmp_path)


def test_a_run_without_cuts_has_no_word_of_them(alike):
    assert duplicates.cuts_of(alike) == []
    html = write_report(alike).read_text()
    assert "cut out" not in html.lower()
