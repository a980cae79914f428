"""The page about tokenizers: what is drawn, also in a real browser; nothing foreign acts in it."""

import copy
import re

import pyarrow as pa
import pytest

from curate.report import tokenizers
from curate.report.tokenizers import lengths, page, ticks_of, token
from tests.report.test_browser import CHROMIUM, Browser, contrast
from tests.report.test_page import Skeleton, assert_harmless
from tokenizer.counting import count_pieces
from tokenizer.criterion import Criterion, compare
from tokenizer.evaluate import Evaluation, evaluate
from tokenizer.evaluated import Settings, as_json, finite
from tokenizer.inputs import Labelled
from tokenizer.train import Train, train

TEXTS = {
    "en": [f"the cat sees {i} dogs and walks home, day {i % 7}" for i in range(40)],
    "de": [f"die Katze sieht {i} Hunde und geht heim, Tag {i % 7}" for i in range(40)],
    "zh": [f"我们看见{i}只猫走在回家的路上" for i in range(40)],
}


def trained(texts, vocab_size=300):
    pieces = count_pieces(pa.array(texts), "gpt2")
    return train(pieces, Train(pattern="gpt2", vocab_size=vocab_size))


@pytest.fixture(scope="module")
def said() -> dict:
    """Three tokenizers on parallel texts."""
    named = {
        "all": trained([text for rows in TEXTS.values() for text in rows], 400),
        "en": trained(TEXTS["en"]),
    }
    named["en again"] = named["en"]
    texts = [Labelled(name, pa.array(rows)) for name, rows in TEXTS.items()]
    return as_json(evaluate(named, texts), Settings(pivot="en"))


@pytest.fixture(scope="module")
def with_criterion() -> dict:
    """The same with BLOOM's criterion."""
    named = {
        "all": trained([text for rows in TEXTS.values() for text in rows], 400),
        "en": trained(TEXTS["en"]),
    }
    texts = [Labelled(name, pa.array(rows)) for name, rows in TEXTS.items()]
    evaluation = Evaluation(named)
    found = compare(evaluation, lambda: texts, Criterion(vocab_size=290))
    return as_json(evaluation, Settings()) | {"criterion": finite(found)}


@pytest.fixture
def hostile(with_criterion, payloads) -> dict:
    """An evaluation in which all that comes from outside would act if it could."""
    said = copy.deepcopy(with_criterion)
    renamed = dict(zip(("en", "de", "zh"), payloads, strict=False))
    names = dict(zip(("all", "en"), payloads[3:], strict=False))
    for one in [*said["languages"], *said["criterion"]["languages"]]:
        one["language"] = renamed[one["language"]]
    for row in said["criterion"]["languages"]:
        row["degradation"] = {names[name]: value for name, value in row["degradation"].items()}
    passes = said["criterion"]["passes"]
    said["criterion"]["passes"] = {names[name]: value for name, value in passes.items()}
    for one in said["tokenizers"]:
        one["name"] = names[one["name"]]
        one["pattern"] = payloads[6]
        one["languages"] = {renamed[name]: value for name, value in one["languages"].items()}
        for kind in ("longest", "rarest", "never_used"):
            for row, payload in zip(one[kind], payloads, strict=False):
                row["text"] = payload
    return said


def test_no_element_can_act_or_fetch(hostile):
    assert_harmless(page(hostile))


def test_every_tokenizer_is_drawn_in_every_language(said):
    tags = Skeleton(page(said)).tags
    dots = [a["class"] for tag, a in tags if tag == "path" and a.get("class", "").startswith("dot")]
    assert len(dots) == 3 * 3 * 3  # panels, languages, tokenizers
    assert {name: dots.count(f"dot {name}") for name in ("s0", "s1", "s2")} == dict.fromkeys(
        ("s0", "s1", "s2"), 9
    )
    lines = [a for tag, a in tags if tag == "path" and a.get("class", "").startswith("line s")]
    assert len(lines) == 3


def test_a_better_tokenizer_is_further_to_the_left(said):
    plot = tokenizers.dots(said, ["de", "en"], "fertility", "tokens per word")
    assert [row["name"] for row in plot["rows"]] == ["en", "de"]
    panel = plot["panels"][0]
    # German is the second row; its marks are drawn from the last tokenizer to the first.
    marks = {m["style"]: float(m["path"][1:].split()[0]) for m in panel["marks"][3:]}
    assert marks[0] < marks[1]
    assert panel["hits"][1]["title"].startswith("de, tokens per word: all ")


