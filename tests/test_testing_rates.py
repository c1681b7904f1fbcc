"""Error rates of the tests of ``neurorobust.testing``: exact ones, and those of 1000 simulated networks each."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from neurorobust.testing import PairedTest, SequentialTest
from neurorobust.testing.paired import spread_of_difference

RUNS = 1000
DESIGNS = [SequentialTest(0.95), SequentialTest(0.9, 0.15, 0.01, 0.1), SequentialTest(1.0, 0.05), SequentialTest(0.5)]
DESIGNS.append(SequentialTest(0.91, 0.05, 0.3, 0.3))


def within(count: int, rate: float, n: int = RUNS) -> bool:
    """Whether a count of n is one that a rate gives 999 times in 1000."""
    low, high = stats.binom.interval(0.999, n, rate)
    return low <= count <= high


def outcome(test: SequentialTest, good: np.ndarray) -> bool | None:
    """The verdict on dies that are good or bad, one after the other."""
    for n, k in enumerate(np.cumsum(good), 1):
        if (found := test.verdict(int(k), n)) is not None:
            return found
    return None


@pytest.mark.parametrize("true", [0.3, 0.6, 0.8, 1.0])
def test_the_exact_rates_are_those_of_all_sequences(true):
    """Every sequence of 12 good or bad dies, weighted by its probability, against the walk."""
    test = SequentialTest(0.9, 0.5, 0.1, 0.2, max_dies=12)
    totals = {True: 0.0, False: 0.0, None: 0.0}
    dies = 0.0
    for sequence in product([0, 1], repeat=12):
        weight = true ** sum(sequence) * (1 - true) ** (12 - sum(sequence))
        totals[outcome(test, np.array(sequence))] += weight
        counts = enumerate(np.cumsum(sequence), 1)
        dies += weight * next((n for n, k in counts if test.verdict(int(k), n) is not None), 12)
    found = test.rates(true)
    assert (found.passes, found.fails, found.undecided) == pytest.approx((totals[True], totals[False], totals[None]))
    assert found.mean_dies == pytest.approx(dies)


@pytest.mark.parametrize("test", DESIGNS, ids=lambda test: f"{test.at_least:g}")
def test_rates_are_at_most_the_stated_ones(test):
    """Exactly, with the cap: false alarms at p1 and above, undecided ones too; misses at p0 and below. One die fewer
    would be too few."""
    for good in np.linspace(test.at_least, 1, 4):
        assert 1 - test.rates(good).passes <= test.alpha + 1e-12
    for bad in np.linspace(0, test.bad_yield, 4):
        assert test.rates(bad).passes <= test.beta + 1e-12
    shorter = SequentialTest(test.at_least, test.margin, test.alpha, test.beta, test.limit - 1)
    assert 1 - shorter.rates(test.at_least).passes > test.alpha


@pytest.mark.parametrize("test", DESIGNS[:3], ids=lambda test: f"{test.at_least:g}")
def test_a_thousand_networks_have_the_exact_rates(test):
    """1000 networks with a yield of p1 and 1000 with p0: verdicts within the binomial error of the exact rates."""
    drawn = np.random.default_rng(1)
    for true in (test.at_least, test.bad_yield):
        verdicts = [outcome(test, drawn.random(test.limit) < true) for _ in range(RUNS)]
        rates = test.rates(true)
        assert within(sum(v is True for v in verdicts), rates.passes)
        assert within(sum(v is False for v in verdicts), rates.fails)
        assert within(sum(v is None for v in verdicts), rates.undecided)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.2,), r"at_least: got 1.2; expected a yield above 0, at most 1"),
        ((0.1,), r"margin: got 0.1; expected less than at_least, 0.1"),
        ((0.9, 0.1, 0.5), r"alpha: got 0.5; expected an error rate below 0.5"),
        ((0.9, 0.1, 0.05, 0.05, 0), r"max_dies: got 0; expected an integer ≥ 1"),
        ((0.9, -0.1), r"margin: got -0.1; expected a finite number > 0"),
    ],
)
def test_a_sequential_test_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SequentialTest(*arguments)


def test_a_margin_that_needs_too_many_dies_is_refused():
    with pytest.raises(ValueError, match=r"cannot be told from one of 0.949 .* on 10000 dies; take a larger margin"):
        _ = SequentialTest(0.95, 0.001).limit


# ---- paired

SAMPLES = 50  # of the test data: scores are multiples of 1/50, so ties are heavy


def fleets(drawn: np.random.Generator, n: int, loss: float, same: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores before and after of n dies: each die has its own true score, skewed to bad dies; each score is a count
    of right samples. The two networks share a fraction of what makes a die bad."""

    def truth(base: np.ndarray, own: np.ndarray) -> np.ndarray:
        return np.clip(0.95 - 0.08 * (same * base + (1 - same) * own), 0, 1)

    base, first, second = drawn.exponential(size=(3, n))
    before, after = truth(base, first), truth(base, second) - loss
    return drawn.binomial(SAMPLES, before) / SAMPLES, drawn.binomial(SAMPLES, np.clip(after, 0, 1)) / SAMPLES


