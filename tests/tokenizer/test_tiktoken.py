import base64
import inspect
import json
import random
from itertools import pairwise

import pyarrow as pa
import pytest
import regex
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from tests.tokenizer.test_vocabulary import slow_as_python, tokens_of
from tokenizer.encode import Encoder
from tokenizer.pretokenize import PATTERNS
from tokenizer.tiktoken_ranks import RANK_FILES, SAID_OTHERWISE, merges_of
from tokenizer.vocabulary import Vocabulary, load

BYTES = [bytes([byte]) for byte in range(256)]
SPACES = st.text(" \n\r\t\u3000a.1's", max_size=12)
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"])


def rows(encoder, texts, specials=()):
    tokens, ends = encoder.encode(pa.array(texts), specials)
    return [tokens[i:j].tolist() for i, j in pairwise(ends)]


def test_the_installed_tiktoken_says_what_is_known_of_openais_files():
    source = inspect.getsource(openai_public)
    assert [said for said in SAID_OTHERWISE if said not in source] == []
    assert all(part in source for part in PATTERNS["o200k"].split("?|")[0].split("(?i"))
    for _, specials in RANK_FILES.values():
        assert [token for token in specials.values() if str(token) not in source] == []


@pytest.mark.parametrize("said", SAID_OTHERWISE)
@given(
    text=st.one_of(
        SPACES,
        st.text(CHARACTERS),
        st.lists(st.sampled_from(["'ll", "'S", "12345", "ab", " ", "\n", "!?", "é"])).map("".join),
    )
)
def test_what_tiktoken_says_otherwise_cuts_alike(said, text):
    other = PATTERNS[SAID_OTHERWISE[said]]
    assert regex.findall(said.replace("$", r"\Z"), text, regex.V1) == (
        regex.findall(other, text, regex.V1)
    )


@slow_as_python
@given(texts=st.lists(st.one_of(SPACES, st.text(CHARACTERS, max_size=12)), max_size=6))
def test_cl100k_is_encoded_as_the_installed_tiktoken_does(cl100k, texts):
    encoder, theirs = cl100k
    assert rows(encoder, texts) == theirs.encode_ordinary_batch(texts)


@pytest.fixture(scope="session")
def cl100k(unpacked):
    ours = load(unpacked / "cl100k_base.tiktoken")
    (said,) = [one for one, name in SAID_OTHERWISE.items() if name == "cl100k"]
    ranks = {token: i for i, token in enumerate(ours.tokens) if token}
    theirs = tiktoken.Encoding(
        "test", pat_str=said, mergeable_ranks=ranks, special_tokens=ours.special_tokens
    )
    return Encoder(ours), theirs


@slow_as_python
@given(
    parts=st.lists(
        st.sampled_from(["<|endoftext|>", "<|fim_prefix|>", "<|", "|>", " ", "endoftext", "é\n"])
    ),
    names=st.sets(st.sampled_from(["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>"])),
)
def test_special_tokens_that_are_asked_for_are_found_as_tiktoken_finds_them(cl100k, parts, names):
    encoder, theirs = cl100k
    text = "".join(parts)
    expected = theirs.encode(text, allowed_special=names, disallowed_special=())
    assert rows(encoder, [text], names) == [expected]


@slow_as_python
@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base", "gpt2"])
def test_the_json_of_tiktokens_javascript_port_is_loaded(name, unpacked):
    ours = load(unpacked / f"{name}.json")
    said = json.loads((unpacked / f"{name}.json").read_text())
    assert PATTERNS[ours.pattern] == said["pat_str"]
    assert ours.special_tokens == said["special_tokens"]
    ranks = {token: i for i, token in enumerate(ours.tokens) if token}
    theirs = tiktoken.Encoding(
        "test", pat_str=said["pat_str"], mergeable_ranks=ranks, special_tokens={}
    )
    text = "Wörter 12345, 漢字\n\n  the cat's \n "
    assert tokens_of(ours, text) == theirs.encode_ordinary(text)


def test_tokens_whose_parts_have_higher_ranks_are_merged_as_tiktoken_does():
    random.seed(5)
    for _ in range(30):
        pool = {
            "".join(random.choices("abc", k=random.randrange(2, 6))).encode() for _ in range(25)
        }
        longer = random.sample(sorted(pool), len(pool))
        tokens = (*BYTES, *longer)
        ours = Vocabulary(tokens, merges_of(tokens), r"\S+", whole=True)
        theirs = tiktoken.Encoding(
            "test",
            pat_str=r"\S+",
            special_tokens={},
            mergeable_ranks={token: i for i, token in enumerate(tokens)},
        )
        texts = ["".join(random.choices("abc", k=random.randrange(1, 30))) for _ in range(50)]
        assert rows(Encoder(ours), texts) == theirs.encode_ordinary_batch(texts)


def ranks_of_llama(folder):
    """A rank file under the name of Llama 3's."""
    lines = [f"{base64.b64encode(token).decode()} {i}\n" for i, token in enumerate([*BYTES, b"ab"])]
    (folder / "tokenizer.model").write_text("".join(lines))
    return folder


def test_ranks_are_known_by_their_content(tmp_path):
    one = load(ranks_of_llama(tmp_path), "llama3", {"<|end_of_text|>": 300})
    assert tokens_of(one, "ab 1") == [256, 32, 49]
    assert one.end_of_text == 300


def test_a_users_pattern_for_ranks_is_tiktokens(tmp_path):
    pattern = r"\p{L}++|\s+$|\s|\p{N}{1,3}+|[^\s\p{L}\p{N}]"
    ours = load(ranks_of_llama(tmp_path), pattern, {})
    theirs = tiktoken.Encoding(
        "test",
        pat_str=pattern,
        mergeable_ranks={token: i for i, token in enumerate(ours.tokens)},
        special_tokens={},
    )
    for text in ("ab 1234 \n", "a\n", "\n \n", "x1é\u3000"):
        assert tokens_of(ours, text) == theirs.encode_ordinary(text)
