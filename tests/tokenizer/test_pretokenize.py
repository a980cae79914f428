import gzip
import os
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import regex
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from curate.column import view
from curate.errors import RecipeError
from tokenizer import reference
from tokenizer.automaton import compiled
from tokenizer.counting import count_pieces
from tokenizer.own_pattern import own_pattern
from tokenizer.pretokenize import PATTERNS, ends_of, lengths_of, pieces_of, splitter
from tokenizer.unicode_table import CHANGED, groups, members, unassigned

# Without compilation a megabyte takes a minute.
COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
FEW = 2_000
STEP = 1 if COMPILED else 997

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


EVERY = [chr(point) for point in range(0, 0x110000, STEP) if not 0xD800 <= point < 0xE000]
SETS = {name for pattern in PATTERNS.values() for name in compiled(pattern).sets}
# What patterns of one's own may say: ranges with unassigned points, sets of sets, other cases.
SETS |= {
    *(r"\p{M}", r"\p{Lu}", r"\p{Lt}", r"\P{Ll}", r"\p{^Lm}", r"\p{Cn}", r"\p{C}", r"[\w\s]", r"\D"),
    *("(?i:k)", "(?i:ſ)", "[一-龥\u0590-\u05ff\u3040-\u30ff]", r"[^\p{L}\u0250-\u02ff]"),
    *(r"[\p{L}&&[\u0250-\u02ff]]", r"[\p{Han}\p{P}]"),
}


def split_by_regex(pattern, text):
    matches = regex.finditer(pattern, text, regex.V1)
    cuts = sorted({0, len(text), *(at for match in matches for at in match.span())})
    return [text[i:j] for i, j in pairwise(cuts)]


def in_its_place(every):
    return "".join(f"a{one} {one}'{one}1" for one in every)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_code_points_of_all_planes_are_cut_as_by_tokenizers(pattern):
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated")
    text = in_its_place(EVERY[::101])
    theirs = [piece.encode() for piece, _ in split.pre_tokenize_str(text)]
    assert cut(pa.array([text]), pattern) == theirs


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_code_point_of_unicode_16_is_cut_as_by_regex(pattern):
    known = [one for one in EVERY if not unassigned()[ord(one)] and ord(one) not in CHANGED]
    text = "".join(f"a{one}" for one in known)
    theirs = [one.encode() for one in split_by_regex(PATTERNS[pattern], text)]
    assert cut(pa.array([text]), pattern) == theirs == list(reference.pieces(text, pattern))


def held_by_tiktoken(name, text):
    # Characters that do not match are left out of what it encodes.
    letters = {bytes([byte]): byte for byte in range(256)}
    theirs = tiktoken.Encoding("set", pat_str=name, mergeable_ranks=letters, special_tokens={})
    return bytes(theirs.encode_ordinary(text)).decode()


def held_by_tokenizers(name, text):
    split = pre_tokenizers.Split(tokenizers.Regex(f"(?:{name})+"), "removed", invert=True)
    return "".join(piece for piece, _ in split.pre_tokenize_str(text))


def test_every_set_holds_every_code_point_that_it_holds_for_tiktoken_and_tokenizers():
    # Planes 4 to 13 are empty, 15 and 16 private: some of these will do.
    planes = (*range(0xD800), *range(0xE000, 0x34000, STEP), *range(0xE0000, 0xE0200))
    points = np.array([*planes, *range(0x34000, 0x110000, 997)])
    single = np.array(list(map(chr, points.tolist())))
    text = "".join(single)
    every = groups()
    for name in sorted(name for name in SETS if len(name) > 1):
        mine = "".join(single[members(name, every)[points]])
        assert held_by_tiktoken(name, text) == mine, name
        if r"\w" not in name:  # Oniguruma's holds other characters
            assert held_by_tokenizers(name, text) == mine, name


def test_unassigned_is_what_tiktoken_does_not_know():
    letters = {bytes([byte]): byte for byte in range(256)}
    with pytest.raises(ValueError, match="error"):
        tiktoken.Encoding("17", pat_str=r"\p{Age:17.0}", mergeable_ranks=letters, special_tokens={})


# Characters of two, three and four bytes, and no character, about the end of half a block.
ODD = st.sampled_from(
    [*map(str.encode, "é一😀\u0301\u2003'²ſ"), b"\xff", b"\xe4", b"\x80", b"\xf0\x9f"]
)
AT_BLOCK_ENDS = st.lists(
    st.tuples(
        st.integers(1, 6).map(lambda n: 32 * n),
        st.integers(-6, 6),
        st.sampled_from([b"a", b" a", b"ab ", b"1", b" ", b"\n ", "é".encode(), "一".encode()]),
        st.lists(ODD, max_size=3).map(b"".join),
        st.sampled_from([b"", b"s", b" x", b"'LL a", b"\r\n", b"  ", "é".encode() * 70, b"a" * 70]),
    ).map(lambda p: (p[2] * 256)[: p[0] + p[1]] + p[3] + p[4]),
    max_size=4,
)


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(deadline=None, max_examples=150)
@given(rows=AT_BLOCK_ENDS, start=st.integers(0, 2))
def test_what_stands_at_the_end_of_a_block_is_cut_as_one_character_after_another(
    pattern, rows, start
):
    column = pa.array(rows, pa.binary()).slice(min(start, len(rows)))
    slow = own_pattern(PATTERNS[pattern], "to compare")
    theirs = [np.zeros(0, np.int32), *(ends.copy() for ends in ends_of(view(column), slow))]
    mine = [
        np.zeros(0, np.int32),
        *(ends.copy() for ends in ends_of(view(column), *splitter(pattern))),
    ]
    assert np.concatenate(mine).tolist() == np.concatenate(theirs).tolist()


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


@pytest.mark.parametrize("before", range(64))
def test_what_is_guessed_of_the_middle_of_a_block_may_be_wrong(before):
    text = "a" * before + "1" * 200 + "一" * 100 + "1" * 200
    threes = [b"111"] * 66 + [b"11"]
    letters = [b"a" * before] if before else []
    assert cut(pa.array([text]), "cl100k") == [*letters, *threes, "一".encode() * 100, *threes]


@pytest.mark.parametrize("unit", [b" \xe0\x80\xa0b", b" \xf0\x80\x80\xa0b", b"\t\xe0\x80\x8a1"])
def test_where_a_text_is_cut_does_not_depend_on_where_a_block_of_pieces_ends(unit):
    count = 9000 if COMPILED else 100
    alone, together = ([unit] * count, [unit * count])
    found = [cut(pa.array(rows, pa.binary()), "cl100k") for rows in (alone, together)]
    assert found[0] == found[1]


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
