"""Modified Kneser-Ney smoothing in plain Python, from its definition: slow, in 64-bit floats."""

import math
from collections import Counter, defaultdict

Gram = tuple[str, ...]


def grams_of(sentences: list[str], size: int) -> Counter[Gram]:
    """How often each n-gram is there; what ends with the beginning of a sentence is none."""
    found = Counter[Gram]()
    for sentence in sentences:
        words = ["<s>", *sentence.split(), "</s>"]
        starts = range(0 if size > 1 else 1, len(words) - size + 1)
        found.update(tuple(words[start : start + size]) for start in starts)
    return found


def adjusted_counts(sentences: list[str], order: int) -> list[Counter[Gram]]:
    """By order less one: how many words stand before an n-gram.

    How often it is there, where none may stand before it, and for n-grams of the longest order.
    """
    raw = [grams_of(sentences, size) for size in range(1, order + 1)]
    found = [Counter[Gram]() for _ in raw[1:]]
    for size, counts in enumerate(found, start=1):
        counts.update(gram[1:] for gram in raw[size])
        counts.update({g: count for g, count in raw[size - 1].items() if g[0] == "<s>"})
    return [*found, raw[-1]]


def last_grams(sentences: list[str], order: int) -> set[Gram]:
    """The n-grams that are open when lmplz is through: ends of the last n-gram in suffix order."""
    numbers = {"<s>": 0, "</s>": 1}
    for sentence in sentences:
        for word in sentence.split():
            numbers.setdefault(word, len(numbers))
    full = [
        words[end - order : end]
        for words in (["<s>"] * (order - 1) + [*s.split(), "</s>"] for s in sentences)
        for end in range(order, len(words) + 1)
    ]
    last = max(full, key=lambda words: [numbers[word] for word in reversed(words)])
    ends = (tuple(last[-size:]) for size in range(1, order))
    return {gram for gram in ends if "<s>" not in gram[1:]}


def discounts(counts: dict[Gram, int]) -> list[float]:
    """D1, D2, D3+ behind a zero, or those of --discount_fallback."""
    n = Counter(counts.values())
    if not (n[1] and n[2] and n[3]):
        return [0, 0.5, 1, 1.5]
    y = n[1] / (n[1] + 2 * n[2])
    found = [0, *(j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3))]
    return found if all(0 <= d <= j for j, d in enumerate(found)) else [0, 0.5, 1, 1.5]


def estimated(sentences: list[str], order: int) -> list[dict[Gram, tuple[float, float]]]:
    """By order, for every n-gram, the logarithms of its probability and of its backoff."""
    counts = adjusted_counts(sentences, order)
    words = {gram[0] for gram in counts[0]} | {"<unk>"}
    last = last_grams(sentences, order)
    probability: dict[Gram, float] = {(): 1 / len(words)}
    left: dict[Gram, float] = {}
    for size in range(1, order + 1):
        raw = grams_of(sentences, size)
        discount = discounts(
            {g: raw[g] if g in last else count for g, count in counts[size - 1].items()}
        )
        by_context: dict[Gram, dict[Gram, int]] = defaultdict(dict)
        for gram, count in counts[size - 1].items():
            by_context[gram[:-1]][gram] = count
        for context, grams in by_context.items():
            total = sum(grams.values())
            left[context] = sum(discount[min(count, 3)] for count in grams.values()) / total
            for gram, count in grams.items():
                share = (count - discount[min(count, 3)]) / total
                probability[gram] = share + left[context] * probability[gram[1:]]
    probability["<unk>",] = left[()] / len(words)
    probability["<s>",] = 1.0
    model: list[dict[Gram, tuple[float, float]]] = [{} for _ in range(order + 1)]
    for gram, p in probability.items():
        model[len(gram)][gram] = math.log10(p), math.log10(left.get(gram, 1.0)) if gram else 0.0
    return model[1:]
