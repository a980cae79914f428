"""Our answers of a fastText model beside the library's: the same texts, in one run, on one core.

    taskset -c 0 python -m benchmarks.fasttext_speed MODEL TEXTS.jsonl [--field text]

MODEL is a name that `curate models list` shows, or a `.bin` or `.ftz` file. Texts of real pages are
taken as they are, then line by line. Ours starts with nothing remembered (cold), then goes through
the same texts again (warm). Times are CPU seconds, the least of several rounds that take turns with
the library's; labels and scores of both are compared on every text.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa

from benchmarks.filters_speed import texts as read_texts
from curate import models
from curate.column import view
from filters.fasttext_model import FastText, new_cache

BATCH = 1024
SHORT = 200  # bytes
LABEL = "__label__"
NEAR = 1e-4


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and the answer."""
    started = time.process_time()
    answer = work()
    return time.process_time() - started, answer


def ours(model: FastText, column: pa.Array) -> tuple[list[str], list[float]]:
    """The first label and its score of every text, batch by batch."""
    labels, scores = [], []
    for start in range(0, len(column), BATCH):
        found, certain = model.best(view(column.slice(start, BATCH)))
        labels += [model.labels[label] for label in found[:, 0].tolist()]
        scores += certain[:, 0].tolist()
    return labels, scores


def theirs(library: Any, lines: list[str]) -> tuple[list[str], list[float]]:
    """The same from the library, which takes text without newlines."""
    answers = [library.predict(line) for line in lines]
    return [labels[0].removeprefix(LABEL) for labels, _ in answers], [
        float(scores[0]) for _, scores in answers
    ]


def compare(name: str, path: Path, found: list[str], rounds: int) -> None:
    """Print one line of the table."""
    size = sum(len(text.encode()) for text in found) / 1e6
    column, lines = pa.array(found), [text.replace("\n", " ") for text in found]
    model, library = FastText.load(path), fasttext.load_model(str(path))
    ours(model, column[:1])  # loads the kernels
    seconds: dict[str, list[float]] = {"cold": [], "warm": [], "library": []}
    for _ in range(rounds):
        fresh = replace(model, cache=new_cache(model.output.shape[1]))
        for state in ("cold", "warm"):
            took, mine = spent(lambda fresh=fresh: ours(fresh, column))
            seconds[state].append(took)
        took, other = spent(lambda: theirs(library, lines))
        seconds["library"].append(took)
    cold, warm, slow = (min(seconds[state]) for state in ("cold", "warm", "library"))
    off = np.abs(np.array(mine[1]) - np.minimum(other[1], 1.0))
    unlike = sum(a != b for a, b in zip(mine[0], other[0], strict=True))
    print(
        f"{name:12}{len(found):8,} texts {size:6.1f} MB{size / cold:9.1f}{size / warm:9.1f}"
        f"{size / slow:9.2f} MB/s{slow / cold:8.1f}{slow / warm:8.1f} times; "
        f"{unlike} other labels, {(off > NEAR).sum()} scores off by more than {NEAR} "
        f"(at most {off.max():.1e})"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--field", default="text")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    path = models.model_path(given.model)
    pages = [text for text in read_texts(given.texts, given.field) if text.strip(" \t\n\v\f\r\0")]
    lines = [line for page in pages for line in page.splitlines() if len(line.split()) > 1]
    short = [line for line in lines if len(line.encode()) <= SHORT]
    print(f"{'':34}{'cold':>9}{'warm':>9}{'library':>9}")
    compare("pages", path, pages, given.rounds)
    compare("short lines", path, short, given.rounds)


if __name__ == "__main__":
    main()
