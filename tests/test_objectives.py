"""Objectives of attacks on numbers worked out by hand, their labels for every step, and targets that do not fit."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import double, draw

from neurorobust.attacks import OBJECTIVES, as_objective, cross_entropy, jensen_shannon, kl, l2, margin, mse, reverse_kl


def test_objectives_on_numbers():
    """KL with its floor, cross-entropy and the clamped margin against values worked out by hand."""
    clean = double([math.log(3.0), 0.0], [0.0, 0.0])
    attacked = double([0.0, 0.0], [0.0, math.log(3.0)])
    y = torch.tensor([0, 0])
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert kl(attacked, clean, y).item() == pytest.approx((first + second) / 2, rel=1e-12)
    far = double([100.0, 0.0])
    assert kl(far, torch.zeros(1, 2).double(), y[:1]).item() == pytest.approx(
        0.5 * math.log(0.5) + 0.5 * math.log(0.5 / 1e-6)
    )
    assert cross_entropy(attacked, clean, y).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    scale = clean.std().item()
    three = double([0.0, 0.1 * scale, -5.0], [50.0, 0.0, 0.0], [0.0, 50.0, 0.0])
    assert margin(three, clean, torch.tensor([0, 0, 0])).item() == pytest.approx((0.1 - 1 + 1) / 3)


def test_more_objectives_on_numbers():
    """Reverse KL, Jensen-Shannon, L2 and mean squared error against values worked out by hand."""
    clean, attacked = double([math.log(3.0), 0.0]), double([0.0, 0.0])
    y = torch.tensor([0])
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert reverse_kl(attacked, clean, y).item() == pytest.approx(expected, rel=1e-12)
    m = (0.625, 0.375)
    halves = [0.75 * math.log(0.75 / m[0]) + 0.25 * math.log(0.25 / m[1])]
    halves.append(0.5 * math.log(0.5 / m[0]) + 0.5 * math.log(0.5 / m[1]))
    assert jensen_shannon(attacked, clean, y).item() == pytest.approx(sum(halves) / 2, rel=1e-12)
    apart = jensen_shannon(double([1e3, 0.0]), double([0.0, 1e3]), y)
    assert apart.item() == pytest.approx(math.log(2), rel=1e-12)
    assert l2(double([3.0, 4.0], [0.0, 1.0]), torch.zeros(2, 2).double(), y).item() == pytest.approx((5 + 1) / 2)
    assert mse(double(1.0, 4.0), double(0.0, 0.0), double(0.0, 1.0)).item() == pytest.approx((1 + 9) / 2)


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"mse", "l2"}))
def test_a_label_for_every_step(name):
    """Logits (B, T, C) with labels (B, T) are B·T samples, and targets in floating point are refused by name."""
    attacked, clean, y = draw(0, 4, 5, 3), draw(1, 4, 5, 3), torch.arange(20).reshape(4, 5) % 3
    flat = as_objective(name)(attacked.reshape(20, 3), clean.reshape(20, 3), y.reshape(20))
    torch.testing.assert_close(as_objective(name)(attacked, clean, y), flat, rtol=1e-14, atol=0)
    with pytest.raises(ValueError, match=f"y: got torch.float64; '{name}' needs integer class labels.*'mse' or 'l2'"):
        as_objective(name)(attacked, clean, attacked)


def test_targets_that_do_not_fit_are_refused():
    """Labels for some of the rows, mse of labels, and targets of another shape: each names what came."""
    logits = draw(0, 4, 5, 3)
    for name in ("ce", "margin"):
        with pytest.raises(ValueError, match=rf"y: got labels of shape \(4,\); '{name}' expected \(4, 5\)"):
            as_objective(name)(logits, logits, torch.zeros(4).long())
    with pytest.raises(ValueError, match="'mse' needs targets in floating point"):
        mse(logits, logits, torch.zeros(4).long())
    with pytest.raises(ValueError, match=r"y: got shape \(4, 5\); 'mse' expected that of the outputs, \(4, 5, 3\)"):
        mse(logits, logits, logits[..., 0])
