"""Which language a text has, whatever file it comes from."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from curate.errors import InputError
from tokenizer import inputs
from tokenizer.inputs import Labels, labelled_files


def read(paths, labels=None):
    """Texts by language, and rows that are no text."""
    found: dict[str, list[str]] = {}
    left_out = [0, 0]
    for labelled in labelled_files(paths, labels or Labels()):
        found.setdefault(labelled.language, []).extend(labelled.texts.to_pylist())
        left_out[0] += labelled.nulls
        left_out[1] += labelled.invalid
    return found, tuple(left_out)


def test_a_column_names_the_language_and_null_is_unknown(tmp_path):
    rows = {"text": ["ein", "one", None, "zwei"], "language": ["de", "en", "en", None]}
    pa.parquet.write_table(pa.table(rows), tmp_path / "a.parquet")
    expected = {"de": ["ein"], "en": ["one"], "unknown": ["zwei"]}
    assert read([tmp_path / "a.parquet"]) == (expected, (1, 0))


def test_another_column_is_taken_if_it_is_named(tmp_path):
    rows = [{"text": "ein", "lang": "de"}, {"text": "one", "lang": "en"}, {"text": "x"}]
    lines = "\n".join(map(json.dumps, rows)) + "\n"
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pa.parquet.write_table(pa.Table.from_pylist(rows[:2]), tmp_path / "a.parquet")
    paths = [tmp_path / "a.jsonl.gz", tmp_path / "a.parquet"]
    found, _ = read(paths, Labels("lang"))
    assert found == {"de": ["ein", "ein"], "en": ["one", "one"], "unknown": ["x"]}


def test_a_dictionary_column_names_languages_too(tmp_path):
    languages = pa.array(["de", "en"]).dictionary_encode()
    pa.parquet.write_table(
        pa.table({"text": ["ein", "one"], "language": languages}), tmp_path / "a.parquet"
    )
    assert read([tmp_path / "a.parquet"])[0] == {"de": ["ein"], "en": ["one"]}


def test_a_column_that_is_named_and_not_there_is_an_error_that_says_which_are(tmp_path):
    pa.parquet.write_table(pa.table({"text": ["a"], "lng": ["de"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'lang' of strings; there are: text, lng"):
        read([tmp_path / "a.parquet"], Labels("lang"))


def test_without_the_column_every_text_is_of_an_unknown_language(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert read([tmp_path / "a.txt"])[0] == {"unknown": ["one\n", "two\n"]}


def test_a_file_s_name_to_its_first_dot_names_the_language(tmp_path):
    (tmp_path / "de.train.txt").write_text("ein\n")
    (tmp_path / "en.jsonl").write_text('{"text": "one"}\n')
    paths = [tmp_path / "de.train.txt", tmp_path / "en.jsonl"]
    assert read(paths, Labels(by_file=True))[0] == {"de": ["ein\n"], "en": ["one"]}


def test_the_first_field_of_a_tsv_is_the_language_and_the_last_one_the_text(tmp_path):
    text = 'de\t1\tein "Wort\r\nen\tone\n\nen\t2\t3\t\nzh\t一'
    (tmp_path / "a.tsv").write_bytes(text.encode())
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(text.encode()))
    expected = {"de": ['ein "Wort'], "en": ["one", ""], "zh": ["一"]}
    assert read([tmp_path / "a.tsv"])[0] == expected
    assert read([tmp_path / "a.tsv.gz"])[0] == expected


def test_a_line_of_a_tsv_without_a_tab_is_named(tmp_path):
    (tmp_path / "a.tsv").write_text("de\tein\n\nen one\n")
    with pytest.raises(InputError, match="line 3 has no tab"):
        read([tmp_path / "a.tsv"])


def test_bytes_that_are_no_utf8_are_left_out_and_counted(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"de\tein\nde\t\xff\xfe\nde\tzwei\n")
    assert read([tmp_path / "a.tsv"]) == ({"de": ["ein", "zwei"]}, (0, 1))
    (tmp_path / "b.txt").write_bytes(b"\xc3\n\xc3\xa9\n\xed\xa0\x80\n")
    assert read([tmp_path / "b.txt"]) == ({"unknown": ["é\n"]}, (0, 2))


def test_a_language_that_is_no_utf8_is_an_error(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"\xff\tein\n")
    with pytest.raises(InputError, match="a language that is not UTF-8"):
        read([tmp_path / "a.tsv"])


def test_a_column_with_too_many_values_is_no_column_of_languages(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_LANGUAGES", 3)
    rows = {"text": ["a"] * 4, "url": [f"https://{i}.example" for i in range(4)]}
    pa.parquet.write_table(pa.table(rows), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="more than 3 languages; is 'url' the column"):
        read([tmp_path / "a.parquet"], Labels("url"))


def test_a_jsonl_file_that_is_damaged_is_an_error_with_its_name(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": \n')
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be read"):
        read([tmp_path / "a.jsonl"])
