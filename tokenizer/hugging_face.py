"""`tokenizer.json`, the format of `tokenizers`: any byte-level BPE, exactly or not at all."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.column import view
from curate.errors import CurateError, ModelError
from tokenizer.automaton import Automaton, covers
from tokenizer.dialect import peculiar, portable
from tokenizer.letters import (
    BYTE_OF,
    Fields,
    byte_level,
    letters,
    merged_pairs,
    numbered,
    refuse,
    shown,
    want,
)
from tokenizer.normalize import FORMS
from tokenizer.pretokenize import PATTERNS, Pattern, pieces_of, splitter

if TYPE_CHECKING:
    from tokenizer.vocabulary import Vocabulary

# A pattern that `tokenizers` would read otherwise is written under this name, which it refuses.
OURS = "regex"
MANNERS = ("normalized", "lstrip", "rstrip", "single_word")
# One piece, whatever the text: a ByteLevel that does not split.
WHOLE_TEXT = r"[\s\S]+"


def read(path: Path, said: dict[str, Any]) -> Fields:
    """A byte-level BPE; what `tokenizers` adds around a text or cuts off its end is left out."""
    model = said["model"]
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise refuse(path, f"a model of type {kind}")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise refuse(path, f"model.{name} = {model[name]!r}")
    vocab = numbered(path, model.get("vocab"), "model.vocab")
    special, always, manners = added_tokens(path, said.get("added_tokens") or [], vocab)
    pattern, prefix_space = pattern_of(path, said.get("pre_tokenizer") or {})
    pairs = [pair_of(path, pair) for pair in want(path, model.get("merges"), list, "model.merges")]
    whole = bool(model.get("ignore_merges"))
    if whole:
        refuse_hidden(path, [name for name in (*special, *always) if name in vocab], pattern)
    return {
        "tokens": byte_level(path, vocab, {**special, **always}),
        "merges": merged_pairs(path, vocab, pairs),
        "pattern": pattern,
        "special_tokens": special,
        "whole": whole,
        "normalization": normalization_of(path, said.get("normalizer")),
        "always": always,
        "manners": manners,
        "prefix_space": prefix_space,
    }


def pair_of(path: Path, pair: Any) -> list[str]:
    """The two parts of a merge, written `a b` or `["a", "b"]`."""
    parts = pair.split(" ") if isinstance(pair, str) else pair
    is_pair = isinstance(parts, list) and len(parts) == 2
    if not is_pair or not all(isinstance(part, str) for part in parts):
        raise ModelError(f"{path}: {shown(pair)} is no merge of two tokens; a damaged file?")
    return parts


def added_tokens(
    path: Path, said: Any, vocab: dict[str, int]
) -> tuple[dict[str, int], dict[str, int], dict[str, frozenset[str]]]:
    """Special tokens, tokens that are always found, and how each is found."""
    special: dict[str, int] = {}
    always: dict[str, int] = {}
    manners: dict[str, frozenset[str]] = {}
    numbers = dict(vocab)
    free = len(vocab)
    for entry in want(path, said, list, "added_tokens"):
        want(path, entry, dict, "an added token")
        name = want(path, entry.get("content"), str, "the content of an added token")
        number = want(path, entry.get("id"), int, f"the id of {name!r}")
        if not name or name in special or name in always:
            raise ModelError(f"{path}: added token {name!r} is empty or there twice")
        # What the vocabulary lacks gets the next free number from `tokenizers`, whatever is said.
        given = numbers.setdefault(name, free)
        free = max(free, given + 1)
        if number != given:
            raise ModelError(
                f"{path}: added token {name!r} has id {number}, where tokenizers gives it {given}"
            )
        (special if entry.get("special") else always)[name] = number
        ways = frozenset(way for way in MANNERS if entry.get(way))
        if ways:
            manners[name] = ways
    return special, always, manners


def refuse_hidden(path: Path, names: list[str], pattern: Pattern) -> None:
    """Refuse names in the vocabulary that text alone could spell, as no merges are needed."""
    machines = splitter(pattern)
    for name in names:
        if all(letter in BYTE_OF for letter in name):
            spelled = pa.array([bytes(BYTE_OF[letter] for letter in name)], pa.binary())
            if sum(len(block) for block in pieces_of(view(spelled), machines)) == 1:
                raise refuse(path, f"ignore_merges with the special token {name!r}, one piece,")


def normalization_of(path: Path, said: Any) -> str:
    """The one Unicode normalisation that is applied to text, or none."""
    if said is None:
        return ""
    kind = want(path, said, dict, "normalizer").get("type")
    if kind == "Sequence":
        steps = want(path, said.get("normalizers"), list, "normalizer.normalizers")
        if len(steps) > 1:
            raise refuse(path, "a sequence of normalizers")
        return normalization_of(path, steps[0]) if steps else ""
    if kind not in FORMS:
        raise refuse(path, f"a normalizer of type {kind}")
    return str(kind)


def steps_of(path: Path, said: Any) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer, those within sequences too."""
    if want(path, said, dict, "pre_tokenizer").get("type") != "Sequence":
        return [said]
    inner = want(path, said.get("pretokenizers"), list, "pre_tokenizer.pretokenizers")
    return [step for one in inner for step in steps_of(path, one)]


def pattern_of(path: Path, said: Any) -> tuple[Pattern, bool]:
    """The patterns of a byte-level pre-tokenizer, and whether a text begins with a space."""
    steps = steps_of(path, said)
    if not steps or steps[-1].get("type") != "ByteLevel":
        kinds = ", ".join(str(step.get("type")) for step in steps)
        raise refuse(path, f"a pre-tokenizer of type {kinds}")
    *before, last = steps
    prefix_space = bool(last.get("add_prefix_space"))
    if prefix_space and before:
        raise refuse(path, "add_prefix_space behind another split")
    patterns = [step_pattern(path, step) for step in before]
    if last.get("use_regex", True):
        patterns.append("gpt2")
    patterns = patterns or [WHOLE_TEXT]
    return patterns[0] if len(patterns) == 1 else tuple(patterns), prefix_space


