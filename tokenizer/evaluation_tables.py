"""An evaluation in short, for a terminal 80 columns wide, with any number of tokenizers."""

from collections.abc import Callable
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from curate.report.charts import short
from curate.report.page import shown
from curate.report.terminal import plain

BESIDE = 5  # tokenizers side by side; more go into a table of their own
NAME, LANGUAGE = 11, 13  # letters of a tokenizer's and of a language's name
NONE = "–"
MOST_WORST = 5

# Rows of the first table: what it is called, its key, how it is written.
SUMMARY: list[tuple[str, str, Callable[[Any], str]]] = [
    ("vocabulary", "vocab_size", lambda n: f"{n:,}"),
    ("tokens", "tokens", short),
    ("bytes per token", "bytes_per_token", lambda n: f"{n:.3f}"),
    ("characters per token", "characters_per_token", lambda n: f"{n:.3f}"),
    ("tokens per word", "fertility", lambda n: f"{n:.3f}"),
    ("words kept whole", "kept_whole", lambda n: f"{n:.1%}"),
    ("Rényi efficiency", "renyi_efficiency", lambda n: f"{n:.3f}"),
    ("used tokens", "used_tokens", lambda n: f"{n:,}"),
    ("never used", "unused_tokens", lambda n: f"{n:,}"),
    ("rare", "rare_tokens", lambda n: f"{n:,}"),
    ("unreachable", "unreachable_tokens", lambda n: f"{n:,}"),
    ("Gini of languages", "gini", lambda n: f"{n:.3f}"),
]


def evaluation_tables(said: dict[str, Any]) -> list[RenderableType]:
    """What tokenizers do in all, and in each language."""
    tables: list[RenderableType] = [headline(said)]
    for judged in groups(said):
        tables += [Text(), summary(judged)]
    several = len(said["tokenizers"]) > 1
    for judged in groups(said):
        tables += [Text(), beside(said, judged) if several else alone(said, judged[0])]
    notes = [f"rare: fewer than {said['settings']['rare_below']} times in this text"]
    if several:
        second = "tokens by those for the pivot" if said["settings"]["pivot"] else "bytes per token"
        notes.append(f"two numbers: tokens per word, {second}")
    if any(one["spaceless"] for one in said["languages"]):
        notes.append("c: no spaces between words, so tokens per character")
    return [*tables, *(Text(note, "dim") for note in notes)]


