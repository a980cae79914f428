"""What is said of losses: intervals that hold the truth, noise by hand, and answers that follow."""

import math
from dataclasses import replace

import numpy as np
import pytest

from curate.column import Numbers
from trainer.statistics import (
    MACRO,
    Difference,
    Losses,
    Noise,
    Sizes,
    bits_per_byte,
    differences,
    judged,
    noise,
    signed,
    worth,
)

CLEAR = Difference(-0.05, low=-0.06, high=-0.04, ratio=-9.0, least=4.1, sigma=0.007, confidence=1.0)
TIED = Difference(0.001, low=-0.004, high=0.006, ratio=0.4, least=4.1, sigma=0.003, confidence=0.6)


def simulated(
    random: np.random.Generator, effect: float, seeds: int = 3, documents: int = 60
) -> tuple[Losses, Losses, Sizes]:
    """Two arms whose bits per byte differ by `effect`, with noise of documents and of seeds."""
    sizes = random.integers(50, 2000, documents).astype(np.float64)
    hard = random.normal(2, 0.5, documents)
    change = random.normal(effect, 0.02, documents)

    def arm(shift: Numbers | float) -> Losses:
        each = random.normal(0, 0.01, (seeds, 1)) + random.normal(0, 0.002, (seeds, documents))
        return {"x": sizes * (hard + shift + each)}

    return arm(0.0), arm(change), {"x": sizes}


def test_bits_per_byte_are_all_bits_over_all_bytes_and_domains_weigh_alike() -> None:
    losses = {"x": np.array([[10.0, 20.0]]), "y": np.array([[6.0]])}
    sizes = {"x": np.array([10, 5]), "y": np.array([2])}
    found = bits_per_byte(losses, sizes)
    assert {name: value.tolist() for name, value in found.items()} == {
        "x": [2.0],
        "y": [3.0],
        MACRO: [2.5],
    }


def test_the_noise_is_that_between_seeds_of_the_same_arm() -> None:
    """1, 2, 3 has squares 2; 10, 14 has 8: 10 over 2 + 1 degrees of freedom."""
    found = noise([np.array([1.0, 2.0, 3.0]), np.array([10.0, 14.0])])
    assert found == Noise(math.sqrt(10 / 3), 3)
    assert math.isnan(noise([np.array([1.0]), np.array([5.0])]).sigma)


def test_the_ratio_is_the_difference_by_what_seeds_alone_would_make_of_it() -> None:
    """By hand: means 1.1 and 1.4; deviations .1 in both; two and three seeds."""
    sizes = {"x": np.array([10.0, 10.0])}
    first = {"x": np.outer([1.0, 1.1, 1.2], [10.0, 10.0])}
    second = {"x": np.outer([1.4 - 0.1 / math.sqrt(2), 1.4 + 0.1 / math.sqrt(2)], [10.0, 10.0])}
    found = differences(first, second, sizes)[MACRO]
    assert found.value == pytest.approx(0.3)
    assert found.sigma == pytest.approx(0.1)
    assert found.ratio == pytest.approx(0.3 / (0.1 * math.sqrt(1 / 3 + 1 / 2)))
    assert found.least == pytest.approx(10.2145, abs=1e-3)  # 3 degrees of freedom, in tables
    assert not found.claimed


