"""Who stays among documents that share buckets: everyone who goes resembles the one that stays."""

from typing import NamedTuple

import numpy as np

from curate.column import Hashes, Mask, Numbers, Positions
from curate.dedup.buckets import Documents
from curate.dedup.sets import common
from curate.kernel import helper

# A bucket offers at most this many documents that stay for comparison. Without a limit a page
# frame that a million pages share, but too little else, would cost its square.
LEADERS = 16
# Similarities estimated from sketches are this near to the true ones in all but one of a million
# cases: five standard deviations at J = .5, the widest.
MARGIN = 0.11

_CODES = 15  # values of a check that is not empty
_ONES = np.uint64(0x1111111111111111)
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x00FF00FF00FF00FF)
_SUM = np.uint64(0x0001000100010001)
_ONE, _TWO, _FOUR, _EIGHT, _TOP = (np.uint64(i) for i in (1, 2, 4, 8, 48))


class Linked(NamedTuple):
    """Documents by number, and what is known of each."""

    order: Positions  # those that would rather stay come first
    fixed: Mask  # stays, whatever it resembles
    checks: Hashes  # one row each
    sets: Hashes  # the n-grams of document i are sets[set_ends[i]:set_ends[i + 1]], sorted
    set_ends: Positions
    members: Documents  # of buckets: bucket k has members[bucket_ends[k]:bucket_ends[k + 1]]
    bucket_ends: Positions
    own: Documents  # of documents: i lies in own[own_ends[i]:own_ends[i + 1]]
    own_ends: Positions


class Rule(NamedTuple):
    """When a document goes."""

    least: float  # similarity to the one that stays
    by_text: bool  # the similarity of the sets, else of the checks
    contained: bool  # the share of the document's own n-grams that the other has, else Jaccard


@helper
def full_nibbles(word: np.uint64) -> np.uint64:
    """One in every nibble that is not zero."""
    word = word | (word >> _TWO)
    return (word | (word >> _ONE)) & _ONES


@helper
def by_byte(ones: np.uint64) -> np.uint64:
    """The sum of both nibbles in every byte."""
    return (ones + (ones >> _FOUR)) & _LOW_NIBBLES


@helper
def sum_of_bytes(word: np.uint64) -> float:
    """The sum of the word's eight bytes."""
    total: np.uint64 = (((word & _BYTES) + ((word >> _EIGHT) & _BYTES)) * _SUM) >> _TOP
    return float(total)


@helper
def similarity(checks: Hashes, left: int, right: int) -> float:
    """The Jaccard similarity of two documents, estimated from their checks."""
    # Sums by byte until the end: 32 words add at most 2 each, and the loop vectorises.
    some, both, different = np.uint64(0), np.uint64(0), np.uint64(0)
    for k in range(checks.shape[1]):
        a, b = checks[left, k], checks[right, k]
        different += by_byte(full_nibbles(a ^ b))
        a, b = full_nibbles(a), full_nibbles(b)
        some += by_byte(a | b)
        both += by_byte(a & b)
    either: float = sum_of_bytes(some)
    equal: float = either - sum_of_bytes(different)
    if equal == 0.0:
        return 0.0
    # Checks of different shingles have the same four bits by chance in one of fifteen cases.
    true: float = (_CODES * equal - sum_of_bytes(both)) / (_CODES - 1)
    return max(true, 0.0) / either


@helper
def true_similarity(linked: Linked, document: int, other: int, contained: bool) -> float:
    """The similarity of a document to another one, by their sets."""
    sets, ends = linked.sets, linked.set_ends
    own = sets[ends[document] : ends[document + 1]]
    others = sets[ends[other] : ends[other + 1]]
    both = common(own, others)
    whole = len(own) if contained else len(own) + len(others) - both
    return float(both / whole) if whole > 0 else 0.0


@helper
def needed(linked: Linked, document: int, other: int, rule: Rule) -> float:
    """The least Jaccard similarity with which a document may go."""
    if not rule.contained:
        return rule.least
    ends = linked.set_ends
    size, other_size = ends[document + 1] - ends[document], ends[other + 1] - ends[other]
    both = rule.least * size
    whole = size + other_size - both
    return float(both / whole) if whole > 0 else 1.0


@helper
def scored(linked: Linked, document: int, other: int, rule: Rule, best: float) -> float:
    """The similarity to the other one; less than `best` where it cannot be more."""
    estimate: float = similarity(linked.checks, document, other)
    if not rule.by_text:
        return estimate
    if estimate + MARGIN < needed(linked, document, other, rule):
        return -1.0
    if not rule.contained and estimate + MARGIN < best:
        return -1.0
    true: float = true_similarity(linked, document, other, rule.contained)
    return true


class Leaders(NamedTuple):
    """The documents that stay, by bucket, and with whom each was compared last."""

    documents: Documents  # those of a bucket lie where its members do
    lengths: Documents
    compared: Documents


@helper
def best_leader(linked: Linked, rule: Rule, leaders: Leaders, document: int) -> tuple[int, float]:
    """The most similar document among those that stay in this one's buckets, -1 without any."""
    best, found = -1.0, -1
    for place in range(linked.own_ends[document], linked.own_ends[document + 1]):
        bucket = linked.own[place]
        start = linked.bucket_ends[bucket]
        for k in range(start, start + leaders.lengths[bucket]):
            other = leaders.documents[k]
            if leaders.compared[other] == document:
                continue
            leaders.compared[other] = document
            score = scored(linked, document, other, rule, best)
            if score > best:
                best, found = score, other
    return found, best


