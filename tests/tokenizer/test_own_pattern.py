from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import regex
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from curate.column import view
from curate.errors import InputError, RecipeError
from tokenizer import own_pattern as own
from tokenizer.automaton import Automaton, automaton, covers
from tokenizer.dialect import from_tiktoken, peculiar, portable
from tokenizer.own_pattern import OwnPattern, own_pattern
from tokenizer.pretokenize import PATTERNS, ends_of, slow_parts, splitter

# What no automaton of ours follows: look behind, lazy, possessive groups, anchors, back-references.
SLOW = [
    r"(?<=[a-z])[A-Z]|\S+?|\s+",
    r"(?:ab)++|[\s\S]",
    r"^\s+|\S+$|\s|\S+",
    r"(\S)\1*|\s+",
    r"(?>a+|b)c?|[^abc]+|c",
    r"(?=fo)\w+|.|\n",
]
# Possessive repetitions of one set, and looks ahead at one: an automaton follows them.
FAST = [
    r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|\s++|[^\s\p{L}\p{N}]++[\r\n]*+",
    r"\p{L}{2,4}+\p{L}|\p{L}|[^\p{L}]+",
    r"a?+ab|a++b|b{0,2}+b|[\s\S]",
    r"\s+(?=\s)|\S+(?=\s)|\s+(?![\s\S])|[\s\S]",
    r"(?i:s{1,2}+)t|[\s\S]",
]
TEXT = st.one_of(
    st.text("ab \n1cAſS.,", max_size=14), st.text(st.characters(exclude_categories=["Cs", "Cn"]))
)


def pieces(machine, texts):
    """The pieces of all rows, as they lie one after another."""
    rows = view(pa.array(texts, pa.binary()))
    ends = np.concatenate([[0], *(block.copy() for block in ends_of(rows, machine))]).astype(int)
    data = rows.data.tobytes()
    return [data[i:j] for i, j in pairwise(ends)]


def expected(pattern, text):
    """Matches of the `regex` package and what lies between them."""
    cuts = {0, len(text), *(at for m in regex.finditer(pattern, text, regex.V1) for at in m.span())}
    places = sorted(cuts)
    return [text[i:j].encode() for i, j in pairwise(places)]


@pytest.mark.parametrize("pattern", SLOW)
@given(texts=st.lists(TEXT, max_size=4))
def test_what_no_automaton_follows_is_cut_as_regex_cuts_it(pattern, texts):
    (machine,) = splitter(pattern)
    assert isinstance(machine, OwnPattern)
    found = [piece for text in texts for piece in expected(pattern, text)]
    assert pieces(machine, [text.encode() for text in texts]) == found


@pytest.mark.parametrize("pattern", FAST)
@given(text=TEXT)
def test_possessive_sets_and_looks_ahead_are_followed_by_an_automaton(pattern, text):
    machine = automaton(pattern)
    assert isinstance(machine, Automaton)
    assert pieces(machine, [text.encode()]) == expected(pattern, text)


# ASCII in three and four bytes, in UTF-8 that is not allowed and in no UTF-8 at all.
OVERLONG = st.lists(
    st.sampled_from(
        [b" ", b"a", b"\n", b"\xe0\x80\xa0", b"\xe0\x81\xa1", b"\xe0@ ", b"\xf0\x80\x80\xa0"]
    ),
    max_size=30,
).map(b"".join)


@pytest.mark.parametrize("pattern", ["gpt2", "o200k", "bloom", "digit3"])
@given(rows=st.lists(st.one_of(st.binary(max_size=12), TEXT.map(str.encode), OVERLONG), max_size=4))
def test_bytes_that_are_not_utf8_are_cut_as_the_automaton_cuts_them(pattern, rows):
    slow = own_pattern(PATTERNS[pattern], "to compare")
    assert pieces(slow, rows) == pieces(automaton(PATTERNS[pattern]), rows)


def test_a_pattern_that_tells_more_characters_apart_than_fit_a_byte_is_cut_by_regex():
    words = ["".join(map(chr, range(begin, begin + 2))) for begin in range(0x4E00, 0x4E00 + 140, 2)]
    (machine,) = splitter("|".join(words))
    assert machine.reason.startswith("a pattern that tells 14")
    assert pieces(machine, ["".join(words).encode()]) == [word.encode() for word in words]


def test_what_makes_a_pattern_slow_is_told_by_its_place():
    (reason,) = slow_parts(("digit", r"\S+?|\s"))
    assert reason.endswith(r": a lazy or doubled repetition at character 3 of pattern '\\S+?|\\s'")
    assert slow_parts("o200k") == []


@pytest.mark.parametrize("pattern", ["(a", "[z-a]", r"\p{Nonsense}", "*", "(?<=a", "a)"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(RecipeError, match="is no regular expression"):
        splitter(pattern)


@pytest.mark.parametrize("pattern", ["a*", "a*?", "(?:a|)", r"(?<=a)|b*"])
def test_a_pattern_of_nothing_is_refused(pattern):
    with pytest.raises(RecipeError, match="matches the empty text"):
        splitter(pattern)


def test_a_pattern_that_tries_all_ways_is_stopped(monkeypatch):
    monkeypatch.setattr(own, "MOST_SECONDS", 0.2)
    (machine,) = splitter(r"(?<!x)(?:a|aa)+?$|[\s\S]")
    with pytest.raises(InputError, match=r"takes more than 0\.2 s on a text of 61 bytes"):
        pieces(machine, [b"a" * 60 + b"b"])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_covers_all_text_if_no_character_lies_between_matches(pattern):
    every = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    text = "".join(f"{a}{b}" for a, b in zip(every, "a1 \n.'\u0301漢" * 200_000, strict=False))
    matched = sum(len(m) for m in regex.findall(PATTERNS[pattern], text, regex.V1))
    assert covers(automaton(PATTERNS[pattern])) == (matched == len(text))


def test_what_libraries_read_differently_is_found():
    said = r"\p{N}{1,3}+|[$^\w]|^\s+$|(?m)a|[a&&b]|[[:alpha:]]|\b|(?<=a)\r\n|\$|a++|[^}+]"
    assert [mark for _, mark in peculiar(said)] == (
        ["}+", r"\w", "^", "$", "(?", "&&", "[:", r"\b"]
    )
    assert [peculiar(pattern) for pattern in PATTERNS.values()] == [[]] * len(PATTERNS)


@pytest.mark.parametrize("pattern", [r"\p{N}{1,3}+|\P{N}+", r"\s+$|\S+|\s", r"^a|\Aa\Z|[\s\S]"])
@given(text=st.text("a \n12345", max_size=9))
def test_a_pattern_is_rewritten_so_that_tokenizers_reads_it_alike(pattern, text):
    assert peculiar(portable(pattern)) == []
    split = pre_tokenizers.Split(tokenizers.Regex(portable(pattern)), "isolated")
    theirs = [piece.encode() for piece, _ in split.pre_tokenize_str(text)] if text else []
    assert theirs == expected(pattern, text) == expected(portable(pattern), text)


def test_the_dollar_of_tiktoken_is_the_end_of_the_text_alone():
    assert regex.findall(from_tiktoken(r"\s+$"), "a \n", regex.V1) == [" \n"]
    assert regex.findall(from_tiktoken("a$"), "a\n", regex.V1) == []
