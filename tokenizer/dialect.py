r"""Patterns as three libraries read them: Oniguruma in `tokenizers`, Rust in tiktoken, `regex`.

`\p{N}{1,3}+` takes three digits in two of them and all in the third; `$` ends a line, the text, or
the text but for a newline; `\w` holds 17,000 characters more or fewer. What differs is named here,
and rewritten or refused.
"""

import re

_MARKS = re.compile(
    r"\\(?P<escaped>[pP]\{\^?\w+\}|.)|(?P<operator>\[:|&&|--|~~|\|\|)|(?P<opens>\[)|(?P<closes>\])"
    r"|(?P<mark>\}\+|[\^$]|\(\?(?!:|i:|=|!|<=|<!|>))",
    re.DOTALL,
)
_ALIKE = frozenset("sSdDrntfvxu0123456789")
_BEGIN, _END = r"(?<![\s\S])", r"(?![\s\S])"
_ANCHORS = {"^": _BEGIN, r"\A": _BEGIN, r"\Z": _END}
_LAST_LINE = r"(?=\n?(?![\s\S]))"  # what `$` means to `regex`
_POSSESSIVE = re.compile(
    r"((?:\[(?:\\.|[^\[\]\\])*\]|\\[pP]\{\^?\w+\}|\\.|[^\\()\[\]{}|?*+])\{\d*,?\d*\})\+"
)


def peculiar(pattern: str) -> list[tuple[int, str]]:
    """Where the pattern has something that the libraries read differently, and what it is."""
    found = []
    depth = 0
    for mark in _MARKS.finditer(pattern):
        escaped = mark["escaped"]
        alike = escaped is None or len(escaped) > 1 or escaped in _ALIKE or not escaped.isalnum()
        if not alike or (mark["operator"] and depth) or (mark["mark"] and not depth):
            found.append((mark.start(), mark[0]))
        opens = mark["opens"] or mark["operator"] == "[:"
        depth += bool(opens) - bool(mark["closes"] and depth)
    return found


def portable(pattern: str, dollar: str = _LAST_LINE) -> str:
    r"""The pattern with anchors and `{m,n}+` written in a way that all read alike."""
    for at, mark in reversed(peculiar(pattern)):
        written = dollar if mark == "$" else _ANCHORS.get(mark, mark)
        pattern = pattern[:at] + written + pattern[at + len(mark) :]
    return _POSSESSIVE.sub(r"(?>\1)", pattern)


def from_tiktoken(pattern: str) -> str:
    """A pattern of tiktoken's for `regex`: there `$` is the end of the text and nothing else."""
    return portable(pattern, _END)
