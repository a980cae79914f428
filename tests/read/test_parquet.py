import io
import random
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.ledger import Spans
from curate.read.reader import Read, find_inputs, read, spans

TEXTS = [f"text number {number}" for number in range(100)]


def parquet(columns: dict, **settings) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **settings)
    return sink.getvalue()


def rows_of(folder: Path, data: bytes, **settings) -> tuple[list[dict], Spans]:
    path = folder / "file.parquet"
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


def test_a_row_is_a_document(tmp_path: Path):
    data = parquet({"text": TEXTS, "url": [f"http://x/{i}" for i in range(100)], "id": range(100)})
    rows, ledger = rows_of(tmp_path, data)
    assert [row["payload"].decode() for row in rows] == TEXTS
    assert [row["offset"] for row in rows] == list(range(100))
    assert (rows[7]["url"], rows[7]["origin_id"], rows[7]["charset"]) == (
        "http://x/7",
        "7",
        "utf-8",
    )
    assert (ledger.records, ledger.faults) == (len(data), 0)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_may_be_of_any_text_type(kind: pa.DataType, tmp_path: Path):
    rows, _ = rows_of(tmp_path, parquet({"text": pa.array(TEXTS).cast(kind)}))
    assert [row["payload"].decode() for row in rows] == TEXTS


def test_other_columns_may_be_of_any_type(tmp_path: Path):
    columns = {
        "text": ["x", "y"],
        "url": [["a"], None],
        "date": [date(2024, 1, 2), None],
        "id": [1.5, None],
    }
    rows, _ = rows_of(tmp_path, parquet(columns))
    assert [(row["url"], row["date"], row["origin_id"]) for row in rows] == [
        (None, "2024-01-02", "1.5"),
        (None, None, None),
    ]


def test_missing_empty_and_invalid_texts_are_told_apart(tmp_path: Path):
    rows, _ = rows_of(tmp_path, parquet({"text": [b"x", None, b"", b"\xff"]}))
    assert [(row["dropped_by"], row["quarantined"]) for row in rows] == [
        (None, None),
        ("parquet.no_text", True),
        ("parquet.empty", False),
        ("parquet.not_utf8", True),
    ]


@pytest.mark.parametrize("columns", [{"body": ["x"]}, {"text": [5]}, {"text": [["x"]]}])
def test_a_file_without_text_is_quarantined(columns: dict, tmp_path: Path):
    rows, ledger = rows_of(tmp_path, parquet(columns))
    assert [row["dropped_by"] for row in rows] == ["parquet.no_text"]
    assert ledger.faults == ledger.size


def test_a_file_of_no_rows_gives_none(tmp_path: Path):
    rows, ledger = rows_of(tmp_path, parquet({"text": pa.array([], pa.string())}))
    assert rows == []
    assert ledger.records == ledger.size


def test_a_truncated_file_is_quarantined(tmp_path: Path):
    rows, ledger = rows_of(tmp_path, parquet({"text": TEXTS})[:-20])
    assert [row["dropped_by"] for row in rows] == ["parquet.corrupt"]
    assert ledger.faults == ledger.size


def test_a_corrupt_page_costs_its_row_group(tmp_path: Path):
    chance = random.Random(1)
    texts = [chance.randbytes(40).hex() for _ in range(100)]
    data = parquet(
        {"text": texts}, row_group_size=20, use_dictionary=False, write_page_checksum=True
    )
    start = pq.read_metadata(io.BytesIO(data)).row_group(2).column(0).data_page_offset
    at = start + 300
    rows, ledger = rows_of(tmp_path, data[:at] + bytes(8) + data[at + 8 :])
    kept = [row["payload"].decode() for row in rows if row["dropped_by"] is None]
    assert kept == texts[:40] + texts[60:]
    assert [row["dropped_by"] for row in rows if row["quarantined"]] == ["parquet.corrupt"]
    assert 0 < ledger.faults < ledger.size / 2


def test_parts_are_row_groups(tmp_path: Path):
    data = parquet({"text": TEXTS}, row_group_size=10)
    whole, _ = rows_of(tmp_path, data)
    parts, _ = rows_of(tmp_path, data, split_bytes=500)
    assert parts == whole
    item = find_inputs([str(tmp_path / "file.parquet")])[0][0]
    assert len(spans(item, Read(split_bytes=500))) > 2


def test_a_text_over_the_limit_is_quarantined(tmp_path: Path):
    rows, _ = rows_of(tmp_path, parquet({"text": ["x" * 101, "y"]}), max_payload_bytes=100)
    assert [row["dropped_by"] for row in rows] == ["parquet.payload_too_large", None]


@given(seed=st.integers(0, 2**32))
def test_no_damage_escapes(seed: int, tmp_path_factory: pytest.TempPathFactory):
    chance = random.Random(seed)
    data = bytearray(parquet({"text": TEXTS, "url": TEXTS}, row_group_size=30))
    for _ in range(chance.randrange(1, 5)):
        data[chance.randrange(4, len(data))] = chance.randrange(256)
    rows_of(tmp_path_factory.mktemp("damage"), bytes(data))
