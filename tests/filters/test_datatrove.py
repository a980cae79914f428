"""datatrove's rules against its own expressions, on tokens that regular expressions cut."""

import math
import os
import re
from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import filters
from curate.schema import DROPPED_BY, TEXT
from curate.signal import catalogue, measured
from filters import datatrove
from filters.c4 import Lines
from tests import spacy_twin

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=20 if PLAIN else 300, deadline=None)


def code_points(name: str) -> set[str]:
    spans = [line.partition(" ")[0].partition("-")[::2] for line in spacy_twin.lines(name)]
    return {chr(code) for a, b in spans for code in range(int(a, 16), int(b or a, 16) + 1)}


SYMBOLS = code_points("datatrove_punctuation.txt")
STOPS = tuple(code_points("terminal_punctuation.txt"))
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def words(text: str) -> list[str]:
    return [word for word in spacy_twin.tokens(text) if any(sign not in SYMBOLS for sign in word)]


def bullets(text: str) -> float:
    rows = text.splitlines()
    return ratio(sum(row.lstrip().startswith(("•", "-")) for row in rows), len(rows))


def ellipses(text: str) -> float:
    rows = text.splitlines()
    return ratio(sum(row.rstrip().endswith(("...", "…")) for row in rows), len(rows))


def duplicates(pieces: list[str]) -> tuple[int, int]:
    again = [piece for place, piece in enumerate(pieces) if piece in pieces[:place]]
    return len(again), sum(map(len, again))


def top(text: str, size: int) -> float:
    tokens = spacy_twin.tokens(text)
    grams = [" ".join(tokens[at : at + size]) for at in range(len(tokens) - size + 1)]
    gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
    return ratio(len(gram) * count, len(text))


def duplicated(text: str, size: int) -> float:
    tokens, seen, found, at = spacy_twin.tokens(text), set(), 0, 0
    while at < len(tokens) - size + 1:
        gram = "".join(tokens[at : at + size])
        found += len(gram) if gram in seen else 0
        at += size if gram in seen else 1
        seen.add(gram)
    return ratio(found, len(text))


def paragraphs(text: str) -> list[str]:
    return re.split(r"\n{2,}", text.strip()) if text else []


def lines(text: str) -> list[str]:
    return re.split(r"\n+", text) if text else []


def filled(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def sentences(line: str) -> int:
    """spaCy's sentencizer; white space of more than a space between words is a token to it."""
    kinds = dict(row.split(" ") for row in spacy_twin.lines("sentencizer.txt"))
    ends = {sign for span, signs in kinds.items() if "E" in signs for sign in spread(span)}
    marks = {sign for span, signs in kinds.items() if "P" in signs for sign in spread(span)}
    gaps = re.compile(r"((?:(?<=\S) (?=\s)\s+)|(?:(?=[^ ])\s+)|^\s+)")
    count, ended = 1, False
    for part in (part for part in gaps.split(line) if part):
        for token in [part] if part.isspace() else spacy_twin.tokens(part):
            if ended and token not in ends and not all(sign in marks for sign in token):
                count, ended = count + 1, False
            ended |= token in ends
    return count


def spread(span: str) -> set[str]:
    first, _, last = span.partition("-")
    return {chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)}


