"""From the mean of a text's rows to the probabilities of labels, for every loss of fastText.

Follows fastText 0.9 (loss.cc). Sums are taken text by text in one order: a matrix product would
round a text's numbers by the number of its neighbours.
"""

from typing import Any

import numpy as np

from curate.kernel import borrowing, helper
from filters.fasttext_file import Floats, Ranks

SOFTMAX = 3

# The library reads logistic functions from a table of so many steps to one, between -8 and 8.
_STEPS = 32
_EDGE = 8
# It adds this before every logarithm.
_LITTLE = 1e-5
# Beyond this a power overflows, and nothing else changes.
_FAR = 80.0


@borrowing
def right_share(hidden: Floats, text: int, output: Floats, node: int) -> Any:
    """The probability of turning right at a node of the tree."""
    total: Any = np.float32(0)
    for column in range(hidden.shape[1]):
        total += hidden[text, column] * output[node, column]
    return np.float32(1.0 / (1.0 + np.exp(-np.float64(min(max(total, -_FAR), _FAR)))))


@borrowing
def logarithm(share: Any) -> Any:
    """The logarithm as the library takes it, rounded as there: labels may score alike."""
    return np.float32(np.log(np.float64(share) + _LITTLE))


@helper
def leaves(hidden: Floats, output: Floats, tree: Ranks, found: Floats) -> None:
    """The product of the decisions on the way to each label, as fastText adds their logarithms."""
    labels = found.shape[1]
    scores = np.zeros(labels + len(tree), np.float32)
    for text in range(len(hidden)):
        for node in range(len(tree) - 1, -1, -1):
            right = right_share(hidden, text, output, node)
            before = scores[labels + node]
            scores[tree[node, 0]] = before + logarithm(np.float32(1.0 - right))
            scores[tree[node, 1]] = before + logarithm(right)
        for label in range(labels):
            found[text, label] = min(np.exp(scores[label]), 1.0)


@borrowing
def insert(labels: Ranks, scores: Floats, text: int, label: int, score: float) -> None:
    """Put a label where its score belongs, before its equals as the library does."""
    place = scores.shape[1] - 1
    while place > 0 and scores[text, place - 1] <= score:
        scores[text, place] = scores[text, place - 1]
        labels[text, place] = labels[text, place - 1]
        place -= 1
    scores[text, place] = score
    labels[text, place] = label


@helper
def best_leaves(hidden: Floats, output: Floats, tree: Ranks, labels: Ranks, scores: Any) -> None:
    """The first labels and their probabilities; branches that cannot reach them are left out.

    Of 175 nodes 15 are looked at for the first label.
    """
    last = scores.shape[1] - 1
    leaf = len(tree) + 1
    nodes = np.empty(2 * leaf, np.int64)
    chances = np.empty(2 * leaf, np.float32)
    for text in range(len(hidden)):
        for place in range(last + 1):
            scores[text, place] = -np.inf
        nodes[0] = leaf + len(tree) - 1
        chances[0] = 0
        waiting = 1
        while waiting:
            waiting -= 1
            node, chance = nodes[waiting], chances[waiting]
            if chance < scores[text, last]:
                continue
            if node < leaf:
                insert(labels, scores, text, node, chance)
                continue
            right = right_share(hidden, text, output, node - leaf)
            # The left one is looked at first, as the library does: the later of equals wins.
            for side in range(1, -1, -1):
                nodes[waiting] = tree[node - leaf, side]
                chances[waiting] = chance + logarithm(right if side else np.float32(1.0 - right))
                waiting += 1
        for place in range(last + 1):
            scores[text, place] = min(np.exp(scores[text, place]), 1.0)


@helper
def scores_of(hidden: Floats, columns: Floats, loss: int, found: Floats) -> None:
    """The probability of every label: shares of one, or each by itself (ns, ova)."""
    for text in range(len(hidden)):
        for label in range(found.shape[1]):
            found[text, label] = 0
        for column in range(len(columns)):
            part = hidden[text, column]
            for label in range(found.shape[1]):
                found[text, label] += part * columns[column, label]
        if loss == SOFTMAX:
            share(found, text)
        else:
            for label in range(found.shape[1]):
                found[text, label] = logistic(found[text, label])


@borrowing
def share(found: Floats, text: int) -> None:
    """Turn a text's scores into shares of one."""
    highest = found[text, 0]
    for label in range(found.shape[1]):
        highest = max(highest, found[text, label])
    total = 0.0
    for label in range(found.shape[1]):
        total += np.exp(np.float64(found[text, label] - highest))
    for label in range(found.shape[1]):
        found[text, label] = np.exp(np.float64(found[text, label] - highest)) / total


@borrowing
def logistic(score: float) -> Any:
    """The logistic function as the library's table has it."""
    if score < -_EDGE:
        return 0.0
    if score > _EDGE:
        return 1.0
    step = np.floor((score + _EDGE) * _STEPS) / _STEPS - _EDGE
    return 1.0 / (1.0 + np.exp(-step))


@helper
def best_of(found: Floats, labels: Ranks, scores: Floats) -> None:
    """The first labels and their probabilities; texts that have none are left alone."""
    last = scores.shape[1] - 1
    for text in range(len(found)):
        if np.isnan(found[text, 0]):
            continue
        for place in range(last + 1):
            scores[text, place] = -np.inf
        for label in range(found.shape[1]):
            if found[text, label] >= scores[text, last]:
                insert(labels, scores, text, label, found[text, label])
