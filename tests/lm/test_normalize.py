"""Normalisation: the kernel against the plain functions, and these against CCNet's own examples."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.lm.normalize import WAYS, ccnet, known, normalized, roots

ODD = "ΣσςaAİı\u0300\u0345\u302e\U00016ff0\U0001d15eÉé１２0٣\n\t\x00\x7f\x84\x9f\u00a0\u3000—…．►한"


def plain(way: str, text: bytes) -> bytes:
    decoded = text.decode("utf-8", "surrogateescape")
    return WAYS[way][0](decoded).encode("utf-8", "surrogateescape")


def rewritten(way: str, texts: list[bytes]) -> list[bytes]:
    return normalized(pa.array(texts, pa.binary()), way).to_pylist()


def test_punctuation_is_that_of_cc_nets_own_test():
    weird = "，。、„”“«»」「《》´∶：？！（）；–—．～’…━〈〉【】％"
    assert ccnet(weird) == ",.," + '"' * 9 + "'::?!();- - . ~'...-<>[]%"


def test_digits_of_all_scripts_are_zeros_as_in_cc_nets_own_test():
    assert ccnet("０２３４５６７８９ | 0123456789") == "000000000 | 0000000000"
    # The map would turn this one into a quotation mark, but digits go first.
    assert ccnet("１") == "0"


def test_case_accents_and_line_ends():
    assert ccnet("  Été ΑΣ\nİ  ") == "ete αςi"
    assert roots("  Été ΑΣ\n\u2009İ１  ") == "Été ΑΣ  İ0"


def test_every_character_is_written_as_the_plain_functions_do():
    texts = [chr(point).encode() for point in range(0x30000) if not 0xD800 <= point < 0xE000]
    texts += [chr(point).encode() for point in range(0xE0000, 0xE0200)]
    for way in WAYS:
        assert rewritten(way, texts[::7]) == [plain(way, text) for text in texts[::7]]


@given(st.lists(st.one_of(st.text(max_size=20), st.text(ODD, max_size=9)), max_size=5))
def test_any_text_is_written_as_the_plain_functions_do(texts: list[str]):
    for way in WAYS:
        raw = [text.encode("utf-8", "replace") for text in texts]
        assert rewritten(way, raw) == [plain(way, text) for text in raw]


@given(st.lists(st.binary(max_size=12), max_size=5))
def test_bytes_that_are_no_text_stay_as_they_are(texts: list[bytes]):
    for way in WAYS:
        assert rewritten(way, texts) == [plain(way, text) for text in texts]


def test_half_characters_at_the_end_are_kept():
    halves = ["é".encode()[:1], "漢".encode()[:2], "𓀀".encode()[:3], b"\xed\xa0\x80", b"\xc0\x80"]
    assert rewritten("ccnet", halves) == halves


def test_a_slice_sees_its_own_rows():
    texts = pa.array(["A", "B ", "", "Σ", "É"])
    assert normalized(texts.slice(1, 3), "ccnet").to_pylist() == [b"b", b"", "σ".encode()]
    assert normalized(texts.slice(5), "ccnet").to_pylist() == []
    assert normalized(texts, "none") is texts


def test_an_unknown_way_is_refused():
    with pytest.raises(RecipeError, match="none, ccnet, roots"):
        known("nfc")
