"""The measures of a tokenizer on text, each a formula over counts; undefined is NaN.

bytes per token       bytes of text by tokens: compression, with no notion of a word.
characters per token  code points by tokens; tokens per character is its inverse.
fertility             tokens by words (Acs 2019; Le Scao et al. 2022, the BLOOM paper, section 3.2).
word fertility        the tokens of words alone by words, 1 at least (Rust et al. 2021). A word is
                      encoded with the space before it where one stands there.
kept whole            share of words that are one token: one less the "proportion of continued
                      words" of Rust et al. 2021.
Renyi efficiency      see `renyi_efficiency`.
premium               tokens for a language by tokens for the pivot, on the same content
                      (Petrov et al. 2023); ratio of sums, not mean of ratios.
Gini                  see `gini`.

A word is a run of letters, marks and numbers (Unicode categories L, M and N). Where a script puts
no spaces between words such a run is a phrase: fertility means nothing there, and tokens per
character stands for it.
"""

import math
from collections.abc import Sequence

import numpy as np

from curate.column import Positions

ALPHA = 2.5  # the order that Zouhar et al. 2023 found to correlate best with translation quality


def ratio(part: float, whole: float) -> float:
    """One number by another; NaN by 0."""
    return part / whole if whole else math.nan


def renyi_efficiency(used: Positions, vocabulary: int, alpha: float = ALPHA) -> float:
    """How evenly a vocabulary is used, 0 to 1 (Zouhar et al. 2023); NaN without tokens.

    The Renyi entropy of order alpha of the distribution of tokens, by its maximum, which is the
    logarithm of the number of tokens in the vocabulary, used or not (the paper's definition; its
    package divides by the tokens that occur). Special tokens are not counted, for text has none.
    """
    used = used[used > 0]
    if len(used) == 0 or vocabulary < 2:
        return math.nan
    shares = used / used.sum()
    if alpha == 1:
        entropy = -(shares * np.log(shares)).sum()
    else:
        entropy = np.log((shares**alpha).sum()) / (1 - alpha)
    return float(entropy / math.log(vocabulary))


def gini(costs: Sequence[float]) -> float:
    """How unequal costs are: 0 if all are the same, near 1 if one language bears all.

    The mean absolute difference of two of them by twice their mean.
    """
    total = sum(costs)
    if not costs or not total:
        return math.nan
    ranked = np.sort(np.array(costs, np.float64))
    places = np.arange(1, len(ranked) + 1)
    return float(((2 * places - len(ranked) - 1) * ranked).sum() / (len(ranked) * total))
