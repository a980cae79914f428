"""NeMo Curator's answers for the agreement: what its English configuration says of each text.

And what those of its other heuristic filters say that need nothing but the text. Runs under NeMo
Curator's own interpreter; agreement.py starts it.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from run_nemo import english_filters

# The filters of code are in one file with others that parse; what these import is not installed.
for name in ("sentencepiece", "bs4", "comment_parser"):
    sys.modules[name] = ModuleType(name)
sys.modules["bs4"].BeautifulSoup = None
sys.modules["comment_parser"].comment_parser = None

from nemo_curator.stages.text.filters.heuristic.code.code import (  # noqa: E402  # as above
    AlphaFilter,
    NumberOfLinesOfCodeFilter,
    XMLHeaderFilter,
)
from nemo_curator.stages.text.filters.heuristic.repetition import (  # noqa: E402  # as above
    repetition,
)
from nemo_curator.stages.text.filters.heuristic.string import (  # noqa: E402  # as above
    PornographicUrlsFilter,
)

ENGLISH = english_filters()
# These also with a set that keeps its order, so that of equally frequent n-grams the first is
# taken; with Python's own, the score changes with the seed of its hashes.
TOP = [name for name in ENGLISH if name.startswith("RepeatingTopNGramsFilter")]
FIRST = " (first of ties)"
OTHERS = {
    one.__class__.__name__: one
    for one in (
        PornographicUrlsFilter(),
        NumberOfLinesOfCodeFilter(),
        XMLHeaderFilter(),
        AlphaFilter(),
    )
}


def scores(text: str) -> dict[str, Any]:
    """The score of every filter, or its error."""
    found: dict[str, Any] = {}
    for name, one in (ENGLISH | OTHERS).items():
        try:
            found[name] = float(one.score_document(text))
        except (ValueError, ZeroDivisionError) as error:
            found[name] = {"error": type(error).__name__}
    repetition.set = dict.fromkeys
    for name in TOP:
        found[name + FIRST] = float(ENGLISH[name].score_document(text))
    del repetition.set
    return found


def verdict(found: dict[str, Any], suffix: str) -> Any:
    """Whether the configuration keeps the text, or the error of one of its filters."""
    answers = {name: found[name + suffix * (name in TOP)] for name in ENGLISH}
    for answer in answers.values():
        if isinstance(answer, dict):
            return answer
    return all(bool(ENGLISH[name].keep_document(answer)) for name, answer in answers.items())


def answers(text: str) -> dict[str, Any]:
    """All scores and both verdicts."""
    found = scores(text)
    return found | {"keeps": verdict(found, ""), "keeps" + FIRST: verdict(found, FIRST)}


def main() -> None:
    """Write the answers, a line a document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    with (
        gzip.open(given.texts, "rt", encoding="utf-8") as lines,
        gzip.open(given.result, "wt", encoding="utf-8", compresslevel=3) as written,
    ):
        for line in lines:
            written.write(json.dumps(answers(json.loads(line)["text"])) + "\n")


if __name__ == "__main__":
    main()
