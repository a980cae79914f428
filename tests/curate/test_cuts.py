"""Texts without the stretches that a survey cuts: as slices in Python, and never half a letter."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.cuts import stretches, without_cuts
from curate.errors import LawError

LISTS = pa.list_(pa.int32())


@st.composite
def texts_and_cuts(draw):
    rows = []
    for text in draw(st.lists(st.text(max_size=30), max_size=6)):
        ends = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
        ends = ends[: len(ends) // 2 * 2]
        places = [len(text[:end].encode()) for end in ends]
        left = "".join(text[a:b] for a, b in zip([0, *ends[1::2]], [*ends[::2], None], strict=True))
        rows.append((text, draw(st.sampled_from([places, places or None])), left))
    return rows


@settings(deadline=None)
@given(texts_and_cuts(), st.integers(0, 3))
def test_what_is_cut_is_gone_and_all_else_is_there(rows, skipped):
    texts, cuts, left = zip(*rows, strict=True) if rows else ((), (), ())
    texts, cuts = pa.array(texts, pa.string()), pa.array(cuts, LISTS)
    found = without_cuts(texts.slice(skipped), cuts.slice(skipped))
    assert found.to_pylist() == list(left)[skipped:]


@pytest.mark.parametrize(
    "cuts", [[0, 9], [3, 2], [2, 2], [2, 4, 3, 5], [4, 5, 0, 1], [0, 1, 2], [-1, 2], [0, 3]]
)
def test_cuts_that_cannot_be_are_a_broken_law(cuts):
    with pytest.raises(LawError, match="cuts what is not there"):
        without_cuts(pa.array(["äöüxy"[:4]]), pa.array([cuts], LISTS))


def test_people_see_what_was_cut_and_no_half_letters():
    assert stretches("one ä two ö three", [0, 3, 7, 13], 100) == "one […] two ö"
    assert stretches("ää" * 50, [0, 200], 3) == "äää"
