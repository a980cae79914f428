"""Dolma's C4 rules against the rules written out in plain Python."""

import os
from importlib.resources import files

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import index
from curate.kernel import each
from curate.signal import Signal
from filters import dolma_c4

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=15 if PLAIN else 150, deadline=None)

LIST = (files("filters") / "lists" / "badwords" / "en.txt").read_text("utf-8").splitlines()[1:]


def is_naughty(text: str) -> bool:
    lowered = text.lower()
    words = {entry for entry in LIST if " " not in entry}
    return not words.isdisjoint(lowered.split()) or any(
        entry in lowered for entry in LIST if " " in entry
    )


TWINS = {
    dolma_c4.has_naughty_word: is_naughty,
    dolma_c4.has_javascript: lambda text: "javascript" in text.lower().split(),
    dolma_c4.has_javascript_v2: lambda text: "javascript" in text.lower(),
    dolma_c4.has_lorem_ipsum: lambda text: "lorem ipsum" in text.lower(),
    dolma_c4.has_curly_brace: lambda text: "{" in text,
    dolma_c4.line_count: lambda text: len(text.split("\n")),
    dolma_c4.lines_with_no_ending_punctuation: lambda text: sum(
        not line.strip().endswith((".", "?", "!", '"')) for line in text.split("\n")
    ),
    dolma_c4.lines_with_too_few_words: lambda text: sum(
        len(line.split()) < 3 for line in text.split("\n")
    ),
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)

PARTS = st.sampled_from(LIST) | st.sampled_from(
    [
        *("a", "b", "K", "\u212a", "\u017f", "İ", "java", "Script", "JavaScript", "lorem", "IPSUM"),
        *("s", "x", "-", ".", "?", '"', "'", "{", "}", "é", "一", "😀", "Lorem ipsum"),
        *(entry.upper() for entry in LIST[::10]),
        *(entry.replace("k", "\u212a") for entry in LIST if "k" in entry),
    ]
)
GAPS = st.sampled_from([" ", " ", " ", "\n", "\t", "  ", "\u3000", "\n\n", ""])
ANY = st.lists(PARTS | GAPS, max_size=20).map("".join) | st.text(max_size=40)
EDGES = [
    *("", "a", "\n", "\n\n", " ", "\0", "😀", "k", "\u212a", "x" * 5000, "!?.", "中文字符没有空格"),
    *("javascript", "JavaScript.", "a javascript b", "lorem ipsum", "xlorem  ipsum", "orem ipsum"),
    *("Ends.\nEnds?\nEnds!\nEnds\"\nEnds'\nEnds. \nEnds.x", "a b\na b c\na b c d\n", "{", "}"),
]


def measured(signal, texts: list[str | bytes]) -> list[float]:
    return each(signal.measure, index(view(pa.array(texts)))).tolist()


@SIGNALS
@few
@given(ANY)
def test_a_signal_is_what_its_twin_says(signal, text):
    assert measured(signal, [text]) == [TWINS[signal](text)]


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    assert measured(signal, EDGES) == [TWINS[signal](text) for text in EDGES]


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(measured(signal, [data])) == 1


@SIGNALS
def test_real_pages_are_measured_like_their_twins(signal, pages):
    some = pages[:2] if PLAIN else pages
    assert measured(signal, some) == [TWINS[signal](text) for text in some]


def kept(text: str, punctuation: bool, min_words: int) -> str:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return "".join(
        line
        for line in lines
        if (not punctuation or line.strip().endswith((".", "?", "!", '"')))
        and len(line.split()) >= min_words
    )


SENTENCES = st.lists(
    st.sampled_from(["a", "b.", "c!", '"', "…", " ", "  ", "\n", "\u3000", "\n\n"])
)


@few
@given(st.lists(SENTENCES.map("".join), max_size=5), st.booleans(), st.integers(0, 4))
def test_lines_are_kept_with_their_newlines_by_either_rule(texts, punctuation, min_words):
    batch = pa.RecordBatch.from_pydict({"text": pa.array([*texts, None], pa.string())})
    written = dolma_c4.Lines(punctuation, min_words)(batch)["text"].to_pylist()
    assert written == [*(kept(text, punctuation, min_words) for text in texts), None]


def test_a_sliced_batch_is_rewritten_as_a_whole_one(pages):
    batch = pa.RecordBatch.from_pydict({"text": pa.array(pages)})
    whole, part = dolma_c4.Lines()(batch), dolma_c4.Lines()(batch.slice(7, 5))
    assert part["text"].to_pylist() == whole["text"].to_pylist()[7:12]


def test_every_word_and_phrase_of_the_list_is_found_in_any_case_and_no_part_of_it():
    inner = [
        f"so {entry.title()}x\n" if " " in entry else f"so {entry.upper()}\n" for entry in LIST
    ]
    kelvins = [f"x {entry.replace('k', chr(0x212A))}" for entry in LIST]
    found = measured(dolma_c4.has_naughty_word, [*LIST, *inner, *kelvins])
    assert found == [1.0] * 3 * len(LIST)
    parts = [f"so {entry}x\n" for entry in LIST if " " not in entry and entry + "x" not in LIST]
    assert measured(dolma_c4.has_naughty_word, parts) == [float(is_naughty(p)) for p in parts]


def test_no_phrase_ends_with_an_i_which_a_dot_may_follow_in_lower_case():
    assert not [entry for entry in LIST if " " in entry and entry.endswith("i")]


def test_every_signal_of_the_module_has_a_twin():
    every = [value for value in vars(dolma_c4).values() if isinstance(value, Signal)]
    assert {one.name for one in every} == {one.name for one in TWINS}


def test_its_replication_of_c4_gives_the_bounds():
    assert [one.high for one in TWINS][:5] == [0] * 5
