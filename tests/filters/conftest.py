"""Real pages for the filters."""

import gzip
import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pages(shared: Path) -> list[str]:
    """The main text of real pages in several languages."""
    with gzip.open(shared / "crawl" / "realweb-gold.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line).get("gold") for line in lines]
    texts = [text for text in found if isinstance(text, str)]
    return texts[:: len(texts) // 60]
