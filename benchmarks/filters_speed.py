"""Speed of every signal, of the index and of the whole set, in MB of text a second on one core.

    python -m benchmarks.filters_speed PAGES.jsonl[.gz] [--field text] [--families all] [--signals]

takes the texts of real pages from a JSONL file. A family is a rule set: one file of filters/. Times
are CPU seconds, the best of several rounds, for other work on the machine only ever adds. Each
process reports how long loading took, too.
"""

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTED = time.process_time()

import pyarrow as pa  # noqa: E402  # the clock starts before the imports that it measures

import filters  # noqa: E402  # as above
from curate.column import view  # noqa: E402  # as above
from curate.filter import Filter  # noqa: E402  # as above
from curate.index import index  # noqa: E402  # as above
from curate.kernel import each  # noqa: E402  # as above
from curate.schema import LANGUAGE, TEXT  # noqa: E402  # as above
from curate.signal import Signal, catalogue  # noqa: E402  # as above
from curate.words import Words  # noqa: E402  # as above
from filters.c4 import Lines  # noqa: E402  # as above

FAMILIES = ("gopher", "repetition", "c4", "fineweb")
# Rule sets of more than one file; each family that is not named here is one of its own.
SETS = {
    "Gopher, C4 and FineWeb": FAMILIES,
    "RedPajama-v2": ("redpajama", "redpajama_lines"),
    "Dolma": ("dolma", "dolma_c4"),
    "NeMo Curator": ("nemo", "nemo_code", "nemo_repetition"),
}
IMPORTED = time.process_time()


def texts(path: Path, field: str) -> list[str]:
    """The texts of a JSONL file; rows without one, or whose `kind` is not text, are left out."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    found = [row.get(field) for row in rows if row.get("kind", "text") in ("text", "p-html")]
    return [text for text in found if isinstance(text, str)]


def chosen(families: list[str]) -> tuple[Signal, ...]:
    """The signals over texts of these rule sets, or of all."""
    every = (one for one in catalogue(filters) if one.column == TEXT)
    return tuple(
        one for one in every if "all" in families or one.name.partition(".")[0] in families
    )


def best(work: Callable[[], Any], rounds: int) -> float:
    """The fewest CPU seconds of several rounds."""
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--field", default="text")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--families", nargs="*", default=FAMILIES, help="rule sets; `all`: each")
    parser.add_argument("--signals", action="store_true", help="each signal of its own, too")
    given = parser.parse_args()
    if not given.pages.exists():
        sys.exit(f"{given.pages} is not here: name a JSONL file with texts of real pages")

    signals = chosen(given.families)
    families = [*dict.fromkeys(one.name.partition(".")[0] for one in signals)]
    stage, lines = Filter(signals), Lines()
    found = texts(given.pages, given.field)
    if not found:
        sys.exit(f"{given.pages}: no texts in the field {given.field!r}; name another with --field")
    batch = pa.RecordBatch.from_pydict(
        {TEXT: pa.array(found, pa.string()), LANGUAGE: pa.array(["en"] * len(found), pa.string())}
    )
    loading = time.process_time()
    lines(stage(batch.slice(0, 0)))
    loaded = time.process_time() - loading

    column = view(batch.column(TEXT))
    size = len(column.data) / 1e6
    cut = index(column)
    print(f"{len(found)} texts, {size:.1f} MB; imports {IMPORTED - STARTED:.2f} s CPU, ", end="")
    print(f"kernels of {len(signals)} signals and of C4's lines {loaded:.2f} s CPU\n")

    def row(name: str, work: Callable[[], Any]) -> None:
        print(f"{name:45}{size / best(work, given.rounds):10.0f} MB/s")

    row("index (words, lines, paragraphs, repeats)", lambda: index(column))
    for one in (one for one in signals if given.signals and one.is_kernel):
        own = cut if one.words == Words() else one.words.cut(batch, TEXT)
        row(one.name, lambda measure=one.measure, own=own: each(measure, own))
    row("c4.Lines (rewrites the text)", lambda: lines(batch))
    for family in families:
        own = Filter(tuple(one for one in signals if one.name.startswith(f"{family}.")))
        row(f"Filter with {family}, {len(own.signals)} signals", lambda own=own: own(batch))
    for name, members in SETS.items():
        own = Filter(tuple(one for one in signals if one.name.partition(".")[0] in members))
        if own.signals:
            row(f"{name}, {len(own.signals)} signals", lambda own=own: own(batch))
    row(f"Filter with all {len(signals)} signals", lambda: stage(batch))
    row("the same, then c4.Lines", lambda: lines(stage(batch)))


if __name__ == "__main__":
    main()
