"""The phrases by which NeMo Curator 1.4 knows boilerplate: policies on cookies, and lorem ipsum."""

from importlib.resources import files

from curate.column import Bytes
from curate.kernel import Document, borrowing
from curate.phrases import phrases, phrases_in

# The first phrase makes a whole document boilerplate, the others their paragraph.
_POLICY = (files("filters") / "lists" / "nemo_policy.txt").read_bytes().splitlines()[1:]
_LISTED = [b"lorem ipsum", *_POLICY]
_PHRASES = phrases(_LISTED)


@borrowing
def _has_kelvin(text: Bytes) -> bool:
    """Whether there is a Kelvin sign, which makes other windows than a k."""
    middles, found = 0, 0
    for byte in text:
        middles += byte == 0x84  # of its three bytes the one that is rare in most languages
    for at in range(2, len(text) if middles > 0 else 0):
        found += (text[at - 2] == 0xE2) & (text[at - 1] == 0x84) & (text[at] == 0xAA)
    return found > 0


@borrowing
def policies(document: Document) -> float:
    """Share of paragraphs with a phrase of policies; 1 with lorem ipsum anywhere."""
    text, lines = document.text, document.lines
    kelvin, last = _has_kelvin(text), len(lines.starts) - 1
    paragraphs, marked, line = 0, 0, 0
    while line <= last:
        start = lines.starts[line]
        line += 1
        # Two newlines end a paragraph, that is an empty line with another behind it.
        while line <= last and (line == last or lines.starts[line] < lines.ends[line]):
            line += 1
        found = phrases_in(text, start, lines.ends[line - 1], _PHRASES, kelvin)
        if found & 1:
            return 1.0
        paragraphs += 1
        marked += found > 0
        line += 1
    return marked / paragraphs
