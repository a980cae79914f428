"""Perplexity of texts: ours beside KenLM's binding alone and CCNet's arithmetic in Python.

Example: python -m benchmarks.lm_speed corpus.txt --model model.arpa --sentencepiece pieces.model
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import sentencepiece
from rich.console import Console
from rich.table import Table

from curate.lm.normalize import ccnet, normalized
from curate.schema import TEXT
from filters.perplexity import PERPLEXITY, Perplexity, loaded

PAGE_LINES = 50


def seconds(function: Callable[[], object]) -> float:
    """The faster of two runs after one to warm up, in seconds of this process's time."""
    function()
    best = float("inf")
    for _ in range(2):
        started = time.process_time()
        function()
        best = min(best, time.process_time() - started)
    return best


def in_python(model: kenlm.Model, pages: list[str], cut: Callable[[str], str]) -> list[float]:
    """As CCNet scores documents: one after another, each a line."""
    found = []
    for page in pages:
        line = cut(page)
        found.append(10 ** (-model.score(line) / (len(line.split()) + 1)))
    return found


def staged(stage: Perplexity, pages: list[str]) -> Callable[[], list[float]]:
    """Ours, with the model loaded."""
    batch = pa.record_batch({TEXT: pages})
    opened = stage.open()
    score = opened.__enter__()
    return lambda: score(batch).column(PERPLEXITY).to_pylist()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sentencepiece", required=True)
    arguments = parser.parse_args()
    lines = arguments.text.read_text(encoding="utf-8", errors="replace").replace("\0", " ")
    rows = lines.split("\n")
    pages = ["\n".join(rows[i : i + PAGE_LINES]) for i in range(0, len(rows), PAGE_LINES)]
    size = sum(len(page.encode()) for page in pages) / 1e6
    model = loaded(Path(arguments.model))
    pieces = sentencepiece.SentencePieceProcessor(model_file=arguments.sentencepiece)

    def piecewise(page: str) -> str:
        return " ".join(pieces.encode_as_pieces(ccnet(page)))

    name, spm = arguments.model, arguments.sentencepiece
    ways: dict[str, tuple[Perplexity, Callable[[str], str]]] = {
        "words": (Perplexity(name), lambda page: page.replace("\n", " ")),
        "words, CCNet's normalisation": (Perplexity(name, normalize="ccnet"), ccnet),
        "pieces, CCNet's normalisation": (Perplexity(name, spm, "ccnet"), piecewise),
    }
    table = Table("scored", "in Python, MB/s", "ours, MB/s", "largest difference", box=None)
    for way, (stage, cut) in ways.items():
        own = staged(stage, pages)
        expected = in_python(model, pages, cut)
        apart = float(np.nanmax(np.abs(np.array(own()) / np.array(expected) - 1)))
        plain = seconds(lambda cut=cut: in_python(model, pages, cut))  # type: ignore[misc]  # bound at once
        speeds = (f"{size / plain:.1f}", f"{size / seconds(own):.1f}")
        table.add_row(way, *speeds, f"{apart:.1e}")
    console = Console(width=120)
    console.print(table)
    column = pa.array(pages)
    console.print(
        f"normalisation alone: {size / seconds(lambda: normalized(column, 'ccnet')):.0f} MB/s"
    )
    words = " ".join(pages).replace("\n", " ")
    for times in (1, 4):
        whole = staged(Perplexity(name, normalize="ccnet"), [words * times])
        console.print(
            f"one document of {size * times:.0f} MB: {size * times / seconds(whole):.1f} MB/s"
        )
    console.print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
