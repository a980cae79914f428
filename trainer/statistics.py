"""What losses of several seeds on the same documents say about two corpora, and what they do not.

Losses are bits of each held-out document, a row for each seed. Every domain has its bits per byte,
and the mean of domains is what is compared: a large domain is not heavier than a small one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from curate.column import Numbers

Losses = Mapping[str, Numbers]  # by domain: bits, [seeds, documents]
Sizes = Mapping[str, Numbers]  # by domain: bytes of each document

# The modded-nanogpt repository claims a difference of 3.1 deviations of it, which chance alone
# exceeds 2 times of 1,000 if the deviation is known. Known from few trainings only, with 4 degrees
# of freedom, 3.1 would be exceeded 36 times: as many as have the same chance are asked for instead.
CHANCE = 0.002
CONFIDENCE = 0.95
DRAWS = 2000
MACRO = "macro mean"
_BLOCK = 1 << 22  # documents drawn at once


@dataclass(frozen=True)
class Noise:
    """The deviation between seeds of the same arm, and how well it is known."""

    sigma: float  # nan where no arm has two seeds
    freedom: int  # degrees of it: each arm has one less than seeds

    @property
    def least(self) -> float:
        """So many deviations are a claim, by Student's t: 3.1 if sigma is known for certain."""
        return float(stdtrit(self.freedom, 1 - CHANCE / 2)) if self.freedom else math.nan


@dataclass(frozen=True)
class Difference:
    """How much more bits per byte the second arm needs: below 0 it is the better one."""

    value: float
    low: float
    high: float
    ratio: float  # of the value to the deviation that seeds alone give it
    least: float  # the ratio that a claim needs
    sigma: float
    confidence: float  # share of the draws on the value's side of 0

    @property
    def claimed(self) -> bool:
        """Whether it is safe to say that there is one."""
        return abs(self.ratio) >= self.least and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Verdict:
    """The answer, one of better, worse, tie and undecided, and how it is told."""

    answer: str
    sentence: str


@dataclass(frozen=True)
class Worth:
    """So many tokens of the first arm teach what those of the second do."""

    tokens: float
    bound: str  # "", or "more than" and "less than" where the ladder ends before


def bits_per_byte(losses: Losses, sizes: Sizes) -> dict[str, Numbers]:
    """Of each domain and of their mean, for each seed."""
    found = {name: bits.sum(axis=1) / sizes[name].sum() for name, bits in losses.items()}
    return {**found, MACRO: np.mean([*found.values()], axis=0)}


def noise(arms: Sequence[Numbers]) -> Noise:
    """The deviation between seeds, of all arms together; an arm is a number for each seed."""
    freedom = sum(len(arm) - 1 for arm in arms)
    squares = sum(float(((arm - arm.mean()) ** 2).sum()) for arm in arms)
    return Noise(math.sqrt(squares / freedom) if freedom else math.nan, freedom)


def differences(
    first: Losses, second: Losses, sizes: Sizes, others: Sequence[Losses] = ()
) -> dict[str, Difference]:
    """The second arm's bits per byte less the first's: of every domain, and of their mean.

    Documents are drawn again in pairs, the same for both arms, so that what makes a document hard
    falls out. Seeds are too few to be drawn from: of three, intervals for 95 % held the truth 72
    times of 100. Their noise is drawn from Student's t instead, with the deviation between seeds of
    the same arm; `others` are further arms that help to know it.
    """
    arms = [bits_per_byte(arm, sizes) for arm in (first, second, *others)]
    counts = [len(arms[0][MACRO]), len(arms[1][MACRO])]
    per_root = math.sqrt(sum(1 / count for count in counts))
    drawn = _drawn_again(first, second, sizes)
    found = {}
    for name, draws in drawn.items():
        known = noise([arm[name] for arm in arms])
        value = float(arms[1][name].mean() - arms[0][name].mean())
        spread = known.sigma * per_root
        # Each name has a generator of its own: another domain does not change this one's interval.
        student = np.random.default_rng(1).standard_t(max(known.freedom, 1), len(draws))
        found[name] = _difference(value, draws + spread * student, spread, known)
    return found