def groups(said: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The tokenizers, as many at a time as fit."""
    every = said["tokenizers"]
    return [every[i : i + BESIDE] for i in range(0, len(every), BESIDE)]


def headline(said: dict[str, Any]) -> Text:
    """What was judged on."""
    documents, languages = said["documents"], said["languages"]
    size, words = (sum(one[name] for one in languages) for name in ("bytes", "words"))
    held_out = " held out" if said["criterion"] else ""
    text = Text(
        f"{documents['judged']:,} document{'s' * (documents['judged'] != 1)}{held_out}, "
        f"{len(languages)} language{'s' * (len(languages) != 1)}, {size:,} bytes, "
        f"{words:,} words"
    )
    for name, label in (("without_text", "without text"), ("not_utf8", "not UTF-8")):
        if documents[name]:
            text.append(f"; left out, {label}: {documents[name]:,}", "magenta")
    return text


def cut(name: str, most: int) -> Text:
    """A name in so many letters."""
    name = shown(name).replace("\n", " ")
    return Text(name if len(name) <= most else f"{name[: most - 1]}…", no_wrap=True)


def grid(first: str) -> Table:
    """A table whose first column says what a row is about."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    return table


def column(table: Table, *lines: str | Text) -> None:
    """Add a column of numbers."""
    table.add_column(Text("\n").join(map(Text, map(str, lines))), justify="right", no_wrap=True)


def summary(judged: list[dict[str, Any]]) -> Table:
    """A row for each measure, a column for each tokenizer."""
    table = grid("")
    for one in judged:
        column(table, cut(one["name"], NAME))
    for label, key, written in SUMMARY:
        values = [one["all"].get(key, one.get(key)) for one in judged]
        if any(value is not None for value in values):
            table.add_row(label, *(NONE if v is None else written(v) for v in values))
    table.add_row("documents given back", *(gives_back(one["all"]) for one in judged))
    return table


def gives_back(measures: dict[str, Any]) -> Text:
    """How many documents decoding does not give back."""
    changed = measures["changed_documents"]
    return Text("all") if not changed else Text(f"but {short(changed)}", "magenta")


def first_number(language: dict[str, Any], measures: dict[str, Any]) -> str:
    """Tokens per word, or per character where there are no words."""
    value = measures["tokens_per_character" if language["spaceless"] else "fertility"]
    return NONE if value is None else f"{value:.2f}{'c' if language['spaceless'] else ''}"


def beside(said: dict[str, Any], judged: list[dict[str, Any]]) -> Table:
    """A row for each language, a column of two numbers for each tokenizer."""
    key = "premium" if said["settings"]["pivot"] else "bytes_per_token"
    table = grid("language")
    for one in judged:
        column(table, cut(one["name"], NAME))
    for language in said["languages"]:
        rows = [one["languages"][language["language"]] for one in judged]
        least = min(row["tokens"] for row in rows)
        cells = [
            Text(
                f"{first_number(language, row)} {NONE if row[key] is None else f'{row[key]:.2f}'}",
                "bold" if row["tokens"] == least and len(rows) > 1 else "",
            )
            for row in rows
        ]
        table.add_row(cut(language["language"], LANGUAGE), *cells)
    return table


def alone(said: dict[str, Any], judged: dict[str, Any]) -> Table:
    """A row for each language with all that one tokenizer leaves room for."""
    table = grid("language")
    heads = ("documents", "bytes", "tokens", "bytes/tok", "tok/word", "whole", "Rényi")
    for head in (*heads, "premium") if said["settings"]["pivot"] else heads:
        column(table, head)
    for language in said["languages"]:
        row = judged["languages"][language["language"]]
        cells = [
            short(language["documents"]),
            short(language["bytes"]),
            short(row["tokens"]),
            number(row["bytes_per_token"], ".2f"),
            first_number(language, row),
            number(row["kept_whole"], ".1%"),
            number(row["renyi_efficiency"], ".2f"),
        ]
        if said["settings"]["pivot"]:
            cells.append(number(row["premium"], ".2f"))
        table.add_row(cut(language["language"], LANGUAGE), *cells)
    return table


def number(value: float | None, written: str) -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None else format(value, written)


def criterion_table(said: dict[str, Any]) -> list[RenderableType]:
    """How many more tokens each tokenizer takes than a monolingual one, and whether it may."""
    found = said["criterion"]
    tables: list[RenderableType] = [headline(said)]
    for judged in groups(said):
        table = grid("language")
        for head in ("trained on", "vocabulary"):
            column(table, head)
        for one in judged:
            column(table, cut(one["name"], NAME - 3))
        for row in found["languages"]:
            table.add_row(
                cut(row["language"], LANGUAGE),
                short(row["bytes"]),
                f"{row['vocab_size']:,}{'<' if row['short'] else ' '}",
                *(change(row["degradation"][one["name"]], found["most"]) for one in judged),
            )
        tables += [Text(), table]
    notes = [
        f"tokens on the other half of the documents, beside a tokenizer of {found['vocab_size']:,} "
        "trained on the language alone"
    ]
    if any(row["short"] for row in found["languages"]):
        notes.append("<: too little text for the vocabulary asked for: a weak yardstick")
    tables += [Text(note, "dim") for note in notes]
    return [*tables, Text(), *(verdict(found, name) for name in found["passes"])]


def change(value: float | None, most: float) -> Text:
    """A degradation in percent, marked where it is too large."""
    if value is None:
        return Text(NONE)
    return Text(f"{value:+.1%}", "bold red" if value > most else "")


def verdict(found: dict[str, Any], name: str) -> Text:
    """Whether a tokenizer meets the criterion, and where it is worst if not."""
    known = {row["language"]: row["degradation"][name] for row in found["languages"]}
    known = {language: value for language, value in known.items() if value is not None}
    worst = sorted((-v, language) for language, v in known.items() if v > found["most"])
    text = plain(name)
    if not known:
        return text.append(": undecided, for no language has documents in both halves", "magenta")
    if not worst:
        return text.append(f": met in all of {len(known)} languages", "bold green")
    text.append(f": not met in {len(worst)} of {len(known)} languages", "bold red")
    some = ", ".join(f"{shown(language)} {-v:+.1%}" for v, language in worst[:MOST_WORST])
    return text.append(f": {some}{', ...' if len(worst) > MOST_WORST else ''}")
