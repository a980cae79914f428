import random
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from curate.ledger import Spans
from curate.read.reader import Input, Read, find_inputs, read, spans

# Healthy files in which fastwarc finds every record.
HEALTHY = [
    "cc-whirlwind_whirlwind.warc.gz",
    "cc-whirlwind_whirlwind.warc.wet.gz",
    "dolma_sample-0000.warc.gz",
    "ipwb_sample-1.warc.gz",
    "jwarc_cc.warc.gz",
    "realweb.warc.gz",
    "resiliparse_warcfile.warc.gz",
    "ukwa-test-suite_small-arcs-and-warcs_IAH-urls-wget.warc.gz",
]


def rows_of(item: Input, settings: Read | None = None) -> tuple[list[dict], Spans]:
    settings = settings or Read()
    rows, total = [], Spans()
    for part in spans(item, settings):
        ledger = Spans()
        for batch in read(item, part, settings, ledger):
            batch.validate(full=True)
            rows += batch.to_pylist()
        ledger.check(item.name)
        total.add(ledger)
    assert total.size == item.size
    return rows, total


def _by_fastwarc(path: Path) -> tuple[dict[str, bytes], int]:
    """The payloads of responses with status 200 and of conversions, and how many other records."""
    payloads, others = {}, 0
    with path.open("rb") as file:
        for record in ArchiveIterator(file, parse_http=True, auto_decode="all"):
            if record.record_type not in (WarcRecordType.response, WarcRecordType.conversion):
                others += 1
            elif record.http_headers is None or record.http_headers.status_code == 200:
                payloads[record.headers["WARC-Record-ID"]] = record.reader.read()
    return payloads, others


@pytest.mark.parametrize("name", HEALTHY)
def test_the_same_records_and_payloads_as_fastwarc(name: str, shared: Path):
    path = shared / "crawl" / name
    rows, ledger = rows_of(find_inputs([str(path)])[0][0])
    theirs, others = _by_fastwarc(path)
    ours = {row["origin_id"]: row for row in rows if row["dropped_by"] != "http.status"}
    assert set(ours) == set(theirs)
    assert sum(ledger.skipped.values()) == others
    assert (ledger.faults, ledger.padding) == (0, 0)
    for origin, row in ours.items():
        if row["dropped_by"] is None:
            assert row["payload"] == theirs[origin]


def test_every_real_file_balances_whatever_it_is(shared: Path):
    items, _ = find_inputs([str(shared / "crawl" / "**" / "*")])
    assert len(items) > 40
    for item in items:
        rows, ledger = rows_of(item)
        assert rows or ledger.skipped, item.name


def test_damage_to_a_real_file_costs_one_member_each(shared: Path, tmp_path: Path):
    data = bytearray((shared / "crawl" / "dolma_sample-0000.warc.gz").read_bytes())
    path = tmp_path / "file.warc.gz"
    path.write_bytes(data)
    whole = {row["id"] for row in rows_of(find_inputs([str(path)])[0][0])[0]}
    for seed in range(20):
        chance = random.Random(seed)
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        rows, _ = rows_of(find_inputs([str(path)])[0][0])
        assert sum(row["dropped_by"] is None for row in rows) >= len(whole) - 1


def test_a_real_file_in_parts_gives_the_rows_of_the_whole(shared: Path):
    item = find_inputs([str(shared / "crawl" / "realweb.warc.gz")])[0][0]
    settings = Read(split_bytes=4 << 20)
    assert len(spans(item, settings)) == 6
    whole, _ = rows_of(item)
    parts, _ = rows_of(item, settings)
    assert parts == whole


def test_ids_depend_on_the_content_and_not_on_the_place(shared: Path, tmp_path: Path):
    path = shared / "crawl" / "jwarc_cc.warc.gz"
    (tmp_path / "other.warc.gz").write_bytes(path.read_bytes())
    here = rows_of(find_inputs([str(path)])[0][0])[0]
    there = rows_of(find_inputs([str(tmp_path)])[0][0])[0]
    assert [row["id"] for row in here] == [row["id"] for row in there]
