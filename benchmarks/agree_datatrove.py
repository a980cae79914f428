"""Our side of the agreement with datatrove 0.10.1, and what the two may disagree on."""

import hashlib
from typing import Any

import numpy as np

from benchmarks.peers import environments
from curate.column import view
from curate.schema import DROPPED_BY, TEXT, Batch
from curate.signal import Signal, measured
from curate.tokens import token_places
from filters import c4, datatrove

PEER = environments.DATATROVE

# The rules of datatrove's filters in their order, and the reasons that these give for numbers below
# and above the bounds.
Rules = tuple[tuple[Signal, str, str], ...]

QUALITY: Rules = (
    (datatrove.word_count, "gopher_short_doc", "gopher_long_doc"),
    (datatrove.mean_word_length, "gopher_below_avg_threshold", "gopher_above_avg_threshold"),
    (datatrove.hash_ratio, "", "gopher_too_many_hashes"),
    (datatrove.ellipsis_ratio, "", "gopher_too_many_ellipsis"),
    (datatrove.bullet_lines, "", "gopher_too_many_bullets"),
    (datatrove.ellipsis_lines, "", "gopher_too_many_end_ellipsis"),
    (datatrove.alphabetic_words, "gopher_below_alpha_threshold", ""),
    (datatrove.stop_words, "gopher_enough_stop_words", ""),
)
REPETITION: Rules = tuple(
    (signal, "", signal.name.partition(".")[2])
    for signal in (
        datatrove.dup_para_frac,
        datatrove.dup_para_char_frac,
        datatrove.dup_line_frac,
        datatrove.dup_line_char_frac,
        datatrove.top_2_gram,
        datatrove.top_3_gram,
        datatrove.top_4_gram,
        datatrove.duplicated_5_n_grams,
        datatrove.duplicated_6_n_grams,
        datatrove.duplicated_7_n_grams,
        datatrove.duplicated_8_n_grams,
        datatrove.duplicated_9_n_grams,
        datatrove.duplicated_10_n_grams,
    )
)
FINEWEB: Rules = (
    (datatrove.line_punct_ratio, "line_punct_ratio", ""),
    (datatrove.short_line_ratio, "", "short_line_ratio"),
    (datatrove.char_dup_ratio, "", "char_dup_ratio"),
    (datatrove.list_ratio, "", "list_ratio"),
)
FILTERS = {"gopher quality": QUALITY, "gopher repetition": REPETITION, "fineweb": FINEWEB}
PARAGRAPHS = (c4.third_longest_line, "< 3 paragraphs", "")
REWRITERS = {
    "c4": c4.Lines(sentences="datatrove"),
    "c4 unpunctuated": c4.Lines(sentences="datatrove", terminal_punctuation=False),
}
REASONS = {
    "c4.lorem_ipsum": "lorem_ipsum",
    "c4.curly_bracket": "curly_bracket",
    "c4.sentences": "too_few_sentences",
}


def verdicts(rules: Rules, numbers: dict[str, Any], rows: int) -> list[str]:
    """The reason of the first rule that a text breaks, as datatrove names it, or "kept"."""
    found = np.full(rows, "kept", object)
    for signal, below, above in reversed(rules):
        values = numbers[signal.name]
        broken = ~signal.keeps(values)
        reasons = np.where(values > signal.high, above, "empty")
        reasons = np.where(values < signal.low, below, reasons)
        found[broken] = reasons[broken]
    return list(map(str, found))


def digests(batch: Batch) -> list[str]:
    """What stands for the texts in the answers."""
    texts = (text.as_buffer() for text in batch.column(TEXT))
    return [hashlib.md5(text, usedforsecurity=False).hexdigest() for text in texts]


def token_digests(batch: Batch) -> list[str]:
    """What stands for the tokens of the texts in the answers."""
    starts, ends, offsets = token_places(view(batch.column(TEXT)))
    found = []
    for row, text in enumerate(batch.column(TEXT)):
        own = text.as_buffer().to_pybytes()
        words = range(offsets[row], offsets[row + 1])
        joined = b"\n".join(own[starts[word] : ends[word]] for word in words)
        found.append(hashlib.md5(joined, usedforsecurity=False).hexdigest())
    return found


def ours(batch: Batch) -> dict[str, list[Any]]:
    """Verdicts, rewritten texts and numbers by datatrove's names."""
    rules = [*QUALITY, *REPETITION, *FINEWEB, PARAGRAPHS]
    signals = (*(signal for signal, _, _ in rules), datatrove.sentences)
    pairs = zip(signals, measured(signals, batch), strict=True)
    numbers = {signal.name: values for signal, values in pairs}
    rows = batch.num_rows
    answers: dict[str, list[Any]] = {
        name: verdicts(own, numbers, rows) for name, own in FILTERS.items()
    }
    answers["c4 paragraphs"] = verdicts((PARAGRAPHS,), numbers, rows)
    for name, lines in REWRITERS.items():
        written = lines(batch)
        dropped = DROPPED_BY in written.schema.names
        reasons = written.column(DROPPED_BY).to_pylist() if dropped else [None] * rows
        answers[name] = [REASONS.get(reason, "kept") for reason in reasons]
        answers[f"{name}, text"] = digests(written)
    answers["tokens"] = token_digests(batch)
    for signal in signals:
        if signal is not c4.third_longest_line:
            answers[signal.name.partition(".")[2]] = numbers[signal.name].tolist()
    return answers


def excuse(rule: str, text: str, _theirs: Any, _mine: Any) -> str:
    """Why datatrove answers otherwise, where that is none of our doing."""
    if "IS_ALPHA" in text:
        # A text with this word fails in spaCy, but for the first that a process sees; datatrove
        # then goes on without the word.
        return "spaCy fails on the word IS_ALPHA, and datatrove removes it"
    if rule.startswith("c4") and "\u212a" in text:
        return "a Kelvin sign in place of a k"
    return ""