def step_pattern(path: Path, step: dict[str, Any]) -> str:
    """The pattern of one split, by its name if it has one."""
    if step.get("type") == "Digits":
        return "digit" if step.get("individual_digits") else r"\p{N}+"
    if step.get("type") != "Split":
        raise refuse(path, f"a pre-tokenizer with {step.get('type')}")
    said = want(path, step.get("pattern"), dict, "the pattern of a Split")
    text = text_of(path, said)
    try:
        machines = splitter(text)
    except CurateError as error:
        raise ModelError(f"{path}: {error}") from error
    kind = (step.get("behavior"), bool(step.get("invert")))
    # With `Removed` and `invert` the matches are kept, which is all of the text or not supported.
    is_total = isinstance(machines[0], Automaton) and covers(machines[0])
    if kind[0] != "Isolated" and not (kind == ("Removed", True) and is_total):
        raise refuse(path, f"splitting with {kind[0]}")
    return next((name for name, known in PATTERNS.items() if known == text), text)


def text_of(path: Path, said: dict[str, Any]) -> str:
    """The text of a pattern for `regex`, if it means the same there."""
    if OURS in said:
        return str(want(path, said[OURS], str, f"a pattern under {OURS!r}"))
    if "String" in said:
        literal = want(path, said["String"], str, "the pattern of a Split")
        return "".join(f"\\{mark}" if not mark.isalnum() else mark for mark in literal)
    text = str(want(path, said.get("Regex"), str, "the pattern of a Split"))
    if differing := peculiar(text):
        raise refuse(path, f"{differing[0][1]!r} in a pattern, which libraries read differently,")
    return text


def refuse_what_it_lacks(path: Path, vocabulary: "Vocabulary") -> None:
    """Refuse a vocabulary that `tokenizers` would not open, or not encode with in the same way."""
    for pattern in vocabulary.patterns:
        if differing := peculiar(portable(PATTERNS.get(pattern, pattern))):
            raise refuse(path, f"{differing[0][1]!r} in a pattern, which libraries read otherwise,")
    if vocabulary.whole:
        refuse_hidden(path, list(names_within(vocabulary)), vocabulary.pattern)


def split_as_json(pattern: str) -> dict[str, Any]:
    """One split, as `tokenizers` reads it or, if it would be read otherwise, refuses it."""
    ours = PATTERNS.get(pattern, pattern)
    text = portable(ours)
    said = {OURS: ours} if peculiar(text) else {"Regex": text}
    return {"type": "Split", "pattern": said, "behavior": "Isolated", "invert": False}


def names_within(vocabulary: "Vocabulary") -> dict[str, int]:
    """Names that stand in the vocabulary too: `tokenizers` gives others the first free numbers."""
    if not vocabulary.whole:
        return vocabulary.names
    # Where no merges are needed, a piece spelled like a name in the vocabulary would be that token.
    names = sorted(vocabulary.names.items(), key=lambda item: item[1])
    ordinary = sum(map(bool, vocabulary.tokens))
    while names and names[-1][1] == ordinary + len(names) - 1:
        names.pop()
    return dict(names)


def as_json(vocabulary: "Vocabulary") -> dict[str, Any]:
    """The tokenizer as `tokenizers` and `transformers` read it."""
    tokens = [letters(token) for token in vocabulary.tokens]
    patterns = vocabulary.patterns
    # A space is put before every piece of a split that comes first: ByteLevel has to split itself.
    if vocabulary.prefix_space and patterns not in (("gpt2",), (WHOLE_TEXT,)):
        raise ModelError(
            "a tokenizer.json can put a space before a text with the pattern gpt2 only"
        )
    byte_level = {
        "add_prefix_space": vocabulary.prefix_space,
        "trim_offsets": True,
        "use_regex": vocabulary.prefix_space and patterns == ("gpt2",),
    }
    splits = [] if vocabulary.prefix_space else [split_as_json(pattern) for pattern in patterns]
    name = vocabulary.normalization
    names = vocabulary.names
    if clash := names.keys() & set(filter(None, tokens)):
        raise ModelError(f"a tokenizer.json cannot tell the name {min(clash)!r} from a token")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, **added(vocabulary, name)}
            for name, token in sorted(names.items(), key=lambda item: item[1])
        ],
        "normalizer": {"type": name} if name else None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [*splits, {"type": "ByteLevel", **byte_level}],
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
                **{token: i for i, token in enumerate(tokens) if token},
                **names_within(vocabulary),
            },
            "merges": [
                [tokens[left], tokens[right]] for left, right, _ in vocabulary.merges.tolist()
            ],
        },
    }


def added(vocabulary: "Vocabulary", name: str) -> dict[str, Any]:
    """What is said of a token that is a name, and how it is found."""
    return {
        "content": name,
        **{way: way in vocabulary.manners.get(name, ()) for way in MANNERS},
        "special": name in vocabulary.special_tokens,
    }


def config(vocabulary: "Vocabulary") -> dict[str, Any]:
    """`tokenizer_config.json`, with which `transformers.AutoTokenizer` opens the folder."""
    try:
        end = vocabulary.spelled[vocabulary.end_of_text].decode()
    except ModelError:
        end = None
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": vocabulary.prefix_space,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
        **({"bos_token": end, "eos_token": end, "unk_token": end} if end else {}),
    }


def written(said: dict[str, Any]) -> bytes:
    """JSON as it lies in a file, the same bytes for the same content."""
    return json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n"
