"""How well a number tells good documents from others: precision, recall, AUC, calibration."""

from typing import Any

import numpy as np

from curate.column import Mask, Numbers

SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
BINS = 10
DECIMALS = 6
# Fewer documents of a side than this tell no shares; scores that differ by less tell nothing apart.
FEW, NARROW = 20, 0.01


def figures(scores: Numbers, truth: Mask) -> dict[str, Any]:
    """All figures about numbers from 0 to 1 and what is true; a document without words counts as 0.

    `thresholds` says for shares of the documents, and of those that are not of the label, from
    which score on so many are kept.
    """
    silent = int(np.isnan(scores).sum())
    spread = np.ptp(scores[~np.isnan(scores)]) if silent < len(scores) else None
    scores = np.nan_to_num(scores)
    return {
        "documents": len(scores),
        "of_the_label": int(truth.sum()),
        "without_words": silent,
        "spread": _rounded(spread),
        "auc": auc(scores, truth),
        "at_half": at(scores, truth, 0.5),
        "calibration": calibration(scores, truth),
        "thresholds": [threshold(scores, truth, share) for share in SHARES],
    }


def warnings(found: dict[str, Any]) -> list[str]:
    """Why these figures, or the classifier, are not to be relied on."""
    said = []
    spread, good = found["spread"], found["of_the_label"]
    if spread is not None and spread < NARROW:
        said.append(
            f"The scores differ by {spread:g} at most: the classifier has learned nothing that "
            "tells these documents apart. Give it more documents, epochs or a higher rate."
        )
    few = [
        f"{count} {what}"
        for count, what in ((good, "of the label"), (found["documents"] - good, "not of it"))
        if count < FEW
    ]
    if few:
        said.append(
            f"Of the documents that it was measured on only {' and '.join(few)}: with fewer than "
            f"{FEW} the figures are mostly chance."
        )
    return said


def auc(scores: Numbers, truth: Mask) -> float | None:
    """The chance that a document of the label scores above one that is not; ties count half."""
    good, bad = int(truth.sum()), int((~truth).sum())
    if not good or not bad:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[places]
    return _rounded((ranks[truth].sum() - good * (good + 1) / 2) / (good * bad))


def at(scores: Numbers, truth: Mask, low: float) -> dict[str, float | None]:
    """Precision, recall and F1 of keeping what scores so much."""
    kept = scores >= low
    right = int((kept & truth).sum())
    precision = right / kept.sum() if kept.any() else None
    recall = right / truth.sum() if truth.any() else None
    both = (precision or 0) + (recall or 0)
    f1 = 2 * (precision or 0) * (recall or 0) / both if both else 0.0
    return {
        "low": _rounded(low),
        "kept_share": _rounded(kept.mean()) if len(kept) else None,
        "precision": _rounded(precision),
        "recall": _rounded(recall),
        "f1": _rounded(f1),
        "accuracy": _rounded((kept == truth).mean()) if len(kept) else None,
    }


def calibration(scores: Numbers, truth: Mask) -> dict[str, Any]:
    """The reliability table, and the expected calibration error over it."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    table, error = [], 0.0
    for number in range(BINS):
        inside = bins == number
        row: dict[str, Any] = {"from": number / BINS, "documents": int(inside.sum())}
        if inside.any():
            mean, share = scores[inside].mean(), truth[inside].mean()
            row |= {"mean_score": _rounded(mean), "label_share": _rounded(share)}
            error += inside.mean() * abs(mean - share)
        table.append(row)
    return {"expected_error": _rounded(error), "table": table}


def threshold(scores: Numbers, truth: Mask, share: float) -> dict[str, Any]:
    """The score from which on this share is kept, and how good what is kept is."""
    found: dict[str, Any] = {"share": share}
    if len(scores):
        low = float(np.quantile(scores, 1 - share, method="higher"))
        kept = at(scores, truth, low)
        found |= {name: kept[name] for name in ("low", "kept_share", "precision", "recall")}
    if not truth.all():
        found["low_of_others"] = _rounded(np.quantile(scores[~truth], 1 - share, method="higher"))
    return found


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), DECIMALS)
