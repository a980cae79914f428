"""Other people's encoders, each at its fastest call on one thread: timed as ours is.

Runs under the peers' own interpreter, one encoder in a process; tokenizer_speed.py starts it.
"""

import argparse
import base64
import json
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.tokenizer_clock import Side, clocked, documents, growth

# Splitting patterns and names of whoever wants a name. A folder holds `tokenizer.json`,
# `tokenizer.tiktoken` and `about.json` with pattern and special tokens.
OPENAI = {"gpt2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}


def about(folder: Path) -> dict[str, Any]:
    """What the driver says of a vocabulary: `name`, `pattern`, `text` of it, `special_tokens`."""
    said: dict[str, Any] = json.loads((folder / "about.json").read_text())
    return said


def known(folder: Path) -> Path:
    """The file for libraries that know patterns by their text."""
    path = folder / "known.json"
    return path if path.is_file() else folder / "tokenizer.json"


def openai_name(folder: Path) -> str:
    """OpenAI's name of a vocabulary that is shipped with a library."""
    return OPENAI[about(folder)["name"]]


def quicktok(folder: Path) -> Side:
    """Batches of documents into one array; without threads."""
    library = import_module("quicktok")
    name = about(folder)["name"]
    bundled = {"cl100k": "cl100k_base", "o200k": "o200k_base", "qwen3": "qwen3"}
    if name in bundled:
        encoder = library.get_encoding(bundled[name])
    else:
        home = tempfile.mkdtemp()
        library.import_tokenizer(str(folder / "tokenizer.json"), name, home)
        encoder = library.get_encoding(name, home)
    return Side(lambda texts: encoder.encode_batch(texts, 1), flatten=lambda given: given[0])


def tiktoken(folder: Path) -> Side:
    """Document by document, into arrays."""
    library, said = import_module("tiktoken"), about(folder)
    lines = (folder / "tokenizer.tiktoken").read_bytes().split()
    ranks = {
        base64.b64decode(token): int(i) for token, i in zip(lines[::2], lines[1::2], strict=True)
    }
    encoder = library.Encoding(
        said["name"], pat_str=said["text"], mergeable_ranks=ranks, special_tokens={}
    )
    return Side(lambda texts: [encoder.encode_ordinary(text) for text in texts])


def bpe_openai(folder: Path) -> Side:
    """The raw binding, document by document."""
    encoder = import_module("bpe_openai._bindings").tokenizer_for_encoding(openai_name(folder))
    return Side(lambda texts: [encoder.encode(text) for text in texts])


def rs_bpe(folder: Path) -> Side:
    """Document by document."""
    encoder = getattr(import_module("rs_bpe").openai, openai_name(folder))()
    return Side(lambda texts: [encoder.encode(text) for text in texts])


def tokenizers(folder: Path) -> Side:
    """`encode_batch_fast`, which keeps no offsets."""
    encoder = import_module("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
    encode = partial(encoder.encode_batch_fast, add_special_tokens=False)
    return Side(encode, flatten=lambda given: [token for one in given for token in one.ids])


def gigatoken(folder: Path) -> Side:
    """All documents as one buffer, without threads: its fastest call, and it has a cache."""
    library = import_module("gigatoken")
    encoder = library.Tokenizer(str(known(folder)))
    return Side(
        lambda given: encoder.encode_batch(given, parallel=False),
        lambda texts: library.BytesSource("\0".join(texts).encode(), separator=b"\0"),
        lambda given: np.asarray(import_module("awkward").flatten(given)),
    )


def tokie(folder: Path) -> Side:
    """Its files of documents: no Python object for a document."""
    encoder = import_module("tokie").Tokenizer.from_json(str(known(folder)))
    scratch = Path(tempfile.mkdtemp())

    def prepare(texts: list[str]) -> str:
        path = Path(tempfile.mkstemp(dir=scratch)[1])
        path.write_bytes("\0".join(texts).encode())
        return str(path)

    return Side(lambda path: encoder.encode_files([path], b"\0"), prepare, lambda given: given[0])


ENCODERS: dict[str, Callable[[Path], Side]] = {
    "gigatoken": gigatoken,
    "quicktok": quicktok,
    "tokie": tokie,
    "tiktoken": tiktoken,
    "bpe-openai": bpe_openai,
    "rs-bpe": rs_bpe,
    "tokenizers": tokenizers,
}


def answer(load: Callable[[], Side], given: argparse.Namespace) -> None:
    """Time what was asked for and leave the figures in a file."""

    def note(figures: Any) -> None:
        given.result.write_text(json.dumps(figures))

    if given.what == "encode":
        note(clocked(load, documents(given.texts)))
    else:
        growth(load, given.texts.read_text(), given.sizes, note)


def arguments() -> argparse.ArgumentParser:
    """What ours and the peers' command line have in common."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("encode", "growth"))
    parser.add_argument("side")
    parser.add_argument("folder", type=Path, help="a vocabulary")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="*", default=[])
    return parser


if __name__ == "__main__":
    parsed = arguments().parse_args()
    answer(partial(ENCODERS[parsed.side], parsed.folder), parsed)
