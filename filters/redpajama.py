"""RedPajama-v2's quality signals of documents: github.com/togethercomputer/RedPajama-Data.

Dialect: app/src/core/quality_signals at commit 855a8e0. Raw words are NLTK's WordPunct tokens
(cut "wordpunct"), normalised words those of the text without ASCII punctuation, in lower case and
NFD (cut "normalised"); lines are those that newlines end. Names are the source's without rps_doc_;
it rounds to 8 decimals, these numbers are not rounded. It sets no bounds. Not in here, for they
need models or lists of yours: the fastText scores (`classifier.Score`), the importance weights
(`importance.Importance`), the UT1 category of the domain (`ut1.Category`). Where the source says
null, the number is undefined.
"""

import math
from functools import cache
from importlib.resources import files

import numpy as np

from curate.column import Bytes, Numbers
from curate.hashing import clear, first_seen
from curate.kernel import Document, Index, borrowing
from curate.ngrams import gram_characters, top_gram
from curate.properties import OTHER_CASE, UPPER, is_word, properties
from curate.schema import Batch
from curate.signal import index_signal, signal
from curate.utf8 import code_point, skip_space_back, starts_character
from filters.stopwords import Phrases, languages_of, listed, occurrences, phrases

# RedPajama-v2 covers these; it has stop words for two more, and bad words for these only.
BAD_WORD_LANGUAGES = ("en", "fr", "it", "es", "de")


@signal(words="wordpunct")
def num_sentences(document: Document) -> float:
    """Runs that begin with a word and end with a run of . ! ? or the text."""
    text, words, count, outside = document.text, document.words, 0, True
    for word in range(len(words.starts)):
        at, end = words.starts[word], words.ends[word]
        if is_word(code_point(text, at, end)):
            count += outside
            outside = False
            continue
        for place in range(at, end):
            outside |= text[place] == 46 or text[place] == 33 or text[place] == 63
    return float(count)


@signal(words="normalised")
def word_count(document: Document) -> float:
    """Normalised words."""
    return float(len(document.words.starts))


@borrowing
def _word_characters(document: Document) -> int:
    characters = 0
    for size in document.words.characters:
        characters += size
    return characters


@signal(words="normalised")
def mean_word_length(document: Document) -> float:
    """Characters per normalised word, accents counted as characters."""
    count = len(document.words.starts)
    return _word_characters(document) / count if count > 0 else math.nan


@borrowing
def _is_ellipsis(text: Bytes, at: int) -> bool:
    """Whether three bytes are three dots or U+2026."""
    dots = text[at] == 46 and text[at + 1] == 46 and text[at + 2] == 46
    return bool(dots or (text[at] == 0xE2 and text[at + 1] == 0x80 and text[at + 2] == 0xA6))


@signal(words="wordpunct")
def symbol_to_word_ratio(document: Document) -> float:
    """Number signs and ellipses ("..." or "…") per raw word."""
    text, words, symbols = document.text, document.words, 0
    for word in range(len(words.starts)):
        at, end = words.starts[word], words.ends[word]
        first = int(text[at])
        # A word is no sign, and no sign has letters or digits in it.
        at = end if 48 <= first <= 57 or 97 <= (first | 32) <= 122 else at
        while at < end:
            size = 3 if at + 3 <= end and _is_ellipsis(text, at) else 1
            symbols += size == 3 or text[at] == 35
            at += size
    count = len(document.words.starts)
    return symbols / count if count > 0 else math.nan


@borrowing
def line_count(document: Document) -> int:
    """How many lines there are, as RedPajama cuts them: none follows the last newline."""
    count = len(document.lines.starts)
    return count - int(document.lines.starts[count - 1] == document.lines.ends[count - 1])


@signal(words="wordpunct")
def frac_lines_end_with_ellipsis(document: Document) -> float:
    """Share of lines that end with an ellipsis ("..." or "…")."""
    text, count, found = document.text, line_count(document), 0
    for line in range(count):
        start = document.lines.starts[line]
        end = skip_space_back(text, start, document.lines.ends[line])
        found += end - start >= 3 and _is_ellipsis(text, end - 3)
    return found / count if count > 0 else math.nan


