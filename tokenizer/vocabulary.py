"""What a byte-level BPE tokenizer is, and the three file formats in which people keep one."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, view
from curate.errors import ModelError, RecipeError
from tokenizer.bpe import enter_merges, recovered
from tokenizer.pretokenize import PATTERNS, pieces_within, splitter
from tokenizer.reference import BYTES

Merges = NDArray[np.int32]

# Byte-level tokenizer files write every byte as a printable character: GPT-2's table.
LETTERS = {byte[0]: chr(byte[0]) if i < 188 else chr(256 + i - 188) for i, byte in enumerate(BYTES)}
BYTE_OF = {letter: byte for byte, letter in LETTERS.items()}

# Rank files say neither their pattern nor their special tokens. Source: tiktoken's openai_public.
RANK_FILES = {
    "r50k_base": ("gpt2", {"<|endoftext|>": 50256}),
    "gpt2": ("gpt2", {"<|endoftext|>": 50256}),
    "cl100k_base": (
        "cl100k",
        {
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "o200k_base": ("o200k", {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}),
}
# Names under which tokenizers keep the token that ends a document, the usual ones first.
ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens, the merges that make them, the pattern that cuts text, and special tokens.

    `merges` holds left, right and resulting token, the merge to prefer first. With `whole` a piece
    that is a token needs no merges. `tokens[i]` is empty where i is special or not used.
    """

    tokens: tuple[bytes, ...]
    merges: Merges
    pattern: str
    special_tokens: dict[str, int] = field(default_factory=dict)
    whole: bool = False
    normalization: str = ""  # "NFC", "NFKC", "NFD", "NFKD" or none

    @property
    def size(self) -> int:
        """One more than the largest token."""
        return max([len(self.tokens), *(i + 1 for i in self.special_tokens.values())])

    @property
    def end_of_text(self) -> int:
        """The token that ends a document."""
        for name in ENDS:
            if name in self.special_tokens:
                return self.special_tokens[name]
        if len(self.special_tokens) == 1:
            return next(iter(self.special_tokens.values()))
        raise ModelError(
            f"no token ends a document; a tokenizer with one of {', '.join(ENDS)} does"
        )

    @cached_property
    def spelled(self) -> tuple[bytes, ...]:
        """The bytes of every token, special ones by their name."""
        tokens = list(self.tokens) + [b""] * (self.size - len(self.tokens))
        for name, token in self.special_tokens.items():
            tokens[token] = name.encode()
        return tuple(tokens)

    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of all that decides how text is encoded."""
        said = {
            "tokens": [token.hex() for token in self.tokens],
            "merges": self.merges.tolist(),
            "pattern": PATTERNS.get(self.pattern, self.pattern),
            "special_tokens": self.special_tokens,
            "whole": self.whole,
            "normalization": self.normalization,
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer.tiktoken`, same bytes for same tokenizers."""
        folder.mkdir(parents=True, exist_ok=True)
        said = json.dumps(as_json(self), ensure_ascii=False, indent=1)
        publish(folder / "tokenizer.json", said.encode() + b"\n")
        ranks = (b"%s %d\n" % (base64.b64encode(t), i) for i, t in enumerate(self.tokens) if t)
        publish(folder / "tokenizer.tiktoken", b"".join(ranks))


def publish(path: Path, content: bytes) -> None:
    """Write a file under another name, then give it its own: a file that exists is complete."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def letters(token: bytes) -> str:
    """A token as byte-level files write it."""
    return "".join(LETTERS[byte] for byte in token)


def as_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The tokenizer as `tokenizers` and `transformers` read it."""
    tokens = vocabulary.tokens
    byte_level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    text = PATTERNS.get(vocabulary.pattern, vocabulary.pattern)
    split = {"type": "Split", "pattern": {"Regex": text}, "behavior": "Isolated", "invert": False}
    name = vocabulary.normalization
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, "content": name, **added, "special": True}
            for name, token in sorted(vocabulary.special_tokens.items(), key=lambda item: item[1])
        ],
        "normalizer": {"type": name} if name else None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split, {"type": "ByteLevel", **byte_level}],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **byte_level},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": vocabulary.whole,
            "vocab": {
                **{letters(token): i for i, token in enumerate(tokens) if token},
                # Here too: `tokenizers` would give them the first free numbers.
                **vocabulary.special_tokens,
            },
            "merges": [
                [letters(tokens[left]), letters(tokens[right])]
                for left, right, _ in vocabulary.merges.tolist()
            ],
        },
    }


