"""Packing: which pieces of documents share a row, and the plan that is kept of it."""

from bisect import bisect_left, insort
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.dataset import TokenDataset
from trainer.packing import Packed, Plan, Rows, Stream, kept_plan, pieces_of, plan_of, rows_of

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def rows_in(plan: Plan) -> list[list[tuple[int, int]]]:
    pieces = list(zip(plan.starts.tolist(), plan.lengths.tolist(), strict=True))
    firsts = plan.firsts.tolist()
    return [pieces[a:b] for a, b in pairwise(firsts)]


def slowly(sizes: list[int], room: int) -> list[list[int]]:
    """Best fit decreasing as it is defined: what goes where, by sorted lists of (room, -row)."""
    rows: list[list[int]] = []
    left: list[tuple[int, int]] = []
    for size in sorted(sizes, reverse=True):
        at = bisect_left(left, (size, -len(sizes)))
        if at == len(left):
            rows.append([size])
            insort(left, (room - size, -len(rows) + 1))
        else:
            free, row = left.pop(at)
            rows[-row].append(size)
            insort(left, (free - size, row))
    return rows


def test_best_fit_by_hand() -> None:
    # Rows of 5: 5 | 4 1 | 3 | 3 2, and of 7 tokens two pieces, 5 and the 3 that overlap by one.
    plan = plan_of(np.array([1, 3, 7, 2, 4]), 4, "best_fit")
    assert rows_in(plan) == [[(4, 5)], [(13, 4), (0, 1)], [(1, 3)], [(8, 3), (11, 2)]]
    assert plan.fill(4) == 18 / 20


def test_pad_gives_each_piece_a_row() -> None:
    plan = plan_of(np.array([1, 3, 7]), 4, "pad")
    assert rows_in(plan) == [[(0, 1)], [(1, 3)], [(4, 5)], [(8, 3)]]


@given(lengths=LENGTHS, context=st.integers(1, 45))
def test_as_many_rows_are_equally_full_as_by_the_definition(
    lengths: list[int], context: int
) -> None:
    """Rows with the same room are alike, whichever of them a piece goes to."""
    sizes = pieces_of(np.array(lengths), context)[1].tolist()
    found = rows_in(plan_of(np.array(lengths), context, "best_fit"))
    ours = sorted(sum(size for _, size in row) for row in found)
    assert ours == sorted(map(sum, slowly(sizes, context + 1)))


@given(lengths=LENGTHS, context=st.integers(1, 45), packing=st.sampled_from(["best_fit", "pad"]))
def test_every_token_of_a_document_but_its_first_is_predicted_once(
    lengths: list[int], context: int, packing: str
) -> None:
    ends = np.cumsum(lengths).tolist()
    firsts = {0, *ends[:-1]}
    plan = plan_of(np.array(lengths), context, packing)
    rows = rows_in(plan)
    assert all(sum(size for _, size in row) <= context + 1 for row in rows)
    predicted = sorted(
        i for row in rows for start, size in row for i in range(start + 1, start + size)
    )
    assert predicted == [i for i in range(ends[-1]) if i not in firsts]
    # What fits into a row is whole, and no document is left out.
    pieces = {piece for row in rows for piece in row}
    for end, length in zip(ends, lengths, strict=True):
        assert (end - length, min(length, context + 1)) in pieces


def test_many_documents_fill_rows_to_99_percent() -> None:
    random = np.random.default_rng(0)
    lengths = np.exp(random.normal(6, 1, 100_000)).astype(np.int64) + 1
    assert plan_of(lengths, 2048, "best_fit").fill(2048) > 0.999


@pytest.fixture
def shards(write_shards: Callable[..., Path]) -> TokenDataset:
    return TokenDataset(write_shards([[1, 2], [3, 4, 5, 6, 7, 8]], [[9], [], [10, 11, 12]]))


def read(rows: Rows, dataset: TokenDataset, context: int) -> list[list[int]]:
    out = np.empty((rows.rows, context + 1), dataset.dtype)
    rows.read(np.arange(rows.rows), list(out))
    return out.tolist()


def marked(rows: Rows) -> list[tuple[int, int]]:
    return sorted(zip(*(part.tolist() for part in rows.marks(np.arange(rows.rows))), strict=True))


def test_packed_rows_hold_documents_and_then_end_of_text(shards: TokenDataset) -> None:
    # Lengths 3 7 2 1 4 in rows of 5: 5 | 4 1 | 3 | 3 2, the third one padded.
    packed = rows_of(shards, 4, "best_fit", None)
    assert isinstance(packed, Packed)
    assert read(packed, shards, 4) == [
        [3, 4, 5, 6, 7],
        [10, 11, 12, 0, 0],
        [1, 2, 0, 0, 0],
        [7, 8, 0, 9, 0],
    ]
    assert packed.filled(np.array([2, 0, 1])).tolist() == [3, 5, 5]
    assert marked(packed) == [(0, 0), (1, 0), (1, 4), (2, 0), (2, 3), (3, 0), (3, 3)]
    assert (packed.rows, packed.targets) == (4, 4 + 3 + 3 + 2)


def test_a_stream_has_all_tokens(shards: TokenDataset) -> None:
    stream = Stream(shards, 4)
    assert read(stream, shards, 4) == [
        [1, 2, 0, 3, 4],
        [4, 5, 6, 7, 8],
        [8, 0, 9, 0, 0],
        [0, 10, 11, 12, 0],
    ]
    assert marked(stream) == [(0, 0), (0, 3), (2, 2), (2, 4), (3, 0), (3, 1)]


def test_a_plan_is_kept_and_read_and_made_anew_where_it_is_torn(
    shards: TokenDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "plans"
    fresh = kept_plan(shards, 4, "best_fit", folder)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    for place in range(0, len(content), 9):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        kept_plan(shards, 4, "best_fit", folder)
        assert path.read_bytes() == content
    path.write_bytes(content[:-9])
    again = kept_plan(shards, 4, "best_fit", folder)
    assert path.read_bytes() == content
    written = path.stat().st_ino
    read_back = kept_plan(shards, 4, "best_fit", folder)
    for one, other, third in zip(fresh, again, read_back, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)
    assert path.stat().st_ino == written


def test_other_shards_contexts_and_packings_have_plans_of_their_own(
    shards: TokenDataset, write_shards: Callable[..., Path], tmp_path: Path
) -> None:
    other = TokenDataset(write_shards([[1, 2], [3]], name="other"))
    for dataset, context, packing in (
        (shards, 4, "best_fit"),
        (other, 4, "best_fit"),
        (shards, 5, "best_fit"),
        (shards, 4, "pad"),
    ):
        kept_plan(dataset, context, packing, tmp_path / "plans")
    assert len(list((tmp_path / "plans").iterdir())) == 4
