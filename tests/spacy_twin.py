"""spaCy's English tokenizer written out with regular expressions, from the same tables.

The patterns are those of spaCy 3.8 (MIT), lang/punctuation.py and lang/tokenizer_exceptions.py; the
steps are those of tokenizer.pyx.
"""

import re
from functools import cache
from importlib.resources import files

LISTS = files("filters") / "lists"


def lines(name: str) -> list[str]:
    return (LISTS / name).read_text(encoding="utf-8").splitlines()[1:]


def characters(sign: str) -> str:
    """The inside of a class of all characters with this sign."""
    spans = [line.split(" ") for line in lines("tokens_characters.txt")]
    ends = [span.partition("-")[::2] for span, signs in spans if sign in signs]
    return "".join(f"\\U{int(a, 16):08X}-\\U{int(b or a, 16):08X}" for a, b in ends)


A, L, U, Q, I, D, P, S = map(characters, "ALUQIDPS")  # noqa: E741  # the table's own letters
UNITS = "|".join(sorted(map(re.escape, lines("tokens_units.txt")), key=len, reverse=True))
EXCEPTIONS = {
    line.partition("\t")[0].replace(" ", ""): line.partition("\t")[0].split(" ")
    for line in lines("tokens_exceptions.txt")
}

PREFIX = re.compile(rf"^(?:[{P}]|\+(?![0-9])|\.\.+|US\$|[AC]\$)")
SUFFIX = re.compile(
    rf"……$|\.\.+$|[{S}]$|['’][sS]$|(?<=[0-9])(?:{UNITS})$|(?<=°[FfCcKk])\.$|(?<=[{D}])\.$"
    rf"|(?<=[{U}][{U}])\.$"
)
INFIX = re.compile(
    rf"\.\.+|[{I}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{L}{Q}])\.(?=[{U}{Q}])|(?<=[{A}]),(?=[{A}])"
    rf"|(?<=[{A}0-9])(?:-|–|—|--|---|——|~)(?=[{A}])|(?<=[{A}0-9])[:<>=/](?=[{A}])"
)
NAME = "A-Za-z0-9\u00a1-\uffff"
URL = re.compile(
    r"^(?:(?:[\w\+\-\.]{2,})://)?(?:\S+(?::\S*)?@)?(?:"
    r"(?!(?:10|127)(?:\.\d{1,3}){3})(?!(?:169\.254|192\.168)(?:\.\d{1,3}){2})"
    r"(?!172\.(?:1[6-9]|2\d|3[0-1])(?:\.\d{1,3}){2})"
    r"(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:1?\d{1,2}|2[0-4]\d|25[0-5])){2}"
    r"(?:\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4]))"
    rf"|(?:(?:[{NAME}][{NAME}_-]{{0,62}})?[{NAME}]\.)+(?:[{L}]{{2,63}}))"
    r"(?::\d{2,5})?(?:[/?#]\S*)?$"
)


def without_affixes(text: str, known: dict[str, list[str]]) -> tuple[list[str], str, list[str]]:
    prefixes, suffixes, last = [], [], -1
    while text and len(text) != last and text not in known:
        last = len(text)
        prefix = match.group() if (match := PREFIX.search(text)) else ""
        if prefix and text[len(prefix) :] in known:
            return [*prefixes, prefix], text[len(prefix) :], suffixes
        suffix = match.group() if (match := SUFFIX.search(text[len(prefix) :])) else ""
        if suffix and text[: -len(suffix)] in known:
            return prefixes, text[: -len(suffix)], [*suffixes, suffix]
        prefixes += [prefix] if prefix else []
        suffixes += [suffix] if suffix else []
        text = text[len(prefix) : len(text) - len(suffix)]
    return prefixes, text, suffixes


def parts(text: str) -> list[str]:
    found, start = [], 0
    for match in INFIX.finditer(text):
        if match.start() > 0:
            found += [text[start : match.start()], match.group()]
            start = match.end()
    return [part for part in [*found, text[start:]] if part]


def pieces(run: str, known: dict[str, list[str]]) -> list[str]:
    """The tokens of a run without white space, before pieces are put together."""
    if run in known:
        return known[run]
    prefixes, core, suffixes = without_affixes(run, known)
    if core in known:
        middle = known[core]
    elif URL.search(core):
        middle = [core]
    else:
        middle = parts(core)
    return [*prefixes, *middle, *reversed(suffixes)]


@cache
def patterns() -> dict[tuple[str, ...], str]:
    """What exceptions look like in pieces, cut without knowing any."""
    cut = {tuple(pieces(word, {})): word for word in EXCEPTIONS}
    return {found: word for found, word in cut.items() if len(found) > 1}


def matches(tokens: list[str]) -> list[tuple[int, int]]:
    """Where pieces spell exceptions, the longest first, of equal ones the first."""
    longest = max(map(len, patterns()))
    found = [
        (start, end)
        for start in range(len(tokens))
        for end in range(start + 2, min(start + longest, len(tokens)) + 1)
        if tuple(tokens[start:end]) in patterns()
    ]
    return sorted(found, key=lambda span: (span[0] - span[1], span[0]))


def merged(tokens: list[str], runs: list[int]) -> list[str]:
    """The tokens with exceptions in place of pieces of one run, unless a longer match has them."""
    chosen, seen = {}, set()
    for start, end in matches(tokens):
        if start not in seen and end - 1 not in seen:
            chosen[start] = end
        seen |= set(range(start, end))
    found, at = [], 0
    while at < len(tokens):
        end = chosen.get(at, at)
        if end > at and runs[at] == runs[end - 1]:
            found += EXCEPTIONS["".join(tokens[at:end])]
            at = end
        else:
            found.append(tokens[at])
            at += 1
    return found


def tokens(text: str) -> list[str]:
    """The tokens of a text, white space left out."""
    found: list[str] = []
    # More than a space between two runs is a token of its own, which parts what spells a word.
    for stretch in re.split(r"(?:\s(?<! )|\s\s)\s*|^\s", text):
        cut = [pieces(run, EXCEPTIONS) for run in stretch.split()]
        runs = [number for number, run in enumerate(cut) for _ in run]
        found += merged([token for run in cut for token in run], runs)
    return found
