import gzip
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from curate.errors import InputError, RecipeError
from tokenizer import reference
from tokenizer.corpus import text_batches
from tokenizer.counting import COUNTS, HASHED, Tally, count_pieces, hashes_of, pieces_in
from tokenizer.letters import letters
from tokenizer.pretokenize import PATTERNS
from tokenizer.train import Train, train
from tokenizer.training import train_on_files
from tokenizer.vocabulary import load

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"


def counted(counts):
    pieces = sorted(counts)
    columns = [pa.array(pieces, pa.binary()), pa.array([counts[p] for p in pieces], pa.int64())]
    return pa.table(columns, schema=COUNTS)


def merges(vocabulary):
    tokens = vocabulary.tokens
    return [(tokens[left], tokens[right]) for left, right, _ in vocabulary.merges.tolist()]


def hugging_face(pattern, **settings):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    trainer = trainers.BpeTrainer(
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **settings,
    )
    return tokenizer, trainer


def hugging_face_merges(texts, pattern, **settings):
    tokenizer, trainer = hugging_face(pattern, **settings)
    tokenizer.train_from_iterator(texts, trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def corpus(name, shared):
    if name == "multilingual":
        with gzip.open(shared / "multilingual" / "ntrex.tsv.gz", "rt", encoding="utf-8") as lines:
            return [line.split("\t")[-1] for line in lines]
    if name == "web":
        lines = (shared / "sources" / "llama-factory_c4_demo.jsonl").read_text().splitlines()
        return [json.loads(line)["text"] for line in lines]
    if name == "markup":
        return [(shared / "sources" / "stackexchange_coffee.Posts.xml").read_text()]
    if name == "runs":  # two pairs may spell one token here
        return ["=" * i + "-" * j + "a" * (i % 7) for i in range(1, 60) for j in range(0, 40, 3)]
    return [(shared / "sources" / "tinyshakespeare_input.txt").read_text()]


words = st.dictionaries(
    st.one_of(st.text("ab ", max_size=12).map(str.encode), st.binary(max_size=6)),
    st.integers(1, 5),
    max_size=12,
)


@settings(deadline=None, max_examples=200)
@given(
    counts=words,
    size=st.integers(256, 290),
    least=st.integers(1, 4),
    longest=st.sampled_from([0, 2, 3, 5]),
)
def test_merges_are_those_of_the_reference(counts, size, least, longest):
    check_against_reference(counts, size, least, longest)


@settings(deadline=None, max_examples=100)
@given(counts=words, size=st.integers(256, 290), rare=st.sampled_from(["0.001", "0.1"]))
def test_pairs_that_were_taken_for_too_rare_come_up_in_their_turn(counts, size, rare):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenizer.train.RARE", float(rare))
        check_against_reference(counts, size, 1, 0)


def check_against_reference(counts, size, least, longest):
    section = Train(
        vocab_size=size, special_tokens=(), min_frequency=least, max_token_length=longest
    )
    expected = reference.train(counts, size, least, longest or 1 << 30)
    assert merges(train(counted(counts), section)) == expected


@pytest.mark.skipif(not COMPILED, reason="a megabyte of text takes minutes as plain Python")
@pytest.mark.parametrize(
    ("name", "pattern", "size"),
    [
        ("shakespeare", "gpt2", 8192),
        ("shakespeare", "o200k", 3000),
        ("multilingual", "cl100k", 12_000),
        ("multilingual", "gpt2", 6000),
        ("web", "qwen2", 10_000),
        ("markup", "cl100k", 8000),
        ("markup", "whitespace", 4000),
        ("runs", "gpt2", 1000),
    ],
)
def test_merges_are_those_of_hugging_face(name, pattern, size, shared):
    texts = corpus(name, shared)
    vocabulary = train(
        count_pieces(pa.array(texts), pattern), Train(pattern=pattern, vocab_size=size)
    )
    mine = [(letters(a), letters(b)) for a, b in merges(vocabulary)]
    assert mine == hugging_face_merges(texts, pattern, vocab_size=size, min_frequency=2)


@pytest.mark.skipif(not COMPILED, reason="a megabyte of text takes minutes as plain Python")
def test_the_longest_token_is_one_less_than_hugging_faces_setting(shared):
    texts = corpus("web", shared)
    section = Train(vocab_size=5000, max_token_length=4)
    vocabulary = train(count_pieces(pa.array(texts), "gpt2"), section)
    mine = [(letters(a), letters(b)) for a, b in merges(vocabulary)]
    assert max(map(len, vocabulary.tokens)) == 4
    assert mine == hugging_face_merges(
        texts, "gpt2", vocab_size=5000, min_frequency=2, max_token_length=5
    )


@pytest.mark.skipif(not COMPILED, reason="a megabyte of text takes minutes as plain Python")
@pytest.mark.parametrize(
    ("name", "pattern", "least", "longest"),
    [
        ("multilingual", "o200k", 5, 0),
        ("multilingual", "bloom", 2, 9),
        ("markup", "gpt2", 40, 6),
        ("runs", "whitespace", 3, 12),
    ],
)
def test_bounds_of_frequency_and_length_are_hugging_faces(name, pattern, least, longest, shared):
    texts = corpus(name, shared)
    section = Train(
        pattern=pattern, vocab_size=20_000, min_frequency=least, max_token_length=longest
    )
    vocabulary = train(count_pieces(pa.array(texts), pattern), section)
    mine = [(letters(a), letters(b)) for a, b in merges(vocabulary)]
    bound = {"max_token_length": longest + 1} if longest else {}
    assert mine == hugging_face_merges(
        texts, pattern, vocab_size=20_000, min_frequency=least, **bound
    )


def test_counts_have_64_bits(tmp_path):
    # `tokenizers` counts pairs in 32 bits: https://github.com/huggingface/tokenizers/issues/1170
    tally = Tally()
    for count in (1 << 40, (1 << 40) + 7):
        data, pieces = pieces_in(pa.array([b"ab", b"cd", b"ab"], pa.binary()))
        tally.count(data, pieces, np.array([count, 3, 1], np.int64))
    table = tally.counted()[0].sort_by("piece")
    assert table["count"].to_pylist() == [(1 << 41) + 9, 6]
    assert merges(train(table.cast(COUNTS), Train(vocab_size=260))) == [(b"a", b"b"), (b"c", b"d")]


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1))
def test_pieces_lie_in_tables_by_the_hash_that_they_come_with(pieces):
    rows = pieces_in(pa.array(pieces, pa.binary()))[1]
    assert hashes_of(rows).tolist() == rows[:, HASHED].tolist()


