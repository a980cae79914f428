"""The loader: which windows, in which order, and what in them is a target."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ShardError
from tokenizer.dataset import TokenDataset
from trainer.data import IGNORED, Loader, open_loader
from trainer.settings import Source, TrainSettings


def loader_of(data: Path | Mapping[str, Source], context: int, **changed: Any) -> Loader:
    plain = {"context": context, "document_mask": False, "steps": 100, "batch": 4}
    return open_loader(data, TrainSettings(**{**plain, **changed}))


def test_every_epoch_sees_every_window_once_in_an_order_of_its_own(small_shards: Path) -> None:
    loader = loader_of(small_shards, 8)
    epochs = loader.order(0, 3 * loader.windows)[1].reshape(3, -1)
    assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(loader.windows))] * 3
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3


def test_every_token_but_the_first_is_a_target_once_in_an_epoch(small_shards: Path) -> None:
    shards = TokenDataset(small_shards)
    loader = loader_of(small_shards, 4)
    stream = shards.window(0, shards.tokens)[1 : 4 * loader.windows + 1]
    targets = loader.rows(0, loader.windows).targets
    assert sorted(targets.ravel().tolist()) == sorted(stream.tolist())


@settings(deadline=None, max_examples=30)
@given(first=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_samples_do_not_depend_on_where_a_run_was_cut_or_how_it_was_batched(
    small_shards: Path, first: int, sizes: list[int]
) -> None:
    whole = loader_of(small_shards, 8, seed=5, document_mask=True).rows(first, sum(sizes))
    going_on = loader_of(small_shards, 8, seed=5, document_mask=True)
    done = 0
    for size in sizes:
        resumed = loader_of(small_shards, 8, seed=5, document_mask=True)
        for loader in (going_on, resumed):
            rows = loader.rows(first + done, size)
            for part, all_of_it in zip(rows, whole, strict=True):
                np.testing.assert_array_equal(part, all_of_it[done : done + size])
        done += size


def test_another_seed_is_another_order(small_shards: Path) -> None:
    one, two = (loader_of(small_shards, 8, seed=seed).order(0, 50)[1] for seed in (1, 2))
    assert one.tolist() != two.tolist()


def test_targets_are_the_next_tokens_and_documents_are_numbered(
    write_shards: Callable[..., Path],
) -> None:
    # The row of tokens: 1 2 0 | 3 0 | 0 | 4 5 6 0, documents ending in 0, the third one empty.
    folder = write_shards([[1, 2], [3]], [[], [4, 5, 6]])
    plain = loader_of(folder, 9).rows(0, 1)
    assert plain.tokens.tolist() == [[1, 2, 0, 3, 0, 0, 4, 5, 6]]
    assert plain.targets.tolist() == [[2, 0, 3, 0, 0, 4, 5, 6, 0]]
    assert plain.documents is None
    masked = loader_of(folder, 9, document_mask=True).rows(0, 1)
    assert masked.documents is not None
    assert masked.documents.tolist() == [[1, 1, 1, 2, 2, 3, 4, 4, 4]]
    assert masked.targets.tolist() == [[2, 0, IGNORED, 0, IGNORED, IGNORED, 5, 6, 0]]


def test_a_window_may_begin_within_a_document(write_shards: Callable[..., Path]) -> None:
    loader = loader_of(write_shards([[1, 2, 3], [4, 5]]), 3, document_mask=True)
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
    assert loader_of(folder, 2).windows == 1
    with pytest.raises(ShardError, match=r"1 documents with 3 tokens are too few .* of 3 \+ 1"):
        loader_of(folder, 3)
    with pytest.raises(ShardError, match="0 documents with 0 tokens"):
        loader_of(write_shards(name="none"), 3)


@pytest.mark.parametrize("packing", ["concat", "best_fit", "pad"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_row_is_numbered_and_ignored_as_counting_by_hand_has_it(
    small_shards: Path, packing: str, masked: bool
) -> None:
    """Each document ends with token 0, which is nowhere else, and padding is of that token."""
    loader = loader_of(small_shards, 16, packing=packing, document_mask=masked)
    rows = loader.rows(0, loader.windows)
    stored = loader.stored(0, loader.windows)
    np.testing.assert_array_equal(rows.tokens, stored[:, :-1])
    filled = [
        int(source.filled(places)[0])
        for source, row in zip(
            loader.order(0, loader.windows)[0], loader.order(0, loader.windows)[1], strict=True
        )
        for source, places in [(loader._rows[source], np.array([row]))]
    ]
    for n, row in enumerate(stored.tolist()):
        assert set(row[filled[n] :]) <= {0}
        begins = [i for i in range(1, 17) if (row[i - 1] == 0 and i <= filled[n]) or i == filled[n]]
        expected = row[1:]
        for i in range(1, 17):
            if i >= filled[n] or (masked and i in begins):
                expected[i - 1] = IGNORED
        assert rows.targets[n].tolist() == expected
        if rows.documents is not None:
            changes = np.flatnonzero(np.diff(rows.documents[n])) + 1
            assert changes.tolist() == [i for i in begins if i < 16]
            assert rows.documents[n, 0] in (0, 1)
    assert (rows.documents is not None) == masked


def three(write_shards: Callable[..., Path]) -> dict[str, Source]:
    """Three sources of 20, 40 and 60 windows of 4, with ids of their own."""
    return {
        name: Source(
            str(write_shards([[low + i % 15 for i in range(4 * 20 * size)]], name=name)), share, cap
        )
        for name, low, size, share, cap in (
            ("a", 1, 1, 50, 2.0),
            ("b", 16, 2, 25, 9.0),
            ("c", 31, 3, 25, 9.0),
        )
    }


def test_a_mixture_gives_each_source_its_share_of_tokens(
    write_shards: Callable[..., Path],
) -> None:
    loader = loader_of(three(write_shards), 4, steps=20, batch=8)
    # 160 samples: of `a` 2 epochs of 20 at most, and 60 for each of the others.
    assert [(row.name, row.planned_tokens, row.epochs) for row in loader.planned] == [
        ("a", 160, 2.0),
        ("b", 240, 1.5),
        ("c", 240, 1.0),
    ]
    rows = loader.rows(0, 160)
    seen = Counter("abc"[(int(token) - 1) // 15] for token in rows.tokens[:, 0])
    assert seen == {"a": 40, "b": 60, "c": 60}
    assert loader.epochs(160) == {"a": 2.0, "b": 1.5, "c": 1.0}
    assert loader.epochs(0) == {"a": 0.0, "b": 0.0, "c": 0.0}
    # 128 is the largest power of two: an exact block, 32 of `a`.
    assert loader.epochs(128) == {"a": 1.6, "b": 1.2, "c": 0.8}


def test_batches_of_a_mixture_are_the_same_for_any_number_of_processes(
    write_shards: Callable[..., Path],
) -> None:
    sources = three(write_shards)
    options: dict[str, Any] = {
        "steps": 20,
        "batch": 8,
        "packing": "best_fit",
        "document_mask": True,
    }
    whole = loader_of(sources, 4, **options)
    for processes in (2, 4):
        ranks = [loader_of(dict(reversed(sources.items())), 4, **options) for _ in range(processes)]
        each = 8 // processes
        for step in (0, 7, 15, 16, 19):
            batch = whole.rows(step * 8, 8)
            shared = [rank.rows(step * 8 + n * each, each) for n, rank in enumerate(ranks)]
            for part, parts in zip(batch, zip(*shared, strict=True), strict=True):
                np.testing.assert_array_equal(part, np.concatenate(parts))


def test_sources_of_other_tokenizers_are_refused(write_shards: Callable[..., Path]) -> None:
    one = write_shards([[1, 2, 3, 4]], name="one")
    for name, changed, said in (
        ("larger", {"vocab_size": 60}, "differ in their number of ids: 50 and 60"),
        ("ended", {"end": 9}, "differ in their end of text: 0 and 9"),
    ):
        other = write_shards([[1, 2, 3, 4]], name=name, **changed)
        both = {"x": Source(str(one)), "y": Source(str(other))}
        with pytest.raises(ShardError, match=f"{one} and {other} {said}"):
            loader_of(both, 2)
    with pytest.raises(ShardError, match="no sources"):
        loader_of({}, 2)


def test_the_digest_is_of_sources_names_shares_and_caps(write_shards: Callable[..., Path]) -> None:
    one, same, other = (
        str(write_shards([[1, 2, token]], name=name))
        for name, token in (("one", 3), ("same", 3), ("other", 4))
    )

    def digest_of(data: dict[str, Source], **changed: Any) -> str:
        return loader_of(data, 2, steps=1, batch=1, **changed).digest

    first = digest_of({"a": Source(one, 1), "b": Source(other, 1)})
    assert first == digest_of({"b": Source(other, 1), "a": Source(same, 1)}, seed=5)
    changed = [
        {"a": Source(one, 1), "c": Source(other, 1)},
        {"a": Source(other, 1), "b": Source(other, 1)},
        {"a": Source(one, 2), "b": Source(other, 1)},
        {"a": Source(one, 1, 9.0), "b": Source(other, 1)},
    ]
    assert len({first, *map(digest_of, changed)}) == 5


def test_documents_without_a_word_are_too_few(write_shards: Callable[..., Path]) -> None:
    for packing in ("best_fit", "pad"):
        with pytest.raises(ShardError, match="3 documents with 3 tokens are too few"):
            loader_of(write_shards([[], [], []], name=packing), 4, packing=packing)


def test_documents_without_a_word_are_nothing_to_learn_from(
    write_shards: Callable[..., Path],
) -> None:
    empty = write_shards([[]] * 20)
    with pytest.raises(ShardError, match="all of its 20 documents are empty"):
        loader_of(empty, 4, document_mask=True)
    assert loader_of(empty, 4).windows == 4  # an end of text after another
