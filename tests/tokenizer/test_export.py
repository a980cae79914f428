import json
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import tiktoken
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe

from curate.errors import ModelError
from tests.tokenizer.conftest import PUBLISHED
from tests.tokenizer.test_vocabulary import slow_as_python, trained
from tokenizer.encode import Encoder
from tokenizer.pretokenize import PATTERNS
from tokenizer.vocabulary import Vocabulary, export, load

TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=8),
        st.text(" \n\ta1.'s", max_size=8),
        st.sampled_from(["<|endoftext|>", "<think>", "mask", "the cat", "12345", "</s>"]),
    ),
    max_size=6,
).map("".join)


def rows(encoder, texts, specials=()):
    tokens, ends = encoder.encode(pa.array(texts), specials)
    return [tokens[i:j].tolist() for i, j in pairwise(ends)]


def hugging_face(folder):
    one = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    one.encode_special_tokens = True
    return lambda texts: [found.ids for found in one.encode_batch(texts)]


def tiktokens(folder):
    said = json.loads((folder / "encoding.json").read_text())
    ranks = load_tiktoken_bpe(str(folder / "tokenizer.tiktoken"))
    return tiktoken.Encoding("exported", mergeable_ranks=ranks, **said).encode_ordinary_batch


def gpt2(folder):
    model = tokenizers.models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    one = tokenizers.Tokenizer(model)
    one.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return lambda texts: [found.ids for found in one.encode_batch(texts)]


OPENED = {"tokenizer.json": hugging_face, "tiktoken": tiktokens, "gpt2": gpt2}


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    @cache
    def both(pattern, format_):
        folder = tmp_path_factory.mktemp("exported")
        vocabulary = trained(pattern)
        export(vocabulary, folder, format_)
        return Encoder(vocabulary), OPENED[format_](folder), Encoder(load(folder))

    return both


SPLIT = [name for name in PATTERNS if name not in ("digit", "digit3", "bloom")]
OWN = [r"\p{N}{1,3}+|\s+$|\P{N}|\s", r"(?<=[a-z])[A-Z]+|[\s\S]"]


@pytest.mark.parametrize(
    ("pattern", "format_"),
    [
        *((name, "tokenizer.json") for name in [*PATTERNS, *OWN, ("digit", "gpt2")]),
        *((name, "tiktoken") for name in [*SPLIT, *OWN]),
        ("gpt2", "gpt2"),
    ],
)
@settings(max_examples=25)
@given(texts=st.lists(TEXTS, max_size=4))
def test_what_is_exported_encodes_alike_where_it_is_opened(pattern, format_, exported, texts):
    ours, theirs, again = exported(pattern, format_)
    assert rows(ours, texts) == theirs(texts) == rows(again, texts)


@slow_as_python
@pytest.mark.parametrize("name", PUBLISHED)
def test_what_was_loaded_is_exported_as_it_was(name, published, sentences, tmp_path):
    first = load(published / f"{name}.json")
    export(first, tmp_path, "tokenizer.json")
    second = load(tmp_path)
    assert second.fingerprint() == first.fingerprint()
    texts = [*sentences[::20], "<think>  mask é> <tool> x   <s>"]
    assert hugging_face(tmp_path)(texts) == rows(Encoder(first), texts)


@slow_as_python
@pytest.mark.parametrize("name", ["cl100k_base.tiktoken", "o200k_base.json", "gpt2_vocab.json"])
@pytest.mark.parametrize("format_", OPENED)
def test_published_vocabularies_go_into_every_format_that_holds_them(
    name, format_, unpacked, sentences, tmp_path
):
    first = load(unpacked / name)
    if format_ == "gpt2" and first.pattern != "gpt2":
        with pytest.raises(ModelError, match=r"the pattern '.*' in GPT-2's files is not supported"):
            export(first, tmp_path, format_)
        return
    export(first, tmp_path, format_)
    texts = sentences[::10]
    assert OPENED[format_](tmp_path)(texts) == rows(Encoder(first), texts)


