"""A classifier's card, as JSON for programs and as a page for people.

It has no date, so that the same documents and settings give the same bytes.
"""

import json
from typing import Any

from filters.classifier_figures import warnings


def as_text(card: dict[str, Any]) -> str:
    """The card as JSON."""
    return json.dumps(card, indent=1, sort_keys=True, allow_nan=False) + "\n"


def as_markdown(card: dict[str, Any]) -> str:
    """The card as a page."""
    model, split, library = card["model"], card["split"], card["trained_by"]
    settings = card["settings"]
    lines = [
        f"# Classifier: {card['label']}",
        "",
        f"A linear fastText model: the probability that a text is `{card['label']}`.",
        *([f"After {settings['source']}.", ""] if settings["source"] else [""]),
        f"- file: `{model['file']}`, {model['size']:,} bytes, SHA-256 `{model['sha256']}`",
        f"- trained by {library['library']} {library['version']}, one thread, so that the same "
        "documents and settings give the same bytes",
        "- texts: every line end a space" + (", small letters" if settings["lower"] else ""),
        "- settings: " + ", ".join(f"{key} {value}" for key, value in settings.items() if value),
        "",
        "## Data",
        "",
        *_table(
            ("file", "bytes", "documents", "SHA-256"),
            [
                (one["file"], f"{one['bytes']:,}", _counts(one["labels"]), f"`{one['sha256']}`")
                for one in card["data"]
            ],
        ),
        "",
        f"Held out: {split['held_out']:g} of the documents, by {split['by']}. "
        f"{split['repeated']:,} repeated documents were left out.",
        "",
        *_table(
            ("side", "documents"),
            [(side, _counts(counts)) for side, counts in split["documents"].items()],
        ),
        "",
        "## Figures on the documents held out",
        "",
        *figures_page(card["figures"]),
    ]
    return "\n".join(lines) + "\n"


def figures_page(found: dict[str, Any]) -> list[str]:
    """The figures as lines of Markdown."""
    half, calibration = found["at_half"], found["calibration"]
    return [
        *(line for said in warnings(found) for line in (f"**Warning.** {said}", "")),
        f"{found['documents']:,} documents, {found['of_the_label']:,} of the label, "
        f"{found['without_words']:,} without words (counted as 0).",
        "",
        *_table(
            ("AUC", "precision", "recall", "F1", "accuracy", "calibration error"),
            [
                tuple(
                    _number(value)
                    for value in (
                        found["auc"],
                        *(half[name] for name in ("precision", "recall", "f1", "accuracy")),
                        calibration["expected_error"],
                    )
                )
            ],
        ),
        "",
        "Precision to accuracy are those of keeping .5 and more. To keep a share:",
        "",
        *_table(
            ("share", "score from", "precision", "recall", "score from, others alone"),
            [
                (
                    f"{row['share']:g}",
                    *(_number(row.get(name)) for name in ("low", "precision", "recall")),
                    _number(row.get("low_of_others")),
                )
                for row in found["thresholds"]
            ],
        ),
        "",
        "How true the probabilities are:",
        "",
        *_table(
            ("score from", "documents", "mean score", "share of the label"),
            [
                (
                    f"{row['from']:g}",
                    f"{row['documents']:,}",
                    _number(row.get("mean_score")),
                    _number(row.get("label_share")),
                )
                for row in calibration["table"]
            ],
        ),
    ]


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [header, tuple("---" for _ in header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {label}" for label, count in sorted(counts.items()))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
