"""Figures of merit and intervals against hand counts, tables and the definition of an exact interval."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interval_study import FILE, SPREADS, coverage
from scipy import stats

from neurorobust._util.intervals import ANYTHING, FRACTION, R_SQUARED, kept_within
from neurorobust.evaluation import (
    balanced_accuracy,
    bootstrap_interval,
    clopper_pearson,
    mean_interval,
    paired_interval,
    recall,
    sampling_variance,
)
from neurorobust.evaluation.statistics import difference_interval


def test_recall_and_balanced_accuracy_by_hand():
    """3 of 4, 0 of 2 and 1 of 1 recognised: recalls .75, 0, 1; their mean, not the 4/7 of plain accuracy."""
    y = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 0, 0, 2, 0, 2, 2])
    assert recall(predicted, y, 3).tolist() == [0.75, 0.0, 1.0]
    logits = torch.nn.functional.one_hot(predicted, 3).double()
    assert balanced_accuracy(logits, y) == pytest.approx((0.75 + 0 + 1) / 3)


def test_a_class_without_samples_does_not_count():
    """Recall of an absent class is NaN, and balanced accuracy is the mean over the classes present."""
    y, predicted = torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2])
    assert math.isnan(recall(predicted, y, 3)[1])
    assert balanced_accuracy(torch.nn.functional.one_hot(predicted, 3).double(), y) == 0.75


@pytest.mark.parametrize("specification", [0.84, 0.86, 0.88, 0.9, 0.95])
def test_a_die_with_exactly_the_specified_accuracy_reaches_it(specification):
    """However its right answers are divided over two classes of 100 samples; for half of the divisions of 0.9 the mean
    of two recalls, in binary, is less."""
    y, right = torch.arange(2).repeat_interleave(100), round(200 * specification)
    for first in range(right - 100, 101):
        hits = (torch.arange(100) < first, torch.arange(100) < right - first)
        predicted = torch.where(torch.cat(hits), y, 1 - y)
        assert balanced_accuracy(torch.nn.functional.one_hot(predicted, 2).double(), y) == specification


@pytest.mark.parametrize("logits", [torch.zeros(6), torch.zeros(5, 3), torch.zeros(6, 4, 3)])
def test_balanced_accuracy_refuses_what_are_no_logits_of_these_samples(logits):
    """Predicted classes in the place of logits would give a number that means nothing."""
    with pytest.raises(ValueError, match=r"logits: got shape .* expected \(6, 'n_classes'\)"):
        balanced_accuracy(logits, torch.arange(6) % 3)


def at_least(k, n, p):
    """P(X ≥ k) for X ~ Binomial(n, p), term by term."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@given(n=st.integers(1, 100), part=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_clopper_pearson_is_exact(n, part, confidence):
    """At the lower end seeing ≥ k has probability (1−confidence)/2, at the upper end seeing ≤ k has."""
    k = round(part * n)
    low, high = clopper_pearson(k, n, confidence)
    tail = (1 - confidence) / 2
    assert low == 0 if k == 0 else at_least(k, n, low) == pytest.approx(tail, rel=1e-6)
    assert high == 1 if k == n else 1 - at_least(k + 1, n, high) == pytest.approx(tail, rel=1e-6)


def test_clopper_pearson_known_value():
    """100 of 100: [0.025^(1/100), 1] = [.9638, 1]."""
    low, high = clopper_pearson(100, 100)
    assert (low, high) == (pytest.approx(0.025**0.01), 1.0)


def test_mean_interval_by_table():
    """1 … 5: mean 3, standard error √0.5, t(.975, 4 degrees) = 2.776445 from a printed table."""
    low, high = mean_interval(np.arange(1.0, 6.0))
    half = 2.776445 * math.sqrt(0.5)
    assert (low, high) == (pytest.approx(3 - half, rel=1e-6), pytest.approx(3 + half, rel=1e-6))


def test_mean_interval_holds_the_truth():
    """Of 2000 intervals of 10 normals 95 % hold their mean: 1900 ± 58 (6 σ; false alarm 2e-9)."""
    values = np.random.default_rng(0).normal(3.0, 2.0, (2000, 10))
    held = sum(low <= 3.0 <= high for low, high in map(mean_interval, values))
    assert abs(held - 1900) <= 58


def test_one_value_has_no_interval():
    """A single value gives (NaN, NaN), no division by zero."""
    assert all(math.isnan(bound) for bound in mean_interval(np.array([0.5])))


def test_an_interval_over_seeds_by_hand():
    """Seeds' means 1, 2, 3 and dies held as they are: 2 ± t(.975, 2) · √(1/3), 4.302653 from a printed table; the
    smallest die of each, 0, 1, 2, alike."""
    values = np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    half = 4.302653 / math.sqrt(3)
    for statistic, mean in ((np.mean, 2.0), (np.min, 1.0)):
        found = bootstrap_interval(values, statistic, dies=False)
        assert (found.estimate, found.low, found.high) == pytest.approx((mean, mean - half, mean + half), rel=1e-6)