@signal(words="wordpunct")
def frac_no_alph_words(document: Document) -> float:
    """Share of raw words without any of the letters A to Z."""
    text, words = document.text, document.words
    count, found = len(words.starts), 0
    for word in range(count):
        at, end = words.starts[word], words.ends[word]
        while at < end and not 97 <= (int(text[at]) | 32) <= 122:
            at += 1
        found += at < end
    return 1.0 - found / count if count > 0 else math.nan


@signal(words="normalised")
def frac_unique_words(document: Document) -> float:
    """Share of normalised words that occur for the first time."""
    hashes, keys, found = document.words.hashes, document.keys, 0
    mask = clear(document.slots, len(hashes))
    for word in range(len(hashes)):
        keys[word] = hashes[word]
        found += first_seen(keys, word, document.slots, mask) == word
    return found / len(hashes) if len(hashes) > 0 else math.nan


@signal(words="normalised")
def unigram_entropy(document: Document) -> float:
    """Entropy of the distribution of normalised words, in nats."""
    hashes, keys, counts = document.words.hashes, document.keys, document.counts
    mask, total = clear(document.slots, len(hashes)), len(hashes)
    for word in range(total):
        keys[word] = hashes[word]
        counts[word] = 0
        counts[first_seen(keys, word, document.slots, mask)] += 1
    entropy = 0.0
    for word in range(total):
        if counts[word] > 0:
            share = counts[word] / total
            entropy -= share * math.log(share)
    return entropy if total > 0 else math.nan


@borrowing
def _is_upper(text: Bytes, at: int, end: int) -> bool:
    """Whether a word has capitals and no other letters that have case, as `str.isupper`."""
    capitals, others = False, False
    while at < end and not others:
        if starts_character(text[at]):
            kinds = properties(code_point(text, at, end))
            capitals |= kinds & UPPER != 0
            others = kinds & OTHER_CASE != 0
        at += 1
    return capitals and not others


@signal(words="wordpunct")
def frac_all_caps_words(document: Document) -> float:
    """Share of raw words all of whose letters with case are capitals."""
    words, count, found = document.words, len(document.words.starts), 0
    for word in range(count):
        found += _is_upper(document.text, words.starts[word], words.ends[word])
    return found / count if count > 0 else math.nan


@borrowing
def _top_share(document: Document, size: int) -> float:
    """Share of characters in the most frequent n-gram; 0 where none occurs twice."""
    word, count = top_gram(document, size)
    if count <= 1:
        return 0.0
    characters = gram_characters(document.words.characters, word, size)
    return characters * count / _word_characters(document)


@signal(words="normalised")
def frac_chars_top_2gram(document: Document) -> float:
    """Share of characters in the most frequent two words."""
    return _top_share(document, 2)


@signal(words="normalised")
def frac_chars_top_3gram(document: Document) -> float:
    """Share of characters in the most frequent three words."""
    return _top_share(document, 3)


@signal(words="normalised")
def frac_chars_top_4gram(document: Document) -> float:
    """Share of characters in the most frequent four words."""
    return _top_share(document, 4)


@borrowing
def _duplicate_share(document: Document, size: int) -> float:
    """Share of characters in words of n-grams that occur twice, each word counted once."""
    repeats, sizes = document.repeats, document.words.characters
    found, total, end = 0, 0, 0
    for word in range(len(repeats)):
        end = word + size if repeats[word] >= size else end
        total += sizes[word]
        found += sizes[word] if word < end else 0
    return found / total if total > 0 else 0.0


@signal(words="normalised")
def frac_chars_dupe_5grams(document: Document) -> float:
    """Share of characters in five words that occur again."""
    return _duplicate_share(document, 5)


@signal(words="normalised")
def frac_chars_dupe_6grams(document: Document) -> float:
    """Share of characters in six words that occur again."""
    return _duplicate_share(document, 6)


