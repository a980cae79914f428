import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from tokenizer.encode import Encoder
from tokenizer.normalize import FORMS, normalized, with_space
from tokenizer.vocabulary import load

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


@cache
def decompositions():
    """Every character that Arrow decomposes in any form, and into what."""
    forms = [pc.utf8_normalize(pa.array(EVERY), form=form).to_pylist() for form in ("NFD", "NFKD")]
    return [
        (c, parts) for form in forms for c, parts in zip(EVERY, form, strict=True) if parts != c
    ]


@cache
def newer():
    """All characters that Arrow decomposes and tokenizers does not, and into what."""
    theirs = normalizers.NFKD().normalize_str
    return sorted({text for way in decompositions() if theirs(way[0]) == way[0] for text in way})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("between", ["{}{}", "{}\u0334{}", "{}\u0301{}", "{}\U00011383{}"])
def test_every_pair_that_makes_a_character_is_normalised_as_tokenizers_does(form, between):
    composed = normalizers.NFC().normalize_str
    pairs = {(parts[:-1], parts[-1]) for _, parts in decompositions() if len(parts) > 1}
    pairs |= {(composed(first), second) for first, second in pairs}
    assert {("\U000105d2", "\u0307"), ("\U00016d67", "\U00016d67")} <= pairs
    texts = [between.format(*way) for pair in sorted(pairs) for way in (pair, pair[::-1])]
    theirs = getattr(normalizers, form)().normalize_str
    ours = normalized(pa.array(texts), form).cast(pa.string()).to_pylist()
    assert [ascii(t) for t, our in zip(texts, ours, strict=True) if theirs(t) != our] == []


@pytest.mark.parametrize("form", FORMS)
def test_marks_of_all_classes_are_ordered_as_tokenizers_does(form):
    marks = [c for c in EVERY if unicodedata.combining(c)]
    classes = {unicodedata.combining(c): c for c in reversed(marks)}.values()
    texts = [f"a{x}{y}" for one in classes for c in marks for x, y in ((one, c), (c, one))]
    theirs = getattr(normalizers, form)().normalize_str
    ours = normalized(pa.array(texts), form).cast(pa.string()).to_pylist()
    assert [ascii(t) for t, our in zip(texts, ours, strict=True) if theirs(t) != our] == []


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_text_of_characters_newer_than_unicode_9_is_normalised_as_tokenizers_does(form, data):
    parts = st.lists(st.one_of(st.sampled_from(newer()), st.sampled_from(MARKS)), min_size=2)
    texts = data.draw(st.lists(parts.map("".join), max_size=9))
    theirs = getattr(normalizers, form)().normalize_str
    ours = normalized(pa.array(texts, pa.string()), form).cast(pa.string()).to_pylist()
    assert ours == [theirs(text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "a\U00011935\U00011930b",
        "x\U000105d2\u0307y",
        "\U00016d67\U00016d67",
        "\U000113c2\U000113c2",
        "\u05c9\u05c7",
    ],
)
def test_qwen3_encodes_text_of_new_characters_as_published(text, unpacked):
    path = unpacked / "qwen3.json"
    theirs = tokenizers.Tokenizer.from_file(str(path)).encode(text, add_special_tokens=False).ids
    assert Encoder(load(path)).encode(pa.array([text]))[0].tolist() == theirs


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
