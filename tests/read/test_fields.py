"""What a user reads whose text is in a field of another name."""

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curate.ledger import Count, StageLedger
from curate.read.fields import first_record, hints
from curate.read.reader import Read, find_inputs

ROW = {"contents": "a longer text", "id": 7, "lang": "en"}
LINE = json.dumps(ROW).encode() + b"\n"


def parquet(row: dict) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({name: [value] for name, value in row.items()}), sink)
    return sink.getvalue()


def hint(path: Path, content: bytes, without: int = 10, **settings) -> list[str]:
    """The hints for ten documents, so many of which had no text."""
    path.write_bytes(content)
    stage = StageLedger(Count(10), Count(10 - without), {}, {"jsonl.no_text": Count(without)})
    items, _ = find_inputs([str(path)])
    return hints(items, [{"stages": [stage.to_json()]}], Read(**settings))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.jsonl", LINE * 3),
        ("f.jsonl", b"\xef\xbb\xbf" + LINE.strip()),
        ("f.jsonl.gz", gzip.compress(b"\n", mtime=0) + gzip.compress(LINE, mtime=0)),
        ("f.jsonl.zst", zstandard.compress(LINE)),
        ("f.parquet", parquet(ROW)),
    ],
)
def test_the_fields_that_there_are_and_the_likely_one_are_named(name, content, tmp_path):
    assert hint(tmp_path / name, content) == [
        f"no field 'text' in {name}; there are: contents, id, lang; "
        "say `read: {text_key: contents}` in the recipe (curate dedup: --text-key)"
    ]


def test_a_few_documents_without_text_call_for_no_hint(tmp_path):
    assert hint(tmp_path / "f.jsonl", LINE, without=8) == []
    assert hint(tmp_path / "f.jsonl", LINE, without=0) == []


def test_names_that_yaml_would_misread_are_quoted(tmp_path):
    (said,) = hint(tmp_path / "f.jsonl", b'{"a: b": "text"}\n')
    assert "`read: {text_key: 'a: b'}`" in said
    (said,) = hint(tmp_path / "f.jsonl", b'{"no": "text"}\n')
    assert "`read: {text_key: 'no'}`" in said


def test_a_field_that_holds_no_text_is_not_called_missing(tmp_path):
    (said,) = hint(tmp_path / "f.parquet", parquet({"text": 5, "body": "x"}))
    assert said.startswith("the field 'text' in f.parquet holds no text; there are: text, body;")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("f.jsonl", content) for content in (b"{", b"[1]\n", b"", b"{" + b"x" * 200)),
        ("f.parquet", b"PAR1 torn"),
        ("f.jsonl.gz", gzip.compress(LINE, mtime=0)[:30]),
    ],
)
def test_what_cannot_be_read_has_no_fields(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    (item,), _ = find_inputs([str(tmp_path / name)])
    assert first_record(item, 100) == {}
    (said,) = hint(tmp_path / name, content)
    assert said.endswith("name the field of the text in the recipe: read: {text_key: NAME}")
