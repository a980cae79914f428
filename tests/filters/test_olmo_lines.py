"""OLMo 3's line rules against datamap-rs's modifiers written out in plain Python."""

import os
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.properties import DIGIT, properties
from curate.unicode_words import word_places
from curate.word_break import WORD, entry
from filters.olmo_lines import Lines, Newlines

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=30 if PLAIN else 500, deadline=None)

SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
COUNTER = re.compile(
    rf"^W*D[,.D]*[kmb]?{SPACE}+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes"
    r"|downvotes|downloads|views|followers)W*$"
)
PHRASES = [
    (re.compile(rf"{SPACE}?items in cart{SPACE}?"), " "),
    (re.compile(rf"{SPACE}?Read more...$"), ""),
    (re.compile(rf"^Sign-in{SPACE}?"), ""),
]


def word_count(text: str) -> int:
    return len(word_places(view(pa.array([text]))).starts)


def classes(line: str) -> str:
    r"""The line in small letters; what Rust's \d and \W match is D and W."""

    def one(character: str) -> str:
        if properties(ord(character)) & DIGIT:
            return "D"
        return character if entry(ord(character)) & WORD or re.match(SPACE, character) else "W"

    kept = {",": ",", ".": "."}
    return "".join(kept.get(character) or one(character) for character in line.lower())


def is_counter(line: str) -> bool:
    signs = classes(line)
    # What is W, a comma or a space is all no part of a word.
    outer = re.sub(rf"^(?:W|,|\.|{SPACE})+|(?:W|,|\.|{SPACE})+$", "", signs)
    return COUNTER.search(outer) is not None


def stays(line: str) -> bool:
    size = len(line.encode())
    few_capitals = sum(map(str.isupper, line)) / size <= 0.5
    few_digits = len(re.findall("[0-9]", line)) / size <= 0.999999
    return few_capitals and few_digits and not is_counter(line) and word_count(line) >= 2


def rust_lines(text: str) -> list[str]:
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def rewritten(text: str) -> str:
    text = "\n".join(line for line in text.split("\n") if not line or stays(line))
    for phrase, instead in PHRASES:
        lines = [(line, phrase.sub(instead, line)) for line in rust_lines(text)]
        text = "\n".join(
            new for line, new in lines if not line or not re.fullmatch(f"{SPACE}*", new)
        )
    return text


def lines(texts: list[str | None], stage: Lines | None = None) -> tuple[list, list]:
    marked = (stage or Lines())(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))
    drops = marked["dropped_by"].to_pylist() if "dropped_by" in marked.schema.names else []
    return marked["text"].to_pylist(), drops or [None] * len(texts)


PARTS = [
    *("3", "1.2K", "1,000", "٣", "²", "k", "\u212a", "B", "likes", "LIKES", "li\u212aes", "views"),
    *("items in cart", "Items in cart", "Read more...", "Read more é一!", "more", "Sign-in"),
    *("A", "ABC", "É", "word", "two words", "!", "_", "😀", "12", "\u0301", "ิ", "\0", "don't"),
]
GAPS = ["", " ", " ", "\n", "\n", "\n\n\n", "\r\n", "\r", "\u3000", "\x1f", "\t", "\u202f"]
PAGE = st.lists(st.sampled_from(PARTS + GAPS), max_size=24).map("".join)
EVERY = Lines(max_removed=1.0)


@few
@given(PAGE | st.text(max_size=20))
def test_the_text_is_what_the_modifiers_leave(text):
    (found,), (dropped,) = lines([text], EVERY)
    expected = rewritten(text)
    if expected and word_count(text):
        assert (found, dropped) == (re.sub("\n{3,}", "\n\n", expected), None)
    else:
        assert (found, dropped) == (text, "olmo_lines.removed")


@few
@given(PAGE)
def test_a_document_that_loses_too_many_words_is_dropped(text):
    text = "word " * 30 + text
    before, after = word_count(text), word_count(rewritten(text))
    _, (dropped,) = lines([text])
    assert (dropped is None) == ((before - after) / before <= 0.05)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("A TITLE", None),
        ("2024", None),
        ("3 likes", None),
        ("3 views of it", "3 views of it"),  # the end of its pattern is in force
        ("word", None),
        ("3 items in cart now", "3 now"),
        ("3 Items in cart now", "3 Items in cart now"),
        ("I like it. Read more...", "I like it."),
        ("Sign-in to us", "to us"),
        (f"{'a word ' * 9}Read more...", f"{'a word ' * 9}".rstrip()),
    ],
)
def test_lines_by_hand(line, left):
    (found,), _ = lines([f"first line\n{line}\nlast line"], EVERY)
    assert found == (f"first line\n{left}\nlast line" if left else "first line\nlast line")


def test_newlines_are_shortened():
    batch = pa.RecordBatch.from_pydict({"text": ["a\n\n\n\nb\n\nc", None, "\n\n\n"]})
    assert Newlines()(batch)["text"].to_pylist() == ["a\n\nb\n\nc", None, "\n\n"]


def test_nulls_and_empty_batches_pass():
    assert lines([None])[0] == [None]
    assert lines([]) == ([], [])


@few
@given(st.lists(PAGE, max_size=4))
def test_a_row_alone_is_rewritten_as_among_others(texts):
    together = lines(texts, EVERY)
    alone = [lines([text], EVERY) for text in texts]
    assert together == ([one[0][0] for one in alone], [one[1][0] for one in alone])


def test_a_long_line_is_read_in_linear_time():
    size = 300 if PLAIN else 100_000
    text = "items in cart " * size + "\n" + "1 " * size + "\n" + "!" * size
    assert lines([text], EVERY)[0] == [rewritten(text)]