@helper
def lead(linked: Linked, leaders: Leaders, document: int) -> None:
    """Enter a document that stays into the lists of its buckets."""
    for place in range(linked.own_ends[document], linked.own_ends[document + 1]):
        bucket = linked.own[place]
        length = leaders.lengths[bucket]
        if length < LEADERS:
            leaders.documents[linked.bucket_ends[bucket] + length] = document
            leaders.lengths[bucket] = length + 1


@helper
def followers(linked: Linked, rule: Rule) -> tuple[Documents, Numbers]:
    """In this order, a document goes if one that stays, in a bucket of both, is similar enough."""
    count = len(linked.order)
    kept, scores = np.arange(count).astype(np.int32), np.ones(count)
    leaders = Leaders(
        np.empty(len(linked.members), np.int32),
        np.zeros(len(linked.bucket_ends) - 1, np.int32),
        np.full(count, -1, np.int32),
    )
    for document in linked.order:
        other, score = -1, -1.0
        if not linked.fixed[document]:
            other, score = best_leader(linked, rule, leaders, document)
        if other >= 0 and score >= rule.least:
            kept[document], scores[document] = other, score
        else:
            lead(linked, leaders, document)
    return kept, scores


@helper
def first_of_links(linked: Linked, labels: Documents) -> tuple[Documents, Numbers]:
    """Of all documents of a label the first in the order stays, and every fixed one."""
    count = len(linked.order)
    kept, scores = np.arange(count).astype(np.int32), np.ones(count)
    first = np.full(count, -1, np.int32)
    for i in range(count):
        document = linked.order[i]
        leader = first[labels[document]]
        if leader < 0:
            first[labels[document]] = document
        elif not linked.fixed[document]:
            kept[document] = leader
            scores[document] = similarity(linked.checks, document, leader)
    return kept, scores


@helper
def group_labels(groups: Documents) -> Documents:
    """A number for every stretch of equal groups, from 0."""
    out = np.zeros(len(groups), np.int32)
    for i in range(1, len(groups)):
        out[i] = out[i - 1] + (groups[i] != groups[i - 1])
    return out


@helper
def before(one: int, other: int, fixed: Mask, wish: Numbers, ids: Hashes) -> bool:
    """Whether a document would stay rather than another."""
    if fixed[one] != fixed[other]:
        return bool(fixed[one])
    if wish[one] != wish[other]:
        return bool(wish[one] > wish[other])
    if ids[one, 0] != ids[other, 0]:
        return bool(ids[one, 0] < ids[other, 0])
    return bool(ids[one, 1] < ids[other, 1])


@helper
def sift(heap: Positions, top: int, fixed: Mask, wish: Numbers, ids: Hashes) -> None:
    """Let what lies at the top sink, until nothing below it comes later in the order."""
    while 2 * top + 1 < len(heap):
        child = 2 * top + 1
        if child + 1 < len(heap) and before(heap[child], heap[child + 1], fixed, wish, ids):
            child += 1
        if not before(heap[top], heap[child], fixed, wish, ids):
            return
        heap[top], heap[child] = heap[child], heap[top]
        top = child


@helper
def in_order(labels: Documents, fixed: Mask, wish: Numbers, ids: Hashes) -> Positions:
    """All documents, group by group; those that would rather stay come first.

    Groups do not concern each other, and sorted apart they stay in the caches: at a million
    documents this is what kept deciding as cheap as at a hundred thousand.
    """
    order = np.arange(len(labels))
    start = 0
    for end in range(1, len(labels) + 1):
        if end < len(labels) and labels[end] == labels[start]:
            continue
        heap = order[start:end]
        for top in range(len(heap) // 2 - 1, -1, -1):
            sift(heap, top, fixed, wish, ids)
        for last in range(len(heap) - 1, 0, -1):
            heap[0], heap[last] = heap[last], heap[0]
            sift(heap[:last], 0, fixed, wish, ids)
        start = end
    return order


@helper
def side_by_side(
    members: Documents, ends: Positions, labels: Documents
) -> tuple[Documents, Positions]:
    """The same buckets, those of a group one after another, for the same reason."""
    count = len(ends) - 1
    nexts = np.zeros(labels[-1] + 2 if len(labels) else 1, np.int64)
    for bucket in range(count):
        nexts[labels[members[ends[bucket]]] + 1] += 1
    for group in range(1, len(nexts)):
        nexts[group] += nexts[group - 1]
    order = np.empty(count, np.int32)
    for bucket in range(count):
        group = labels[members[ends[bucket]]]
        order[nexts[group]] = bucket
        nexts[group] += 1
    out, out_ends = np.empty(len(members), np.int32), np.zeros(count + 1, np.int64)
    for i in range(count):
        first, last = ends[order[i]], ends[order[i] + 1]
        start = out_ends[i]
        for k in range(first, last):
            out[start + k - first] = members[k]
        out_ends[i + 1] = start + last - first
    return out, out_ends


@helper
def by_document(members: Documents, ends: Positions, count: int) -> tuple[Documents, Positions]:
    """The buckets of every document, and where each document's end."""
    own_ends = np.zeros(count + 1, np.int64)
    for member in members:
        own_ends[member + 1] += 1
    for document in range(count):
        own_ends[document + 1] += own_ends[document]
    own, next_place = np.empty(len(members), np.int32), own_ends[:-1].copy()
    for bucket in range(len(ends) - 1):
        for i in range(ends[bucket], ends[bucket + 1]):
            place = next_place[members[i]]
            own[place] = bucket
            next_place[members[i]] = place + 1
    return own, own_ends
