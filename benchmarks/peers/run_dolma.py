"""Dolma's side: its Gopher and C4 taggers over the texts.

Runs under Dolma's own interpreter; bench.py starts it and reads the JSON it writes.
"""

import argparse
import json
import time
from pathlib import Path

from dolma.core.data_types import Document
from dolma.taggers.c4 import C4Tagger
from dolma.taggers.gopher import GopherTagger


def main() -> None:
    """Time each tagger over every text and write its seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    with given.texts.open(encoding="utf-8") as lines:
        documents = [
            Document(source="bench", id=str(row), text=json.loads(line)["text"])
            for row, line in enumerate(lines)
        ]
    seconds = {}
    for name, tagger in (("gopher_v1", GopherTagger()), ("c4_v1", C4Tagger())):
        started = time.process_time()
        for document in documents:
            tagger.predict(document)
        seconds[name] = time.process_time() - started
    given.result.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    main()
