import json

import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer import reference
from tokenizer.pretokenize import PATTERNS
from tokenizer.vocabulary import load


def test_the_most_frequent_pair_is_merged_first():
    assert reference.train({b"low": 5, b"lower": 2, b"newest": 6}, 259) == (
        [(b"w", b"e"), (b"l", b"o"), (b"e", b"we")]
    )


def test_of_equally_frequent_pairs_the_older_left_token_wins_then_the_right():
    assert reference.train({b"ba": 1, b"ab": 1, b"ac": 1}, 257) == [(b"a", b"b")]


def test_bytes_that_print_are_older_than_the_space():
    assert reference.train({b" a": 1, b"za": 1}, 257) == [(b"z", b"a")]


def test_a_run_is_merged_from_the_left():
    assert reference.merged([b"a"] * 5, (b"a", b"a")) == [b"aa", b"aa", b"a"]


def test_rare_pairs_and_long_tokens_are_not_merged():
    assert reference.train({b"abc": 1}, 300, min_frequency=2) == []
    assert reference.train({b"abcd": 2}, 300, max_token_length=2) == [(b"a", b"b"), (b"c", b"d")]


def test_encoding_takes_the_first_merge_first():
    merges = [(b"b", b"c"), (b"a", b"b")]
    assert reference.encode(b"abc", merges) == [b"a", b"bc"]


def test_gpt2_ranks_bytes_in_the_same_order(shared):
    vocab = json.loads((shared / "models" / "gpt2_vocab.json").read_text())
    gpt2 = load(shared / "models" / "gpt2_vocab.json")
    assert list(gpt2.tokens[:256]) == reference.BYTES
    assert gpt2.size == len(vocab)


@settings(deadline=None, max_examples=30)
@given(text=st.text(max_size=30))
def test_encoding_with_merges_in_rank_order_is_tiktokens(text):
    merges = reference.train({b"abab": 3, b" the": 5, b" then": 2, "éé".encode(): 4}, 270)
    tokens = reference.BYTES + [a + b for a, b in merges]
    encoding = tiktoken.Encoding(
        "test",
        pat_str=PATTERNS["gpt2"],
        mergeable_ranks={token: i for i, token in enumerate(tokens)},
        special_tokens={},
    )
    mine = [
        tokens.index(token)
        for piece in reference.pieces(text, "gpt2")
        for token in reference.encode(piece, merges)
    ]
    assert mine == encoding.encode_ordinary(text)
