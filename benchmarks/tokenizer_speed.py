"""The tokenizer beside `tokenizers` and `tiktoken`: same text, same vocabulary, one thread each.

    python benchmarks/tokenizer_speed.py [--vocabulary cl100k_base.tiktoken] TEXT...

A TEXT is Parquet, JSONL or plain text. Times are processor time, the best of three runs; what is
compiled or loaded once is left out. Every line says whether the results agree.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tiktoken
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from curate.column import view
from tokenizer.corpus import text_batches
from tokenizer.counting import count_pieces
from tokenizer.encode import Encoder
from tokenizer.pretokenize import PATTERNS, pieces_of, splitter
from tokenizer.train import Train, train
from tokenizer.vocabulary import Vocabulary, as_json, letters, load

os.environ["TOKENIZERS_PARALLELISM"] = "false"


def best(work: Callable[[], Any], runs: int = 3) -> tuple[float, Any]:
    """Seconds of the fastest run, and what it gave."""
    seconds, given = float("inf"), None
    for _ in range(runs):
        begin = time.process_time()
        given = work()
        seconds = min(seconds, time.process_time() - begin)
    return seconds, given


def line(what: str, size: int, ours: float, theirs: float, note: str) -> None:
    """Print both speeds in MB/s and their ratio."""
    mine, other = size / ours / 1e6, size / theirs / 1e6
    print(f"{what:34} {mine:8.1f} {other:8.1f} {mine / other:7.1f}x  {note}")


def hugging_face(pattern: str, size: int) -> tuple[tokenizers.Tokenizer, Any]:
    """An untrained tokenizer of `tokenizers` for a pattern, and its trainer."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return tokenizer, trainer


def split(texts: pa.Array, pattern: str) -> int:
    """Cut the texts; how many pieces they have."""
    return sum(map(len, pieces_of(view(texts), splitter(pattern))))


def train_both(texts: pa.Array, size: int, vocab_size: int) -> Vocabulary:
    """Train on the texts, beside `tokenizers`."""
    section = Train(vocab_size=vocab_size)
    train(count_pieces(texts.slice(0, 1), "gpt2"), section)  # compiles
    vocabulary: Vocabulary
    ours, vocabulary = best(lambda: train(count_pieces(texts, "gpt2"), section), 2)
    tokenizer, trainer = hugging_face("gpt2", vocab_size)
    strings = texts.to_pylist()
    theirs, _ = best(lambda: tokenizer.train_from_iterator(strings, trainer), 1)
    said = json.loads(tokenizer.to_str())["model"]["merges"]
    tokens = vocabulary.tokens
    mine = [[letters(tokens[a]), letters(tokens[b])] for a, b, _ in vocabulary.merges.tolist()]
    note = "same merges" if mine == said else "OTHER MERGES"
    line(f"train gpt2 {vocab_size} / tokenizers", size, ours, theirs, note)
    return vocabulary


def encode_both(name: str, vocabulary: Vocabulary, texts: pa.Array, size: int) -> None:
    """Encode the texts, beside `tiktoken`, and `tokenizers` on a tenth."""
    encoder = Encoder(vocabulary)
    encoder.encode(texts.slice(0, 1))
    strings = texts.to_pylist()
    ours, (tokens, _) = best(lambda: encoder.encode(texts))
    peer = tiktoken.Encoding(
        name,
        pat_str=PATTERNS[vocabulary.pattern],
        mergeable_ranks={token: i for i, token in enumerate(vocabulary.tokens) if token},
        special_tokens=vocabulary.special_tokens,
    )
    theirs, given = best(lambda: [peer.encode_ordinary(text) for text in strings])
    note = "same tokens" if np.array_equal(tokens, np.concatenate(given)) else "OTHER TOKENS"
    line(f"encode {name} / tiktoken", size, ours, theirs, note)
    slow = tokenizers.Tokenizer.from_str(json.dumps(as_json(vocabulary)))
    few = strings[: max(1, len(strings) // 10)]
    part = sum(len(text.encode()) for text in few)
    theirs, given = best(lambda: slow.encode_batch_fast(few, add_special_tokens=False), 1)
    same = np.array_equal(tokens[: sum(len(one) for one in given)], ids_of(given))
    note = "same tokens" if same else "OTHER TOKENS"
    line(f"encode {name} / tokenizers", size, ours, theirs * size / part, note)


def ids_of(encodings: list[Any]) -> Any:
    """The tokens of all encodings in one row."""
    return np.concatenate([np.array(one.ids, np.uint32) for one in encodings])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--vocabulary", type=Path, help="a tokenizer to encode with as well")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    arguments = parser.parse_args()
    columns = [batch.column("text") for path in arguments.texts for batch in text_batches(path)]
    texts = pa.concat_arrays([column.cast(pa.string()) for column in columns]).drop_null()
    size = sum(len(text.encode()) for text in texts.to_pylist())
    print(f"{len(texts)} documents, {size / 1e6:.1f} MB; MB/s, ours then theirs")
    for pattern in PATTERNS:
        split(texts.slice(0, 1), pattern)
        seconds, _ = best(partial(split, texts, pattern))
        print(f"split {pattern:28} {size / seconds / 1e6:8.1f}")
    count_pieces(texts.slice(0, 1), "gpt2")
    seconds, _ = best(partial(count_pieces, texts, "gpt2"))
    print(f"split and count gpt2 {size / seconds / 1e6:21.1f}")
    encode_both("trained", train_both(texts, size, arguments.vocab_size), texts, size)
    if arguments.vocabulary:
        encode_both(arguments.vocabulary.stem, load(arguments.vocabulary), texts, size)


if __name__ == "__main__":
    main()
