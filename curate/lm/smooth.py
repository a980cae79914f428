"""From adjusted counts to probabilities: interpolated modified Kneser-Ney smoothing, as in lmplz.

A probability is the discounted share of an n-gram among those with its context, and, weighed with
what the discounts left, the probability without its first word. Sums are of 32 bits and in lmplz's
order. (Heafield et al. 2013; KenLM, lm/builder/initial_probabilities.cc and interpolate.cc.)
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from curate.column import Mask
from curate.kernel import helper
from curate.lm.adjust import BEGIN, MARKED, Totals
from curate.lm.rows import PAYLOAD, Floats, Lookup, Merge, Rows, Run, Sorter


@helper
def is_marked(rows: Rows, row: int) -> bool:
    """Whether the n-gram is pruned."""
    return bool(rows[row, rows.shape[1] - 1] >= MARKED)


@helper
def count_of(rows: Rows, row: int) -> int:
    """The adjusted count, whether the n-gram is pruned or not."""
    low, high = rows.shape[1] - 2, rows.shape[1] - 1
    return int(np.int64(rows[row, low]) | (np.int64(rows[row, high]) & (MARKED - 1)) << 32)


@helper
def context_end(rows: Rows, first: int, sums: Totals) -> int:
    """Where the n-grams end that share the context of this one.

    Their sums: of all counts, of pruned ones, and how many others have the counts 1, 2, 3 or more.
    """
    sums[:] = 0
    row, is_same = first, True
    while is_same:
        count = count_of(rows, row)
        sums[0] += count
        if is_marked(rows, row):
            sums[1] += count
        else:
            sums[min(count, 3) + 1] += 1
        row += 1
        is_same = row < len(rows)
        for column in range(rows.shape[1] - PAYLOAD - 1):
            is_same = is_same and rows[row, column] == rows[first, column]
    return row


@helper
def left_over(sums: Totals, discount: Floats) -> np.float32:
    """What discounts and pruning leave of a context's probability; sums as of `context_end`."""
    weight = np.float32(0)
    for size in range(1, 4):
        weight += discount[size] * np.float32(sums[size + 1])
    weight = np.float32(weight + np.float32(sums[1]))
    return np.float32(weight / np.float32(sums[0]))


@helper
def weigh(rows: Rows, discount: Floats, shares: Rows, contexts: Rows) -> tuple[int, int]:
    """Shares of n-grams in context order, and their contexts with the weights left; how many.

    A share's payload is the share and the weight of its context, a context's is its weight.
    """
    order = rows.shape[1] - PAYLOAD
    share_floats, context_floats = shares.view(np.float32), contexts.view(np.float32)
    sums = np.zeros(5, np.int64)
    first, kept, found = 0, 0, 0
    while first < len(rows):
        end = context_end(rows, first, sums)
        weight = left_over(sums, discount)
        contexts[found, : order - 1] = rows[first, : order - 1]
        context_floats[found, order - 1] = weight
        contexts[found, order] = 0
        found += 1
        for row in range(first, end):
            if is_marked(rows, row):
                continue
            count = count_of(rows, row)
            shares[kept, :order] = rows[row, :order]
            share = np.float32(count) - discount[min(count, 3)]
            share_floats[kept, order] = share / np.float32(sums[0])
            share_floats[kept, order + 1] = weight
            kept += 1
        first = end
    return kept, found


def shares(runs: list[Run], discount: Floats, merge: Merge, sorter: Sorter, path: Path) -> Run:
    """Sort shares into `sorter`; the weights that are left, in the order of their contexts."""
    order = len(merge.keys)
    rows = 0
    with path.open("wb") as file:
        for block in whole_contexts(merge(runs)):
            out = np.empty_like(block)
            contexts = np.empty((len(block), order - 1 + PAYLOAD), np.uint32)
            kept, found = weigh(block, discount, out, contexts)
            sorter.add(out[:kept])
            contexts[:found].tofile(file)
            rows += found
    return Run(str(path), order - 1 + PAYLOAD, rows)


def whole_contexts(blocks: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows in blocks that end where a context does."""
    held: list[Rows] = []
    for block in blocks:
        same = (block[:, : -PAYLOAD - 1] == block[-1, : -PAYLOAD - 1]).all(axis=1)
        begin = len(block) - int(np.argmin(same[::-1])) if not same.all() else 0
        if held and (begin or (held[-1][-1] != block[0])[: -PAYLOAD - 1].any()):
            yield np.concatenate([*held, block[:begin]])
            held = []
        elif begin:
            yield block[:begin]
        held.append(block[begin:])
    if held:
        yield np.concatenate(held)


def unigrams(counts: Totals, pruned: Mask, discount: Floats) -> Floats:
    """The probability of every word; <unk> has but its part of what the discounts left."""
    numbers = np.bincount(np.minimum(counts[~pruned], 3), minlength=4)
    sums = np.array([counts.sum(), counts[pruned].sum(), *numbers[1:4]], np.int64)
    uniform = np.float32(1.0 / np.float32(len(counts) - int(pruned.sum()) - 1))
    share = (counts.astype(np.float32) - discount[np.minimum(counts, 3)]) / np.float32(sums[0])
    probabilities: Floats = share + left_over(sums, discount) * uniform
    probabilities[BEGIN] = 1
    return probabilities


def interpolated(rows: Rows, lower: Floats) -> Floats:
    """Probabilities from shares and from the probabilities without the first word."""
    order = rows.shape[1] - PAYLOAD
    floats = rows.view(np.float32)
    result: Floats = floats[:, order] + floats[:, order + 1] * lower
    return result


def backoffs(rows: Rows, contexts: Lookup | None) -> Floats:
    """The logarithm of what the discounts left for each n-gram as a context; 0 for what is none."""
    if contexts is None:
        return np.zeros(len(rows), np.float32)
    weights = contexts.values(rows, 0)
    weights[np.isnan(weights)] = 1
    return logarithms(weights)


def logarithms(values: Floats) -> Floats:
    """To base ten, each as C's log10f has it, so that a model does not depend on the processor.

    NumPy's differ in the last digit that is written where there is AVX-512.
    """
    found = np.empty_like(values)
    _enter_logarithms(np.ascontiguousarray(values), found)
    return found


@helper
def _enter_logarithms(values: Floats, found: Floats) -> None:
    for place in range(len(values)):
        found[place] = math.log10(values[place]) if values[place] > 0 else -math.inf
