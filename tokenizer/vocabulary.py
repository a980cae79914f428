"""What a byte-level BPE tokenizer is, and how one is loaded and saved in the formats people use."""

import difflib
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from curate.errors import ModelError
from tokenizer import gpt2_files, hugging_face, tiktoken_ranks
from tokenizer.bpe import Merges
from tokenizer.letters import ENDS, Fields, refuse
from tokenizer.pretokenize import PATTERNS, Pattern
from tokenizer.special import Manners, Preparation, cutter

FORMATS = ("tokenizer.json", "tiktoken", "gpt2")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens, the merges that make them, the pattern that cuts text, and special tokens.

    `merges` holds left, right and resulting token, the merge to prefer first. With `whole` a piece
    that is a token needs no merges. `tokens[i]` is empty where i has a name or is not used. Special
    tokens are found in texts when asked for, those of `always` in every text.
    """

    tokens: tuple[bytes, ...]
    merges: Merges
    pattern: Pattern
    special_tokens: dict[str, int] = field(default_factory=dict)
    whole: bool = False
    normalization: str = ""  # "NFC", "NFKC", "NFD", "NFKD" or none
    always: dict[str, int] = field(default_factory=dict)
    manners: Manners = field(default_factory=dict)  # by name, where there is something to say
    prefix_space: bool = False  # a text that does not begin with a space gets one

    @property
    def size(self) -> int:
        """One more than the largest token."""
        return max([len(self.tokens), *(i + 1 for i in self.names.values())])

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns that cut text, in turn."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    @property
    def names(self) -> dict[str, int]:
        """All tokens that are names: special ones and those that are always found."""
        return {**self.special_tokens, **self.always}

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
        for name, token in self.names.items():
            tokens[token] = name.encode()
        return tuple(tokens)

    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of all that decides how text is encoded."""
        texts = [PATTERNS.get(pattern, pattern) for pattern in self.patterns]
        said: Fields = {
            "tokens": [token.hex() for token in self.tokens],
            "merges": self.merges.tolist(),
            "pattern": texts[0] if isinstance(self.pattern, str) else texts,
            "special_tokens": self.special_tokens,
            "whole": self.whole,
            "normalization": self.normalization,
        }
        # Left out where there is nothing to say: prints of older versions stay what they were.
        manners = {name: sorted(ways) for name, ways in self.manners.items() if ways}
        more = {"always": self.always, "manners": manners, "prefix_space": self.prefix_space}
        said |= {name: value for name, value in more.items() if value}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def preparation(self, specials: Collection[str] = ()) -> Preparation:
        """What is done to texts before they are split, with these special tokens found in them."""
        for name in specials:
            if name not in self.names:
                near = difflib.get_close_matches(name, self.names, 1, 0)
                hint = f"; did you mean {near[0]}?" if near else "; this tokenizer has none"
                raise ModelError(f"no special token {name!r}{hint}")
        # Where tokens are always found, `tokenizers` is the model: names not asked for hide others.
        names = self.names if self.always else {name: self.names[name] for name in specials}
        late = {name for name in names if "normalized" in self.manners.get(name, ())}
        found = {*specials, *self.always}
        first, second = (
            cutter({n: names[n] for n in group}, found, self.manners, form)
            for group, form in ((names.keys() - late, ""), (late, self.normalization))
        )
        return Preparation(first, self.normalization, second, self.prefix_space)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and ranks where tiktoken would encode alike."""
        write(folder, json_files(self, folder))
        try:
            export(self, folder, "tiktoken")
        except ModelError:
            for name in ("tokenizer.tiktoken", tiktoken_ranks.BESIDE):
                (folder / name).unlink(missing_ok=True)


def export(vocabulary: Vocabulary, folder: Path, format_: str) -> list[Path]:
    """Write a vocabulary in one of FORMATS, same bytes for same ones, or refuse it."""
    writers = dict(zip(FORMATS, (json_files, tiktoken_files, gpt2_pair), strict=True))
    if format_ not in writers:
        raise ModelError(f"no format {format_!r} for tokenizers; there are: {', '.join(FORMATS)}")
    if format_ == "tokenizer.json":
        hugging_face.refuse_what_it_lacks(folder, vocabulary)
    return write(folder, writers[format_](vocabulary, folder))


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Put files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        publish(folder / name, content)
    return [folder / name for name in files]


def json_files(vocabulary: Vocabulary, _: Path) -> dict[str, bytes]:
    """The files that `tokenizers` and `transformers` read."""
    return {
        "tokenizer.json": hugging_face.written(hugging_face.as_json(vocabulary)),
        "tokenizer_config.json": hugging_face.written(hugging_face.config(vocabulary)),
    }


def tiktoken_files(vocabulary: Vocabulary, folder: Path) -> dict[str, bytes]:
    """Ranks, and what `tiktoken.Encoding` wants beside them."""
    tiktoken_ranks.refuse_what_ranks_lack(folder, vocabulary)
    return {
        "tokenizer.tiktoken": tiktoken_ranks.rank_lines(vocabulary),
        tiktoken_ranks.BESIDE: tiktoken_ranks.beside_json(vocabulary),
    }


def gpt2_pair(vocabulary: Vocabulary, folder: Path) -> dict[str, bytes]:
    """The two files of GPT-2, and the one with which `transformers` opens them."""
    gpt2_files.refuse_what_they_lack(folder, vocabulary)
    return {
        "vocab.json": gpt2_files.vocab_json(vocabulary),
        "merges.txt": gpt2_files.merges_txt(vocabulary),
        "tokenizer_config.json": hugging_face.written(gpt2_files.config(vocabulary)),
    }


def publish(path: Path, content: bytes) -> None:
    """Write a file under another name, then give it its own: a file that exists is complete."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def load(
    path: Path | str, pattern: Pattern = "", special_tokens: dict[str, int] | None = None
) -> Vocabulary:
    """A tokenizer from any file that `read` knows; a folder stands for the first that it holds."""
    path = Path(path)
    if path.is_dir():
        names = ("tokenizer.json", "vocab.json", *sorted(p.name for p in path.glob("*.tiktoken")))
        names += ("tokenizer.model",)
        found = [path / name for name in names if (path / name).is_file()]
        if not found:
            raise ModelError(f"{path}: no tokenizer.json, vocab.json or *.tiktoken in this folder")
        path = found[0]
    if not path.is_file():
        raise ModelError(f"{path}: no such tokenizer")
    fields = read(path, pattern, special_tokens)
    fields["merges"] = np.array(fields["merges"], np.int32).reshape(-1, 3)
    return Vocabulary(**fields)


