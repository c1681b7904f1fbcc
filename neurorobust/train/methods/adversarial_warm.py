"""An attack on every kind that continues from batch to batch."""

from __future__ import annotations

from ...attacks import Ball
from ...chip import ChipModel
from ...regularizers import Regularizer, WarmAdversarial
from ...regularizers.regularizer import Criterion
from .base import BETA, ZETA, Method, trials


def build(
    loss: Criterion, chip: ChipModel | None, *, zeta: float, beta: float, steps: float, stride: float
) -> Regularizer:
    return WarmAdversarial(loss, Ball.uniform(zeta), beta, steps=int(steps), stride=stride)


method = Method(
    "adversarial whose attack continues from batch to batch",
    build,
    trials({"zeta": ZETA, "beta": BETA, "steps": 1, "stride": 0.5}, {"stride": 2.0}, {"beta": 1.0}, {"steps": 2}),
    order=14,
)
