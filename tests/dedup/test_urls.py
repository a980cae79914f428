"""URLs in one form: by hand, and against a twin that takes them apart with regular expressions."""

import re
from itertools import pairwise
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import View, frozen
from curate.dedup import urls
from curate.dedup.urls import MOST_PARAMETERS, normalised

IGNORED = ("utm_*", "gclid")


def forms(*given, ignored=IGNORED):
    data, offsets = normalised(pa.array(given, pa.string()), ignored)
    return [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("http://www.Example.COM/", "example.com"),
        ("https://example.com:443/a/", "example.com/a"),
        ("//example.com:80?", "example.com"),
        ("example.com:8080/a#b", "example.com:8080/a"),
        ("http://example.com:/A//", "example.com/A"),
        ("http://user:secret@example.com./", "example.com"),
        ("http://www.com/", "www.com"),
        ("FTP://www.example.com:21/", "ftp://example.com:21"),
        ("ftp://example.com:80", "ftp://example.com:80"),
        ("http://[::1]:80/a", "[::1]/a"),
        ("http://a.b/%7euser/%2f%41?q=%c3%a9", "a.b/~user/%2FA?q=%C3%A9"),
        ("http://a.b/é ü?q=é|%", "a.b/%C3%A9%20%C3%BC?q=%C3%A9%7C%25"),
        ("http://a.b/c/./d/../e/%2E%2e/f/..", "a.b/c"),
        ("http://a.b/../..", "a.b"),
        ("http://a.b/c/..a/.b/...", "a.b/c/..a/.b/..."),
        ("http://a.b/?b=2&a=1&&UTM_Source=x&gclid=1&gclid2=3&a=0", "a.b?a=0&a=1&b=2&gclid2=3"),
        ("http://a.b/?gclid&utm_medium", "a.b"),
        ("http://a.b/?b&ab&a", "a.b?a&ab&b"),
        (" \thttp://a.b/c \n", "a.b/c"),
        ("mailto:A@b.c?x=1", "mailto:A@b.c?x=1"),
        ("http://bücher.example/ü", "xn--bcher-kva.example/%C3%BC"),
        ("http://WWW.BÜCHER.example:80", "xn--bcher-kva.example"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("http://faß.de", "xn--fa-hia.de"),
        ("http://例え。テスト/", "xn--r8jz45g.xn--zckzah"),
        ("http://", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_url_has_one_form(url, form):
    assert forms(url) == [form]


def test_a_host_that_no_name_server_knows_stays():
    assert forms("http://ü_1.example/A", "http://Ü_1.example/A") == ["ü_1.example/A"] * 2


def test_rows_do_not_touch_each_other_and_a_slice_has_its_own():
    given = ["http://a.b/?x=1", None, "http://ü.b/", "https://c.d/%"]
    assert forms(*given) == [form for url in given for form in forms(url)]
    data, offsets = normalised(pa.array(given)[2:], IGNORED)
    assert bytes(data).decode() == "xn--tda.bc.d/%25"
    assert offsets.tolist() == [0, 9, 16]


def test_of_very_many_parameters_the_first_are_sorted():
    count = MOST_PARAMETERS + 3
    (form,) = forms("a.b?" + "&".join(str(9999 - i) for i in range(count)))
    names = form.removeprefix("a.b?").split("&")
    assert sorted(names) == [str(9999 - i) for i in reversed(range(count))]
    assert names[0] == str(9999 - MOST_PARAMETERS + 1)


SAFE = "-._~!$&'()*+,;=:@/[]#?%"  # `?` stands in queries, `%` in escapes


def escape(text):
    """Plain what may be, escaped what must be."""
    text = re.sub(rb"%(?![0-9A-Fa-f]{2})", b"%25", text)
    text = re.sub(rb"%[0-9A-Fa-f]{2}", plain_or_upper, text)
    return quote(text, safe=SAFE).encode()


def plain_or_upper(found):
    byte = unquote_to_bytes(found[0])
    return byte if re.fullmatch(rb"[A-Za-z0-9._~-]", byte) else found[0].upper()


def path_of(path):
    segments = []
    for segment in escape(path).split(b"/")[1:]:
        if segment == b"..":
            segments = segments[:-1]
        elif segment != b".":
            segments.append(segment)
    return b"".join(b"/" + segment for segment in segments).rstrip(b"/")


def query_of(query):
    parameters = [
        escape(parameter)
        for parameter in (query or b"").split(b"&")
        if parameter and not re.fullmatch(rb"(?is)(utm_.*|gclid(=.*)?)", parameter)
    ]
    return b"?" + b"&".join(sorted(parameters)) if parameters else b""


URL = re.compile(
    rb"(?s)(?:(?P<scheme>[A-Za-z0-9+.-]+):(?=//))?(?://)?(?P<authority>[^/?]*)"
    rb"(?P<path>[^?]*)(?:\?(?P<query>.*))?"
)


def twin(url):
    controls = bytes(range(33))
    url = url.lstrip(controls).split(b"#")[0].rstrip(controls)
    if re.match(rb"[A-Za-z0-9+.-]+:(?!//|[0-9]|\Z)", url):
        path, mark, query = url.partition(b"?")
        return opaque(path) + (query_of(query) if mark else b"")
    parts = URL.fullmatch(url)
    scheme = (parts["scheme"] or b"").lower()
    host, port = re.fullmatch(
        rb"(?s)(.*?)(?::([0-9]*))?", parts["authority"].split(b"@")[-1]
    ).groups()
    web = scheme in (b"", b"http", b"https")
    host = lower(host).removesuffix(b".")
    if host.startswith(b"www.") and b"." in host[4:]:
        host = host[4:]
    if port and not (web and port in (b"80", b"443")):
        host += b":" + port
    return (
        (b"" if web else scheme + b"://") + host + path_of(parts["path"]) + query_of(parts["query"])
    )


def opaque(path):
    first, *others = escape(path).split(b"/")
    return (first + path_of(b"".join(b"/" + other for other in others))).rstrip(b"/")


def lower(text):
    return bytes(byte | 32 if 65 <= byte <= 90 else byte for byte in text)


piece = st.sampled_from(
    [
        *("http", "HTTPS", "ftp", ":", "://", "//", "www.", "a.B", ".", "..", "/", "/../", "/./"),
        *(":80", ":443", ":8", "@", "?", "&", "=", "utm_x", "UTM_", "gclid", "#", "%", "%2", "%2e"),
        *("%41", "%c3%A9", "%zz", "+", " ", "\n", "é", "[", "]", "1", "443", "~", "|", "\\"),
    ]
)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.lists(piece, max_size=12).map("".join) | st.binary(max_size=12), max_size=4))
def test_any_bytes_have_the_form_of_the_twin(rows):
    raw = [row if isinstance(row, bytes) else row.encode() for row in rows]
    data = frozen(np.frombuffer(b"".join(raw), np.uint8))
    ends = frozen(np.cumsum([0, *map(len, raw)]).astype(np.int32))
    names = View(
        frozen(np.frombuffer(b"utm_*gclid", np.uint8)), frozen(np.array([0, 5, 10], np.int32))
    )
    found, offsets = urls._normalised(View(data, ends), names, urls._TABLES)
    assert [bytes(found[a:b]) for a, b in pairwise(offsets)] == [twin(row) for row in raw]
