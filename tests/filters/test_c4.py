"""C4's signals and its rewriting of lines against datatrove's filter written out in Python."""

import dataclasses
import math
import os
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import index
from curate.kernel import each
from curate.sentences import sentence_count
from filters import c4

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=20 if PLAIN else 400, deadline=None)

POLICY = [
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
]


def lower(text: str) -> str:
    """Lower case of ASCII, as the dialect says: "K" (Kelvin) stays what it is."""
    return text.encode().lower().decode()


def sentences(line: str) -> int:
    return sentence_count(view(pa.array([line])).data, 0, len(line.encode()))


def ends(line: str) -> bool:
    return line.endswith((".", "?", "!", '"', "'")) and not line.endswith("...")


def goes(line: str, words: list[str], rules: c4.Lines) -> bool:
    """Whether the line goes before its phrases are looked at."""
    too_long = any(len(word) > rules.max_word_length for word in words)
    no_end = rules.terminal_punctuation and not ends(line)
    return too_long or no_end or len(words) < rules.min_words


def phrases(line: str, rules: c4.Lines) -> str | None:
    """What the phrases of a line drop: the document for a reason, the line for ""."""
    if rules.lorem_ipsum and "lorem ipsum" in lower(line):
        return "c4.lorem_ipsum"
    if rules.javascript and "javascript" in lower(line):
        return ""
    if rules.curly_bracket and "{" in line:
        return "c4.curly_bracket"
    mentioned = any(phrase in lower(line) for phrase in POLICY)
    return "" if rules.policy and mentioned else None


def rewritten(text: str, rules: c4.Lines) -> tuple[str, str | None]:
    """Datatrove 0.10.1, C4QualityFilter.filter: the text, or why the document is dropped."""
    kept = []
    for raw in text.splitlines():
        line = raw.strip()
        words = line.split()
        if rules.citations:
            line = re.sub(r"\[[0-9]*]|\[edit]|\[citation needed]", "", line)
        if goes(line, words, rules):
            continue
        dropped = phrases(line, rules)
        if dropped:
            return text, dropped
        if dropped is None:
            kept.append(line)
    if sum(map(sentences, kept)) < rules.min_sentences:
        return text, "c4.sentences"
    return "\n".join(kept).strip(), None


def applied(texts: list[str | None], rules: c4.Lines) -> list[tuple[str, str | None]]:
    batch = rules(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))
    if "dropped_by" not in batch.schema.names:
        return [(text, None) for text in batch["text"].to_pylist()]
    return list(zip(batch["text"].to_pylist(), batch["dropped_by"].to_pylist(), strict=True))


PARTS = [
    *(
        "One two three. ",
        "a",
        "é",
        " ",
        "\n",
        "\r\n",
        "\u2028",
        ".",
        "...",
        "!",
        '"',
        "Lorem IPSUM",
    ),
    *(
        "JavaScript",
        "{",
        "}",
        "[12]",
        "[]",
        "[edit]",
        "[EDIT]",
        "[citation needed]",
        "[1",
        "一 二 三。",
    ),
    *(
        "x" * 12,
        "\u3000",
        "Terms of Use",
        "uses cookies",
        "use of cookies",
        "cookie",
        "privacy pol",
    ),
    # Longer than what is looked at in one go, and phrases that only a citation parts.
    *("a line of more words than one, with its end.", "java", "script", "lorem", " ipsum", "]"),
]
PROSE = st.lists(st.sampled_from(PARTS), max_size=25).map("".join)
RULES = st.builds(
    c4.Lines,
    terminal_punctuation=st.booleans(),
    citations=st.booleans(),
    min_words=st.integers(0, 4),
    max_word_length=st.integers(1, 12),
    min_sentences=st.integers(0, 3),
    lorem_ipsum=st.booleans(),
    javascript=st.booleans(),
    curly_bracket=st.booleans(),
    policy=st.booleans(),
)


VERDICT = ["dropped_by", "value", "bound", "quarantined"]


@few
@given(st.lists(PROSE, max_size=4), RULES, st.integers(0, 3))
def test_the_sentences_that_are_kept_judge_as_the_text_does(texts, rules, least):
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    again = dataclasses.replace(rules, min_sentences=least)
    before, after = rules(batch), again(batch)
    assert before["c4_sentences"] == after["c4_sentences"]
    judged = again.judge(before.select(list(again.judged_from))).to_pylist()
    for found, row in zip(judged, after.to_pylist(), strict=True):
        if row["c4_sentences"] is None:
            assert row["dropped_by"] in ("c4.lorem_ipsum", "c4.curly_bracket")
        else:
            assert [found.get(key) for key in VERDICT] == [row.get(key) for key in VERDICT]
    for one, other in zip(before.to_pylist(), after.to_pylist(), strict=True):
        if one.get("dropped_by") is None and other.get("dropped_by") is None:
            assert one["text"] == other["text"]


@few
@given(st.lists(PROSE, max_size=4), RULES)
def test_lines_are_rewritten_as_datatrove_does(texts, rules):
    assert applied(texts, rules) == [rewritten(text, rules) for text in texts]


