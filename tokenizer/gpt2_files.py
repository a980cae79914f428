"""GPT-2's two files: `vocab.json`, tokens and their numbers, and `merges.txt`, a merge a line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import ModelError
from tokenizer import hugging_face
from tokenizer.letters import ENDS, Fields, byte_level, letters, merged_pairs, numbered, refuse

if TYPE_CHECKING:
    from tokenizer.vocabulary import Vocabulary


def merges_beside(path: Path) -> Path | None:
    """The merges that belong to a `vocab.json`, or to `gpt2_vocab.json` and the like."""
    merges = path.with_name(path.name.replace("vocab.json", "merges.txt"))
    return merges if merges != path and merges.is_file() else None


def refuse_merges_alone(path: Path, content: bytes) -> None:
    """Refuse a file of merges where the vocabulary is meant."""
    if content.startswith(b"#version") or path.name.endswith("merges.txt"):
        beside = path.with_name(path.name.replace("merges.txt", "vocab.json"))
        there = beside.is_file() and beside != path
        raise ModelError(
            f"{path}: merges, without the numbers of tokens; name the vocab.json "
            + (f"beside it: {beside}" if there else "that belongs beside it")
        )


def read(path: Path, said: Any, merges: Path) -> Fields:
    """The vocabulary of the two files; its special token is the one with a usual name."""
    vocab = numbered(path, said, "the vocabulary")
    try:
        lines = merges.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ModelError(f"{merges}: not UTF-8 ({error})") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2:
            raise ModelError(f"{merges}: line {number} is no merge of two tokens; a damaged file?")
        pairs.append(parts)
    specials = {name: vocab[name] for name in ENDS if name in vocab}
    return {
        "tokens": byte_level(path, vocab, specials),
        "merges": merged_pairs(merges, vocab, pairs),
        "special_tokens": specials,
    }


def refuse_what_they_lack(path: Path, vocabulary: "Vocabulary") -> None:
    """Refuse a vocabulary that is read otherwise from these files."""
    made = {token for _, _, token in vocabulary.merges.tolist()}
    is_made = all(i in made for i, token in enumerate(vocabulary.tokens) if len(token) > 1)
    for lacks, what in (
        (vocabulary.pattern != "gpt2", f"the pattern {vocabulary.pattern!r}"),
        (vocabulary.normalization, f"normalisation ({vocabulary.normalization})"),
        (vocabulary.prefix_space, "a space before every text"),
        (vocabulary.always, "tokens that are found in any text"),
        (vocabulary.special_tokens.keys() - set(ENDS), "special tokens of other names than usual"),
        (vocabulary.whole and not is_made, "tokens that no merges make"),
    ):
        if lacks:
            raise refuse(path, f"{what} in GPT-2's files")


def vocab_json(vocabulary: "Vocabulary") -> bytes:
    """`vocab.json` of a vocabulary."""
    tokens = {letters(token): i for i, token in enumerate(vocabulary.tokens) if token}
    return json.dumps({**tokens, **vocabulary.special_tokens}, ensure_ascii=False).encode()


def merges_txt(vocabulary: "Vocabulary") -> bytes:
    """`merges.txt` of a vocabulary."""
    spelled = [letters(token) for token in vocabulary.tokens]
    lines = (f"{spelled[left]} {spelled[right]}\n" for left, right, _ in vocabulary.merges.tolist())
    return ("#version: 0.2\n" + "".join(lines)).encode()


def config(vocabulary: "Vocabulary") -> dict[str, Any]:
    """`tokenizer_config.json` for these files."""
    # Left out, they would be <|endoftext|>, a token more where the vocabulary has none.
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"))
    return {
        **names,
        **hugging_face.config(vocabulary),
        "tokenizer_class": "GPT2Tokenizer",
        "added_tokens_decoder": {
            str(token): hugging_face.added(vocabulary, name)
            for name, token in vocabulary.special_tokens.items()
        },
    }
