import gzip
import json
import os
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import InputError, ModelError
from tokenizer import reference
from tokenizer.bpe import SHORT
from tokenizer.counting import count_pieces
from tokenizer.encode import Encoder
from tokenizer.own_pattern import own_pattern
from tokenizer.pretokenize import PATTERNS
from tokenizer.train import Train, train
from tokenizer.vocabulary import load

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
MANY = 1_000_000 if COMPILED else 3_000
# Without compilation it takes a minute to recover the merges of a rank file.
NAMES = ["gpt2", "cl100k_base", "o200k_base"] if COMPILED else ["gpt2"]
CORPUS = "the cat and the dog; the theatre's été aaaa aaaaaaaa      42 一二三 the end\n" * 4

text = st.one_of(st.text("abt he\n'é一1 ", max_size=80), st.text())


@pytest.fixture(scope="module")
def small():
    pieces = count_pieces(pa.array([CORPUS]), "gpt2")
    return train(pieces, Train(vocab_size=320))


@pytest.fixture(scope="module")
def edgy(small):
    return Encoder(small, 2), Encoder(small)


@pytest.fixture(scope="module")
def known(shared, unpacked):
    """By name: a published vocabulary, an encoder with hardly a cache, and tiktoken's."""
    paths = {
        "gpt2": shared / "models" / "gpt2_vocab.json",
        "cl100k_base": unpacked / "cl100k_base.tiktoken",
        "o200k_base": unpacked / "o200k_base.tiktoken",
    }
    found = {}
    for name in NAMES:
        vocabulary = load(paths[name])
        theirs = tiktoken.Encoding(
            name,
            pat_str=PATTERNS[vocabulary.pattern],
            mergeable_ranks={token: i for i, token in enumerate(vocabulary.tokens) if token},
            special_tokens=vocabulary.special_tokens,
        )
        found[name] = vocabulary, Encoder(vocabulary, 2), theirs
    return found


def rows(encoder, texts, kind=None):
    tokens, ends = encoder.encode(pa.array(texts, kind or pa.string()))
    return [tokens[i:j].tolist() for i, j in pairwise(ends)]


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_those_of_tiktoken_on_real_text(name, known, shared):
    vocabulary, _, theirs = known[name]
    packed = (shared / "multilingual" / "ntrex.tsv.gz").read_bytes()
    texts = gzip.decompress(packed).decode().splitlines()
    for path in ("llama-factory_c4_demo.jsonl", "llm-foundry_arxiv.jsonl"):
        lines = (shared / "sources" / path).read_text().splitlines()
        texts += [json.loads(line)["text"] for line in lines]
    texts.append((shared / "sources" / "stackexchange_coffee.Posts.xml").read_text())
    texts = texts if COMPILED else texts[:20]
    assert rows(Encoder(vocabulary), texts) == theirs.encode_ordinary_batch(texts)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=200)
@given(texts=st.lists(text, max_size=4))
def test_tokens_are_those_of_tiktoken_on_any_text(name, texts, known):
    _, encoder, theirs = known[name]
    assert rows(encoder, texts) == theirs.encode_ordinary_batch(texts)


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(text, max_size=6))
def test_tokens_are_those_of_the_reference(small, texts):
    merges = [(small.tokens[a], small.tokens[b]) for a, b, _ in small.merges.tolist()]
    number = {token: i for i, token in enumerate(small.tokens)}
    expected = [
        [
            number[token]
            for piece in reference.pieces(one, "gpt2")
            for token in reference.encode(piece, merges)
        ]
        for one in texts
    ]
    assert rows(Encoder(small), texts) == expected


@settings(deadline=None, max_examples=100)
@given(data=st.lists(st.binary()))
def test_decoding_gives_any_bytes_back(small, data):
    encoder = Encoder(small)
    tokens, ends = encoder.encode(pa.array(data, pa.binary()))
    assert encoder.decode(tokens) == b"".join(data)
    assert [encoder.decode(tokens[i:j]) for i, j in pairwise(ends)] == data


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(text, max_size=8))
def test_the_cache_changes_no_token(small, texts):
    tiny, large = Encoder(small, 2), Encoder(small)
    first = rows(large, texts)
    assert first == rows(large, texts) == rows(tiny, texts) == rows(tiny, texts)


