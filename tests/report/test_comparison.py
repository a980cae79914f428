"""The page about two runs: nothing foreign acts in it, and large matrices are cut."""

import pytest
from rich.console import Console

from curate.compare import Comparison, Pair
from curate.errors import InputError
from curate.report import comparison, differences
from curate.report.facts import Sample
from tests.report.test_page import assert_harmless


@pytest.fixture
def hostile_comparison(payloads) -> Comparison:
    pairs = [
        Pair("kept" if i % 3 == 0 else payloads[i], "kept" if i % 2 else payloads[-i], i + 1)
        for i in range(40)
    ]
    names = (payloads[0], payloads[1])
    samples = [Sample(f"{i:032x}", "", t, t, t, 1.0, 2.0, t) for i, t in enumerate(payloads)]
    total = sum(pair.documents for pair in pairs)
    return Comparison(names, total, (3, 0), pairs, {names[0]: samples})


def test_no_element_can_act_or_fetch(hostile_comparison):
    assert_harmless(comparison.page(hostile_comparison))


def test_a_terminal_is_not_steered(hostile_comparison):
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(differences.compared(hostile_comparison))
    assert "\x1b" not in captured.get()
    assert "\u202e" not in captured.get()


def test_agreement_is_told_of_the_documents_that_both_decide():
    pairs = [Pair("kept", "kept", 8), Pair("x.y", "kept", 2), Pair("undecided", "kept", 90)]
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(differences.compared(Comparison(("a", "b"), 100, (0, 0), pairs)))
    assert "the same verdict on 80.00% of the 10 that both decide" in captured.get()


def test_the_matrix_adds_up_whatever_is_put_together(hostile_comparison):
    matrix = comparison.matrix(hostile_comparison)
    total = sum(pair.documents for pair in hostile_comparison.pairs)
    assert len(matrix["rows"]) == len(matrix["columns"]) == comparison.MOST_REASONS
    assert matrix["columns"][0] == matrix["rows"][0]["name"] == "kept"
    assert matrix["columns"][-1] == "others"
    assert sum(row["total"] for row in matrix["rows"]) == total
    assert sum(cell["number"] for row in matrix["rows"] for cell in row["cells"]) == total
    assert all(0 <= cell["heat"] <= 5 for row in matrix["rows"] for cell in row["cells"])


def test_the_page_goes_where_it_is_told(hostile_comparison, tmp_path):
    assert comparison.write_comparison(hostile_comparison, tmp_path).name == "comparison.html"
    path = tmp_path / "d.html"
    assert comparison.write_comparison(hostile_comparison, path) == path
    assert path.stat().st_size < 2_000_000
    with pytest.raises(InputError, match="no such folder"):
        comparison.write_comparison(hostile_comparison, tmp_path / "no" / "d.html")


def test_two_that_agree_have_a_page():
    text = comparison.page(Comparison(("a", "b"), 5, (0, 0), [Pair("kept", "kept", 5)]))
    assert "100.0 %" in text
    assert text.count("<p>Nothing.</p>") == 2