def test_an_interval_over_dies_is_student_s():
    """One network: the bootstrap's standard error of a mean is s/√n to its own 1000 draws (2.2 % each, 5 σ: 11 %)."""
    values = np.random.default_rng(0).normal(size=50)
    found, (low, high) = bootstrap_interval(values), mean_interval(values)
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(high - low, rel=0.11)


def test_what_two_methods_share_is_not_in_their_difference():
    """The same dies and seeds plus a constant: exactly the constant, however far the dies spread."""
    values = np.random.default_rng(0).normal(size=(3, 40))
    found = paired_interval(values + 0.25, values, partial(np.quantile, q=0.05))
    assert (found.estimate, found.low, found.high) == pytest.approx((0.25,) * 3)
    assert str(bootstrap_interval(np.full((3, 4), 0.5))) == "0.500 [0.500, 0.500]"
    assert math.isnan(bootstrap_interval(np.array([0.5])).low)


def test_what_an_interval_refuses():
    """NaN, nothing, another shape, a confidence in per cent."""
    for wrong in (np.array([[1.0, np.nan]]), np.zeros((3, 0)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match="values"):
            bootstrap_interval(wrong)
    with pytest.raises(ValueError, match="second"):
        paired_interval(np.zeros((3, 4)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval(np.zeros((3, 4)), confidence=95)


def test_the_committed_study_of_intervals():
    """500 tables a row: means and differences of means hold in at least 91 % (95 % ± 4 σ of counting), quantiles of 100
    dies too; those of 20 dies do not, and the page says so. Ten tables again agree with the row (false alarm 1e-4)."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))["intervals"]
    assert len(rows) == 3 * len(SPREADS)
    for row in rows:
        assert min(row["mean"], row["difference"]) >= 0.91
        assert row["quantile"] >= (0.91 if row["dies"] == 100 else 0.8)
    assert min(coverage(SPREADS["all alike"], 3, 20, 10).values()) >= 0.5


def test_the_part_of_the_samples_in_closed_form():
    """Two classes, two seeds: d = mean over seeds of first − second; var(d)/n of each class, over classes²."""
    first = [np.array([[1, 1, 1, 1], [1, 1, 1, 1]]), np.array([[1, 0], [1, 0]])]
    second = [np.array([[1, 0, 1, 0], [1, 1, 1, 0]]), np.array([[1, 0], [1, 0]])]
    variance, freedom = sampling_variance(first, second)
    d = np.array([0, 0.5, 0, 1])
    assert variance == pytest.approx(d.var(ddof=1) / 4 / 4) and freedom == 3 + 1
    assert sampling_variance(first, first) == (0.0, 4.0)


def test_another_part_widens_an_interval_as_satterthwaite_says():
    """Seeds' variance v over 3 of them and w of 60 degrees of freedom: se² = v/3 + w, t at the joint freedom; a part
    of 0 changes nothing."""
    first, second, w = np.array([[3.0], [5.0], [4.0]]), np.zeros((3, 1)), 0.5
    alone = paired_interval(first, second)
    assert paired_interval(first, second, more=[(0.0, 60.0)]) == alone
    found, v = paired_interval(first, second, more=[(w, 60.0)]), 1 / 3
    freedom = (v + w) ** 2 / (v**2 / 2 + w**2 / 60)
    half = stats.t.ppf(0.975, freedom) * (v + w) ** 0.5
    assert (found.estimate, found.high - found.low) == (4.0, pytest.approx(2 * half))


def test_claims_hold_for_new_samples():
    """Of 400 comparisons of two fixed networks on 60 + 40 fresh samples, 95 % intervals hold the true difference: 366
    to 393 of them (false alarm below 0.003)."""
    rng, held = np.random.default_rng(0), 0
    p = np.array([[0.9, 0.6], [0.7, 0.5]])  # of first and second, by class
    truth = (p[0] - p[1]).mean()
    for _ in range(400):
        shared = [rng.random(n) for n in (60, 40)]  # samples that are hard are hard for both
        rights = [[(u < q).astype(int)[None] for u, q in zip(shared, row, strict=True)] for row in p]
        scores = [np.array([[np.mean([each.mean() for each in right])]]) for right in rights]
        found = paired_interval(*scores, more=[sampling_variance(*rights)])
        held += found.low <= truth <= found.high
    assert 366 <= held <= 393


@pytest.mark.parametrize(
    ("scores", "bounds"),
    [([0.9, 1.0], FRACTION), ([0.0, 0.1, 0.0], FRACTION), ([1.0, -3.0], R_SQUARED)],
)
def test_an_interval_stays_inside_its_bounds(scores, bounds):
    """Student's interval of each of these leaves the bounds; the other one does not, and holds the mean."""
    values = np.array(scores)
    plain, found = mean_interval(values), mean_interval(values, bounds=bounds)
    assert not bounds[0] <= plain[0] <= plain[1] <= bounds[1]
    assert bounds[0] <= found[0] < values.mean() < found[1] <= bounds[1]


def test_a_logit_interval_by_hand():
    """.6, .7 and .8: mean .7, standard error .1/√3, t(.975, 2) = 4.302653 from a table; logit(.7) ± t·se/.21."""
    low, high = mean_interval(np.array([0.6, 0.7, 0.8]), bounds=FRACTION)
    half = 4.302653 * 0.1 / math.sqrt(3) / 0.21
    ends = [1 / (1 + math.exp(-(math.log(7 / 3) + side * half))) for side in (-1, 1)]
    assert (low, high) == (pytest.approx(ends[0], rel=1e-6), pytest.approx(ends[1], rel=1e-6))
    one = math.log(0.3)  # one bound: 1 − mean is at most e^(log(.3) + t·se/.3)
    low, high = mean_interval(np.array([0.6, 0.7, 0.8]), bounds=R_SQUARED)
    assert low == pytest.approx(1 - math.exp(one + half * 0.7), rel=1e-6)
    assert high == pytest.approx(1 - math.exp(one - half * 0.7), rel=1e-6)


def test_a_bounded_interval_is_students_far_from_the_bounds():
    """To second order: of 400 scores from .4 to .6 both intervals are the same to 1e-4."""
    values = np.random.default_rng(0).uniform(0.4, 0.6, 400)
    assert mean_interval(values, bounds=FRACTION) == pytest.approx(mean_interval(values), abs=1e-4)


@pytest.mark.parametrize("n", [5, 20])
def test_a_bounded_interval_holds_the_truth_more_often(n):
    """20,000 fleets of n dies with scores of Beta(9, 1), mean .9: Student's interval holds the mean in about 90 and
    93 %, the logit interval in 94 % (standard error .2 points)."""
    values = np.random.default_rng(1).beta(9.0, 1.0, (20_000, n))
    held = []
    for bounds in (ANYTHING, FRACTION):
        ends = np.array([mean_interval(row, bounds=bounds) for row in values])
        held.append(float(((ends[:, 0] <= 0.9) & (ends[:, 1] >= 0.9)).mean()))
    assert held[0] < 0.935 < held[1] + 0.005 < 0.965
    assert held[1] > held[0] + 0.01


def test_equal_scores_give_a_point_and_wrong_ones_are_refused():
    """Five perfect dies: [1, 1]; a score above 1 is none."""
    assert mean_interval(np.ones(5), bounds=FRACTION) == (1.0, 1.0)
    assert mean_interval(np.full(5, 0.25), bounds=FRACTION) == (0.25, 0.25)
    with pytest.raises(ValueError, match=r"values: got 0\.5 to 1\.5"):
        mean_interval(np.array([0.5, 1.5]), bounds=FRACTION)
    with pytest.raises(ValueError, match="estimate"):
        bootstrap_interval(np.array([0.5, 1.7]), bounds=FRACTION)


def test_a_bootstrap_interval_stays_inside_its_bounds():
    """Three training seeds at .8, .99 and 1: Student's interval ends above 1, the bounded one does not."""
    values = np.array([[0.8], [0.99], [1.0]])
    assert bootstrap_interval(values).high > 1
    found = bootstrap_interval(values, bounds=FRACTION)
    assert 0 < found.low < found.estimate < found.high < 1
    assert (found.low, found.high) == pytest.approx(mean_interval(values[:, 0], bounds=FRACTION))


def test_a_difference_of_accuracies_is_cut_at_one():
    """Two dies, +.9 and −.5: Student's interval is .2 ± 8.9; of R² it stays so."""
    gains = np.array([0.9, -0.5])
    assert difference_interval(gains, regression=True) == mean_interval(gains)
    assert difference_interval(gains, regression=False) == (-1.0, 1.0)
    assert difference_interval(gains / 100, regression=False) == mean_interval(gains / 100)
    assert np.isnan(difference_interval(gains[:1], regression=False)).all()


def test_arguments_of_intervals_are_checked():
    """More successes than trials, a confidence in per cent, a table for a list, other numbers of samples."""
    for call, words in (
        (lambda: clopper_pearson(5, 3), "successes: got 5 of 3"),
        (lambda: clopper_pearson(-1, 3), "successes: got -1"),
        (lambda: clopper_pearson(1, 3, 95), "confidence: got 95"),
        (lambda: mean_interval(np.array([0.1, 0.2]), 95), "confidence: got 95"),
        (lambda: mean_interval(np.zeros((2, 3))), r"values: got shape \(2, 3\)"),
        (lambda: recall(torch.tensor([0, 1]), torch.tensor([0, 1, 1]), 2), r"predicted: got shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_nan_is_no_class():
    """A sample with NaN among its logits is wrong, whatever its label."""
    logits = torch.tensor([[1.0, 0.0], [float("nan"), 0.0], [0.0, 1.0], [0.0, float("nan")]])
    assert balanced_accuracy(logits, torch.tensor([0, 0, 1, 1])) == 0.5


@pytest.mark.parametrize("bounds", [FRACTION, R_SQUARED])
@settings(max_examples=100, deadline=None)
@given(value=st.floats(0, 1), half=st.floats(0, 1e5))
def test_an_interval_holds_its_value_whatever_the_rounding(bounds, value, half):
    low, high = kept_within(value, half, bounds)
    assert bounds[0] <= low <= value <= high <= bounds[1]
