"""Texts side by side: what differs is marked, and no two texts take long."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.report import marked
from curate.report.marked import GAP, ONLY, SAME, Piece

TEXTS = st.lists(st.sampled_from(["a", "b", "c\n", " ", "word", "水", "山", "\t"]), max_size=40)


def sides(left: str, right: str, **cut) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    told = marked.marked(left, right, **cut)
    return tuple([(p.kind, p.text) for p in side] for side in (told.left, told.right))


def test_a_word_that_was_changed_is_marked_on_both_sides():
    left, right = sides("the red house is old", "the blue house is old")
    assert left == [(SAME, "the "), (ONLY, "red "), (SAME, "house is old")]
    assert right == [(SAME, "the "), (ONLY, "blue "), (SAME, "house is old")]


def test_what_was_added_is_marked_on_one_side_only():
    told = marked.marked("one two", "one and two")
    assert told.left == [Piece(SAME, "one "), Piece(SAME, "two")]
    assert told.right == [Piece(SAME, "one "), Piece(ONLY, "and "), Piece(SAME, "two")]
    assert (told.only_left, told.only_right) == (0, 1)


def test_white_space_makes_no_difference():
    told = marked.marked("one\n\ntwo three", "  one two\tthree ")
    assert (told.only_left, told.only_right) == (0, 0)


def test_a_character_is_a_word_where_there_are_no_spaces():
    left, right = sides("山水画", "山火画")
    assert left == [(SAME, "山"), (ONLY, "水"), (SAME, "画")]
    assert right == [(SAME, "山"), (ONLY, "火"), (SAME, "画")]


def test_the_middle_of_a_long_stretch_is_left_out():
    text = " ".join(f"w{i}" for i in range(100))
    left, _ = sides(text, text)
    assert [kind for kind, _ in left] == [SAME, GAP, SAME]
    assert left[1][1] == "52 of the same words"
    assert left[2][1].startswith("w76 ")


def test_nothing_is_said_of_an_end_that_one_text_no_longer_shows():
    assert sides("one two thr", "one two three four", left_is_cut=True) == (
        [(SAME, "one two ")],
        [(SAME, "one two ")],
    )
    assert sides("one two", "one two three four")[1][-1] == (ONLY, "three four")


def test_an_empty_text_differs_in_every_word():
    assert marked.marked("", "") == marked.Marked([], [], 0, 0, 0)
    told = marked.marked("", "a b")
    assert (told.left, told.right, told.only_right) == ([], [Piece(ONLY, "a b")], 2)


def test_differences_beyond_the_limit_are_counted_and_not_shown():
    left = " ".join(f"same{i} odd{i}" for i in range(900))
    right = " ".join(f"same{i} even{i}" for i in range(900))
    told = marked.marked(left, right)
    assert told.only_left == told.only_right == 900
    shown = sum(piece.kind == ONLY for piece in told.left)
    assert shown + told.more == 900
    assert sum(len(piece.text) for piece in told.left) < marked.MOST_SHOWN + 100


@pytest.mark.parametrize("words", [["a"], ["a", "b"], [str(i) for i in range(90)], None])
def test_no_two_texts_take_long(words):
    draw = random.Random(1)
    texts = [
        " ".join(draw.choice(words) if words else str(draw.random()) for _ in range(20_000))
        for _ in range(2)
    ]
    started = time.perf_counter()
    marked.marked(*texts)
    assert time.perf_counter() - started < 2


@given(TEXTS, TEXTS)
def test_the_pieces_of_a_side_are_its_text(left, right):
    told = marked.marked("".join(left), "".join(right))
    for pieces, text in ((told.left, left), (told.right, right)):
        assert "".join(piece.text for piece in pieces) == "".join(text).strip()


@given(TEXTS)
def test_a_text_does_not_differ_from_itself(text):
    told = marked.marked("".join(text), "".join(text))
    assert (told.only_left, told.only_right) == (0, 0)
