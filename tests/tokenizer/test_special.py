import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.column import view
from curate.errors import ModelError
from tests.tokenizer.test_vocabulary import tokens_of, trained
from tokenizer.encode import Encoder
from tokenizer.special import cutter, found_in, trie

NAMES = st.sets(st.text("ab<é", min_size=1, max_size=4), max_size=8)
ROWS = st.lists(st.text("ab<é", max_size=14), max_size=5)


@given(names=NAMES, rows=ROWS, skip=st.integers(0, 2))
def test_names_are_found_leftmost_first_and_then_longest(names, rows, skip):
    listed = [name.encode() for name in names]
    texts = pa.array(rows, pa.string()).slice(min(skip, len(rows)))
    found = found_in(view(texts), trie(listed))
    either = b"|".join(map(re.escape, sorted(listed, key=len, reverse=True))) or rb"(?!)"
    begin = int(view(texts).offsets[0])
    expected = []
    for text in texts.to_pylist():
        for match in re.finditer(either, text.encode()):
            places = (begin + match.start(), begin + match.end())
            expected.append((*places, listed.index(match[0])))
        begin += len(text.encode())
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


@given(names=NAMES, rows=ROWS)
def test_texts_and_names_together_are_what_was_given(names, rows):
    numbers = {name: i for i, name in enumerate(sorted(names))}
    cut = cutter(numbers, numbers, {}, "")
    items = cut(pa.array(rows, pa.string())) if cut else None
    if items is None:
        assert not any(name in row for name in names for row in rows)
        return
    texts = iter(items.texts.to_pylist())
    whole = [""] * len(rows)
    for token, row in zip(items.tokens.tolist(), items.rows.tolist(), strict=True):
        whole[row] += sorted(names)[token] if token >= 0 else next(texts).decode()
    assert whole == rows
    assert np.all(np.diff(items.rows) >= 0)


def test_many_names_in_a_text_are_all_found():
    ours = trained()
    text = "a<|endoftext|>" * 1000
    tokens, ends = Encoder(ours).encode(pa.array([text, "", text]), ["<|endoftext|>"])
    assert tokens.tolist() == [64, 299] * 2000
    assert ends.tolist() == [0, 2000, 2000, 4000]


def test_a_name_is_text_unless_it_is_asked_for():
    assert 299 not in tokens_of(trained(), "a<|endoftext|>")


def test_a_name_that_is_none_is_told():
    encoder = Encoder(trained())
    with pytest.raises(ModelError, match=r"no special token '<\|end\|>'; did you mean <\|endof"):
        encoder.encode(pa.array(["a"]), ["<|end|>"])
