import gzip
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.ledger import Spans
from curate.read.reader import Read, find_inputs, kind_of, read, spans

PACKERS = {".jsonl": bytes, ".jsonl.gz": gzip.compress, ".jsonl.zst": zstandard.compress}


def rows_of(folder: Path, data: bytes, suffix: str = ".jsonl", **settings) -> tuple[list, Spans]:
    path = folder / f"file{suffix}"
    path.write_bytes(data)
    item = find_inputs([str(path)])[0][0]
    rows, total = [], Spans()
    for part in spans(item, Read(**settings)):
        ledger = Spans()
        for batch in read(item, part, Read(**settings), ledger):
            rows += batch.to_pylist()
        ledger.check("file")
        total.add(ledger)
    assert total.size == len(data)
    return rows, total


def line(text: object, **fields: object) -> bytes:
    return json.dumps({"text": text, **fields}).encode() + b"\n"


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_line_is_a_document(suffix: str, tmp_path: Path):
    data = line("grün", url="http://x/", id=7, date="2024") + line("two")
    rows, _ = rows_of(tmp_path, PACKERS[suffix](data), suffix)
    assert [row["payload"].decode() for row in rows] == ["grün", "two"]
    assert (rows[0]["url"], rows[0]["origin_id"], rows[0]["date"]) == ("http://x/", "7", "2024")
    assert (rows[0]["content_type"], rows[0]["charset"]) == ("text/plain", "utf-8")
    assert rows[0]["source"] == f"file{suffix}"
    assert [row["offset"] for row in rows] == [0, len(data) - len(line("two"))]
    assert rows[1]["url"] is None


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"text": "half\n', "jsonl.bad_line"),
        (b"[1, 2]\n", "jsonl.bad_line"),
        (b'"a string"\n', "jsonl.bad_line"),
        (b"null\n", "jsonl.bad_line"),
        (b'{"body": "x"}\n', "jsonl.no_text"),
        (b'{"text": 5}\n', "jsonl.no_text"),
        (b'{"text": null}\n', "jsonl.no_text"),
        (b'{"text": ["x"]}\n', "jsonl.no_text"),
        (b'{"text": "\xff"}\n', "jsonl.not_utf8"),
        (b'{"text": "\\ud800"}\n', "jsonl.not_utf8"),
        (b'{"text": "x", "n": ' + b"9" * 5000 + b"}\n", "jsonl.bad_line"),
        (b'{"text": ' + b"[" * 100_000 + b"\n", "jsonl.bad_line"),
        (b"\0" * 50 + b"\n", "jsonl.bad_line"),
    ],
)
def test_a_bad_line_costs_itself(bad: bytes, reason: str, suffix: str, tmp_path: Path):
    data = PACKERS[suffix](line("before") + bad + line("after"))
    rows, ledger = rows_of(tmp_path, data, suffix)
    assert [row["dropped_by"] for row in rows] == [None, reason, None]
    assert [row["quarantined"] for row in rows] == [None, True, None]
    if suffix == ".jsonl":
        assert ledger.faults == len(bad)


@pytest.mark.parametrize(
    "odd",
    [
        b'{"text": "x", "text": "y"}\n',
        b'{"text": "y", "n": NaN, "m": 1e999}\n',
        b'{"text": "y"}\r\n',
        b'  {"text": "y"}  \n',
        b'\xef\xbb\xbf{"text": "y"}\n',
        b'{"text": "y", "url": {"a": 1}, "id": null, "date": [1]}\n',
        b'{"text": "y"}',
    ],
)
def test_an_odd_line_is_read(odd: bytes, tmp_path: Path):
    rows, _ = rows_of(tmp_path, odd)
    assert [row["payload"] for row in rows] == [b"y"]


def test_an_empty_text_is_dropped_not_quarantined(tmp_path: Path):
    rows, ledger = rows_of(tmp_path, line(""))
    assert (rows[0]["dropped_by"], rows[0]["quarantined"]) == ("jsonl.empty", False)
    assert ledger.faults == 0


