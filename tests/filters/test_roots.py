"""ROOTS' signals and changes of texts against its definitions in plain Python."""

import math
import os
import re
import string
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.bounds import table
from curate.filter import Filter
from curate.signal import Signal, measured
from filters import datajuicer, roots
from filters.roots_text import LONGEST, Modify
from filters.stopwords import listed

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=8 if PLAIN else 80, deadline=None)

# Of the characters that occur here.
SPECIAL = set(string.punctuation + string.digits + string.whitespace + "\u2003–😀🖕½Ⓜ")
SPACES = {*" \u2002\u2003\u2005\u2008\u2009\u200a\u202f\u3000\ufffc\x84", *string.whitespace}


def stripped(word: str) -> str:
    start, end = 0, len(word)
    while start < end and word[start] in SPECIAL:
        start += 1
    while end > start and word[end - 1] in SPECIAL:
        end -= 1
    return word[start:end]


def words(text: str, *, lower: bool = True) -> list[str]:
    pieces = re.split("[ \n\t]", text)
    pieces = [stripped(piece.lower() if lower else piece) for piece in pieces]
    return [piece for piece in pieces if piece]


def repeated_characters(text: str, size: int) -> float:
    counts = Counter(text[at : at + size] for at in range(len(text) - size + 1))
    most = sorted(counts.values(), reverse=True)
    top = min(int(math.sqrt(len(most))), len(most) - most.count(1))
    return sum(most[:top]) / sum(most) if most else 0.0


def repeated_words(text: str, size: int) -> float:
    own = words(text)
    counts = Counter(tuple(own[at : at + size]) for at in range(len(own) - size + 1))
    total = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / total if total else 0.0


def listed_share(text: str, language: str, name: str, joint: str | None) -> float:
    own, entries = words(text), set(listed(name, language) or [])
    pairs = [joint.join(own[at : at + 2]) for at in range(len(own) - 1)] if joint else []
    return min(sum(word in entries for word in own + pairs) / len(own), 1.0) if own else 0.0


def special(text: str) -> float:
    return sum(character in SPECIAL for character in text) / len(text) if text else 0.0


STOP, FLAGGED = roots.STOP_WORDS, roots.FLAGGED_WORDS
# For each signal, what it is of a text in a language.
TWINS = {
    roots.word_count: lambda t, _: len(words(t, lower=False)),
    roots.character_repetition: lambda t, _: repeated_characters(t, 10),
    roots.word_repetition: lambda t, code: repeated_words(t, 7 if code == "ur" else 5),
    roots.special_characters: lambda t, _: special(t),
    roots.stop_words: lambda t, c: listed_share(t, c, STOP, " " if c == "vi" else None),
    roots.flagged_words: lambda t, c: listed_share(t, c, FLAGGED, " " if c == "vi" else None),
    datajuicer.word_count: lambda t, _: len(words(t, lower=False)),
    datajuicer.character_repetition: lambda t, _: repeated_characters(t, 10),
    datajuicer.word_repetition: lambda t, _: repeated_words(t, 10),
    datajuicer.special_characters: lambda t, _: special(t),
    datajuicer.stop_words: lambda t, c: listed_share(t, c, STOP, None),
    datajuicer.flagged_words: lambda t, c: listed_share(t, c, FLAGGED, None),
    datajuicer.alphanumeric: lambda t, _: sum(map(str.isalnum, t)) / len(t) if t else 0.0,
    datajuicer.average_line_length: lambda t, _: (
        len(t) / len(t.splitlines()) if t.splitlines() else 0.0
    ),
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)
PIECES = (
    *(
        "the",
        "And",
        "of",
        "dog",
        "bị",
        "anh",
        "em",
        "ai",
        "nấy",
        "(sex)",
        "sex",
        "🖕",
        "–",
        "😀",
        "½",
    ),
    *("Ⓜ", "ⓜ", "don't", "x-y", "...", "12", "\u2003", "é\u0301", "http", "www.x.com", "a" * 30),
)
TEXTS = st.lists(
    st.tuples(st.sampled_from(PIECES), st.sampled_from([" ", " ", "", "\n", "\t", "\r"])),
    max_size=40,
).map(lambda pairs: "".join(piece + gap for piece, gap in pairs))
REPETITIVE = st.lists(st.sampled_from(["a b c d e f g", "x y z ", "b c d e f", "w"])).map(" ".join)
LANGUAGES = st.sampled_from(["en", "vi", "ur", "fr"])


