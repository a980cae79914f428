"""The page in a real browser: hostile text is shown as it is, and nothing is run or fetched."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from curate.report import page
from curate.report.collect import collect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.slow,
]

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "--window-size=1280,2000", "about:blank"),
)


class Browser:
    """Chromium, spoken to through a pipe in its DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def wire() -> None:  # the protocol wants the file descriptors 3 and 4
            ours = os.dup(to_browser), os.dup(from_browser)
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)

        self._process = subprocess.Popen(
            [CHROMIUM, f"--user-data-dir={profile}", *ARGUMENTS],
            preexec_fn=wire,
            close_fds=False,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._calls = 0
        self._session = None
        self.events: list[dict] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._calls:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            chunk = os.read(self._in, 1 << 16)
            assert chunk, "Chromium has ended"
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        self.value("new Promise(done => setTimeout(done, 300))")

    def value(self, expression: str):
        how = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        return self.call("Runtime.evaluate", **how)["result"].get("value")

    def named(self, method: str) -> list[dict]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def close(self) -> None:
        os.close(self._out)
        self._process.terminate()
        self._process.wait()
        os.close(self._in)


@pytest.fixture(scope="module")
def browser(tmp_path_factory, hostile):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.open(hostile / "report.html")
    yield browser
    browser.close()


def test_nothing_is_requested_but_the_page(browser):
    requested = {event["request"]["url"] for event in browser.named("Network.requestWillBeSent")}
    assert len(requested) == 1
    assert requested.pop().startswith("file://")


def test_there_is_no_dialog_no_exception_and_nothing_in_the_console(browser):
    assert browser.named("Page.javascriptDialogOpening") == []
    assert browser.named("Runtime.exceptionThrown") == []
    assert browser.named("Runtime.consoleAPICalled") == []
    assert browser.named("Log.entryAdded") == []


def test_the_title_is_still_the_page_s_own(browser):
    assert browser.value("document.title").endswith(" documents kept")
    assert browser.value("document.querySelectorAll('h1').length") == 1


def test_hostile_texts_are_shown_literally(browser, hostile, payloads):
    shown = browser.value("[...document.querySelectorAll('blockquote')].map(e => e.textContent)")
    samples = collect(hostile, samples=700).samples
    assert sorted(shown) == sorted(page.shown(sample.text) for sample in samples)
    unscrubbed = [text for text in payloads if page.shown(text) in shown]
    assert len(unscrubbed) > 50
    places = browser.value("[...document.querySelectorAll('.where')].map(e => e.textContent)")
    assert any("<script>" in place for place in places)


def test_names_from_outside_are_shown_literally(browser, hostile_names):
    names = hostile_names
    assert browser.value("document.querySelector('h1').textContent") == names["recipe"]
    tables = browser.value("[...document.querySelectorAll('tbody th')].map(e => e.textContent)")
    assert {names["reason"], names["language"]} <= set(tables)
    assert browser.value("document.querySelector('pre').textContent") == names["written"]


def test_a_click_on_a_head_sorts_and_typing_finds_a_signal(browser):
    column = (
        "[...document.querySelectorAll('.reasons tbody tr')].map(r => +r.cells[2].dataset.value)"
    )
    first = browser.value(column)
    button = "document.querySelectorAll('.reasons thead button')[2]"
    browser.value(f"{button}.click()")
    assert browser.value(column) == sorted(first, reverse=True)
    browser.value(f"{button}.click()")
    assert browser.value(column) == sorted(first)
    cards = "[...document.querySelectorAll('[data-signal]')].filter(c => !c.hidden).length"
    assert browser.value(cards) == 6
    browser.value("find.value = 'stop_w'; find.dispatchEvent(new Event('input'))")
    assert browser.value(cards) == 1
    browser.value("find.value = ''; find.dispatchEvent(new Event('input'))")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_no_wider_than_its_window(browser, width):
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
    assert browser.value("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "is_beside"), [(360, False), (1280, True)])
def test_pairs_lie_side_by_side_where_there_is_room(browser, width, is_beside):
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
    sides = "[...document.querySelector('#duplicates .two').children]"
    left, right = browser.value(f"{sides}.map(e => e.getBoundingClientRect().x)")
    assert (left < right) == is_beside


def test_words_that_differ_are_told_apart_without_colour(browser):
    line = "getComputedStyle(document.querySelector('#duplicates {}')).textDecorationLine"
    assert browser.value(line.format("del")) == "line-through"
    assert browser.value(line.format("ins")) == "underline"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, scheme):
    """WCAG AA: 4.5 to 1 for text against the ground and the cards."""
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    style = "getComputedStyle(document.documentElement).getPropertyValue"
    colours = {
        name: browser.value(f"{style}('--{name}').trim()")
        for name in ("ground", "card", "ink", "soft", "accent", "here-soft", "kept-soft")
    }
    for text in ("ink", "soft", "accent"):
        for ground in ("ground", "card"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for marked in ("here-soft", "kept-soft"):
        assert contrast(colours["ink"], colours[marked]) >= 4.5, marked


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
