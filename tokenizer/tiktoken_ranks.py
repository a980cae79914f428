"""tiktoken's files: a token in base64 and its rank a line, or the JSON of its JavaScript port."""

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import CurateError, ModelError
from tokenizer.automaton import Automaton, covers
from tokenizer.bpe import letters_of, recovered_merges
from tokenizer.dialect import from_tiktoken, portable
from tokenizer.letters import MOST_TOKENS, Fields, numbered, refuse, want
from tokenizer.pretokenize import PATTERNS, Pattern, splitter

if TYPE_CHECKING:
    from tokenizer.vocabulary import Vocabulary

_GPT2_END = {"<|endoftext|>": 50256}
_CL100K = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}
# Rank files say neither their pattern nor their special tokens. Source: tiktoken's openai_public.
RANK_FILES = {
    "r50k_base": ("gpt2", _GPT2_END),
    "p50k_base": ("gpt2", _GPT2_END),
    "gpt2": ("gpt2", _GPT2_END),
    "cl100k_base": ("cl100k", _CL100K),
    "o200k_base": ("o200k", {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}),
}
# What tiktoken 0.14 says in other words than the first publication, to cut faster.
SAID_OTHERWISE = {
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": "gpt2",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s": "cl100k",
}
_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")
BESIDE = "encoding.json"


def is_rank_file(content: bytes) -> bool:
    """Whether a file of any name, such as Llama 3's `tokenizer.model`, holds ranks."""
    return _LINE.match(content) is not None


def named(pattern: str) -> str:
    """A pattern as tiktoken writes it, by its name if it has one."""
    if pattern in PATTERNS:
        return pattern
    text = from_tiktoken(pattern)
    known = (name for name, one in PATTERNS.items() if one in (pattern, text))
    return SAID_OTHERWISE.get(pattern) or next(known, text)


def read(path: Path, content: bytes, pattern: Pattern, specials: dict[str, int] | None) -> Fields:
    """A vocabulary from ranks; what they leave open is said here, beside the file, or known."""
    known, usual = RANK_FILES.get(path.stem, ("", {}))
    beside = path.with_name(BESIDE)
    if beside.is_file() and not pattern:
        said = want(beside, parsed(beside, beside.read_bytes()), dict, "its content")
        pattern = named(want(beside, said.get("pat_str"), str, "pat_str"))
        usual = numbered(beside, said.get("special_tokens", {}), "special_tokens")
    pattern = named(pattern) if pattern and isinstance(pattern, str) else pattern or known
    if not pattern:
        raise ModelError(f"{path}: a rank file names no pattern; say pattern: cl100k, or another")
    ranks = ranked(path, (line.split() for line in content.splitlines()))
    return fields(path, ranks, pattern, usual if specials is None else specials)


def read_json(path: Path, said: dict[str, Any]) -> Fields:
    """A vocabulary from the JSON of tiktoken for JavaScript, which says all."""
    text = want(path, said.get("bpe_ranks"), str, "bpe_ranks")
    pairs: list[list[Any]] = []
    for line in text.encode().split(b"\n"):
        words = line.split()
        if not words:
            continue
        if len(words) < 2 or not words[1].isdigit():
            raise ModelError(f"{path}: a line of bpe_ranks without its first rank; cut short?")
        pairs += [[word, int(words[1]) + i] for i, word in enumerate(words[2:])]
    pattern = named(want(path, said.get("pat_str"), str, "pat_str"))
    specials = numbered(path, said.get("special_tokens", {}), "special_tokens")
    return fields(path, ranked(path, pairs), pattern, specials)


def parsed(path: Path, content: bytes) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a JSON file; it may be cut short ({error})") from error