@pytest.mark.parametrize("seeds", [2, 3])
def test_intervals_hold_the_truth_95_times_of_100(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    effect, held, claims = 0.01, 0, 0
    for _ in range(120):
        first, second, sizes = simulated(random, effect, seeds)
        found = differences(first, second, sizes)[MACRO]
        held += found.low <= effect <= found.high
        nothing = differences(*simulated(random, 0.0, seeds))[MACRO]
        claims += nothing.claimed
    assert held >= 107  # of 114 that are expected, less three deviations
    assert claims <= 13  # of 6


@pytest.mark.parametrize(
    ("freedom", "least"), [(1, 318.309), (2, 22.327), (4, 7.173), (10, 4.144), (10**9, 3.090)]
)
def test_a_claim_needs_as_many_deviations_as_students_t_says(freedom: int, least: float) -> None:
    """Of the printed tables for .001 on either side."""
    assert Noise(1.0, freedom).least == pytest.approx(least, abs=1e-3)
    assert math.isnan(Noise(math.nan, 0).least)


def of_seeds(random: np.random.Generator, effect: float, arms: int = 1) -> list[Losses]:
    """Arms of three seeds whose deviation is 1; documents add nothing."""
    drawn = random.normal(effect, 1, (arms, 3, 1)) + np.zeros(8)
    return [{"x": 100 + each} for each in drawn]


@pytest.mark.parametrize("others", [0, 3])
def test_a_against_a_is_claimed_in_at_most_one_ablation_of_a_hundred(others: int) -> None:
    """3.1 deviations, whatever the degrees of freedom, made 36 and 11 false claims of 1,000."""
    random, sizes = np.random.default_rng(others), {"x": np.ones(8)}
    claims = 0
    for _ in range(1000):
        first, second, *more = of_seeds(random, 0, 2 + others)
        claims += differences(first, second, sizes, more)[MACRO].claimed
    assert claims <= 8  # of 2 that are expected, and four deviations


def test_a_difference_of_five_deviations_is_found_with_three_seeds_and_controls() -> None:
    random, sizes, found = np.random.default_rng(0), {"x": np.ones(8)}, 0
    for _ in range(200):
        [first], [second] = of_seeds(random, 0), of_seeds(random, 5)
        found += differences(first, second, sizes, of_seeds(random, 0, 3))[MACRO].claimed
    assert found >= 170  # of 187 that are expected


def test_of_few_documents_the_interval_is_not_too_narrow() -> None:
    """By law: the variance of what is drawn is that of a mean, squares / (n (n - 1))."""
    sizes, bits = {"x": np.ones(5)}, np.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
    first = {"x": np.repeat(np.zeros((1, 5)), 3, axis=0)}
    found = differences(first, {"x": np.repeat(bits, 3, axis=0)}, sizes)[MACRO]
    spread = math.sqrt(bits.var(ddof=1) / 5)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_documents_that_are_hard_for_both_do_not_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    first, second, sizes = simulated(random, -0.05, seeds=5, documents=500)
    found = differences(first, second, sizes)[MACRO]
    assert found.claimed
    assert found.high - found.low < 0.05  # documents alone have a deviation of .5
    unpaired = {"x": second["x"][:, ::-1] * (sizes["x"] / sizes["x"][::-1])}
    wide = differences(first, unpaired, sizes)["x"]
    assert wide.high - wide.low > 2 * (found.high - found.low)


def test_other_arms_help_to_know_the_noise() -> None:
    random = np.random.default_rng(3)
    first, second, sizes = simulated(random, 0.0, seeds=2)
    others = [simulated(random, 0.0, seeds=8)[0] for _ in range(4)]
    alone = differences(first, second, sizes)[MACRO]
    helped = differences(first, second, sizes, others)[MACRO]
    assert helped.value == alone.value
    assert helped.sigma == pytest.approx(0.01, rel=0.3)


def test_domains_keep_their_own_sign() -> None:
    sizes = {"x": np.full(50, 10.0), "y": np.full(50, 10.0)}
    noisy = np.random.default_rng(0).normal(0, 0.001, (4, 3, 50))
    first = {"x": 20 + noisy[0], "y": 20 + noisy[1]}
    second = {"x": 21 + noisy[2], "y": 18 + noisy[3]}
    found = differences(first, second, sizes)
    assert [round(found[name].value, 2) for name in ("x", "y", MACRO)] == [0.1, -0.2, -0.05]
    assert all(found[name].claimed for name in ("x", "y", MACRO))


def test_equal_arms_have_no_difference_at_all() -> None:
    losses, sizes = {"x": np.ones((3, 5))}, {"x": np.ones(5)}
    found = differences(losses, losses, sizes)[MACRO]
    assert (found.value, found.low, found.high, found.ratio) == (0, 0, 0, 0)
    assert judged(found, found, 0.01).answer == "tie"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clear_difference_has_a_sign_and_its_size(sign: int) -> None:
    found = CLEAR if sign < 0 else replace(CLEAR, value=0.05, low=0.04, high=0.06, ratio=9.0)
    verdict = judged(found, found, 0.01)
    assert verdict.answer == ("better" if sign < 0 else "worse")
    assert verdict.sentence == (
        f"B is {verdict.answer} by 0.0500 bits per byte (95 % interval 0.0400 to 0.0600, "
        "9.0 deviations between seeds)"
    )


def test_a_claim_within_the_margin_says_so() -> None:
    found = replace(TIED, value=-0.002, low=-0.003, high=-0.001, ratio=-8.0)
    verdict = judged(found, found, 0.01)
    assert verdict.answer == "better"
    assert verdict.sentence.endswith("between seeds), within the margin of 0.01")


def test_a_tie_says_beyond_what_there_is_none() -> None:
    verdict = judged(TIED, TIED, 0.01)
    assert (verdict.answer, verdict.sentence) == (
        "tie",
        "no difference beyond 0.0060 bits per byte",
    )


@pytest.mark.parametrize(
    ("found", "low_rate", "reason"),
    [
        (replace(TIED, high=0.05), TIED, "has 0 in it and more than 0.01 too"),
        (replace(CLEAR, ratio=-2.9), CLEAR, "only the low learning rate"),
        (replace(CLEAR, ratio=-2.9), TIED, "only 2.9 deviations between seeds"),
        (CLEAR, replace(CLEAR, value=0.001, low=-1, high=1), "contradict each other"),
        (TIED, CLEAR, "contradict each other"),
        (TIED, replace(CLEAR, value=0.05, low=0.04, high=0.06), "only the low learning rate"),
        (replace(CLEAR, sigma=math.nan, low=math.nan, high=math.nan), CLEAR, "one seed"),
    ],
)
def test_what_is_not_decided_has_a_reason(
    found: Difference, low_rate: Difference, reason: str
) -> None:
    verdict = judged(found, low_rate, 0.01)
    assert verdict.answer == "undecided"
    assert verdict.sentence.startswith("not decided: ")
    assert reason in verdict.sentence


def test_one_seed_gives_no_interval() -> None:
    losses, sizes = {"x": np.ones((1, 5))}, {"x": np.ones(5)}
    found = differences(losses, {"x": np.full((1, 5), 2.0)}, sizes)[MACRO]
    assert found.value == 1
    assert math.isnan(found.low)
    assert not found.claimed


@pytest.mark.parametrize(
    ("reached", "tokens", "bound"),
    [
        (3.0, 200, ""),  # as A at 200
        (3.5, 100 * math.sqrt(2), ""),  # halfway between two steps, on a logarithmic axis
        (1.5, 400 * math.sqrt(2), ""),  # half a step beyond the ladder
        (1.0, 800, ""),
        (0.9, 800, "more than"),
        (4.5, 100, "less than"),
    ],
)
def test_worth_is_read_off_the_ladder(reached: float, tokens: float, bound: str) -> None:
    found = worth({100: 4.0, 200: 3.0, 400: 2.0}, reached)
    assert found is not None
    assert (found.tokens, found.bound) == (pytest.approx(tokens), bound)


@pytest.mark.parametrize("ladder", [{100: 4.0}, {100: 4.0, 200: 4.5, 400: 2.0}])
def test_a_ladder_that_does_not_fall_tells_nothing(ladder: dict[int, float]) -> None:
    assert worth(ladder, 3.0) is None


def test_a_difference_has_a_sign() -> None:
    assert (signed(0.5), signed(-0.5)) == ("+0.5000", "−0.5000")