def load(path: Path, pattern: str = "", special_tokens: dict[str, int] | None = None) -> Vocabulary:
    """A tokenizer from `tokenizer.json`, GPT-2's `vocab.json` or a tiktoken rank file.

    A folder stands for the first of these that it holds. `pattern` and `special_tokens` complete
    a rank file, which holds neither; GPT-2's, cl100k's and o200k's are known by name.
    """
    if path.is_dir():
        names = ("tokenizer.json", "vocab.json", *sorted(p.name for p in path.glob("*.tiktoken")))
        found = [path / name for name in names if (path / name).is_file()]
        if not found:
            raise ModelError(f"{path}: no tokenizer.json, vocab.json or *.tiktoken in this folder")
        path = found[0]
    if not path.is_file():
        raise ModelError(f"{path}: no such tokenizer")
    if path.suffix == ".tiktoken":
        known = RANK_FILES.get(path.stem, ("", {}))
        specials = known[1] if special_tokens is None else special_tokens
        return from_ranks(path, pattern or known[0], specials)
    try:
        said = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(f"{path}: not a JSON file; it may be cut short ({error})") from error
    if isinstance(said, dict) and isinstance(said.get("model"), dict):
        return from_json(path, said)
    merges = path.with_name(path.name.replace("vocab.json", "merges.txt"))
    if merges == path or not merges.is_file():
        raise ModelError(f"{path}: neither a tokenizer.json nor a vocab.json beside a merges.txt")
    lines = merges.read_text().splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    return from_parts(path, said, pairs, {"pattern": pattern or "gpt2"})


def refuse(path: Path, what: str) -> ModelError:
    """The error for a tokenizer that would only be imitated."""
    return ModelError(f"{path}: {what} is not supported; byte-level BPE without it is")


def from_json(path: Path, said: dict[str, Any]) -> Vocabulary:
    """A byte-level BPE in Hugging Face's format."""
    model = said["model"]
    if model.get("type", "BPE") != "BPE":
        raise refuse(path, f"a model of type {model['type']}")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise refuse(path, f"model.{name} = {model[name]!r}")
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    added = {token["content"]: token["id"] for token in said.get("added_tokens") or []}
    settings = {
        "pattern": pattern_of(path, said.get("pre_tokenizer") or {}),
        "special_tokens": added,
        "whole": bool(model.get("ignore_merges")),
        "normalization": normalization_of(path, said.get("normalizer")),
    }
    return from_parts(path, model["vocab"], pairs, settings)


def normalization_of(path: Path, said: dict[str, Any] | None) -> str:
    """The one Unicode normalisation that is applied to text, or none."""
    if said is None:
        return ""
    if said["type"] == "Sequence":
        steps = said["normalizers"]
        if len(steps) > 1:
            raise refuse(path, "a sequence of normalizers")
        return normalization_of(path, steps[0]) if steps else ""
    if said["type"] not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise refuse(path, f"a normalizer of type {said['type']}")
    return str(said["type"])