def read(path: Path, pattern: Pattern, special_tokens: dict[str, int] | None) -> Fields:
    """What `tokenizer.json`, GPT-2's files, tiktoken's ranks or its JSON say.

    `pattern` and `special_tokens` complete a rank file, which holds neither; those of OpenAI's are
    known by name.
    """
    content = path.read_bytes()
    if path.suffix == ".tiktoken" or tiktoken_ranks.is_rank_file(content):
        return tiktoken_ranks.read(path, content, pattern, special_tokens)
    if content[:1] == b"\n" and b"<unk>" in content[:1000]:
        raise refuse(path, "a SentencePiece model")
    gpt2_files.refuse_merges_alone(path, content)
    said = tiktoken_ranks.parsed(path, content)
    if isinstance(said, dict) and isinstance(said.get("model"), dict):
        return hugging_face.read(path, said)
    if isinstance(said, dict) and "bpe_ranks" in said:
        return tiktoken_ranks.read_json(path, said)
    merges = gpt2_files.merges_beside(path)
    if merges is None:
        raise ModelError(
            f"{path}: no tokenizer.json, no JSON of tiktoken's, and no vocab.json with merges.txt "
            "beside it"
        )
    return {**gpt2_files.read(path, said, merges), "pattern": pattern or "gpt2"}
