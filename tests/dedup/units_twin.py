"""The plain twin of the kernels that cut texts into units, and of what is decided about units."""

import re
from collections import Counter, defaultdict
from itertools import pairwise

from filters.ccnet import normalised_line

SOFT, WIDE, CLOSER = ".?!…", "。！？", "\"')\\]’”»」』）"
SENTENCE = re.compile(
    rf"[^{WIDE}]*?(?:[{SOFT}][{SOFT}{CLOSER}]*(?=\s|$)|[{WIDE}][{SOFT}{WIDE}{CLOSER}]*)|.+",
    re.DOTALL,
)


def lines(text):
    at = 0
    for line in text.split("\n"):
        if line.strip():
            yield at, at + len(line)
        at += len(line) + 1


def paragraphs(text):
    for found in re.finditer(r"[^\n]+(?:\n[^\n]+)*", text):
        inside = [start for start, _ in lines(found[0])]
        if inside:
            yield found.start() + inside[0], found.end()


def sentences(text):
    at = 0
    for line in text.splitlines(keepends=True):
        rest = line
        while rest := rest.lstrip():
            start = at + len(line) - len(rest)
            found = SENTENCE.match(rest)[0].rstrip()
            yield start, start + len(found)
            rest = rest[len(found) :]
        at += len(line)


UNITS = {"lines": lines, "paragraphs": paragraphs, "sentences": sentences}


def normal(plain, normalise, unit):
    if normalise == "none":
        return unit.strip()
    if normalise == "ccnet":
        dotted = normalised_line(unit.replace("İ", "\ue000")).replace("\ue000", "İ")
        return dotted.replace("ς", "σ")
    removed = {"punctuation"} if normalise == "words" else set()
    signs = [(plain.kind(sign), plain.lower(sign)) for sign in unit]
    spaced = "".join(
        " " if kind == "space" else sign for kind, sign in signs if kind not in removed
    )
    return " ".join(word for word in spaced.split(" ") if word)


def places(stage, text):
    return list(UNITS[stage.unit](text))


def marked(plain, stage, documents):
    """Which units of (id, text, group) go."""
    units, spans = {}, {}
    for number, text, group in documents:
        normals = [normal(plain, stage.normalise, text[a:b]) for a, b in places(stage, text or "")]
        units[number] = normals
        windows = zip(*(normals[i:] for i in range(stage.span)), strict=False)
        spans[number] = [
            (group if stage.within else "", window)
            if len("".join(window).encode()) >= stage.min_bytes
            else None
            for window in windows
        ]
    counts, first = Counter(), {}
    for number in sorted(spans):
        own = [span for span in spans[number] if span]
        counts.update(set(own) if stage.documents else own)
        for span in own:
            first.setdefault(span, number)
    goes = defaultdict(set)
    for number in spans:
        seen = set()
        for place, span in enumerate(spans[number]):
            if span is None or counts[span] < stage.copies:
                continue
            stays = stage.keep == "first" and first[span] == number
            if not (stays and (stage.documents or span not in seen)):
                goes[number] |= set(range(place, place + stage.span))
            seen.add(span)
    return goes


def without(text, units, goes):
    """The text without these units; of the gaps around what goes the longer one stays."""
    stay = [unit for place, unit in enumerate(units) if place not in goes]
    if not stay:
        return "" if units else text
    ends = [0, *(end for _, end in units)]
    starts = [*(start for start, _ in units), len(text)]
    gaps = [text[end:start] for end, start in zip(ends, starts, strict=True)]
    kept = [place for place in range(len(units)) if place not in goes]
    out = gaps[0]
    for place, following in pairwise([*kept, None]):
        out += text[slice(*units[place])]
        if following is not None:
            before, behind = gaps[place + 1], gaps[following]
            out += behind if len(behind.encode()) > len(before.encode()) else before
    return out + gaps[-1]
