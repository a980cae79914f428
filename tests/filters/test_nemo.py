"""NeMo Curator's heuristic filters against their rules written out in plain Python."""

import itertools
import math
import os
import re
from collections import Counter

import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import view
from curate.index import index
from curate.kernel import each
from curate.signal import Signal
from filters import nemo, nemo_code, nemo_phrases, nemo_repetition

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
few = settings(max_examples=15 if PLAIN else 150, deadline=None)

COMMON = ["the", "be", "to", "of", "and", "that", "have", "with"]
MARKS = ("...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more")
URL = re.compile(r"https?://([A-Za-z0-9$\-_@.&+/:=?#~!*(),]|%[0-9A-Fa-f]{2})+")
ALPHABETIC = regex.compile(r"\p{Alphabetic}")


def per(count: float, number: int, without: float = math.nan) -> float:
    return count / number if number else without


def share(hits: list[bool]) -> float:
    return per(sum(hits), len(hits))


def of_characters(pattern: str):
    return lambda text: per(len(re.findall(pattern, text)), len(text), 1.0)


def is_symbol(word: str) -> bool:
    return word in MARKS or len(re.findall("#+", word)) / len(word) > 0.5


def urls(text: str) -> list[str]:
    return [found.group() for found in URL.finditer(text)]


def boilerplate(text: str) -> float:
    paragraphs = text.lower().split("\n\n")
    if "lorem ipsum" in text.lower():
        return 1.0
    policies = [phrase.decode() for phrase in nemo_phrases._POLICY]
    return share([any(phrase in paragraph for phrase in policies) for paragraph in paragraphs])


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def of_lines(test):
    return lambda text: share([test(line.strip()) for line in lines(text)])


def different(cut, characters: bool):
    def found(text: str) -> float:
        every = cut(text)
        if characters:
            return per(len("".join({*every})), len("".join(every)))
        return per(len({*every}), len(every))

    return found


def paragraphs(text: str) -> list[str]:
    return text.split("\n\n")


