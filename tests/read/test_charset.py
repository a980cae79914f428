"""Charsets: who is believed, and valid UTF-8 whatever comes in."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from resiliparse.parse.encoding import detect_encoding

from curate.read.charset import (
    KNOWN,
    Utf8Count,
    clean,
    codec,
    counted,
    declared,
    is_utf8,
    markup_codec,
    to_utf8,
)


def text_of(payload: bytes, header: str = "") -> str:
    return to_utf8(payload, declared(payload, header), counted(payload)).decode()


POLISH = "Zażółć gęślą jaźń, proszę państwa. "
RUSSIAN = "Широкая электрификация южных губерний даст мощный толчок. "
JAPANESE = "これは日本語の文章です。漢字も少し入っています。"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (POLISH, "iso-8859-2"),
        (RUSSIAN, "windows-1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc-jp"),
        (JAPANESE, "iso-2022-jp"),
        (JAPANESE, "utf-16le"),
        (JAPANESE, "utf-16be"),
        ("简体中文的网页内容", "gb18030"),
        ("繁體中文的網頁內容", "big5"),
        ("한국어 문장입니다", "euc-kr"),
        ("déjà vu", "iso-8859-1"),
    ],
)
def test_a_declared_charset_is_decoded_by_header(text, label):
    assert text_of(text.encode(codec(label)), label) == text


def test_a_mark_is_believed_before_the_header_and_the_header_before_the_markup():
    page = b'<meta charset="koi8-r">'
    assert declared(b"\xef\xbb\xbf" + page, "windows-1251") == "utf-8"
    assert declared(b"\xff\xfe<\0p\0>\0", "windows-1251") == "utf-16-le"
    assert declared(page, "windows-1251") == "cp1251"
    assert declared(page, "") == "koi8-r"


def test_an_unknown_header_is_as_good_as_none():
    assert declared(b'<meta charset="koi8-r">', "x-nope-42") == "koi8-r"
    assert declared(b"plain", "x-nope-42") == ""


@pytest.mark.parametrize(
    "markup",
    [
        b"<meta charset=windows-1251>",
        b"<META http-equiv='Content-Type' content='text/html; charset=windows-1251'>",
        b"<html><head><meta\nname=a><meta charset = 'Windows-1251' >",
        b'<?xml version="1.0" encoding="windows-1251"?>',
        b"<!-- <meta charset=utf-8> --><meta charset=cp1251>",
    ],
)
def test_the_markup_names_its_charset(markup):
    assert markup_codec(markup) == "cp1251"


@pytest.mark.parametrize(
    "markup",
    [b"<!-- <meta charset=koi8-r>", b"<p>charset=koi8-r", b"<metal charset=koi8-r>", b"", b"<"],
)
def test_what_only_looks_like_a_declaration_names_none(markup):
    assert markup_codec(markup) == ""


def test_utf16_in_a_meta_tag_cannot_be_true():
    assert markup_codec(b"<meta charset=utf-16>") == "utf-8"


def test_utf16_without_a_mark_shows_in_its_first_letters():
    assert text_of("<p>zażółć".encode("utf-16-le")) == "<p>zażółć"
    assert text_of("<p>zażółć".encode("utf-16-be")) == "<p>zażółć"


def test_half_a_utf16_letter_at_the_end_is_one_replacement():
    assert text_of("\ufeffabc".encode("utf-16-le") + b"x") == "abc\ufffd"


@pytest.mark.parametrize("label", ["utf-7", "unicode-1-1-utf-7", "UTF7"])
def test_utf7_is_never_honoured(label):
    page = b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-"
    assert text_of(page, label) == page.decode()
    assert declared(b"<meta charset=%s>" % label.encode(), "") == ""


@pytest.mark.parametrize("label", ["rot13", "hex", "base64", "unicode_escape", "punycode", "idna"])
def test_pythons_own_codecs_are_no_charsets(label):
    assert codec(label) == ""


def test_a_lying_utf8_declaration_is_not_believed():
    page = ("<meta charset=utf-8>" + "Häuser, Türen und Straßen für größere Vögel. " * 5).encode(
        "latin-1"
    )
    assert text_of(page) == page.decode("latin-1")
    assert text_of(RUSSIAN.encode("cp1251"), "utf-8") == RUSSIAN


def test_utf8_declared_as_latin1_is_still_utf8():
    assert text_of("naïve café".encode(), "iso-8859-1") == "naïve café"


def test_a_few_broken_bytes_do_not_cost_the_rest():
    page = "größere Häuser für alle".encode() + b" \xff"
    assert text_of(page, "utf-8") == "größere Häuser für alle \ufffd"


def test_chinese_that_happens_to_be_utf8_is_read_as_declared():
    assert text_of("联通".encode("gbk"), "gbk") == "联通"  # the words that broke Notepad


def test_invalid_pairs_become_replacements():
    page = "简体中文的网页内容很多很多".encode("gb18030") + b"\xff\xff"
    assert text_of(page, "gb18030").startswith("简体中文的网页内容很多很多")
    assert "\ufffd" in text_of(page, "gb18030")


@pytest.mark.parametrize(
    ("raw", "replaced"),
    [
        (b"\xc0\xaf", 2),  # overlong
        (b"\xed\xa0\x80", 3),  # a lone surrogate
        (b"\xf8\x88\x80\x80\x80", 5),  # five bytes long, as before 2003
        (b"\xf0\x9f\x98", 1),  # cut short
        (b"\xe2\x82", 1),
    ],
)
def test_wrong_utf8_is_replaced_as_browsers_do(raw, replaced):
    good = "ééééé"
    assert text_of(good.encode() + raw, "utf-8") == good + "\ufffd" * replaced


@given(st.binary(), st.sampled_from(["", *sorted(KNOWN), "utf-7", "nonsense"]))
@example(b"\xff\xfe\x00\xd8", "")
@example(b"\xef\xbb\xbf\xff", "")
def test_any_bytes_become_valid_utf8_under_any_declaration(payload, header):
    clean(to_utf8(payload, declared(payload, header), counted(payload))).decode()


@given(st.binary())
def test_cleaned_text_has_neither_controls_nor_noncharacters(payload):
    text = clean(payload.decode("utf-8", "replace").encode()).decode()
    assert not any(
        (ord(letter) < 32 and letter not in "\t\n") or 127 <= ord(letter) < 160 for letter in text
    )
    assert "\ufffe" not in text and "\uffff" not in text


def test_line_ends_are_newlines_and_controls_are_gone():
    assert clean(b"a\r\nb\rc\x00\x1b[0m\td\x7f\xc2\x85e\xc2\x9b\xef\xbf\xbe") == (
        b"a\nb\nc[0m\td\ne\xef\xbf\xbd"
    )


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    once = clean(text.encode())
    assert clean(once) == once


def test_detection_is_asked_last_and_never_says_utf8():
    assert detect_encoding(b"\xe9") is not None
    assert is_utf8("", Utf8Count(0, 5)) and not is_utf8("", Utf8Count(5, 1))
    assert text_of(RUSSIAN.encode("cp1251") * 3) == RUSSIAN * 3
