"""datatrove's side of token shards: Parquet in, its DocumentTokenizer's files out.

Runs under datatrove's own interpreter; tokenizer_speed.py starts it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer


def main() -> None:
    """Write token shards, unshuffled, and leave the seconds, imports left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path, help="a tokenizer.json")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = [
            ParquetReader(str(given.texts.parent), glob_pattern=given.texts.name),
            DocumentTokenizer(
                f"{folder}/tokens",
                local_working_dir=f"{folder}/work",
                tokenizer_name_or_path=str(given.tokenizer),
                eos_token="<|endoftext|>",
                shuffle_documents=False,
            ),
        ]
        wall, cpu = time.perf_counter(), time.process_time()
        LocalPipelineExecutor(
            steps, tasks=1, workers=1, skip_completed=False, logging_dir=f"{folder}/logs"
        ).run()
        spent = [time.process_time() - cpu, time.perf_counter() - wall]
    given.result.write_text(json.dumps({"shards": spent}))


if __name__ == "__main__":
    main()
