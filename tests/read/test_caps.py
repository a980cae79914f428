"""Limits: what the linear pass says of a page, against the tree that a parser builds of it."""

import os
import random

import numpy as np
import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import example, given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from curate.column import view
from curate.read import caps
from curate.read.charset import counted

# As plain Python the scan takes a second for each megabyte.
compiled = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="megabytes")
LIMITS = np.array([1000, 1000, 200, 100_000], np.int64)


def measured(*pages: bytes, kind: int = caps.HTML):
    kinds = np.full(len(pages), kind, np.uint8)
    return caps.scan(view(pa.array(pages, pa.binary())), kinds, LIMITS)


def measure(page: bytes | str, column: int) -> int:
    return int(measured(page.encode() if isinstance(page, str) else page)[0, column])


def depth_of_tree(page: bytes) -> int:
    """How deep the elements below <body> stand, by resiliparse."""
    node = HTMLTree.parse_from_bytes(page, "utf-8", "replace").body
    depth = deepest = 0
    while node is not None:
        if node.first_child is not None:
            node, depth = node.first_child, depth + 1
            deepest = max(deepest, depth if node.tag[0] != "#" else 0)
            continue
        while node.next is None:
            node, depth = node.parent, depth - 1
            if depth <= 0:
                return deepest
        node = node.next
    return 0


@pytest.mark.parametrize(
    ("page", "depth"),
    [
        ("<div><div><div>", 3),
        ("<div></div><div></div>", 1),
        ("<div><br><img><hr><input></div>", 1),
        ("<p>a<p>b<p>c", 1),
        ("<p><div>", 1),  # a block ends a paragraph
        ("<ul><li>a<li>b<li>c</ul>", 2),
        ("<ul><li><ul><li>", 4),
        ("<table><tr><td>a<td>b<tr><td>c</table>", 3),
        ("<td><td><td>", 0),  # no table, no cells
        ("<dl><dt>a<dd>b<dt>c", 2),
        ("<select><option>a<option>b</select>", 2),
        ("<h1>a</h2><h1>b</h3>", 1),
        ("<div></span><div></span>", 2),  # an end tag of nothing
        ("<div><table><tr><td></div><div>", 5),  # one that does not reach out of its cell
        ("<span><div></span><div>", 3),
        ("<a>one<a>two<a>three", 1),
        ("<form><form><form>", 1),
        ("<script><div><div></script><div>", 1),
        ("<style><div></style><textarea><div></textarea><title><div></title>", 0),
        ("<plaintext><div><div>", 0),
        ("<!-- <div><div> --><div>", 1),
        ("<!--><div>", 1),
        ("<!---><div>", 1),
        ("<!--a--!><div>", 1),
        ("<!doctype html><?php <div> ?></ div><div>", 1),
        ("<svg><path/><path/><g></g></svg>", 2),
        ("<div/><div/>", 2),
        ("<svg><g></g><div>", 2),  # HTML ends the drawing
        ("<svg><foreignObject><div/><div/>", 4),
        ("<svg><![CDATA[</svg><div>]]><g>", 2),
        ("<DIV CLASS='a>b'><dIv title=\"</div>\">", 2),
        ("<b><p></b><i></i>", 2),  # the paragraph stays, the bold does not
        ("a < b <3 <é <", 0),
    ],
)
def test_elements_that_are_open_at_once_are_counted(page, depth):
    assert measure(page, caps.DEPTH) == depth


@pytest.mark.parametrize(
    ("page", "attributes"),
    [
        ("<a>", 0),
        ("<a b c=d e='f g' h=\"i>j\" k = l/>", 5),
        ("<a b><c d e>", 2),
        ("<a/b/c>", 2),
        ("<a ==x>", 1),
        ("</a b c d>", 0),
        ("<a b='unclosed c d e", 1),
    ],
)
def test_attributes_of_one_tag_are_counted(page, attributes):
    assert measure(page, caps.ATTRIBUTES) == attributes


