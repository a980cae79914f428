"""rensa's and datasketch's side of near-duplicates: whole deduplication, or signatures alone.

Runs under an interpreter of its own; neardup_speed.py and minhash_speed.py start it. Words are cut
at white space, and shingles joined, as users of these libraries do it.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasketch import MinHash, MinHashLSH
from rensa import CMinHash, CMinHashDeduplicator, RMinHash, RMinHashDeduplicator, RMinHashLSH

NGRAM, BANDS, ROWS, THRESHOLD, SEED = 5, 14, 8, 0.7, 42
SLOTS = BANDS * ROWS
# rensa's own benchmark of its rho pipeline; it wants powers of two.
RHO_SLOTS, RHO_BANDS = 128, 8


def shingles(text: str) -> list[str]:
    """The word 5-grams of a text, repeated ones too: rensa and datasketch make sets of them."""
    words = text.lower().split()
    return [" ".join(piece) for piece in zip(*(words[i:] for i in range(NGRAM)), strict=False)]


def keep_by_rensa(texts: list[str]) -> list[bool]:
    """As its README does it."""
    dedup = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=SLOTS, use_lsh=True)
    return dedup.add_pairs((str(i), shingles(text)) for i, text in enumerate(texts))


def keep_by_rensa_c(texts: list[str]) -> list[bool]:
    """The same with its other sketch."""
    dedup = CMinHashDeduplicator(threshold=THRESHOLD, num_perm=SLOTS)
    return dedup.add_pairs((str(i), shingles(text)) for i, text in enumerate(texts))


def keep_by_rensa_rho(texts: list[str]) -> list[bool]:
    """Its fastest pipeline, which samples shingles; it flags every copy, the first included."""
    sets = map(shingles, texts)
    matrix = RMinHash.digest_matrix_from_token_sets_rho(sets, num_perm=RHO_SLOTS, seed=SEED)
    lsh = RMinHashLSH(threshold=THRESHOLD, num_perm=RHO_SLOTS, num_bands=RHO_BANDS)
    return [not flag for flag in lsh.query_duplicate_flags_matrix_one_shot(matrix)]


def datasketch_signature(text: str) -> MinHash:
    """A signature in one call."""
    signature = MinHash(num_perm=SLOTS)
    signature.update_batch([shingle.encode() for shingle in shingles(text)])
    return signature


def keep_by_datasketch(texts: list[str]) -> list[bool]:
    """An index of the documents that stay, asked about each of the others."""
    index = MinHashLSH(num_perm=SLOTS, params=(BANDS, ROWS))
    keep = []
    for number, text in enumerate(texts):
        signature = datasketch_signature(text)
        keep.append(not index.query(signature))
        if keep[-1]:
            index.insert(number, signature)
    return keep


DEDUPLICATE = {
    "rensa": keep_by_rensa,
    "rensa-c": keep_by_rensa_c,
    "rensa-rho": keep_by_rensa_rho,
    "datasketch": keep_by_datasketch,
}

SIGNATURES = {
    "rensa": lambda texts: RMinHash.digest_matrix_from_token_sets(
        map(shingles, texts), num_perm=SLOTS, seed=SEED
    ),
    "rensa-c": lambda texts: CMinHash.digests64_from_token_sets(
        map(shingles, texts), num_perm=SLOTS, seed=SEED
    ),
    "rensa-rho": lambda texts: RMinHash.digest_matrix_from_token_sets_rho(
        map(shingles, texts), num_perm=RHO_SLOTS, seed=SEED
    ),
    "datasketch": lambda texts: [datasketch_signature(text) for text in texts],
}


def rows(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of the file, and their texts."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield line, json.loads(line)["text"]


def deduplicate(name: str, path: Path) -> dict[str, Any]:
    """Text in, kept text out."""
    lines, texts = zip(*rows(path), strict=True)
    keep = DEDUPLICATE[name](list(texts))
    with path.with_suffix(f".{name}.kept").open("w", encoding="utf-8") as out:
        out.writelines(line for line, stays in zip(lines, keep, strict=True) if stays)
    return {"kept": sum(keep)}


def signatures(name: str, path: Path) -> dict[str, Any]:
    """CPU seconds from text to signature, nothing read or written."""
    texts = [text for _, text in rows(path)]
    started = time.process_time()
    SIGNATURES[name](texts)
    return {"seconds": time.process_time() - started}


def main() -> None:
    """Read the arguments, do what they ask and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("deduplicate", "signatures"))
    parser.add_argument("--by", choices=tuple(DEDUPLICATE), required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    work = deduplicate if given.what == "deduplicate" else signatures
    figures = work(given.by, given.texts)
    given.result.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
