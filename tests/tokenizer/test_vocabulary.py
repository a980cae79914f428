import gzip
import json
import os
from itertools import pairwise

import pyarrow as pa
import pytest
import tiktoken
import tokenizers
from tiktoken.load import load_tiktoken_bpe

from curate.errors import CurateError, ModelError
from tokenizer import reference
from tokenizer.counting import count_pieces
from tokenizer.encode import Encoder
from tokenizer.pretokenize import PATTERNS
from tokenizer.train import Train, train
from tokenizer.vocabulary import load

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
slow_as_python = pytest.mark.skipif(
    not COMPILED, reason="recovering 100,000 merges takes a minute as plain Python"
)
TEXT = "the cat and the dog; the theatre's été 42 <|endoftext|>\n\n  and 一二三 the end\n" * 3


def trained(pattern="gpt2", **settings):
    section = Train(pattern=pattern, vocab_size=300, **settings)
    return train(count_pieces(pa.array([TEXT]), pattern), section)


def tokens_of(vocabulary, text):
    return Encoder(vocabulary).encode(pa.array([text]))[0].tolist()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_saved_tokenizer_encodes_alike_in_hugging_faces_library(pattern, tmp_path):
    vocabulary = trained(pattern)
    vocabulary.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = TEXT.replace("<|endoftext|>", "") + " unseen Wörter\t\r\n x"
    ids = theirs.encode(text).ids
    assert tokens_of(vocabulary, text) == ids
    assert theirs.decode(ids, skip_special_tokens=False) == text
    assert theirs.token_to_id("<|endoftext|>") == vocabulary.end_of_text
    assert theirs.get_vocab_size() == vocabulary.size


def test_saved_ranks_encode_alike_in_tiktoken(tmp_path):
    vocabulary = trained("cl100k")
    vocabulary.save(tmp_path)
    encoding = tiktoken.Encoding(
        "test",
        pat_str=PATTERNS["cl100k"],
        mergeable_ranks=load_tiktoken_bpe(str(tmp_path / "tokenizer.tiktoken")),
        special_tokens=vocabulary.special_tokens,
        explicit_n_vocab=vocabulary.size,
    )
    assert tokens_of(vocabulary, TEXT) == encoding.encode_ordinary(TEXT)
    assert encoding.eot_token == vocabulary.end_of_text


