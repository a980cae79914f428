"""The index against Python's own splitting, and repetitions against a search of all pairs."""

import os
import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import LONGEST_REPEAT, WordPlaces, index
from curate.kernel import LETTER, WIDE

few = settings(
    max_examples=15 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 200, deadline=None
)

PROSE = st.lists(
    st.sampled_from(["a", "b", "ab", "\u00e9", "\u4e00\u4e01", "\U0001f600", "the"]), max_size=40
).flatmap(
    lambda words: st.lists(
        st.sampled_from([" ", "  ", "\n", "\n\n", "\n \n", "\u3000", "\r\n", "\n\n\n", "\x85"]),
        min_size=len(words),
        max_size=len(words),
    ).map(lambda gaps: "".join(w + g for w, g in zip(words, gaps, strict=True)))
)
TEXTS = st.lists(PROSE | st.text(max_size=30), max_size=5)


def pieces(text: str, spans, offsets, row: int) -> list[str]:
    data = text.encode()
    first, last = offsets[row], offsets[row + 1]
    own = zip(spans.starts[first:last], spans.ends[first:last], strict=True)
    found = [data[start:end].decode() for start, end in own]
    assert [len(piece) for piece in found] == spans.characters[first:last].tolist()
    assert len(set(found)) == len(set(spans.hashes[first:last].tolist()))
    return found


def longest_repeats(words: list[str]) -> list[int]:
    def repeated(place: int, size: int) -> bool:
        gram = words[place : place + size]
        others = (words[p : p + size] for p in range(len(words) - size + 1) if p != place)
        return len(gram) == size and gram in others

    sizes = range(1, LONGEST_REPEAT + 1)
    return [max([n for n in sizes if repeated(p, n)], default=0) for p in range(len(words))]


@few
@given(TEXTS)
def test_words_lines_and_paragraphs_are_those_of_python(texts):
    cut = index(view(pa.array(texts, pa.string())))
    for row, text in enumerate(texts):
        assert cut.characters[row] == len(text)
        assert pieces(text, cut.words, cut.word_offsets, row) == text.split()
        assert pieces(text, cut.lines, cut.line_offsets, row) == text.split("\n")
        expected = re.split(r"\n{2,}", text.strip())
        assert pieces(text, cut.paragraphs, cut.paragraph_offsets, row) == expected


@few
@given(TEXTS)
def test_rows_are_the_lines_of_splitlines_and_heads_their_first_words(texts):
    cut = index(view(pa.array(texts, pa.string())))
    for row, text in enumerate(texts):
        lines = text.splitlines()
        heads = cut.heads[cut.head_offsets[row] : cut.head_offsets[row + 1]].tolist()
        assert cut.rows[row] == len(lines)
        assert heads == [
            sum(len(before.split()) for before in lines[:place])
            for place, line in enumerate(lines)
            if line.split()
        ]


@few
@given(TEXTS)
def test_traits_tell_letters_and_what_is_not_ascii(texts):
    cut = index(view(pa.array(texts, pa.string())))
    words = [word for text in texts for word in text.split()]
    expected = [
        LETTER * any(c.isalpha() for c in word) | WIDE * (not word.isascii()) for word in words
    ]
    assert cut.traits.tolist() == expected


@few
@given(TEXTS)
def test_words_that_have_their_places_are_indexed_like_those_that_were_cut(texts):
    column = view(pa.array(texts, pa.string()))
    cut = index(column)
    again = index(column, WordPlaces(cut.words.starts, cut.words.ends, cut.word_offsets))
    for name in ("words", "repeats", "rows", "heads", "head_offsets", "traits", "lines"):
        ours, theirs = getattr(again, name), getattr(cut, name)
        pairs = [(ours, theirs)] if isinstance(ours, np.ndarray) else zip(ours, theirs, strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), name


@few
@given(TEXTS)
def test_repeats_are_what_a_search_of_all_pairs_finds(texts):
    cut = index(view(pa.array(texts, pa.string())))
    for row, text in enumerate(texts):
        found = cut.repeats[cut.word_offsets[row] : cut.word_offsets[row + 1]]
        assert found.tolist() == longest_repeats(text.split())


def test_repeats_of_a_text_that_says_eleven_words_twice():
    words = [str(n) for n in range(11)] * 2
    cut = index(view(pa.array([" ".join(words)])))
    assert cut.repeats.tolist() == [10, 10, *range(9, 0, -1)] * 2


@few
@given(st.lists(st.binary(max_size=50), max_size=5))
def test_no_bytes_fail(rows):
    cut = index(view(pa.array(rows, pa.binary())))
    assert cut.line_offsets[-1] == sum(row.count(b"\n") + 1 for row in rows)
    assert (cut.words.starts < cut.words.ends).all()


@few
@given(TEXTS, st.data())
def test_a_sliced_column_is_cut_like_its_own_rows(texts, data):
    first = data.draw(st.integers(0, len(texts)))
    last = data.draw(st.integers(first, len(texts)))
    sliced = index(view(pa.array(texts, pa.string()).slice(first, last - first)))
    own = index(view(pa.array(texts[first:last], pa.string())))
    for ours, theirs in (
        (sliced.words, own.words),
        (sliced.lines, own.lines),
        (sliced.paragraphs, own.paragraphs),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_null_is_an_empty_text():
    cut = index(view(pa.array([None, "a"])))
    assert cut.word_offsets.tolist() == [0, 0, 1]
    assert cut.line_offsets.tolist() == [0, 1, 2]


def test_what_kernels_read_is_frozen():
    cut = index(view(pa.array(["a b"])))
    assert not cut.words.hashes.flags.writeable
    assert not cut.repeats.flags.writeable


def test_a_long_line_is_cut_in_linear_time():
    size = 2_000 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 1_000_000
    cut = index(view(pa.array(["ab " * (size // 3), "x" * size])))
    assert cut.word_offsets.tolist() == [0, size // 3, size // 3 + 1]
