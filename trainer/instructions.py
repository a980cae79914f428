"""Instructions with their answers: read from JSON, made tokens, and dealt out to a training."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import InputError
from tokenizer.encode import Encoder
from trainer.data import IGNORED, Window

# The prompts of Stanford Alpaca (Taori et al. 2023), train.py; the answer follows at once.
_ALONE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)

TOLD = 5  # lines that are named, of those of one fate


def prompt_of(instruction: str, given: str = "") -> str:
    """What a tuned model is asked; `given` is what the instruction is about, if anything."""
    text = _WITH_INPUT if given.strip() else _ALONE
    return text.format(instruction=instruction, input=given)


class Record(NamedTuple):
    """A prompt and its answer."""

    line: int  # of the file, where the record begins
    prompt: str
    answer: str


@dataclass
class Fates:
    """What became of a file's records, by the lines on which they begin."""

    records: int = 0
    dropped: dict[str, list[int]] = field(default_factory=dict)  # by reason
    cut: list[int] = field(default_factory=list)  # answers that did not fit the context

    def drop(self, reason: str, line: int) -> None:
        """Note a record that is not used."""
        self.dropped.setdefault(reason, []).append(line)

    def told(self) -> list[str]:
        """What is not used as it is, and where it stands."""
        said = [f"dropped, {reason}: {_listed(lines)}" for reason, lines in self.dropped.items()]
        return said + [f"answer cut to the context: {_listed(self.cut)}"] * bool(self.cut)


def _listed(lines: Sequence[int]) -> str:
    """How many, and where the first of them are."""
    few = ", ".join(map(str, lines[:TOLD])) + ", ..." * (len(lines) > TOLD)
    return f"{len(lines):,} (line{'s' * (len(lines) > 1)} {few})"


def read(path: Path, fates: Fates) -> list[Record]:
    """The records of JSON lines or of a JSON array; those that cannot be used are noted.

    A record has `instruction`, `output` and perhaps `input`, or else `prompt` and `completion`.
    """
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a file of JSON or JSON lines") from error
    is_array = content.lstrip()[:1] == b"["
    values = _elements(path, content) if is_array else _lines(content)
    records = []
    for line, value in values:
        fates.records += 1
        record = _record(line, value)
        if isinstance(record, Record):
            records.append(record)
        else:
            fates.drop(record, line)
    return records


def _lines(content: bytes) -> Iterator[tuple[int, Any]]:
    """The value of each line that is not blank; an error in place of what is not JSON."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, error


def _elements(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    """The elements of an array, and the lines on which they begin."""
    decoder, line, counted, separator = json.JSONDecoder(), 1, 0, ","
    try:
        text = content.decode()
        at = _past_space(text, text.index("[") + 1)
        if text[at : at + 1] == "]":
            at, separator = at + 1, "]"
        while separator == ",":
            at = _past_space(text, at)
            line, counted = line + text.count("\n", counted, at), at
            value, at = decoder.raw_decode(text, at)
            yield line, value
            at = _past_space(text, at)
            separator, at = text[at : at + 1], at + 1
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: record on line {line}: not JSON ({error})") from error
    if separator != "]" or text[at:].strip():
        raise InputError(f"{path}: record on line {line}: not followed by a comma or the end")


def _past_space(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def _record(line: int, value: Any) -> Record | str:
    """A record, or why there is none."""
    if isinstance(value, Exception):
        return "not JSON"
    if not isinstance(value, dict):
        return "not an object"
    plain = "prompt" in value or "completion" in value
    names = ("prompt", "", "completion") if plain else ("instruction", "input", "output")
    found = (value.get(name) for name in names)
    asked, given, answer = ("" if text is None else text for text in found)
    if reason := _lack(asked, given, answer):
        return reason
    return Record(line, asked if plain else prompt_of(asked, given), answer)


def _lack(asked: Any, given: Any, answer: Any) -> str:
    """Why a record cannot be used; empty if it can."""
    if not all(isinstance(text, str) and _has_bytes(text) for text in (asked, given, answer)):
        return "not text"
    if not asked.strip():
        return "no instruction"
    return "" if answer.strip() else "no output"


def _has_bytes(text: str) -> bool:
    """Whether UTF-8 can say it; JSON can spell half of a pair of surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Example(NamedTuple):
    """A record as tokens."""

    record: Record
    tokens: NDArray[np.int64]  # prompt, answer, end of text
    asked: int  # how many of them are the prompt


