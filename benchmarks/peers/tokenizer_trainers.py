"""Other people's BPE trainers, each with the settings that come closest to ours.

Runs under the peers' own interpreter, one trainer in a process; tokenizer_speed.py starts it.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.peers.tokenizer_letters import spelled

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END = "<|endoftext|>"


def gigabpe(text: Path, size: int) -> list[bytes]:
    """From a file, one thread."""
    _, merges = import_module("gigabpe").train_bpe(
        [str(text)],
        size,
        special_tokens=[END],
        min_frequency=2,
        pretokenizer="bytelevel",
        threads=1,
    )
    return [spelled(left + right) for left, right in merges]


def gigatoken(text: Path, size: int) -> list[bytes]:
    """From a file as one document; its pattern is GPT-2's."""
    _, merges = import_module("gigatoken").train_bpe(text, size, [END])
    return [left + right for left, right in merges]


def tokenizers(text: Path, size: int) -> list[bytes]:
    """From a file, line by line."""
    library = import_module("tokenizers")
    tokenizer = library.Tokenizer(library.models.BPE())
    level = library.pre_tokenizers.ByteLevel
    tokenizer.pre_tokenizer = level(add_prefix_space=False)
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=level.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(text)], trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [spelled(left + right) for left, right in merges]


def rustbpe(text: Path, size: int) -> list[bytes]:
    """Line by line; it has no special tokens."""
    tokenizer = import_module("rustbpe").Tokenizer()
    with text.open(encoding="utf-8", newline="\n") as lines:
        tokenizer.train_from_iterator(lines, size - 1, pattern=GPT2)
    return [bytes(token) for token, _ in tokenizer.get_mergeable_ranks()[256:]]


def bpeasy(text: Path, size: int) -> list[bytes]:
    """Line by line, in batches; tokens may be of 128 bytes."""
    with text.open(encoding="utf-8", newline="\n") as lines:
        ranks = import_module("bpeasy").train_bpe(lines, GPT2, 128, size - 1, 10_000)
    return sorted((token for token in ranks if len(token) > 1), key=lambda token: int(ranks[token]))


def sentencepiece(text: Path, size: int) -> list[bytes]:
    """BPE of characters, which is another algorithm: bytes stand in for rare characters only."""
    library = import_module("sentencepiece")
    with tempfile.TemporaryDirectory() as folder:
        library.SentencePieceTrainer.train(
            input=str(text),
            model_prefix=f"{folder}/model",
            model_type="bpe",
            vocab_size=size,
            byte_fallback=True,
            character_coverage=0.9999,
            normalization_rule_name="identity",
            max_sentence_length=1 << 20,
            num_threads=1,
            minloglevel=2,
        )
        model = library.SentencePieceProcessor(model_file=f"{folder}/model.model")
        pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    return [piece.replace("\u2581", " ").encode() for piece in pieces[259:]]


TRAINERS: dict[str, Callable[[Path, int], list[bytes]]] = {
    "gigabpe": gigabpe,
    "gigatoken": gigatoken,
    "rustbpe": rustbpe,
    "sentencepiece": sentencepiece,
    "bpeasy": bpeasy,
    "tokenizers": tokenizers,
}


def main() -> None:
    """Train, and leave the tokens in the order in which they were merged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=TRAINERS)
    parser.add_argument("text", type=Path)
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    tokens = TRAINERS[given.side](given.text, given.vocab_size)
    given.result.write_text(json.dumps({"tokens": [token.hex() for token in tokens]}))


if __name__ == "__main__":
    main()
