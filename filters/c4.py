"""C4 rules: Raffel et al. 2020, arXiv:1910.10683, section 2.2, as datatrove 0.10.1 applies them.

Dialect: lines are those of `str.splitlines`, words what white space separates, sentences what
curate/sentences.py says (C4 asks a trained splitter), unless Lines is asked for datatrove's. Lower
case is that of ASCII: unlike theirs, it does not find a Kelvin sign in place of a k.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import View, frozen, strings, view
from curate.errors import RecipeError
from curate.kernel import Document, borrowing
from curate.phrases import phrase_end, phrases_in
from curate.schema import TEXT, Batch
from curate.sentences import sentence_count
from curate.signal import signal
from curate.stage import mark, with_column
from curate.token_sentences import line_sentences
from filters.c4_lines import (
    CURLY_BRACKET,
    JAVASCRIPT,
    LOREM_IPSUM,
    PHRASES,
    POLICY,
    Rules,
    ends_line,
    kinds_of,
    rewrite,
    select,
)


@signal(low=5)
def sentences(document: Document) -> float:
    """Sentences of the text as it is; C4 counts those of the lines that it keeps."""
    return float(sentence_count(document.text, 0, len(document.text)))


@signal(high=0)
def lorem_ipsum(document: Document) -> float:
    """How often "lorem ipsum" occurs, whatever its case."""
    text, end, count = document.text, len(document.text), 0
    if phrases_in(text, 0, end, PHRASES, False) & LOREM_IPSUM == 0:
        return 0.0
    letters = PHRASES.letters[: PHRASES.ends[1]]
    for at in range(end):
        count += phrase_end(text, at, end, letters) >= 0
    return float(count)


@signal(high=0)
def curly_bracket(document: Document) -> float:
    """How many opening curly brackets there are."""
    count = 0
    for byte in document.text:
        count += byte == 123
    return float(count)


@borrowing
def _line_share(document: Document, kind: int) -> float:
    """Share of the lines with words in which this kind of phrase occurs, or no end for 0.

    A line goes from its first word to the last before the next line's first.
    """
    text, words = document.text, document.words
    count = len(words.starts)
    if count == 0:
        return math.nan
    if kind != 0 and kinds_of(text, 0, len(text)) & kind == 0:
        return 0.0
    heads, found = document.heads, 0
    for line in range(len(heads)):
        last = (heads[line + 1] if line + 1 < len(heads) else count) - 1
        start, end = words.starts[heads[line]], words.ends[last]
        if kind == 0:
            found += not ends_line(text, start, end)
        else:
            found += kinds_of(text, start, end) & kind > 0
    return found / len(heads)


@signal()
def unpunctuated_lines(document: Document) -> float:
    """Share of lines that do not end with . ? ! " or '; C4 removes these lines."""
    return _line_share(document, 0)


@signal()
def javascript_lines(document: Document) -> float:
    """Share of lines that mention JavaScript; C4 removes these lines."""
    return _line_share(document, JAVASCRIPT)


@signal()
def policy_lines(document: Document) -> float:
    """Share of lines that speak of cookies, privacy policy or terms of use; C4 removes these."""
    return _line_share(document, POLICY)


@signal(low=200)
def third_longest_line(document: Document) -> float:
    """Characters of the third longest line, 0 where there are fewer; mC4 keeps 200 and more."""
    first, second, third = 0, 0, 0
    for size in document.lines.characters:
        if size > first:
            first, second, third = size, first, second
        elif size > second:
            second, third = size, second
        elif size > third:
            third = size
    return float(third)


KEPT_SENTENCES = "c4_sentences"  # a column
WAYS = ("ours", "datatrove")  # to count them


def _view(size: int, rows: int) -> View:
    return View(np.empty(size, np.uint8), np.zeros(rows + 1, np.int32))


@dataclass(frozen=True)
class Lines:
    """Rewrites the text to the lines that C4 keeps, and marks the documents that it drops.

    A dropped document keeps its text. As in datatrove, only lines that pass the rules before it
    can drop their document: a bracket in a line without an end does not. `c4_sentences` has the
    sentences of the lines that are kept; it is null where a phrase drops the document.
    """

    terminal_punctuation: bool = True  # FineWeb switches this off
    citations: bool = True  # remove [12], [edit] and the like from lines
    min_words: int = 3  # in a line
    max_word_length: int = 1000  # characters; a line with a longer one goes
    min_sentences: int = 5  # in what is left of the document
    lorem_ipsum: bool = True
    javascript: bool = True
    curly_bracket: bool = True
    policy: bool = True  # cookies, privacy policy, terms of use

    sentences: str = "ours"  # how they are counted: ours (curate/sentences.py) or datatrove

    judged_by: ClassVar = ("min_sentences",)
    judged_from: ClassVar = (KEPT_SENTENCES,)
    ignores_language: ClassVar = True

    def __post_init__(self) -> None:
        if self.sentences not in WAYS:
            raise RecipeError(f"sentences: no way {self.sentences!r}; write ours or datatrove")

    def __call__(self, batch: Batch) -> Batch:
        column = batch.column(TEXT)
        text, rows = view(column), len(column)
        size = int(text.offsets[-1]) - int(text.offsets[0])
        # A byte more for each text: the newline behind its last line, before it is stripped.
        lines, out = _view(size + rows, rows), _view(size, rows)
        dropped, sentences = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
        select(text, self._rules(), lines, dropped, sentences)
        lines = View(frozen(lines.data), frozen(lines.offsets))
        if self.sentences == "datatrove":
            sentences = line_sentences(lines)
        by_phrase = dropped > 0
        rewrite(text, lines, by_phrase | (sentences < self.min_sentences), out)
        written = strings(out.data[: out.offsets[-1]], out.offsets)
        if column.null_count:
            written = pc.if_else(column.is_null(), None, written)
        batch = with_column(batch, TEXT, written)
        batch = with_column(batch, KEPT_SENTENCES, pa.array(sentences, mask=by_phrase))
        for kind, reason in (
            (LOREM_IPSUM, "c4.lorem_ipsum"),
            (CURLY_BRACKET, "c4.curly_bracket"),
        ):
            # At the first line with it the search ends: 1 where none is allowed.
            batch = mark(batch, dropped == kind, reason, value=(dropped == kind) * 1.0, bound=0)
        return self.judge(batch)

    def judge(self, batch: Batch) -> Batch:
        """The batch with the verdicts that its sentences call for; a phrase gives its own."""
        counts = batch.column(KEPT_SENTENCES).cast(pa.float64()).to_numpy(zero_copy_only=False)
        too_few = counts < self.min_sentences
        return mark(batch, too_few, "c4.sentences", value=counts, bound=self.min_sentences)

    def _rules(self) -> Rules:
        kinds = (
            LOREM_IPSUM * self.lorem_ipsum
            | JAVASCRIPT * self.javascript
            | CURLY_BRACKET * self.curly_bracket
            | POLICY * self.policy
        )
        return Rules(
            self.terminal_punctuation,
            self.citations,
            self.min_words,
            self.max_word_length,
            self.sentences == "ours",
            kinds,
        )
