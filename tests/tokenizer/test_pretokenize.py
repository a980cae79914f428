import gzip
import os
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.errors import RecipeError
from tokenizer import reference
from tokenizer.counting import count_pieces
from tokenizer.pretokenize import PATTERNS, lengths_of, pieces_of, splitter

# Without compilation a megabyte takes a minute.
COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
FEW = 2_000

# One or more of every kind of character that a pattern tells apart, and the odd ones.
KINDS = (
    " \t\n\r\x00\x85\xa0\u2003\u3000'’sStTdDmMlLvVrReEſKaBčÉǅʰªß一あ\u0301\u094d"
    "1²٣Ⅷ.!?/(|[]…।，-$€😀𐐀𞤀\ue000"
)
mixed = st.one_of(st.text(st.sampled_from(KINDS)), st.text())


def cut(column, pattern):
    rows = view(column)
    out = []
    for block in pieces_of(rows, splitter(pattern)):
        for begin, length in zip(block[:, 2].tolist(), lengths_of(block).tolist(), strict=True):
            out.append(rows.data[begin : begin + length].tobytes())
    return out


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(deadline=None, max_examples=300)
@given(text=mixed)
def test_pieces_are_those_of_the_regex_package(pattern, text):
    assert cut(pa.array([text]), pattern) == list(reference.pieces(text, pattern))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pieces_are_those_of_regex_on_real_text_in_128_languages(pattern, shared):
    packed = (shared / "multilingual" / "ntrex.tsv.gz").read_bytes()
    text = gzip.decompress(packed).decode()[: None if COMPILED else FEW]
    assert cut(pa.array([text]), pattern) == list(reference.pieces(text, pattern))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_code_point_is_classified_as_by_regex(pattern):
    step = 1 if COMPILED else 997
    every = [chr(point) for point in range(0, 0x110000, step) if not 0xD800 <= point < 0xE000]
    text = "".join(f"a{character}" for character in every)
    assert cut(pa.array([text]), pattern) == list(reference.pieces(text, pattern))


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(deadline=None)
@given(data=st.binary())
def test_any_bytes_are_cut_into_pieces_that_are_the_bytes(pattern, data):
    pieces = cut(pa.array([data], pa.binary()), pattern)
    assert b"".join(pieces) == data
    assert b"" not in pieces


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(st.one_of(mixed, st.none())), start=st.integers(0, 3))
def test_a_piece_never_crosses_rows_and_a_slice_sees_its_own(texts, start):
    column = pa.array(texts, pa.string()).slice(start)
    expected = [piece for text in texts[start:] for piece in reference.pieces(text or "", "gpt2")]
    assert cut(column, "gpt2") == expected


def test_gpt2_examples():
    assert cut(pa.array(["I'll  go,\n\n now 42"]), "gpt2") == (
        [b"I", b"'ll", b" ", b" go", b",", b"\n\n", b" now", b" 42"]
    )


def test_cl100k_takes_three_digits_and_ignores_case_in_contractions():
    assert cut(pa.array(["12345 I'LL \n x'ſ"]), "cl100k") == (
        [b"123", b"45", b" I", b"'LL", b" \n", b" x", "'ſ".encode()]
    )


def test_bloom_keeps_what_lies_between_two_matches():
    assert cut(pa.array(["a (b), c"]), "bloom") == [b"a", b" (", b"b", b"),", b" c"]


def test_a_piece_may_be_longer_than_any_block():
    size = 1_000_000 if COMPILED else 10_000
    for text in (" " * size, "a" * size, "é" * size, "\n" * size):
        assert sum(map(len, cut(pa.array([text]), "cl100k"))) == len(text.encode())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean cl100k"):
        splitter("cl100")


def test_a_pattern_of_ones_own_runs_as_well():
    assert cut(pa.array(["aa bb-12"]), r"[a-z]{1,2}|\d|[^a-z\d]+") == (
        [b"aa", b" ", b"bb", b"-", b"1", b"2"]
    )


@pytest.mark.parametrize("pattern", [r"a*+|.", r"\s*", r"(a|b", "a)"])
def test_a_pattern_that_is_none_or_matches_nothing_is_refused(pattern):
    with pytest.raises(RecipeError):
        splitter(pattern)


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(mixed))
def test_counts_are_those_of_a_counter(texts):
    counted = Counter(piece for text in texts for piece in reference.pieces(text, "gpt2"))
    table = count_pieces(pa.array(texts, pa.string()), "gpt2")
    assert sorted(zip(*(c.to_pylist() for c in table.columns), strict=True)) == sorted(
        counted.items()
    )


def test_pieces_that_differ_in_their_last_byte_only_are_counted_apart():
    words = ["x" * length + end for length in (6, 7, 14, 15, 16, 40) for end in "abc"]
    table = count_pieces(pa.array([" ".join(words * 3)]), r"\S+|\s+")
    counts = dict(zip(*(c.to_pylist() for c in table.columns), strict=True))
    assert all(counts[word.encode()] == 3 for word in words)


def test_every_piece_is_counted_once(shared):
    text = (shared / "sources" / "tinyshakespeare_input.txt").read_text()
    pieces = count_pieces(pa.array([text if COMPILED else text[:FEW]]), "gpt2")["piece"].to_pylist()
    assert len(set(pieces)) == len(pieces)