def batch(texts: list[str | bytes], languages: list[str] | None = None) -> pa.RecordBatch:
    columns = {"text": pa.array(texts)}
    return pa.record_batch(columns | ({"language": pa.array(languages)} if languages else {}))


def values(signal: Signal, texts: list[str | bytes], languages: list[str]) -> list[float]:
    return measured((signal,), batch(texts, languages))[0].tolist()


@SIGNALS
@few
@given(TEXTS | REPETITIVE, LANGUAGES)
def test_a_signal_is_what_its_twin_says(signal, text, language):
    expected = [TWINS[signal]("The dog.", "en"), TWINS[signal](text, language)]
    assert values(signal, ["The dog.", text], ["en", language]) == expected


@SIGNALS
@pytest.mark.parametrize("text", ["", "a", "\n", "...", "a" * 3000, "北京" * 30, "\0", "a b " * 90])
def test_edges(signal, text):
    assert values(signal, [text], ["en"]) == [TWINS[signal](text, "en")]


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(values(signal, [data], ["zh"])) == 1


@SIGNALS
@few
@given(st.lists(TEXTS, min_size=2, max_size=4))
def test_a_sliced_batch_sees_its_own_rows(signal, texts):
    languages = ["zh", "vi", "ur", "en"][: len(texts)]
    whole = measured((signal,), batch(texts, languages).slice(1))[0].tolist()
    assert whole == values(signal, texts[1:], languages[1:])


def test_chinese_has_n_grams_of_three_characters_and_words_of_unicode():
    text = "我们的我们的"
    assert values(roots.character_repetition, [text], ["zh"]) == [2 / 4]
    assert values(roots.word_count, [text, text], ["zh", "en"]) == [6, 1]
    # 电 and 的 are listed, no pair is; 大, 家, 好, 的 and 大家 make five of four.
    assert values(roots.stop_words, ["电脑的电脑的", "大家好的"], ["zh", "zh"]) == [4 / 6, 1.0]


def test_a_language_without_a_list_is_undefined():
    assert math.isnan(values(roots.stop_words, ["a"], ["xx"])[0])


def test_bounds_are_those_of_the_language():
    bounds = table("roots")
    assert bounds["roots.stop_words"].pairs["es"] == (0.4, math.inf)
    assert bounds["roots.word_count"].pairs["zh"] == (1, 1_000_000)
    assert len(bounds["perplexity.Perplexity"].pairs) == 13
    stage = Filter((roots.word_count,))
    assert stage(batch(["one two", "one " * 10]))["dropped_by"].to_pylist() == [
        "roots.word_count",
        None,
    ]


def modified(text: str, language: str) -> str:
    text = "".join(" " if character in SPACES else character for character in text.strip())
    text = re.sub(r"[\0-\x1f\x7f-\x9f]", "", text)
    if language not in LONGEST:
        return text
    longest, kept = LONGEST[language], []
    for word in filter(None, text.split(" ")):
        core = stripped(word)
        has_link = any(link in core for link in ("http", "www", ".com", "href", "//"))
        if not has_link and (len(word) <= longest or 0 < len(core) <= longest):
            kept.append(word)
    return " ".join(kept)


@few
@given(TEXTS | st.text(st.sampled_from("ab .\t\n\x84\x85\xa0\u2003\ufffc\0(")), LANGUAGES)
def test_texts_are_changed_as_in_the_source(text, language):
    changed = Modify()(batch(["", text], ["en", language]))["text"].to_pylist()
    assert changed == ["", modified(text, language)]


def test_long_words_and_parts_of_links_go():
    text = "See  (http://x.y)\nfor " + "a" * 26 + " and (" + "b" * 25 + ")."
    assert Modify()(batch([text]))["text"].to_pylist() == [f"See for and ({'b' * 25})."]
    assert Modify()(batch([text, ""], ["zh", "zh"]))["text"].to_pylist()[0] == (
        text.replace("\n", " ")
    )


@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_changed_too(data):
    texts = pa.array([data], pa.binary())
    column = pa.StringArray.from_buffers(1, *texts.buffers()[1:])
    assert len(Modify()(pa.record_batch({"text": column}))["text"]) == 1
