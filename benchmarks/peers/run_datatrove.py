"""datatrove's side: the FineWeb chain from WARC to deduplicated JSONL, or its filters alone.

Runs under datatrove's own interpreter; bench.py starts it and reads the JSON it writes.
"""

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import datatrove.pipeline.filters.url_filter as url_filter
import datatrove.utils.lid as lid
import tldextract
import trafilatura  # imported here so that the extractor's one-second warm-up is not spent on it
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
    URLFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers.jsonl import JsonlWriter

BUCKETS = 14

# FineWeb allows a page one second. On a busy machine that drops pages that a quiet one keeps, so
# the limit here is one that no page reaches.
EXTRACTION_SECONDS = 60


def without_network(model: Path) -> None:
    """Take the language model from disk and the public suffix list from tldextract's package."""
    lid.cached_asset_path_or_download = lambda *_, **__: str(model)
    tldextract.TLDExtract = partial(tldextract.TLDExtract, suffix_list_urls=(), cache_dir=None)


def chain(warc: Path, model: Path) -> dict[str, Any]:
    """Seconds by stage and documents left, of FineWeb's chain over one WARC file."""
    without_network(model)
    url_filter.URLFilter().download_data()  # unpacks the lists once; later runs find them
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        filtered = executed(
            [
                WarcReader(str(warc.parent), glob_pattern=warc.name),
                URLFilter(),
                Trafilatura(favour_precision=True, timeout=EXTRACTION_SECONDS),
                LanguageFilter(languages=["en"]),
                GopherRepetitionFilter(),
                GopherQualityFilter(),
                C4QualityFilter(filter_no_terminal_punct=False),
                FineWebQualityFilter(),
                JsonlWriter(f"{folder}/filtered"),
            ]
        )
        deduplicated = deduplicate(folder)
    stages = [*filtered, *deduplicated]
    return {
        "wall_seconds": time.perf_counter() - started,
        "seconds": merged(stages),
        "documents": {stage["name"]: stage["documents"] for stage in stages},
        "trafilatura": trafilatura.__version__,
    }


def deduplicate(folder: str) -> list[dict[str, Any]]:
    """The four MinHash steps over the filtered documents, e-mail and IP scrubbing, JSONL."""
    config = MinhashConfig(num_buckets=BUCKETS, hashes_per_bucket=8, n_grams=5)
    steps = (
        (1, [JsonlReader(f"{folder}/filtered"), MinhashDedupSignature(f"{folder}/sig", config)]),
        (BUCKETS, [MinhashDedupBuckets(f"{folder}/sig", f"{folder}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config)]),
        (
            1,
            [
                JsonlReader(f"{folder}/filtered"),
                MinhashDedupFilter(f"{folder}/remove"),
                PIIFormatter(),
                JsonlWriter(f"{folder}/output"),
            ],
        ),
    )
    return [stage for tasks, pipeline in steps for stage in executed(pipeline, tasks)]


def executed(pipeline: list[Any], tasks: int = 1) -> list[dict[str, Any]]:
    """Run a pipeline in this process and tell what each of its stages took and passed on."""
    stats = LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, skip_completed=False).run()
    return [
        {
            "name": stage.name.split(" ", 2)[-1].strip(),
            "seconds": stage.time_stats.total,
            "documents": int(stage.stats["forwarded"].total)
            if "forwarded" in stage.stats
            else None,
        }
        for stage in stats.stats
    ]


def merged(stages: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds by stage name; a reader that runs twice counts twice."""
    seconds: dict[str, float] = {}
    for stage in stages:
        seconds[stage["name"]] = seconds.get(stage["name"], 0.0) + stage["seconds"]
    return seconds


def heuristics(texts: Path) -> dict[str, Any]:
    """Seconds of each heuristic filter alone, over every text."""
    filters = {
        "gopher repetition": GopherRepetitionFilter(),
        "gopher quality": GopherQualityFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": FineWebQualityFilter(),
    }
    for measure in filters.values():
        measure.filter(Document(text="One warm-up sentence, so that tokenizers load.", id="0"))
    seconds = dict.fromkeys(filters, 0.0)
    with texts.open(encoding="utf-8") as lines:
        documents = [Document(text=json.loads(line)["text"], id="0") for line in lines]
    # Document by document as in a chain: datatrove keeps the words of the last few texts, and each
    # filter alone over all texts would cut them again.
    for document in documents:
        for name, measure in filters.items():
            started = time.process_time()
            measure.filter(document)
            seconds[name] += time.process_time() - started
    return {"seconds": seconds}


def main() -> None:
    """Read the arguments, run one side and write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warc", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    figures = heuristics(given.texts) if given.texts else chain(given.warc, given.model)
    given.result.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