@signal(words="normalised")
def frac_chars_dupe_7grams(document: Document) -> float:
    """Share of characters in seven words that occur again."""
    return _duplicate_share(document, 7)


@signal(words="normalised")
def frac_chars_dupe_8grams(document: Document) -> float:
    """Share of characters in eight words that occur again."""
    return _duplicate_share(document, 8)


@signal(words="normalised")
def frac_chars_dupe_9grams(document: Document) -> float:
    """Share of characters in nine words that occur again."""
    return _duplicate_share(document, 9)


@signal(words="normalised")
def frac_chars_dupe_10grams(document: Document) -> float:
    """Share of characters in ten words that occur again."""
    return _duplicate_share(document, 10)


@borrowing
def _begins_ipsum(text: Bytes, at: int, end: int) -> int:
    """2 if a word begins with ipsum, 1 if so only for `re.IGNORECASE` (ı, ſ), else 0."""
    kind = 2
    for letter in (105, 112, 115, 117, 109):
        wide = at + 1 < end and (
            (letter == 105 and text[at] == 0xC4 and text[at + 1] == 0xB1)
            or (letter == 115 and text[at] == 0xC5 and text[at + 1] == 0xBF)
        )
        if not wide and (at >= end or text[at] != letter):
            return 0
        kind = 1 if wide else kind
        at += 1 + wide
    return kind


@borrowing
def _ends_with_lorem(text: Bytes, start: int, end: int) -> bool:
    same = end - start >= 5
    at = end - 5
    for letter in (108, 111, 114, 101, 109):
        same = same and text[at] == letter
        at += 1
    return bool(same)


@signal(words="normalised")
def lorem_ipsum(document: Document) -> float:
    """How often "lorem ipsum" occurs, per character of the normalised text."""
    text, words = document.text, document.words
    exact, found, last = 0, 0, len(words.starts) - 1
    for word in range(last):
        if words.ends[word] - words.starts[word] < 5 or text[words.ends[word] - 1] != 109:
            continue
        if _ends_with_lorem(text, words.starts[word], words.ends[word]):
            kind = _begins_ipsum(text, words.starts[word + 1], words.ends[word + 1])
            found += kind > 0
            exact += kind == 2
    return found / (_word_characters(document) + last) if exact > 0 else 0.0


@signal(words="wordpunct")
def curly_bracket(document: Document) -> float:
    """Curly brackets, opening and closing, per character."""
    count = 0
    for byte in document.text:
        count += byte == 123 or byte == 125
    return count / document.characters if document.characters > 0 else 0.0


@cache
def _stop_words(language: str) -> Phrases | None:
    words = listed("redpajama_stop_words.txt", language)
    return None if words is None else phrases((word,) for word in words)


@index_signal(words="wordpunct")
def stop_word_fraction(batch: Batch, index: Index) -> Numbers:
    """Share of raw words that are stop words of the document's language; case matters.

    English is assumed where no stage before told the language; undefined without a list for it.
    """
    found = occurrences(index, languages_of(batch), _stop_words)[:, 0]
    return found / np.maximum(np.diff(index.word_offsets), 1)


@cache
def _bad_words(language: str) -> Phrases:
    if language not in BAD_WORD_LANGUAGES:
        return phrases([])
    path = files("filters") / "lists" / "badwords" / f"{language}.txt"
    entries = (line.strip() for line in path.read_text(encoding="utf-8").splitlines()[1:])
    return phrases(tuple(entry.split(" ")) for entry in entries)


@index_signal(words="normalised")
def ldnoobw_words(batch: Batch, index: Index) -> Numbers:
    """How often entries of LDNOOBW's list occur as normalised words or sequences of them.

    As in the source, entries are not normalised themselves: those with accents, capitals or
    punctuation are never found. 0 in a language other than en, fr, it, es and de.
    """
    return occurrences(index, languages_of(batch), _bad_words)[:, 0]
