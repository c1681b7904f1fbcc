"""Adversarial weight perturbation."""

from __future__ import annotations

from ...attacks import Ball
from ...chip import ChipModel
from ...regularizers import AWP, Regularizer
from ...regularizers.regularizer import Criterion
from .base import STEPS, ZETA, Method, pga, trials


def build(loss: Criterion, chip: ChipModel | None, *, zeta: float, gamma: float, steps: float) -> Regularizer:
    return AWP(loss, pga(steps, "ce"), Ball.uniform(zeta), gamma)


method = Method(
    "adversarial weight perturbation, on every kind",
    build,
    trials({"zeta": ZETA, "gamma": 0.1, "steps": STEPS}, {"gamma": 1.0}, {"gamma": 1.0, "zeta": 0.05}, {"gamma": 0.5}),
    order=4,
)