def test_languages_without_numbers_are_left_out_and_none_at_all_draws_nothing(said):
    empty = copy.deepcopy(said)
    for one in empty["tokenizers"]:
        one["languages"]["de"] = dict.fromkeys(one["languages"]["de"])
    plot = tokenizers.dots(empty, ["de", "en"], "fertility", "tokens per word")
    assert [row["name"] for row in plot["rows"]] == ["en"]
    assert tokenizers.dots(empty, ["de"], "fertility", "tokens per word") == {}


def test_a_text_without_any_token_still_has_a_page():
    vocabulary = trained(["ab ab"], 258)
    said = as_json(evaluate({"a": vocabulary}, [Labelled("en", pa.array([""]))]), Settings())
    text = page(said)
    assert "How often tokens occur" not in text
    assert "Language by language" not in text


def test_bars_are_as_high_as_their_shares():
    rows = [{"bytes": n, "vocabulary": 1, "text": n == 1} for n in (1, 2, 30, 40)]
    drawn = lengths({"lengths": rows})
    assert drawn["highest"] == 1
    heights = [float(bar) for bar in re.findall(r"v-([\d.]+)h", drawn["paths"]["vocabulary"])]
    assert heights == [30, 30, *[0] * 18, 60]
    assert drawn["hits"][-1]["title"].startswith("over 20 bytes: 0.0% of the text's tokens, 50.0%")


@pytest.mark.parametrize(
    ("low", "high", "is_log", "expected"),
    [
        (0, 5, False, [0, 1, 2, 3, 4, 5]),
        (0, 0.9, False, [0, 0.2, 0.4, 0.6, 0.8]),
        (1.1, 2.2, True, [1.2, 1.5, 2]),
        (1, 30, True, [1, 2, 5, 10, 20]),
        (0.9, 2e5, True, [1, 10, 100, 1000, 10_000, 100_000]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(low, high, is_log, expected):
    assert ticks_of(tokenizers.Axis(low, high, is_log)) == pytest.approx(expected)


def test_a_token_is_shown_in_one_line_with_what_cannot_be_seen():
    assert token(" a\n\t\u200b") == " a\\n\\t\\u200b"
    assert token("=" * 64) == "=" * 40 + "…"


def test_the_criterion_is_told_for_each_tokenizer(with_criterion):
    text = page(with_criterion)
    assert "<strong>en</strong>: does not meet the criterion" in text
    assert "<strong>all</strong>: meets the criterion" in text
    assert 'class="n missed"' in text
    assert "10 % more is allowed" in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory, with_criterion, said):
    """The browser with both pages open one after the other."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "a.html").write_text(page(with_criterion))
    (folder / "b.html").write_text(page(said))
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.open(folder / "a.html")
    browser.open(folder / "b.html")
    yield browser
    browser.close()


only_with_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@only_with_a_browser
@pytest.mark.slow
def test_a_browser_finds_nothing_to_complain_of_and_fetches_nothing(browser):
    assert browser.named("Runtime.exceptionThrown") == []
    assert browser.named("Runtime.consoleAPICalled") == []
    assert browser.named("Log.entryAdded") == []
    requested = {event["request"]["url"] for event in browser.named("Network.requestWillBeSent")}
    assert all(url.startswith("file://") for url in requested)
    assert len(requested) == 2
    assert browser.value("document.querySelectorAll('h1').length") == 1


@only_with_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_no_wider_than_its_window(browser, width):
    how = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **how)
    assert browser.value("document.documentElement.scrollWidth") <= width


@only_with_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_can_be_told_from_the_card(browser, scheme):
    """WCAG 1.4.11: 3 to 1 for what is drawn."""
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    style = "getComputedStyle(document.documentElement).getPropertyValue"
    card = browser.value(f"{style}('--card').trim()")
    for name in (f"s{i}" for i in range(tokenizers.STYLES)):
        assert contrast(browser.value(f"{style}('--{name}').trim()"), card) >= 3, name


@only_with_a_browser
@pytest.mark.slow
def test_a_click_sorts_the_languages_by_a_tokenizer(browser):
    column = (
        "[...document.querySelectorAll('.languages tbody tr')].map(r => +r.cells[5].dataset.value)"
    )
    before = browser.value(column)
    browser.value("document.querySelectorAll('.languages thead button')[5].click()")
    assert browser.value(column) == sorted(before, reverse=True)
    assert len(set(before)) > 1
