"""Dolma's answers for the agreement: what its Gopher and C4 taggers say of each text.

Runs under Dolma's own interpreter; agreement.py starts it.
"""

import argparse
import gzip
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from dolma.core.data_types import Document
from dolma.taggers.c4 import C4Tagger, FasterC4Tagger
from dolma.taggers.gopher import GopherTagger, GopherTaggerV2

TAGGERS = {
    "gopher_v1": GopherTagger(),
    "gopher_v2": GopherTaggerV2(),
    "c4_v1": C4Tagger(),
    "c4_v2": FasterC4Tagger(),
}
# What a text without the like has: the taggers say nothing of these.
WITHOUT: dict[str, dict[str, float]] = {
    name: {f"fraction_of_characters_in_most_common_{n}grams": math.nan for n in range(2, 5)}
    | {f"fraction_of_characters_in_duplicate_{n}grams": math.nan for n in range(5, 11)}
    for name in ("gopher_v1", "gopher_v2")
}
for c4 in ("c4_v1", "c4_v2"):
    kinds = "naughty_word", "javascript", "lorem_ipsum", "curly_brace"
    WITHOUT[c4] = {f"has_{kind}": 0.0 for kind in kinds}
    WITHOUT[c4] |= {"lines_with_no_ending_punctuation": 0.0, "lines_with_too_few_words": 0.0}

# What configs/dolma-v1_5/mixing/cc-head.yaml drops beyond, with the names that the tagger writes.
BOUNDS: dict[str, tuple[float, float]] = {
    "word_count": (50, 100_000),
    "median_word_length": (3, 10),
    "symbol_to_word_ratio": (-math.inf, 0.1),
    "fraction_of_words_with_alpha_character": (0.8, math.inf),
    "required_word_count": (2, math.inf),
    "fraction_of_lines_starting_with_bullet_point": (-math.inf, 0.9),
    "fraction_of_lines_ending_with_ellipsis": (-math.inf, 0.3),
    "fraction_of_duplicate_lines": (-math.inf, 0.3),
    "fraction_of_characters_in_duplicate_lines": (-math.inf, 0.3),
    "fraction_of_characters_in_most_common_2grams": (-math.inf, 0.2),
    "fraction_of_characters_in_most_common_3grams": (-math.inf, 0.18),
    "fraction_of_characters_in_most_common_4grams": (-math.inf, 0.16),
    "fraction_of_characters_in_duplicate_5grams": (-math.inf, 0.15),
    "fraction_of_characters_in_duplicate_6grams": (-math.inf, 0.14),
    "fraction_of_characters_in_duplicate_7grams": (-math.inf, 0.13),
    "fraction_of_characters_in_duplicate_8grams": (-math.inf, 0.12),
    "fraction_of_characters_in_duplicate_9grams": (-math.inf, 0.11),
    "fraction_of_characters_in_duplicate_10grams": (-math.inf, 0.10),
}


def without_lines(document: Document) -> str:
    """The digest of the text without the lines that c4_v1 has found, as the mixer removes them.

    (c4_v2 has places of the lower-cased text, which may be longer.)
    """
    spans = TAGGERS["c4_v1"].predict(document).spans
    removed = sorted({(span.start, span.end) for span in spans if span.type.startswith("lines_")})
    kept, at = [], 0
    for start, end in removed:
        kept.append(document.text[at:start])
        at = end
    text = "".join(kept) + document.text[at:]
    return hashlib.sha1(text.encode()).hexdigest()


def answers(document: Document) -> dict[str, Any]:
    """What every tagger says, and whether the mixer keeps the document."""
    found: dict[str, Any] = {}
    for name, tagger in TAGGERS.items():
        spans: dict[str, list[float]] = {}
        for span in tagger.predict(document).spans:
            spans.setdefault(span.type, []).append(span.score)
        # A line has a span of its own, and its score is 1.
        scores = WITHOUT[name] | {kind: float(sum(every)) for kind, every in spans.items()}
        found |= {f"{name}.{kind}": score for kind, score in scores.items()}
        if name.startswith("gopher"):
            beyond = [
                scores[kind] < low or scores[kind] > high for kind, (low, high) in BOUNDS.items()
            ]
            found[f"{name} keeps"] = not any(beyond)
    return found | {"text without lines": without_lines(document)}


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
            row = json.loads(line)
            document = Document(source="agreement", id=row["id"], text=row["text"])
            written.write(json.dumps(answers(document)) + "\n")


if __name__ == "__main__":
    main()