def test_formatting_is_counted_as_parsers_list_it():
    assert measure("<b><i><u>", caps.FORMATTING) == 3
    assert measure("<b>" * 50, caps.FORMATTING) == 3  # of equal ones three are listed
    assert measure("".join(f"<b id={n}>" for n in range(50)), caps.FORMATTING) == 50
    assert measure("<b></b>" * 50, caps.FORMATTING) == 1


def test_formatting_that_every_paragraph_opens_again_is_counted():
    page = "<p>" + "".join(f"<b id={n}>" for n in range(10)) + "x</p><p>x" * 20 + "<br>"
    assert measure(page, caps.REOPENED) == 10 * 20


def test_visible_text_is_counted_without_markup_scripts_and_spaces():
    page = "<title>no</title><p class=no>y e s</p><script>no</script><!-- no --> s"
    assert measure(page, caps.VISIBLE) == 4


def test_scanning_stops_where_a_limit_breaks():
    assert measure("<div>" * 5000, caps.DEPTH) == 1001
    assert measure("".join(f"<b id={n}>" for n in range(900)), caps.FORMATTING) == 201


def test_plain_text_and_skipped_rows_are_not_read_as_markup():
    assert measured(b"<div>\xff", kind=caps.PLAIN)[0].tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert not measured(b"<div>\xff", kind=caps.SKIP).any()


def test_no_pages_have_no_measures():
    assert measured().shape == (0, caps.MEASURES)


@given(st.lists(st.binary(max_size=200)))
@example([b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xe2\x82\xac", b"\xff" * 70, "é".encode() * 40])
def test_utf8_is_counted_as_pythons_decoder_sees_it(pages):
    found = measured(*pages)[:, [caps.BROKEN, caps.VALID]].tolist()
    assert found == [list(counted(page)) for page in pages]


SOUP = [
    *("div", "p", "span", "b", "i", "a", "em", "font", "nobr", "h1", "h2", "section", "address"),
    *("table", "tr", "td", "th", "caption", "tbody", "thead", "ul", "ol", "li", "dl", "dt", "dd"),
    *("svg", "math", "path", "foreignobject", "title", "desc", "script", "style", "br", "template"),
    *("select", "option", "optgroup", "form", "button", "object", "frameset", "body", "html"),
]


def unit(draw: random.Random) -> str:
    """One to six tags, most of them opening."""
    tags = []
    for _ in range(draw.randint(1, 6)):
        name = draw.choice(SOUP)
        shapes = (f"<{name}>", f"</{name}>", f"<{name}/>", "x", f"<{name} k={draw.randint(0, 9)}>")
        tags.append(draw.choices(shapes, weights=(55, 25, 10, 5, 5))[0])
    return "".join(tags)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_no_repeated_soup_is_deeper_than_it_looks(seed):
    page = (unit(random.Random(seed)) * 150).encode()
    # A parser clones formatting around blocks, at most once for each open element.
    assert depth_of_tree(page) <= 2 * measure(page, caps.DEPTH) + 60


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_are_scanned_and_a_neighbour_changes_nothing(page, cut):
    both = measured(page, page[:cut], page)
    assert both[0].tolist() == both[2].tolist()
    assert both[1].tolist() == measured(page[:cut])[0].tolist()


@compiled
def test_no_real_page_comes_near_a_limit(shared):
    with (shared / "crawl" / "realweb.warc.gz").open("rb") as file:
        records = ArchiveIterator(file, record_types=WarcRecordType.response)
        pages = [record.reader.read() for record in records]
    assert len(pages) > 900
    highest = measured(*pages).max(axis=0)
    # 39, 70, 4 and 9 when this was written; the limits are 1000, 1000, 200 and 100,000.
    assert all(10 * highest[: caps.VISIBLE] < LIMITS)


@compiled
def test_the_tree_of_a_real_page_is_as_deep_as_the_scan_says(shared):
    with (shared / "crawl" / "realweb.warc.gz").open("rb") as file:
        records = ArchiveIterator(file, record_types=WarcRecordType.response)
        pages = [record.reader.read() for record in records][::30]
    found = measured(*pages)[:, caps.DEPTH]
    exact = sum(
        abs(int(depth) - depth_of_tree(page)) <= 1 for depth, page in zip(found, pages, strict=True)
    )
    assert exact > 0.6 * len(pages)
