"""CORE and NEWS-COPY, the labelled sets of near-duplicates, by text-dedup's protocol.

Neither can be had without a network, so their files are named by the user:

CORE (pinecone/core-2020-05-10-deduplication on the Hugging Face hub): rows with `core_id`,
`processed_title`, `processed_abstract` and `labelled_duplicates`. Title and abstract are one text.
A document is right if all its labelled duplicates are among those found, or if it has none and none
were found. text-dedup's README calls "macro F1" what its code computes as the mean of the
precisions of both classes; that is the figure to compare with .952, and the real F1 is beside it.

NEWS-COPY (chenghao/NEWS-COPY-eval, split "test"): rows with `article` and `cluster`; the figure is
the adjusted Rand index, to compare with .729.

Both use word bigrams, as there. Which similarity to ask for is a choice, so several are shown.
"""

import gzip
import json
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.neardup_corpus import identity
from benchmarks.neardup_stage import Verify, batches, settings, surveyed, verdict
from curate.dedup.minhash import MinHash

BIGRAMS = 2
CORE_BANDING, NEWS_BANDING = (50, 4), (64, 4)  # text-dedup: 200 and 256 hashes
SIMILARITIES = (0.4, 0.5, 0.6, 0.7)

_BROKEN_WORD = re.compile(r"-\n")
_NEWS_MARKS = str.maketrans("", "", "\"#$%&\\()*+/:;<=>@[]^_`{|}~.?,!'")


class Scores(NamedTuple):
    """CORE's figures."""

    precision: float
    recall: float
    mean_precision: float  # of duplicates and of others: text-dedup's "macro F1"
    macro_f1: float
    accuracy: float


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL or Parquet file, or of all such files in a folder."""
    if path.is_dir():
        names = (".jsonl", ".jsonl.gz", ".json", ".parquet")
        return [
            row for one in sorted(path.rglob("*")) if one.name.endswith(names) for row in rows(one)
        ]
    if path.suffix == ".parquet":
        table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return table
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def clusters(
    texts: Sequence[str], banding: tuple[int, int], verify: Verify, similarity: float
) -> list[int]:
    """For every document the number of the one that stays in its place."""
    ids = [identity(f"labelled/{i}") for i in range(len(texts))]
    stage = MinHash(**settings(*banding, verify, similarity, BIGRAMS))
    with tempfile.TemporaryDirectory() as folder:
        shards = surveyed(stage, batches(ids, texts), Path(folder))
        of: list[int] = verdict(stage, shards, ids).of.tolist()
    return of


def duplicates_found(names: Sequence[str], clusters: Sequence[int]) -> dict[str, set[str]]:
    """For every document the others of its cluster."""
    members = defaultdict(set)
    for name, cluster in zip(names, clusters, strict=True):
        members[cluster].add(name)
    return {name: members[cluster] - {name} for name, cluster in zip(names, clusters, strict=True)}


def core_scores(labelled: dict[str, set[str]], found: dict[str, set[str]]) -> Scores:
    """Precision and recall by document: right if all labelled duplicates are among those found."""
    outcomes: Counter[str] = Counter()
    for name, true in labelled.items():
        mine = found.get(name, set())
        if not mine:
            outcomes["missed" if true else "rightly alone"] += 1
        else:
            outcomes["right" if true and true <= mine else "wrong"] += 1
    right, alone = outcomes["right"], outcomes["rightly alone"]
    wrong, missed = outcomes["wrong"], outcomes["missed"]
    precision, recall = _share(right, wrong), _share(right, missed)
    precision_alone, recall_alone = _share(alone, missed), _share(alone, wrong)
    equal = sum(true == found.get(name, set()) for name, true in labelled.items())
    return Scores(
        precision,
        recall,
        (precision + precision_alone) / 2,
        (_f1(precision, recall) + _f1(precision_alone, recall_alone)) / 2,
        equal / max(1, len(labelled)),
    )


def _share(part: int, other: int) -> float:
    return part / (part + other) if part + other else 0.0


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def adjusted_rand_index(left: Sequence[Hashable], right: Sequence[Hashable]) -> float:
    """Hubert and Arabie's: 1 for equal clusterings, 0 on average for chance ones."""

    def pairs(counts: Counter[Any]) -> int:
        return sum(count * (count - 1) // 2 for count in counts.values())

    both = pairs(Counter(zip(left, right, strict=True)))
    one, other = pairs(Counter(left)), pairs(Counter(right))
    every = len(left) * (len(left) - 1) // 2
    by_chance = one * other / every if every else 0.0
    most = (one + other) / 2
    return (both - by_chance) / (most - by_chance) if most != by_chance else 1.0


def news_text(article: str) -> str:
    """The article as NEWS-COPY's benchmark cleans it: hyphens joined, marks and non-ASCII gone."""
    joined = _BROKEN_WORD.sub("", article).replace("\n", " ")
    return joined.translate(_NEWS_MARKS).encode("ascii", "ignore").decode()


def variants() -> list[tuple[Verify, float]]:
    """How candidates are confirmed, and at which similarity."""
    verified: list[tuple[Verify, float]] = [("text", similarity) for similarity in SIMILARITIES]
    return [*verified, ("none", 0.0)]


def core_table(documents: list[dict[str, Any]]) -> Table:
    """CORE's figures, a row for every way of confirming."""
    names = [str(row["core_id"]) for row in documents]
    labelled = {
        name: {str(one) for one in row["labelled_duplicates"] or ()}
        for name, row in zip(names, documents, strict=True)
    }
    texts = [f"{row['processed_title']} {row['processed_abstract']}".lower() for row in documents]
    title = f"CORE, {len(names):,} documents; text-dedup's MinHash: P .9587, R .9416, .9518, .9277"
    columns = ("verify", "P(dup)", "R(dup)", "mean precision", "macro F1", "accuracy", "s")
    table = Table(*columns, title=title, title_justify="left")
    for verify, similarity in variants():
        started = time.perf_counter()
        of = clusters(texts, CORE_BANDING, verify, similarity)
        spent = time.perf_counter() - started
        scores = core_scores(labelled, duplicates_found(names, of))
        label = "none" if verify == "none" else f"J >= {similarity}"
        table.add_row(label, *(f"{score:.4f}" for score in scores), f"{spent:.1f}")
    return table


def news_table(documents: list[dict[str, Any]]) -> Table:
    """NEWS-COPY's figure, a row for every way of confirming."""
    texts = [news_text(row["article"]) for row in documents]
    labels = [row["cluster"] for row in documents]
    title = f"NEWS-COPY, {len(texts):,} articles; text-dedup's MinHash: .7293"
    table = Table("verify", "ARI", "s", title=title, title_justify="left")
    for verify, similarity in variants():
        started = time.perf_counter()
        of = clusters(texts, NEWS_BANDING, verify, similarity)
        spent = time.perf_counter() - started
        label = "none" if verify == "none" else f"J >= {similarity}"
        table.add_row(label, f"{adjusted_rand_index(labels, of):.4f}", f"{spent:.1f}")
    return table


def report(console: Console, core: Path | None, news_copy: Path | None) -> None:
    """Print a table for each set that is there, and a line for each that is not."""
    for name, option, path, table in (
        ("CORE", "--core FILE", core, core_table),
        ("NEWS-COPY", "--news-copy FOLDER", news_copy, news_table),
    ):
        documents = rows(path) if path and path.exists() else []
        if documents:
            console.print(table(documents))
        else:
            where = f"nothing in {path}" if path else f"not measured; give it by {option}"
            console.print(f"{name}: {where} (see benchmarks/neardup_labelled.py)")