@settings(deadline=None, max_examples=100)
@given(piece=st.text("aht e", min_size=SHORT - 8, max_size=4 * SHORT))
def test_long_pieces_are_merged_as_the_reference_does(small, piece):
    piece = piece.replace(" ", "x")
    merges = [(small.tokens[a], small.tokens[b]) for a, b, _ in small.merges.tolist()]
    encoder = Encoder(small)
    tokens, _ = encoder.encode(pa.array([piece]))
    expected = reference.encode(piece.encode(), merges)
    assert [small.tokens[token] for token in tokens] == expected


@settings(deadline=None, max_examples=30)
@given(texts=st.lists(st.one_of(text, st.none())), start=st.integers(0, 3))
def test_a_slice_is_encoded_alone_and_a_null_has_no_tokens(small, texts, start):
    encoder = Encoder(small)
    tokens, ends = encoder.encode(pa.array(texts, pa.string()).slice(start))
    expected = rows(encoder, [one or "" for one in texts[start:]])
    assert [tokens[i:j].tolist() for i, j in pairwise(ends)] == expected


def slowly(vocabulary, row):
    """Tokens of a row by the reference, of pieces that `regex` cuts; bad bytes are allowed."""
    merges = [
        (vocabulary.tokens[a], vocabulary.tokens[b]) for a, b, _ in vocabulary.merges.tolist()
    ]
    ends = own_pattern(PATTERNS["gpt2"], "to compare").row_ends(row, 0).tolist() if row else []
    pieces = [row[i:j] for i, j in pairwise([0, *ends])]
    return [one for piece in pieces for one in reference.encode(piece, merges)]


# Where kernels begin to do otherwise: 8 and 15 bytes of a piece, blocks of 64, KEPT_BYTES, SHORT.
EDGES = st.tuples(st.sampled_from([0, 8, 15, 64, 128, SHORT]), st.integers(-3, 3)).map(
    lambda edge: max(sum(edge), 0)
)
STRETCHES = st.tuples(
    EDGES,
    st.sampled_from([b"a", b"the ", b"at", b" ", b"x1", b"\n", "é".encode(), "一".encode()]),
    st.sampled_from([b"", b" the", b"\xff", b"\xe4\xb8", b"\x80", "一é😀".encode(), b"'s  "]),
).map(lambda said: (said[1] * 300)[: said[0]] + said[2])
EDGY = st.lists(st.lists(STRETCHES, max_size=3).map(b"".join) | st.none(), max_size=5)


@settings(deadline=None, max_examples=300)
@given(rows=EDGY, start=st.integers(0, 2))
def test_pieces_and_rows_of_any_length_are_encoded_as_by_the_reference(small, edgy, rows, start):
    column = pa.array(rows, pa.binary()).slice(min(start, len(rows)))
    expected = [slowly(small, row or b"") for row in column.to_pylist()]
    for encoder in edgy:
        for _ in range(2):
            tokens, ends = encoder.encode(column)
            found = [tokens[i:j].tolist() for i, j in pairwise(ends)]
            assert [[small.tokens[one] for one in row] for row in found] == expected


