"""The page about an ablation: the answer first, every difference drawn, nothing foreign acts."""

import copy
import dataclasses
import re

import pytest

from curate.report.ablation import bits, difference, forest, ladder, page
from tests.report.test_browser import CHROMIUM, Browser
from tests.report.test_page import Skeleton, assert_harmless
from trainer.settings import TrainSettings


def differing(domain, value, half, **more):
    low, high, ratio = value - half, value + half, 4 * value / half
    numbers = {"value": value, "low": low, "high": high, "ratio": ratio}
    certain = {"least": 4.14, "sigma": half / 4, "confidence": 1.0, "claimed": abs(value) > half}
    return {"domain": domain, **numbers, **certain, **more}


def control(name, value, seen):
    about = {"name": name, "about": f"A with {name}", "expected": "worse", "seen": seen}
    return differing("macro mean", value, 0.01, **about, passed=seen == "worse", missed="")


def arm(name, folder):
    counts = {"documents": 10, "tokens": 4000, "bytes": 12_000, "epochs": 2.5, "own_loss": 3.2}
    return {"arm": name, "name": folder, "digest": "0123456789abcdef", **counts}


@pytest.fixture
def said() -> dict:
    """B is better, in one domain of two."""
    rates = [
        {
            "learning_rate": rate,
            "differences": [
                differing("news", -0.06, 0.02),
                differing("code", 0.01, 0.02),
                differing("macro mean", -0.025, 0.015),
            ],
            "bits_per_byte": {
                name: {"news": [1.1, 1.2], "code": [1.3, 1.2], "macro mean": [1.2, 1.2]}
                for name in ("A", "B")
            },
        }
        for rate in (1e-2, 1e-3)
    ]
    return {
        "answer": "better",
        "sentence": "B is better by 0.0250 bits per byte",
        "arms": [arm("A", "raw"), arm("B", "filtered")],
        "held_out": [{"name": "news", "documents": 9, "bytes": 900}],
        "tokens": 10_000,
        "seeds": 2,
        "margin": 0.01,
        "sigma": 0.004,
        "freedom": 8,
        "parameters": 123_456,
        "settings": dataclasses.asdict(TrainSettings()),
        "rates": rates,
        "worth": {
            "ladder": [
                {"tokens": 2500, "bits_per_byte": 1.4},
                {"tokens": 5000, "bits_per_byte": 1.3},
                {"tokens": 10_000, "bits_per_byte": 1.2},
            ],
            "reached": 1.175,
            "tokens": 11_892.0,
            "bound": "",
            "share": 1.1892,
            "sentence": "B at 10,000 tokens equals A at 11,892 tokens",
        },
        "controls": [
            control("duplicates", 0.05, "worse"),
            control("words", 0.001, "no difference"),
        ],
        "warnings": ["code has 9 documents"],
    }


def test_the_answer_and_what_it_is_worth_come_first(said):
    text = page(said)
    assert text.index("<h1>B is better</h1>") < text.index("B is better by 0.0250 bits per byte.")
    assert text.index("B at 10,000 tokens equals A at 11,892") < text.index("Code has 9 documents.")
    assert text.index("Code has 9 documents.") < text.index("<nav")


@pytest.mark.parametrize(("answer", "title"), [("worse", "B is worse"), ("tie", "No difference")])
def test_every_answer_has_a_title(said, answer, title):
    assert f"<h1>{title}</h1>" in page(said | {"answer": answer})


def test_every_difference_is_drawn_with_its_interval(said):
    tags = Skeleton(page(said)).tags
    marks = [a for tag, a in tags if tag == "rect" and a.get("class") == "hit"]
    assert len(marks) == 3 * 2 + 2 + 3  # domains at two rates, controls, steps of the ladder
    lines = [
        a["d"] for tag, a in tags if tag == "path" and a.get("class") in ("line s0", "line s1")
    ]
    assert len([path for path in lines if re.fullmatch(r"M[\d.]+ [\d.]+H[\d.]+", path)]) == 9


def test_better_is_to_the_left_of_zero_and_places_keep_proportions(said):
    drawn = forest([("x", [differing("x", -0.02, 0.01), differing("x", 0.04, 0.01)])], 0.01)
    places = [
        [float(number) for number in re.findall(r"[\d.]+", mark["whisker"])]
        for mark in drawn["rows"][0]["marks"]
    ]
    (low, _, high), (other_low, _, other_high) = places
    assert low < high < drawn["zero"] < other_low < other_high
    assert drawn["zero"] - (low + high) / 2 == pytest.approx(
        ((other_low + other_high) / 2 - drawn["zero"]) / 2, abs=0.2
    )
    assert drawn["margin"][1] == pytest.approx(high - low, abs=0.2)
    assert drawn["rows"][0]["marks"][0]["y"] < drawn["rows"][0]["marks"][1]["y"]


def test_what_is_not_known_is_a_dash_and_is_not_drawn(said):
    for rate in said["rates"]:
        for one in rate["differences"]:
            one |= {"low": None, "high": None, "ratio": None}
    text = page(said | {"sigma": None, "controls": []})
    assert 'id="controls"' not in text
    assert text.count(">–</td>") == 6 * 3
    assert (bits(None), difference(None), difference(-0.5)) == ("–", "–", "−0.5000")


def test_b_stands_on_the_line_of_a_where_it_is_worth_as_much(said):
    drawn = ladder(said)
    xs = [tick["x"] for tick in drawn["xs"]]
    assert xs[2] - xs[1] == pytest.approx(xs[1] - xs[0])  # logarithmic
    assert float(drawn["across"].partition("H")[2]) > xs[2]
    assert not ladder(said | {"worth": said["worth"] | {"tokens": None}})["across"]
    assert ladder(said | {"worth": said["worth"] | {"ladder": []}}) == {}


def test_no_element_can_act_or_fetch(said, payloads):
    hostile = copy.deepcopy(said)
    texts = iter(payloads * 3)
    for rate in hostile["rates"]:
        renamed = dict(
            zip(("news", "code", "macro mean"), [*payloads[:2], "macro mean"], strict=True)
        )
        for one in rate["differences"]:
            one["domain"] = renamed[one["domain"]]
        for arm_of in rate["bits_per_byte"].values():
            for name in ("news", "code"):
                arm_of[renamed[name]] = arm_of.pop(name)
    hostile["sentence"], hostile["warnings"] = next(texts), payloads
    hostile["worth"]["sentence"] = next(texts)
    for one in (*hostile["arms"], *hostile["held_out"]):
        one["name"] = next(texts)
    assert_harmless(page(hostile))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.slow
def test_a_browser_finds_nothing_to_complain_of(said, tmp_path):
    (tmp_path / "a.html").write_text(page(said))
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(tmp_path / "a.html")
        assert browser.named("Runtime.exceptionThrown") == []
        assert browser.named("Log.entryAdded") == []
        for width in (360, 1280):
            how = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            browser.call("Emulation.setDeviceMetricsOverride", **how)
            assert browser.value("document.documentElement.scrollWidth") <= width
    finally:
        browser.close()