def grams(text: str, size: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


def top(size: int):
    def found(text: str) -> float:
        if len(text.split()) < size:
            return 1.0
        gram, _ = Counter(grams(text, size)).most_common(1)[0]
        return (len(text) - len(text.replace(" ".join(gram), ""))) / len(text)

    return found


def duplicated(size: int):
    def found(text: str) -> float:
        if len(text.split()) < size:
            return 1.0
        seen, counted, characters = set(), 0, 0
        for start, gram in enumerate(grams(text, size)):
            if gram in seen:
                fresh = range(max(start, counted), start + size)
                characters += sum(len(gram[word - start]) for word in fresh)
                # A space before each fresh word, but none before the first of a lone n-gram.
                characters += len(fresh) - (len(fresh) == size)
                counted = start + size
            seen.add(gram)
        return characters / len(text)

    return found


TWINS = {
    nemo.non_alpha_numeric: of_characters(r"[^a-zA-Z0-9\n?!,.]"),
    nemo.symbols_to_words: lambda text: share([is_symbol(word) for word in text.split()]),
    nemo.numbers: of_characters("[0-9]"),
    nemo.urls: lambda text: per(len("".join(urls(text))), len(text), 1.0),
    nemo.white_space: of_characters("[ \t\n\r\b]"),
    nemo.parentheses: of_characters(r"[][(){}⟨⟩]"),
    nemo.boilerplate: boilerplate,
    nemo.mean_word_length: lambda text: per(len("".join(text.split())), len(text.split())),
    nemo.long_word: lambda text: max(map(len, text.split()), default=math.nan),
    nemo.word_count: lambda text: len(text.split()),
    nemo.punctuation: of_lines(lambda line: not line.endswith((".", "?", "!", '"', "'"))),
    nemo.ellipsis: of_lines(lambda line: line.lower().endswith(MARKS)),
    nemo.common_english_words: lambda text: min(sum(map(text.split().count, COMMON)), 2),
    nemo.words_without_alphabets: lambda text: share(
        [bool(ALPHABETIC.search(word)) for word in text.split()]
    ),
    nemo.bullets: of_lines(lambda line: line.startswith(tuple("•‣⁃⁌⁍∙○●◘◦⦾⦿"))),
    nemo.pornographic_urls: lambda text: int(any("porn" in url for url in urls(text))),
    nemo_code.line_count: lambda text: text.count("\n") + 1,
    nemo_code.xml_header: lambda text: int("<?xml version=" in text[:100]),
    nemo_code.letters: lambda text: per(len(ALPHABETIC.findall(text)), len(text)),
    nemo_repetition.repeated_lines: different(lines, False),
    nemo_repetition.repeated_paragraphs: different(paragraphs, False),
    nemo_repetition.repeated_line_characters: different(lines, True),
    nemo_repetition.repeated_paragraph_characters: different(paragraphs, True),
    nemo_repetition.top_2gram: top(2),
    nemo_repetition.top_3gram: top(3),
    nemo_repetition.top_4gram: top(4),
    nemo_repetition.duplicate_5grams: duplicated(5),
    nemo_repetition.duplicate_6grams: duplicated(6),
    nemo_repetition.duplicate_7grams: duplicated(7),
    nemo_repetition.duplicate_8grams: duplicated(8),
    nemo_repetition.duplicate_9grams: duplicated(9),
    nemo_repetition.duplicate_10grams: duplicated(10),
}
SIGNALS = pytest.mark.parametrize("signal", TWINS, ids=lambda signal: signal.name)

PARTS = [
    *("a", "b", "ab", "ba", "the", "with", "é一", "😀", "1", "٣", "#", "a#", "#a#", "...", "(...)"),
    *(
        "…",
        "-»",
        "Read More",
        "READ MORE..",
        "[",
        "]",
        "⟨",
        "•",
        "◦",
        "-",
        "'",
        '"',
        ".",
        "ि",
        "%2f",
    ),
    *(
        "http://",
        "https://",
        "http",
        "s://",
        "porn",
        "a.b/c?d",
        "%",
        "%zz",
        "\b",
        "\t",
        "Lorem ipsum",
    ),
    *("uses cookies", "USE OF COO", "\u212aIES", "kies", "Privacy & Cookies Policy", "use cookİes"),
    *("<?xml version=", "<?xml ", "x" * 40),
]
GAPS = [" ", " ", "\n", "\n\n", "\n \n", "\n\n\n", "\u3000", "", ""]
PROSE = st.lists(st.sampled_from(PARTS) | st.sampled_from(GAPS), max_size=60).map("".join)
REPETITIVE = st.lists(
    st.sampled_from(["a b c d e f g", "x y z\n", "b c d e f", "\n\n", "a a ", "ba ab", "  "])
).map(" ".join)
ANY = PROSE | REPETITIVE | st.text(max_size=40)
EDGES = [
    *("", "a", "\n", "\n\n", "\n\n\n", " ", "\0", "😀", "\na\n", "a\n\na", "a\n\n\na\n\n", "a b"),
    *(
        "x" * 5000,
        "x" * 5000 + " y",
        "!?.,;:#",
        "中文字符没有空格",
        "a a a a",
        "aa aa a aa",
        "xa by a b",
    ),
    *("http://a", "http://", "https://%2", "httphttps://a%2f%2", "http://ahttp://b(c)", "https:/a"),
    *(
        "lorem ipsum",
        "lorem \n\nipsum",
        "loremipsum",
        "use cookies\n\n\nuse cookies",
        "use\n\ncookies",
    ),
    *(
        "use coo\u212aies",
        "\u212a",
        "coo\u212aie policy",
        "terms of usİ",
        "privacy policy" * 3,
        "#a#b#",
    ),
    *(policy.decode().upper() for policy in nemo_phrases._POLICY),
    *("<?xml version=", "é" * 86 + "<?xml version=", "é" * 87 + "<?xml version=", "<?xml"),
]


def measured(signal, texts: list[str | bytes]) -> list[float]:
    return each(signal.measure, index(view(pa.array(texts)))).tolist()


@SIGNALS
@few
@given(ANY)
def test_a_signal_is_what_its_twin_says(signal, text):
    assert measured(signal, [text]) == pytest.approx([TWINS[signal](text)], rel=0, nan_ok=True)


@SIGNALS
def test_a_signal_is_what_its_twin_says_at_the_edges(signal):
    expected = [TWINS[signal](text) for text in EDGES]
    assert measured(signal, EDGES) == pytest.approx(expected, rel=0, nan_ok=True)


@SIGNALS
@few
@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_measured_too(signal, data):
    assert len(measured(signal, [data])) == 1


@SIGNALS
def test_real_pages_are_measured_like_their_twins(signal, pages):
    some = pages[:2] if PLAIN else pages
    expected = [TWINS[signal](text) for text in some]
    assert measured(signal, some) == pytest.approx(expected, rel=0, nan_ok=True)


@SIGNALS
@few
@given(st.lists(ANY, max_size=5))
def test_the_order_of_texts_changes_no_number(signal, texts):
    backwards = measured(signal, texts[::-1])[::-1]
    assert measured(signal, texts) == pytest.approx(backwards, rel=0, nan_ok=True)


@SIGNALS
@pytest.mark.parametrize("word", ["ab ", "https://a%2f ", "http:// cookies ", "#" * 9 + " a"])
def test_much_of_the_same_is_measured_in_linear_time(signal, word):
    text = word * (100 if PLAIN else 100_000)
    assert measured(signal, [text]) == pytest.approx([TWINS[signal](text)], rel=0)


def test_every_signal_of_the_modules_has_a_twin():
    every = [*vars(nemo).values(), *vars(nemo_code).values(), *vars(nemo_repetition).values()]
    names = {value.name for value in every if isinstance(value, Signal)}
    assert names == {one.name for one in TWINS}


def test_only_the_kelvin_sign_is_an_ascii_letter_in_lower_case():
    others = itertools.chain(range(128, 0xD800), range(0xE000, 0x110000))
    lowered = {chr(code): chr(code).lower() for code in others}
    assert {one: low for one, low in lowered.items() if low[0].isascii()} == {
        "\u212a": "k",
        "İ": "i\u0307",  # a dot follows: this ends a phrase, and none ends with an i
    }
    assert not [phrase for phrase in nemo_phrases._LISTED if phrase.endswith(b"i")]


def test_no_phrase_of_policies_has_a_k_that_its_tables_would_not_know():
    assert not [phrase for phrase in nemo_phrases._LISTED if b"k" in phrase[:2]]


def test_the_top_ngram_is_removed_from_within_words_but_not_across_two_spaces():
    text = "a b a b xa by a  b a\nb"
    assert measured(nemo_repetition.top_2gram, [text]) == [9 / len(text)]


def test_the_english_configuration_gives_the_bounds():
    bounds = {one.name.partition(".")[2]: one.low + one.high for one in TWINS if one.low + one.high}
    given = {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    assert given == {
        **{"mean_word_length": 13, "word_count": 100_050, "line_count": 20_010},
    }
    high = {one.name.partition(".")[2]: one.high for one in TWINS if one.low == -math.inf}
    assert high == {
        **{"non_alpha_numeric": 0.25, "symbols_to_words": 0.1, "numbers": 0.15, "urls": 0.2},
        **{"white_space": 0.25, "parentheses": 0.1, "boilerplate": 0.4, "long_word": 1000},
        **{"punctuation": 0.85, "ellipsis": 0.3, "bullets": 0.9, "pornographic_urls": 0},
        **{"xml_header": 0, "top_2gram": 0.2, "top_3gram": 0.18, "top_4gram": 0.16},
        **{"duplicate_5grams": 0.15, "duplicate_6grams": 0.14, "duplicate_7grams": 0.13},
        **{"duplicate_8grams": 0.12, "duplicate_9grams": 0.11, "duplicate_10grams": 0.1},
    }
    low = {one.name.partition(".")[2]: one.low for one in TWINS if one.high == math.inf}
    assert low == {
        **{"common_english_words": 2, "words_without_alphabets": 0.8, "letters": 0.25},
        **{"repeated_lines": 0.7, "repeated_paragraphs": 0.7},
        **{"repeated_line_characters": 0.8, "repeated_paragraph_characters": 0.8},
    }
