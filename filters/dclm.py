"""DCLM's rules after RefinedWeb and Gopher: Li et al. 2024, arXiv:2406.11794, dclm-baseline.

Dialect: github.com/mlfoundations/dclm, baselines/mappers/filters/content_filters.py, with the
bounds of baselines_configs/dclm_baseline_refinedweb.yaml, all inclusive. Lines and paragraphs are
stripped, empty ones left out; copies count all, the first too. Words of n-grams are those of
`uniseg` that begin with a letter or digit; shares are of the characters of these words. Two rules
are those of Gopher's paper (filters/gopher.py): mean_word_length and alphabetic_words.
"""

import math

from curate.column import Bytes
from curate.hashing import clear, first_seen, hash_bytes
from curate.kernel import Document, borrowing
from curate.ngrams import gram_characters
from curate.signal import signal
from curate.unicode_words import fasttext_word_count
from curate.utf8 import characters, skip_space, skip_space_back

_WORDS = (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")
STOP_WORDS = tuple(int.from_bytes(word, "big") for word in _WORDS)
_DOTS, _DOT_SPACE_DOT, _ELLIPSIS, _CIRCLE, _BULLET = (
    int.from_bytes(sign.encode(), "big") for sign in ("...", ". .", "…", "●", "•")
)


@signal(low=50, high=100_000)
def word_count(document: Document) -> float:
    """Tokens of `fasttext`, parted by ASCII space and NUL, that begin with a letter or digit.

    (DCLM's `split_words` cuts by fastText unless told otherwise, and its configuration does not.)
    """
    return float(fasttext_word_count(document.text))


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
def _symbols(text: Bytes) -> int:
    """How often "#", "...", ". . ." and "…" occur, each counted as `str.count` does."""
    symbols, dots, spaced, end = 0, 0, 0, len(text)  # where the last of either ended
    for at in range(end):
        byte = text[at]
        if byte == 46:
            if at >= dots and _is_at(text, at, end, _DOTS):
                symbols, dots = symbols + 1, at + 3
            if at >= spaced and _is_spaced_ellipsis(text, at, end):
                symbols, spaced = symbols + 1, at + 5
        elif byte == 35 or (byte == 0xE2 and _is_at(text, at, end, _ELLIPSIS)):
            symbols += 1
    return symbols


@signal(high=0.1)
def symbol_ratio(document: Document) -> float:
    """Number signs and ellipses ("...", ". . .", "…") per word; undefined without words."""
    if len(document.words.starts) == 0:
        return math.nan
    return _symbols(document.text) / len(document.words.starts)


@borrowing
def _is_bullet(text: Bytes, at: int, end: int) -> bool:
    """Whether "●", "•", "*" or "-" begins here."""
    if text[at] == 42 or text[at] == 45:
        return True
    return _is_at(text, at, end, _CIRCLE) or _is_at(text, at, end, _BULLET)


@borrowing
def _ends_in_ellipsis(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch ends with "...", ". . ." or "…"."""
    if end - start < 3:
        return False
    if _is_at(text, end - 3, end, _DOTS) or _is_at(text, end - 3, end, _ELLIPSIS):
        return True
    return end - start >= 5 and _is_spaced_ellipsis(text, end - 5, end)


@borrowing
def _share_of_lines(document: Document, bullets: bool) -> float:
    """Share of the lines with words that begin with a bullet, or end in an ellipsis; 0 of none."""
    text, lines = document.text, document.lines
    count, found = 0, 0
    for line in range(len(lines.starts)):
        start = skip_space(text, lines.starts[line], lines.ends[line])
        end = skip_space_back(text, start, lines.ends[line])
        if start < end:
            count += 1
            bullet = bullets and _is_bullet(text, start, end)
            found += bullet or (not bullets and _ends_in_ellipsis(text, start, end))
    return found / max(count, 1)


@signal(high=0.9)
def bullet_lines(document: Document) -> float:
    """Share of lines that begin with a bullet ("●", "•", "*", "-"); 0 without lines."""
    return _share_of_lines(document, True)


@signal(high=0.3)
def ellipsis_lines(document: Document) -> float:
    """Share of lines that end with an ellipsis ("...", ". . .", "…"); 0 without lines."""
    return _share_of_lines(document, False)


@borrowing
def _lowered(text: Bytes, start: int, end: int) -> int:
    """A word of at most four bytes, in small ASCII letters, as one number."""
    word = 0
    for at in range(start, end):
        byte = int(text[at])
        word = word << 8 | (byte | 32 if 65 <= byte <= 90 else byte)
    return word


@signal(low=2)
def stop_words(document: Document) -> float:
    """How often the, be, to, of, and, that, have, with occur as words, whatever their case."""
    words, count = document.words, 0
    for word in range(len(words.starts)):
        start, end = words.starts[word], words.ends[word]
        if 2 <= end - start <= 4:
            lowered = _lowered(document.text, start, end)
            for place in range(len(STOP_WORDS)):
                count += lowered == STOP_WORDS[place]
    return float(count)


@borrowing
def _known(document: Document, piece: int, place: tuple[int, int, int], mask: int) -> int:
    """How many copies this piece makes known: 0 if it is the first, 2 as the second, then 1.

    `place` is a line, and where what is left of it or of its paragraph begins and ends.
    """
    line, start, end = place
    keys, seen, lines = document.keys, document.counts, document.lines
    if start == lines.starts[line] and end == lines.ends[line]:
        keys[piece] = lines.hashes[line]
    else:
        keys[piece] = hash_bytes(document.text, start, end)
    seen[piece] = 0
    first = first_seen(keys, piece, document.slots, mask)
    if first == piece:
        return 0
    seen[first] += 1
    return 2 if seen[first] == 1 else 1


@borrowing
def _last_line(document: Document, line: int, of_paragraph: bool) -> int:
    """The line itself, or the last one of its paragraph: empty lines part these."""
    starts, ends = document.lines.starts, document.lines.ends
    last = line
    if of_paragraph and starts[line] < ends[line]:
        while last + 1 < len(starts) and starts[last + 1] < ends[last + 1]:
            last += 1
    return last


@borrowing
def _repeated(document: Document, paragraphs: bool, by_characters: bool) -> float:
    """Share of lines or paragraphs that occur more than once, or of the characters in them."""
    text, lines = document.text, document.lines
    mask = clear(document.slots, len(lines.starts))
    pieces, total, found, line = 0, 0, 0, 0
    while line < len(lines.starts):
        last = _last_line(document, line, paragraphs)
        start = skip_space(text, lines.starts[line], lines.ends[last])
        end = skip_space_back(text, start, lines.ends[last])
        if start < end:
            weight = characters(text, start, end) if by_characters else 1
            found += weight * _known(document, pieces, (line, start, end), mask)
            total += weight
            pieces += 1
        line = last + 1
    if pieces == 0:
        return math.nan
    return found / total


@signal(high=0.3, words="unicode_alphanumeric")
def duplicate_lines(document: Document) -> float:
    """Share of lines that occur more than once; undefined without lines."""
    return _repeated(document, False, False)


@signal(high=0.3, words="unicode_alphanumeric")
def duplicate_paragraphs(document: Document) -> float:
    """Share of paragraphs that occur more than once; undefined without paragraphs."""
    return _repeated(document, True, False)


@signal(high=0.2, words="unicode_alphanumeric")
def duplicate_line_characters(document: Document) -> float:
    """Share of characters in lines that occur more than once; undefined without lines."""
    return _repeated(document, False, True)


@signal(high=0.2, words="unicode_alphanumeric")
def duplicate_paragraph_characters(document: Document) -> float:
    """Share of characters in paragraphs that occur more than once; undefined without paragraphs."""
    return _repeated(document, True, True)


@borrowing
def _word_characters(document: Document) -> int:
    count = 0
    for size in document.words.characters:
        count += size
    return count


@borrowing
def _top_share(document: Document, size: int) -> float:
    """Share of characters in the most frequent n-gram, of several the longest; 0 if none repeats.

    An n-gram that overlaps itself counts twice where it does, so that the share may exceed 1.
    """
    if document.characters == 0:
        return math.nan
    grams, counts = document.grams, document.counts
    start, end = grams.ends[size - 1], grams.ends[size]
    for entry in range(start, end):
        counts[grams.firsts[entry]] = 0
    most = 0
    for entry in range(start, end):
        counts[grams.firsts[entry]] += 1
        most = max(most, counts[grams.firsts[entry]])
    longest = 0
    for entry in range(start, end):
        if counts[grams.firsts[entry]] == most:
            length = gram_characters(document.words.characters, grams.places[entry], size)
            longest = max(longest, length)
    return longest * most / max(_word_characters(document), 1)


@signal(high=0.2, words="unicode_alphanumeric")
def top_2gram(document: Document) -> float:
    """Share of characters in the most frequent pair of words; 0 where none repeats."""
    return _top_share(document, 2)


@signal(high=0.18, words="unicode_alphanumeric")
def top_3gram(document: Document) -> float:
    """Share of characters in the most frequent three words; 0 where none repeat."""
    return _top_share(document, 3)


@signal(high=0.16, words="unicode_alphanumeric")
def top_4gram(document: Document) -> float:
    """Share of characters in the most frequent four words; 0 where none repeat."""
    return _top_share(document, 4)


@borrowing
def _repeated_words(document: Document, size: int) -> float:
    """Share of characters in n-grams that occur more than once, each word counted once."""
    if document.characters == 0:
        return math.nan
    grams, sizes = document.grams, document.words.characters
    found, covered = 0, 0
    for entry in range(grams.ends[size - 1], grams.ends[size]):
        place = grams.places[entry]
        for word in range(max(place, covered), place + size):
            found += sizes[word]
        covered = place + size
    return found / max(_word_characters(document), 1)


@signal(high=0.15, words="unicode_alphanumeric")
def duplicate_5grams(document: Document) -> float:
    """Share of characters in five words that occur more than once together."""
    return _repeated_words(document, 5)


@signal(high=0.14, words="unicode_alphanumeric")
def duplicate_6grams(document: Document) -> float:
    """Share of characters in six words that occur more than once together."""
    return _repeated_words(document, 6)


@signal(high=0.13, words="unicode_alphanumeric")
def duplicate_7grams(document: Document) -> float:
    """Share of characters in seven words that occur more than once together."""
    return _repeated_words(document, 7)


@signal(high=0.12, words="unicode_alphanumeric")
def duplicate_8grams(document: Document) -> float:
    """Share of characters in eight words that occur more than once together."""
    return _repeated_words(document, 8)


@signal(high=0.11, words="unicode_alphanumeric")
def duplicate_9grams(document: Document) -> float:
    """Share of characters in nine words that occur more than once together."""
    return _repeated_words(document, 9)


@signal(high=0.10, words="unicode_alphanumeric")
def duplicate_10grams(document: Document) -> float:
    """Share of characters in ten words that occur more than once together."""
    return _repeated_words(document, 10)