def test_no_text_gives_the_bytes_and_the_special_token():
    vocabulary = train(COUNTS.empty_table(), Train())
    assert (vocabulary.size, vocabulary.end_of_text, len(vocabulary.merges)) == (257, 256, 0)


def test_special_tokens_come_last():
    section = Train(vocab_size=260, special_tokens=("<|endoftext|>", "<|pad|>"), min_frequency=1)
    vocabulary = train(counted({b"abcabc": 1}), section)
    assert vocabulary.special_tokens == {"<|endoftext|>": 258, "<|pad|>": 259}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"pattern": "gpt3"}, "did you mean gpt2"),
        ({"vocab_size": 256}, "vocab_size: 256; write 257"),
        ({"special_tokens": ("a", "a")}, "special_tokens"),
        ({"min_frequency": 0}, "min_frequency: 0; write 1"),
        ({"max_token_length": 1}, "max_token_length"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(setting, message):
    with pytest.raises(RecipeError, match=message):
        Train(**setting)


def test_files_of_all_kinds_give_the_same_tokenizer(tmp_path):
    texts = ["the cat\n", "the dog, the cow\n", "été\n"] * 3
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": t, "n": 1}) + "\n" for t in texts)
    )
    (tmp_path / "a.txt").write_text("".join(texts))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("".join(texts).encode()))
    section = Train(vocab_size=280)
    said = [
        train_on_files([tmp_path / name], section, tmp_path / name.replace(".", "-"))
        for name in ("a.parquet", "a.jsonl", "a.txt", "a.txt.gz")
    ]
    for one in said:
        del one["seconds"]
    assert said[0] == said[1] == said[2] == said[3]
    assert said[0]["documents"] == 9
    assert load(tmp_path / "a-txt").fingerprint() == said[0]["fingerprint"]


@pytest.mark.skipif(not COMPILED, reason="a megabyte of text takes minutes as plain Python")
def test_a_text_file_trains_as_in_hugging_face(shared, tmp_path):
    path = shared / "sources" / "tinyshakespeare_input.txt"
    tokenizer, trainer = hugging_face("gpt2", vocab_size=2000, min_frequency=2)
    tokenizer.train([str(path)], trainer)
    expected = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    train_on_files([path], Train(vocab_size=2000), tmp_path)
    mine = [(letters(a), letters(b)) for a, b in merges(load(tmp_path))]
    assert mine == expected


def test_lines_longer_than_a_block_and_a_last_line_without_end_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenizer.corpus.BLOCK_BYTES", 4)
    (tmp_path / "a.txt").write_bytes(b"abcdefghij\n\nk\xff\nlmn")
    batches = list(text_batches(tmp_path / "a.txt"))
    rows = [row for batch in batches for row in batch.column("text").to_pylist()]
    assert rows == [b"abcdefghij\n", b"\n", b"k\xff\n", b"lmn"]


def test_a_file_without_texts_is_refused_by_name(tmp_path):
    pq.write_table(pa.table({"txt": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'text'"):
        list(text_batches(tmp_path / "a.parquet"))
    with pytest.raises(InputError, match=r"missing\.txt"):
        list(text_batches(tmp_path / "missing.txt"))
    with pytest.raises(InputError, match="no input"):
        train_on_files([], Train(), tmp_path)