TWINS = {
    "word_count": lambda t: len(words(t)),
    "mean_word_length": lambda t: np.mean(list(map(len, words(t)))) if words(t) else math.nan,
    "hash_ratio": lambda t: ratio(t.count("#"), len(spacy_twin.tokens(t))),
    "ellipsis_ratio": lambda t: ratio(t.count("...") + t.count("…"), len(spacy_twin.tokens(t))),
    "bullet_lines": bullets,
    "ellipsis_lines": ellipses,
    "alphabetic_words": lambda t: ratio(
        sum(any(map(str.isalpha, word)) for word in spacy_twin.tokens(t)),
        len(spacy_twin.tokens(t)),
    ),
    "stop_words": lambda t: len(STOP_WORDS & set(spacy_twin.tokens(t))),
    "dup_para_frac": lambda t: ratio(duplicates(paragraphs(t))[0], len(paragraphs(t))),
    "dup_para_char_frac": lambda t: ratio(duplicates(paragraphs(t))[1], len(t)),
    "dup_line_frac": lambda t: ratio(duplicates(lines(t))[0], len(lines(t))),
    "dup_line_char_frac": lambda t: ratio(duplicates(lines(t))[1], len(t)),
    **{f"top_{n}_gram": lambda t, n=n: top(t, n) for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": lambda t, n=n: duplicated(t, n) for n in range(5, 11)},
    "line_punct_ratio": lambda t: ratio(
        sum(line.endswith(STOPS) for line in filled(t)), len(filled(t))
    ),
    "short_line_ratio": lambda t: ratio(sum(len(line) <= 30 for line in filled(t)), len(filled(t))),
    "char_dup_ratio": lambda t: (
        ratio(duplicates(filled(t))[1], len(t.replace("\n", ""))) if filled(t) else math.nan
    ),
    "list_ratio": lambda t: ratio(t.count("\n"), len(spacy_twin.tokens(t))),
    "sentences": sentences,
}
SIGNALS = tuple(one for one in catalogue(filters) if one.name.startswith("datatrove."))

PIECES = ["a", "b", "ab", "bc", "c", "the", "don't", "U.S.", "x.", "…", "...", "#", "-", "•", "é一"]
SIGNS = ["!", "?", "。", '"', ")", "(", ".", ",", "😀", "10km", "a:)", ":", "—", "word", "٣"]
GAPS = st.sampled_from([" ", " ", " ", " ", "  ", "\n", "\n\n", "\n \n", "\n\n\n", "\u3000", ""])
TEXTS = st.lists(
    st.tuples(st.one_of(st.sampled_from([*PIECES, *SIGNS]), st.text(max_size=3)), GAPS),
    max_size=60,
).map(lambda pairs: "".join(part for pair in pairs for part in pair))
EDGES = [
    *("", "a", "\n", " ", " \n\n ", "\0", "...", "…", "a..", ".", "中文", "😀", "x" * 100_000),
    *("中文字符。" * 50, "!?.,;" * 50, "# " * 50, "a\u2028- b\x85• c...", "\ufeff", "a b " * 40),
    *("ab c d e f a bc d e f", "x.  ", "x. \n", "(x.) y", "a.. .", "1\n" * 30, "- a\n\n- b\n"),
]


def measures(texts: list[str | bytes]) -> dict[str, list[float]]:
    column = pa.array(texts, pa.binary() if isinstance(texts[0], bytes) else pa.string())
    numbers = measured(SIGNALS, pa.RecordBatch.from_arrays([column], [TEXT]))
    names = [signal.name.partition(".")[2] for signal in SIGNALS]
    return dict(zip(names, (found.tolist() for found in numbers), strict=True))


def test_every_signal_has_a_twin():
    assert {signal.name.partition(".")[2] for signal in SIGNALS} == set(TWINS)
    assert len(SIGNALS) == len(TWINS) == 26


@few
@given(TEXTS)
def test_signals_are_what_their_twins_say_to_the_last_bit(text):
    found = {name: numbers[0] for name, numbers in measures([text]).items()}
    expected = {name: float(twin(text)) for name, twin in TWINS.items()}
    np.testing.assert_equal(found, expected)


def test_signals_are_what_their_twins_say_at_the_edges():
    expected = {name: [float(twin(text)) for text in EDGES] for name, twin in TWINS.items()}
    np.testing.assert_equal(measures(EDGES), expected)


def test_signals_are_what_their_twins_say_on_real_pages(pages):
    few_pages = pages[:: 20 if PLAIN else 2]
    expected = {name: [float(twin(text)) for text in few_pages] for name, twin in TWINS.items()}
    np.testing.assert_equal(measures(few_pages), expected)


@few
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_text_is_measured_alike_whatever_its_neighbours_are(texts):
    together = measures(texts)
    for row, text in enumerate(texts):
        alone = {name: numbers[0] for name, numbers in measures([text]).items()}
        np.testing.assert_equal({name: numbers[row] for name, numbers in together.items()}, alone)


@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(data):
    assert all(len(numbers) == 1 for numbers in measures([data]).values())


def test_bounds_are_kept_at_and_refused_beyond():
    for signal in SIGNALS:
        low, high = signal.low, signal.high
        at = np.array([low, high, np.nextafter(low, -np.inf), np.nextafter(high, np.inf), np.nan])
        kept = [True, True, not np.isfinite(low), not np.isfinite(high), False]
        if np.isfinite(low) or np.isfinite(high):
            assert signal.keeps(at).tolist() == kept


def test_symbols_count_as_tokens_but_not_as_words():
    found = measures(["the - and , # (x) 3.14 ... ~ ©"])
    assert found["word_count"] == [5.0]  # the, and, x, 3.14, ©
    assert found["mean_word_length"] == [(3 + 3 + 1 + 4 + 1) / 5]
    assert found["hash_ratio"] == [1 / 12]


def rewritten(text: str, rules: Lines) -> tuple[str, str | None]:
    batch = rules(pa.RecordBatch.from_pydict({TEXT: pa.array([text])}))
    found = batch.to_pylist()[0]
    return found[TEXT], found.get(DROPPED_BY)


def test_c4_counts_the_sentences_of_datatrove_where_it_is_asked_to():
    text = "Mr. Smith came. He saw it.\nIt ended so... he thinks (really).) Well."
    assert sum(map(sentences, text.splitlines())) == 4
    assert rewritten(text, Lines(sentences="datatrove", min_sentences=4)) == (text, None)
    assert rewritten(text, Lines(sentences="datatrove")) == (text, "c4.sentences")
    assert rewritten(text, Lines()) == (text, None)


LINES = st.lists(st.sampled_from([*PIECES, *SIGNS, "[1]", "[٣]", "[edit]", " "]), max_size=12)


@few
@given(st.lists(LINES.map(" ".join), max_size=4).map("\n".join), st.integers(0, 8), st.booleans())
def test_c4_counts_the_sentences_of_the_lines_that_it_keeps(text, least, punctuation):
    rules = Lines(
        sentences="datatrove", min_sentences=least, terminal_punctuation=punctuation, min_words=0
    )
    kept = []
    for line in text.splitlines():
        clean = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line.strip())
        ends = clean.endswith((".", "?", "!", '"', "'")) and not clean.endswith("...")
        kept += [clean] if ends or not punctuation else []
    expected = ("\n".join(kept).strip(), None)
    if sum(map(sentences, kept)) < least:
        expected = (text, "c4.sentences")
    assert rewritten(text, rules) == expected


def test_a_long_text_is_measured_in_linear_time():
    text = "the same words again, and again. " * (20 if PLAIN else 30_000)
    assert measures([text])["duplicated_5_n_grams"][0] > 0.7


def test_names_and_words_tell_the_dialect():
    assert all(signal.words.default == "tokens" for signal in SIGNALS)
    assert all(
        signal.source.startswith("Gopher and FineWeb rules as datatrove") for signal in SIGNALS
    )
    assert datatrove.stop_words.low == 2
