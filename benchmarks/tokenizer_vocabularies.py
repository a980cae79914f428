"""The vocabularies that encoders are compared with, a folder each, in formats that peers read."""

import json
import lzma
from pathlib import Path
from typing import Any

from benchmarks.agreement_corpus import SHARED
from tokenizer.pretokenize import PATTERNS
from tokenizer.tiktoken_ranks import RANK_FILES, rank_lines
from tokenizer.vocabulary import load

# By our pattern, OpenAI's name; the shared file is their JavaScript package's.
RANKS = {"gpt2": "gpt2", "cl100k": "cl100k_base", "o200k": "o200k_base"}
JSON = ("qwen3", "deepseek")


def folder_of(name: str, root: Path) -> Path:
    """A folder with `tokenizer.json`, `tokenizer.tiktoken` and `about.json`, written if need be."""
    folder = root / name
    if not (folder / "about.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (unpack_ranks if name in RANKS else unpack_json)(name, folder)
    return folder


def unpacked(name: str) -> bytes:
    """The content of a shared file."""
    return lzma.decompress((SHARED / "tokenizers" / f"{name}.xz").read_bytes())


def unpack_ranks(name: str, folder: Path) -> None:
    """OpenAI's ranks as a rank file, and as `tokenizer.json` by our own export."""
    said = json.loads(unpacked(f"{RANKS[name]}.json"))
    lines = []
    for line in said["bpe_ranks"].splitlines():
        _, first, *tokens = line.split()
        lines += [f"{token} {int(first) + i}\n" for i, token in enumerate(tokens)]
    path = folder / f"{RANKS[name]}.tiktoken"
    path.write_text("".join(lines))
    vocabulary = load(path)
    vocabulary.save(folder)
    if name == "gpt2":
        as_published(folder / "tokenizer.json")
    said = (folder / "tokenizer.json").read_text()
    # Some libraries know patterns by their text: cl100k's as it was before it named the end.
    texts = (json.dumps(PATTERNS[one]) for one in ("cl100k", "llama3"))
    (folder / "known.json").write_text(said.replace(*texts))
    path.rename(folder / "tokenizer.tiktoken")
    describe(folder, name, ranks=True)


def as_published(path: Path) -> None:
    """Let a `tokenizer.json` of GPT-2's pattern say so by a name, which more libraries know."""
    said = json.loads(path.read_text())
    level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    said["pre_tokenizer"] = {"type": "ByteLevel", **level}
    said["model"]["ignore_merges"] = False
    path.write_text(json.dumps(said))


def unpack_json(name: str, folder: Path) -> None:
    """A tokenizer in Hugging Face's format as it is, and its tokens as ranks."""
    content = unpacked(f"{name}.json")
    (folder / "tokenizer.json").write_bytes(content)
    # Not an export, which refuses what ranks cannot say, such as Qwen's normalisation.
    ranks = rank_lines(load(folder / "tokenizer.json"))
    (folder / "tokenizer.tiktoken").write_bytes(ranks)
    describe(folder, name, ranks=False)


def describe(folder: Path, name: str, *, ranks: bool) -> None:
    """Say what the files themselves do not."""
    known: dict[str, Any] = {"pattern": "", "special_tokens": {}}
    if ranks:
        known["pattern"], known["special_tokens"] = RANK_FILES[RANKS[name]]
    else:
        vocabulary = load(folder / "tokenizer.json")
        known = {"pattern": vocabulary.pattern, "special_tokens": vocabulary.special_tokens}
    pattern = known["pattern"]
    text = PATTERNS.get(pattern, pattern) if isinstance(pattern, str) else ""  # ranks have one only
    said = {"name": name, "ranks": ranks, "text": text, **known}
    (folder / "about.json").write_text(json.dumps(said))
