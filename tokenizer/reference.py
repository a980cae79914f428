"""Byte-level BPE as slowly and plainly as it can be said: the oracle of the kernels, and a lesson.

Training counts all adjacent pairs of tokens in all pieces, merges the most frequent pair
everywhere, and begins again. The tie rule: of equally frequent pairs the one whose left token is
the older wins, then the one whose right token is. Bytes are older than merged tokens, and among
themselves ordered as GPT-2 ordered them (`BYTES`): printable characters first. This is the rule of
Hugging Face's BpeTrainer, which compares (count, token ids).

Encoding cuts text into pieces and, in each, merges the pair that training merged first, the
leftmost one first, until no pair is known.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import regex

from tokenizer.pretokenize import PATTERNS
from tokenizer.unicode_table import as_known

Merge = tuple[bytes, bytes]

# GPT-2's order: bytes that print in Latin-1, then the others.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = [bytes([b]) for b in PRINTABLE + [b for b in range(256) if b not in PRINTABLE]]


def pieces(text: str, pattern: str) -> Iterator[bytes]:
    """The pieces of a text in order; what lies between two matches is a piece as well."""
    end = 0
    for match in regex.finditer(PATTERNS.get(pattern, pattern), as_known(text), regex.V1):
        if match.start() > end:
            yield text[end : match.start()].encode()
        yield text[match.start() : match.end()].encode()
        end = match.end()
    if end < len(text):
        yield text[end:].encode()


def merged(tokens: Sequence[bytes], pair: Merge) -> list[bytes]:
    """The tokens with every occurrence of the pair made one, from left to right."""
    out: list[bytes] = []
    i = 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


def train(
    counts: Mapping[bytes, int],
    vocab_size: int,
    min_frequency: int = 1,
    max_token_length: int = 1 << 30,
) -> list[Merge]:
    """The merges in order, until there are `vocab_size` tokens or no pair is frequent enough."""
    words = {piece: [bytes([b]) for b in piece] for piece in counts}
    age = {token: i for i, token in enumerate(BYTES)}
    merges: list[Merge] = []
    while len(age) < vocab_size:
        frequency: Counter[Merge] = Counter()
        for piece, tokens in words.items():
            for pair in pairwise(tokens):
                if len(pair[0] + pair[1]) <= max_token_length:
                    frequency[pair] += counts[piece]
        best = max(frequency, key=lambda p: (frequency[p], -age[p[0]], -age[p[1]]), default=None)
        if best is None or frequency[best] < max(min_frequency, 1):
            break
        # Two pairs may spell one token (a + aa, aa + a), and one pair may come up again.
        if best not in merges:
            merges.append(best)
        age.setdefault(best[0] + best[1], len(age))
        words = {piece: merged(tokens, best) for piece, tokens in words.items()}
    return merges


def encode(piece: bytes, merges: Sequence[Merge]) -> list[bytes]:
    """The tokens of one piece."""
    rank = {pair: i for i, pair in enumerate(merges)}
    tokens = [bytes([b]) for b in piece]
    while len(tokens) > 1:
        pairs = list(pairwise(tokens))
        best = min(range(len(pairs)), key=lambda i: (rank.get(pairs[i], len(rank)), i))
        if pairs[best] not in rank:
            break
        tokens[best : best + 2] = [tokens[best] + tokens[best + 1]]
    return tokens
