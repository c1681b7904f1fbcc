"""Entropy-SGD: Langevin steps around the parameters."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import EntropySGD, Regularizer
from ...regularizers.regularizer import Criterion
from .base import Method, trials


def build(loss: Criterion, chip: ChipModel | None, *, steps: float, rate: float, scope: float) -> Regularizer:
    return EntropySGD(loss, int(steps), rate, scope=scope)


method = Method(
    "Langevin steps around the parameters",
    build,
    trials({"steps": 10, "rate": 0.1, "scope": 1e-2}, {"rate": 0.03}, {"rate": 0.3}, {"scope": 1.0}),
    order=5,
)
