import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from tokenizer.normalize import FORMS, normalized, with_space

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
MARKS = "a\u0301\u0323\u0345\u0334\u1100\u1161\u11a8\u0897\u1dfa\U00011383ﬁ\u212b\u00a0q"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("around", ["{}", "a\u0345{}", "a{}\u0334", "a{}\u0301"])
def test_every_character_is_normalised_as_tokenizers_does_alone_and_between_marks(form, around):
    texts = [around.format(character) for character in EVERY]
    # A thousand in a row, with a letter between that nothing composes with.
    rows = ["q".join(texts[i : i + 1000]) for i in range(0, len(texts), 1000)]
    theirs = getattr(normalizers, form)().normalize_str
    ours = normalized(pa.array(rows), form).cast(pa.string()).to_pylist()
    assert [i for i, row in enumerate(rows) if theirs(row) != ours[i]] == []


@pytest.mark.parametrize("form", FORMS)
@given(texts=st.lists(st.one_of(st.text(MARKS), st.text()), max_size=5))
def test_any_text_is_normalised_as_tokenizers_does(form, texts):
    theirs = getattr(normalizers, form)().normalize_str
    ours = normalized(pa.array(texts, pa.string()), form).cast(pa.string()).to_pylist()
    assert ours == [theirs(text) for text in texts]


@given(st.lists(st.one_of(st.binary(max_size=6), st.just("e\u0301".encode())), max_size=6))
def test_bytes_that_are_no_characters_stay_what_and_where_they_are(parts):
    row = b"\xff".join(parts)
    (found,) = normalized(pa.array([row], pa.binary()), "NFC").cast(pa.binary()).to_pylist()
    pieces = row.decode("utf-8", "surrogateescape")
    # Unicode 14 of Python and 9 of tokenizers differ where a character is newer.
    if all(ord(c) < 0x300 or unicodedata.category(c) == "Cs" or c == "\u0301" for c in pieces):
        whole = unicodedata.normalize("NFC", pieces)
        assert found == whole.encode("utf-8", "surrogateescape")
    assert found.count(b"\xff") == row.count(b"\xff")


def test_a_null_is_an_empty_text():
    assert normalized(pa.array(["e\u0301", None]), "NFC").to_pylist() == ["é", None]
    assert normalized(pa.array([b"\xff", None]), "NFC").cast(pa.binary()).to_pylist() == (
        [b"\xff", b""]
    )


@given(texts=st.lists(st.text(" aé", max_size=3)), skip=st.integers(0, 2))
def test_a_text_gets_a_space_unless_it_has_one_or_is_empty(texts, skip):
    rows = pa.array(texts, pa.string()).slice(min(skip, len(texts)))
    spaced = [t if not t or t.startswith(" ") else f" {t}" for t in rows.to_pylist()]
    assert with_space(rows).cast(pa.string()).to_pylist() == spaced
    assert np.all(np.array([len(t) for t in spaced]) >= [len(t) for t in rows.to_pylist()])
