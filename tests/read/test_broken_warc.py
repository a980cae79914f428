import random
import re
from collections import Counter
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator
from hypothesis import given
from hypothesis import strategies as st

from curate.ledger import Spans
from curate.read.reader import Input, Read, find_inputs, read, spans
from tests.read import broken
from tests.read.broken import CASES, COUNT, Broken

MARKER = re.compile(rb"marker-(\d{6})")


class Result:
    """What was read of a file, with the laws asserted."""

    def __init__(self, item: Input, settings: Read | None = None) -> None:
        settings = settings or Read()
        self.spans = Spans()
        self.rows: list[dict] = []
        parts = spans(item, settings)
        assert [part.start for part in parts] == [0, *[part.end for part in parts[:-1]]]
        assert parts[-1].end == item.size
        for part in parts:
            ledger = Spans()
            for batch in read(item, part, settings, ledger):
                batch.validate(full=True)
                self.rows += batch.to_pylist()
            assert ledger.size == part.end - part.start
            ledger.check(item.name)
            self.spans.add(ledger)
        ids = [row["id"] for row in self.rows]
        assert len(set(ids)) == len(ids)
        assert all(not row["payload"] for row in self.rows if row["dropped_by"])

    @property
    def kept(self) -> list[dict]:
        return [row for row in self.rows if row["dropped_by"] is None]

    @property
    def reasons(self) -> Counter[str]:
        return Counter(row["dropped_by"] for row in self.rows if row["dropped_by"])

    @property
    def markers(self) -> list[int]:
        return [int(MARKER.search(row["payload"])[1]) for row in self.kept]


def result_of(folder: Path, data: bytes, suffix: str, settings: Read | None = None) -> Result:
    path = folder / f"file{suffix}"
    path.write_bytes(data)
    return Result(find_inputs([str(path)])[0][0], settings)


@pytest.mark.parametrize("name", CASES)
def test_damage_costs_only_itself(name: str, tmp_path: Path):
    case: Broken = CASES[name]
    result = result_of(tmp_path, case.data, case.suffix)
    assert len(result.kept) == case.recoverable
    assert sorted(set(result.markers)) == sorted(result.markers)
    assert any(reason.startswith(case.reason) for reason in result.reasons) or not case.reason
    assert bool(result.reasons) == bool(case.reason)
    assert case.notice in result.spans.noticed or not case.notice


@pytest.mark.parametrize("name", [name for name in CASES if name[:3] in ("A1 ", "A2 ", "A3 ")])
def test_a_truncated_file_is_not_taken_for_a_whole_one(name: str, tmp_path: Path):
    case = CASES[name]
    result = result_of(tmp_path, case.data, case.suffix)
    assert result.spans.faults > 0
    assert any(row["quarantined"] for row in result.rows)


def test_padding_is_counted_as_such(tmp_path: Path):
    result = result_of(tmp_path, CASES["A7 zero padding"].data, ".warc.gz")
    assert result.spans.padding == 512
    assert result.spans.faults == 0


def test_records_that_are_no_documents_are_counted_by_type(tmp_path: Path):
    result = result_of(tmp_path, CASES["A29 records that are no documents"].data, ".warc.gz")
    kinds = ("request", "metadata", "warcinfo", "revisit", "continuation", "other")
    assert result.spans.skipped == {f"record.{kind}": 1 for kind in kinds}


def test_garbage_is_counted_to_the_byte(tmp_path: Path):
    result = result_of(tmp_path, CASES["A8 garbage between members"].data, ".warc.gz")
    assert result.spans.faults == len(broken.GARBAGE)
    assert result.spans.records == len(broken.WHOLE)


def test_a_quarantined_record_keeps_its_address(tmp_path: Path):
    result = result_of(tmp_path, CASES["A5 wrong CRC"].data, ".warc.gz")
    damaged = [row for row in result.rows if row["quarantined"]]
    assert [row["url"] for row in damaged] == ["http://example.com/10"]


def _recovered_by_fastwarc(path: Path) -> int:
    markers = set()
    try:
        with path.open("rb") as file:
            for record in ArchiveIterator(file, parse_http=True):
                marker = MARKER.search(record.reader.read())
                if marker:
                    markers.add(int(marker[1]))
    except (OSError, ValueError, RuntimeError, EOFError):
        pass  # what it had read by then is counted
    return len(markers)


def test_more_is_recovered_than_by_fastwarc(tmp_path: Path):
    ours = theirs = lost = 0
    for seed in range(43):
        data = broken.seeded(seed)
        result = result_of(tmp_path, data, ".warc.gz")
        ours += len(set(result.markers))
        theirs += _recovered_by_fastwarc(tmp_path / "file.warc.gz")
        lost += COUNT - sum(one in data for one in broken.MEMBERS)
    assert ours >= 43 * COUNT - lost  # each member whose bytes are all there
    assert ours > theirs


@given(seed=st.integers(0, 2**32), cuts=st.integers(1, 6))
def test_every_byte_is_accounted_for_whatever_the_damage(
    seed: int, cuts: int, tmp_path_factory: pytest.TempPathFactory
):
    chance = random.Random(seed)
    source = chance.choice(
        [broken.WHOLE, broken.PLAIN, broken.member(broken.PLAIN), b"".join(broken.FRAMES)]
    )
    suffix = chance.choice([".warc.gz", ".warc", ".warc.zst", ".jsonl.gz", ".jsonl", ""])
    data = source
    for _ in range(cuts):
        at = chance.randrange(len(data))
        size = chance.randrange(400)
        junk = chance.randbytes(chance.randrange(100)) + chance.choice(
            [b"", b"\x1f\x8b\x08", b"WARC/1.0\r\n", b"\0" * 50, broken.MEMBERS[3], b"\r\n\r\n"]
        )
        data = data[:at] + junk + data[at + size :]
    result_of(tmp_path_factory.mktemp("law"), data, suffix)


@given(data=st.binary(max_size=2000), suffix=st.sampled_from([".warc.gz", ".warc", ".warc.zst"]))
def test_any_bytes_are_read_to_their_end(
    data: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
):
    result = result_of(tmp_path_factory.mktemp("any"), data, suffix)
    assert result.rows or not data.strip(b"\0\r\n")


@given(seed=st.integers(0, 2**32))
def test_the_parts_of_a_file_hold_what_the_whole_holds(
    seed: int, tmp_path_factory: pytest.TempPathFactory
):
    chance = random.Random(seed)
    data = broken.WHOLE if seed % 2 else broken.seeded(seed)
    folder = tmp_path_factory.mktemp("parts")
    whole = result_of(folder, data, ".warc.gz")
    parts = result_of(folder, data, ".warc.gz", Read(split_bytes=chance.randrange(200, 4000)))
    assert sorted(row["id"] for row in parts.kept) == sorted(row["id"] for row in whole.kept)
    assert parts.markers == whole.markers


def test_a_large_file_is_cut_at_members(tmp_path: Path):
    path = tmp_path / "file.warc.gz"
    path.write_bytes(broken.WHOLE)
    item = find_inputs([str(path)])[0][0]
    parts = spans(item, Read(split_bytes=1000))
    starts = {sum(map(len, broken.MEMBERS[:count])) for count in range(COUNT)}
    assert len(parts) > 3
    assert {part.start for part in parts} <= starts
