"""What an adversary tried: settings, files and vocabularies that once gave wrong tokens or hung."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.column import view
from curate.errors import CurateError, InputError, ModelError, RecipeError
from tokenizer.bpe import merge_tables
from tokenizer.corpus import files_of, text_batches
from tokenizer.counting import count_pieces
from tokenizer.encode import Encoder
from tokenizer.pretokenize import ends_within, splitter
from tokenizer.train import Train, train
from tokenizer.training import train_on_files
from tokenizer.vocabulary import Vocabulary

BYTES = tuple(bytes([byte]) for byte in range(256))


def test_more_merges_than_symbols_have_bits_for_are_refused():
    merges = np.zeros((1 << 20, 3), np.int32)
    with pytest.raises(ModelError, match="1048576 merges; at most"):
        merge_tables(merges, np.arange(256, dtype=np.int32))


def test_a_name_that_is_written_like_a_learned_token_is_refused():
    pieces = count_pieces(pa.array([" the the the the"]), "gpt2")
    with pytest.raises(CurateError, match="as a word; name the special token otherwise"):
        train(pieces, Train(vocab_size=300, special_tokens=("\u0120the",)))
    whole = Vocabulary((*BYTES, b" the"), np.zeros((0, 3), np.int32), "gpt2", {"\u0120the": 257})
    with pytest.raises(ModelError, match="cannot tell the name"):
        whole.save(None)


@pytest.mark.parametrize("name", ["a", "\u00e9", "\ud800"])
def test_a_name_that_stands_for_a_byte_or_is_no_text_is_refused_before_anything_is_counted(name):
    with pytest.raises(RecipeError, match="write a name such as"):
        Train(special_tokens=(name,))


@pytest.mark.parametrize(
    "setting", ["min_frequency", "min_count", "max_token_length", "multiple_of"]
)
def test_numbers_beyond_any_use_are_refused(setting):
    with pytest.raises(RecipeError, match=rf"tokenizer.{setting}: {10**20}; write"):
        Train(**{setting: 10**20})


def test_a_hundred_million_reserved_tokens_are_refused_at_once():
    with pytest.raises(RecipeError, match=r"reserved_tokens: 100000000; write 0 to"):
        Train(reserved_tokens=100_000_000)


@pytest.mark.parametrize("lead", [b"\xc3", b"\xe4", b"\xf0", b"\xf4\x90", b"\xf8", b"\xed\xa0"])
@pytest.mark.parametrize("before", range(56, 70))
def test_bytes_that_are_no_text_are_cut_alike_alone_and_before_any_other_row(before, lead):
    row = b"a" * before + lead
    alone = cut([row])
    for behind in (b"\xa9b", b"\x80\x80\x80", b"ell it is so", b""):
        assert cut([row, behind + b"x" * 80])[: len(alone)] == alone


def cut(rows):
    texts = view(pa.array(rows, pa.binary()))
    ends = [end for block in ends_within(texts, splitter("gpt2")) for end in block.tolist()]
    return [end for end in ends if end <= len(rows[0])]


def test_a_tokenizer_gives_back_bytes_beyond_the_last_code_point():
    encoder = Encoder(Vocabulary(BYTES, np.zeros((0, 3), np.int32), "cl100k"))
    rows = [b"ab\xf4\x90\x80\x80cd" * 20, b"\xf4\x8f\xbf\xbf x", b"\xff\xfe\xf5\x80\x80\x80"]
    tokens, _ = encoder.encode(pa.array(rows, pa.binary()))
    assert encoder.decode(tokens) == b"".join(rows)


def test_a_pipe_is_no_input(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        files_of([str(tmp_path / "pipe")])
    with pytest.raises(InputError, match="matches no file"):
        files_of([str(tmp_path / "pip*")])


def test_input_without_text_is_no_input(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"tex": "some"}\n')
    with pytest.raises(InputError, match="no text in the input"):
        train_on_files([tmp_path / "a.jsonl"], Train(), tmp_path / "out")


def test_two_columns_of_one_name_are_told(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'text'"):
        list(text_batches(tmp_path / "a.parquet"))


def test_groups_within_groups_without_end_are_refused_or_cut_by_regex():
    pattern = "(?:" * 3000 + "a" + ")" * 3000 + "|."
    with pytest.raises(RecipeError):
        splitter(pattern)


def test_bytes_beneath_a_null_are_no_text():
    whole = pa.array(["ab", "hidden", "cd"])
    mask = pa.array([True, False, True]).buffers()[1]
    buffers = [mask, *whole.buffers()[1:]]
    column = pa.Array.from_buffers(pa.string(), 3, buffers)
    assert column.to_pylist() == ["ab", None, "cd"]
    encoder = Encoder(Vocabulary(BYTES, np.zeros((0, 3), np.int32), "gpt2"))
    tokens, ends = encoder.encode(column)
    assert encoder.decode(tokens) == b"abcd"
    assert ends.tolist() == [0, 2, 2, 4]