def test_blank_lines_are_padding(tmp_path: Path):
    rows, ledger = rows_of(tmp_path, b"\n\r\n" + line("x") + b"  \n")
    assert len(rows) == 1
    assert ledger.padding == 6


def test_an_end_that_is_cut_off_is_reported(tmp_path: Path):
    rows, _ = rows_of(tmp_path, line("x") + b'{"text": "ha')
    assert rows[1]["dropped_by"] == "jsonl.truncated"


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_line_over_the_limit_costs_itself(suffix: str, tmp_path: Path):
    data = PACKERS[suffix](line("before") + line("x" * 3_000_000) + line("after"))
    rows, _ = rows_of(tmp_path, data, suffix, max_member_bytes=1_000_000, max_payload_bytes=1000)
    reasons = [row["dropped_by"] for row in rows]
    assert reasons == [None, "jsonl.line_too_large", None]


def test_a_text_over_the_limit_is_quarantined(tmp_path: Path):
    rows, _ = rows_of(tmp_path, line("x" * 1001), max_payload_bytes=1000)
    assert rows[0]["dropped_by"] == "jsonl.payload_too_large"


def test_a_truncated_gzip_file_keeps_its_whole_lines(tmp_path: Path):
    data = gzip.compress(b"".join(line(f"text {number * 7919}") for number in range(1000)))
    rows, ledger = rows_of(tmp_path, data[: len(data) // 2], ".jsonl.gz")
    kept = [row for row in rows if row["dropped_by"] is None]
    assert 100 < len(kept) < 900
    assert rows[-1]["dropped_by"] == "jsonl.truncated"
    assert ledger.faults > 0


def test_a_damaged_member_costs_itself(tmp_path: Path):
    members = [gzip.compress(line(f"text {number}")) for number in range(9)]
    members[4] = members[4][:20] + b"\xff\xff" + members[4][22:]
    rows, ledger = rows_of(tmp_path, b"".join(members), ".jsonl.gz")
    assert sum(row["dropped_by"] is None for row in rows) == 8
    assert ledger.faults == len(members[4])


def test_lines_may_cross_members(tmp_path: Path):
    data = line("one") + line("two") + line("three")
    packed = b"".join(gzip.compress(data[at : at + 7]) for at in range(0, len(data), 7))
    rows, _ = rows_of(tmp_path, packed, ".jsonl.gz")
    assert [row["payload"] for row in rows] == [b"one", b"two", b"three"]


def test_other_keys_can_be_named(tmp_path: Path):
    data = json.dumps({"body": "x", "link": "u", "key": "k", "day": "d"}).encode()
    rows, _ = rows_of(tmp_path, data, text_key="body", url_key="link", id_key="key", date_key="day")
    assert (rows[0]["payload"], rows[0]["url"], rows[0]["origin_id"], rows[0]["date"]) == (
        b"x",
        "u",
        "k",
        "d",
    )


def test_the_kind_is_told_by_content_before_the_name(tmp_path: Path):
    path = tmp_path / "file.warc"
    path.write_bytes(gzip.compress(line("x")))
    assert kind_of(find_inputs([str(path)])[0][0]) == "jsonl.gz"


@given(data=st.binary(), suffix=st.sampled_from([".jsonl", ".jsonl.gz", ".jsonl.zst"]))
def test_any_bytes_are_read_to_their_end(
    data: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
):
    rows_of(tmp_path_factory.mktemp("any"), data, suffix)
    rows_of(tmp_path_factory.mktemp("any"), b'{"text": "x"}\n' + data, suffix)


@given(texts=st.lists(st.text(), min_size=1, max_size=30), split=st.integers(1, 200))
def test_texts_come_back_from_any_parts(
    texts: list[str], split: int, tmp_path_factory: pytest.TempPathFactory
):
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    data = b"".join(map(line, texts))
    whole, _ = rows_of(tmp_path_factory.mktemp("whole"), data)
    parts, _ = rows_of(tmp_path_factory.mktemp("parts"), data, split_bytes=split)
    assert parts == whole
    assert [row["payload"].decode() for row in whole] == texts