BYTES = tuple(bytes([byte]) for byte in range(256))
PAIRS = [(97, 98, 257), (98, 97, 256)]


@pytest.mark.parametrize(
    ("format_", "message", "fields"),
    [
        ("tiktoken", "merges are not in the order", {"merges": PAIRS}),
        ("tiktoken", "merges are not in the order", {"merges": PAIRS[:1]}),
        ("tiktoken", "several patterns", {"pattern": ("digit", "gpt2")}),
        ("tiktoken", r"normalisation \(NFC\)", {"normalization": "NFC"}),
        ("tiktoken", "found in any text", {"always": {"<t>": 258}}),
        ("tiktoken", "a space before every text", {"prefix_space": True}),
        ("tiktoken", "leaves out", {"pattern": "bloom"}),
        ("gpt2", "the pattern 'cl100k'", {"pattern": "cl100k"}),
        ("gpt2", "special tokens of other names", {"special_tokens": {"<pad>": 258}}),
        ("gpt2", "tokens that no merges make", {"whole": True, "merges": []}),
        ("gpt2", "found in any text", {"always": {"<t>": 258}}),
        ("gpt2", "normalisation", {"normalization": "NFC"}),
        ("tokenizer.json", "pattern gpt2 only", {"prefix_space": True, "pattern": "o200k"}),
        ("tokenizer.json", r"'\\\\w' in a pattern", {"pattern": r"\w+|\W"}),
        ("tokenizer.json", "one piece", {"whole": True, "special_tokens": {"ab": 300}}),
        ("sentencepiece", "no format 'sentencepiece'", {}),
    ],
)
def test_what_a_format_cannot_hold_is_refused(format_, message, fields, tmp_path):
    merges = np.array(fields.pop("merges", PAIRS[::-1]), np.int32).reshape(-1, 3)
    tokens = (*BYTES, b"ba", b"ab")
    said = {"tokens": tokens, "merges": merges, "pattern": "gpt2", **fields}
    with pytest.raises(ModelError, match=message):
        export(Vocabulary(**said), tmp_path, format_)


def test_ranks_are_not_saved_where_tiktoken_would_encode_otherwise(tmp_path):
    ours = trained("bloom")
    (tmp_path / "tokenizer.tiktoken").write_text("of an older one")
    ours.save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["tokenizer.json", "tokenizer_config.json"]


def test_a_pattern_that_tokenizers_would_read_otherwise_is_kept_for_us_alone(tmp_path):
    ours = trained(r"\w+|\W")
    ours.save(tmp_path)
    assert load(tmp_path).fingerprint() == ours.fingerprint()
    with pytest.raises(Exception, match="unknown variant `regex`"):
        hugging_face(tmp_path)


def test_a_saved_folder_opens_in_transformers(tmp_path):
    ours = trained("cl100k", special_tokens=("<|endoftext|>", "<|pad|>"))
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "the cat's 42 \n\n été 一二三 \n "
    assert theirs(text)["input_ids"] == rows(Encoder(ours), [text])[0]
    assert theirs.decode(theirs(text)["input_ids"]) == text
    assert theirs.eos_token_id == ours.end_of_text
    assert len(theirs) == ours.size


@pytest.mark.parametrize("names", [("<|endoftext|>",), ("</s>",), ("<|endoftext|>", "<eos>"), ()])
def test_gpt2_files_open_in_transformers(names, tmp_path):
    ours = trained("gpt2", special_tokens=names)
    export(ours, tmp_path, "gpt2")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__.startswith("GPT2Tokenizer")
    text = "the cat's 42 \n\n été 一二三 \n "
    assert theirs(text)["input_ids"] == rows(Encoder(ours), [text])[0]
    assert theirs.decode(theirs(text)["input_ids"]) == text
    for name in names:
        [found] = rows(Encoder(ours), [f"a{name}b"], [name])
        assert theirs(f"a{name}b")["input_ids"] == found
    assert theirs.eos_token_id == (ours.end_of_text if names else None)
    assert len(theirs) == ours.size