@pytest.mark.parametrize("rules", [c4.Lines(), c4.Lines(terminal_punctuation=False)])
def test_real_pages_are_rewritten_as_datatrove_does(rules, pages):
    some = pages[:3] if PLAIN else pages
    assert applied(some, rules) == [rewritten(text, rules) for text in some]


def test_a_page_worked_out_by_hand():
    text = "Home\nA line [3] that stays.\nWe use cookies on this site.\nOne more good line? Yes!\n"
    assert applied([text], c4.Lines(min_sentences=3)) == [
        ("A line  that stays.\nOne more good line? Yes!", None)
    ]


def test_a_document_that_is_dropped_says_why_and_keeps_its_text():
    text = "One short line here."
    stage = c4.Lines()
    batch = stage(pa.RecordBatch.from_pydict({"text": [text]}))
    assert batch.to_pylist() == [
        {
            "text": text,
            "c4_sentences": 1,
            "dropped_by": "c4.sentences",
            "value": 1.0,
            "bound": 5.0,
            "quarantined": False,
        }
    ]
    (row,) = stage(
        pa.RecordBatch.from_pydict({"text": ["One line {here}, and {there}."]})
    ).to_pylist()
    assert [row[name] for name in VERDICT] == ["c4.curly_bracket", 1, 0, False]


def test_a_null_text_stays_null():
    assert applied([None, "a b c."], c4.Lines(min_sentences=0)) == [(None, None), ("a b c.", None)]


def test_texts_without_a_last_newline_have_room_for_one_each():
    assert applied(["a b c."] * 9, c4.Lines(min_sentences=0)) == [("a b c.", None)] * 9


def test_a_phrase_that_a_citation_parts_counts_once_the_citation_is_out():
    texts = ["Good old java[1]script here.", "Some lorem[edit] ipsum here.", "A {[2] b c d."]
    assert applied(texts, c4.Lines(min_sentences=0)) == [
        ("", None),
        (texts[1], "c4.lorem_ipsum"),
        (texts[2], "c4.curly_bracket"),
    ]


def test_the_first_line_with_a_phrase_that_drops_the_document_gives_the_reason():
    lines = ["One two three.", "We use cookies here.", "Javascript { is here.", "A lorem ipsum!"]
    both = "\n".join([*lines, "One { two three."])
    assert applied([both], c4.Lines()) == [(both, "c4.lorem_ipsum")]
    assert applied([both], c4.Lines(lorem_ipsum=False)) == [(both, "c4.curly_bracket")]
    without = c4.Lines(lorem_ipsum=False, curly_bracket=False, min_sentences=0)
    assert applied([both], without) == [("One two three.\nA lorem ipsum!\nOne { two three.", None)]


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_a_line_goes_for_a_word_that_is_too_long_in_characters(size):
    text = f"One two {'é' * size} and {'a b ' * 600} end."
    kept = "" if size > 1000 else text
    assert applied([text], c4.Lines(min_sentences=0)) == [(kept, None)]


def test_no_rows_are_no_trouble():
    assert applied([], c4.Lines()) == []


@few
@given(st.lists(PROSE, max_size=5), st.data())
def test_a_sliced_batch_is_rewritten_like_its_own_rows(texts, data):
    first = data.draw(st.integers(0, len(texts)))
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    rules = c4.Lines(min_sentences=0)
    assert rules(batch.slice(first))["text"] == rules(batch)["text"].slice(first)


@few
@given(PROSE)
def test_rewriting_keeps_text_within_its_own_lines(text):
    rules = c4.Lines(min_sentences=0, citations=False)
    ((found, dropped),) = applied([text], rules)
    if dropped is None and found:
        originals = {line.strip() for line in text.splitlines()}
        assert all(line.strip() in originals for line in found.splitlines())


def filled(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


TWINS = {
    c4.sentences: lambda t: sum(map(sentences, t.splitlines())),
    c4.lorem_ipsum: lambda t: lower(t).count("lorem ipsum"),
    c4.curly_bracket: lambda t: t.count("{"),
    c4.unpunctuated_lines: lambda t: share([not ends(line) for line in filled(t)]),
    c4.javascript_lines: lambda t: share(["javascript" in lower(line) for line in filled(t)]),
    c4.policy_lines: lambda t: share(
        [any(phrase in lower(line) for phrase in POLICY) for line in filled(t)]
    ),
    c4.third_longest_line: lambda t: ([0, 0, *sorted(map(len, t.split("\n")))])[-3],
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)
EDGES = ["", "a", "\n", " \n ", "\0", "😀", "{", "javascript", "a...", '"', "a\nbb\nccc\ndddd"]


def measured(signal, texts: list[str | bytes]) -> list[float]:
    return each(signal.measure, index(view(pa.array(texts)))).tolist()


@SIGNALS
@few
@given(PROSE)
def test_a_signal_is_what_its_twin_says(signal, text):
    assert measured(signal, [text]) == pytest.approx([TWINS[signal](text)], nan_ok=True)


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    expected = [TWINS[signal](text) for text in EDGES]
    assert measured(signal, EDGES) == pytest.approx(expected, nan_ok=True)


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(measured(signal, [data])) == 1


def test_a_megabyte_without_a_line_break_is_rewritten():
    text = "One two three. " * (100 if PLAIN else 70_000)
    assert applied([text], c4.Lines()) == [(text.strip(), None)]
