"""Files of tokenizers damaged in any way: an error that names the file, never a traceback."""

import copy
import json
import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError, ModelError
from tests.tokenizer.test_vocabulary import TEXT, tokens_of, trained
from tokenizer.vocabulary import load

REMOVED = "removed"
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from(
        [
            10**7,
            -(10**10),
            1.5,
            "",
            "a b",
            "Ġ",
            [],
            {},
            [1],
            ["!"],
            {"type": 5},
            [["!", "!"]],
            "NFC",
            "Sequence",
        ]
    ),
)
FILES = (
    "tokenizer.json",
    "tokenizer.tiktoken",
    "encoding.json",
    "vocab.json",
    "merges.txt",
    "ranks.json",
)


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """One file of each format, and what lies beside it."""
    folder = tmp_path_factory.mktemp("good")
    vocabulary = trained(special_tokens=("<|endoftext|>", "<|pad|>"))
    vocabulary.save(folder)
    said = json.loads((folder / "tokenizer.json").read_text())
    said["added_tokens"][1]["special"] = False
    said["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
    (folder / "tokenizer.json").write_text(json.dumps(said, ensure_ascii=False))
    lines = (folder / "tokenizer.tiktoken").read_text().splitlines()
    ranks = "! 0 " + " ".join(line.split()[0] for line in lines)
    beside = json.loads((folder / "encoding.json").read_text())
    (folder / "ranks.json").write_text(json.dumps({**beside, "bpe_ranks": ranks}))
    one = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    one.model.save(str(folder))
    return folder


def tried(folder, name, content, tmp_path):
    """Whether a changed file is loaded, beside the others as they are; it is encoded with if so."""
    for other in FILES:
        (tmp_path / other).write_bytes((folder / other).read_bytes())
    (tmp_path / name).write_bytes(content)
    opened = {"encoding.json": "tokenizer.tiktoken", "merges.txt": "vocab.json"}.get(name, name)
    try:
        vocabulary = load(tmp_path / opened)
    except CurateError as error:
        assert str(tmp_path) in str(error)
        return False
    tokens_of(vocabulary, TEXT)
    return True


def test_the_files_are_good_before_they_are_damaged(good, tmp_path):
    for name in FILES:
        assert tried(good, name, (good / name).read_bytes(), tmp_path), name


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60)
@given(share=st.floats(0, 0.999), data=st.data())
def test_bytes_cut_off_or_changed_give_an_error_or_a_tokenizer(
    name, good, tmp_path_factory, share, data
):
    content = bytearray((good / name).read_bytes())
    if data.draw(st.booleans()):
        del content[int(share * len(content)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    tried(good, name, bytes(content), tmp_path_factory.mktemp("damaged"))


def places(said, path=()):
    """Every place in a JSON value."""
    yield path
    items = (
        said.items()
        if isinstance(said, dict)
        else enumerate(said)
        if isinstance(said, list)
        else ()
    )
    for key, value in list(items)[:12]:
        yield from places(value, (*path, key))


@pytest.mark.parametrize("name", ["tokenizer.json", "encoding.json", "vocab.json", "ranks.json"])
@settings(max_examples=150)
@given(seed=st.integers(0, 10**9), junk=st.just(REMOVED) | JUNK)
def test_a_value_of_another_kind_gives_an_error_or_a_tokenizer(
    name, good, tmp_path_factory, seed, junk
):
    said = json.loads((good / name).read_text())
    *path, last = random.Random(seed).choice(list(places(said))[1:])
    inner = said
    for key in path:
        inner = inner[key]
    if junk == REMOVED:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(junk)
    tried(good, name, json.dumps(said).encode(), tmp_path_factory.mktemp("damaged"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said["model"].pop("vocab"), r"model\.vocab is None, not an object"),
        (lambda said: said["model"].pop("merges"), r"model\.merges is None, not a list"),
        (lambda said: said["model"]["vocab"].update({"!": -1}), "is -1; tokens are 0 to"),
        (lambda said: said["model"]["vocab"].update({"!": 10**9}), "is 1000000000; tokens are"),
        (lambda said: said["model"]["vocab"].update({"!": "0"}), "is '0', not a number"),
        (lambda said: said["model"]["vocab"].update({"!": True}), "is True, not a number"),
        (lambda said: said["model"]["vocab"].update({"!": 7}), "'!' and .* one number"),
        (lambda said: said["model"]["merges"].append(["!"]), "no merge of two tokens"),
        (lambda said: said["model"]["merges"].append("! ! !"), "no merge of two tokens"),
        (lambda said: said["model"]["merges"].append([1, 2]), "no merge of two tokens"),
        (lambda said: said["added_tokens"].append({"id": 1}), "content of an added token"),
        (lambda said: said["added_tokens"][0].update(id=1), "where tokenizers gives it"),
        (lambda said: said["added_tokens"].append(said["added_tokens"][0]), "there twice"),
        (lambda said: said.update(pre_tokenizer=[]), "pre-tokenizer"),
        (lambda said: said.update(normalizer=5), "normalizer is 5, not an object"),
    ],
)
def test_the_error_says_what_is_wrong(change, message, good, tmp_path):
    said = json.loads((good / "tokenizer.json").read_text())
    change(said)
    (tmp_path / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"IQ== 0\nIQ== 1\n", "line 2: b'!' is empty, there twice"),
        (b"IQ== 0\nIg== -1\n", "line 2: "),
        (b"IQ== 0\nIg== 99999999999\n", "line 2: "),
        (b"IQ== 0\nIg==\n", "line 2 is no token and rank"),
        (b"IQ== 0\nIg== 0\n", "two tokens have one rank"),
        (b"IQ== 0\n", "not all 256 bytes"),
    ],
)
def test_a_rank_file_is_told_by_its_line(content, message, tmp_path):
    (tmp_path / "gpt2.tiktoken").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(tmp_path / "gpt2.tiktoken")


def test_models_of_other_kinds_are_told_by_their_kind(shared, tmp_path):
    with pytest.raises(ModelError, match="a SentencePiece model is not supported"):
        load(shared / "models" / "mistral_v1_sentencepiece.model")
    for kind in (tokenizers.models.Unigram([("a", 0.0)], 0), tokenizers.models.WordPiece({"a": 0})):
        tokenizers.Tokenizer(kind).save(str(tmp_path / "tokenizer.json"))
        with pytest.raises(
            ModelError, match=r"a model of type (Unigram|WordPiece) is not supported"
        ):
            load(tmp_path)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_tokenizer(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        load(path)
