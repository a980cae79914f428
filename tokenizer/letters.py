"""What the formats of tokenizers share: the byte-level alphabet, and how a file is refused."""

from pathlib import Path
from typing import Any

from curate.errors import ModelError

# GPT-2's order of bytes: those that print in Latin-1, then the others. Byte-level tokenizer files
# write every byte as a printable character: these as they are, the others from U+0100 on.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
HIDDEN = [byte for byte in range(256) if byte not in PRINTABLE]
LETTERS = {byte: chr(byte) for byte in PRINTABLE} | {
    byte: chr(256 + i) for i, byte in enumerate(HIDDEN)
}
BYTE_OF = {letter: byte for byte, letter in LETTERS.items()}
# The same through Latin-1, ten times as fast; what is no such letter cannot be written in that.
LATIN = {point: 0xFFFF for point in range(256)} | {ord(a): byte for a, byte in BYTE_OF.items()}

# Names under which tokenizers keep the token that ends a document, the usual ones first.
ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>")

# Vocabularies have up to 300,000 tokens; a number of ten digits is damage and would fill memory.
# Kernels keep a symbol for each token and byte in 20 bits.
MOST_TOKENS = (1 << 20) - 512

# What a reader finds in a file: the fields of `vocabulary.Vocabulary` by name.
Fields = dict[str, Any]


def letters(token: bytes) -> str:
    """A token as byte-level files write it."""
    return token.decode("latin-1").translate(LETTERS)


def refuse(path: Path, what: str) -> ModelError:
    """The error for a tokenizer that would only be imitated."""
    return ModelError(
        f"{path}: {what} is not supported; only byte-level BPE that is kept exactly is"
    )


def shown(value: Any) -> str:
    """The beginning of a value from a file, for an error."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def want(path: Path, value: Any, kind: type, name: str) -> Any:
    """The value, if it is of this type; else the error that names it."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {dict: "an object", list: "a list", str: "a text", int: "a number", bool: "a truth"}
        raise ModelError(f"{path}: {name} is {shown(value)}, not {words[kind]}; a damaged file?")
    return value


def numbered(path: Path, said: Any, name: str) -> dict[str, int]:
    """A table from texts to different token numbers."""
    for key, number in want(path, said, dict, name).items():
        if type(number) is int and 0 <= number < MOST_TOKENS:
            continue
        if not 0 <= want(path, number, int, f"{name}[{shown(key)}]") < MOST_TOKENS:
            raise ModelError(
                f"{path}: {name}[{shown(key)}] is {number}; tokens are 0 to {MOST_TOKENS - 1}"
            )
    if len(set(said.values())) < len(said):
        first: dict[int, str] = {}
        one, other = next(
            (first[number], key)
            for key, number in said.items()
            if first.setdefault(number, key) != key
        )
        raise ModelError(f"{path}: {name} gives {shown(one)} and {shown(other)} one number")
    return dict(said)


def byte_level(path: Path, vocab: dict[str, int], others: dict[str, int]) -> tuple[bytes, ...]:
    """The bytes of every token, empty for those that are not spelled in bytes."""
    ordinary = {token: number for token, number in vocab.items() if token not in others}
    tokens = [b""] * (1 + max([0, *ordinary.values()]))
    for token, number in ordinary.items():
        try:
            tokens[number] = token.translate(LATIN).encode("latin-1")
        except UnicodeEncodeError as error:
            raise refuse(path, f"token {token!r}, not in the byte-level alphabet") from error
    if missing := set(LETTERS.values()) - ordinary.keys():
        raise refuse(path, f"a vocabulary without {len(missing)} of the 256 bytes")
    if "" in ordinary:
        raise ModelError(f"{path}: an empty token")
    return tuple(tokens)


def merged_pairs(
    path: Path, vocab: dict[str, int], pairs: list[list[str]]
) -> list[tuple[int, int, int]]:
    """Numbers of left, right and resulting token; of two merges of one pair the last counts."""
    found: dict[tuple[str, str], None] = {}
    for left, right in pairs:
        found.pop((left, right), None)
        found[left, right] = None
    try:
        return [(vocab[left], vocab[right], vocab[left + right]) for left, right in found]
    except KeyError as error:
        raise ModelError(f"{path}: a merge of what is no token ({error})") from error
