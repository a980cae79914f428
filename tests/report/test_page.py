"""The page: self-contained, the same bytes for the same run, and nothing foreign acts in it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from curate.report import page, write_report
from curate.report.collect import collect


class Skeleton(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def assert_harmless(text):
    """No element of a page acts or fetches, its policy is of its own script, nothing is unseen."""
    for tag, attributes in Skeleton(text).tags:
        assert tag not in ("img", "iframe", "a") or attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
        assert not {"src", "style", "action"} & set(attributes)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    policy = next(a["content"] for _, a in Skeleton(text).tags if "http-equiv" in a)
    assert policy == page.policy(style, script)
    assert not {chr(code) for code in page._UNSEEN} - {"\n"} & set(text)


def written(run: Path, **how) -> str:
    return write_report(run, **how).read_text()


@pytest.fixture(scope="module")
def hostile_page(hostile) -> str:
    return (hostile / "report.html").read_text()


def test_there_are_more_than_sixty_payloads(payloads):
    assert len(set(payloads)) > 60


def test_the_same_run_gives_the_same_bytes(run, tmp_path, write_run):
    again = write_run(tmp_path / "again")
    assert written(run, times=False) == written(again, times=False)
    (again / "run.json").write_text('{"wall_seconds": 99}')
    assert written(run, times=False) == written(again, times=False)
    assert "<h2>Time</h2>" in written(run)


def test_the_policy_allows_the_own_style_and_script_only(run):
    text = written(run)
    assert text.count("<script>") == text.count("<style>") == 1
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    policy = next(a["content"] for t, a in Skeleton(text).tags if "http-equiv" in a)
    assert policy == page.policy(style, script)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_no_element_can_act_or_fetch(hostile_page):
    allowed = "html head meta title style body header p h1 h2 h3 h4 dl div dt dd nav ul li a main "
    allowed += (
        "section table caption thead tbody tr th td svg path rect circle text g title strong em "
    )
    allowed += "span h5 del ins "
    allowed += "code article input details summary blockquote pre footer script"
    for tag, attributes in Skeleton(hostile_page).tags:
        assert tag in allowed.split()
        assert not any(name.startswith("on") for name in attributes)
        assert not {"src", "srcset", "style", "action", "data", "xlink:href"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")


def test_foreign_text_makes_no_elements(run, hostile_page):
    kinds = {tag for tag, _ in Skeleton(written(run, samples=700)).tags}
    assert {tag for tag, _ in Skeleton(hostile_page).tags} <= kinds


def test_templates_in_text_are_text(hostile_page):
    assert "{{7*7}}" in hostile_page
    assert "{% for x in range(9) %}HACKED{% endfor %}" in hostile_page
    assert "HACKEDHACKED" not in hostile_page


def test_characters_that_cannot_be_seen_are_shown_as_escapes(hostile_page):
    assert "\\u202egnp.exe\\u2066 turned \\u2069" in hostile_page
    assert "\\u001b]0;title\\u0007" in hostile_page
    controls = {chr(code) for code in page._UNSEEN} - {"\n"}
    assert not controls & set(hostile_page)


def test_a_report_to_pass_on_has_no_text_and_no_address(tmp_path, write_run):
    texts = [f"canary{i} jane{i}@example.org" for i in range(600)]
    urls = [f"https://canaryhost{i}.example/canarypath" for i in range(600)]
    run = write_run(tmp_path, texts=texts, urls=urls, written="canary")
    assert "canary" not in written(run, samples=0)
    assert "canary" in written(run, samples=1)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (24_300_000, "24.3 MB"),
        (5e12, "5 TB"),
        (5e16, "5e+04 TB"),
    ],
)
def test_sizes_are_in_the_unit_that_fits(number, text):
    assert page.size(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0.0 %"),
        (1, 10_000, "<0.1 %"),
        (9_999, 10_000, ">99.9 %"),
        (1, 1, "100.0 %"),
        (1, 0, "–"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(part, whole, text):
    assert page.share(part, whole) == text


def test_text_that_is_kept_is_held_against_what_was_read_unpacked(run):
    report = collect(run)
    assert report.entered.bytes != report.bytes
    share = page.share(report.kept.bytes, report.entered.bytes)
    assert f"{share} of {page.size(report.entered.bytes)} of pages" in written(run)


def test_times_of_one_process_make_up_the_total(tmp_path, write_run):
    run = write_run(tmp_path, count=20)
    times = {"wall_seconds": 90, "curation_seconds": 20, "documents_per_second": 1, "workers": 0}
    times |= {"seconds": {"load kernels": 40, "read": 15, "train model": 30}}
    (run / "run.json").write_text(json.dumps(times))
    assert sum(page.times(collect(run)).values()) == 90
    text = written(run)
    assert "90 s in all with 1 process; 20 s of them for the curation" in text
    assert "1 documents a second" in text
    # Processes side by side spend more than the clock; pieces that were there have spent before.
    for more in ({"workers": 2}, {"units": 4, "units_reused": 1}):
        (run / "run.json").write_text(json.dumps({**times, **more}))
        assert sum(page.times(collect(run)).values()) == 85
    assert "1 of 4 units of work were there already" in written(run)


def test_a_filter_that_drops_nothing_is_not_said_to_have_dropped_by_one_rule(tmp_path, write_run):
    assert "documents dropped here" in written(write_run(tmp_path / "some"))
    assert "documents dropped here" not in written(write_run(tmp_path / "none", count=0))


def test_an_empty_run_has_a_page(tmp_path, write_run):
    run = write_run(tmp_path, count=0)
    assert "0 documents in = 0 kept" in written(run)


def test_a_run_whose_books_do_not_balance_is_told_so(tmp_path, write_run):
    run = write_run(tmp_path)
    ledger = run / "ledger.json"
    text = ledger.read_text()
    at = text.rindex('"entered"')
    first = text.index('"stages"', text.rindex('"source"'))
    assert at > first
    broken = re.sub(r'("name": "read",\s+"entered": \{\s+"documents": )600', r"\g<1>601", text)
    ledger.write_text(broken)
    assert "The books do not balance" in written(run)
