"""Adversarial block coordinate descent."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import ABCD, Regularizer
from ...regularizers.regularizer import Criterion
from .base import ZETA, Method, trials


def build(loss: Criterion, chip: ChipModel | None, *, rate: float, radius: float) -> Regularizer:
    return ABCD(loss, rate, radius)


method = Method(
    "adversarial block coordinate descent",
    build,
    trials({"rate": 1e-3, "radius": ZETA}, {"rate": 0.1}, {"rate": 1.0}, {"rate": 10.0}),
    order=6,
)