def test_what_is_saved_is_loaded_and_saved_again_byte_for_byte(tmp_path):
    first = trained("o200k", special_tokens=("<|endoftext|>", "<|pad|>"))
    first.save(tmp_path / "a")
    second = load(tmp_path / "a")
    second.save(tmp_path / "b")
    assert first.fingerprint() == second.fingerprint()
    assert second.tokens == first.tokens
    names = ["encoding.json", "tokenizer.json", "tokenizer.tiktoken", "tokenizer_config.json"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_fingerprint_tells_patterns_and_special_tokens_apart():
    prints = {
        trained().fingerprint(),
        trained("cl100k").fingerprint(),
        trained(special_tokens=("</s>",)).fingerprint(),
    }
    assert len(prints) == 3


def test_gpt2_is_loaded_from_vocab_and_merges(shared):
    gpt2 = load(shared / "models" / "gpt2_vocab.json")
    assert (gpt2.size, gpt2.end_of_text, gpt2.pattern) == (50257, 50256, "gpt2")
    assert tokens_of(gpt2, "hello world") == [31373, 995]
    assert tokens_of(gpt2, "<|endoftext|>") == [27, 91, 437, 1659, 5239, 91, 29]


@slow_as_python
@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_rank_files_are_loaded_with_their_pattern_and_special_tokens(name, unpacked):
    ours = load(unpacked / f"{name}.tiktoken")
    known = json.loads((unpacked / f"{name}.json").read_text())
    assert ours.pattern == name.removesuffix("_base")
    assert ours.special_tokens == known["special_tokens"]
    assert ours.end_of_text == known["special_tokens"]["<|endoftext|>"]
    assert tokens_of(ours, "hello world") == {
        "cl100k_base": [15339, 1917],
        "o200k_base": [24912, 2375],
    }.get(name)


def test_a_rank_file_of_another_name_needs_a_pattern(tmp_path):
    trained().save(tmp_path)
    (tmp_path / "encoding.json").unlink()
    with pytest.raises(ModelError, match="say pattern"):
        load(tmp_path / "tokenizer.tiktoken")
    again = load(tmp_path / "tokenizer.tiktoken", "gpt2", {"<|endoftext|>": 299})
    assert tokens_of(again, TEXT) == tokens_of(trained(), TEXT)


def test_qwen3_is_loaded_with_its_normalization(unpacked, shared):
    ours = load(unpacked / "qwen3.json")
    theirs = tokenizers.Tokenizer.from_file(str(unpacked / "qwen3.json"))
    assert ours.normalization == "NFC"
    assert ours.pattern == "qwen2"
    packed = (shared / "multilingual" / "ntrex.tsv.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines()[:: 10 if COMPILED else 2000]
    lines.append("e\u0301te\u0301 \u212b")
    encoder = Encoder(ours)
    tokens, ends = encoder.encode(pa.array(lines))
    expected = [encoding.ids for encoding in theirs.encode_batch(lines)]
    assert [tokens[i:j].tolist() for i, j in pairwise(ends)] == expected


@slow_as_python
def test_ranks_saved_as_json_encode_alike_in_hugging_faces_library(unpacked, tmp_path):
    ours = load(unpacked / "cl100k_base.tiktoken")
    ours.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = TEXT.replace("<|endoftext|>", "") + " " * 100 + "unbelievably Wörter\n" + "a" * 40
    assert theirs.encode(text).ids == tokens_of(ours, text)
    assert theirs.token_to_id("<|fim_middle|>") == 100259


def changed(tmp_path, change):
    trained().save(tmp_path)
    said = json.loads((tmp_path / "tokenizer.json").read_text())
    change(said)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(said))
    return path


def with_pattern(text):
    def change(said):
        said["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = text

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said["model"].update(type="Unigram"), "type Unigram"),
        (lambda said: said["model"].update(dropout=0.1), "dropout"),
        (lambda said: said["model"].update(byte_fallback=True), "byte_fallback"),
        (
            lambda said: said.update(normalizer={"type": "Lowercase"}),
            "normalizer of type Lowercase",
        ),
        (lambda said: said.update(pre_tokenizer={"type": "Metaspace"}), "type Metaspace"),
        (lambda said: said.update(pre_tokenizer=None), "pre-tokenizer"),
        (
            lambda said: said["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
            "add_prefix_space",
        ),
        (
            lambda said: said["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"),
            "splitting with Removed",
        ),
        (with_pattern("a*?"), "matches the empty text"),
        (with_pattern(r"\w+|\W"), r"'\\\\w' in a pattern, which libraries read differently"),
        (with_pattern(r"\p{N}{1,3}+"), r"'}\+' in a pattern"),
        (with_pattern("a$"), "'\\$' in a pattern"),
        (with_pattern("(a"), "no regular expression"),
        (lambda said: said["model"]["vocab"].pop("!"), "without 1 of the 256 bytes"),
        (lambda said: said["model"]["vocab"].update({"一": 300}), "byte-level alphabet"),
    ],
)
def test_what_would_only_be_imitated_is_refused(change, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        load(changed(tmp_path, change))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="no such tokenizer"):
        load(tmp_path / "none.json")
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        load(tmp_path)
    trained().save(tmp_path)
    for name in ("tokenizer.json", "tokenizer.tiktoken"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ModelError, match="cut short"):
            load(tmp_path / name, "gpt2")


def test_a_special_token_that_the_text_taught_is_refused():
    pieces = count_pieces(pa.array(["<s> <s> <s> <s>"]), "whitespace")
    with pytest.raises(CurateError, match="<s>"):
        train(pieces, Train("whitespace", 300, ("<s>",)))


def test_a_merge_that_names_no_token_is_refused(tmp_path):
    path = changed(tmp_path, lambda said: said["model"]["merges"].append(["!", "!"]))
    with pytest.raises(ModelError, match="merge"):
        load(path)


def test_the_alphabet_is_the_references():
    assert list(trained().tokens[:256]) == reference.BYTES
