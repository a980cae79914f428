"""Published tokenizers, unpacked, and tokenizers of the published kinds."""

import gzip
import json
import lzma
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from tokenizer.pretokenize import PATTERNS


@pytest.fixture(scope="session")
def unpacked(shared, tmp_path_factory) -> Path:
    """A folder with the tokenizers that others published; o200k's ranks also as a rank file."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for path in (shared / "tokenizers").glob("*.xz"):
        (folder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
    said = json.loads((folder / "o200k_base.json").read_text())
    lines = []
    for line in said["bpe_ranks"].splitlines():
        _, first, *tokens = line.split(" ")
        lines += [f"{token} {rank}\n" for rank, token in enumerate(tokens, int(first))]
    (folder / "o200k_base.tiktoken").write_text("".join(lines))
    return folder


@pytest.fixture(scope="session")
def sentences(shared) -> list[str]:
    """Sentences in 128 languages: every 40th of NTREX's."""
    packed = (shared / "multilingual" / "ntrex.tsv.gz").read_bytes()
    return gzip.decompress(packed).decode().splitlines()[::40]


LETTERS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{LETTERS[0]}*{LETTERS[1]}+|[^\r\n\p{{L}}\p{{N}}]?{LETTERS[0]}+"
    rf"{LETTERS[1]}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(tokenizers.Regex(pattern), behavior, invert)


def byte_level(split=True, space=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=split)


# Pre-tokenizer, normalizer and settings of the model, as in the published tokenizer.json.
PUBLISHED = {
    "gpt2": ([byte_level()], None, {}),
    "roberta": ([byte_level(space=True)], None, {}),
    "llama3": ([split(PATTERNS["llama3"]), byte_level(False)], None, {"ignore_merges": True}),
    "gpt4": ([split(PATTERNS["llama3"], "removed", True), byte_level(False)], None, {}),
    "qwen2": ([split(PATTERNS["qwen2"]), byte_level(False)], normalizers.NFC(), {}),
    "bloom": ([split(PATTERNS["bloom"]), byte_level(False)], None, {}),
    "gpt-neox": ([byte_level()], normalizers.NFC(), {}),
    "starcoder": ([pre_tokenizers.Digits(individual_digits=True), byte_level()], None, {}),
    "tekken": ([split(TEKKEN), byte_level(False)], None, {"ignore_merges": True}),
    "look behind": ([split(r"(?<=[a-z])(?=[A-Z])|\s+?\S+"), byte_level(False)], None, {}),
    "no split": ([byte_level(False)], normalizers.NFKC(), {}),
}


@pytest.fixture(scope="session")
def published(sentences, tmp_path_factory) -> Path:
    """A folder of `tokenizer.json`s of the published kinds, trained here."""
    folder = tmp_path_factory.mktemp("published")
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
    )
    for name, (steps, normalizer, settings) in PUBLISHED.items():
        one = tokenizers.Tokenizer(models.BPE())
        one.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
        if normalizer:
            one.normalizer = normalizer
        one.train_from_iterator(sentences[::8], trainer)
        one.add_special_tokens(["<s>", "</s>", tokenizers.AddedToken("<mask>", lstrip=True)])
        one.add_tokens([tokenizers.AddedToken(" " * n, normalized=True) for n in (2, 3, 8)])
        one.add_tokens(
            [
                "<think>",
                tokenizers.AddedToken("mask", single_word=True),
                tokenizers.AddedToken("<tool>", lstrip=True, rstrip=True, normalized=False),
                tokenizers.AddedToken("é>", normalized=True),
            ]
        )
        one.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", one.token_to_id("<s>"))]
        )
        said = json.loads(one.to_str())
        said["model"].update(settings)
        if name == "gpt2":
            said["model"]["merges"] = [" ".join(pair) for pair in said["model"]["merges"]]
        (folder / f"{name}.json").write_text(json.dumps(said))
    return folder
