"""datatrove's side of near-duplicates: its four MinHash steps, or its signatures alone.

Runs under datatrove's own interpreter; neardup_speed.py and minhash_speed.py start it.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter

BUCKETS = 14
CONFIG = MinhashConfig(num_buckets=BUCKETS, hashes_per_bucket=8, n_grams=5)


def run(pipeline: list[Any], tasks: int = 1) -> Any:
    """Run a pipeline in this process and return its statistics."""
    return LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, skip_completed=False).run()


def deduplicate(texts: Path) -> dict[str, Any]:
    """Text in, kept text out, as plain JSONL, which costs less than its default gzip."""
    reader = (str(texts.parent), None)
    with tempfile.TemporaryDirectory() as folder:
        signatures, buckets, remove = (f"{folder}/{name}" for name in ("sig", "buckets", "remove"))
        run(
            [
                JsonlReader(*reader, glob_pattern=texts.name),
                MinhashDedupSignature(signatures, CONFIG),
            ]
        )
        run([MinhashDedupBuckets(signatures, buckets, config=CONFIG)], BUCKETS)
        run([MinhashDedupCluster(buckets, remove, CONFIG)])
        stats = run(
            [
                JsonlReader(*reader, glob_pattern=texts.name),
                MinhashDedupFilter(remove),
                JsonlWriter(f"{folder}/output", compression=None),
            ]
        )
    return {"kept": int(stats.stats[-1].stats["total"].total)}


def signatures(texts: Path) -> dict[str, Any]:
    """CPU seconds from text to signature, nothing read or written."""
    stage = MinhashDedupSignature(tempfile.gettempdir(), CONFIG)
    with texts.open(encoding="utf-8") as lines:
        documents = [json.loads(line)["text"] for line in lines]
    stage.get_signature(stage.get_shingles("One text of six words loads the tokenizer."))
    started = time.process_time()
    for document in documents:
        shingles = stage.get_shingles(document)
        if shingles.size:
            stage.get_signature(shingles)
    return {"seconds": time.process_time() - started}


def main() -> None:
    """Read the arguments, do what they ask and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("deduplicate", "signatures"))
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.chdir(tempfile.mkdtemp())  # it leaves its logs where it runs
    figures = (deduplicate if given.what == "deduplicate" else signatures)(given.texts)
    given.result.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
