"""The report and a journey in the terminal: complete, short, and unable to steer it."""

import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from curate.errors import InputError
from curate.report import journey, summary
from curate.report.explain import explain
from tokenizer import shards


def printed(renderable) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def rows(run, folder) -> list[dict]:
    return pq.read_table(run / folder).to_pylist()


def test_the_summary_has_every_step_and_the_reasons(run):
    text = printed(summary(run))
    for word in ("600 documents", "minhash.Near", "gopher.stop_words", "warc.truncated", "tokens"):
        assert word in text


def test_foreign_names_are_neither_markup_nor_escape_sequences(tmp_path, write_run):
    run = write_run(tmp_path, reason="[red]x[/red]\x1b[31m\u202e")
    text = printed(summary(run))
    assert "[red]x[/red]\\u001b[31m\\u202e" in text
    assert "\x1b" not in text


def test_a_dropped_document_stops_where_it_was_dropped(run):
    row = next(row for row in rows(run, "dropped") if row["stage"] == "filter fineweb")
    told = explain(run, row["id"].hex())
    outcomes = [step.outcome for step in told.steps]
    assert outcomes == ["kept"] * 4 + ["dropped"] + ["not reached"] * 2
    step = told.steps[4]
    assert (step.reason, step.value, step.bound) == (row["dropped_by"], row["value"], row["bound"])
    broken = [m for m in step.measured if m.name == row["dropped_by"]]
    assert not broken[0].within
    assert told.text is None
    assert told.tokens is None


def test_a_damaged_document_was_quarantined(run):
    row = next(row for row in rows(run, "dropped") if row["quarantined"])
    assert explain(run, row["id"].hex()).steps[0].outcome == "quarantined"


def test_a_kept_document_is_told_to_its_last_byte(run):
    for file in sorted((run / "documents").iterdir()):
        table = pq.read_table(file)
        for row in (0, 100, table.num_rows - 1):
            values = table.slice(row, 1).to_pylist()[0]
            told = explain(run, values["id"].hex())
            assert [step.outcome for step in told.steps] == ["kept"] * 7
            assert (told.text.file, told.text.first) == (f"documents/{file.name}", row)
            assert told.text.count == len(values["text"].encode())
            emails = values["pii_email"]
            assert told.personal.get("email", 0) == emails


def test_an_undefined_number_lies_within_no_bounds(run):
    row = next(row for row in rows(run, "dropped") if math.isnan(row["value"] or 0))
    step = next(step for step in explain(run, row["id"].hex()).steps if step.reason)
    assert not next(m for m in step.measured if m.name == step.reason).within
    assert "none" in printed(journey(run, row["id"].hex()))


def test_the_beginning_of_an_id_and_a_url_will_do(run):
    row = rows(run, "documents")[5]
    for identity in (row["id"].hex()[:11], row["id"].hex()[:12].upper(), row["url"]):
        assert explain(run, identity).id == row["id"].hex()


@pytest.mark.parametrize("identity", ["", "zz", "https://nowhere.example/", "f" * 32, "0" * 33])
def test_an_unknown_document_is_told_so(run, identity):
    with pytest.raises(InputError, match="no document"):
        explain(run, identity)


def test_a_beginning_that_many_share_is_refused_with_some_of_them(run):
    first = sorted(row["id"].hex() for row in rows(run, "documents"))[0]
    with pytest.raises(InputError, match="and more; give more of the id"):
        explain(run, first[0])


def test_the_tokens_of_a_document_are_found(tmp_path, write_run):
    run = write_run(tmp_path, count=60)
    documents = pq.read_table(run / "documents").combine_chunks()
    (run / "tokens").mkdir()
    lengths = np.arange(1, documents.num_rows + 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    batch = documents.to_batches()[0]
    tokens = np.zeros(int(offsets[-1]), np.uint32)
    shards.write_part(run / "tokens", "part-00000", [(batch, tokens, offsets)], 300, 299)
    told = explain(run, documents.column("id")[4].as_py().hex())
    # Every document is followed by the end-of-text token.
    assert (told.tokens.file, told.tokens.count) == ("tokens/part-00000.bin", 6)
    assert told.tokens.first == 1 + 2 + 3 + 4 + 4
    assert "tokens/part-00000.bin, 14 to 20" in printed(journey(run, told.id))


def test_a_journey_is_printed_with_its_numbers_and_bounds(run):
    row = next(row for row in rows(run, "dropped") if row["dropped_by"] == "gopher.stop_words")
    text = printed(journey(run, row["id"].hex()))
    for words in (
        "dropped: gopher.stop_words",
        "out of bounds",
        "≥ 2",
        "50 to 100k",
        "not reached",
    ):
        assert words in text


def test_a_journey_shows_no_escape_sequences(tmp_path, write_run):
    run = write_run(tmp_path, urls=["http://x.example/\x1b[2J"] * 600)
    row = rows(run, "documents")[0]
    assert "\x1b" not in printed(journey(run, row["id"].hex()))
    assert pa.types.is_string(pq.read_table(run / "documents").schema.field("url").type)
