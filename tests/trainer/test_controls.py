"""Corpora made worse: shards that verify, spoiled as much as was asked, the same each time."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tokenizer.dataset import TokenDataset
from tokenizer.verify import verify
from tokenizer.vocabulary import Vocabulary
from trainer.controls import FEWEST, Corruption, corrupted

WriteShards = Callable[..., Path]
EVERYTHING = 10**9
# Ids 1 to 49: one in three begins with a space, one in seven with the end of a line.
WORDS = Vocabulary(
    tuple(
        b"\n%d" % i if i % 7 == 0 else b" %d" % i if i % 3 == 0 else b"%d" % i for i in range(50)
    ),
    np.zeros((0, 3), np.int32),
    "gpt2",
)


@pytest.fixture
def corpus(write_shards: WriteShards) -> TokenDataset:
    """500 documents of 5 to 40 tokens in two parts, none like another."""
    random = np.random.default_rng(0)
    documents = [random.integers(1, 50, random.integers(5, 40)).tolist() for _ in range(500)]
    return TokenDataset(write_shards(documents[:300], documents[300:]))


def texts(dataset: TokenDataset) -> list[tuple[int, ...]]:
    return [tuple(dataset.document(number).tolist()) for number in range(dataset.documents)]


def words(tokens: tuple[int, ...]) -> list[tuple[int, ...]]:
    starts = [i for i, token in enumerate(tokens) if token % 7 == 0 or token % 3 == 0]
    return [tokens[i:j] for i, j in pairwise(sorted({0, *starts, len(tokens)}))]


@pytest.mark.parametrize("how", [Corruption(0.2, 0.0), Corruption(0.0, 0.1), Corruption(0.5, 1.0)])
def test_they_verify_and_are_the_same_each_time(
    corpus: TokenDataset, tmp_path: Path, how: Corruption
) -> None:
    for name in ("one", "other"):
        made = corrupted(corpus, how, EVERYTHING, WORDS, tmp_path / name)
        assert verify(made.folder) == []
        assert made.manifest["vocabulary"] == corpus.manifest["vocabulary"]
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "other")
    ]
    assert contents[0] == contents[1]


def test_duplicates_take_the_place_of_a_fifth_of_the_documents(
    corpus: TokenDataset, tmp_path: Path
) -> None:
    made = corrupted(corpus, Corruption(duplicated=0.2), EVERYTHING, None, tmp_path / "made")
    before, after = texts(corpus), texts(made)
    assert len(set(before) - set(after)) == 100
    counts = Counter(after)
    assert sorted(count for count in counts.values() if count > 1) == [11] * FEWEST
    assert set(after) < set(before)
    given = [i % 300 for i in range(500)]  # the number within its part, as the fixture has it
    rows = pq.read_table(made.folder / "part-00000.docs.parquet")
    ids = [int.from_bytes(one, "big") for one in rows["doc_id"].to_pylist()]
    assert ids == [given[before.index(text)] for text in after]


def test_words_are_shuffled_and_kept_whole(corpus: TokenDataset, tmp_path: Path) -> None:
    made = corrupted(corpus, Corruption(shuffled=0.1), EVERYTHING, WORDS, tmp_path / "made")
    before, after = texts(corpus), texts(made)
    whole = {tuple(sorted(text)): text for text in before}
    changed = set(after) - set(before)
    assert 40 <= len(changed) <= 50  # a document of one or two words may come out as it was
    for text in changed:
        there = Counter(words(whole[tuple(sorted(text))]))
        # The first word may begin with neither space nor line: it is behind another one then.
        assert sum((Counter(words(text)) - there).values()) <= 1
    rows = pq.read_table(made.folder / "part-00000.docs.parquet")
    assert rows["content_hash"].null_count == 50
    assert made.manifest["bytes"] == corpus.manifest["bytes"]


def test_without_a_tokenizer_tokens_are_shuffled(corpus: TokenDataset, tmp_path: Path) -> None:
    made = corrupted(corpus, Corruption(shuffled=1.0), EVERYTHING, None, tmp_path / "made")
    before, after = texts(corpus), texts(made)
    assert sorted(map(sorted, before)) == sorted(map(sorted, after))
    assert len(set(before) & set(after)) < 10


def test_nothing_spoiled_is_the_corpus_in_another_order(
    corpus: TokenDataset, tmp_path: Path
) -> None:
    made = corrupted(corpus, Corruption(), EVERYTHING, None, tmp_path / "made")
    before, after = texts(corpus), texts(made)
    assert sorted(after) == sorted(before)
    assert sum(one == other for one, other in zip(before, after, strict=True)) < 10
    rows = [
        row
        for part in corpus.manifest["parts"]
        for row in pq.read_table(corpus.folder / f"{part['name']}.docs.parquet").to_pylist()
    ]
    made_rows = pq.read_table(made.folder / "part-00000.docs.parquet").to_pylist()
    assert made_rows == [rows[before.index(text)] for text in after]


def test_of_a_large_corpus_documents_from_all_over_are_taken(
    corpus: TokenDataset, tmp_path: Path
) -> None:
    made = corrupted(corpus, Corruption(), corpus.tokens // 5, None, tmp_path / "made")
    assert made.documents == 100
    assert made.tokens == pytest.approx(corpus.tokens / 5, rel=0.15)
    places = [texts(corpus).index(text) for text in texts(made)]
    assert 40 <= sum(place < 250 for place in places) <= 60
