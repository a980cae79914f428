"""Near-duplicates against brute force, on real documents with edits of known kinds.

    python -m benchmarks.neardup_quality                  # three minutes on a quiet core
    python -m benchmarks.neardup_quality --real 3000 --edits 100 --presets fineweb
    python -m benchmarks.neardup_quality --core FILE --news-copy FOLDER     # labelled sets alone

For J = .7, .8 and .9: of the documents that go, those are right whose true Jaccard similarity (word
5-grams) to the document named in their place is at least J; the others are wrong, and those lost of
which no document that stays is that similar. Missed is who stays although one that is preferred to
it stays and is that similar. Precision: right of all that go; recall: right of right and missed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import neardup_labelled
from benchmarks.neardup_corpus import AS_FOUND, Document, real_texts, with_edits
from benchmarks.neardup_stage import (
    CODES,
    Shards,
    Verdict,
    Verify,
    batches,
    checks,
    preset,
    settings,
    similarity,
    surveyed,
    verdict,
)
from benchmarks.neardup_truth import (
    Pairs,
    Sets,
    curve,
    estimate_deviation,
    jaccards,
    shingle_sets,
    similar_pairs,
)
from curate.column import Hashes, Mask, Numbers, Positions
from curate.dedup.minhash import MinHash
from curate.kernel import helper

NAMES = ("fineweb", "dclm", "refinedweb", "olmo3")
THRESHOLDS = (0.7, 0.8, 0.9)
FLOOR = 0.2  # pairs below it are not looked for
PAIRS = 100_000  # for the error of estimates
STEP = 0.1


class Truth(NamedTuple):
    """Documents, their sets of shingles, who is preferred to whom, and all pairs of the floor."""

    documents: list[Document]
    sets: Sets
    rank: Positions  # 0: the longest; ids decide between equals
    pairs: Pairs
    kinds: list[str]  # of edits
    kind: NDArray[np.int64]  # of each pair


class Counts(NamedTuple):
    """What a decision did at a similarity."""

    right: int
    wrong: int
    lost: int
    missed: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


class Outcome(NamedTuple):
    """A preset, how candidates were confirmed, at which similarity (nan: none), and the verdict."""

    name: str
    verify: Verify
    threshold: float
    verdict: Verdict
    named: Numbers  # the true similarity to the document named, of those that go
    seconds: float


def truth(documents: list[Document]) -> Truth:
    """All that is known of the documents before any stage sees them."""
    sets = shingle_sets([one.text for one in documents])
    order = sorted(
        range(len(documents)), key=lambda i: (-len(documents[i].text.encode()), documents[i].id)
    )
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    pairs = similar_pairs(sets, FLOOR)
    kinds = [kind for kind in dict.fromkeys(one.kind for one in documents) if kind != AS_FOUND]
    kinds.append(AS_FOUND)
    return Truth(documents, sets, rank, pairs, kinds, pair_kinds(documents, kinds, pairs))


def pair_kinds(documents: list[Document], kinds: list[str], pairs: Pairs) -> NDArray[np.int64]:
    """The kind of each pair: the edit where one is a copy of the other, else as found."""
    made = np.array([one.of for one in documents])
    number = np.array([kinds.index(one.kind) for one in documents])
    return np.where(made[pairs.right] == pairs.left, number[pairs.right], kinds.index(AS_FOUND))


def outcomes(
    known: Truth, names: tuple[str, ...], folder: Path
) -> Iterator[tuple[Outcome, Shards]]:
    """Every preset, verified at every threshold and unverified."""
    ids = [one.id for one in known.documents]
    rows = batches(ids, [one.text for one in known.documents])
    numbers, ends = known.sets
    for name in names:
        bands, width = preset(name)
        shards = surveyed(MinHash(**settings(bands, width, "none")), rows, folder / name)
        variants: list[tuple[Verify, float]] = [("text", t) for t in THRESHOLDS]
        for verify, threshold in [*variants, ("none", THRESHOLDS[0])]:
            stage = MinHash(**settings(bands, width, verify, threshold))
            found = verdict(stage, shards, ids)
            gone = np.flatnonzero(found.gone)
            named = jaccards(numbers, ends, gone, found.of[gone])
            seconds = shards.seconds + found.seconds
            least = threshold if verify != "none" else float("nan")
            yield Outcome(name, verify, least, found, named, seconds), shards


def counted(known: Truth, outcome: Outcome, threshold: float) -> Counts:
    """Right, wrong, lost and missed documents at a similarity."""
    pairs, gone = known.pairs, outcome.verdict.gone
    alike = pairs.jaccard >= threshold
    left, right = pairs.left[alike], pairs.right[alike]
    both_stay = ~gone[left] & ~gone[right]
    later = np.where(known.rank[left] > known.rank[right], left, right)
    has_one_left = np.zeros(len(gone), np.bool_)
    has_one_left[left[~gone[right]]] = True
    has_one_left[right[~gone[left]]] = True
    is_right = outcome.named >= threshold
    return Counts(
        int(is_right.sum()),
        int((~is_right).sum()),
        int((~has_one_left[np.flatnonzero(gone)]).sum()),
        len(np.unique(later[both_stay])),
    )


def summary(known: Truth, found: list[Outcome]) -> Table:
    """The first table: a row for every preset, way of confirming and similarity."""
    title = "The whole pipeline: survey and decision. S-curve: pairs that share a band, by theory"
    table = Table("preset", "verify", "J", title=title, title_justify="left")
    columns = ("go", "right", "wrong", "lost", "missed", "precision", "recall", "CPU s")
    for column in (*columns[:-1], "pairs\nsettled", "S-curve", columns[-1]):
        table.add_column(column, justify="right")
    for one in found:
        for threshold in THRESHOLDS if np.isnan(one.threshold) else [one.threshold]:
            counts, pairs = counted(known, one, threshold), known.pairs
            alike = pairs.jaccard >= threshold
            gone = one.verdict.gone
            settled = (gone[pairs.left] | gone[pairs.right])[alike].mean()
            expected = curve(pairs.jaccard[alike], *preset(one.name)).mean()
            cells = [f"{number:,}" for number in (int(gone.sum()), *counts)]
            shares = (counts.precision, counts.recall, settled, expected)
            cells += [f"{share:.2%}" for share in shares]
            table.add_row(*(one.name, one.verify, f"{threshold:.1f}", *cells, f"{one.seconds:.1f}"))
        table.add_section()
    return table


Share = Callable[[Outcome, int, float], tuple[int, int]]  # of a kind at a J: counted, of how many


def settled_pairs(known: Truth) -> Share:
    """Pairs of which at least one goes."""

    def share(one: Outcome, kind: int, threshold: float) -> tuple[int, int]:
        mine = (known.pairs.jaccard >= threshold) & (known.kind == kind)
        gone = one.verdict.gone
        settled = gone[known.pairs.left[mine]] | gone[known.pairs.right[mine]]
        return int(settled.sum()), len(settled)

    return share


def right_ones(known: Truth) -> Share:
    """Documents that go, as similar as asked to the one named; the edited one is the kind."""
    number = np.array([known.kinds.index(one.kind) for one in known.documents])
    as_found = known.kinds.index(AS_FOUND)

    def share(one: Outcome, kind: int, threshold: float) -> tuple[int, int]:
        gone = np.flatnonzero(one.verdict.gone)
        own, other = number[gone], number[one.verdict.of[gone]]
        mine = np.where(own != as_found, own, other) == kind
        return int((one.named[mine] >= threshold).sum()), int(mine.sum())

    return share


def by_kind(known: Truth, found: list[Outcome], title: str, share: Share) -> Table:
    """A row for every kind of edit and similarity, a column for every preset and way."""
    table = Table("edit", "J", "pairs", title=title, title_justify="left")
    ways = sorted(
        dict.fromkeys((one.name, one.verify == "none") for one in found), key=itemgetter(1)
    )
    for name, alone in ways:
        table.add_column(f"{name}\n{'unverified' if alone else 'verified'}", justify="right")
    for kind, kind_name in enumerate(known.kinds):
        for threshold in THRESHOLDS:
            pairs = int(((known.pairs.jaccard >= threshold) & (known.kind == kind)).sum())
            answers = (answering(found, name, alone, threshold) for name, alone in ways)
            shares = [share(one, kind, threshold) for one in answers]
            cells = [f"{part / whole:.1%}" if whole else "" for part, whole in shares]
            label = kind_name if threshold == THRESHOLDS[0] else ""
            table.add_row(label, f"{threshold:.1f}", f"{pairs:,}", *cells)
        table.add_section()
    return table


def answering(found: list[Outcome], name: str, alone: bool, threshold: float) -> Outcome:
    """The outcome of a preset that is verified at this similarity, or not at all."""
    mine = [one for one in found if one.name == name and (one.verify == "none") == alone]
    return next(one for one in mine if alone or one.threshold == threshold)


@helper
def estimates(checks: Hashes, left: Positions, right: Positions) -> Numbers:
    """The similarity of each pair, estimated from their checks."""
    out = np.zeros(len(left))
    for i in range(len(left)):
        out[i] = similarity(checks, left[i], right[i])
    return out


def spread_pairs(known: Truth, signed: Mask, wanted: int) -> Pairs:
    """Pairs that have checks, evenly over all similarities; pairs by chance where they are few."""
    pairs, draw = known.pairs, np.random.default_rng(1)
    step = np.floor(pairs.jaccard / STEP)
    found = [
        draw.permutation(np.flatnonzero(step == one))[: wanted // int(1 / STEP)]
        for one in range(int(1 / STEP) + 1)
    ]
    chosen = np.concatenate(found)
    chosen = chosen[signed[pairs.left[chosen]] & signed[pairs.right[chosen]]]
    more = draw.choice(np.flatnonzero(signed), (2 * wanted, 2))
    more = more[more[:, 0] != more[:, 1]][: max(0, wanted - len(chosen))]
    left = np.append(pairs.left[chosen], more[:, 0])
    right = np.append(pairs.right[chosen], more[:, 1])
    return Pairs(left, right, jaccards(known.sets.numbers, known.sets.ends, left, right))


def errors(known: Truth, shards: Shards) -> Table:
    """The last table: estimates of similarity against the true one, and the error in theory."""
    rows, signed = checks(shards)
    pairs, sizes = spread_pairs(known, signed, PAIRS), known.sets.sizes()
    both = (sizes[pairs.left], sizes[pairs.right])
    theory = estimate_deviation(pairs.jaccard, *both, rows.shape[1] * 16, CODES)
    error = estimates(rows, pairs.left, pairs.right) - pairs.jaccard
    title = (
        f"Estimated against true similarity over {len(error):,} pairs of real documents "
        "(pairs of a document share errors)"
    )
    table = Table("J", title=title, title_justify="left")
    for column in ("pairs", "mean error", "deviation", "in theory", "beyond 4 of those"):
        table.add_column(column, justify="right")
    for low in np.arange(0, 1, STEP):
        inside = (pairs.jaccard >= low) & (pairs.jaccard < low + STEP)
        if inside.any():
            mine, expected = error[inside], theory[inside]
            table.add_row(
                *(f"{low:.1f} to {low + STEP:.1f}", f"{len(mine):,}", f"{mine.mean():+.4f}"),
                *(f"{np.sqrt((one**2).mean()):.4f}" for one in (mine, expected)),
                f"{(abs(mine) > 4 * expected).mean():.3%}",
            )
    return table


def corpus(console: Console, real: int, of_a_kind: int) -> Truth:
    """The documents and the truth about them; says where they come from."""
    texts, provenance = real_texts(real)
    table = Table("documents", "MB", "from", title="Real documents", title_justify="left")
    for row in provenance.to_pylist():
        count, size = row["bytes_count"], row["bytes_sum"]
        table.add_row(f"{count:,}", f"{size / 1e6:.1f}", row["source"])
    console.print(table)
    started = time.perf_counter()
    known = truth(with_edits(texts, of_a_kind))
    console.print(
        f"{len(texts):,} real documents and {len(known.documents) - len(texts):,} edited copies, "
        f"{sum(known.sets.sizes()):,} shingles; {len(known.pairs.left):,} pairs of Jaccard "
        f"{FLOOR} or more, found exactly in {time.perf_counter() - started:.0f} s"
    )
    return known


def arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=int, default=0, help="real documents; 0: all 24,000")
    parser.add_argument("--edits", type=int, default=1000, help="edited copies of each kind")
    parser.add_argument("--presets", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--core", type=Path, help="CORE's documents: JSONL or Parquet")
    parser.add_argument("--news-copy", type=Path, help="NEWS-COPY's articles: JSONL or Parquet")
    return parser.parse_args()


def main() -> None:
    """Print all tables."""
    given, console = arguments(), Console(width=150)
    if given.core or given.news_copy:
        neardup_labelled.report(console, given.core, given.news_copy)
        return
    started = time.perf_counter()
    known = corpus(console, given.real, given.edits)
    with tempfile.TemporaryDirectory() as folder:
        results = list(outcomes(known, tuple(given.presets), Path(folder)))
        found, shards = [outcome for outcome, _ in results], results[-1][1]
        console.print("Verified by text.")
        console.print(summary(known, found))
        title = "Recall by kind of edit: of the pairs of at least J, those of which one goes"
        console.print(by_kind(known, found, title, settled_pairs(known)))
        title = "Precision by kind of edit: of the documents that go, those that are right"
        console.print(by_kind(known, found, title, right_ones(known)))
        console.print(errors(known, shards))
    neardup_labelled.report(console, None, None)
    console.print(f"In all {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
