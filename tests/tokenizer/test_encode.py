import gzip
import json
import os
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ModelError
from tokenizer import reference
from tokenizer.bpe import SHORT
from tokenizer.counting import count_pieces
from tokenizer.encode import Encoder
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