@pytest.mark.parametrize("same", [0.0, 0.7])
@pytest.mark.parametrize("n", [20, 100])
def test_a_thousand_networks_that_are_not_worse(n, same):
    """1000 networks with an expected loss of exactly the margin fail as often as stated; with none, far less."""
    test, drawn = PairedTest(margin=0.02, alpha=0.05), np.random.default_rng(2)
    pairs = [fleets(drawn, n, 0.02, same) for _ in range(RUNS)]
    assert within(sum(test.fails(after - before) for before, after in pairs), 0.05)
    pairs = [fleets(drawn, n, 0.0, same) for _ in range(RUNS)]
    assert sum(test.fails(after - before) for before, after in pairs) < 0.02 * RUNS


@pytest.mark.parametrize("n", [20, 100])
def test_a_thousand_regressions_are_found_as_often_as_stated(n):
    """1000 networks that lose 0.05: the power from the true spread of the differences within the binomial error; the
    one stated from the spread of one baseline is, on average, not above what is found when dies are alike."""
    test, drawn = PairedTest(margin=0.01, loss=0.05), np.random.default_rng(3)
    spread = float(np.std(np.subtract(*fleets(drawn, 200_000, 0.05, 0.0)), ddof=1))
    pairs = [fleets(drawn, n, 0.05, 0.0) for _ in range(RUNS)]
    assert within(sum(test.fails(after - before) for before, after in pairs), test.power(n, spread))
    pairs = [fleets(drawn, n, 0.05, 0.7) for _ in range(RUNS)]
    stated = np.mean([test.power(n, spread_of_difference(before)) for before, _ in pairs])
    assert stated <= np.mean([test.fails(after - before) for before, after in pairs]) + 0.02


def test_the_p_value_is_scipy_s():
    """Student's one-sided test of one sample, and all-equal differences, which have no spread."""
    d = np.random.default_rng(4).normal(-0.02, 0.05, 30)
    test = PairedTest(margin=0.01)
    assert test.p_value(d) == pytest.approx(stats.ttest_1samp(d, -0.01, alternative="less").pvalue)
    assert test.p_value(np.zeros(20)) == 1 and not test.fails(np.zeros(20))
    assert test.p_value(np.full(20, -0.02)) == 0 and test.fails(np.full(20, -0.02))
    assert not test.fails(np.full(20, 0.85) - np.full(20, 0.86))  # exactly the margin, but for rounding


def test_power_is_scipy_s_and_detectable_its_inverse():
    test = PairedTest(margin=0.01, alpha=0.05, loss=0.03)
    critical = stats.t.ppf(0.95, 24)
    assert test.power(25, 0.05) == pytest.approx(stats.nct.sf(critical, 24, 0.02 * 5 / 0.05), abs=1e-9)
    assert test.power(25, 0.05, test.detectable(25, 0.05)) == pytest.approx(0.9)
    assert test.power(25, 0.05, 0.01) == pytest.approx(0.05)  # at the margin: the false alarms
    assert (test.power(25, 0.0), test.detectable(25, 0.0), test.power(25, 1e-6)) == (1.0, 0.01, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0.06}, r"loss: got 0.05; expected more than the margin, 0.06"),
        ({"alpha": 0.7}, r"alpha: got 0.7; expected an error rate below 0.5"),
        ({"margin": -1}, r"margin: got -1; expected a finite number ≥ 0"),
    ],
)
def test_a_paired_test_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PairedTest(**settings)


def test_too_few_dies_are_refused():
    with pytest.raises(ValueError, match="expected 8 finite numbers or more"):
        PairedTest().p_value(np.zeros(7))