def pattern_of(path: Path, said: dict[str, Any]) -> str:
    """The name or text of the pattern of a byte-level pre-tokenizer."""
    steps = said.get("pretokenizers", [said])
    last = steps[-1]
    if last.get("type") != "ByteLevel":
        raise refuse(path, f"a pre-tokenizer of type {last.get('type')}")
    if last.get("add_prefix_space"):
        raise refuse(path, "add_prefix_space")
    if len(steps) == 1 and last.get("use_regex", True):
        return "gpt2"
    split = steps[0]
    if len(steps) != 2 or split["type"] != "Split" or last.get("use_regex", True):
        kinds = ", ".join(step["type"] for step in steps)
        raise refuse(path, f"a pre-tokenizer of {kinds}")
    text = split["pattern"].get("Regex")
    # With `Removed` and `invert`, what is kept are the matches; text between them would be lost.
    kind = (split["behavior"], bool(split["invert"]))
    if text is None or kind not in (("Isolated", False), ("Removed", True)):
        raise refuse(path, f"splitting with {split['behavior']}")
    try:
        splitter(text)
    except RecipeError as error:
        raise ModelError(f"{path}: {error}") from error
    names = [name for name, known in PATTERNS.items() if known == text]
    return names[0] if names else str(text)


def from_parts(
    path: Path, vocab: dict[str, int], pairs: list[list[str]], settings: dict[str, Any]
) -> Vocabulary:
    """A vocabulary from tokens and merges in the byte-level alphabet."""
    specials: dict[str, int] = settings.setdefault("special_tokens", {})
    for name in ENDS:
        if name in vocab:
            specials.setdefault(name, vocab[name])
    tokens = [b""] * (1 + max([i for token, i in vocab.items() if token not in specials] or [0]))
    for token, number in vocab.items():
        if token in specials:
            continue
        try:
            tokens[number] = bytes(BYTE_OF[letter] for letter in token)
        except KeyError as error:
            raise refuse(path, f"token {token!r}, not in the byte-level alphabet") from error
    if missing := sorted(set(LETTERS.values()) - vocab.keys()):
        raise refuse(path, f"a vocabulary without {len(missing)} of the 256 bytes")
    try:
        merges = np.array([(vocab[a], vocab[b], vocab[a + b]) for a, b in pairs], np.int32)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: a merge of what is no token ({error})") from error
    return Vocabulary(tuple(tokens), merges.reshape(-1, 3), **settings)


def from_ranks(path: Path, pattern: str, special_tokens: dict[str, int]) -> Vocabulary:
    """A vocabulary from a tiktoken rank file, its merges recovered."""
    if not pattern:
        raise ModelError(f"{path}: a rank file names no pattern; say pattern: cl100k, or another")
    splitter(pattern)
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError as error:
            raise ModelError(f"{path}: line {number} is no token and rank; cut short?") from error
    if any(bytes([byte]) not in ranks for byte in range(256)):
        raise ModelError(f"{path}: not all 256 bytes are tokens; cut short?")
    tokens = [b""] * (1 + max(ranks.values()))
    for spelled, place in ranks.items():
        tokens[place] = spelled
    numbers = np.array([i for i, spelled in enumerate(tokens) if spelled], np.int64)
    rows = view(pa.array([spelled for spelled in tokens if spelled], pa.binary()))
    table = empty_table(len(numbers))
    merges = recovered(rows.data, pieces_within(rows), numbers, letters_of(tokens), table)
    return Vocabulary(tuple(tokens), merges, pattern, special_tokens, whole=True)


def letters_of(tokens: Sequence[bytes]) -> Merges:
    """The token of each byte."""
    letters = np.zeros(256, np.int32)
    for token, spelled in enumerate(tokens):
        if len(spelled) == 1:
            letters[spelled[0]] = token
    return letters


def empty_table(merges: int) -> tuple[Bytes, Hashes]:
    """A table with room for so many merges: a byte of each hash, and the entries."""
    size = 1 << max(4, (2 * merges).bit_length())
    return np.zeros(size, np.uint8), np.zeros((size, 2), np.uint64)


def merge_table(merges: Merges) -> tuple[Bytes, Hashes]:
    """Pairs with their rank and token, hashed."""
    tags, entries = empty_table(len(merges))
    enter_merges(merges, tags, entries)
    return tags, entries
