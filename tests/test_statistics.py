"""Figures of merit and intervals against hand counts, tables and the definition of an exact interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurorobust.evaluation import balanced_accuracy, clopper_pearson, mean_interval, recall


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