def examples_of(
    records: Sequence[Record], encoder: Encoder, end: int, context: int, fates: Fates
) -> list[Example]:
    """Records as tokens; an answer is cut to the context, and a prompt that fills it is dropped."""
    examples = []
    prompts = _encoded(encoder, [record.prompt for record in records])
    answers = _encoded(encoder, [record.answer for record in records])
    for record, prompt, answer in zip(records, prompts, answers, strict=True):
        tokens = np.concatenate((prompt, answer, [end]))
        if len(prompt) > context:
            fates.drop("prompt longer than the context", record.line)
            continue
        if len(tokens) > context + 1:  # the last token is a target only
            fates.cut.append(record.line)
        examples.append(Example(record, tokens[: context + 1], len(prompt)))
    return examples


def _encoded(encoder: Encoder, texts: list[str]) -> list[NDArray[np.int64]]:
    tokens, ends = encoder.encode(pa.array(texts, pa.large_string()))
    return np.split(tokens.astype(np.int64), ends[1:-1]) if texts else []


def parted(
    examples: Sequence[Example], held_out: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """The examples to train on, and a share of them to test on."""
    count = round(held_out * len(examples))
    order = _order(len(examples), f"held out {seed}")
    tested, trained = sorted(order[:count]), sorted(order[count:])
    return [examples[i] for i in trained], [examples[i] for i in tested]


@lru_cache(maxsize=2)
def _order(count: int, key: str) -> tuple[int, ...]:
    """The numbers below `count` in an order of the key's."""
    keys = [hashlib.sha256(f"{key} {number}".encode()).digest() for number in range(count)]
    return tuple(sorted(range(count), key=keys.__getitem__))


class Deal:
    """The examples of any training step, in an order of each epoch's own, without state.

    A sample is an example. Those of a step lie together in as few rows as the longest of them has
    room for, as documents that do not see each other: it changes the speed, not the loss.
    """

    vocabulary = ""  # of no tokenizer of their own: theirs is that of the model they tune

    def __init__(
        self, examples: Sequence[Example], end_of_text: int, epochs: int = 1, seed: int = 0
    ) -> None:
        self.windows = len(examples)
        self.end_of_text = end_of_text
        hashed = hashlib.sha256(str((seed, end_of_text)).encode())
        for example in examples:
            hashed.update(np.array([len(example.tokens), example.asked], "<i8").tobytes())
            hashed.update(example.tokens.astype("<i8").tobytes())
        self.digest = hashed.hexdigest()
        self._examples = examples
        self._seed = seed
        self._samples = self.windows * epochs

    def epochs(self, samples: int) -> dict[str, float]:
        """How often the examples have been seen after so many samples."""
        return {"instructions": min(samples, self._samples) / self.windows}

    def rows(self, first: int, count: int) -> Window:
        """The samples first, first + 1, ...; there are none beyond the last epoch."""
        last = min(first + count, self._samples)
        chosen = [self._example(sample) for sample in range(first, last)]
        places = packed([len(example.tokens) - 1 for example in chosen])
        shape = (max((row for row, _ in places), default=0) + 1, _room(chosen))
        tokens = np.full(shape, self.end_of_text, np.int64)
        targets = np.full(shape, IGNORED, np.int64)
        documents = np.zeros(shape, np.int32)
        for (row, start), (_, ids, asked) in zip(places, chosen, strict=True):
            end = start + len(ids) - 1
            tokens[row, start:end] = ids[:-1]
            targets[row, start + asked - 1 : end] = ids[asked:]
            documents[row, end:] += 1  # what fills the row up is a document, too
        return Window(tokens, targets, documents)

    def _example(self, sample: int) -> Example:
        epoch, place = divmod(sample, self.windows)
        return self._examples[_order(self.windows, f"{self._seed} {epoch}")[place]]


def _room(examples: Sequence[Example]) -> int:
    return max((len(example.tokens) - 1 for example in examples), default=1)


def packed(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """For each size its row and where it begins there; rows are as long as the largest.

    First fit, the largest first.
    """
    room = max(sizes, default=0)
    filled: list[int] = []
    places = [(0, 0)] * len(sizes)
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        fits = (row for row, used in enumerate(filled) if used + sizes[number] <= room)
        row = next(fits, len(filled))
        filled += [0] * (row == len(filled))
        places[number] = row, filled[row]
        filled[row] += sizes[number]
    return places
