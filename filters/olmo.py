"""OLMo 3's rules after DCLM and Gopher: Team Olmo 2025, "all dressed" of allenai/datamap-rs.

Dialect: src/map_fxn.rs with configs/all_dressed/all_dressed_config.yaml; all bounds inclusive.
Lengths are bytes. White space is Rust's (U+001C to U+001F are none), words of n-grams are those of
`unicode_words`. Lines and paragraphs are not stripped, and their copies count all, the first too.
Shares are computed in double precision, there in single: for texts of less than ten million bytes
that decides alike.
"""

import math

import numpy as np

from curate.column import Bytes, Offsets
from curate.hashing import clear, first_seen, hash_bytes
from curate.kernel import Document, borrowing
from curate.signal import signal
from curate.utf8 import code_point, space_size
from curate.word_break import ALPHABETIC, entry

_WORDS = (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")
STOP_WORDS = tuple(int.from_bytes(word, "big") for word in _WORDS)
_DOTS, _DOT_SPACE_DOT, _ELLIPSIS, _CIRCLE, _BULLET = (
    int.from_bytes(sign.encode(), "big") for sign in ("...", ". .", "…", "●", "•")
)
# White space begins with one of these; U+001C to U+001F are none to Rust.
_MAY_BE_SPACE = np.isin(np.arange(256), [*range(9, 14), 32, 0xC2, 0xE1, 0xE2, 0xE3])


@signal(low=150)
def character_count(document: Document) -> float:
    """Characters of the text."""
    return float(document.characters)


@borrowing
def _is_alphanumeric(byte: int) -> bool:
    return 48 <= byte <= 57 or 97 <= (byte | 32) <= 122


@signal(low=50, high=100_000, words="unicode")
def word_count(document: Document) -> float:
    """Unicode words; in a text that is all ASCII, runs of letters and digits ("don't" is two)."""
    runs, inside, wide = 0, False, 0
    for byte in document.text:
        wide |= byte
        runs += not inside and _is_alphanumeric(byte)
        inside = _is_alphanumeric(byte)
    return float(len(document.words.starts)) if wide >= 0x80 else float(runs)


@borrowing
def _space(text: Bytes, at: int, end: int) -> int:
    """How many bytes the white space character has that begins here, as Rust sees it; or 0."""
    return space_size(text, at, end) if _MAY_BE_SPACE[text[at]] else 0


@borrowing
def _word_end(text: Bytes, at: int, end: int) -> int:
    """Where the word that begins here ends; the same place if white space does."""
    found = False
    while not found:
        while at < end and not _MAY_BE_SPACE[text[np.uint64(at)]]:
            at += 1
        found = at == end or space_size(text, at, end) > 0
        at += not found
    return at


@signal(low=3, high=10, words="unicode")
def mean_word_length(document: Document) -> float:
    """Bytes per word that white space separates; undefined without words."""
    text, at, end = document.text, 0, len(document.text)
    words, size = 0, 0
    while at < end:
        stop = _word_end(text, at, end)
        words += stop > at
        size += stop - at
        at = stop + (_space(text, stop, end) if stop < end else 0)
    return size / words if words > 0 else math.nan


@borrowing
def _is_at(text: Bytes, at: int, end: int, three: int) -> bool:
    """Whether these three bytes are here, given as one number."""
    if at + 3 > end:
        return False
    return int(text[at]) << 16 | int(text[at + 1]) << 8 | int(text[at + 2]) == three


@borrowing
def _is_spaced_ellipsis(text: Bytes, at: int, end: int) -> bool:
    """Whether ". . ." begins here."""
    return _is_at(text, at, end, _DOT_SPACE_DOT) and _is_at(text, at + 2, end, _DOT_SPACE_DOT)


@borrowing
def _symbols(text: Bytes) -> tuple[int, int]:
    """How often "#", "...", "…" and ". . ." occur, each for itself; and how often the last."""
    symbols, spaced, dots, after, end = 0, 0, 0, 0, len(text)  # where the last of either ended
    for at in range(end):
        byte = text[at]
        if byte == 46:
            if at >= dots and _is_at(text, at, end, _DOTS):
                symbols, dots = symbols + 1, at + 3
            if at >= after and _is_spaced_ellipsis(text, at, end):
                symbols, spaced, after = symbols + 1, spaced + 1, at + 5
        elif byte == 35 or (byte == 0xE2 and _is_at(text, at, end, _ELLIPSIS)):
            symbols += 1
    return symbols, spaced


@signal(high=0.1, words="unicode")
def symbol_ratio(document: Document) -> float:
    """Number signs and ellipses per word, of which ". . ." is one; 0 in an empty text."""
    text, at, end = document.text, 0, len(document.text)
    words = 0
    while at < end:
        stop = _word_end(text, at, end)
        words += stop > at
        at = stop + (_space(text, stop, end) if stop < end else 0)
    symbols, spaced = _symbols(text)
    return symbols / max(words - 2 * spaced, 1)


@signal(high=0.9, words="unicode")
def bullet_lines(document: Document) -> float:
    """Share of lines, empty ones too, that begin with a bullet ("●", "•", "*", "-")."""
    text, lines, found = document.text, document.lines, 0
    for line in range(len(lines.starts)):
        start, end = lines.starts[line], lines.ends[line]
        if start < end:
            sign = text[start] == 42 or text[start] == 45
            wide = _is_at(text, start, end, _CIRCLE) or _is_at(text, start, end, _BULLET)
            found += sign or wide
    return found / len(lines.starts)


@borrowing
def _ends_in_ellipsis(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch ends with "...", ". . ." or "…"."""
    if end - start < 3:
        return False
    if _is_at(text, end - 3, end, _DOTS) or _is_at(text, end - 3, end, _ELLIPSIS):
        return True
    return end - start >= 5 and _is_spaced_ellipsis(text, end - 5, end)


@signal(high=0.3, words="unicode")
def ellipsis_lines(document: Document) -> float:
    """Share of lines, without the empty ones, that end in an ellipsis, before CR LF too."""
    text, lines, count, found = document.text, document.lines, 0, 0
    for line in range(len(lines.starts)):
        start, end = lines.starts[line], lines.ends[line]
        end -= end > start and end < len(text) and text[end - 1] == 13
        count += start < end
        found += _ends_in_ellipsis(text, start, end)
    return found / max(count, 1)


@borrowing
def _has_letter(text: Bytes, start: int, end: int) -> bool:
    at = start
    while at < end and entry(code_point(text, at, end)) & ALPHABETIC == 0:
        at += 1
    return at < end


@signal(high=0.2, words="unicode")
def words_without_letters(document: Document) -> float:
    """Share of words without an alphabetic character; undefined with less than two words."""
    text, at, end = document.text, 0, len(document.text)
    words, found = 0, 0
    while at < end:
        stop = _word_end(text, at, end)
        if stop > at:
            words += 1
            found += not _has_letter(text, at, stop)
        at = stop + (_space(text, stop, end) if stop < end else 0)
    return found / words if words > 1 else math.nan


@borrowing
def _is_stop_word(text: Bytes, start: int, end: int) -> bool:
    if not 2 <= end - start <= 4:
        return False
    word, found = 0, False
    for at in range(start, end):
        byte = int(text[at])
        word = word << 8 | (byte | 32 if 65 <= byte <= 90 else byte)
    for place in range(len(STOP_WORDS)):
        found |= word == STOP_WORDS[place]
    return found


@signal(low=2, words="unicode")
def stop_words(document: Document) -> float:
    """How often the, be, to, of, and, that, have, with occur as words, whatever their case."""
    text, at, end = document.text, 0, len(document.text)
    count = 0
    while at < end:
        stop = _word_end(text, at, end)
        count += _is_stop_word(text, at, stop)
        at = stop + (_space(text, stop, end) if stop < end else 0)
    return float(count)


@borrowing
def _piece_end(text: Bytes, at: int, paragraphs: bool) -> int:
    """Where the line or paragraph ends that begins here: at a newline, or at two."""
    end = len(text)
    while at < end and not (
        text[at] == 10 and (not paragraphs or (at + 1 < end and text[at + 1] == 10))
    ):
        at += 1
    return at


@borrowing
def _repeated(document: Document, paragraphs: bool, by_bytes: bool) -> float:
    """Share of lines or paragraphs that occur more than once, or of the bytes in them.

    As there, a text without any has 1, and one with a single one 0.
    """
    text, keys, seen = document.text, document.keys, document.counts
    mask = clear(document.slots, len(document.lines.starts))
    pieces, total, found, at = 0, 0, 0, 0
    while at < len(text):
        stop = _piece_end(text, at, paragraphs)
        if stop > at:
            weight = stop - at if by_bytes else 1
            keys[pieces] = hash_bytes(text, at, stop)
            seen[pieces] = 0
            first = first_seen(keys, pieces, document.slots, mask)
            if first != pieces:
                found += weight if seen[first] > 0 else 2 * weight
                seen[first] = 1
            total += weight
            pieces += 1
        at = stop + 1 + paragraphs
    return found / total if pieces > 0 else 1.0


@signal(high=0.3, words="unicode")
def duplicate_lines(document: Document) -> float:
    """Share of lines that occur more than once; 1 without lines."""
    return _repeated(document, False, False)


@signal(high=0.3, words="unicode")
def duplicate_paragraphs(document: Document) -> float:
    """Share of paragraphs that occur more than once; 1 without paragraphs."""
    return _repeated(document, True, False)


@signal(high=0.2, words="unicode")
def duplicate_line_bytes(document: Document) -> float:
    """Share of bytes in lines that occur more than once; 1 without lines."""
    return _repeated(document, False, True)


@signal(high=0.2, words="unicode")
def duplicate_paragraph_bytes(document: Document) -> float:
    """Share of bytes in paragraphs that occur more than once; 1 without paragraphs."""
    return _repeated(document, True, True)


@borrowing
def _bytes(starts: Offsets, ends: Offsets, first: int, last: int) -> int:
    """The bytes of words from the first to before the last."""
    count = 0
    for word in range(first, last):
        count += ends[word] - starts[word]
    return count


@borrowing
def _covered_share(document: Document, size: int, first: int) -> float:
    """Share of bytes in repeated n-grams, each word counted once.

    `first`: of those only that equal the n-gram which begins with this word; -1 for all.
    """
    grams, words = document.grams, document.words
    found, covered = 0, 0
    for item in range(grams.ends[size - 1], grams.ends[size]):
        place = grams.places[item]
        if first < 0 or grams.firsts[item] == first:
            found += _bytes(words.starts, words.ends, max(place, covered), place + size)
            covered = place + size
    total = _bytes(words.starts, words.ends, 0, len(words.starts))
    return found / max(total, 1)


@borrowing
def _top_share(document: Document, size: int) -> float:
    """Share of bytes in the most frequent n-gram, of several the longest; 0 if none repeats.

    Of several that are as long, too, this takes the first; there a hash decides.
    """
    grams, counts, words = document.grams, document.counts, document.words
    start, end = grams.ends[size - 1], grams.ends[size]
    for item in range(start, end):
        counts[grams.firsts[item]] = 0
    for item in range(start, end):
        counts[grams.firsts[item]] += 1
    top, most, longest = 0, 0, 0
    for item in range(start, end):
        first = grams.firsts[item]
        if grams.places[item] == first and counts[first] >= most:
            length = _bytes(words.starts, words.ends, first, first + size)
            if counts[first] > most or length > longest:
                top, most, longest = first, counts[first], length
    return _covered_share(document, size, top)


@signal(high=0.2, words="unicode")
def top_2gram(document: Document) -> float:
    """Share of bytes in the most frequent pair of words; 0 where none repeats."""
    return _top_share(document, 2)


@signal(high=0.18, words="unicode")
def top_3gram(document: Document) -> float:
    """Share of bytes in the most frequent three words; 0 where none repeat."""
    return _top_share(document, 3)


@signal(high=0.16, words="unicode")
def top_4gram(document: Document) -> float:
    """Share of bytes in the most frequent four words; 0 where none repeat."""
    return _top_share(document, 4)


@signal(high=0.15, words="unicode")
def duplicate_5grams(document: Document) -> float:
    """Share of bytes in five words that occur more than once together."""
    return _covered_share(document, 5, -1)


@signal(high=0.14, words="unicode")
def duplicate_6grams(document: Document) -> float:
    """Share of bytes in six words that occur more than once together."""
    return _covered_share(document, 6, -1)


@signal(high=0.13, words="unicode")
def duplicate_7grams(document: Document) -> float:
    """Share of bytes in seven words that occur more than once together."""
    return _covered_share(document, 7, -1)


@signal(high=0.12, words="unicode")
def duplicate_8grams(document: Document) -> float:
    """Share of bytes in eight words that occur more than once together."""
    return _covered_share(document, 8, -1)


@signal(high=0.11, words="unicode")
def duplicate_9grams(document: Document) -> float:
    """Share of bytes in nine words that occur more than once together."""
    return _covered_share(document, 9, -1)


@signal(high=0.10, words="unicode")
def duplicate_10grams(document: Document) -> float:
    """Share of bytes in ten words that occur more than once together."""
    return _covered_share(document, 10, -1)
