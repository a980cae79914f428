"""The facts of a report: counted from the files of a run, exactly and in any order."""

import json
import math
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.errors import ShardError
from curate.report.collect import collect, place
from curate.report.facts import Report


def numbers(run, folder, column) -> np.ndarray:
    return pq.read_table(run / folder).column(column).drop_null().to_numpy()


@pytest.fixture(scope="module")
def report(run) -> Report:
    return collect(run, samples=3)


def test_the_books_are_those_of_the_ledger(report):
    assert report.entered.documents == 600
    dropped = sum(c.documents for _, s in report.stages for c in s.dropped.values())
    faults = sum(c.documents for _, s in report.stages for c in s.quarantined.values())
    assert report.kept.documents + dropped + faults == 600
    assert sum(reason.count.documents for reason in report.reasons) == dropped + faults
    counts = [reason.count.documents for reason in report.reasons]
    assert counts == sorted(counts, reverse=True)


def test_every_signal_counts_every_document_that_was_measured(report, run):
    for signal in report.signals[:-1]:
        kept = numbers(run, "documents", signal.name)
        dropped = numbers(run, "dropped", signal.name)
        both = np.concatenate([kept, dropped])
        assert signal.measured == len(both)
        assert signal.undefined == np.isnan(both).sum()
        assert signal.below == (both < signal.low).sum()
        assert signal.above == (both > signal.high).sum()
        assert signal.kept.total == np.isfinite(kept).sum()


def test_documents_dropped_by_a_signal_are_told_from_those_dropped_by_others(report, run):
    reasons = pq.read_table(run / "dropped").column("dropped_by").to_pylist()
    for signal in report.signals:
        defined = signal.dropped_here.total
        assert defined <= reasons.count(signal.name) <= defined + signal.undefined


def test_a_signal_that_no_document_reached_is_empty(report):
    assert report.signals[-1].name == "fineweb.never_measured"
    assert report.signals[-1].measured == 0


def test_hosts_with_fewer_than_five_documents_are_counted_together(report):
    assert all(tally.seen >= 5 for tally in report.hosts[:-1])
    assert report.hosts[-1].name.endswith(" others")
    assert not any("rare" in tally.name for tally in report.hosts)
    assert sum(tally.seen for tally in report.hosts) == 600


def test_languages_count_what_was_kept(report, run):
    kept = pq.read_table(run / "documents").column("language").to_pylist()
    assert {t.name: t.kept for t in report.languages} == {n: kept.count(n) for n in set(kept)}


def test_lengths_are_bytes_of_text(report, run):
    lengths = pc.binary_length(pq.read_table(run / "documents").column("text")).to_pylist()
    assert report.lengths.total == len(lengths)
    assert report.lengths.quantile(0.5) == sorted(lengths)[math.ceil(len(lengths) / 2) - 1]


def test_clusters_and_personal_data_are_summed(report, run):
    sizes = numbers(run, "documents", "cluster_size")
    assert report.clusters["near-duplicates"].total == len(sizes)
    assert {f.kind: f.found for f in report.finds} == {
        kind: numbers(run, "documents", f"pii_{kind}").sum() for kind in ("email", "phone")
    }


def test_samples_are_the_smallest_ids_of_each_reason(report, run):
    table = pq.read_table(run / "dropped").to_pylist()
    for reason in {row["dropped_by"] for row in table}:
        shown = [row["id"].hex() for row in table if row["dropped_by"] == reason and row["excerpt"]]
        mine = [sample.id for sample in report.samples if sample.reason == reason]
        assert mine == sorted(shown)[:3]
    kept = sorted(i.hex() for i in pq.read_table(run / "documents").column("id").to_pylist())
    assert [sample.id for sample in report.samples if not sample.reason] == kept[:3]


def test_samples_are_scrubbed_and_cut(tmp_path, write_run):
    from_crawl = "Write to jane@example.org, key AKIAIOSFODNN7EXAMPLE. " + "word " * 400
    run = write_run(tmp_path, texts=[from_crawl] * 600)
    for sample in collect(run, samples=2).samples:
        assert "[EMAIL]" in sample.text
        assert "[SECRET]" in sample.text
        assert "jane" not in sample.text
        assert len(sample.text) <= 301


def test_what_was_dropped_for_what_it_says_is_not_quoted(tmp_path, write_run):
    run = write_run(tmp_path, reason="pii.unsettled")
    assert not [s for s in collect(run, samples=3).samples if s.reason == "pii.unsettled"]


def test_without_samples_there_is_no_text_and_no_address(run):
    report = collect(run, samples=0)
    assert report.samples == []
    assert report.written == ""


def test_the_order_of_files_and_rows_does_not_matter(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    table = pq.read_table(other / "documents")
    shutil.rmtree(other / "documents")
    (other / "documents").mkdir()
    turned = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    pq.write_table(turned, other / "documents" / "part-00000.parquet", row_group_size=50)
    mine, its = collect(run, 3), collect(other, 3)
    assert repr(mine.samples) == repr(its.samples)  # nan is not itself
    assert mine.hosts == its.hosts
    assert mine.signals[0].kept.counts.tolist() == its.signals[0].kept.counts.tolist()


def test_columns_that_are_missing_are_no_fault(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    for path in (other / "documents").iterdir():
        pq.write_table(pq.read_table(path, columns=["id"]), path)
    shutil.rmtree(other / "model")
    (other / "run.json").unlink()
    report = collect(other)
    assert report.lengths.total == 0
    assert report.losses == []
    assert report.times == {}


def test_a_torn_last_line_of_the_losses_is_passed_over(report):
    assert len(report.losses) == 300


def test_times_are_left_out_on_request(run):
    assert collect(run, times=False).times == {}
    assert collect(run).times["workers"] == 2


def test_inputs_are_named_without_their_folders(report):
    assert [source.name for source in report.sources] == [f"part-{i}.warc.gz" for i in range(3)]


def test_a_folder_that_is_no_run_is_told_so(tmp_path):
    with pytest.raises(ShardError, match=r"ledger\.json: not there"):
        collect(tmp_path)
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(ShardError, match="not JSON"):
        collect(tmp_path)


def test_a_damaged_document_file_is_named(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    broken = sorted((other / "documents").iterdir())[0]
    broken.write_bytes(b"PAR1" + b"\0" * 20 + b"PAR1")
    with pytest.raises(ShardError, match=broken.name):
        collect(other)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@example.org:8080/a/b?token=1#x", "example.org/a/b"),
        ("https://example.org", "example.org"),
        ("http://[::1", ""),
        ("", ""),
        ("https://x.org/jane@example.org/", "x.org/[EMAIL]/"),
        ("javascript:alert(1)", "alert(1)"),
        (
            "http://www.montrealgazette.com/20120117/a43a5270d41d8cd98f00b204e9800998.html",
            "www.montrealgazette.com/[SECRET].html",
        ),
    ],
)
def test_a_place_is_host_and_path(url, shown):
    assert place(url) == shown


def test_the_ledger_alone_makes_a_report(run, tmp_path):
    for name in ("ledger.json", "recipe.json"):
        shutil.copy(run / name, tmp_path)
    report = collect(tmp_path)
    assert report.entered.documents == 600
    assert json.loads((tmp_path / "recipe.json").read_text())["name"] == report.recipe["name"]