def ranked(path: Path, pairs: Any) -> dict[bytes, int]:
    """Tokens and their ranks, all different."""
    ranks: dict[bytes, int] = {}
    for number, pair in enumerate(pairs, 1):
        try:
            word, rank = pair
            token, place = base64.b64decode(word, validate=True), int(rank)
        except ValueError as error:
            raise ModelError(f"{path}: line {number} is no token and rank; cut short?") from error
        if not token or token in ranks or not 0 <= place < MOST_TOKENS:
            raise ModelError(
                f"{path}: line {number}: {token!r} is empty, there twice or misnumbered"
            )
        ranks[token] = place
    if len(set(ranks.values())) < len(ranks):
        raise ModelError(f"{path}: two tokens have one rank")
    if any(bytes([byte]) not in ranks for byte in range(256)):
        raise ModelError(f"{path}: not all 256 bytes are tokens; cut short?")
    return ranks


def fields(
    path: Path, ranks: dict[bytes, int], pattern: Pattern, specials: dict[str, int]
) -> Fields:
    """The fields of a vocabulary, its merges recovered."""
    if clash := set(specials.values()) & set(ranks.values()):
        raise ModelError(f"{path}: special token {min(clash)} is the number of another token too")
    try:
        splitter(pattern)
    except CurateError as error:
        raise ModelError(f"{path}: {error}") from error
    tokens = [b""] * (1 + max(ranks.values()))
    for spelled, place in ranks.items():
        tokens[place] = spelled
    return {
        "tokens": tuple(tokens),
        "merges": merges_of(tokens),
        "pattern": pattern,
        "special_tokens": specials,
        "whole": True,
    }


def merges_of(tokens: list[bytes] | tuple[bytes, ...]) -> NDArray[np.int32]:
    """The merges with which tiktoken makes these tokens, numbered by rank."""
    numbers = np.array([i for i, spelled in enumerate(tokens) if spelled], np.int64)
    lengths = np.array([len(tokens[i]) for i in numbers])
    # Short ones first: what is merged within a token is shorter.
    numbers = numbers[np.lexsort((numbers, lengths))]
    merges = recovered_merges([tokens[i] for i in numbers], numbers, letters_of(tokens))
    return np.ascontiguousarray(merges[np.argsort(merges[:, 2])])


def leaves_out(pattern: str) -> bool:
    """Whether text may stand between two matches, which tiktoken would drop."""
    return any(isinstance(one, Automaton) and not covers(one) for one in splitter(pattern))


def refuse_what_ranks_lack(path: Path, vocabulary: "Vocabulary") -> None:
    """Refuse a vocabulary that tiktoken would not encode with in the same way."""
    patterns = vocabulary.pattern
    for lacks, what in (
        (not isinstance(patterns, str), "several patterns, one after another,"),
        (isinstance(patterns, str) and leaves_out(patterns), "a pattern that leaves out text"),
        (vocabulary.normalization, f"normalisation ({vocabulary.normalization})"),
        (vocabulary.prefix_space, "a space before every text"),
        (vocabulary.always, "tokens that are found in any text"),
        (any(vocabulary.manners.values()), "special tokens that take white space along"),
    ):
        if lacks:
            raise refuse(path, f"{what} in tiktoken's format")
    merges = merges_of(vocabulary.tokens)
    made = {token for _, _, token in merges.tolist()}
    longer = {i for i, token in enumerate(vocabulary.tokens) if len(token) > 1}
    if not np.array_equal(merges, vocabulary.merges) or (longer - made and not vocabulary.whole):
        raise refuse(path, "a vocabulary whose merges are not in the order of their tokens")


def rank_lines(vocabulary: "Vocabulary") -> bytes:
    """The rank file of a vocabulary."""
    tokens = enumerate(vocabulary.tokens)
    return b"".join(b"%s %d\n" % (base64.b64encode(token), i) for i, token in tokens if token)


def beside_json(vocabulary: "Vocabulary") -> bytes:
    """What `tiktoken.Encoding` needs beside the ranks."""
    pattern = str(vocabulary.pattern)
    said = {
        "pat_str": portable(PATTERNS.get(pattern, pattern)),
        "special_tokens": vocabulary.special_tokens,
        "explicit_n_vocab": None,
    }
    return json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n"
