"""FineWeb2's rules: Penedo et al. 2025, arXiv:2506.20920, and github.com/huggingface/fineweb-2.

They are Gopher's, FineWeb's and repetition's with bounds for 1,929 languages and scripts, in the
table `fineweb2`, and stop words for each. Dialect: words are what the recipe's `words` cuts; the
source has a tokenizer for each language, which takes punctuation for words of its own.
"""

from functools import cache

import numpy as np

from curate.column import Numbers
from curate.errors import RecipeError
from curate.kernel import Index
from curate.schema import LANGUAGE_SCORE, Batch
from curate.signal import column_signal, index_signal
from filters.stopwords import Phrases, languages_of, listed, occurrences, phrases


@cache
def _stop_words(language: str) -> Phrases | None:
    words = listed("fineweb2_stop_words.txt", language)
    return None if words is None else phrases((word,) for word in words)


@index_signal(low=2)
def stop_words(batch: Batch, index: Index) -> Numbers:
    """How many different stop words of the document's language occur as words; case matters.

    English is assumed where no stage before told the language; undefined without a list for it.
    """
    return occurrences(index, languages_of(batch), _stop_words)[:, 1]


@column_signal(low=0.3)
def language_score(batch: Batch) -> Numbers:
    """The score of the document's language, for which FineWeb2 has a bound by language.

    Those bounds are meant for GlotLID's scores; .3 is the lowest of them.
    """
    if LANGUAGE_SCORE not in batch.schema.names:
        raise RecipeError("fineweb2.language_score: no stage before this one tells the language")
    scores: Numbers = batch.column(LANGUAGE_SCORE).to_numpy(zero_copy_only=False)
    return np.asarray(scores, np.float64)
