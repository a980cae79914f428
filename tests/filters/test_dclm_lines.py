"""DCLM's line rules against its modifiers written out in plain Python."""

import os
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.dclm_lines import Lines

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=30 if PLAIN else 500, deadline=None)

COUNTER = re.compile(
    r"^\W*\d[,.\d]*[kmb]?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes"
    r"|downvotes|downloads|views|followers)\W*$"
)
PHRASES = [
    re.compile(r"\s?items in cart", re.IGNORECASE),
    re.compile(r"\s?read more...$", re.IGNORECASE),
    re.compile(r"^sign-in\s?", re.IGNORECASE),
]
STAYS = [
    lambda line: sum(map(str.isupper, line)) / len(line) <= 0.5,
    lambda line: sum(map(str.isdigit, line)) / len(line) <= 0.999999,
    lambda line: not COUNTER.search(line.lower()),
    lambda line: len(line.split()) >= 2,
]


def words(text: str) -> int:
    return sum(token[0].isalnum() for token in re.split("[ \n\r\t\v\f\0]+", text) if token)


def without(line: str, phrase: re.Pattern[str]) -> str | None:
    left = phrase.sub("", line) if len(line.split()) <= 10 else line
    return None if line and len(line.split()) <= 10 and not left.strip() else left


def rewritten(text: str) -> str:
    for rule, stays in enumerate(STAYS):
        text = "\n".join(line for line in text.split("\n") if not line or stays(line))
        text = text if rule == 3 else text.strip()
    for phrase in PHRASES:
        lines = [without(line, phrase) for line in text.split("\n")]
        text = "\n".join(line for line in lines if line is not None).strip()
    return text


def lines(texts: list[str | None], stage: Lines | None = None) -> tuple[list, list]:
    marked = (stage or Lines())(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))
    drops = marked["dropped_by"].to_pylist() if "dropped_by" in marked.schema.names else []
    return marked["text"].to_pylist(), drops or [None] * len(texts)


PARTS = [
    *("3", "1.2K", "1,000", "٣", "²", "k", "\u212a", "B", "likes", "LIKES", "li\u212aes", "views"),
    *("items in cart", "Items In CArt", "İtemſ ın cart", "Read more...", "read more é一!", "more"),
    *("Sign-in", "ſIGN-İN", "sign-in", "A", "ABC", "É", "word", "two words", "!", "_", "😀", "12"),
    *("a b c d e f g h i", "\0"),
]
GAPS = ["", " ", " ", "\n", "\n", "\n\n", "\r\n", "\u3000", "\x1f", "\t"]
PAGE = st.lists(st.sampled_from(PARTS + GAPS), max_size=24).map("".join)
EVERY = Lines(max_removed=1.0)


@few
@given(PAGE | st.text(max_size=20))
def test_the_text_is_what_the_modifiers_leave(text):
    (found,), (dropped,) = lines([text], EVERY)
    expected = rewritten(text)
    if expected and words(text):
        assert (found, dropped) == (expected, None)
    else:
        assert (found, dropped) == (text, "dclm_lines.removed")


@few
@given(PAGE)
def test_a_document_that_loses_too_many_words_is_dropped(text):
    (found,), (dropped,) = lines(["w " * 30 + text])
    before, after = words("w " * 30 + text), words(rewritten("w " * 30 + text))
    assert (dropped is None) == ((before - after) / before <= 0.05)
    assert found == ("w " * 30 + text if dropped else rewritten("w " * 30 + text))


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("A TITLE", None),
        ("A Title", "A Title"),
        ("2024", None),
        ("3 likes", None),
        ("• 1.2K views!", None),
        ("3 views of it", "3 views of it"),
        ("word", None),
        ("3 items in cart now", "3 now"),
        ("I like it. Read more...", "I like it."),
        ("Sign-in to us", "to us"),
        ("one two three four five six seven eight nine items in cart",) * 2,
        ("one two three four five six seven items in cart", "one two three four five six seven"),
    ],
)
def test_lines_by_hand(line, left):
    kept = f"first line\n{line}\nlast line"
    (found,), _ = lines([kept], EVERY)
    assert found == (f"first line\n{left}\nlast line" if left else "first line\nlast line")


def test_a_switched_off_rule_removes_nothing():
    stage = Lines(max_uppercase=1, max_digits=1, counters=False, min_words=0, max_phrase_words=-1)
    text = "A TITLE\n2024\n3 likes\nSign-in"
    assert lines([text], stage) == ([text], [None])


def test_nulls_and_empty_batches_pass():
    assert lines([None])[0] == [None]
    assert lines([]) == ([], [])


@few
@given(st.lists(PAGE, max_size=4))
def test_a_row_alone_is_rewritten_as_among_others(texts):
    together = lines(texts, EVERY)
    alone = [lines([text], EVERY) for text in texts]
    assert together == ([one[0][0] for one in alone], [one[1][0] for one in alone])


def test_real_pages_are_rewritten_as_the_modifiers_do(pages):
    some = pages[:2] if PLAIN else pages
    texts, drops = lines(some, EVERY)
    expected = [rewritten(text) for text in some]
    assert [t for t, d in zip(texts, drops, strict=True) if not d] == [t for t in expected if t]


def test_a_long_line_is_read_in_linear_time():
    size = 500 if PLAIN else 100_000
    text = "items in cart " * size + "\n" + "1 " * size + "\n" + "!" * size + "\n" + "\u3000" * size
    assert lines([text], EVERY)[0] == [rewritten(text)]
