"""The loader: which windows, in which order, and what in them is a target."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ShardError
from tokenizer.dataset import TokenDataset
from trainer.data import IGNORED, Loader, permuted


def order(size: int, key: int) -> list[int]:
    return permuted(np.arange(size), size, np.full(size, key, np.uint64)).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 10, 64, 65, 1000, 1_000_003])
def test_a_permutation_holds_every_index_once(size: int) -> None:
    assert np.bincount(order(size, 7), minlength=size).tolist() == [1] * size


def test_another_key_is_another_order() -> None:
    one, two = order(1000, 1), order(1000, 2)
    assert one != two
    assert sum(a == b for a, b in zip(one, two, strict=True)) < 20


def test_an_order_looks_random() -> None:
    """Neighbours are as far apart as in a shuffle, a third of the range on average."""
    assert abs(np.abs(np.diff(order(10_000, 3))).mean() / 10_000 - 1 / 3) < 0.02


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**64 - 1))
def test_any_size_under_any_key_is_permuted(size: int, key: int) -> None:
    assert sorted(order(size, key)) == list(range(size))


def test_every_epoch_sees_every_window_once_in_an_order_of_its_own(small_shards: Path) -> None:
    loader = Loader(TokenDataset(small_shards), 8, seed=0, masked=False)
    epochs = loader.order(0, 3 * loader.windows).reshape(3, -1)
    assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(loader.windows))] * 3
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3


def test_every_token_but_the_first_is_a_target_once_in_an_epoch(small_shards: Path) -> None:
    shards = TokenDataset(small_shards)
    loader = Loader(shards, 4, seed=0, masked=False)
    stream = shards.window(0, shards.tokens)[1 : 4 * loader.windows + 1]
    targets = loader.rows(0, loader.windows).targets
    assert sorted(targets.ravel().tolist()) == sorted(stream.tolist())


@settings(deadline=None, max_examples=30)
@given(first=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_samples_do_not_depend_on_where_a_run_was_cut_or_how_it_was_batched(
    small_shards: Path, first: int, sizes: list[int]
) -> None:
    shards = TokenDataset(small_shards)
    whole = Loader(shards, 8, seed=5, masked=True).rows(first, sum(sizes))
    going_on = Loader(shards, 8, seed=5, masked=True)
    done = 0
    for size in sizes:
        resumed = Loader(shards, 8, seed=5, masked=True)
        for loader in (going_on, resumed):
            rows = loader.rows(first + done, size)
            for part, all_of_it in zip(rows, whole, strict=True):
                np.testing.assert_array_equal(part, all_of_it[done : done + size])
        done += size


def test_another_seed_is_another_order(small_shards: Path) -> None:
    shards = TokenDataset(small_shards)
    one, two = (Loader(shards, 8, seed=seed, masked=False).order(0, 50) for seed in (1, 2))
    assert one.tolist() != two.tolist()


def test_targets_are_the_next_tokens_and_documents_are_numbered(
    write_shards: Callable[..., Path],
) -> None:
    # The row of tokens: 1 2 0 | 3 0 | 0 | 4 5 6 0, documents ending in 0, the third one empty.
    folder = write_shards([[1, 2], [3]], [[], [4, 5, 6]])
    plain = Loader(TokenDataset(folder), 9, seed=0, masked=False).rows(0, 1)
    assert plain.tokens.tolist() == [[1, 2, 0, 3, 0, 0, 4, 5, 6]]
    assert plain.targets.tolist() == [[2, 0, 3, 0, 0, 4, 5, 6, 0]]
    assert plain.documents is None
    masked = Loader(TokenDataset(folder), 9, seed=0, masked=True).rows(0, 1)
    assert masked.documents is not None
    assert masked.documents.tolist() == [[1, 1, 1, 2, 2, 3, 4, 4, 4]]
    assert masked.targets.tolist() == [[2, 0, IGNORED, 0, IGNORED, IGNORED, 5, 6, 0]]


def test_a_window_may_begin_within_a_document(write_shards: Callable[..., Path]) -> None:
    loader = Loader(TokenDataset(write_shards([[1, 2, 3], [4, 5]])), 3, seed=0, masked=True)
    rows = loader.rows(0, 2)
    assert rows.documents is not None
    by_first_token = {
        tokens[0]: (tokens, targets, documents)
        for tokens, targets, documents in zip(
            rows.tokens.tolist(), rows.targets.tolist(), rows.documents.tolist(), strict=True
        )
    }
    assert by_first_token == {
        1: ([1, 2, 3], [2, 3, 0], [1, 1, 1]),
        0: ([0, 4, 5], [IGNORED, 5, 0], [0, 1, 1]),
    }


def test_too_few_tokens_for_a_window_are_told(write_shards: Callable[..., Path]) -> None:
    folder = write_shards([[1, 2]])  # three tokens: two are predicted
    assert Loader(TokenDataset(folder), 2, seed=0, masked=True).windows == 1
    with pytest.raises(ShardError, match=r"1 documents with 3 tokens are too few .* of 3 \+ 1"):
        Loader(TokenDataset(folder), 3, seed=0, masked=True)
    with pytest.raises(ShardError, match="0 documents with 0 tokens"):
        Loader(TokenDataset(write_shards(name="none")), 3, seed=0, masked=True)
