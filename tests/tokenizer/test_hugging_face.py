import os
from functools import cache
from itertools import pairwise

import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.conftest import PUBLISHED
from tokenizer.encode import Encoder
from tokenizer.vocabulary import load

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="150,000 merges take minutes as plain Python"
)
REAL = ("qwen3", "deepseek")
NAMES = ["<|endoftext|>", "<s>", "</s>", "<mask>", "<think>", "<tool>", "mask", "é>", "e\u0301>"]
# Characters of Unicode 14 at most, which all libraries know alike.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            [*NAMES, "<｜User｜>", "<|im_start|>", "</think>", "<｜end▁of▁sentence｜>"]
        ),
        st.text(CHARACTERS, max_size=6),
        st.text(" \n\t\r", max_size=9),
        st.sampled_from(
            ["the", " Wörter", "42", "1234567", "'s", "'LL", "漢字かな", "e\u0301", "fooBar"]
        ),
        st.text("\u0897\u1dfa\U00011383\u0301\u0323a\u0345ﬁ", max_size=5),
    ),
    max_size=8,
).map("".join)


@pytest.fixture(scope="session")
def pairs(published, unpacked):
    @cache
    def both(name):
        path = (unpacked if name in REAL else published) / f"{name}.json"
        return Encoder(load(path)), tokenizers.Tokenizer.from_file(str(path))

    return both


def rows(encoder, texts, specials=()):
    tokens, ends = encoder.encode(pa.array(texts, pa.string()), specials)
    return [tokens[i:j].tolist() for i, j in pairwise(ends)]


def theirs(tokenizer, texts, specials):
    tokenizer.encode_special_tokens = not specials
    return [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("name", [*PUBLISHED, *REAL])
def test_real_text_in_128_languages_is_encoded_as_tokenizers_does(name, pairs, sentences):
    encoder, one = pairs(name)
    assert rows(encoder, sentences) == theirs(one, sentences, ())


@pytest.mark.parametrize("name", [*PUBLISHED, *REAL])
@given(texts=st.lists(TEXTS, max_size=6))
def test_any_text_is_encoded_as_tokenizers_does(name, pairs, texts):
    encoder, one = pairs(name)
    assert rows(encoder, texts) == theirs(one, texts, ())


@pytest.mark.parametrize("name", [*PUBLISHED, *REAL])
@given(texts=st.lists(TEXTS, max_size=6))
def test_names_of_special_tokens_are_found_as_tokenizers_does(name, pairs, texts):
    encoder, one = pairs(name)
    specials = encoder.vocabulary.special_tokens
    assert rows(encoder, texts, specials) == theirs(one, texts, specials)
