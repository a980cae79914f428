"""NeMo Curator's side: the filters of its own English configuration over the texts.

Runs under NeMo Curator's own interpreter; bench.py starts it and reads the JSON it writes.
"""

import argparse
import importlib
import json
import time
from pathlib import Path
from typing import Any

import nemo_curator
import pandas as pd
import yaml
from nemo_curator.stages.text.filters import ScoreFilter
from nemo_curator.tasks import DocumentBatch

CONFIG = Path(nemo_curator.__file__).parent / "config/text/heuristic_filter_english_pipeline.yaml"


def english_filters() -> dict[str, Any]:
    """The filters that its English configuration names, by name, ready to use."""
    filters = {}
    for stage in yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["stages"]:
        if "filter_obj" not in stage:
            continue
        settings = dict(stage["filter_obj"])
        module, _, name = settings.pop("_target_").rpartition(".")
        label = " ".join([name, *(f"{key}={settings[key]}" for key in settings if key == "n")])
        filters[label] = getattr(importlib.import_module(module), name)(**settings)
    return filters


def main() -> None:
    """Time each filter over every text and write its seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    with given.texts.open(encoding="utf-8") as lines:
        texts = pd.DataFrame({"text": [json.loads(line)["text"] for line in lines]})
    seconds = {}
    for name, measure in english_filters().items():
        # Each filter sees every text: a chain that drops would do less work than ours.
        batch = DocumentBatch(dataset_name="bench", data=texts.copy())
        stage = ScoreFilter(filter_obj=measure, text_field="text")
        started = time.process_time()
        stage.process(batch)
        seconds[name] = time.process_time() - started
    given.result.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    main()