@pytest.mark.parametrize("slots", [1, 2, 4, 64])
def test_a_large_batch_has_the_tokens_of_its_rows_alone_whatever_the_cache(small, slots):
    draw = np.random.default_rng(slots)
    words = [*CORPUS.split(), "a" * 15, "t" * 16, "h" * 64, "e" * 65, "é" * 40, "the" * 90]
    count = 20_000 if COMPILED else 50
    texts = [" ".join(draw.choice(words, size)) for size in draw.integers(0, 12, count)]
    alone = cache(lambda piece: slowly(small, piece))
    spelled = [[t for one in reference.pieces(text, "gpt2") for t in alone(one)] for text in texts]
    column = pa.array(texts)
    for low in (0, 1, count // 3):
        tokens, ends = Encoder(small, slots).encode(column.slice(low))
        found = [small.tokens[token] for token in tokens.tolist()]
        assert found == [one for row in spelled[low:] for one in row]
        assert np.diff(ends).tolist() == [len(row) for row in spelled[low:]]


def test_no_rows_and_empty_rows_have_no_tokens(small):
    assert rows(Encoder(small), []) == []
    assert rows(Encoder(small), ["", "", "a", ""])[1:] == [[], [small.tokens.index(b"a")], []]


def test_the_name_of_a_special_token_in_text_is_text(small):
    encoder = Encoder(small)
    (tokens,) = rows(encoder, ["<|endoftext|>"])
    assert small.end_of_text not in tokens
    assert encoder.decode(np.array(tokens)) == b"<|endoftext|>"
    assert encoder.decode(np.array([small.end_of_text])) == b"<|endoftext|>"


def test_a_token_that_does_not_exist_is_refused(small):
    for tokens in ([small.size], [-1]):
        with pytest.raises(ModelError, match="token"):
            Encoder(small).decode(np.array(tokens))


@pytest.mark.parametrize(
    "data",
    [
        b" " * MANY,
        b"a" * MANY,
        b"\n" * MANY,
        "é".encode() * (MANY // 2),
        np.random.default_rng(0).integers(0, 256, MANY, np.uint8).tobytes(),
        np.random.default_rng(0).integers(97, 123, MANY, np.uint8).tobytes(),
    ],
    ids=["spaces", "one letter", "line ends", "one accent", "random bytes", "random letters"],
)
def test_a_megabyte_of_anything_comes_back(small, data):
    encoder = Encoder(small)
    tokens, _ = encoder.encode(pa.array([data], pa.binary()))
    assert encoder.decode(tokens) == data


def test_texts_may_come_as_any_arrow_column_or_list(small):
    encoder = Encoder(small)
    texts = ["the cat", "", "été"]
    rows = [encoder.encode(pa.array([one]))[0].tolist() for one in texts]
    table = pa.chunked_array([texts[:1], [], texts[1:]])
    kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.large_binary(), pa.binary_view()]
    columns = [pa.array([one.encode() for one in texts], pa.binary()).cast(kind) for kind in kinds]
    columns += [pa.array(texts).dictionary_encode(), table, texts, [t.encode() for t in texts]]
    for column in [*columns, table.slice(0), pa.chunked_array([texts])]:
        tokens, ends = encoder.encode(column)
        assert [tokens[i:j].tolist() for i, j in pairwise(ends)] == rows
    for empty in ([], pa.chunked_array([], pa.string()), pa.array([], pa.string())):
        tokens, ends = encoder.encode(empty)
        assert (tokens.tolist(), ends.tolist()) == ([], [0])
    bad = pa.array([b"\xff the"], pa.large_binary())
    assert encoder.decode(encoder.encode(bad)[0]) == b"\xff the"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, 2]), "a column of int64; pass strings, as column.cast"),
        (pa.array([1.5]), "a column of double"),
        (pa.chunked_array([], pa.int64()), "a column of int64"),
        (pa.array([1]).dictionary_encode(), "a column of int64"),
        ([True], "a column of bool"),
        ([["a"]], "a column of list"),
        (["a", 1], "or a list of str or of bytes"),
        (["\ud800"], "or a list of str or of bytes"),
        (5, "or a list of str or of bytes"),
        ("the cat", r"was given one text; pass \[text\]"),
    ],
)
def test_what_is_no_column_of_texts_is_refused(column, message, small):
    with pytest.raises(InputError, match=message):
        Encoder(small).encode(column)


def test_one_special_token_may_be_named_as_it_is(small):
    encoder = Encoder(small)
    tokens, _ = encoder.encode(["a<|endoftext|>"], specials="<|endoftext|>")
    assert tokens.tolist() == [64, small.end_of_text]


@pytest.mark.parametrize(("tokens", "wrong"), [([-1], -1), ([0, 320], 320), ([-5, 999], -5)])
def test_a_token_that_is_none_is_told_with_those_that_are(tokens, wrong, small):
    with pytest.raises(ModelError, match=f"token {wrong} is not in 0 to {small.size - 1}$"):
        Encoder(small).decode(tokens)


def test_a_tokenizer_is_loaded_by_its_path_as_text_too(small, tmp_path):
    small.save(tmp_path / "tok")
    assert load(str(tmp_path / "tok")).fingerprint() == small.fingerprint()


def test_the_example_of_the_documentation_runs_as_it_is(small, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "tokenizer.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    small.save(tmp_path / "tok")
    (tmp_path / "out" / "documents").mkdir(parents=True)
    texts = pa.table({"text": ["the cat", "the end"]})
    pq.write_table(texts, tmp_path / "out" / "documents" / "part-00000.parquet")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    ids, text = capsys.readouterr().out.splitlines()
    assert (json.loads(ids), text) == (Encoder(small).encode(["the cat"])[0].tolist(), "the cat")