def worth(ladder: Mapping[int, float], reached: float) -> Worth | None:
    """How many tokens of the first arm reach these bits per byte.

    A straight line over the logarithm of tokens between the steps of the ladder; None if more
    tokens are not better on it.
    """
    steps = sorted(ladder)
    if len(steps) < 2 or any(ladder[less] <= ladder[more] for less, more in pairwise(steps)):
        return None
    if reached > ladder[steps[0]]:
        return Worth(steps[0], "less than")
    less, more = next(
        ((less, more) for less, more in pairwise(steps) if reached >= ladder[more]), steps[-2:]
    )
    share = (ladder[less] - reached) / (ladder[less] - ladder[more])
    equal = less * (more / less) ** share
    # Beyond the ladder its last step is prolonged, but not further than it is long.
    furthest = more * more / less
    return Worth(furthest, "more than") if equal > furthest else Worth(equal, "")


def judged(found: Difference, low_rate: Difference | None, margin: float) -> Verdict:
    """Whether the second corpus is better; `low_rate` is the difference at a tenth of the rate.

    A difference within the margin is of no interest: an interval inside of it is a tie.
    """
    if math.isnan(found.sigma):
        return Verdict("undecided", "not decided: one seed does not tell how noisy it is")
    if low_rate is not None and (reason := _contradiction(found, low_rate)):
        return Verdict("undecided", f"not decided: {reason}")
    beyond = max(abs(found.low), abs(found.high))
    if found.claimed:
        answer = "better" if found.value < 0 else "worse"
        small = f", within the margin of {margin:g}" if abs(found.value) <= margin else ""
        return Verdict(answer, f"B is {answer} by {_told(found)}{small}")
    if beyond <= margin:
        return Verdict("tie", f"no difference beyond {beyond:.4f} bits per byte")
    return Verdict("undecided", f"not decided: {_doubt(found, margin)}")


def _contradiction(found: Difference, low_rate: Difference) -> str:
    """What the two learning rates say against each other."""
    told = (
        f"{signed(found.value)} bits per byte at the learning rate, "
        f"{signed(low_rate.value)} at a tenth of it"
    )
    if (found.claimed or low_rate.claimed) and found.value * low_rate.value < 0:
        return f"the learning rates contradict each other, {told}"
    if low_rate.claimed and not found.claimed:
        return f"only the low learning rate sees a difference, {told}"
    return ""


def _told(found: Difference) -> str:
    low, high = sorted((abs(found.low), abs(found.high)))
    return (
        f"{abs(found.value):.4f} bits per byte (95 % interval {low:.4f} to {high:.4f}, "
        f"{abs(found.ratio):.1f} deviations between seeds)"
    )


def _doubt(found: Difference, margin: float) -> str:
    """Why neither a difference nor a tie can be claimed."""
    interval = f"B − A is {signed(found.low)} to {signed(found.high)} bits per byte (95 %)"
    if found.low <= 0 <= found.high:
        return f"{interval}, which has 0 in it and more than {margin:g} too; take more seeds"
    return (
        f"{interval}, but only {abs(found.ratio):.1f} deviations between seeds, where a claim "
        f"needs {found.least:.1f}; take more seeds"
    )


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def _drawn_again(first: Losses, second: Losses, sizes: Sizes) -> dict[str, Numbers]:
    """Differences of documents drawn with replacement, of each domain and of their mean."""
    found = {}
    for place, (name, bits) in enumerate(first.items()):
        random = np.random.default_rng((0, place))
        change = second[name].mean(axis=0) - bits.mean(axis=0)
        found[name] = _ratios(change, sizes[name].astype(np.float64), random)
    return {**found, MACRO: np.mean([*found.values()], axis=0)}


def _ratios(change: Numbers, sizes: Numbers, random: np.random.Generator) -> Numbers:
    """The sum of changes by the sum of sizes, of as many documents drawn again.

    What is drawn from `count` documents varies by (count - 1) / count of what it should, as a
    variance that is divided by `count` does; it is made up for.
    """
    count, whole = len(change), float(change.sum() / sizes.sum())
    draws = max(1, _BLOCK // count)
    blocks = []
    for start in range(0, DRAWS, draws):
        rows = random.integers(0, count, (min(draws, DRAWS - start), count))
        blocks.append(change[rows].sum(axis=1) / sizes[rows].sum(axis=1))
    drawn: Numbers = np.concatenate(blocks)
    return whole + (drawn - whole) * math.sqrt(count / max(1, count - 1))


def _difference(value: float, draws: Numbers, spread: float, known: Noise) -> Difference:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail)).tolist()
    side = float(((draws < 0) if value < 0 else (draws > 0)).mean())
    ratio = value / spread if spread else math.copysign(math.inf, value) if value else 0.0
    return Difference(value, low, high, ratio, known.least, known.sigma, side)
